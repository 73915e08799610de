"""TIFF: reading what Pillow does not (16-bit planes, floats), and writing row by row."""

import zlib

import numpy as np
import tifffile

from kdsr.pictures.picture import SOFTWARE, WRITER, Picture, Refused, check_size, decoding, fitting, turned

MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
ROWS = 16  # of a strip
GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
CLASSIC = 2**32 - 2**25  # bytes: what a TIFF with 32-bit offsets may hold, some kept for its tables


def read(path, most):
    """A `Picture` of the first page: 8 or 16 bits, or floats in [0, 1], which become 16 bits. Errors as `pictures.read`."""
    with decoding(), tifffile.TiffFile(path) as file:
        page = file.pages[0]
        check_size(page.imagewidth, page.imagelength, most)
        if page.photometric not in (*GREY, tifffile.PHOTOMETRIC.RGB):
            raise Refused(f'a TIFF of {page.photometric.name} with {page.bitspersample} bits: save it as RGB or grey')
        pixels = page.asarray()
        pixels = pixels[..., None] if page.samplesperpixel == 1 else pixels
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
            pixels = np.moveaxis(pixels, 0, -1)
        colours = 3 if page.photometric == tifffile.PHOTOMETRIC.RGB else 1
        extra = tuple(page.extrasamples)[:1]
        pixels, notes = _sixteen_bits(pixels, page.bitspersample)
        alpha = extra in ((tifffile.EXTRASAMPLE.UNASSALPHA,), (tifffile.EXTRASAMPLE.ASSOCALPHA,))
        if pixels.shape[-1] > colours + alpha:
            notes.append(f'{pixels.shape[-1] - colours - alpha} further channels are left out')
        pixels = pixels[..., : colours + alpha]
        if extra == (tifffile.EXTRASAMPLE.ASSOCALPHA,):
            pixels = _unmultiplied(pixels)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            pixels = np.concatenate([np.iinfo(pixels.dtype).max - pixels[..., :1], pixels[..., 1:]], -1)
        if len(file.pages) > 1:
            notes.append(f'only the first of its {len(file.pages)} pages is read')
        orientation, icc = (page.tags.valueof(tag, default) for tag, default in ((274, 1), (34675, b'')))
        return Picture(turned(pixels, orientation), fitting(bytes(icc), pixels.shape[-1]), tuple(notes))


def written_here(path):
    """Whether `write` made this file."""
    with tifffile.TiffFile(path) as file:
        return file.pages[0].tags.valueof(SOFTWARE) == WRITER


def widened(pixels, bits):
    """uint16 samples of `bits` bits, white being 2^bits - 1, as those of 16."""
    if bits == 16:
        return pixels
    return np.round(pixels * (65535 / (2**bits - 1))).astype(np.uint16)


def _sixteen_bits(pixels, bits):
    if pixels.dtype == np.uint16:
        return widened(pixels, bits), []
    if pixels.dtype == np.uint8:
        return pixels, []
    if pixels.dtype.kind != 'f':
        raise Refused(f'pixels of {pixels.dtype} have no agreed white: save it with 16 bits')
    least, largest = float(pixels.min()), float(pixels.max())
    if not 0 <= least <= largest <= 1:  # false for NaN as well
        raise Refused(f'floats from {least:g} to {largest:g} have no agreed white: scale them to [0, 1] or save it with 16 bits')
    return np.round(pixels * 65535).astype(np.uint16), ['its floats in [0, 1] become 16 bits']


def _unmultiplied(pixels):
    # "associated" alpha: the colours were multiplied by it
    white, alpha = np.iinfo(pixels.dtype).max, pixels[..., -1:]
    colours = np.minimum(np.round(pixels[..., :-1] * np.float64(white) / np.maximum(alpha, 1)), white)
    return np.concatenate([colours.astype(pixels.dtype), alpha], -1)


def write(file, blocks, shape, dtype, icc=b''):
    """Writes bands of rows as they come, `blocks` of `dtype` (uint8 or uint16), to a binary file; deflated, in strips.

    Args:
      shape: (rows, columns, channels) of them all.
    """
    rows, columns, channels = shape
    large = rows * columns * channels * np.dtype(dtype).itemsize > CLASSIC
    strips = (_deflated(rows) for rows in regrouped(blocks, ROWS))
    with tifffile.TiffWriter(file, bigtiff=large) as writer:
        writer.write(
            strips,
            shape=(rows, columns, channels) if channels > 1 else (rows, columns),
            dtype=dtype,
            rowsperstrip=ROWS,
            photometric='rgb' if channels > 2 else 'minisblack',
            extrasamples=['unassalpha'] if channels in (2, 4) else None,
            planarconfig='contig' if channels > 1 else None,
            compression='zlib',
            predictor=True,
            iccprofile=icc or None,
            metadata=None,
            software=WRITER,
        )


def _deflated(rows):
    # TIFF's predictor 2: each sample less its left neighbour
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    return zlib.compress(differences.astype(differences.dtype.newbyteorder('<')).tobytes(), 1)


def regrouped(blocks, rows):
    """Bands of any height -> bands of `rows` rows; the last has what is left."""
    rest = None
    for block in blocks:
        block = block if rest is None else np.concatenate([rest, block])
        whole = len(block) // rows * rows
        yield from (block[y : y + rows] for y in range(0, whole, rows))
        rest = block[whole:].copy() if whole < len(block) else None
    if rest is not None:
        yield rest
