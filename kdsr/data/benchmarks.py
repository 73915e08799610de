"""Benchmark folders (Set5, Set14, B100, ...) as pairs of LR and HR images."""

import os
import pathlib
from typing import NamedTuple

import numpy as np

from kdsr.data.images import list_images, read_rgb
from kdsr.data.resize import imresize

LAYOUTS = 'HR/ with LR_x{s}/ or LR_bicubic/X{s}/ beside it (optional), or HR images directly in the folder'


class Example(NamedTuple):
    """One test image. lr: `uint8 [h, w, 3]`. hr: `uint8 [s*h, s*w, 3]`."""

    name: str
    lr: np.ndarray
    hr: np.ndarray


def read(folder: str | os.PathLike, scale: int) -> list[Example]:
    """All images of a benchmark, sorted by file name.

    The folder holds `HR/` and, if given, the LR images in `LR_x4/` or `LR_bicubic/X4/`, named as the HR (`baby.png`) or
    with the scale (`babyx4.png`), in any image format. A folder with images and no `HR/` counts as HR. HR is cropped to
    a multiple of the scale. Missing LR folders are replaced by the benchmarks' own convention: MATLAB's bicubic with
    replicated border, which reproduces the LR images in circulation for Set5, Set14 and BSD100 bit for bit.

    Raises:
      FileNotFoundError: no such folder, no images in it, or no LR partner for an HR image.
      ValueError: two HR images of one name, an LR image that is not HR / scale in size, or a scale that is not a
        positive integer; and the errors of `images.read_rgb`.
    """
    if scale < 1 or int(scale) != scale:
        raise ValueError(f'benchmark scale must be a positive integer, got {scale}')
    folder, scale = pathlib.Path(folder), int(scale)
    partner = _lr_partner(folder, scale)
    return [_example(path, partner(path), scale) for path in _hr_files(folder, scale)]


def _hr_files(folder, scale):
    layouts = LAYOUTS.format(s=scale)
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such benchmark folder; expected {layouts}')
    inside = folder / 'HR' if (folder / 'HR').is_dir() else folder
    files = list_images(inside)
    if not files:
        raise FileNotFoundError(f'{inside}: no images here; expected {layouts}')
    _by_stem(files)
    return files


def _lr_partner(folder, scale):
    """A function from the HR file to its LR file, or to None where this benchmark has no LR for the scale."""
    found = [f for f in (folder / f'LR_x{scale}', folder / 'LR_bicubic' / f'X{scale}') if f.is_dir()]
    if not found:
        return lambda hr: None
    lr = _by_stem(list_images(found[0]))

    def partner(hr):
        for stem in (hr.stem, f'{hr.stem}x{scale}'):
            if stem in lr:
                return lr[stem]
        raise FileNotFoundError(
            f'{hr}: its LR image is missing: neither {hr.stem}.png nor {hr.stem}x{scale}.png (or another image format) '
            f'is in {found[0]}; add it, or remove that folder to have LR made from HR'
        )

    return partner


def _by_stem(files):
    stems = {}
    for path in files:
        if path.stem in stems:
            raise ValueError(f'{path} and {stems[path.stem].name} have the same name: keep one of them')
        stems[path.stem] = path
    return stems


def _example(path, lr_path, s):
    hr = read_rgb(path)
    height, width = hr.shape[0] // s, hr.shape[1] // s
    if not (height and width):
        raise ValueError(f'{path}: {hr.shape[0]}x{hr.shape[1]} pixels are too few for scale {s}')
    hr = np.ascontiguousarray(hr[: s * height, : s * width])
    if lr_path is None:
        return Example(path.stem, imresize(hr, 1 / s, border='replicate', round_between=True), hr)
    lr = read_rgb(lr_path)
    if lr.shape[:2] != (height, width):
        raise ValueError(
            f'{lr_path}: {lr.shape[0]}x{lr.shape[1]} pixels, but {path.name} ({s * height}x{s * width} after cropping) '
            f'at scale {s} needs {height}x{width}'
        )
    return Example(path.stem, lr, hr)
