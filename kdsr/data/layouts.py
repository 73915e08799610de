"""The one parser of image folders: which files are HR, which are their LR partners, whose pictures they are, what is not read."""

import functools
import json
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from kdsr.data import cache
from kdsr.data.images import list_images, read_rgb
from kdsr.data.resize import downscale
from kdsr.paths import expanded

LAYOUTS = (
    'accepted layouts: (a) a folder of images; (b) HR/ with LR_x4/ or LR_bicubic/X4/ (optional); '
    '(c) DIV2K_train_HR/ (and DIV2K_valid_HR/) with DIV2K_train_LR_bicubic/X4/ (optional)'
)
CARD = 'teacher.json'  # beside an HR/ that a teacher made: {"teacher": name, "truth": folder of what it imitates, if known}
CUT = '_p'  # and if its card has "squares", PICTURE_p000, PICTURE_p001, ... are squares of PICTURE
# pictures that are not read: said, since a folder of them would seem empty
OTHERS = ('.gif', '.heic', '.heif', '.avif', '.jp2', '.jxl', '.ppm', '.pgm', '.tga', '.exr', '.hdr', '.dng', '.cr2', '.nef', '.arw')


class Taught(NamedTuple):
    """Whose picture an HR is that no camera made: the teacher's name, and what reads the truth (uint8), None where unknown.

    group: name of the picture that it is a square of, '' of a whole one. origin, stamp: of the truth, as of `cache.Entry`.
    """

    teacher: str
    truth: Callable[[], np.ndarray] | None
    group: str = ''
    origin: str = ''
    stamp: Any = None


def entries(path: str | os.PathLike, *, scale, downscale=1, images=None) -> list[cache.Entry]:
    """The pictures of one or more folders, sorted by name. For training, benchmarks and calibration alike.

    Pictures in these folders that are not read are named in one warning per folder.

    Args:
      path: a folder in one of `LAYOUTS`, or several joined by commas; `photos@2` divides the pictures of `photos` by 2.
      scale: says which LR folder is the partner; None: no LR is wanted.
      downscale: for all folders without their own `@`. LR is not used where it is above 1.
      images: ranges of the first number in HR's file names, '1-800,850'; None: all.

    Raises:
      FileNotFoundError: no such folder, no image in it, or a missing LR partner.
      ValueError: two files of one name, two LR folders or LR files that could be meant, bad ranges, a damaged card.
    """
    whole = str(path) and expanded(path).is_dir()
    roots = [_root(part, downscale) for part in ([str(path)] if whole else str(path).split(','))]
    names = [root.name for root, _ in roots]
    if len(set(names)) < len(names):  # a/HR,b/HR
        names = [f'{root}@{factor}' if factor > 1 else str(root) for root, factor in roots]
    if again := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"'{path}' names {sorted(again)[0]} twice")
    found = []
    for (root, factor), name in zip(roots, names, strict=True):
        found += _entries(root, factor, scale, images, f'{name}/' if len(roots) > 1 else '')
    return sorted(found, key=lambda entry: entry.name)


def _root(part, downscale):
    """'photos@2' -> (Path('photos'), 2)."""
    part = part.strip()
    if not part:
        raise FileNotFoundError(f"no folder ''; {LAYOUTS}")
    match = re.fullmatch(r'(.+)@(\d+)', part)
    if match is None or expanded(part).is_dir():
        return expanded(part), downscale
    if int(match[2]) < 1:
        raise ValueError(f"'{part}': the number after @ divides the size and must be at least 1")
    return expanded(match[1]), int(match[2])


def _entries(root, factor, scale, images, prefix):
    """Entries of one folder."""
    wanted = scale if factor == 1 else None
    rooms = _rooms(root, scale)
    files = [(hr, room) for room in rooms for hr in list_images(room.hr)]
    if not files:
        unread = _unread(root, [])
        hint = f', but in {", ".join(unread)}' if unread else ''
        raise FileNotFoundError(f"no images in '{rooms[0].hr}'{hint}; {LAYOUTS}")
    stems = _by_stem([hr for hr, _ in files])
    lr_rooms = {room: _lr_room(room) if wanted else None for room in rooms}
    lr_files = {room: _by_stem(list_images(folder)) for room, folder in lr_rooms.items() if folder}
    teacher, truth, cut = _card(root) or ('', None, False)
    _say_unread(root, rooms, [folder for folder in (*lr_rooms.values(), truth) if folder], lr_rooms, factor, scale)
    partners = {}
    for hr, room in files if not images else _selected(files, images, root):
        partners[hr] = _partner(hr, lr_files[room], lr_rooms[room], scale, stems) if room in lr_files else None
    if not images:
        _say_spare(lr_files, lr_rooms, set(partners.values()))
    truths = _by_stem(list_images(truth)) if truth else {}
    if teacher and not truths:
        logging.warning("'%s': HR are pictures of %s, and the truth is not there: scores are against the teacher", root, teacher)
    found = []
    for hr, lr in partners.items():
        both = [hr] if lr is None else [hr, lr]
        origin = f'{" | ".join(str(f.resolve()) for f in both)} @{factor} x{scale if lr else 0}'
        decode = functools.partial(load, hr, lr, factor, scale)
        group = prefix + hr.stem.rpartition(CUT)[0] if cut else ''
        taught = Taught(teacher, None, group) if teacher else None
        if taught and (file := truths.get(hr.stem)):
            where = {'origin': f'{file.resolve()} @{factor}', 'stamp': cache.stamp(file)}
            taught = taught._replace(truth=functools.partial(load_hr, file, factor), **where)
        found.append(cache.Entry(prefix + hr.stem, decode, origin, cache.stamp(*both), taught))
    return found


class _Room(NamedTuple):
    """An HR folder, and the LR folders that are accepted for it."""

    hr: pathlib.Path
    lr: tuple[pathlib.Path, ...]


def hr_folders(root: str | os.PathLike) -> list[pathlib.Path]:
    """The folders of HR in a benchmark's or DIV2K's layout, else `root` itself. Raises FileNotFoundError without such a folder."""
    return [room.hr for room in _rooms(expanded(root), None)]


def _rooms(root, scale):
    """The HR folders of `root` by layout."""
    if not root.is_dir():
        raise FileNotFoundError(f"no folder '{root}'; {LAYOUTS}")
    if (root / 'HR').is_dir():
        return [_Room(root / 'HR', (root / f'LR_x{scale}', root / 'LR_bicubic' / f'X{scale}'))]
    parts = sorted(root.glob('DIV2K_*_HR'))
    return [_Room(part, (root / f'{part.name[:-3]}_LR_bicubic' / f'X{scale}',)) for part in parts] or [_Room(root, ())]


def _lr_room(room):
    there = {folder.resolve(): folder for folder in reversed(room.lr) if folder.is_dir()}
    if len(there) > 1:
        raise ValueError(f"LR of '{room.hr}' is in two places, {' and '.join(map(str, sorted(there)))}: keep one of them")
    return next(iter(there.values()), None)


def _say_unread(root, rooms, others, lr_rooms, factor, scale):
    """Warns of pictures in `root` that are neither in the `rooms` nor in the `others`."""
    complete, unread = all(lr_rooms.values()), _unread(root, [*(room.hr for room in rooms), *others])
    if complete:
        unread = [name for name in unread if not _other_scale(name, scale)]
    if rooms == [_Room(root, ())] and root.resolve().name.endswith('HR'):  # its LR lies beside it, not in it
        beside = [room for room in _rooms(root.resolve().parent, scale) if room.hr == root.resolve()]
        unread += [str(folder) for room in beside for folder in room.lr if folder.is_dir()]
    lacking = [room.hr.name for room in rooms if room.lr and not lr_rooms[room]]
    if not unread and not (lacking and any(lr_rooms.values())):
        return
    if complete:
        why = 'LR is read from ' + ', '.join(str(folder.relative_to(root)) for folder in lr_rooms.values())
    elif factor > 1:
        why = f'HR is divided by {factor}, and LR made from it'
    else:
        why = f'LR of {", ".join(lacking) or "the images"} is made from HR' if scale else 'no scale is given, so HR alone is read'
    logging.warning("'%s': %s%s (%s)", root, why, f'; not read: {", ".join(unread)}' if unread else '', LAYOUTS)


def _other_scale(name, scale):
    number = re.search(r'x(\d+)$', name, re.I)
    return bool(number) and int(number[1]) != scale


def _unread(root, read):
    """Folders with pictures in `root` and up to two below it besides those `read`, and files in those that kdsr cannot read."""
    read = {folder.resolve() for folder in read}
    below = _folders(root)
    found = []
    for folder in (root, *below, *(deeper for one in below for deeper in _folders(one))):
        name, files = str(folder.relative_to(root)), _files(folder)
        if folder.resolve() not in read:
            found += [name] if files and list_images(folder) else []
        elif kinds := sorted({f.suffix.lower() for f in files if f.suffix.lower() in OTHERS}):
            count = sum(f.suffix.lower() in OTHERS for f in files)
            found.append(f'{count} files {", ".join("*" + kind for kind in kinds)} in {folder} (save them as PNG)')
    return ['the images beside HR' if name == '.' else name for name in found]


def _files(folder):
    try:
        return [p for p in folder.iterdir() if not p.name.startswith('.')]
    except OSError:  # not ours to look into
        return []


def _folders(folder):
    return sorted(p for p in _files(folder) if p.is_dir())


def _selected(files, images, root):
    """The files whose number lies in one of the ranges '1-800,850'."""
    ranges = [re.fullmatch(r'\s*(\d+)\s*(?:-\s*(\d+)\s*)?', part) for part in str(images).split(',')]
    if not all(ranges) or any(r[2] and int(r[2]) < int(r[1]) for r in ranges):
        raise ValueError(f"images='{images}' must be rising ranges of numbers in file names, such as '1-800,850'")
    numbered = [(int(n[0]), f) for f in files if (n := re.search(r'\d+', f[0].stem))]
    chosen = [f for n, f in numbered if any(int(r[1]) <= n <= int(r[2] or r[1]) for r in ranges)]
    if not chosen:
        numbers = [n for n, _ in numbered]
        have = f'they are numbered {min(numbers)} to {max(numbers)}' if numbers else 'no file name has a number'
        raise ValueError(f"images='{images}' selects none of the {len(files)} images in '{root}': {have}")
    return chosen


def _by_stem(files):
    stems = {}
    for path in files:
        if path.stem in stems:
            raise ValueError(f'{path} and {stems[path.stem].name} have the same name: keep one of them, or rename it')
        stems[path.stem] = path
    return stems


def _partner(hr, files, room, scale, stems):
    """The LR file of `hr` among `files` {stem: path}: 'baby' or 'babyx4', unless that is another HR's name."""
    named = f'{hr.stem}x{scale}'
    found = [files[stem] for stem in (hr.stem, named) if stem in files and (stem == hr.stem or stem not in stems)]
    if len(found) > 1:
        raise ValueError(f"'{hr}' has two partners in '{room}', {found[0].name} and {found[1].name}: keep one of them")
    if not found:
        there = f'there is {next(iter(files.values())).name}' if files else 'it is empty'
        raise FileNotFoundError(
            f"'{hr}' has no partner: neither {named} nor {hr.stem} is in '{room}' ({there}); "
            'add it, or remove that folder to have LR made from HR'
        )
    return found[0]


def _say_spare(lr_files, lr_rooms, used):
    for room, files in lr_files.items():
        if spare := [path.name for path in files.values() if path not in used]:
            logging.warning("%d of %d images in '%s' belong to no HR and are not used: %s", len(spare), len(files), lr_rooms[room],
                            ', '.join(spare[:3]) + ', ...' * (len(spare) > 3))  # fmt: skip


def _card(root):
    """(teacher's name, folder of the truth or None, whether HR are squares) where a teacher made HR, else None."""
    card = root / CARD
    if not card.is_file():
        return None
    try:
        fields = json.loads(card.read_text())
        folder = root / fields['truth'] if fields.get('truth') else None
        return str(fields['teacher']), folder if folder and folder.is_dir() else None, bool(fields.get('squares'))
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"{card} is damaged ({e}): make '{root}' anew, or delete the file to take HR for the truth") from e


def load(hr_file, lr_file, factor, scale):
    """(hr, lr or None) of one pair of files, uint8; HR divided by `factor`. Raises OSError or ValueError naming the file."""
    hr = load_hr(hr_file, factor)
    if lr_file is None:
        return hr, None
    lr = read_rgb(lr_file)
    check_pair(hr, lr, scale, lr_file)
    return hr, lr


def load_hr(file, factor):
    """The image of a file, divided by `factor`."""
    hr = read_rgb(file)
    return hr if factor == 1 else downscale(hr[: len(hr) // factor * factor, : hr.shape[1] // factor * factor], factor)


def check_pair(hr, lr, scale, name):
    """ValueError where `lr` is neither HR / scale in size nor a pixel larger."""
    h, w = hr.shape[0] // scale, hr.shape[1] // scale
    if not (h <= lr.shape[0] <= h + 1 and w <= lr.shape[1] <= w + 1):
        raise ValueError(f'{name}: LR is {lr.shape[0]}x{lr.shape[1]}, but HR {hr.shape[0]}x{hr.shape[1]} / {scale} = {h}x{w}')


def cropped(hr, lr, scale):
    """`hr` cut to a multiple of `scale`, `lr` (or None) to match: MATLAB's imresize of an HR that was not gives a pixel more."""
    h, w = hr.shape[0] // scale, hr.shape[1] // scale
    return hr[: scale * h, : scale * w], None if lr is None else lr[:h, :w]


def is_larger(hr, lr, scale):
    """Whether there is an `lr` that is larger than `hr` / scale."""
    return lr is not None and any(lr.shape[axis] > hr.shape[axis] // scale for axis in (0, 1))


def say_larger(larger, count, where, scale):
    """Warns of LR images that are a pixel larger than HR / scale; larger: their names, of `count`."""
    if larger:
        logging.warning('%d of %d LR images in %s are a pixel larger than HR / %d, e.g. of %s: both are cropped',
                        len(larger), count, where, scale, larger[0])  # fmt: skip
