"""Folders of what a teacher makes of pictures: their bytes after a kill, their squares, their truth, their colours."""

import json

import numpy as np
import pytest
import scipy.ndimage
import tiny
from PIL import Image

from kdsr import teach, tiling
from kdsr.data import benchmarks, layouts, sources
from kdsr.data.resize import downscale, imresize
from kdsr.teachers import taught
from kdsr.teachers.teacher import Teacher

TWICE = Teacher('twice', 'repeats pixels', 2, lambda x: np.repeat(np.repeat(x, 2, 1), 2, 2))
pixels = lambda path: np.asarray(Image.open(path))


def make(tmp_path, teacher=TWICE, out='taught', **options):
    found = taught.make(teacher, str(tmp_path / 'photos'), tmp_path / out, taught.Options(**options))
    return tmp_path / out, found


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def test_whole_pictures_with_their_truth(tmp_path):
    tiny.folder(tmp_path / 'photos', count=2, height=65, width=80)
    folder, found = make(tmp_path)
    assert found == (2, [])
    truth = tiny.picture(65, 80, 1)[:64]
    lr = downscale(truth, 2)
    np.testing.assert_array_equal(pixels(folder / 'LR_x2/0001.png'), lr)
    np.testing.assert_array_equal(pixels(folder / 'HR/0001.png'), lr.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(pixels(folder / 'truth/0001.png'), truth)
    examples = benchmarks.read(folder, 2)
    assert not examples.unknown and np.array_equal(examples[1].hr, truth) and len(examples.teacher) == 2


def test_a_killed_command_goes_on_to_the_same_bytes(tmp_path):
    tiny.folder(tmp_path / 'photos', count=3)
    whole, _ = make(tmp_path, patches=2, size=40)
    asked = []

    def dying(x):
        asked.append(x)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return TWICE.fn(x)

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, TWICE._replace(fn=dying), 'again', patches=2, size=40)
    assert not (tmp_path / 'again').exists()
    again, _ = make(tmp_path, TWICE._replace(fn=dying), 'again', patches=2, size=40)
    assert len(asked) == 4 + 3, 'the three squares that were whole are not made anew'
    assert files(again) == files(whole) and len(files(whole)) == 3 * 6 + 1
    assert make(tmp_path, out='again', patches=2, size=40)[1] == (6, [])
    with pytest.raises(ValueError, match='is there, and not from this command'):
        make(tmp_path, out='again', patches=2, size=42)


def test_squares_of_a_picture_stay_on_one_side_of_the_split(tmp_path):
    tiny.folder(tmp_path / 'photos', count=5)
    folder, _ = make(tmp_path, patches=3, size=40)
    train, held = sources.split(sources.folder(str(folder), scale=2, cache_dir=str(tmp_path / 'cache')))
    assert set(train.groups) == {'0000', '0001', '0002', '0003'} and set(held.groups) == {'0004'} and len(held) == 3
    whole = sources.split(sources.folder(str(tmp_path / 'photos'), scale=2, cache_dir=str(tmp_path / 'cache')))[1]
    assert set(whole.names) == set(held.groups), 'the pictures that are held out without the squares'
    truth, lr = pixels(folder / 'truth/0004_p001.png'), pixels(folder / 'LR_x2/0004_p001.png')
    assert truth.shape == (40, 40, 3) and lr.shape == (20, 20, 3)
    large, rows, columns = tiny.picture(64, 80, 4), *(np.arange(n) for n in (13, 21))
    places = [(y, x) for y in 2 * rows for x in 2 * columns if np.array_equal(large[y : y + 40, x : x + 40], truth)]
    ((y, x),) = places
    np.testing.assert_array_equal(downscale(large, 2)[y // 2 :, x // 2 :][:20, :20], lr)


def test_a_square_does_not_hang_on_other_pictures(tmp_path):
    tiny.folder(tmp_path / 'photos', count=2)
    before, _ = make(tmp_path, patches=1, size=40, degrade='jpeg', seed=3)
    Image.fromarray(tiny.picture(64, 80, 9)).save(tmp_path / 'photos' / '000.png')
    after, _ = make(tmp_path, out='after', patches=1, size=40, degrade='jpeg', seed=3)
    assert files(before).items() - files(after).items() == set() and len(files(after)) == len(files(before)) + 3


def test_pictures_that_are_lr_have_no_truth(tmp_path):
    tiny.folder(tmp_path / 'photos', count=2)
    folder, _ = make(tmp_path, degrade='none')
    assert not (folder / 'truth').exists() and 'truth' not in json.loads((folder / layouts.CARD).read_text())
    np.testing.assert_array_equal(pixels(folder / 'LR_x2/0000.png'), tiny.picture(64, 80, 0))
    assert pixels(folder / 'HR/0000.png').shape == (128, 160, 3) and benchmarks.read(folder, 2).unknown == {'0000', '0001'}


def test_lr_partners_are_taken_unless_told_otherwise(tmp_path):
    tiny.folder(tmp_path / 'photos/HR', count=1)
    partner = tiny.picture(32, 40, 7)
    (tmp_path / 'photos/LR_x2').mkdir()
    Image.fromarray(partner).save(tmp_path / 'photos/LR_x2/0000.png')
    np.testing.assert_array_equal(pixels(make(tmp_path)[0] / 'LR_x2/0000.png'), partner)
    other = pixels(make(tmp_path, out='other', degrade='bicubic')[0] / 'LR_x2/0000.png')
    np.testing.assert_array_equal(other, downscale(tiny.picture(64, 80, 0), 2))


def test_pictures_that_cannot_be_taught_are_left_out_and_named(tmp_path, caplog):
    tiny.folder(tmp_path / 'photos', count=2)
    Image.new('RGB', (80, 64)).save(tmp_path / 'photos' / '0000.png')
    (tmp_path / 'photos' / 'x.png').write_bytes(b'no picture')
    nan = TWICE._replace(fn=lambda x: TWICE.fn(x) / (x.max() > 0))
    with np.errstate(invalid='ignore'):
        folder, (count, skipped) = make(tmp_path, nan)
    assert count == 1 and [name for name, _ in skipped] == ['0000', 'x'] and 'NaN' in skipped[0][1]
    assert '0000 is left out' in caplog.text and [p.name for p in sorted(folder.glob('*/*'))] == ['0001.png'] * 3
    with np.errstate(invalid='ignore'), pytest.raises(ValueError, match='none of the 3 pictures'):
        make(tmp_path, TWICE._replace(fn=lambda x: TWICE.fn(x) * np.nan), 'none')


def test_large_pictures_are_reduced_in_bands(monkeypatch):
    monkeypatch.setattr(taught, 'ROWS', 7)
    hr = np.random.default_rng(0).integers(0, 256, (4 * 30, 4 * 9, 3), np.uint8)
    np.testing.assert_array_equal(taught.reduced(hr, 4), downscale(hr, 4))
    np.testing.assert_array_equal(taught.reduced(hr, 1), hr)


def test_colours_of_lr_in_the_large(monkeypatch):
    """A cast goes, detail stays: against the formula on the whole picture."""
    monkeypatch.setattr(taught, 'ROWS', 8)
    lr = tiny.picture(40, 48, 0)
    sr = np.uint8(np.clip(np.float32(imresize(lr, 2)) + [9, 0, -6], 0, 255))
    found = np.concatenate(list(taught.recoloured(sr, lr, 2)))
    away = scipy.ndimage.gaussian_filter(lr - imresize(np.float64(sr), 0.5), (8, 8, 0), mode='nearest')
    expected = np.clip(np.rint(sr + imresize(away, 2)), 0, 255)
    assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 0.01
    assert abs(found.mean((0, 1)) - lr.mean((0, 1))).max() < 0.5 < abs(sr.mean((0, 1)) - lr.mean((0, 1))).max()


def test_a_folder_that_a_teacher_made_is_taught(tmp_path):
    tiny.folder(tmp_path / 'photos', count=2, height=40, width=48)
    (tmp_path / 'sr').mkdir()
    for i in range(2):
        Image.fromarray(tiny.picture(40, 48, i).repeat(3, 0).repeat(3, 1)).save(tmp_path / f'sr/{i:04}_x3.png')
    options = {'made_in': str(tmp_path / 'sr'), 'options': taught.Options(patches=1, size=60)}
    ((folder, found),) = teach.run('service', [str(tmp_path / 'photos')], tmp_path / 'out', **options).items()
    assert found == (2, []) and json.loads((folder / layouts.CARD).read_text())['teacher'] == 'service'
    lr = pixels(folder / 'LR_x3/0001_p000.png')
    np.testing.assert_array_equal(pixels(folder / 'HR/0001_p000.png'), lr.repeat(3, 0).repeat(3, 1))
    with pytest.raises(ValueError, match='3 times as large, --scale=2'):
        teach.run('service', [str(tmp_path / 'photos')], tmp_path / 'other', scale=2, **options)


def test_tiles_are_all_that_a_large_picture_needs():
    """The teacher sees no more than a tile at once."""
    seen = []
    teacher = TWICE._replace(fn=lambda x: seen.append(x.shape[1:3]) or TWICE.fn(x), side=64, overlap=8)
    rows = sum(len(band) for band in teacher.blocks('x', tiny.picture(200, 150, 0)))
    assert rows == 400 and max(max(shape) for shape in seen) <= 64 and teacher.side < tiling.SIDE
