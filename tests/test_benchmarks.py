"""Benchmark folders and the image reader: layouts, pairing by name, and what is refused with which words."""

import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from kdsr.data import benchmarks
from kdsr.data.images import list_images, read_rgb
from kdsr.data.resize import imresize

RGB = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)


def save(path, array=RGB, mode=None, **options):
    """Writes `array` to `path`, converted to a Pillow mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def half(array=RGB):
    return imresize(array, 1 / 2, border='replicate', round_between=True)


def png16(path, colour_type, channels):
    """A black 16-bit PNG by hand, since Pillow cannot write 16-bit RGB."""
    chunk = lambda kind, body: struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
    header = struct.pack('>IIBBBBB', 5, 4, 16, colour_type, 0, 0, 0)
    rows = (b'\0' + bytes(5 * channels * 2)) * 4
    chunks = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunks)
    return path


def test_set5_and_grey_bridge(data_dir):
    set5 = benchmarks.read(data_dir / 'benchmarks' / 'Set5', 4)
    assert [e.name for e in set5] == ['baby', 'bird', 'butterfly', 'head', 'woman']
    for name, lr, hr in set5:
        assert lr.dtype == hr.dtype == np.uint8 and hr.shape == (4 * lr.shape[0], 4 * lr.shape[1], 3), name
    bridge = next(e for e in benchmarks.read(data_dir / 'benchmarks' / 'Set14', 3) if e.name == 'bridge')
    for image in (bridge.lr, bridge.hr):  # the one grey file of Set14
        assert image.shape[2] == 3 and (image == image[..., :1]).all()


def test_missing_lr_is_made_as_the_benchmarks_were(data_dir, tmp_path):
    """A copy without LR folders reads as the original, bit for bit."""
    (tmp_path / 'HR').symlink_to(data_dir / 'benchmarks' / 'Set5' / 'HR')
    for s in (2, 3, 4):
        for given, made in zip(benchmarks.read(data_dir / 'benchmarks' / 'Set5', s), benchmarks.read(tmp_path, s), strict=True):
            assert given.name == made.name
            np.testing.assert_array_equal(given.lr, made.lr)
            np.testing.assert_array_equal(given.hr, made.hr)


@pytest.mark.parametrize('lr_name', ['LR_x2/a.png', 'LR_x2/ax2.png', 'LR_bicubic/X2/ax2.bmp', 'LR_bicubic/X2/a.webp'])
def test_layouts(tmp_path, lr_name):
    lr = 255 - half()  # not what imresize would make, so it must have been read
    save(tmp_path / 'HR' / 'a.tif', RGB)
    save(tmp_path / lr_name, lr, **({'lossless': True} if lr_name.endswith('webp') else {}))
    (example,) = benchmarks.read(tmp_path, 2)
    assert example.name == 'a'
    np.testing.assert_array_equal(example.lr, lr)
    np.testing.assert_array_equal(example.hr, RGB)


def test_plain_folder_is_hr_and_cropped(tmp_path):
    save(tmp_path / 'b.png', RGB[:23, :35])
    save(tmp_path / 'a.PNG', RGB)
    (tmp_path / 'notes.txt').write_text('not an image')
    (tmp_path / '._a.png').write_bytes(b'macOS')
    first, second = benchmarks.read(tmp_path, 2)
    assert (first.name, second.name) == ('a', 'b')
    np.testing.assert_array_equal(second.hr, RGB[:22, :34])
    np.testing.assert_array_equal(second.lr, half(RGB[:22, :34]))


def test_folder_errors_name_path_and_layouts(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'no_hr' / 'HR').mkdir(parents=True)
    for name in ('missing', 'empty', 'no_hr'):
        with pytest.raises(FileNotFoundError, match=f'{name}.*HR/ with LR_x4/ or LR_bicubic/X4/'):
            benchmarks.read(tmp_path / name, 4)


def test_pair_errors_name_the_file(tmp_path):
    save(tmp_path / 'HR' / 'a.png')
    save(tmp_path / 'LR_x2' / 'b.png', half())
    with pytest.raises(FileNotFoundError, match=r"HR/a.png' has no partner: neither ax2 nor a is in .*LR_x2' \(there is b.png\)"):
        benchmarks.read(tmp_path, 2)
    save(tmp_path / 'LR_x2' / 'a.png', RGB[:12, :17])
    with pytest.raises(ValueError, match=r'LR_x2/a.png: LR is 12x17, but HR 24x36 / 2 = 12x18'):
        benchmarks.read(tmp_path, 2)
    save(tmp_path / 'HR' / 'a.bmp')
    with pytest.raises(ValueError, match=r'a.png and a.bmp have the same name'):
        benchmarks.read(tmp_path, 3)
    for scale in (0, 1.5):
        with pytest.raises(ValueError, match=f'positive integer, got {scale}'):
            benchmarks.read(tmp_path, scale)
    with pytest.raises(ValueError, match='24x36 pixels are too few for scale 40'):
        benchmarks.read(save(tmp_path / 'small' / 'a.png').parent, 40)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA'])
def test_reads_every_mode(tmp_path, mode):
    want = np.asarray(Image.fromarray(RGB).convert(mode).convert('RGB'))
    got = read_rgb(save(tmp_path / 'a.png', mode=mode))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, want)


def test_reads_cmyk(tmp_path):
    """Without black, cyan/magenta/yellow are the complement of RGB."""
    cmyk = np.concatenate([255 - RGB, np.zeros_like(RGB[..., :1])], axis=-1)
    Image.fromarray(cmyk, 'CMYK').save(tmp_path / 'a.tif')
    np.testing.assert_array_equal(read_rgb(tmp_path / 'a.tif'), RGB)


def test_stored_pixels_count_not_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees to view"
    np.testing.assert_array_equal(read_rgb(save(tmp_path / 'a.png', exif=exif)), RGB)


def test_alpha_is_dropped_only_if_opaque(tmp_path):
    alpha = np.full((24, 36, 1), 255, np.uint8)
    path = save(tmp_path / 'a.png', np.concatenate([RGB, alpha], axis=-1))
    np.testing.assert_array_equal(read_rgb(path), RGB)
    alpha[3, 4], alpha[5, 6] = 254, 0
    save(path, np.concatenate([RGB, alpha], axis=-1))
    with pytest.raises(ValueError, match=r'a.png: 2 pixels are \(partly\) transparent; flatten'):
        read_rgb(path)
    save(tmp_path / 'p.png', RGB[..., 0] // 128, mode='P', transparency=1)
    with pytest.raises(ValueError, match=r'p.png: \d+ pixels'):
        read_rgb(tmp_path / 'p.png')


@pytest.mark.parametrize('colour_type, channels', [(0, 1), (2, 3), (4, 2), (6, 4)], ids=['grey', 'rgb', 'la', 'rgba'])
def test_16_bits_are_refused(tmp_path, colour_type, channels):
    """Pillow itself would read all but the grey one as 8 bits without a word."""
    with pytest.raises(ValueError, match=r'a.png: more than 8 bits.*convert it to 8 bits'):
        read_rgb(png16(tmp_path / 'a.png', colour_type, channels))
    Image.fromarray(np.zeros((4, 5), np.float32)).save(tmp_path / 'f.tif')
    with pytest.raises(ValueError, match='f.tif: more than 8 bits'):
        read_rgb(tmp_path / 'f.tif')


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'bmp', 'webp', 'tif'])
def test_damaged_files_are_named(tmp_path, suffix):
    path = save(tmp_path / f'a.{suffix}')
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b'', b'not an image'):
        path.write_bytes(damaged)
        with pytest.raises(OSError, match=re.escape(str(path))):
            read_rgb(path)
    with pytest.raises(FileNotFoundError, match='nothing.png'):
        read_rgb(tmp_path / 'nothing.png')


def test_list_images_needs_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere: no such folder'):
        list_images(tmp_path / 'nowhere')
    assert list_images(tmp_path) == []
