"""Image folders as people have them: which files are HR, which are their LR partners, which are selected."""

import functools
import pathlib
import re

from kdsr.data import cache
from kdsr.data.images import list_images, read_rgb
from kdsr.data.resize import downscale

LAYOUTS = (
    'accepted layouts: (a) a folder of images; (b) HR/ with optional LR_x4/ or LR_bicubic/X4/; '
    '(c) DIV2K_train_HR/ (and DIV2K_valid_HR/) with optional DIV2K_train_LR_bicubic/X4/'
)


def entries(path, *, scale, downscale=1, images=None):
    """What `folder` decodes: a list of `cache.Entry`, sorted by name."""
    roots = [_root(part, downscale) for part in str(path).split(',')]
    found = []
    for root, factor in roots:
        prefix = f'{root.name}/' if len(roots) > 1 else ''
        for hr, lr in _pairs(root, scale if factor == 1 else None, images):
            files = [hr] if lr is None else [hr, lr]
            origin = f'{" | ".join(str(f.resolve()) for f in files)} @{factor} x{scale if lr else 0}'
            decode = functools.partial(load, hr, lr, factor, scale)
            found.append(cache.Entry(prefix + hr.stem, decode, origin, cache.stamp(*files)))
    return sorted(found, key=lambda entry: entry.name)


def _root(part, downscale):
    """'photos@2' -> (Path('photos'), 2)."""
    match = re.fullmatch(r'(.+)@(\d+)', part.strip())
    if match is None or pathlib.Path(part.strip()).is_dir():
        return pathlib.Path(part.strip()).expanduser(), downscale
    if int(match[2]) < 1:
        raise ValueError(f"'{part}': the number after @ divides the size and must be at least 1")
    return pathlib.Path(match[1]).expanduser(), int(match[2])


def _pairs(root, scale, images):
    """[(HR file, LR file or None)] of one folder; `scale` None: no LR wanted."""
    rooms = _rooms(root, scale)
    files = [(hr, lr_room) for hr_room, lr_room in rooms for hr in list_images(hr_room)]
    if not files:
        raise FileNotFoundError(f"no images in '{root}'; {LAYOUTS}")
    partners = {room: {p.stem: p for p in list_images(room)} for _, room in rooms if room}
    return [(hr, room and _partner(hr, room, partners[room], scale)) for hr, room in _selected(files, images, root)]


def _rooms(root, scale):
    """[(HR folder, LR folder or None)] by layout."""
    if not root.is_dir() or root == pathlib.Path():
        raise FileNotFoundError(f"no folder '{root}'; {LAYOUTS}")
    if (root / 'HR').is_dir():
        rooms = [(root / 'HR', (root / f'LR_x{scale}', root / f'LR_bicubic/X{scale}'))]
    else:
        parts = sorted(root.glob('DIV2K_*_HR'))
        rooms = [(part, (root / f'{part.name[:-3]}_LR_bicubic/X{scale}',)) for part in parts] or [(root, ())]
    return [(hr, next((lr for lr in lr_rooms if scale and lr.is_dir()), None)) for hr, lr_rooms in rooms]


def _selected(files, images, root):
    """The files whose number lies in one of the ranges '1-800,850'."""
    if not images:
        return files
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


def _partner(hr, room, files, scale):
    """The LR file of `hr` among `files` {stem: path}: 'babyx4' or 'baby'."""
    lr = files.get(f'{hr.stem}x{scale}') or files.get(hr.stem)
    if lr is None:
        raise FileNotFoundError(f"'{hr}' has no partner: neither {hr.stem}x{scale} nor {hr.stem} is in '{room}'")
    return lr


def load(hr_file, lr_file, factor, scale):
    """(hr, lr or None) of one pair of files, uint8; HR divided by `factor`. Raises OSError or ValueError naming the file."""
    hr = read_rgb(hr_file)
    if factor > 1:
        hr = downscale(hr[: len(hr) // factor * factor, : hr.shape[1] // factor * factor], factor)
    return hr, None if lr_file is None else fitted(hr, read_rgb(lr_file), scale, lr_file)


def fitted(hr, lr, scale, name):
    """`lr` cut to HR // scale: MATLAB's imresize of an HR image that was not cropped first gives a pixel more."""
    h, w = hr.shape[0] // scale, hr.shape[1] // scale
    most = -(-hr.shape[0] // scale), -(-hr.shape[1] // scale)
    if not (h <= lr.shape[0] <= most[0] and w <= lr.shape[1] <= most[1]):
        raise ValueError(f'{name}: LR is {lr.shape[0]}x{lr.shape[1]}, but HR {hr.shape[0]}x{hr.shape[1]} / {scale} = {h}x{w}')
    return lr[:h, :w]
