"""Folders of pictures mean the same to training, benchmarks and calibration: what is read, what is said, what is refused."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from kdsr import commands, convert
from kdsr.data import benchmarks, cache, pipeline, prepare, sources
from kdsr.export import calibration
from kdsr.pictures import files

READERS = {
    'training': lambda folder, scale: pipeline.validation_examples(sources.folder(folder, scale=scale), scale),
    'benchmarks': benchmarks.read,
    'calibration': calibration.read,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('KDSR_CACHE', str(tmp_path / 'cache'))


@pytest.fixture(params=READERS)
def read(request):
    return READERS[request.param]


def noise(h, w, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def said(caplog):
    return '\n'.join(r.getMessage() for r in caplog.records)


# what is there is used, or said


@pytest.mark.parametrize('height', [21, 20])  # MATLAB rounds 21 / 2 up; 20: HR was cut afterwards
def test_lr_of_one_pixel_more_is_cropped_with_hr_and_said(tmp_path, read, height, caplog):
    save(tmp_path / 'set/HR/a.png', noise(height, 20))
    save(tmp_path / 'set/LR_x2/a.png', noise(11, 10, 1))
    for _ in range(2):  # also where the pictures come from the cache
        caplog.clear()
        ((name, lr, hr),) = read(tmp_path / 'set', 2)
        assert name == 'a' and np.array_equal(lr, noise(11, 10, 1)[:10]) and np.array_equal(hr, noise(height, 20)[:20])
        assert '1 of 1 LR images' in said(caplog) and 'a pixel larger than HR / 2, e.g. of a: both are cropped' in said(caplog)


@pytest.mark.parametrize(
    ('place', 'named'),
    [
        ('LR_x4/a.png', 'LR_x4'),  # another scale's
        ('LR_bicubic/X3/ax3.png', 'LR_bicubic/X3'),
        ('LR/a.png', 'LR'),
        ('LR_unknown/X2/ax2.png', 'LR_unknown/X2'),
        ('GT/a.webp', 'GT'),
        ('b.png', 'the images beside HR'),
        ('HR/b.gif', r'1 files \*.gif in .*HR \(save them as PNG\)'),
        ('HR/more/b.png', 'HR/more'),
    ],
)
def test_pictures_that_are_not_read_are_named(tmp_path, read, place, named, caplog):
    save(tmp_path / 'set/HR/a.png', noise(24, 20))
    save(tmp_path / 'set' / place, noise(12, 10, 1))
    ((_, lr, _),) = read(tmp_path / 'set', 2)
    assert not np.array_equal(lr, noise(12, 10, 1))
    (line,) = said(caplog).splitlines()
    assert re.search(f"'{tmp_path}/set': LR of HR is made from HR; not read: {named} \\(accepted layouts", line)


def test_nothing_is_said_where_all_is_read(tmp_path, read, caplog):
    save(tmp_path / 'set/HR/a.png', noise(24, 24))
    for scale in (2, 3, 4):  # the others' turn comes with another scale
        save(tmp_path / f'set/LR_x{scale}/a.png', noise(24 // scale, 24 // scale, scale))
    (example,) = read(tmp_path / 'set', 3)
    assert np.array_equal(example.lr, noise(8, 8, 3)) and not caplog.records
    save(tmp_path / 'set/LR/a.png', noise(8, 8))
    read(tmp_path / 'set', 3)
    assert 'LR is read from LR_x3; not read: LR (' in said(caplog)


def test_div2k_names_the_parts_it_leaves(tmp_path, caplog):
    for part in ('train', 'valid'):
        save(tmp_path / f'D/DIV2K_{part}_HR/{part}1.png', noise(24, 20))
    save(tmp_path / 'D/DIV2K_train_LR_bicubic/X2/train1x2.png', noise(12, 10, 1))
    save(tmp_path / 'D/DIV2K_train_LR_unknown/X2/train1x2.png', noise(12, 10, 2))
    source = sources.folder(tmp_path / 'D', scale=2)
    assert np.array_equal(source.lr(0), noise(12, 10, 1)) and source.lr(1) is None
    assert 'LR of DIV2K_valid_HR is made from HR; not read: DIV2K_train_LR_unknown/X2 (' in said(caplog)


def test_lr_beside_the_folder_that_is_given_and_lr_that_is_given_up_are_named(tmp_path, read, caplog):
    save(tmp_path / 'set/HR/a.png', noise(24, 20))
    lr = save(tmp_path / 'set/LR_x2/a.png', noise(12, 10, 1))
    read(tmp_path / 'set/HR', 2)
    assert f'not read: {lr.parent}' in said(caplog)
    caplog.clear()
    read(f'{tmp_path}/set@2', 2)
    assert 'HR is divided by 2, and LR made from it; not read: LR_x2' in said(caplog)
    caplog.clear()
    prepare.prepare(tmp_path / 'set', tmp_path / 'sub', size=8, step=8)
    assert 'no scale is given, so HR alone is read; not read: LR_x2' in said(caplog)


def test_lr_that_belongs_to_no_hr_is_counted(tmp_path, read, caplog):
    save(tmp_path / 'set/HR/a.png', noise(24, 20))
    for name in ('a', 'b'):
        save(tmp_path / f'set/LR_x2/{name}.png', noise(12, 10))
    read(tmp_path / 'set', 2)
    assert f"1 of 2 images in '{tmp_path}/set/LR_x2' belong to no HR and are not used: b.png" in said(caplog)


def test_empty_folders_name_where_pictures_are(tmp_path, read):
    save(tmp_path / 'set/GTmod12/a.png', noise(24, 20))
    with pytest.raises(FileNotFoundError, match="no images in '.*set', but in GTmod12; accepted layouts"):
        read(tmp_path / 'set', 2)


# what is ambiguous is an error


@pytest.mark.parametrize(
    ('names', 'words'),
    [
        (('HR/a.png', 'HR/a.bmp'), 'a.png and a.bmp have the same name'),
        (('HR/a.png', 'HR/a.bmp', 'LR_x2/a.png'), 'a.png and a.bmp have the same name'),
        (('a.png', 'a.jpg'), 'a.png and a.jpg have the same name'),
        (('HR/a.png', 'LR_x2/a.png', 'LR_x2/a.bmp'), 'a.png and a.bmp have the same name'),
        (('HR/a.png', 'LR_x2/a.png', 'LR_x2/ax2.png'), "a.png' has two partners in .*LR_x2', a.png and ax2.png"),
        (('HR/a.png', 'LR_x2/a.png', 'LR_bicubic/X2/a.png'), "LR of .*HR' is in two places, .*LR_bicubic/X2 and .*LR_x2"),
    ],
)
def test_what_could_mean_two_things_is_refused(tmp_path, read, names, words):
    for name in names:
        save(tmp_path / 'set' / name, noise(12, 10))
    with pytest.raises(ValueError, match=words):
        read(tmp_path / 'set', 2)


def test_a_name_that_ends_like_a_partners_is_no_partner(tmp_path, read):
    for i, name in enumerate(('a', 'ax2')):
        save(tmp_path / f'set/HR/{name}.png', noise(24, 20, i))
        save(tmp_path / f'set/LR_x2/{name}.png', noise(12, 10, i + 5))
    assert all(np.array_equal(lr, noise(12, 10, i + 5)) for i, (_, lr, _) in enumerate(read(tmp_path / 'set', 2)))


def test_several_folders_of_one_name_are_told_apart(tmp_path):
    for room in 'xy':
        save(tmp_path / room / 'HR/a.png', noise(24, 20))
    source = sources.folder(f'{tmp_path}/x/HR,{tmp_path}/y/HR', scale=2)
    assert source.names == (f'{tmp_path}/x/HR/a', f'{tmp_path}/y/HR/a')
    with pytest.raises(ValueError, match='x/HR twice'):
        sources.folder(f'{tmp_path}/x/HR,{tmp_path}/y/HR,{tmp_path}/x/HR', scale=2)


def test_benchmarks_of_one_name_would_hide_each_other(tmp_path):
    for room in ('x/Set5', 'y/Set5', 'validation'):
        save(tmp_path / room / 'a.png', noise(24, 20))
    assert list(benchmarks.sets([tmp_path / 'x/Set5/', tmp_path / 'validation'], 2)) == ['Set5', 'validation']
    with pytest.raises(ValueError, match="two sets are called 'Set5'"):
        benchmarks.sets([tmp_path / 'x/Set5', tmp_path / 'y/Set5'], 2)
    with pytest.raises(ValueError, match="two sets are called 'validation'"):
        benchmarks.sets([tmp_path / 'validation'], 2, taken=['validation'])


def test_bad_pictures_of_a_benchmark_are_left_out_by_name(tmp_path, caplog):
    for name in ('a', 'b', 'c'):
        save(tmp_path / f'set/HR/{name}.png', noise(24, 20))
        save(tmp_path / f'set/LR_x2/{name}.png', noise(12, 10))
    save(tmp_path / 'set/LR_x2/b.png', noise(9, 10))
    (tmp_path / 'set/HR/c.png').write_text('no picture')
    assert [e.name for e in benchmarks.read(tmp_path / 'set', 2)] == ['a']
    assert "2 of 3 images in '" in said(caplog) and 'b.png: LR is 9x10' in said(caplog) and 'c.png: cannot read' in said(caplog)


# a teacher's pictures


def teachers(folder, truth='truth'):
    """A folder as kdsr.teach writes it: two pictures, the truth of the first, LR."""
    for i, name in enumerate('ab'):
        save(folder / f'HR/{name}.png', noise(24, 20, i))
        save(folder / f'LR_x2/{name}.png', noise(12, 10, i + 5))
    save(folder / 'truth/a.png', noise(24, 20, 9))
    (folder / 'teacher.json').write_text(json.dumps({'teacher': 'someone', 'truth': truth}))
    return folder


def test_truth_and_teacher_of_a_teachers_pictures(tmp_path, read, caplog):
    examples = read(teachers(tmp_path / 'set'), 2)
    assert np.array_equal(examples[0].hr, noise(24, 20, 9)) and np.array_equal(examples[1].hr, noise(24, 20, 1))
    assert examples.unknown == {'b'} and all(np.array_equal(examples.teacher[n], noise(24, 20, i)) for i, n in enumerate('ab'))
    assert not caplog.records
    (tmp_path / 'set/truth/a.png').unlink()
    assert read(tmp_path / 'set', 2).unknown == {'a', 'b'}
    assert 'HR are pictures of someone, and the truth is not there: scores are against the teacher' in said(caplog)
    (tmp_path / 'set/teacher.json').write_text('{"truth"')
    with pytest.raises(ValueError, match='teacher.json is damaged'):
        read(tmp_path / 'set', 2)


def test_training_sees_the_teacher_and_sub_images_keep_its_name(tmp_path):
    source = sources.folder(teachers(tmp_path / 'set'), scale=2)
    assert np.array_equal(source.hr(0), noise(24, 20)) and [t.teacher for t in source.taught] == ['someone'] * 2
    prepare.prepare(tmp_path / 'set', tmp_path / 'sub', size=12, step=12, scale=2)
    cut = sources.array_record(tmp_path / 'sub')
    examples = pipeline.validation_examples(cut.take([0, 1]), 2)
    assert examples.unknown == set(cut.names[:2]) and len(cut.take([0]).taught) == 1


# paths and numbers


def test_unknown_home_directories_are_one_line_wherever_paths_are_expanded(tmp_path, monkeypatch):
    bad, room = '~nosuchuser/x', str(tmp_path)
    save(tmp_path / 'p/a.png', noise(24, 20))
    calls = [
        lambda: benchmarks.read(bad, 2),
        lambda: benchmarks.sets([bad], 2),
        lambda: sources.folder(bad, scale=2),
        lambda: sources.folder(f'{room}/p,{bad}@2', scale=2),
        lambda: sources.folder(f'{room}/p', scale=2, cache_dir=bad),
        lambda: sources.array_record(bad),
        lambda: prepare.prepare(f'{room}/p', bad),
        lambda: convert.convert('x.npz', 'edsr', bad),
        lambda: files.plan([bad], room, suffix=''),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="'~nosuchuser/x.*': there is no home directory for '~nosuchuser'"):
            call()
    monkeypatch.setenv('KDSR_CACHE', bad)
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
    for call in (cache.default_dir, commands.cache):
        with pytest.raises(ValueError, match="there is no home directory for '~nosuchuser'"):
            call()


@pytest.mark.parametrize(
    ('field', 'value'),
    [('downscale', 0), ('downscale', -2), ('downscale', 1.5), ('validation_images', 0), ('validation_images', -1), ('threads', -1)],
)
def test_numbers_out_of_range_name_the_field(tmp_path, field, value):
    save(tmp_path / 'p/a.png', noise(24, 20))
    with pytest.raises(ValueError, match=f'config.data.{field}={value} must be a whole number of at least [01]$'):
        sources.open_source({'source': 'folder', 'path': f'{tmp_path}/p', field: value}, scale=2)


@pytest.mark.parametrize('source', ['embedded', 'tfds', 'array_record'])
def test_choices_that_a_source_has_not_are_refused(source):
    with pytest.raises(ValueError, match=f"config.data.images='1-8': source '{source}' has no images, 'folder' has"):
        sources.open_source({'source': source, 'images': '1-8'}, scale=2)
    with pytest.raises(ValueError, match=f"config.data.downscale=2: source '{source}' has no downscale"):
        sources.open_source({'source': source, 'downscale': 2}, scale=2)
