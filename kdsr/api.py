"""kdsr from Python: what the commands do, as functions; `import kdsr` has them all.

    import kdsr
    config = kdsr.config('fakd:smoke', steps=4)
    results = kdsr.train(config, 'runs/mine')
    student = kdsr.load('runs/mine')                      # a function of images, [B, h, w, 3] in [0, 1]
    rows = kdsr.evaluate('runs/mine', ['Set5', 'Set14'])
    large = kdsr.upscale(photo, model='runs/mine')        # or paths, with out='large'
    kdsr.teach('net.pth', 'photos', 'taught')             # the pictures that another network makes, to train on
    scores = kdsr.compare('photos', ['net.pth', 'runs/mine'], 'compared')
    cards = kdsr.export('runs/mine', ['tflite'], 'files')
    text = kdsr.report(['runs'], 'reports')

They print what a command says; `say=None` silences one, `say=function` is given each line. Each fails with the exception whose line
a command would print.
"""

import pathlib
import reprlib


def config(spec, /, **fields):
    """The config of a recipe, which may be changed before it is trained.

    Args:
      spec: 'FILE.py:word,word', or the name of an experiment of kdsr for FILE.py: 'fakd:paper,rcan'; 'FILE.py:help' is no config.
      **fields: values of fields; a dot is written '__': `config('fakd', steps=100, method__alpha=0.0)`.

    Returns: ml_collections.ConfigDict; `print` shows it whole.

    Raises ValueError naming a word or field that is unknown or wrong, FileNotFoundError without such a file.
    """
    from kdsr import settings

    text = lambda value: value if isinstance(value, str) else repr(value)
    return settings.read(spec, [f'{name.replace("__", ".")}={text(value)}' for name, value in fields.items()])[0]


def train(config, workdir=None, *, say=print, progress=None):
    """Trains a config, or goes on with its run, and returns the results of its last stage.

    Args:
      config: as of `config`, or its spec. workdir: folder of the run, which the same call goes on with; None: 'runs/<name>'.
      say: called with each line; None: silent. progress: called with (step, steps, metrics) after each step; metrics: its losses.
        A bar in a notebook: `bar = tqdm.auto.tqdm(total=steps)`, `progress=lambda step, *_: bar.update()`.

    Returns: what results.json holds: {'student': {'validation/x4': {'psnr_y': ...}}, 'bicubic': ..., 'cost': ..., 'steps': ...}.

    Raises KeyboardInterrupt on the first Ctrl-C, after the state was saved: the same call goes on from there. ValueError before
    anything is trained for a config that cannot be meant, FloatingPointError where a loss is not finite.
    """
    from kdsr import commands, console, paths, settings, stages

    made = settings.read(config)[0] if isinstance(config, str) else config
    folder = paths.expanded(workdir or pathlib.Path('runs') / made.name)
    shown = repr(config) if isinstance(config, str) else f'config {made.name!r}'
    commands.begin()
    with console.told(say, progress), console.called(f'kdsr.train({shown}, {str(folder)!r})'):
        try:
            return stages.run(made, folder)
        except SystemExit as e:  # what a command ends with after a signal
            raise KeyboardInterrupt(f'{folder} is saved; the same call goes on with it') from e


def load(model, dtype='float32', scale=None):
    """A trained network as a function: images `[B, h, w, C]` in [0, 1] -> `[B, s * h, s * w, C]`.

    Args:
      model: export or run directory, or the name of a shipped model. dtype: what it works in. scale: of one that has several.

    Raises FileNotFoundError, ValueError: no such model, or a damaged one.
    """
    from kdsr import models

    return models.load(model, dtype, scale)


def evaluate(model, data, *, scale=(), protocol='y8', lpips='', niqe=False, fd=(), self_ensemble=False, say=print):
    """Rows {'set': 'Set5', 'scale': 4, 'psnr_y': ..., 'images': {name: {...}}} of a model on benchmark folders.

    Args:
      model: as of `load`, or 'bicubic', which needs `scale`. data: a folder or several; 'folder@lr': LR without HR, of which NIQE
      alone is known. scale: one or several; (): the model's own. protocol: how images are compared (kdsr.protocols).
      lpips: 'alex' or 'vgg': one column more. niqe: another one. fd: a network of `kdsr.frechet.network`, or several: the distance
      of a set's pictures from HR and, as 'fd_lite0_n', their number. self_ensemble: average over the 8 flips and transposes.

    Raises FileNotFoundError, ValueError for a model, folder or protocol that there is not, or that do not go together.
    """
    from kdsr import commands, console
    from kdsr import evaluate as scoring

    commands.begin()
    with console.told(say):
        options = {'scale': tuple(listed(scale)), 'fd': tuple(listed(fd)) if fd else ()}
        options |= {'protocol': protocol, 'lpips_by': lpips, 'with_niqe': niqe, 'ensemble': self_ensemble}
        found, _ = scoring.run(model, [str(path) for path in listed(data)], **options)
    named = [name.rpartition('/x') for name in found]
    return [{'set': set_name, 'scale': int(s), **scores} for (set_name, _, s), scores in zip(named, found.values(), strict=True)]


def upscale(images, out=None, *, model='light_x4', say=print, progress=None, **options):
    """Enlarges images or files, in bounded memory, whatever their size.

    Args:
      images: an image `[H, W]` or `[H, W, C]` (grey, grey + alpha, RGB, RGBA; uint8, uint16 or floats in [0, 1]), or what
        `numpy.asarray` makes one of, such as a PIL image; or paths of files, folders and patterns, with `out`.
      out: folder for the results of paths. model: as of `load`. progress: called with (tiles done, tiles in all) of an image.
      **options: of `kdsr.upscale.run`, for paths (`form='png'`, `recursive`, `skip_existing`, `ensemble`, `outscale`, `tile`, ...).

    Returns: the enlarged image, an array of the same dtype; of paths the list of files written.

    Raises ValueError where files could not be enlarged (the others are), and what `load` raises.
    """
    from kdsr import commands, console, models, tiling
    from kdsr import upscale as enlarging

    commands.begin()
    if is_image(images):
        import numpy as np

        network, image = models.load(model), np.asarray(images)
        overlap = tiling.overlapping(models.radius(network.module))
        large = tiling.upscale(network, image, scale=network.scale, overlap=overlap, progress=progress)
        return large.reshape(large.shape[: image.ndim])
    if not out:
        raise ValueError('paths need out=FOLDER; an array gives an array')
    with console.told(say):
        done, failed = enlarging.run([str(path) for path in listed(images)], out, model=model, **options)
    if failed:
        raise ValueError(f'{len(failed)} of {len(done) + len(failed)} could not be enlarged: {reprlib.repr(failed)}')
    return done


def is_image(images):
    """Whether `images` is one image and not a path or several."""
    return hasattr(images, '__array_interface__') or hasattr(images, '__array__')


def teach(teacher, data, out, *, say=print, made_in='', layout='', scale=None, **options):
    """Lets a teacher enlarge pictures once; {folder written: (pictures, [(name, why) of those left out])}.

    Args:
      teacher: export, run, shipped model, or a file of another framework; with `made_in`, a folder of its pictures, any name.
      data: a folder of pictures or several. out: the folder of what is taught; of several that of their folders.
      layout, scale: as of `kdsr.teachers.opened`. **options: of `kdsr.teachers.taught.Options`: degrade, patches, size, seed, ...

    Raises FileNotFoundError, ValueError, ModuleNotFoundError where there is no such teacher, picture or package.
    """
    from kdsr import commands, console
    from kdsr import teach as teaching
    from kdsr.teachers import taught

    commands.begin()
    folders, chosen = [str(path) for path in listed(data)], taught.Options(**options)
    with console.told(say):
        return teaching.run(str(teacher), folders, out, made_in=made_in, layout=layout, scale=scale, options=chosen)


def compare(pictures, models, out, *, say=print, **options):
    """Models side by side on pictures, in the new folder `out`; {model: {column: value}}, bicubic first.

    Args:
      pictures: files or folders, one or several. models: as of `teach`; the first is the teacher of the others.
      **options: of `kdsr.compare.run`: side, crop, lpips_by.

    Raises what `teach` raises.
    """
    from kdsr import commands, console
    from kdsr import compare as comparing

    commands.begin()
    with console.told(say):
        return comparing.run([str(p) for p in listed(pictures)], [str(m) for m in listed(models)], out, **options)


def listed(value):
    """A list of what may be one."""
    return [value] if isinstance(value, str | int | pathlib.Path) else list(value)


def export(model, to, out, *, say=print, **options):
    """Writes a network as files for other runtimes, each run after writing and compared with JAX; returns their cards.

    Args:
      model: as of `load`. to: formats, of savedmodel, tflite, stablehlo, onnx, ncnn, torch. out: folder.
      **options: of `kdsr.export.run`: name, scale, size, dynamic, white, overwrite, `options=kdsr.export.Options(...)`.

    Raises ValueError naming what could not be written, and what `load` raises.
    """
    from kdsr import console
    from kdsr import export as exporting

    with console.told(say):
        cards, failures = exporting.run(model, listed(to), out, **options)
    if failures:
        raise ValueError(f'not written: {"; ".join(f"{name}: {why}" for name, why in failures)}')
    return cards


def report(runs, out, **options):
    """Writes a report of runs into the folder `out` and returns its text; runs and options: of `kdsr.report.report`."""
    from kdsr import report as reporting

    return reporting.report(listed(runs), out, **options)[0]
