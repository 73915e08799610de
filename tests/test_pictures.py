"""Image files of all kinds: what is read equals what other readers see, what is written is read back, in bounded memory."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import tifffile
import tiny
from PIL import Image, ImageCms, ImageOps
from png import png16

from kdsr import pictures
from kdsr.pictures import tiff

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
GREY_PROFILE = SRGB[:16] + b'GRAY' + SRGB[20:]


def noise(*shape, dtype='uint16', seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_16_bit_png_of_all_filters(tmp_path, channels):
    pixels = noise(11, 7, channels)
    (tmp_path / 'a.png').write_bytes(png16(pixels))
    np.testing.assert_array_equal(pictures.read(tmp_path / 'a.png').pixels, pixels)


def lzw16(path, pixels):
    """16-bit RGB as an LZW TIFF: Pillow packs the bytes as a wide 8-bit picture, the header is corrected afterwards."""
    h, w, _ = pixels.shape
    file = io.BytesIO()
    Image.fromarray(pixels.astype('<u2').view(np.uint8).reshape(h, 2 * w, 3)).save(file, 'TIFF', compression='tiff_lzw')
    data = bytearray(file.getvalue())
    (table,) = struct.unpack_from('<I', data, 4)
    for entry in range(table + 2, table + 2 + 12 * struct.unpack_from('<H', data, table)[0], 12):
        tag, _, _, value = struct.unpack_from('<HHII', data, entry)
        if tag == 256:
            struct.pack_into('<I', data, entry + 8, w)
        if tag == 258:
            struct.pack_into('<HHH', data, value, 16, 16, 16)
    path.write_bytes(data)


TIFFS = {
    'plain': {},
    'deflated': {'compression': 'zlib', 'predictor': True},
    'big-endian': {'byteorder': '>'},
    'BigTIFF': {'bigtiff': True},
    'tiles': {'tile': (16, 16)},
    'planes': {'planarconfig': 'separate'},
}


@pytest.mark.parametrize(('kind', 'channels'), [(k, c) for k in TIFFS for c in (1, 2, 3, 4) if (k, c) != ('planes', 1)])
def test_16_bit_tiff(tmp_path, kind, channels):
    pixels = noise(19, 35, channels)
    stored = np.moveaxis(pixels, -1, 0) if kind == 'planes' else pixels[..., 0] if channels == 1 else pixels
    extra = ['unassalpha'] if channels in (2, 4) else None
    options = {'photometric': 'rgb' if channels > 2 else 'minisblack', 'extrasamples': extra, **TIFFS[kind]}
    if channels == 2:
        options.setdefault('planarconfig', 'contig')
    tifffile.imwrite(tmp_path / 'a.tif', stored, **options)
    np.testing.assert_array_equal(pictures.read(tmp_path / 'a.tif').pixels, pixels)


def test_other_tiffs(tmp_path):
    path, pixels = tmp_path / 'a.tif', noise(9, 12, 3)
    lzw16(path, pixels)
    np.testing.assert_array_equal(pictures.read(path).pixels, pixels)

    floats = np.random.default_rng(0).random((9, 12), np.float32)
    tifffile.imwrite(path, floats)
    found = pictures.read(path)
    assert found.notes == ('its floats in [0, 1] become 16 bits',)
    np.testing.assert_array_equal(found.pixels[..., 0], np.round(floats * 65535))
    tifffile.imwrite(path, floats * 300)
    with pytest.raises(ValueError, match='have no agreed white: scale them to'):
        pictures.read(path)
    tifffile.imwrite(path, noise(9, 12, dtype='uint32'))
    with pytest.raises(ValueError, match='have no agreed white: save it with 16 bits'):
        pictures.read(path)

    colours, alpha = np.uint16([[[30000, 10000, 0]]]), np.uint16([[[32768]]])
    tifffile.imwrite(path, np.concatenate([colours // 2, alpha], -1), photometric='rgb', extrasamples=['assocalpha'])
    assert np.abs(pictures.read(path).pixels.astype(int) - [30000, 10000, 0, 32768]).max() <= 2  # multiplied by one half

    tifffile.imwrite(path, noise(2, 9, 12, 3), photometric='rgb')
    assert pictures.read(path).notes == ('only the first of its 2 frames is read',)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation_is_applied(tmp_path, orientation):
    image = Image.fromarray(tiny.picture(9, 14, 0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ('a.png', 'a.webp', 'a.tif', 'a.jpg'):
        image.save(tmp_path / name, exif=exif.tobytes(), lossless=True)
        stored = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / name)))
        np.testing.assert_array_equal(pictures.read(tmp_path / name).pixels, stored)
    pixels = noise(9, 14, 3)
    for planar in ('contig', 'separate'):
        stored = pixels if planar == 'contig' else np.moveaxis(pixels, -1, 0)
        tags = [(274, 'H', 1, orientation, True)]
        tifffile.imwrite(tmp_path / 'b.tif', stored, photometric='rgb', planarconfig=planar, extratags=tags)
        turned = [ImageOps.exif_transpose(_tagged(pixels[..., c] >> s & 255, orientation)) for s in (8, 0) for c in range(3)]
        high, low = np.stack(turned[:3], -1).astype(np.uint16), np.stack(turned[3:], -1)
        np.testing.assert_array_equal(pictures.read(tmp_path / 'b.tif').pixels, high * 256 + low)


def _tagged(plane, orientation):
    image = Image.fromarray(plane.astype(np.uint8))
    image.getexif()[0x0112] = orientation
    return image


def palette(transparent):
    image = Image.fromarray(noise(8, 9, dtype='uint8') % 4).convert('P')
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    return image, {'transparency': 2} if transparent else {}


MODES = [  # what is saved, how it is named, channels that come out, a word of the note
    (lambda: (Image.fromarray(noise(8, 9, dtype='uint8') > 99), {}), 'a.png', 1, ''),
    (lambda: (Image.fromarray(noise(8, 9, dtype='uint8')), {}), 'a.png', 1, ''),
    (lambda: (Image.fromarray(noise(8, 9, 2, dtype='uint8'), 'LA'), {}), 'a.png', 2, ''),
    (lambda: (Image.fromarray(noise(8, 9, dtype='uint8')), {'transparency': 7}), 'a.png', 2, ''),
    (lambda: palette(False), 'a.png', 3, ''),
    (lambda: palette(True), 'a.png', 4, ''),
    (lambda: palette(True), 'a.gif', 4, ''),
    (lambda: (Image.fromarray(noise(8, 9, 4, dtype='uint8')), {}), 'a.webp', 4, ''),
    (lambda: (Image.fromarray(noise(8, 9, 4, dtype='uint8')).convert('CMYK'), {}), 'a.tif', 3, 'CMYK becomes RGB'),
    (lambda: (Image.fromarray(noise(8, 9, 3, dtype='uint8')), {'format': 'PNG'}), 'a.jpg', 3, 'its content is PNG'),
    (lambda: (palette(False)[0], {'save_all': True, 'append_images': [Image.new('P', (9, 8))]}), 'a.gif', 3, 'first of its 2'),
    (lambda: (Image.fromarray(noise(8, 9, 3, dtype='uint8')), {}), 'a.bmp', 3, ''),
]


@pytest.mark.parametrize(('make', 'name', 'channels', 'note'), MODES)
def test_modes(tmp_path, make, name, channels, note):
    image, options = make()
    image.save(tmp_path / name, **options)
    found = pictures.read(tmp_path / name)
    expected = np.asarray(Image.open(tmp_path / name).convert(['L', 'LA', 'RGB', 'RGBA'][channels - 1]))
    np.testing.assert_array_equal(found.pixels, expected.reshape(8, 9, channels))
    assert found.pixels.dtype == np.uint8 and len(found.notes) == bool(note) and note in ''.join(found.notes)


def banded(pixels, rows=5):
    return (pixels[y : y + rows] for y in range(0, len(pixels), rows))


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
@pytest.mark.parametrize('form', ['png', 'tiff'])
def test_what_is_written_is_read_back_by_others_too(tmp_path, form, dtype, channels):
    path, icc = tmp_path / 'a.x', SRGB if channels > 2 else GREY_PROFILE
    for shape in ((37, 23), (1, 1), (1, 40), (40, 1)):
        pixels = noise(*shape, channels, dtype=dtype)
        pictures.write(path, banded(pixels), pixels.shape, dtype, form, icc=icc)
        found = pictures.read(path)
        np.testing.assert_array_equal(found.pixels, pixels)
        assert found.icc == icc and [p.name for p in tmp_path.iterdir()] == ['a.x']
        if form == 'tiff':
            np.testing.assert_array_equal(tifffile.imread(path).reshape(pixels.shape), pixels)
        if (channels, dtype) != (2, 'uint16'):  # which Pillow does not know; of 16-bit colours it shows the high byte
            with Image.open(path) as image:
                shown = pixels >> 8 if dtype == 'uint16' and channels > 2 else pixels
                np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), shown)


def test_jpeg_and_webp(tmp_path):
    pixels = tiny.picture(61, 83, 3)
    for form in ('jpg', 'webp'):
        for image, channels in ((pixels, 3), (pixels[..., :1], 1)):
            pictures.write(tmp_path / 'a', banded(image), image.shape, 'uint8', form, icc=SRGB if channels == 3 else b'')
            found = pictures.read(tmp_path / 'a')
            assert found.pixels.shape[-1] == (1 if form == 'jpg' and channels == 1 else 3)
            assert np.abs(found.pixels.astype(int) - image).mean() < 3
            assert found.icc == (SRGB if channels == 3 else b'')
    picture = pictures.Picture(np.concatenate([pixels, 0 * pixels[..., :1]], -1))
    assert (pictures.fitted(picture, 'jpg')[0].pixels == 255).all()
    shown, dtype = pictures.fitted(pictures.Picture(noise(2, 2, 4)), 'webp')
    assert dtype == np.uint8 and '8 of its 16 bits' in shown.notes[0] and shown.pixels.dtype == np.uint16


def test_a_picture_too_large_for_its_format_is_refused_before_work(tmp_path):
    def none():
        raise AssertionError('nothing is computed')
        yield

    for form, shape, text in [
        ('jpg', (1, 65536, 3), 'more than JPEG holds .65535 a side.: --format=png and tiff'),
        ('webp', (16384, 1, 3), 'more than WEBP holds .16383 a side.'),
        ('jpg', (60000, 60000, 3), '60000x60000 pixels as JPEG would take 13 GiB of memory or more'),
    ]:
        with pytest.raises(ValueError, match=text):
            pictures.write(tmp_path / 'a', none(), shape, 'uint8', form)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('form', ['png', 'tiff'])
def test_streaming_holds_a_band_only(tmp_path, form):
    shape = (4096, 3000, 3)  # 37 MB in bands of 0.6 MB
    blocks = (np.full((64, *shape[1:]), y, np.uint8) for y in range(64))
    tracemalloc.start()
    pictures.write(tmp_path / 'a', blocks, shape, 'uint8', form)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6
    assert (pictures.read(tmp_path / 'a').pixels[::64, 0, 0] == np.arange(64)).all()


def test_large_tiffs_have_64_bit_offsets(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, 'CLASSIC', 1000)
    pixels = noise(20, 30, 3)
    pictures.write(tmp_path / 'a.tif', [pixels], pixels.shape, 'uint16', 'tiff')
    assert (tmp_path / 'a.tif').read_bytes()[:4] == b'II+\0'
    np.testing.assert_array_equal(pictures.read(tmp_path / 'a.tif').pixels, pixels)


def test_an_interrupted_file_leaves_nothing(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'before')

    def broken():
        yield np.zeros((1, 8, 3), np.uint8)
        raise OSError(28, 'No space left on device')

    with pytest.raises(OSError, match='No space'):
        pictures.write(tmp_path / 'a.png', broken(), (9, 8, 3), 'uint8', 'png')
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [('a.png', b'before')]


def test_what_cannot_be_read(tmp_path):
    limit, path = Image.MAX_IMAGE_PIXELS, tmp_path / 'a.png'
    Image.fromarray(tiny.picture(100, 100, 0)).save(path)
    with pytest.raises(ValueError, match=r'100x100 are 0.01 megapixels: more than --max_megapixels=0.009'):
        pictures.read(path, 9000)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(OSError, match='it cannot be decoded .*: truncated, damaged'):
        pictures.read(path)
    path.write_bytes(b'')
    with pytest.raises(OSError, match='the file is empty'):
        pictures.read(path)
    path.write_text('<html>')
    with pytest.raises(ValueError, match='it is no image, or damaged at its beginning'):
        pictures.read(path)
    with pytest.raises(FileNotFoundError):
        pictures.read(tmp_path / 'b.png')
    with pytest.raises(IsADirectoryError):
        pictures.read(tmp_path)
    assert Image.MAX_IMAGE_PIXELS == limit
