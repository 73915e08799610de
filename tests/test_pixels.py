"""Samples mean what their file says: which end is white, which colour is transparent, the gamma, how many bits there are."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
import tiny
from PIL import Image, ImageCms

from kdsr import pictures

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def noise(*shape, dtype='uint16', seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def chunk(name, body):
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))


def png(path, pixels, *chunks, depth=None):
    """A PNG made byte by byte after the specification; grey pixels may have a depth of 1, 2 or 4 bits."""
    height, width, channels = pixels.shape
    depth = depth or 8 * pixels.dtype.itemsize
    if depth < 8:
        bits = np.unpackbits(pixels[..., 0][..., None], axis=-1)[..., 8 - depth :].reshape(height, -1)
        rows = np.packbits(bits, axis=-1)
    else:
        rows = pixels.astype(pixels.dtype.newbyteorder('>')).view(np.uint8).reshape(height, -1)
    header = struct.pack('>IIBBBBB', width, height, depth, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    body = b''.join([chunk(b'IHDR', header), *chunks, chunk(b'IDAT', data), chunk(b'IEND', b'')])
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + body)
    return path


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
@pytest.mark.parametrize('options', [{}, {'compression': 'zlib'}, {'compression': 'zlib', 'predictor': True}, {'bigtiff': True}])
def test_tiffs_whose_white_is_0(tmp_path, order, dtype, options):
    pixels, white = noise(9, 12, dtype=dtype), np.iinfo(dtype).max
    tifffile.imwrite(tmp_path / 'a.tif', white - pixels, photometric='miniswhite', byteorder=order, **options)
    found = pictures.read(tmp_path / 'a.tif')
    np.testing.assert_array_equal(found.pixels[..., 0], pixels)
    assert found.pixels.dtype == dtype and found.notes == ()


def test_tiffs_whose_white_is_0_with_alpha_and_of_floats(tmp_path):
    pixels, floats = noise(9, 12, 2), np.random.default_rng(0).random((9, 12), np.float32)
    stored = np.stack([65535 - pixels[..., 0], pixels[..., 1]], -1)
    options = {'photometric': 'miniswhite', 'planarconfig': 'contig', 'extrasamples': ['unassalpha']}
    tifffile.imwrite(tmp_path / 'a.tif', stored, **options)
    np.testing.assert_array_equal(pictures.read(tmp_path / 'a.tif').pixels, pixels)
    tifffile.imwrite(tmp_path / 'a.tif', floats, photometric='miniswhite')
    np.testing.assert_array_equal(pictures.read(tmp_path / 'a.tif').pixels[..., 0], 65535 - np.round(floats * 65535))


def test_grey_of_12_bits(tmp_path):
    path, rng = tmp_path / 'a.tif', np.random.default_rng(0)
    twelve = rng.integers(0, 4096, (4, 6))
    twelve[0, :2] = 0, 4095
    packed = np.packbits(np.unpackbits(twelve.astype('>u2')[..., None].view(np.uint8), axis=-1).reshape(4, 6, 16)[..., 4:])
    tifffile.imwrite(path, packed.reshape(4, 9))  # as 8 bits; then its header is made to say 6 pixels of 12
    data = bytearray(path.read_bytes())
    (table,) = struct.unpack_from('<I', data, 4)
    for entry in range(table + 2, table + 2 + 12 * struct.unpack_from('<H', data, table)[0], 12):
        tag = struct.unpack_from('<H', data, entry)[0]
        if tag in (256, 258):
            struct.pack_into('<H' if data[entry + 2] == 3 else '<I', data, entry + 8, {256: 6, 258: 12}[tag])
    path.write_bytes(data)
    found = pictures.read(path).pixels[..., 0]
    np.testing.assert_array_equal(found, np.round(twelve * (65535 / 4095)))
    assert found[0, 0] == 0 and found[0, 1] == 65535


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_the_transparent_colour_of_a_png(tmp_path, dtype, channels):
    pixels = noise(9, 12, channels, dtype=dtype)
    pixels[2:4, 5:8] = pixels[0, 0]
    pixels[5, 5] = pixels[0, 0]
    pixels[5, 5, 0] ^= 1  # the nearest colour there is
    key = struct.pack(f'>{channels}H', *pixels[0, 0].tolist())
    found = pictures.read(png(tmp_path / 'a.png', pixels, chunk(b'tRNS', key))).pixels
    np.testing.assert_array_equal(found[..., :-1], pixels)
    expected = np.where((pixels == pixels[0, 0]).all(-1), 0, np.iinfo(dtype).max)
    np.testing.assert_array_equal(found[..., -1], expected)
    assert found.dtype == dtype and 7 <= (expected == 0).sum() < 12


@pytest.mark.parametrize('depth', [1, 2, 4])
def test_the_transparent_grey_of_few_bits(tmp_path, depth):
    pixels = noise(9, 12, 1, dtype='uint8') >> 8 - depth
    for key in range(2**depth):
        found = pictures.read(png(tmp_path / 'a.png', pixels, chunk(b'tRNS', struct.pack('>H', key)), depth=depth)).pixels
        np.testing.assert_array_equal(found[..., 0], pixels[..., 0] * (255 // (2**depth - 1)))
        np.testing.assert_array_equal(found[..., 1], np.where(pixels[..., 0] == key, 0, 255))


def gamma(value):
    return chunk(b'gAMA', struct.pack('>I', round(value * 100000)))


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_the_gamma_of_a_png(tmp_path, dtype, channels):
    pixels, white = noise(9, 12, channels, dtype=dtype), np.iinfo(dtype).max
    path, colours = tmp_path / 'a.png', 3 if channels > 2 else 1
    for value in (1, 0.55556, 0.25):  # linear light, an old Macintosh's, and darker than any
        found = pictures.read(png(path, pixels, gamma(value)))
        shown = white * (pixels[..., :colours] / white) ** (1 / 2.2 / value)  # PNG specification, 13.13
        np.testing.assert_allclose(found.pixels[..., :colours], shown, atol=0.51)
        np.testing.assert_array_equal(found.pixels[..., colours:], pixels[..., colours:])
        assert found.pixels.dtype == dtype and 'becomes 1/2.2' in found.notes[0]
    for chunks in [  # sRGB's own gamma, and what speaks louder than gAMA
        [gamma(0.45455)],
        [gamma(1), chunk(b'sRGB', b'\0')],
        [gamma(0)],
        [gamma(1), chunk(b'iCCP', b'x\0\0' + zlib.compress(SRGB if colours == 3 else SRGB[:16] + b'GRAY' + SRGB[20:]))],
    ]:
        found = pictures.read(png(path, pixels, *chunks))
        np.testing.assert_array_equal(found.pixels, pixels)
        assert found.notes == ()


def test_the_transparent_colour_is_compared_before_the_gamma_changes_it(tmp_path):
    pixels = np.uint16([[[1000], [1001], [40000]]])
    found = pictures.read(png(tmp_path / 'a.png', pixels, gamma(1), chunk(b'tRNS', struct.pack('>H', 1001)))).pixels
    np.testing.assert_array_equal(found[..., 1], [[65535, 0, 65535]])
    np.testing.assert_allclose(found[..., 0] / 65535, (pixels[..., 0] / 65535) ** (1 / 2.2), atol=1e-5)


def test_what_is_left_out_is_said(tmp_path):
    pixels, path = noise(9, 12, 3, dtype='uint8'), tmp_path / 'a.png'
    primaries = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)  # those of Display P3
    cases = [
        ([chunk(b'cHRM', struct.pack('>8I', *primaries))], "its primaries (cHRM) are taken for sRGB's: colours may shift"),
        (
            [chunk(b'iCCP', b'x\0\0' + zlib.compress(SRGB[:16] + b'GRAY' + SRGB[20:]))],
            'its colour profile is one for other channels',
        ),
    ]
    for chunks, note in cases:
        found = pictures.read(png(path, pixels, *chunks))
        assert len(found.notes) == 1 and note in found.notes[0]
        np.testing.assert_array_equal(found.pixels, pixels)
    (tmp_path / 'a.ppm').write_bytes(b'P6 12 9 65535\n' + noise(9, 12, 3).astype('>u2').tobytes())
    assert pictures.read(tmp_path / 'a.ppm').notes == ('8 of its 16 bits are read: save it as PNG or TIFF',)
    for dtype in ('uint8', 'uint16'):
        tifffile.imwrite(
            tmp_path / 'a.tif', noise(9, 12, 5, dtype=dtype), photometric='rgb', extrasamples=['unassalpha', 'unspecified']
        )
        assert pictures.read(tmp_path / 'a.tif').notes == ('1 further channels are left out',)
        tifffile.imwrite(tmp_path / 'a.tif', noise(9, 12, 4, dtype=dtype), photometric='rgb', extrasamples=['unspecified'])
        found = pictures.read(tmp_path / 'a.tif')
        assert found.pixels.shape == (9, 12, 3) and found.notes == ('1 further channels are left out',)


def test_who_wrote_a_file(tmp_path):
    pixels = tiny.picture(9, 12, 0)
    for form in pictures.FORMATS:
        pictures.write(tmp_path / 'a', [pixels], pixels.shape, 'uint8', form)
        assert pictures.written_here(tmp_path / 'a')
        Image.fromarray(pixels).save(tmp_path / 'b', {'jpg': 'JPEG'}.get(form, form.upper()))
        assert not pictures.written_here(tmp_path / 'b')
    deep = noise(9, 12, 2)
    for form in ('png', 'tiff'):
        pictures.write(tmp_path / 'a', [deep], deep.shape, 'uint16', form)
        assert pictures.written_here(tmp_path / 'a')
    (tmp_path / 'a').write_text('kdsr')
    assert not pictures.written_here(tmp_path / 'a') and not pictures.written_here(tmp_path / 'nothing')
