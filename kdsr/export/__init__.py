"""A trained network as files for other runtimes, each run after writing and compared with JAX.

`run(export, formats, out)` is what `python -m kdsr.export` calls. A format is a module here with `plan(made, options)`: a list of
`jobs.Job`, one for each file.
"""

import os
import pathlib
import re
import time
from typing import NamedTuple

from absl import logging

from kdsr import commands, fields, models, named, writers
from kdsr.export import jobs, ncnn, onnx, savedmodel, stablehlo, tflite, torch_layout
from kdsr.export.program import Program

LONGEST = 200  # bytes of a name; endings are added to it
FORMATS = {'savedmodel': savedmodel, 'tflite': tflite, 'stablehlo': stablehlo, 'onnx': onnx, 'ncnn': ncnn, 'torch': torch_layout}


class Options(NamedTuple):
    """What only some formats ask for.

    precisions, onnx, ncnn: TFLite, ONNX and ncnn files to write, of each one's `PRECISIONS`. int8_io: what TFLite's int8 file takes
    and gives, 'float32' or 'uint8'. calibration: folder of pictures that int8 is calibrated by, '' for the embedded ones.
    benchmarks: folders on which its PSNR is compared with float32's; none: the pictures of the calibration.
    """

    precisions: tuple[str, ...] = tflite.PRECISIONS
    onnx: tuple[str, ...] = ('float32',)
    ncnn: tuple[str, ...] = ncnn.PRECISIONS
    int8_io: str = 'float32'
    calibration: str = ''
    benchmarks: tuple[str, ...] = ()


def run(export, formats, out, *, name=None, scale=None, size=(180, 320), dynamic=True, white=None, options=None, overwrite=False):
    """Writes the files and their cards; returns (cards, failures as (file or format, reason)).

    On a GPU or TPU JAX itself rounds more coarsely than the tolerance: set JAX_PLATFORMS=cpu, as the command does.

    Args:
      export: export, run or shipped name.
      formats: names of FORMATS.
      out: folder; files of the same names are replaced if they are of this network.
      name: what the files are called, by default as the run or export and the scale: 'student_x4'.
      scale: which one of a network that serves several; None: the one it was exported with.
      size: (rows, columns) of the inputs of TFLite and of SavedModel's first signature, and of all inputs if not `dynamic`.
      dynamic: whether SavedModel, StableHLO and ONNX take images, and batches, of any size.
      white: the pixel value of white, 1 or 255, in and out; None: 255 for SavedModel, 1 for the others.
      options: Options.
      overwrite: replace files of other networks, and those that have no card, as well.

    Raises what `models.load` raises, and ValueError for a bad name, size or format. Failures of single files are returned.
    """
    options = options or Options()
    unknown(formats, FORMATS, 'format')
    for asked, form in ((options.precisions, tflite), (options.onnx, onnx), (options.ncnn, ncnn)):
        unknown(asked, form.PRECISIONS, f'{form.TITLE} precision')
    if min(size) < 16:
        raise ValueError(f'size {size[0]}x{size[1]} is too small: use 16x16 or more')
    network = models.load(export, scale=scale)
    if only := models.only_size(network.module):
        writers.say(f'{network.card["model"]} takes images of {only[0]}x{only[1]} alone: all files are for those')
        size, dynamic = only, False
    name = name or label(export, network.scale)
    if not re.fullmatch(r'[\w.+-]+', name):
        raise ValueError(f'the name {name!r} has characters that file names should not have: use letters, digits, _ . + -')
    if len(os.fsencode(name)) > LONGEST:
        raise ValueError(f'the name {name!r} is longer than {LONGEST} bytes: give a shorter --name')
    made, cards, failures = Program(network, name, tuple(size), dynamic, white), [], []

    def guarded(what, task):
        began = time.perf_counter()
        try:
            return task(), time.perf_counter() - began
        except Exception as e:  # converters raise anything; one format's trouble is not that of the next
            if logging.get_verbosity() >= logging.DEBUG:
                raise
            failures.append((what, reason(e, dynamic)))
            writers.say(f'failed: {what}: {failures[-1][1]}')
            return None, 0

    for form in dict.fromkeys(formats):
        for job in guarded(form, lambda form=form: FORMATS[form].plan(made, options))[0] or []:
            card, seconds = guarded(job.file, lambda job=job: jobs.finish(job, out, network.card, overwrite))
            if card:
                cards.append(card)
                writers.say(f'{pathlib.Path(out) / job.file}: {summary(card)} ({writers.duration(seconds)})')
    return cards, failures


def label(export, scale):
    """'student_x4': what the folder of a run or an export is called, and the scale where the name does not end with it.

    An export inside a run is called as the run, and also as its network where that is not the one which the run is known by; a
    stage as its run and itself.
    """
    folder = pathlib.Path(os.path.abspath(export))
    if folder.parent.name == 'export' and (folder / 'model.json').is_file():
        averaged = (folder.parent / 'student_ema').is_dir()
        net = '' if folder.name == ('student_ema' if averaged else 'student') else f'_{folder.name}'
        folder = folder.parents[1].with_name(folder.parents[1].name + net)
    stage = f'{folder.parent.name}_' if (folder.parent / 'stages.json').is_file() else ''
    name = re.sub(r'[^\w.+-]+', '_', stage + folder.name) or 'network'
    return name if name.endswith(f'_x{scale}') else f'{name}_x{scale}'


def unknown(asked, known, what):
    """ValueError for the first of `asked` that is not `known`, and where nothing is asked."""
    if not asked:
        raise ValueError(f'no {what} is asked for: use {", ".join(known)}')
    for word in asked:
        if word not in known:
            raise ValueError(f'unknown {what} {word!r}{fields.meant(word, known)}; one of {", ".join(known)}')


def reason(error, dynamic):
    """What went wrong, on one line that a person can read: converters print whole programs."""
    text = commands.one_line(str(error)) or type(error).__name__
    text = f'{text[:300]} ...' if len(text) > 300 else text
    kinds = [cls.__name__ for cls in type(error).__mro__]
    if dynamic and ('InconclusiveDimensionOperation' in kinds or '_DimExpr' in text):
        text += ' (this network asks for its sizes while it is traced: try --nodynamic)'
    elif dynamic and 'vhlo' in text:
        text += ' (this TensorFlow is too old for free sizes from this jax: use jax 0.10, or try --nodynamic)'
    return text


def summary(card):
    """Size and differences on one line."""
    worst = {key: max(check[key] for check in card['checks']) for key in ('max', 'mean')}
    off = f'{worst["max"]:.1e} away from JAX at most, {worst["mean"]:.1e} on average' if worst['max'] else 'equal to JAX'
    text = f'{card["bytes"]:,} bytes, {off}'
    if 'milliseconds' in card:
        text += f', {card["milliseconds"]["median"]:.1f} ms on {card["milliseconds"]["threads"]} threads'
    for name, values in card.get('psnr_y', {}).items():
        text += f', {name} {values["int8"]:.3f} dB ({-values["drop"]:+.3f})'
    return text


named.function_too(__name__)
