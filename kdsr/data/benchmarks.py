"""Pictures to score networks on, as pairs of LR and HR: benchmark folders (Set5, Set14, B100, ...) and whole images of a source."""

import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from absl import logging

from kdsr.data import cache, layouts
from kdsr.data.resize import imresize
from kdsr.paths import expanded

LR_ONLY = '@lr'  # after a folder: its pictures are what networks are shown, and nobody has their HR


class Example(NamedTuple):
    """One test image. lr: `uint8 [h, w, 3]`. hr: `uint8 [s*h, s*w, 3]`, None of `read_lr`."""

    name: str
    lr: np.ndarray
    hr: np.ndarray | None


class Examples(list):
    """A list of Example that knows which of its pictures a teacher made.

    teacher: {name: its picture, uint8 like HR} where the folder holds a teacher's pictures; an Example's `hr` is then the truth,
    but for the `unknown` names, where nobody knows it and `hr` is the teacher's picture as well, or None.
    """

    def __init__(self, examples=()):
        super().__init__(examples)
        self.teacher = dict(getattr(examples, 'teacher', {}))
        self.unknown = set(getattr(examples, 'unknown', ()))

    def only(self, wanted):
        """Those for which `wanted(example)`."""
        kept = Examples(self)
        kept[:] = filter(wanted, self)
        return kept


def middle(examples: Examples, size: tuple[int, int], scale: int) -> Examples:
    """The middle `size` = (rows, columns) LR pixels of each Example, and what belongs to them; smaller images are left out."""

    def cut(image, times):
        if image is None:
            return None
        starts = [(have // times - want) // 2 * times for have, want in zip(image.shape[:2], size, strict=True)]
        return image[tuple(np.s_[start : start + want * times] for start, want in zip(starts, size, strict=True))]

    found = Examples(examples).only(lambda example: all(a >= b for a, b in zip(example.lr.shape[:2], size, strict=True)))
    found.teacher = {name: cut(image, scale) for name, image in found.teacher.items()}
    found[:] = [example._replace(lr=cut(example.lr, 1), hr=cut(example.hr, scale)) for example in found]
    return found


def lowered(hr: np.ndarray, scale: int) -> np.ndarray:
    """LR as the benchmarks' own was made: MATLAB's bicubic with replicated border, bit for bit that of Set5, Set14 and BSD100."""
    return imresize(hr, 1 / scale, border='replicate', round_between=True)


def read(folder: str | os.PathLike, scale: int) -> Examples:
    """All images of a benchmark, sorted by name.

    The folder is in one of `layouts.LAYOUTS`, read as training reads it, in any image format. HR is cropped to a multiple of the
    scale. Missing LR folders are replaced by what `lowered` makes. Of a folder of a teacher's pictures
    (kdsr.teach) HR is the truth beside them, where that is known. Images that cannot be used are left out,
    and named in a warning.

    Raises:
      FileNotFoundError, ValueError: as of `layouts.entries`; or no image can be used; or a scale that is not a positive integer.
    """
    if scale < 1 or int(scale) != scale:
        raise ValueError(f'benchmark scale must be a positive integer, got {scale}')
    return collect(layouts.entries(folder, scale=int(scale)), int(scale), lowered, f"'{folder}'")


def is_lr_only(folder: str | os.PathLike) -> bool:
    """Whether `folder` is said to hold LR alone, as 'photos@lr', and is no folder of that name."""
    return str(folder).endswith(LR_ONLY) and not expanded(folder).is_dir()


def read_lr(folder: str | os.PathLike) -> Examples:
    """The pictures of 'photos@lr' as LR, sorted by name; their `hr` is None, all are `unknown`.

    Raises FileNotFoundError, ValueError as `read`; and ValueError of a folder with HR in a folder of its own.
    """
    root = str(folder).removesuffix(LR_ONLY)
    if inner := [room for room in layouts.hr_folders(root) if room != expanded(root)]:
        raise ValueError(f"'{folder}' shall be pictures to enlarge, but has the layout of a benchmark: name '{inner[0]}{LR_ONLY}'")
    found = collect(layouts.entries(root, scale=None), 1, lambda image, _: image, f"'{root}'")
    found[:] = [example._replace(hr=None) for example in found]
    found.unknown = {example.name for example in found}
    return found


def sets(folders, scale: int, taken=(), lr_only: bool = False) -> dict[str, Examples]:
    """{name: `read(folder)`} by the folders' own names; ValueError where two, or one and one `taken`, have the same.

    lr_only: whether 'photos@lr' is allowed, and is `read_lr` of it.
    """
    found = {}
    for folder in folders:
        name = set_name(folder)
        if name in found or name in taken:
            raise ValueError(f"two sets are called '{name}', and scores go by that name: give '{folder}' another (a link will do)")
        if is_lr_only(folder) and not lr_only:
            raise ValueError(f"'{folder}' has no HR, and here is nothing that can be measured without")
        found[name] = read_lr(folder) if is_lr_only(folder) else read(folder, scale)
    return found


def set_name(folder: str | os.PathLike) -> str:
    """What a benchmark is called in tables: the last part of its path."""
    return pathlib.Path(os.path.abspath(expanded(folder))).name


def collect(entries: list[cache.Entry], scale: int, lower: Callable, where: str) -> Examples:
    """Examples of decoded `entries`; LR that is missing is `lower(hr, scale)`. Those that cannot be used are named and left out.

    Raises ValueError where there are entries and none can be used.
    """
    found, skipped, larger, paired = Examples(), [], [], 0
    for entry in entries:
        pair, reason = cache.load(entry)
        try:
            if reason:
                raise ValueError(reason)
            example, teacher, known = _example(entry, *pair, scale, lower)
        except (OSError, ValueError) as e:
            skipped.append(str(e))
            continue
        found.append(example)
        found.teacher |= {} if teacher is None else {entry.name: teacher}
        found.unknown |= set() if known else {entry.name}
        paired += pair[1] is not None
        larger += [entry.name] if layouts.is_larger(*pair, scale) else []
    if skipped and not found:
        raise ValueError(f'none of the {len(entries)} images in {where} can be used, e.g. {skipped[0]}')
    if skipped:
        logging.warning('%d of %d images in %s are left out: %s', len(skipped), len(entries), where, '; '.join(skipped))
    layouts.say_larger(larger, paired, where, scale)
    return found


def _example(entry, hr, lr, scale, lower):
    """(Example, the teacher's picture or None, whether the truth is known)."""
    if min(hr.shape[:2]) < scale:
        raise ValueError(f'{entry.name}: {hr.shape[0]}x{hr.shape[1]} pixels are too few for scale {scale}')
    hr, lr = layouts.cropped(hr, lr, scale)
    hr = np.ascontiguousarray(hr)
    lr = lower(hr, scale) if lr is None else lr
    if not entry.taught:
        return Example(entry.name, lr, hr), None, True
    if not entry.taught.truth:
        return Example(entry.name, lr, hr), hr, False
    truth, _ = layouts.cropped(entry.taught.truth(), None, scale)
    if truth.shape != hr.shape:
        sizes = f'{truth.shape[0]}x{truth.shape[1]}, the picture of {entry.taught.teacher} {hr.shape[0]}x{hr.shape[1]}'
        raise ValueError(f'{entry.name}: the truth is {sizes}: make the folder anew')
    return Example(entry.name, lr, truth), hr, True
