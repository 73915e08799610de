"""One image file of any kind -> pixels `[H, W, C]` as they are meant to be seen, with notes on what was decided."""

import contextlib
import pathlib
import sys

import numpy as np
from PIL import Image, UnidentifiedImageError

from kdsr.pictures import tiff
from kdsr.pictures.picture import SOFTWARE, WRITER, Picture, Refused, check_size, decoding, fitting, turned

ORIENTATION = 0x0112  # EXIF: how the stored picture is to be turned
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES = 258, 262, 277  # TIFF
SCREEN = 2.2  # gamma of what pictures are looked at on; sRGB's, nearly
PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # sRGB's white, red, green and blue, as PNG's cHRM says them
# Raw mode of the decoder that keeps the low bytes of 16-bit samples, for the one that keeps the high bytes.
LOW_BYTES = {';16B': ';16L', ';16L': ';16B', ';16N': ';16B' if sys.byteorder == 'little' else ';16L'}


def read(path, most=100_000_000):
    """Reads a picture by its content, whatever its name says.

    Grey stays grey, 1-bit becomes grey, a palette RGB or RGBA, CMYK RGB; 16 bits stay 16 bits in PNG, TIFF and PGM; EXIF
    orientation is applied; of several frames or pages the first is taken. Samples mean what the file says: 0 is white where a
    TIFF says so, a PNG's transparent colour is transparent, and its gamma becomes the screen's.

    Args:
      path: file.
      most: pixels that it may have; asked before they are decoded, since a small file can claim any size.

    Raises:
      FileNotFoundError, IsADirectoryError, PermissionError: it cannot be opened.
      OSError: not an image, truncated or damaged.
      ValueError: too large, or of a kind for which there is no rule.
    """
    path = pathlib.Path(path)
    with open(path, 'rb') as file:
        start = file.read(4)
    if not start:
        raise OSError('the file is empty')
    with decoding(), _no_limit():
        try:
            with Image.open(path) as image:
                check_size(*image.size, most)
                if _pillow_reads(image):
                    return _decoded(path, image)
        except UnidentifiedImageError:
            if start not in tiff.MAGIC:
                raise Refused('it is no image, or damaged at its beginning') from None
    return tiff.read(path, most)


def written_here(path):
    """Whether `pictures.write` made the file `path`; False as well where it cannot be read."""
    with contextlib.suppress(Exception), decoding(), _no_limit():
        with open(path, 'rb') as file:
            if file.read(4) in tiff.MAGIC:
                return tiff.written_here(path)
        with Image.open(path) as image:
            return WRITER in (image.info.get('Software'), image.getexif().get(SOFTWARE))
    return False


@contextlib.contextmanager
def _no_limit():
    # Pillow's own limit warns of 89 megapixels and refuses 179; ours is asked instead.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _pillow_reads(image):
    # TIFFs of more than 8 bits it reads wrongly (one plane per channel), cut to 8 bits or not at all, but for these two.
    bits = image.tag_v2.get(BITS_PER_SAMPLE, (1,)) if image.format == 'TIFF' else (8,)
    return max(bits) <= 8 or _sixteen(image) or image.mode.startswith('I;16')


def _sixteen(image):
    """Whether these are 16-bit colours, of which Pillow keeps the high byte only."""
    kinds = {_raw(tile)[:-4] for tile in image.tile if _raw(tile)[-4:] in LOW_BYTES}
    whole = len(kinds) == 1 and all(_raw(tile)[-4:] in LOW_BYTES for tile in image.tile)
    return image.format in ('PNG', 'TIFF') and whole and kinds <= {'RGB', 'RGBA', 'LA'}


def _raw(tile):
    return tile.args if isinstance(tile.args, str) else str(tile.args[0])


def _args(image):
    return (arg for tile in image.tile if not isinstance(tile.args, str) for arg in tile.args)


def _decoded(path, image):
    notes, icc = [], image.info.get('icc_profile') or b''
    named = Image.registered_extensions().get(path.suffix.lower())
    if path.suffix and named != image.format and (named, image.format) != ('JPEG', 'MPO'):
        notes.append(f'its content is {image.format}, read as that')
    if image.format == 'PPM' and image.mode == 'RGB' and max((0, *(n for n in _args(image) if isinstance(n, int)))) > 255:
        notes.append('8 of its 16 bits are read: save it as PNG or TIFF')
    if _sixteen(image):
        pixels = _both_bytes(path, image)
    elif image.mode[0] in 'IF':
        pixels = _single(image)
    else:
        if image.mode == 'CMYK':
            notes.append('CMYK becomes RGB without its colour profile: colours may shift')
        pixels = _pixels(_plain(image))
    if image.format == 'PNG':
        pixels = _as_meant(pixels, image.info, icc, notes)
    if image.format == 'TIFF' and (more := image.tag_v2.get(SAMPLES, 1) - len(image.getbands())) > 0:
        notes.append(f'{more} further channels are left out')
    if icc and not fitting(icc, pixels.shape[-1]) and image.mode != 'CMYK':
        notes.append('its colour profile is one for other channels and is left out')
    with contextlib.suppress(Exception):  # a damaged EXIF block is no reason to lose the picture
        pixels = turned(pixels, image.getexif().get(ORIENTATION, 1))
    with contextlib.suppress(Exception):
        if image.format != 'MPO' and getattr(image, 'n_frames', 1) > 1:  # the second picture of an MPO is its preview
            notes.append(f'only the first of its {image.n_frames} frames is read')
    return Picture(pixels, fitting(icc, pixels.shape[-1]), tuple(notes))


def _plain(image):
    """`image` in one of L, LA, RGB, RGBA."""
    alpha = image.mode[-1] in 'Aa' or 'transparency' in image.info
    mode = ('L' if image.mode in ('1', 'L', 'LA', 'La') else 'RGB') + ('A' if alpha else '')
    if image.format == 'PNG' and image.mode == 'L' and alpha:  # the transparent grey is told in as few bits as are stored
        bits = int(_raw(image.tile[0]).partition(';')[2] or 8)
        image.info['transparency'] = (image.info['transparency'] & 2**bits - 1) * 255 // (2**bits - 1)
    return image if image.mode == mode else image.convert(mode)


def _pixels(image):
    """The array of a Pillow image, copied piece by piece: the library's own way holds it three times."""
    image.load()
    width, height = image.size  # asked only now: loading turns a TIFF
    part = lambda y: np.asarray(image.crop((0, y, width, min(y + 256, height)))).reshape(-1, width, len(image.getbands()))
    out = np.empty((height, width, len(image.getbands())), part(0).dtype.newbyteorder('='))
    for y in range(0, height, 256):
        out[y : y + 256] = part(y)
    return out


def _both_bytes(path, image):
    """16-bit colours: decoded once for the high bytes and once for the low ones."""
    if _raw(image.tile[0]).startswith('LA'):  # a mode that Pillow lacks in 16 bits; four bytes a pixel, as RGBA
        image.tile = [tile._replace(args='RGBA') for tile in image.tile]
        both = _pixels(image)
        high, low = both[..., 0::2], both[..., 1::2]
    else:
        high = _pixels(image)
        with Image.open(path) as again:
            again.tile = [tile._replace(args=_low(tile)) for tile in again.tile]
            low = _pixels(again)
    out = high.astype(np.uint16)
    out <<= 8
    out |= low
    return out


def _low(tile):
    raw = _raw(tile)[:-4] + LOW_BYTES[_raw(tile)[-4:]]
    return raw if isinstance(tile.args, str) else (raw, *tile.args[1:])


def _single(image):
    """Grey of more than 8 bits: what fits into 16."""
    pixels = _pixels(image)
    if image.format == 'TIFF':
        pixels = tiff.widened(pixels, image.tag_v2.get(BITS_PER_SAMPLE, (1,))[0])
        return 65535 - pixels if image.tag_v2.get(PHOTOMETRIC) == 0 else pixels
    if pixels.dtype == np.uint16:
        return pixels
    if image.mode != 'I' or pixels.min() < 0 or pixels.max() > 65535:
        raise Refused(f'pixels of {image.mode} (32 bits) have no agreed white: save it with 16 bits')
    return pixels.astype(np.uint16)


def _as_meant(pixels, info, icc, notes):
    """A PNG's samples with the transparency of 16 bits, which Pillow leaves out, and without the gamma of a file of no profile.

    References: PNG specification, third edition, W3C 2025, sections 11.3.1.1 (tRNS), 11.3.2.2 (gAMA) and 13.13 (their use).
    """
    if pixels.dtype == np.uint16 and 'transparency' in info:
        seen = np.any(pixels != np.uint16(info['transparency']), -1, keepdims=True)
        pixels = np.concatenate([pixels, np.uint16(65535) * seen], -1)
    if icc or 'srgb' in info:
        return pixels
    gamma, colours, white = info.get('gamma', 0), (1, 1, 3, 3)[pixels.shape[-1] - 1], np.iinfo(pixels.dtype).max
    if gamma > 0 and abs(gamma * SCREEN - 1) > 0.05:  # nearer, no eye tells them apart
        table = np.round(white * (np.arange(white + 1) / white) ** (1 / (gamma * SCREEN))).astype(pixels.dtype)
        for rows in (pixels[y : y + 256] for y in range(0, len(pixels), 256)):
            rows[..., :colours] = table[rows[..., :colours]]
        notes.append(f'its gamma of {gamma:g} becomes 1/{SCREEN}')
    primaries = info.get('chromaticity', PRIMARIES)
    if colours == 3 and np.abs(np.subtract(primaries, PRIMARIES)).max() > 0.01:
        notes.append("its primaries (cHRM) are taken for sRGB's: colours may shift")
    return pixels
