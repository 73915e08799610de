"""Decode-once cache: all images of a source in one memory-mapped uint8 file.

File format: the pixels of all images one after the other, then the index as JSON, then 8 bytes (the index's length) and
the magic. One file, so that one rename makes pixels and index appear together.
"""

import hashlib
import json
import mmap
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from kdsr import console
from kdsr.paths import expanded, written

MAGIC = b'kdsr-images-1'


class Entry(NamedTuple):
    """An image that can be decoded.

    name: for people. load() -> (hr, lr): uint8 `[H, W, 3]`, and uint8 `[h, w, 3]` or None; may raise on broken files.
    origin: where the pixels come from and how they are treated, e.g. 'photos/a.jpg @2'.
    stamp: any JSON value that changes when the file does, e.g. [size, mtime].
    taught: layouts.Taught where a teacher made the image, None where it is the truth itself.
    """

    name: str
    load: Callable[[], tuple[np.ndarray, np.ndarray | None]]
    origin: str
    stamp: Any
    taught: Any = None


class Decoded(NamedTuple):
    """What the cache holds.

    names: of the readable images, in the order of the entries. shapes: (H, W) of each HR.
    read(i) -> (hr, lr or None): read-only views of the mapped file, safe from many threads, and for pickle.
    skipped: [(name, reason)] of the unreadable ones.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    read: Callable[[int], tuple[np.ndarray, np.ndarray | None]]
    skipped: list[tuple[str, str]]


class Mapped:
    """The images of a cache file: `mapped(i)` is (hr, lr or None). Pickle takes the path; another process maps the file itself."""

    def __init__(self, path, index, pixels):
        self.path, self.index, self.pixels = path, index, pixels

    def __call__(self, i):
        image = self.index['images'][i]
        return self.view(image['hr']), self.view(image['lr'])

    def view(self, place):
        """uint8 `[H, W, 3]` at [offset, H, W], or None of None."""
        if place is None:
            return None
        offset, h, w = place
        return self.pixels[offset : offset + h * w * 3].reshape(h, w, 3)

    def __reduce__(self):
        return mapped_again, (self.path, self.index)


def mapped_again(path, index):
    """`Mapped` in another process; OSError where the file is no longer the one with this `index`."""
    found = _open(path)
    if found is None or found[0] != index:
        raise OSError(f'{path} has changed since the run began, because a picture has: start the run again')
    return Mapped(path, *found)


def default_dir():
    """$KDSR_CACHE/images, else ~/.cache/kdsr/images."""
    return expanded(os.environ.get('KDSR_CACHE') or '~/.cache/kdsr') / 'images'


def stamp(*paths):
    """Size and modification time (ns) of files: changes when one of them is written again."""
    return [[s.st_size, s.st_mtime_ns] for s in map(os.stat, paths)]


def decoded(entries, cache_dir=None):
    """Images of `entries`, decoded now or by an earlier run.

    The file's name follows from the names and origins, so a changed image replaces the old cache and does not pile up.
    Unreadable images are left out and listed in `skipped`.

    Raises OSError if the cache cannot be written (full disk, no permission).
    """
    folder = expanded(cache_dir) if cache_dir else default_dir()
    identity = json.dumps([[e.name, e.origin] for e in entries])
    path = folder / (hashlib.sha256(MAGIC + identity.encode()).hexdigest()[:20] + '.u8')
    stamps = [e.stamp for e in entries]
    found = _open(path)
    if found is None or found[0]['stamps'] != stamps:
        try:
            _build(entries, stamps, path)
        except OSError as e:
            raise OSError(
                f'cannot write the image cache in {folder} ({e.strerror or e}): free some space there, '
                'or set KDSR_CACHE to a folder with room'
            ) from e
        found = _open(path)
    images = found[0]['images']
    return Decoded(
        names=tuple(i['name'] for i in images),
        shapes=tuple((i['hr'][1], i['hr'][2]) for i in images),
        read=Mapped(path, *found),
        skipped=[tuple(s) for s in found[0]['skipped']],
    )


def _open(path):
    """(index, flat read-only uint8 array) of a cache file; None if there is none or it is not whole."""
    try:
        with open(path, 'rb') as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, ValueError):
        return None
    end = len(data) - len(MAGIC) - 8
    if end < 0 or data[end + 8 :] != MAGIC:
        return None
    start = end - int.from_bytes(data[end : end + 8], 'little')
    return json.loads(data[start:end]), np.frombuffer(data, np.uint8)


def _build(entries, stamps, path):
    """Decodes all entries into `path`; the old file stays until the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    label = f'decoding {len(entries)} images once'
    logging.info('%s into %s', label, path)
    index = {'stamps': stamps, 'images': [], 'skipped': []}
    threads, show = min(os.cpu_count() or 1, 8), console.progress(label)
    with written(path, several=True) as part, open(part, 'wb') as file, ThreadPoolExecutor(threads) as pool:
        # a few at a time: `map` over everything would hold what is decoded ahead of the disk in memory
        for first in range(0, len(entries), 2 * threads):
            some = entries[first : first + 2 * threads]
            for entry, (images, reason) in zip(some, pool.map(load, some), strict=True):
                if reason:
                    index['skipped'].append([entry.name, reason])
                else:
                    hr, lr = (_append(file, image) for image in images)
                    index['images'].append({'name': entry.name, 'hr': hr, 'lr': lr})
            show(first + len(some), len(entries))
        footer = json.dumps(index).encode()
        file.write(footer + len(footer).to_bytes(8, 'little') + MAGIC)


def load(entry):
    """((hr, lr), '') of an entry, or (None, why not) if it cannot be read."""
    try:
        hr, lr = entry.load()
    except (OSError, ValueError, SyntaxError, EOFError) as e:  # Pillow raises all of these on broken bytes
        return None, ' '.join(str(e).split()) or type(e).__name__
    for image in (hr, lr):
        if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3):
            return None, f'not an 8-bit RGB image but {image.dtype} {list(image.shape)}'
    return (hr, lr), ''


def _append(file, image):
    """Writes the pixels; returns their place [offset, H, W]."""
    if image is None:
        return None
    place = [file.tell(), *image.shape[:2]]
    file.write(np.ascontiguousarray(image))
    return place


def _remove_leftovers(path):
    """Deletes half-written files of killed runs; one that still grows belongs to a run beside this one."""
    for old in path.parent.glob(f'.{path.name}.*.part'):
        if time.time() - old.stat().st_mtime > 3600:
            old.unlink(missing_ok=True)
