"""Pictures as files: PNG and TIFF row by row, JPEG and WebP whole, and a name only for what is complete."""

import functools

import numpy as np
from PIL import Image

from kdsr.paths import written
from kdsr.pictures import png, tiff
from kdsr.pictures.picture import SOFTWARE, WRITER, Picture, fitting

EXTENSIONS = {'.png': 'png', '.jpg': 'jpg', '.jpeg': 'jpg', '.jfif': 'jpg', '.webp': 'webp', '.tif': 'tiff', '.tiff': 'tiff'}
SIDES = {'JPEG': 65535, 'WEBP': 16383}  # longest side that the format can hold
WHOLE = 2**29  # pixels: 2 GiB of Pillow's memory


def write(path, blocks, shape, dtype, form, *, icc=b'', quality=95):
    """Writes a picture; `path` is there when it is complete and not before (a kill leaves a hidden .part file).

    Args:
      path: file, replaced if it exists.
      blocks: its bands of rows `[rows, W, C]`, an iterable; computed while they are written. None is asked for where the
        format cannot hold the picture.
      shape: (rows, columns, channels) of the whole.
      dtype: of the blocks, uint8 or uint16 (png and tiff only).
      form: one of `FORMATS`.
      icc: colour profile.
      quality: of jpg and webp, 1 to 100.

    Raises:
      ValueError: a side is too long for the format.
      OSError: the disk is full, the folder cannot be written to.
    """
    options = {'icc': icc, 'quality': quality} if form in ('jpg', 'webp') else {'icc': icc}
    with written(path) as part, open(part, 'wb') as file:
        FORMATS[form](file, blocks, shape, dtype, **options)


def fitted(picture, form):
    """(picture, dtype) as the format holds it: JPEG has no alpha, JPEG and WebP have 8 bits; a note says what was changed."""
    pixels, icc, notes = picture
    dtype = pixels.dtype
    if form in ('jpg', 'webp') and dtype == np.uint16:
        dtype, notes = np.dtype(np.uint8), (*notes, f'{form} holds 8 of its 16 bits: --format=png or tiff keeps them')
    if form == 'jpg' and pixels.shape[-1] in (2, 4):
        pixels, notes = _on_white(pixels), (*notes, 'jpg holds no transparency, so it is laid on white: --format=png keeps it')
    if form == 'webp' and pixels.shape[-1] < 3:
        icc = b''  # a profile of grey; WebP knows RGB only
    return Picture(pixels, fitting(icc, pixels.shape[-1]), notes), dtype


def _on_white(pixels):
    white = np.iinfo(pixels.dtype).max
    out = np.empty((*pixels.shape[:2], pixels.shape[2] - 1), pixels.dtype)
    for y in range(0, len(pixels), 256):  # floats of the whole picture would take eight times its memory
        part = pixels[y : y + 256].astype(np.float32)
        alpha = part[..., -1:] / white
        out[y : y + 256] = part[..., :-1] * alpha + white * (1 - alpha) + np.float32(0.5)
    return out


def _whole(name, file, blocks, shape, dtype, icc, quality):
    rows, columns, channels = shape
    remedy = '--format=png and tiff are written in pieces and hold it'
    if max(rows, columns) > SIDES[name]:
        raise ValueError(f'{columns}x{rows} pixels are more than {name} holds ({SIDES[name]} a side): {remedy}')
    if rows * columns > WHOLE:
        raise ValueError(f'{columns}x{rows} pixels as {name} would take {rows * columns >> 28} GiB of memory or more: {remedy}')
    image, y = Image.new(['L', 'LA', 'RGB', 'RGBA'][channels - 1], (columns, rows)), 0
    for block in blocks:
        image.paste(Image.fromarray(block[..., 0] if channels == 1 else block), (0, y))
        y += len(block)
    options = {'subsampling': 0} if name == 'JPEG' else {'method': 4}
    exif = Image.Exif()
    exif[SOFTWARE] = WRITER
    image.save(file, name, quality=quality, icc_profile=icc or None, exif=exif.tobytes(), **options)


FORMATS = {
    'png': png.write,
    'jpg': functools.partial(_whole, 'JPEG'),
    'webp': functools.partial(_whole, 'WEBP'),
    'tiff': tiff.write,
}
