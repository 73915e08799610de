"""What a teacher is, whatever file it came from: a function of pictures, its scale, and how it is said."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kdsr import tiling
from kdsr.models.bicubic import with_colour

LEAST = 16  # LR pixels: tiles below are of no use


class Teacher(NamedTuple):
    """A network that enlarges pictures.

    name: what it was called by. what: its architecture or kind of file. scale: s. fn: float32 `[1, h, w, 3]` in [0, 1] ->
    `[1, s*h, s*w, 3]`, not clipped, of any size up to a tile's. details: what else was recognised, for people. digest: sha256 of
    its file. side, overlap: of the tiles, LR pixels.
    """

    name: str
    what: str
    scale: int
    fn: Callable
    details: tuple[str, ...] = ()
    digest: str = ''
    side: int = tiling.SIDE
    overlap: int = tiling.OVERLAP

    def __str__(self):
        return f'{self.name}: {self.what} x{self.scale}, {", ".join(self.details)}'

    def blocks(self, name, lr, place=(0, 0)):
        """Its picture of `lr` (uint8 `[h, w, 3]`) as uint8 bands of rows `[rows, s*w, 3]`; `name`, `place`: of `Made` alone.

        Raises FloatingPointError where the network gives NaN or infinity.
        """
        return tiling.bands(self.fn, lr, scale=self.scale, side=self.side, overlap=self.overlap)


def fitted(fn, scale, multiple=1, exact=None):
    """`fn` of pictures `[1, h, w, C]` of any size: mirrored to the next `multiple` of pixels, or to `exact` = (rows, columns).

    What was added is cut off again. A picture larger than `exact` is an error: tiles must not be.
    """

    def padded(x):
        height, width = x.shape[1:3]
        rows, columns = exact or (math.ceil(n / multiple) * multiple for n in (height, width))
        more = ((0, 0), (0, rows - height), (0, columns - width), (0, 0))
        return np.asarray(fn(np.pad(x, more, 'symmetric')))[:, : scale * height, : scale * width]

    return padded if exact or multiple > 1 else fn


def of_luma(fn, scale):
    """A function of RGB pictures from `fn` of one channel, Y of BT.601; Cb and Cr are enlarged bicubically."""

    return lambda x: np.asarray(with_colour(lambda y: np.float32(fn(np.asarray(y))), np.float32(x), scale))


def tiles(multiple=1, exact=None):
    """{side, overlap} of the tiles of a network that takes such sizes (`fitted`).

    Raises ValueError where its fixed size is below `LEAST`.
    """
    if exact:
        if min(exact) < LEAST:
            raise ValueError(f'it takes pictures of {exact[0]}x{exact[1]} alone, too small to be tiles')
        return {'side': min(exact), 'overlap': min(tiling.OVERLAP, min(exact) // 4)}
    return {'side': math.ceil(tiling.SIDE / multiple) * multiple}
