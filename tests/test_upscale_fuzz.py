"""300 damaged and odd pictures through `upscale`: nothing raises, no good file is skipped, each bad one is named."""

import io
import warnings

import numpy as np
import pytest
import tifffile
import tiny
from enlarging import network
from PIL import Image, ImageOps
from png import png16

from kdsr import upscale

SIZES = [(12, 16), (16, 12), (1, 1), (1, 9)]  # each is a compilation
MOST = 5000  # pixels: damaged headers claim any size
FORMATS = {'.png': 'PNG', '.jpg': 'JPEG', '.webp': 'WEBP', '.tif': 'TIFF', '.gif': 'GIF', '.bmp': 'BMP'}


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def drawn(rng, sizes=SIZES):
    """A random picture in a random mode, [H, W] of `sizes`."""
    image = Image.fromarray(tiny.picture(*sizes[rng.integers(len(sizes))], int(rng.integers(99))))
    return image.convert(['RGB', 'L', 'P', '1', 'RGBA', 'LA'][rng.integers(6)])


def plain(rng):
    """A good file of any common format: (its extension, its bytes)."""
    extension = list(FORMATS)[rng.integers(len(FORMATS))]
    image = drawn(rng)
    if extension == '.jpg' and image.mode not in ('RGB', 'L'):
        image = image.convert('RGB')
    if extension == '.bmp' and image.mode in ('LA', 'RGBA'):
        image = image.convert('RGB')
    return extension, encoded(image, FORMATS[extension])


def wrong_extension(rng):
    return '.png' if rng.random() < 0.5 else '.jpg', encoded(drawn(rng), ['WEBP', 'PNG', 'TIFF', 'GIF'][rng.integers(4)])


def cmyk(rng):
    form = ['.jpg', '.tif'][rng.integers(2)]
    return form, encoded(drawn(rng).convert('RGB').convert('CMYK'), FORMATS[form])


def one_bit(rng):
    form = ['.png', '.tif', '.bmp', '.gif'][rng.integers(4)]
    return form, encoded(drawn(rng).convert('1'), FORMATS[form])


def animated(rng):
    form = ['.gif', '.webp', '.png', '.tif'][rng.integers(4)]
    frames = [Image.fromarray(tiny.picture(12, 16, seed)) for seed in rng.integers(99, size=3)]
    return form, encoded(frames[0], FORMATS[form], save_all=True, append_images=frames[1:])


def turned(rng):
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(0, 12))  # some of these orientations do not exist
    form = ['.jpg', '.png', '.webp', '.tif'][rng.integers(4)]
    return form, encoded(Image.fromarray(tiny.picture(12, 16, 1)), FORMATS[form], exif=exif.tobytes())


def sixteen_bits(rng):
    height, width = SIZES[rng.integers(len(SIZES))]
    pixels = rng.integers(0, 65536, (height, width, int(rng.integers(1, 5))), np.uint16)
    if rng.random() < 0.5:
        return '.png', png16(pixels)
    file = io.BytesIO()
    if pixels.shape[-1] in (1, 2):
        pixels = pixels[..., 0]
    tifffile.imwrite(file, pixels, photometric='rgb' if pixels.ndim == 3 else 'minisblack')
    return '.tif', file.getvalue()


def transparent_palette(rng):
    image = drawn(rng).convert('RGB').quantize(8)
    return '.png', encoded(image, 'PNG', transparency=bytes(rng.integers(0, 256, 8, np.uint8)))


def floats(rng):
    file = io.BytesIO()
    tifffile.imwrite(file, rng.random(SIZES[rng.integers(len(SIZES))], np.float32))
    return '.tif', file.getvalue()


def truncated(rng):
    extension, data = plain(rng)
    return extension, data[: int(rng.integers(1, len(data)))]


def flipped(rng):
    """Random bytes near the beginning are random."""
    extension, data = [plain, sixteen_bits, animated, turned, floats][rng.integers(5)](rng)
    data = bytearray(data)
    for place in rng.integers(0, min(len(data), 200), int(rng.integers(1, 6))):
        data[place] = rng.integers(256)
    return extension, bytes(data)


def flipped_anywhere(rng):
    extension, data = plain(rng)
    data = bytearray(data)
    for place in rng.integers(0, len(data), 8):
        data[place] = rng.integers(256)
    return extension, bytes(data)


def empty(rng):
    return list(FORMATS)[rng.integers(len(FORMATS))], b''


def no_image(rng):
    return list(FORMATS)[rng.integers(len(FORMATS))], rng.bytes(int(rng.integers(1, 300)))


def huge(rng):
    """A header of billions of pixels and nothing behind it."""
    if rng.random() < 0.5:
        return '.png', png16(np.zeros((1, 1, 3), np.uint16))[:16] + b'\x00\x0f\xff\xff' * 2 + bytes(20)
    data = bytearray(encoded(Image.fromarray(tiny.picture(12, 16, 1)), 'BMP'))
    data[18:26] = (60000).to_bytes(4, 'little') * 2
    return '.bmp', bytes(data)


GOOD = [plain, wrong_extension, cmyk, one_bit, animated, turned, sixteen_bits, transparent_palette, floats]
BAD = [empty, no_image, huge]
EITHER = [truncated, truncated, truncated, flipped, flipped, flipped, flipped_anywhere, flipped_anywhere]
COUNT = 15  # of each of the 20 constructions


def seen(path):
    """(width, height) of the picture as another reader turns it."""
    try:
        with warnings.catch_warnings(action='ignore'), Image.open(path) as image:
            return ImageOps.exif_transpose(image).size
    except Exception:
        with tifffile.TiffFile(path) as file:  # what Pillow does not know
            return file.pages[0].imagewidth, file.pages[0].imagelength


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('fuzz')
    for kind, make in enumerate([*GOOD, *BAD, *EITHER]):
        rng = np.random.default_rng(kind)
        for i in range(COUNT):
            extension, data = make(rng)
            name = f'{"good" if make in GOOD else "bad" if make in BAD else "either"}_{make.__name__}_{kind}_{i}{extension}'
            (path / name).write_bytes(data)
    return path


def test_300_odd_pictures(folder, tmp_path, capfd):
    model = network(tmp_path / 'edsr')
    inputs = sorted(folder.iterdir())
    assert len(inputs) == 300
    assert upscale.run([folder], tmp_path / 'out', model=model, most=MOST, tile=64)[1]
    said = capfd.readouterr()
    assert 'Traceback' not in said.err + said.out
    failures = [line.removeprefix('failed: ').split(': ')[0] for line in said.err.splitlines() if line.startswith('failed: ')]
    done = {path.stem.removesuffix('_x2'): path for path in (tmp_path / 'out').iterdir()}
    for path in inputs:
        assert (path.stem in done) != (str(path) in failures), f'{path.name} is neither done nor named, or both'
        assert (path.stem in done) or not path.name.startswith('good'), path.name
        assert path.stem not in done or not path.name.startswith('bad'), path.name
        if path.stem in done:
            with Image.open(done[path.stem]) as image:
                image.load()
                assert image.size == tuple(2 * side for side in seen(path)), path.name
    assert len(failures) == len(set(failures)) == 300 - len(done)
    assert said.out == f'{len(done)} done, {len(failures)} failed; ' + said.out.split('; ', 1)[1]
    assert 150 < len(done) < 250  # of the damaged ones some can be read
    others = [line for line in said.err.splitlines()[1:] if not line.startswith(('failed: ', 'note: ')) and ' -> ' not in line]
    assert others == []  # no decoder writes to the terminal by itself
