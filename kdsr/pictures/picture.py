"""What a picture in memory is, and what may go wrong on the way there."""

import contextlib
import warnings
from typing import NamedTuple

import numpy as np

WRITER = 'kdsr'  # what files say that they were made by, where their format has a place for it
SOFTWARE = 305  # that place, in TIFF and EXIF


class Picture(NamedTuple):
    """A picture in memory.

    pixels: uint8 or uint16 `[H, W, C]`: grey, grey + alpha, RGB or RGBA for C = 1, 2, 3, 4.
    icc: its colour profile, b'' if none. notes: what a person should know of how it was read, one line each.
    """

    pixels: np.ndarray
    icc: bytes = b''
    notes: tuple[str, ...] = ()


class Refused(ValueError):
    """A readable file that no rule covers; kept apart from the ValueErrors of decoders on damaged files."""


@contextlib.contextmanager
def decoding():
    """Whatever a decoder raises on a damaged file (IndexError, KeyError, ...) becomes an OSError of one line; no warnings."""
    try:
        with warnings.catch_warnings(action='ignore'):
            yield
    except (Refused, MemoryError):
        raise
    except Exception as e:
        text = ' '.join(str(e).split()) or type(e).__name__
        raise OSError(f'it cannot be decoded ({text}): truncated, damaged or of an unknown kind') from e


def check_size(width, height, most):
    """Raises Refused for a picture of no pixels or of more than `most`."""
    if width < 1 or height < 1:
        raise Refused(f'it says that it has {width}x{height} pixels')
    if width * height > most:
        raise Refused(f'{width}x{height} are {width * height / 1e6:.4g} megapixels: more than --max_megapixels={most / 1e6:g}')


def turned(pixels, orientation):
    """`[H, W, C]` as EXIF's orientation 1 to 8 says; any other number changes nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def fitting(icc, channels):
    """The colour profile `icc` if it is one for pictures of so many channels, else b''."""
    return icc if icc and icc[16:20] == (b'GRAY' if channels < 3 else b'RGB ') else b''
