"""Training data: exact LR of crops, exact resume, the cache, the accepted folders, and what happens to bad files."""

import itertools
import json
import logging
import math
import os
import re
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
import tiny
from PIL import Image

from kdsr.data import benchmarks, cache, examples, layouts, pipeline, prepare, records, sources
from kdsr.data.images import read_rgb
from kdsr.data.resize import downscale, imresize

SCALES = (2, 3, 4)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('KDSR_CACHE', str(tmp_path / 'cache'))


def noise(h, w, seed=0):
    """The hardest image for a crop's borders: every pixel matters."""
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def photos(folder, count, size=(40, 44)):
    for n in range(count):
        save(folder / f'{n + 1:04}.png', noise(*size, seed=n))
    return str(folder)


def batches(source, count, **kw):
    """The first `count` batches as [(lr, hr)]."""
    iterator = pipeline.train_batches(source, **{'scale': 2, 'patch': 8, 'batch': 4, 'seed': 3, **kw})
    found = [(b.lr, b.hr) for b, _ in zip(iterator, range(count), strict=False)]
    iterator.close()
    return found


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True))


# crops


@pytest.mark.parametrize('scale', SCALES)
def test_lr_of_every_crop_is_the_crop_of_the_whole_lr(scale):
    hr = noise(13 * scale, 11 * scale)
    whole = downscale(hr, scale)
    for y in range(13 - 5 + 1):  # with y or x = 0 and = last the crop touches the border
        for x in range(11 - 5 + 1):
            assert np.array_equal(examples.lr_crop(hr, y, x, 5, scale), whole[y : y + 5, x : x + 5])


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('paired', [False, True])
def test_pairs_stay_aligned_in_all_8_symmetries(scale, paired):
    # red and green tell each pixel's row and column, so that a patch tells where it is from and how it was turned
    h, w, patch = 9 * scale + 1, 8 * scale, 6
    hr = noise(h, w)
    hr[..., 0], hr[..., 1] = np.mgrid[:h, :w]
    whole = downscale(hr[: 9 * scale], scale)
    lr = noise(9, 8, seed=1) if paired else None
    seen, places = set(), set()
    for seed in range(200):
        small, large = examples.crop_pair(hr, lr, scale, patch, np.random.default_rng(seed))
        assert small.shape == (patch, patch, 3) and large.shape == (patch * scale, patch * scale, 3)
        transposed = large[0, 0, 0] == large[1, 0, 0]
        if transposed:
            small, large = small.transpose(1, 0, 2), large.transpose(1, 0, 2)
        up, left = large[0, 0, 0] > large[1, 0, 0], large[0, 0, 1] > large[0, 1, 1]
        small, large = (image[:: -1 if up else 1, :: -1 if left else 1] for image in (small, large))
        y, x = large[0, 0, :2].astype(int) // scale
        seen.add((transposed, up, left))
        places.add((y, x))
        assert np.array_equal(large, hr[y * scale : (y + patch) * scale, x * scale : (x + patch) * scale])
        assert np.array_equal(small, (lr if paired else whole)[y : y + patch, x : x + patch])
    assert len(seen) == 8 and places == {(y, x) for y in range(4) for x in range(3)}


def test_batches_are_float32_in_unit_range_with_256_levels(tmp_path):
    source = sources.folder(photos(tmp_path / 'p', 3), scale=2)
    batch = pipeline.sample_batch(source, scale=2, patch=8, batch=5)
    assert batch.lr.shape == (5, 8, 8, 3) and batch.hr.shape == (5, 16, 16, 3) and batch.extra == {}
    for images in batch.lr, batch.hr:
        assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
        assert np.array_equal(images, np.float32(np.round(images * 255)) / np.float32(255))
    assert batch.hr.min() == 0 and batch.hr.max() == 1  # noise has all levels


# order


def test_start_equals_skipping_and_threads_do_not_matter(tmp_path):
    source = sources.folder(photos(tmp_path / 'p', 7), scale=2)
    first = batches(source, 12, threads=2)
    assert same(first, batches(source, 12, threads=0))
    for start in (1, 5):  # 5 batches of 4 are past the first of 7 images' rounds
        assert same(first[start:], batches(source, 12 - start, start=start))
    assert not same(first[:3], batches(source, 3, seed=4))
    assert not same(first[:1], first[7:8])  # a second round over the images draws other crops


def test_every_round_sees_every_image_once(tmp_path):
    for n in range(6):
        save(tmp_path / f'p/{n}.png', np.full((16, 16, 3), n * 40, np.uint8))
    source = sources.folder(tmp_path / 'p', scale=2)
    seen = [round(float(v) * 255 / 40) for _, hr in batches(source, 6, batch=2) for v in hr[:, 0, 0, 0]]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6)) and seen[:6] != seen[6:]


def test_two_processes_together_see_the_batches_of_one(tmp_path):
    source = sources.folder(photos(tmp_path / 'p', 5), scale=2)
    one = batches(source, 6, start=2)
    two = [batches(source, 6, start=2, process_index=p, process_count=2) for p in (0, 1)]
    for k, whole in enumerate(one):
        for i in (0, 1):  # lr, hr
            assert np.array_equal(whole[i][:2], two[0][k][i]) and np.array_equal(whole[i][2:], two[1][k][i])
    with pytest.raises(ValueError, match='batch 4 must be a multiple of the 3 processes'):
        batches(source, 1, process_count=3)


def test_close_ends_the_threads(tmp_path):
    source = sources.folder(photos(tmp_path / 'p', 3), scale=2)
    for _ in range(5):
        batches(source, 2, threads=4)
    left = [t for t in threading.enumerate() if t.name.startswith('grain')]
    for thread in left:
        thread.join(timeout=10)  # each may finish the batch in hand
    assert not any(t.is_alive() for t in left)


# bad files


def test_bad_images_are_named_skipped_and_counted(tmp_path, caplog):
    folder = tmp_path / 'p'
    photos(folder, 3)
    whole = (folder / '0002.png').read_bytes()
    (folder / '0002.png').write_bytes(whole[: len(whole) // 2])
    (folder / 'text.png').write_text('not an image')
    Image.fromarray(np.zeros((20, 20), np.uint16)).save(folder / 'deep.png')
    Image.fromarray(noise(20, 20)[..., 0]).save(folder / 'grey.png')
    Image.fromarray(noise(20, 20)).quantize(16).save(folder / 'palette.png')
    Image.fromarray(np.dstack([noise(20, 20), np.full((20, 20), 255, np.uint8)])).save(folder / 'opaque.png')
    Image.fromarray(np.dstack([noise(20, 20), np.full((20, 20), 9, np.uint8)])).save(folder / 'veil.png')
    with caplog.at_level(logging.WARNING):
        source = sources.folder(folder, scale=2)
    assert source.names == ('0001', '0003', 'grey', 'opaque', 'palette')
    assert all(source.hr(i).dtype == np.uint8 and source.hr(i).shape[2] == 3 for i in range(5))
    assert np.array_equal(source.hr(2), np.repeat(noise(20, 20)[..., :1], 3, 2))
    (message,) = [r.getMessage() for r in caplog.records if 'skipped' in r.getMessage()]
    assert message.startswith(f"4 of 9 images in '{folder}' skipped")
    assert all(name in message for name in ('0002.png', 'text.png', 'deep.png', 'veil.png'))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        sources.folder(folder, scale=2)
    assert any('4 of 9' in r.getMessage() for r in caplog.records)  # said again when the cache is reused


def test_small_images_are_skipped_with_a_count(tmp_path, caplog):
    folder = tmp_path / 'p'
    photos(folder, 4)
    save(folder / 'small.png', noise(40, 15))
    source = sources.folder(folder, scale=2)
    with caplog.at_level(logging.WARNING):
        batches(source, 1)
        batches(source, 1)
    said = [r.getMessage() for r in caplog.records]
    assert said == [f"1 of 5 images in '{folder}' are smaller than 16x16 and skipped"]
    with pytest.raises(ValueError, match=r'no image in .* HR patches of 60x60 \(5 images, the largest short side is 40\)'):
        batches(source, 1, patch=30)


def test_nothing_to_read_names_the_path_and_the_layouts(tmp_path):
    (tmp_path / 'empty').mkdir()
    for name, error in (('absent', FileNotFoundError), ('empty', FileNotFoundError), ('broken', ValueError)):
        if name == 'broken':
            (tmp_path / name).mkdir()
            (tmp_path / name / 'a.png').write_text('no')
        with pytest.raises(error, match='accepted layouts: .*HR/.*DIV2K_train_HR') as e:
            sources.folder(tmp_path / name, scale=4)
        assert str(tmp_path / name) in str(e.value) and '\n' not in str(e.value)
    with pytest.raises(FileNotFoundError, match='accepted layouts'):
        sources.folder('', scale=4)


# folders


def div2k(root, scale=2):
    """DIV2K's own layout: 4 training images, 2 for validation; the LR is noise, to tell it from a made one."""
    for part, numbers in (('train', range(1, 5)), ('valid', (801, 802))):
        for n in numbers:
            save(root / f'DIV2K_{part}_HR/{n:04}.png', noise(24, 20, seed=n))
            save(root / f'DIV2K_{part}_LR_bicubic/X{scale}/{n:04}x{scale}.png', noise(24 // scale, 20 // scale, n + 50))
    return root


def test_div2k_layout_and_ranges(tmp_path):
    root = div2k(tmp_path / 'DIV2K')
    names = lambda images: sources.folder(root, scale=2, images=images).names
    assert names(None) == ('0001', '0002', '0003', '0004', '0801', '0802')
    assert names('1-800') == ('0001', '0002', '0003', '0004')
    assert names('801-810') == ('0801', '0802')
    assert names('2-3,802') == ('0002', '0003', '0802')
    source = sources.folder(root, scale=2, images='3')
    assert np.array_equal(source.hr(0), noise(24, 20, 3)) and np.array_equal(source.lr(0), noise(12, 10, 53))
    assert sources.folder(root, scale=4).lr(0) is None  # no X4 folder: LR is made
    for bad in ('1-', 'x', '9-2', '1;2'):
        with pytest.raises(ValueError, match='rising ranges'):
            names(bad)
    with pytest.raises(ValueError, match=r"images='5-9' selects none of the 6 images .* numbered 1 to 802"):
        names('5-9')


def test_missing_and_wrong_partners(tmp_path, caplog):
    root = div2k(tmp_path / 'DIV2K')
    save(root / 'DIV2K_train_LR_bicubic/X2/0003x2.png', noise(11, 10))
    with caplog.at_level(logging.WARNING):
        assert '0003' not in sources.folder(root, scale=2).names
    assert '0003x2.png: LR is 11x10, but HR 24x20 / 2 = 12x10' in caplog.text
    (root / 'DIV2K_train_LR_bicubic/X2/0002x2.png').unlink()
    with pytest.raises(FileNotFoundError, match=r"0002.png' has no partner: neither 0002x2 nor 0002 is in .*X2"):
        sources.folder(root, scale=2)
    assert len(sources.folder(root, scale=2, images='1,4')) == 2  # 2 is not asked for


@pytest.mark.parametrize('lr_name', ['LR_x2/a.png', 'LR_bicubic/X2/ax2.png'])
def test_hr_lr_layout(tmp_path, lr_name):
    save(tmp_path / 'set/HR/a.webp', noise(21, 20))
    save(tmp_path / f'set/{lr_name}', noise(11, 10, 1))  # MATLAB rounds 21 / 2 up; the row has no HR
    source = sources.folder(tmp_path / 'set', scale=2)
    assert np.array_equal(source.lr(0), noise(11, 10, 1)[:10])
    ((name, lr, hr),) = pipeline.validation_examples(source, 2)
    assert name == 'a' and lr.shape == (10, 10, 3) and hr.shape == (20, 20, 3)


def test_several_folders_and_halving(tmp_path):
    photos(tmp_path / 'a', 2)
    photos(tmp_path / 'b', 2, size=(41, 45))
    source = sources.folder(f'{tmp_path}/a,{tmp_path}/b@2', scale=2)
    assert source.names == ('a/0001', 'a/0002', 'b/0001', 'b/0002')
    assert np.array_equal(source.hr(3), downscale(noise(41, 45, 1)[:40, :44], 2))
    assert sources.folder(tmp_path / 'a', scale=2, downscale=4).shapes == ((10, 11), (10, 11))


@pytest.mark.parametrize('count, validation', [(1, []), (3, [3]), (24, [24]), (25, [25]), (60, [25, 50])])
def test_every_25th_is_validation(tmp_path, count, validation):
    source = sources.folder(photos(tmp_path / 'p', count, size=(4, 4)), scale=2)
    train, held_out = sources.split(source)
    assert [int(n) for n in held_out.names] == validation
    assert sorted(train.names + held_out.names) == list(source.names) and len(train) + len(held_out) == count
    assert all(np.array_equal(held_out.hr(i), noise(4, 4, n - 1)) for i, n in enumerate(validation))


def test_validation_examples_are_whole_and_evenly_spread(tmp_path):
    source = sources.folder(photos(tmp_path / 'p', 6, size=(13, 15)), scale=4)
    examples = pipeline.validation_examples(source, 4, limit=3)
    assert [name for name, _, _ in examples] == ['0001', '0003', '0005']
    for n, (_, lr, hr) in zip((0, 2, 4), examples, strict=True):
        assert np.array_equal(hr, noise(13, 15, n)[:12, :12]) and np.array_equal(lr, downscale(hr, 4))
    assert len(pipeline.validation_examples(source, 4)) == 6


# cache


def test_cache_is_reused_and_rebuilt_when_a_file_changes(tmp_path, monkeypatch):
    folder = photos(tmp_path / 'p', 3)
    decoded = []
    read_rgb = layouts.read_rgb
    monkeypatch.setattr(layouts, 'read_rgb', lambda path: decoded.append(path.name) or read_rgb(path))
    old = sources.folder(folder, scale=2)
    assert sorted(decoded) == ['0001.png', '0002.png', '0003.png']
    sources.folder(folder, scale=2)
    assert len(decoded) == 3
    save(tmp_path / 'p/0002.png', noise(30, 30, 9))
    new = sources.folder(folder, scale=2)
    assert len(decoded) == 6 and np.array_equal(new.hr(1), noise(30, 30, 9))
    assert np.array_equal(old.hr(1), noise(40, 44, 1))  # whoever had the old file open still reads it
    sources.folder(folder, scale=2, downscale=2)
    assert len(decoded) == 9
    assert len(os.listdir(tmp_path / 'cache/images')) == 2  # the changed file's cache replaced the old one
    with pytest.raises(ValueError, match='read-only'):
        new.hr(0)[0] = 0


def test_a_torn_cache_is_rebuilt(tmp_path):
    folder = photos(tmp_path / 'p', 2)
    sources.folder(folder, scale=2)
    (path,) = (tmp_path / 'cache/images').iterdir()
    for torn in (path.read_bytes()[:-5], b''):
        path.write_bytes(torn)
        assert np.array_equal(sources.folder(folder, scale=2).hr(1), noise(40, 44, 1))


def test_full_disk_says_where_and_leaves_nothing(tmp_path, monkeypatch):
    def full(file, image):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(cache, '_append', full)
    with pytest.raises(OSError, match=r'cannot write the image cache in .*No space left.*KDSR_CACHE') as e:
        sources.folder(photos(tmp_path / 'p', 2), scale=2)
    assert str(tmp_path / 'cache/images') in str(e.value) and os.listdir(tmp_path / 'cache/images') == []


# the other sources


def test_embedded_photographs():
    source = sources.embedded()
    train, validation = sources.split(source)
    assert len(source) >= 8 and validation.names == ('astronaut', 'coffee')
    assert not set(train.names) & set(validation.names) and len(train) + 2 == len(source)
    assert all(min(shape) >= 192 for shape in source.shapes)  # each serves the x4 patch of 48
    assert source.shapes[source.names.index('chelsea')] == (300, 451)


def test_embedded_without_scikit_image_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(FileNotFoundError, match='pip install scikit-image'):
        sources.embedded()


def test_open_source_by_config(tmp_path):
    path = photos(tmp_path / 'p', 3)
    block = {'source': 'folder', 'path': path, 'images': '2-3', 'validation_images': 8}
    assert sources.open_source(block, scale=2).names == ('0002', '0003')
    assert sources.open_source({**block, 'images': '', 'scale': 2, 'downscale': 2}).shapes == ((20, 22),) * 3
    assert len(sources.open_source({'source': 'embedded', 'path': ''}, scale=4)) >= 8
    with pytest.raises(ValueError, match="'foldr' is unknown, did you mean 'folder'"):
        sources.open_source({'source': 'foldr'}, scale=2)


def test_prepare_and_array_record_are_lossless(tmp_path):
    root = div2k(tmp_path / 'DIV2K')
    (root / 'DIV2K_train_HR/0002.png').write_text('no')
    out = tmp_path / 'sub'
    info = prepare.prepare(root, out, size=16, step=8, images='1-800', scale=2)
    # 24x20 in steps of 8: rows 0, 8; columns 0 and, ending at the border, 4
    corners = [(y, x) for y in (0, 8) for x in (0, 4)]
    source = sources.array_record(out)
    assert info['count'] == len(source) == 3 * len(corners) and info['skipped'][0][0] == '0002'
    assert source.names[:5] == ('0001_s000', '0001_s001', '0001_s002', '0001_s003', '0003_s000')
    for i, (n, (y, x)) in enumerate((n, c) for n in (1, 3, 4) for c in corners):
        hr, lr = source.read(i)
        assert np.array_equal(hr, noise(24, 20, n)[y : y + 16, x : x + 16])
        assert np.array_equal(lr, noise(12, 10, n + 50)[y // 2 : y // 2 + 8, x // 2 : x // 2 + 8])
    train, validation = sources.split(source)  # pieces of one picture overlap: none may be on both sides
    assert validation.names == tuple(f'0004_s{k:03}' for k in range(4)) and len(train) == 8
    assert batches(train, 2)[1][0].shape == (4, 8, 8, 3)
    assert not list(tmp_path.glob('.*sub*'))
    with pytest.raises(FileExistsError, match='has files'):
        prepare.prepare(root, out)
    with pytest.raises(ValueError, match='multiples of 3'):
        prepare.prepare(root, tmp_path / 'b', size=16, scale=3)
    with pytest.raises(FileNotFoundError, match='python -m kdsr.data.prepare'):
        sources.array_record(tmp_path / 'absent')


def test_prepare_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    class Full:
        def write(self, record):
            raise RuntimeError('write() failed: No space left on device')

    monkeypatch.setattr(records, 'writer', lambda folder: Full())
    with pytest.raises(OSError, match=r'cannot write the sub-images of .*sub.*No space left'):
        prepare.prepare(photos(tmp_path / 'p', 2), tmp_path / 'sub')
    assert sorted(os.listdir(tmp_path)) == ['p']


def test_cut_covers_the_image_and_keeps_small_ones():
    assert prepare.starts(1000, 480, 240) == [0, 240, 480, 520]
    assert prepare.starts(960, 480, 240) == [0, 240, 480]
    assert prepare.starts(300, 480, 240) == [0]
    ((hr, lr),) = prepare.cut(noise(30, 40), None, size=48, step=24, scale=None)
    assert hr.shape == (30, 40, 3) and lr is None
    assert records.unpack(records.pack(hr))[1] is None


def test_prepare_command(tmp_path):
    command = [
        sys.executable,
        '-m',
        'kdsr.data.prepare',
        photos(tmp_path / 'p', 2),
        f'--out={tmp_path}/sub',
        '--size=32',
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and '8 sub-images' in done.stdout, done.stderr
    assert json.loads((tmp_path / 'sub/info.json').read_text())['count'] == 8
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 1 and 'has files' in again.stderr and 'Traceback' not in again.stderr


def test_tfds(tmp_path):
    tfds = pytest.importorskip('tensorflow_datasets')

    class TinyDiv2k(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            image = lambda: tfds.features.Image(shape=(None, None, 3))
            features = tfds.features.FeaturesDict({'hr': image(), 'lr': image()})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {'train': self._generate_examples()}

        def _generate_examples(self):
            for n in range(3):
                yield n, {'hr': str(tmp_path / f'hr{n}.png'), 'lr': str(tmp_path / f'lr{n}.png')}

    with pytest.raises(FileNotFoundError, match=r"'tiny_div2k' is not built .*file_format='array_record'.*source='folder'"):
        sources.tfds('tiny_div2k', 'train', str(tmp_path), 2)
    for n in range(3):
        save(tmp_path / f'hr{n}.png', noise(16, 20, n))
        save(tmp_path / f'lr{n}.png', noise(8, 10, n + 50))
    tfds.builder('tiny_div2k', data_dir=str(tmp_path), file_format='array_record').download_and_prepare()
    source = sources.tfds('tiny_div2k', 'train', str(tmp_path), 2)
    pixels = {noise(16, 20, n).tobytes(): noise(8, 10, n + 50) for n in range(3)}  # TFDS shuffles once
    assert len(source) == 3 and all(np.array_equal(pixels[source.hr(i).tobytes()], source.lr(i)) for i in range(3))
    block = {'source': 'tfds', 'name': 'tiny_div2k', 'split': 'train[:2]', 'path': str(tmp_path)}
    assert len(sources.open_source(block, scale=2)) == 2
    with pytest.raises(ValueError, match="TFDS 'tiny_div3k' cannot be opened: Dataset tiny_div3k not found"):
        sources.tfds('tiny_div3k', 'train', str(tmp_path), 2)
    with pytest.raises(ValueError, match='LR is 8x10, but HR 16x20 / 4'):
        sources.tfds('tiny_div2k', 'train', str(tmp_path), 4)


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_a_transparent_grey_is_told_in_as_few_bits_as_are_stored(tmp_path, bits):
    # a PNG written by hand: one row of all greys, of which the second brightest (of 1 bit: black) is transparent
    most = 2**bits - 1
    greys = [i % (most + 1) for i in range(8 * ((most + 8) // 8))]
    packed = int(''.join(f'{g:0{bits}b}' for g in greys), 2).to_bytes(len(greys) * bits // 8, 'big')
    chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', len(greys), 1, bits, 0, 0, 0, 0))
    rest = chunk(b'IDAT', zlib.compress(b'\0' + packed)) + chunk(b'IEND', b'')
    for hidden, name in ((most - 1, 'seen'), (None, 'plain')):
        transparency = b'' if hidden is None else chunk(b'tRNS', struct.pack('>H', hidden))
        (tmp_path / f'{name}.png').write_bytes(b'\x89PNG\r\n\x1a\n' + header + transparency + rest)
    count = greys.count(most - 1)
    with pytest.raises(ValueError, match=f'seen.png: {count} pixels are'):
        read_rgb(tmp_path / 'seen.png')
    np.testing.assert_array_equal(read_rgb(tmp_path / 'plain.png')[0, :, 0], [g * 255 // most for g in greys])


# Degraded images


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    return sources.folder(str(tiny.folder(tmp_path_factory.mktemp('degraded'), count=3, height=120, width=100)), scale=4)


def degraded(source, block=(), **values):
    chosen = pipeline.degrading({'degradation': {'preset': 'realesrgan', 'canvas': 0, **dict(block)}}, 4)
    return pipeline.train_batches(source, scale=4, patch=8, batch=4, seed=3, degradation=chosen, **{'threads': 0, **values})


def test_degraded_batches_depend_on_seed_and_number_alone(photographs):
    """From any start, by any threads, by one process or two."""
    stream = degraded(photographs, augment='mirror')
    first = [next(stream) for _ in range(3)]
    (again,) = itertools.islice(degraded(photographs, augment='mirror', start=2, threads=2), 1)
    np.testing.assert_array_equal(again.lr, first[2].lr)
    halves = [next(degraded(photographs, augment='mirror', process_index=p, process_count=2)) for p in range(2)]
    for name in ('lr', 'hr'):
        np.testing.assert_array_equal(np.concatenate([getattr(h, name) for h in halves]), getattr(first[0], name))
    assert first[0].lr.shape == (4, 8, 8, 3) and first[0].hr.shape == (4, 32, 32, 3)
    assert (255 * first[0].lr == np.round(255 * first[0].lr)).all() and (first[0].lr != first[1].lr).any()


def test_degraded_pairs_are_turned_together(photographs):
    """Mirroring and no turning draw the same examples, half of them mirrored."""
    plain, mirrored = (next(degraded(photographs, augment=augment)) for augment in ('none', 'mirror'))
    turned = [not np.array_equal(a, b) for a, b in zip(plain.lr, mirrored.lr, strict=True)]
    for i, other in enumerate(turned):
        for a, b in ((plain.lr[i], mirrored.lr[i]), (plain.hr[i], mirrored.hr[i])):
            np.testing.assert_array_equal(a, b[:, ::-1] if other else b)
    assert any(turned)


@pytest.mark.parametrize(('pool', 'reached', 'away'), [(192, 4.0, 1.25), (576, 11.85, 3.97)])
def test_a_pool_mixes_batches_as_far_as_is_said(pool, reached, away):
    """Of 48: how many source batches a batch has, and from how far. The queue of 192 pairs of the release: 11.2 and 4.0."""
    size, m = 48, pool // 48
    numbers = np.array([examples.pooled(pool, 0, place) for place in range(40 * pool)])
    assert all(sorted(window) == list(range(pool * w, pool * w + pool)) for w, window in enumerate(numbers.reshape(40, pool)))
    source = numbers.reshape(-1, size) // size
    different = np.mean([len(set(batch)) for batch in source])
    distance = np.abs(source - np.arange(len(source))[:, None]).mean()
    assert m * (1 - math.comb(pool - size, size) / math.comb(pool, size)) == pytest.approx(reached, abs=0.005)
    assert different == pytest.approx(reached, abs=0.1) and (m * m - 1) / (3 * m) == pytest.approx(away, abs=0.005)
    assert distance == pytest.approx(away, rel=0.03)
    assert (numbers[:pool] % pool).tolist() != (numbers[pool : 2 * pool] % pool).tolist()  # each window has a shuffle of its own
    assert [examples.pooled(0, 0, place) for place in (0, 7)] == [0, 7]


def test_pooled_batches_hold_the_pairs_of_their_window_and_resume(photographs):
    """From any start, by one process or two; together the same pairs as without a pool."""
    options = {'draws': 'batch', 'pool': 12}
    pooled = list(itertools.islice(degraded(photographs, options), 6))
    plain = list(itertools.islice(degraded(photographs, {'draws': 'batch'}), 6))
    pairs = lambda batches: sorted(lr.tobytes() + hr.tobytes() for b in batches for lr, hr in zip(b.lr, b.hr, strict=True))
    assert pairs(pooled[:3]) == pairs(plain[:3]) and pairs(pooled[3:]) == pairs(plain[3:]) and pairs(pooled[:1]) != pairs(plain[:1])
    np.testing.assert_array_equal(next(degraded(photographs, options, start=4)).lr, pooled[4].lr)
    halves = [next(degraded(photographs, options, start=5, process_index=p, process_count=2)).hr for p in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves), pooled[5].hr)
    for pool in (4, 10):
        with pytest.raises(ValueError, match=rf'config.data.degradation.pool={pool} must be several batches of 4: 48, or 0'):
            degraded(photographs, {'draws': 'batch', 'pool': pool})


def test_validation_is_as_bad_as_training_and_always_the_same(photographs):
    chosen = pipeline.degrading({'degradation': {'preset': 'mild', 'canvas': 0}}, 4)
    one, other = (pipeline.validation_examples(pipeline.degraded(photographs, chosen, side=16), 4) for _ in range(2))
    for (name, lr, hr), (_, again, _) in zip(one, other, strict=True):
        np.testing.assert_array_equal(lr, again)
        assert lr.shape == (16, 16, 3) and hr.shape == (64, 64, 3)
        clean = imresize(hr, 1 / 4, border='replicate', round_between=True)
        assert 0.5 < np.abs(np.int16(lr) - clean).mean() < 60, name


@pytest.mark.parametrize(
    ('block', 'message'),
    [
        ({'preset': 'realesgan'}, "config.data.degradation.preset='realesgan' is unknown, did you mean 'realesrgan'"),
        ({'frist': {}}, 'config.data.degradation.frist is unknown'),
        ({'scale': 2}, 'config.data.degradation.scale=2 and config.scale=4 must be equal'),
    ],
)
def test_what_a_degradation_cannot_be_is_named(block, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        pipeline.degrading({'degradation': block}, 4)
    assert pipeline.degrading({'degradation': {}}, 4) is None


def test_a_degraded_benchmark_is_the_same_each_time_and_evaluate_takes_it(tmp_path):
    tiny.folder(tmp_path / 'photos', count=3, height=100, width=140)
    (tmp_path / 'photos' / 'broken.png').write_bytes(b'no picture')
    for name in ('one', 'two'):
        info = prepare.degrade(str(tmp_path / 'photos'), tmp_path / name, preset='jpeg', seed=5)
    assert len(info['names']) == 3 and info['skipped'][0][0] == 'broken'
    files = sorted(p.relative_to(tmp_path / 'one') for p in (tmp_path / 'one').rglob('*.png'))
    assert len(files) == 6 and all((tmp_path / 'one' / f).read_bytes() == (tmp_path / 'two' / f).read_bytes() for f in files)
    for _, lr, hr in benchmarks.read(tmp_path / 'one', 4):
        assert lr.shape == (25, 25, 3) and hr.shape == (100, 100, 3)
        assert 0.2 < np.abs(np.int16(lr) - imresize(hr, 1 / 4, border='replicate', round_between=True)).mean() < 20
    with pytest.raises(FileExistsError, match='has files'):
        prepare.degrade(str(tmp_path / 'photos'), tmp_path / 'one', preset='jpeg')
    both = prepare.degrade(f'{tmp_path / "photos"},{tmp_path / "one/HR"}', tmp_path / 'both', preset='jpeg', copies=2)
    examples = {name: lr for name, lr, _ in benchmarks.read(tmp_path / 'both', 4)}
    assert len(both['names']) == len(examples) == 12 and all(name[-2:] in ('_0', '_1') for name in examples)
    assert len({lr.tobytes() for lr in examples.values()}) == 12  # each square is drawn anew
    with pytest.raises(ValueError, match="--degradation.preset='jpg' is unknown, did you mean 'jpeg'"):
        prepare.degrade(str(tmp_path / 'photos'), tmp_path / 'three', preset='jpg')
