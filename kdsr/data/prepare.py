"""Cuts large images into sub-images once, as one ArrayRecord, for sets that are too large to decode into the cache.

    python -m kdsr.data.prepare ../data/DIV2K --images=1-800 --out=../data/div2k_sub
    python -m kdsr.data.prepare ../data/photos --downscale=2 --size=480 --step=240 --out=../data/photos_sub

Train on them with config.data = {source: 'array_record', path: '../data/div2k_sub'}. With --degradation it writes a benchmark:

    python -m kdsr.data.prepare ../data/B100/HR --degradation=realesrgan --out=../data/B100_degraded

of each picture a square of up to --size pixels, degraded by a fixed seed, as HR/ and LR_x4/.
"""

import json

from absl import flags, logging
from PIL import Image

from kdsr import console
from kdsr.data import cache, degradation_presets, degradations, layouts, records
from kdsr.paths import fresh, written


def starts(length, size, step):
    """First pixels of the sub-images along one side: every `step`, and one that ends at the border."""
    last = max(length - size, 0)
    return [*range(0, last, step), last]


def cut(hr, lr, *, size, step, scale):
    """[(hr, lr or None)] sub-images of one image, aligned; a side shorter than `size` is kept whole.

    Args:
      hr: `[H, W, 3]`. lr: `[H // scale, W // scale, 3]`, or a pixel more; or None.
      size, step: HR pixels; multiples of `scale` where there is LR.
    """
    s = scale if lr is not None else 1
    hr, lr = layouts.cropped(hr, lr, s)
    corners = [(y, x) for y in starts(hr.shape[0], size, step) for x in starts(hr.shape[1], size, step)]
    crop = lambda image, y, x, n: None if image is None else image[y : y + n, x : x + n]
    return [(crop(hr, y, x, size), crop(lr, y // s, x // s, size // s)) for y, x in corners]


def prepare(path, out, *, size=480, step=240, downscale=1, images=None, scale=None, progress=None):
    """Writes the sub-images of the folder(s) `path` to the new folder `out`; see `sources.folder` for path and images.

    With `scale`, LR partners are cut too where the folder has them. `out` appears whole or not at all; its info.json
    has count, size, step, source, names, groups (the image that each was cut from), shapes, what was skipped, and teachers (who
    made each, '' for the truth) where a teacher did.

    Args:
      progress: called with (images done, images in all).

    Returns: the info.

    Raises:
      FileExistsError: `out` has files.
      ValueError: bad sizes, or no image can be read.
      OSError: the disk is full.
    """
    if size < 1 or step < 1 or (scale and (size % scale or step % scale)):
        raise ValueError(f'size {size} and step {step} must be positive' + (f' multiples of {scale}' if scale else ''))
    out = fresh(out)
    items = layouts.entries(path, scale=scale, downscale=downscale, images=images)
    info = {'count': 0, 'size': size, 'step': step, 'downscale': downscale, 'scale': scale, 'source': str(path)}
    info |= {'images': images, 'names': [], 'groups': [], 'shapes': [], 'skipped': []}
    try:
        with written(out, several=True) as part:
            part.mkdir(parents=True)
            gather(items, part, info, progress)
            if not info['count']:
                name, reason = info['skipped'][0]
                raise ValueError(f"none of the {len(items)} images in '{path}' can be used, e.g. {name}: {reason}")
            (part / 'info.json').write_text(json.dumps(info) + '\n')
    except RuntimeError as e:  # what ArrayRecord raises where the disk is full
        raise OSError(f"cannot write the sub-images of '{out}': {e}") from e
    return info


def degrade(path, out, *, preset, seed=0, size=480, copies=1, downscale=1, images=None, progress=None):
    """Writes a benchmark of degraded pictures to the new folder `out`: HR/, LR_x4/ and info.json; returns the info.

    Args:
      path, downscale, images: as of `sources.folder`. preset: of degradation_presets.PRESETS. seed: of all that is drawn. size:
        most side of the squares, HR pixels. copies: squares of each picture; copy c of picture i is example `copies * i + c`,
        called NAME_c where there are several. progress: as of `prepare`.

    Raises as `prepare`.
    """
    chosen = degradation_presets.settings(preset=preset, where='--degradation')
    out, scale = fresh(out), chosen['scale']
    info = {'degradation': chosen, 'preset': preset, 'seed': seed, 'source': str(path), 'names': [], 'skipped': []}
    items = layouts.entries(path, scale=None, downscale=downscale, images=images)
    with written(out, several=True) as part:
        for folder in ('HR', f'LR_x{scale}'):
            (part / folder).mkdir(parents=True)
        for number, entry in enumerate(items):
            image, reason = cache.load(entry)
            side = 0 if reason else min(size, *image[0].shape[:2]) // scale
            if side < 16:
                info['skipped'].append([entry.name, reason or 'smaller than 16 LR pixels'])
                logging.warning('%s skipped: %s', *info['skipped'][-1])
                continue
            for copy in range(copies):
                # of several folders their names are in the pictures'; @ is no letter of a folder's name there
                name = entry.name.replace('/', '@') + (f'_{copy}' if copies > 1 else '')
                lr, hr = degradations.degrade(image[0], chosen, seed, copies * number + copy, side)
                Image.fromarray(hr).save(part / 'HR' / f'{name}.png')
                Image.fromarray(lr).save(part / f'LR_x{scale}' / f'{name}.png')
                info['names'].append(name)
            if progress:
                progress(number + 1, len(items))
        if not info['names']:
            name, reason = info['skipped'][0]
            raise ValueError(f"none of the {len(items)} images in '{path}' can be used, e.g. {name}: {reason}")
        (part / 'info.json').write_text(json.dumps(info) + '\n')
    return info


def gather(items, folder, info, progress=None):
    """Writes the sub-images of `items` to `folder`, and what they are to `info`."""
    writer, scale = records.writer(folder), info['scale']
    larger, pairs = [], 0
    for done, entry in enumerate(items, 1):
        image, reason = cache.load(entry)
        if reason:
            logging.warning('%s skipped: %s', entry.name, reason)
            info['skipped'].append([entry.name, reason])
        else:
            pairs += image[1] is not None
            larger += [entry.name] if layouts.is_larger(*image, scale) else []
            for n, (hr, lr) in enumerate(cut(*image, size=info['size'], step=info['step'], scale=scale)):
                writer.write(records.pack(hr, lr))
                info['names'].append(f'{entry.name}_s{n:03}')
                info['groups'].append(entry.taught and entry.taught.group or entry.name)
                info['shapes'].append(hr.shape[:2])
                if any(item.taught for item in items):
                    info.setdefault('teachers', []).append(entry.taught.teacher if entry.taught else '')
        if progress:
            progress(done, len(items))
    writer.close()
    layouts.say_larger(larger, pairs, f"'{info['source']}'", scale)
    info['count'] = len(info['names'])


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_string('out', None, 'new folder for the sub-images', required=True)
    flags.DEFINE_integer('size', 480, 'side of a sub-image, HR pixels', lower_bound=1)
    flags.DEFINE_integer('step', 240, 'distance of sub-images, HR pixels', lower_bound=1)
    flags.DEFINE_integer('downscale', 1, 'divide the size of the images by this first (2 for JPEG photographs)', lower_bound=1)
    flags.DEFINE_string('images', '', "numbers in the file names, such as '1-800,850' (default: all)")
    flags.DEFINE_integer('scale', None, 'also cut the LR partners of this scale', lower_bound=2)
    presets = sorted(degradation_presets.PRESETS)
    flags.DEFINE_enum('degradation', None, presets, 'write a benchmark of pictures that are degraded so')
    flags.DEFINE_integer('seed', 0, 'of the degradation', lower_bound=0)
    flags.DEFINE_integer('copies', 1, 'degraded squares of each picture', lower_bound=1)


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    if len(argv) != 2:
        raise ValueError(f'give one SOURCE folder, not {len(argv) - 1}: python -m kdsr.data.prepare SOURCE --out=DIR')
    unread = ('step', 'scale') if flag.degradation else ('seed', 'copies')
    if given := [name for name in unread if flag[name].present]:
        raise ValueError(f'--{given[0]} is not read {"with" if flag.degradation else "without"} --degradation: leave it out')
    if flag.degradation:
        options = {'preset': flag.degradation, **{name: flag[name].value for name in ('seed', 'size', 'copies', 'downscale')}}
        info = degrade(argv[1], flag.out, images=flag.images, progress=console.progress('degrading'), **options)
        print(f'{len(info["names"])} pictures in {flag.out}, {len(info["skipped"])} skipped')
        return
    show = console.progress('cutting')
    sizes = {'size': flag.size, 'step': flag.step, 'downscale': flag.downscale, 'scale': flag.scale}
    info = prepare(argv[1], flag.out, images=flag.images, progress=show, **sizes)
    skipped = f', {len(info["skipped"])} images skipped' if info['skipped'] else ''
    print(f'{info["count"]} sub-images in {flag.out}{skipped}')


if __name__ == '__main__':
    from kdsr import commands

    define_flags()
    commands.run(main, arguments=True)
