"""The one way image files come in: any 8-bit picture as `uint8 [H, W, 3]`, or an error that names the file."""

import os
import pathlib
import struct

import numpy as np
from PIL import Image

SUFFIXES = ('.png', '.webp', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')
MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBX', 'CMYK', 'YCbCr')
REMEDY_16 = 'convert it to 8 bits per channel first (rounding is a choice that this reader does not make for you)'
REMEDY_ALPHA = 'flatten it onto the background that you want (compositing invents pixels), or remove the alpha channel'


def list_images(folder: str | os.PathLike) -> list[pathlib.Path]:
    """Image files directly inside `folder`, sorted by name; hidden files (`._a.png` of macOS) are not listed.

    Raises FileNotFoundError if the folder does not exist. An empty folder gives `[]`.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such folder')
    files = (p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith('.'))
    return sorted((p for p in files if p.is_file()), key=lambda p: p.name)


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Reads an 8-bit image of any common mode as `uint8 [H, W, 3]`.

    Grey and 1-bit images are replicated to three channels, palettes looked up, CMYK converted without a colour profile.
    An alpha channel (or a transparent palette entry) is dropped if every pixel is opaque. EXIF orientation and embedded
    colour profiles are NOT applied: benchmarks, and the tools that made the published LR/HR pairs, use the stored
    pixels, and turning one partner of a pair would break it.

    Raises:
      FileNotFoundError: no such file.
      OSError: not an image, truncated or damaged; names the file.
      ValueError: more than 8 bits per channel, real transparency, or an unknown mode; names the file and the remedy.
    """
    try:
        with Image.open(path) as image:
            _check_depth(path, image)
            _stretch_transparent_grey(image)
            image.load()
            return _to_rgb(path, image)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise  # these name the file already
    except _Refused as error:
        raise ValueError(str(error)) from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        # Pillow's decoders raise all of these on damaged files, mostly without saying which file it was.
        raise OSError(f'{path}: cannot read this image ({error}); it may be truncated or damaged') from error


class _Refused(Exception):
    """A readable image that must not be used; kept apart from the ValueErrors of damaged files."""


def _check_depth(path, image):
    # Pillow silently reads 16-bit RGB as 8-bit; only the raw mode of the decoder ('RGB;16B') still tells.
    raw_modes = [str(tile[3]) for tile in image.tile]
    deep = image.format != 'BMP' and any(';16' in raw for raw in raw_modes)  # in a BMP: 16 bits for all three channels
    if image.mode[0] in 'IF' or deep:
        raise _Refused(f'{path}: more than 8 bits per channel (mode {image.mode}); {REMEDY_16}')
    if image.mode not in MODES:
        raise _Refused(f'{path}: mode {image.mode} is not one of {", ".join(MODES)}; save it as 8-bit RGB')


def _stretch_transparent_grey(image):
    # a PNG tells the transparent grey in the 1, 2 or 4 bits that it stores, Pillow's pixels have 8
    grey = image.info.get('transparency')
    if image.format == 'PNG' and image.mode == 'L' and isinstance(grey, int):
        most = 2 ** int(str(image.tile[0][3]).partition(';')[2] or 8) - 1
        image.info['transparency'] = (grey & most) * 255 // most


def _to_rgb(path, image):
    if 'A' in image.getbands() or 'transparency' in image.info:
        rgba = np.asarray(image.convert('RGBA'))
        seen = int((rgba[..., 3] != 255).sum())
        if seen:
            raise _Refused(f'{path}: {seen} pixels are (partly) transparent; {REMEDY_ALPHA}')
        return np.ascontiguousarray(rgba[..., :3])
    return np.array(image.convert('RGB'))
