"""Pictures -> upscaled pictures: any size, any common kind, in bounded memory.

python -m kdsr.upscale holiday.jpg scans/ 'shots/*.png' --out=large
python -m kdsr.upscale scans/ --out=large --model=runs/student --format=tiff --outscale=3.5
"""

import errno
import functools
import math
import time

from absl import flags, logging

from kdsr import commands, console, models, named, pictures, tiling, writers
from kdsr.evaluate import self_ensemble
from kdsr.pictures import files

DEFAULT_MODEL = 'light_x4'


def run(
    inputs,
    out,
    *,
    model=DEFAULT_MODEL,
    dtype='float32',
    ensemble=False,
    outscale=None,
    tile=tiling.SIDE,
    suffix=None,
    form=None,
    recursive=False,
    skip_existing=False,
    most=100_000_000,
    quality=95,
):
    """Upscales files, folders and patterns into the folder `out`; ([files written], [those that failed]), each of these is named.

    Args:
      inputs, out, form, recursive: as of `pictures.files.plan`; so is suffix, whose default is '_x4' for a factor of 4.
      model: export, run or shipped name. dtype: what the network works in. ensemble: average over 8 flips and transposes.
      outscale: another factor than the network's; its result is resized, unless it is one of several that the network serves.
      tile: side of the tiles, LR pixels.
      skip_existing: leave out files whose result is there.
      most: pixels that a picture may have. quality: of jpg and webp.

    Raises what `models.load` and `files.plan` raise, and ValueError where the tiles are too small for the network.
    """
    network = models.load(model, dtype)
    models.require_any_picture(model, network)
    network = network.at(int(outscale) if outscale in network.scales else network.scale)
    factor = outscale or network.scale
    suffix = f'_x{factor:g}' if suffix is None else suffix
    jobs, notes = files.plan(inputs, out, suffix=suffix, form=form, recursive=recursive)
    left = [job for job in jobs if not (skip_existing and job.target.is_file())]
    radius = models.radius(network.module)
    overlap = tiling.overlapping(radius)
    tiling.cuts(tile + 1, tile, overlap)  # too small a tile is an error of all files: raised here
    card, there = network.card, f', {len(jobs) - len(left)} already there' if skip_existing else ''
    writers.say(
        f'{model} ({card["model"]} x{network.scale}, {card["parameters"]:,} parameters{", 8 passes" if ensemble else ""}): '
        f'{len(left)} file{"s" * (len(left) != 1)} -> {out}{there}'
    )
    for note in notes:
        writers.say(f'note: {note}')
    enlarge = functools.partial(
        tiling.bands, self_ensemble(network) if ensemble else network, scale=network.scale, side=tile, overlap=overlap
    )
    began = time.perf_counter()
    sizes = [attempt(job, enlarge, functools.partial(approximate, radius, tile=tile), factor, most, quality) for job in left]
    done = [job.target for job, size in zip(left, sizes, strict=True) if size is not None]
    failed = [job.source for job, size in zip(left, sizes, strict=True) if size is None]
    written, seconds = sum(filter(None, sizes)), time.perf_counter() - began
    speed = (
        f'{written / 1e6:.2f} megapixels written in {writers.duration(seconds)}, {written / 1e6 / max(seconds, 1e-9):.2f} a second'
    )
    console.show(f'{len(done)} done, {len(failed)} failed{there}; {speed}')
    return done, failed


def attempt(job, enlarge, far, factor, most, quality):
    """Reads a picture, says what there is to note, writes its result; how many pixels that has, None where it failed."""
    try:
        picture, kind = pictures.fitted(pictures.read(job.source, most), job.form)
        for note in (*picture.notes, *far(picture.pixels.shape)):
            writers.say(f'note: {job.source}: {note}')
        return one(enlarge, job, picture, kind, factor, quality)
    except Exception as e:  # one picture's trouble, whatever it is, is not that of the next
        if logging.get_verbosity() >= logging.DEBUG:
            raise
        writers.say(f'failed: {job.source}: {reason(e)}')
        return None


def one(enlarge, job, picture, dtype, factor, quality):
    """Writes one picture and returns its number of pixels; `enlarge` is `tiling.bands` but for the image, size and dtype."""
    height, width, channels = picture.pixels.shape
    size = tuple(max(1, math.floor(side * factor + 0.5)) for side in (height, width))
    show = console.progress(f'{job.source.name} {width}x{height} -> {job.target.name} {size[1]}x{size[0]}')
    job.target.parent.mkdir(parents=True, exist_ok=True)
    blocks = enlarge(picture.pixels, size=size, dtype=dtype, progress=show)
    pictures.write(job.target, blocks, (*size, channels), dtype, job.form, icc=picture.icc, quality=quality)
    return size[0] * size[1]


def approximate(radius, shape, tile):
    """One note in a tuple where tiles are not what the network would make of the whole picture, else ()."""
    if max(shape[:2]) <= tile or (radius is not None and radius <= tiling.OVERLAP):
        return ()
    reads = 'the whole picture' if radius is None else f'{radius} px around each'
    return (f'the network reads {reads}, tiles overlap by {tiling.OVERLAP} px: the result is approximate (--tile is the side)',)


def reason(error):
    """What went wrong with a file, on one line and without its name."""
    text = str(error)
    if isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in text:
        return 'the memory is not enough: try a smaller --tile, and --format=png or tiff'
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return 'the disk is full'
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return 'its name, or that of its result, is longer than the disk takes: rename it, or try a shorter --suffix (--suffix=)'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return commands.one_line(text) or type(error).__name__


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_string('out', None, 'folder for the results', required=True)
    flags.DEFINE_string('model', DEFAULT_MODEL, 'export directory, run directory, or name of a shipped model')
    flags.DEFINE_enum('format', None, sorted(pictures.FORMATS), 'of the results (default: that of each file)')
    flags.DEFINE_string('suffix', None, "added to the names (default: '_x4' for a factor of 4)")
    flags.DEFINE_float('outscale', None, "another factor than the model's: its result is resized", lower_bound=0.01, upper_bound=64)
    flags.DEFINE_bool('self_ensemble', False, 'average over the 8 flips and transposes of the picture: 8 times the work')
    flags.DEFINE_bool('recursive', False, 'also the pictures in all folders below')
    flags.DEFINE_bool('skip_existing', False, 'leave out files whose result is there')
    flags.DEFINE_integer('tile', tiling.SIDE, 'side of the tiles, LR pixels: memory grows with its square')
    flags.DEFINE_enum('dtype', 'float32', ['float32', 'bfloat16', 'float16'], 'what the network works in')
    flags.DEFINE_integer('quality', 95, 'of jpg and webp', lower_bound=1, upper_bound=100)
    flags.DEFINE_float('max_megapixels', 100, 'larger pictures are refused before they are decoded', lower_bound=0)


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    try:
        _, failed = run(
            argv[1:],
            flag.out,
            model=flag.model,
            dtype=flag.dtype,
            ensemble=flag.self_ensemble,
            outscale=flag.outscale,
            tile=flag.tile,
            suffix=flag.suffix,
            form=flag.format,
            recursive=flag.recursive,
            skip_existing=flag.skip_existing,
            most=flag.max_megapixels * 1e6,
            quality=flag.quality,
        )
        return 1 if failed else 0
    except KeyboardInterrupt:
        writers.say('stopped: files that are finished are whole')
        return 130


named.function_too(__name__)

if __name__ == '__main__':
    define_flags()
    commands.run(main, arguments=True)
