"""Folders of what a teacher makes of pictures: LR, its picture as HR, the truth where it is known, and a card."""

import json
import os
import pathlib
import zlib
from typing import NamedTuple

import numpy as np
import scipy.ndimage
from absl import logging

from kdsr import pictures, tiling
from kdsr.data import cache, degradation_presets, degradations, examples, layouts
from kdsr.data.resize import downscale, margin
from kdsr.paths import beside, remove

BLUR = 8  # LR pixels: sigma of the Gaussian that shows colours in the large
ROWS = 256  # of a band, LR pixels
LEAST = 16  # LR pixels: squares below are left out
DEGRADED = ('realesrgan', 'mild', 'jpeg')


class Options(NamedTuple):
    """How LR is made and what is taught.

    degrade: '' for the LR partner, else bicubic; or 'bicubic', one of DEGRADED, 'none' where the pictures are LR themselves.
    patches: squares of each picture, of `size` pixels of the teacher's picture; 0: whole pictures, one square where degraded.
    seed: of squares and degradations. colour: 'teacher', or 'lr' for LR's colours in the large. truth: whether it is kept.
    """

    degrade: str = ''
    patches: int = 0
    size: int = 480
    seed: int = 0
    colour: str = 'teacher'
    truth: bool = True

    @property
    def squares(self):
        return self.patches or int(self.degrade in DEGRADED)


def make(teacher, folder, target, options, show=None):
    """Writes the folder `target`, whole or not at all; (pictures written, [(name, why) of those left out]).

    A run that was killed leaves its pictures in a hidden folder beside `target`, with which the same call goes on.

    Args:
      teacher: teachers.Teacher or Made. folder: of pictures, as of `layouts.entries`, 'photos@2' halves them. show: called with
      (pictures done, pictures in all).

    Raises what `layouts.entries` raises, and ValueError where no picture can be used, or `target` is there and another's.
    """
    card = json.dumps(described(teacher, folder, options), indent=1) + '\n'
    target = pathlib.Path(target)
    if (target / layouts.CARD).is_file() and (target / layouts.CARD).read_text() == card:
        return len(list((target / 'HR').iterdir())), []
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"'{target}' is there, and not from this command: choose another --out or delete it")
    entries = layouts.entries(folder, scale=None if options.degrade == 'none' else teacher.scale)
    part = beside(target, '.part')
    if not (part / layouts.CARD).is_file() or (part / layouts.CARD).read_text() != card:
        remove(part)
        part.mkdir(parents=True)
        (part / layouts.CARD).write_text(card)
    written, skipped = 0, []
    for done, entry in enumerate(entries, 1):
        count, reason = picture(teacher, entry, part, options)
        written += count
        skipped += [(entry.name, reason)] if reason else []
        if show:
            show(done, len(entries))
    if not written:
        raise ValueError(f"none of the {len(entries)} pictures in '{folder}' can be used, e.g. {skipped[0][0]}: {skipped[0][1]}")
    os.replace(part, target)
    return written, skipped


def described(teacher, folder, options):
    """The card: by `layouts` whose pictures these are, and by which a folder is known for that of the same command."""
    chosen = {name: value for name, value in options._asdict().items() if name not in ('truth', 'size', 'seed')}
    chosen |= {'squares': options.squares, 'size': options.size, 'seed': options.seed} if options.squares else {}
    truth = {'truth': 'truth'} if options.truth and options.degrade != 'none' else {}
    said = {'teacher': teacher.name, 'recognised': str(teacher), 'sha256': teacher.digest, 'scale': teacher.scale}
    return {**said, 'source': str(folder), **truth, **chosen}


def picture(teacher, entry, part, options):
    """Writes what is taught of one picture, but for what is there: (how many pictures, '' or why none)."""
    names = squares(entry.name, options)
    there = lambda name: (part / 'HR' / f'{name}.png').is_file()
    if all(map(there, names)):
        return len(names), ''
    images, reason = cache.load(entry)
    try:
        if reason:
            raise ValueError(reason)
        for name, lr, truth, place in pieces(entry, *images, teacher.scale, options):
            if not there(name):
                save(teacher, part, entry.name, name, lr, truth if options.truth else None, place, options)
    except (OSError, ValueError, FloatingPointError) as e:
        if isinstance(e, OSError) and e.errno:  # a full disk is not this picture's fault
            raise
        logging.warning('%s is left out: %s', entry.name, e)
        for room in part.iterdir():
            for name in names if room.is_dir() else ():
                remove(room / f'{name}.png')
        return 0, str(e)
    return len(names), ''


def save(teacher, part, picture, name, lr, truth, place, options):
    """Writes LR, the truth and at last the teacher's picture: that it is there says that the others are."""
    size = tuple(teacher.scale * side for side in lr.shape[:2])
    for room, image in ((f'LR_x{teacher.scale}', lr), ('truth', truth)):
        if image is not None:
            write(part / room / f'{name}.png', [image], image.shape)
    blocks = teacher.blocks(picture, lr, place)
    if options.colour == 'lr':
        blocks = recoloured(np.concatenate(list(blocks)), lr, teacher.scale)
    write(part / 'HR' / f'{name}.png', blocks, (*size, 3))


def write(path, blocks, shape):
    """A PNG of 8 bits, band by band."""
    path.parent.mkdir(exist_ok=True)
    pictures.write(path, blocks, shape, np.dtype(np.uint8), 'png')


def squares(name, options):
    """Names of what is taught of the picture `name`."""
    return [f'{name}{layouts.CUT}{i:03}' for i in range(options.squares)] or [name]


def pieces(entry, hr, lr, scale, options):
    """Yields (name, LR uint8 `[h, w, 3]`, truth uint8 `[s*h, s*w, 3]` or None, (row, column) in LR) of what is taught of a picture.

    Raises ValueError where it is too small.
    """
    if entry.taught and options.degrade != 'none':  # of a teacher's pictures the truth, where it is known
        hr = entry.taught.truth() if entry.taught.truth else hr
    if options.degrade == 'none':
        hr, lr = None, hr
    else:
        hr, lr = layouts.cropped(hr, None if options.degrade else lr, scale)
    height, width = lr.shape[:2] if lr is not None else (side // scale for side in hr.shape[:2])
    side = min(options.size // scale, height, width)
    if min(height, width) < 1 or options.squares and side < LEAST:
        raise ValueError(f'{width}x{height} LR pixels are too few')
    if not options.squares:
        yield entry.name, reduced(hr, scale) if lr is None else lr, hr, (0, 0)
        return
    for name in squares(entry.name, options):
        number = zlib.crc32(name.encode())  # the picture's own: one that is added changes no other
        if options.degrade in DEGRADED:
            chosen = degradation_presets.settings({'scale': scale}, options.degrade, '--degrade')
            yield name, *degradations.degrade(hr, chosen, options.seed, number, side), (0, 0)
            continue
        rng = np.random.default_rng((options.seed, number))
        y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        small = examples.lr_crop(hr, y, x, side, scale) if lr is None else lr[y : y + side, x : x + side]
        large = None if hr is None else hr[scale * y : scale * (y + side), scale * x : scale * (x + side)]
        yield name, small, large, (y, x)


def reduced(hr, scale):
    """`downscale(hr, scale)` bit for bit, a band at a time. hr: uint8 `[s*h, s*w, 3]`."""
    around, bands = margin(scale), []
    for y in range(0, len(hr) // scale, ROWS):
        top = max(y * scale - around, 0)
        bands.append(downscale(hr[top : (y + ROWS) * scale + around], scale)[y - top // scale :][:ROWS])
    return np.concatenate(bands)


def recoloured(sr, lr, scale):
    """Bands of `sr` (uint8 `[s*h, s*w, 3]`) with the colours of `lr` (uint8 `[h, w, 3]`) in the large.

    Teachers of degraded photographs move colours: Real-ESRGAN's x4plus the mean of a channel by 3.5 of 255 levels, half of the time
    by more. What a Gaussian of `BLUR` LR pixels shows of the difference is added.
    """
    cut = lambda image: (image[y : y + ROWS] for y in range(0, len(image), ROWS))
    small, large = lr.shape[:2], sr.shape[:2]
    away = lr - np.concatenate(list(tiling.resized(map(np.float32, cut(sr)), large, small)))
    away = scipy.ndimage.gaussian_filter(np.float32(away), (BLUR, BLUR, 0), mode='nearest')
    y = 0
    for band in tiling.resized(cut(away), small, large):
        yield np.uint8(np.clip(np.rint(sr[y : y + len(band)] + band), 0, 255))
        y += len(band)
