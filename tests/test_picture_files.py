"""Every picture gets a result of its own or is named: links, two names for one file, one stem, results among the pictures."""

import os
import pathlib

import numpy as np
import pytest
from enlarging import saved

from kdsr import paths, pictures, upscale
from kdsr.pictures import files


def plan(*inputs, out='out', suffix='_x2', **options):
    return files.plan(inputs, out, suffix=suffix, **options)


def targets(*inputs, **options):
    return [str(job.target) for job in plan(*inputs, **options).jobs]


def earlier(path):
    """A result, as a run leaves it."""
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    form = pictures.EXTENSIONS[pathlib.Path(path).suffix]
    pictures.write(path, [np.zeros((4, 4, 3), np.uint8)], (4, 4, 3), 'uint8', form)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_link_has_its_own_result_and_a_name_given_twice_one(here):
    saved(here / 'a.png')
    os.symlink('a.png', 'soft.png')
    os.link('a.png', 'hard.png')
    expected = ['out/a_x2.png', 'out/hard_x2.png', 'out/soft_x2.png']
    assert targets('a.png', 'hard.png', 'soft.png') == targets('.') == targets('*.png') == expected
    os.symlink('.', 'same')
    found = plan('a.png', './a.png', here / 'a.png', 'same/a.png', '*.png')
    assert [str(job.target) for job in found.jobs] == expected
    assert found.notes == ['4 named more than once: each has one result']


def test_linked_folders_are_read_but_not_in_circles(here):
    saved(here / 'in' / 'a.png')
    saved(here / 'other' / 'b.png')
    os.symlink('../other', 'in/link')
    os.symlink('.', 'in/circle')
    os.symlink('../in', 'other/back')
    assert targets('in', recursive=True) == ['out/a_x2.png', 'out/link/b_x2.png']
    saved(here / 'c.png')
    os.symlink('..', 'in/above')  # three pictures in all, whatever ways lead to them
    assert {path[-8:] for path in targets('in', recursive=True)} == {'a_x2.png', 'b_x2.png', 'c_x2.png'}
    assert len(targets('in', recursive=True)) == 3


def test_links_to_nothing_are_named(here, model, capsys):  # noqa: F811
    saved(here / 'in' / 'a.png')
    os.symlink('nowhere.png', 'in/b.png')
    os.symlink('c.png', 'in/c.png')
    assert upscale.run(['in'], 'out', model=model)[1]
    said = capsys.readouterr()
    assert 'failed: in/b.png: No such file' in said.err and 'failed: in/c.png: Too many levels' in said.err
    assert said.out.startswith('1 done, 2 failed; ') and os.listdir('out') == ['a_x2.png']


def test_what_a_folder_holds_and_is_not_read_is_said(here):
    for name in ('in/a.png', 'in/b.heic', 'in/c.heic', 'in/notes.txt', 'in/.hidden.png', 'in/sub/d.png', 'in/out/e.png'):
        saved(here / name)
    os.mkfifo('in/pipe.png')
    others = 'in: left out, not called as pictures are: 2 .heic, 1 .txt, 1 .png'
    found = plan('in', out='in/out')
    assert len(found.jobs) == 1 and found.notes == [others, 'in: left out, folders below (--recursive reads them): sub']
    assert plan('in', recursive=True).notes == [others]
    assert plan('in/*').notes == ['in/*: left out, folders: in/out, in/sub'] and len(plan('in/*').jobs) == 5
    assert files._few('abcde') == 'a, b, c and 2 more'


def test_one_stem_is_refused_with_remedies_that_work(here):
    for name in ('a.jpg', 'a.png', 'b/a.png', 'c/g.gif', 'c/g.bmp'):
        saved(here / name)
    clash = (
        r'^a.jpg and a.png would both be written to out/a_x2.png: rename one, leave out --format, or upscale them in two runs with'
    )
    with pytest.raises(ValueError, match=clash):
        plan('a.jpg', 'a.png', form='png')
    assert targets('a.jpg', 'a.png') == ['out/a_x2.jpg', 'out/a_x2.png']
    for inputs in (('a.png', 'b/a.png'), ('c',)):
        with pytest.raises(ValueError, match='would both be written to .*: rename one, or upscale them in two runs with an --out'):
            plan(*inputs)
    with pytest.raises(ValueError, match='c/g.bmp and c/g.gif .*: rename one, or upscale'):  # --format is not to blame
        plan('c', form='png')
    assert targets('a.png') == ['out/a_x2.png'] and targets('b/a.png', out='two') == ['two/a_x2.png']
    os.rename('a.jpg', 'd.jpg')
    assert targets('d.jpg', 'a.png', form='png') == ['out/d_x2.png', 'out/a_x2.png']


@pytest.mark.parametrize('ignores', [False, True])
def test_names_that_differ_in_case_or_composition(here, monkeypatch, ignores):
    asked = []
    monkeypatch.setattr(files, '_ignores_case', lambda folder: asked.append(folder) or ignores)
    assert len(plan('a.png', 'b.png').jobs) == 2 and not asked
    for pair in [('a.png', 'A.png'), ('A.PNG', 'a.png'), ('e\u0301.png', '\u00e9.png')]:
        if ignores:
            with pytest.raises(ValueError, match='would both be written to'):
                plan(*pair)
        else:
            assert len(set(targets(*pair))) == 2
    saved(here / 'A_X2.png')
    if ignores:
        with pytest.raises(ValueError, match='a_x2.png is the result of a.png and itself to be read'):
            plan('a.png', 'A_X2.png', out='.')
    else:
        assert targets('a.png', 'A_X2.png', out='.') == ['a_x2.png', 'A_X2_x2.png']


def test_whether_the_disk_ignores_case(here):
    saved(here / 'probe')
    for folder in ('.', 'not/yet/there'):
        assert files._ignores_case(pathlib.Path(folder)) == os.path.exists('PROBE')
    assert sorted(os.listdir()) == ['probe']


def test_results_in_the_folder_of_the_pictures(here, model, capsys):  # noqa: F811
    for name in ('a.png', 'b.jpg', 'c.tif', 'd_x2.png', 'sub/e.webp'):
        saved(here / 'in' / name)
    before = {path: path.read_bytes() for path in (here / 'in').rglob('*.*')}
    results = {'a_x2.png', 'b_x2.jpg', 'c_x2.tif', 'd_x2_x2.png', 'sub/e_x2.webp'}
    for _ in range(2):  # the second time its own results lie there
        assert not upscale.run(['in'], 'in', model=model, recursive=True)[1]
        found = {str(path.relative_to('in')) for path in pathlib.Path('in').rglob('*.*')}
        assert found == results | {str(path.relative_to(here / 'in')) for path in before}
        said = capsys.readouterr()
        assert said.out.startswith('5 done, 0 failed; ')
    left = 'note: left out, results of an earlier run: in/a_x2.png, in/b_x2.jpg, in/c_x2.tif and 2 more'
    assert left in said.err and all(path.read_bytes() == data for path, data in before.items())
    assert not upscale.run(['in'], 'in', model=model, recursive=True, skip_existing=True)[1]
    assert capsys.readouterr().out.startswith('0 done, 0 failed, 5 already there; ')
    os.symlink('in', 'alias')
    assert len(plan('in', out='alias', recursive=True).jobs) == 5
    assert len(plan('in', out='in', form='tiff', recursive=True).jobs) == 5  # results of any format are results


def test_a_picture_that_a_result_would_replace_is_refused(here):
    saved(here / 'a.png')
    saved(here / 'a_x2.png')  # nobody's result
    for inputs in (['.'], ['*.png'], ['a.png', 'a_x2.png']):
        with pytest.raises(ValueError, match='a_x2.png is the result of a.png and itself to be read: choose another --out or'):
            plan(*inputs, out='.')
        assert len(plan(*inputs).jobs) == len(plan(*inputs, out='.', suffix='_new').jobs) == 2
    earlier('a_x2.png')
    assert targets('.', out='.') == ['a_x2.png']
    with pytest.raises(ValueError, match='itself to be read'):
        plan('a.png', 'a_x2.png', out='.')  # it is named, so it is meant
    with pytest.raises(ValueError, match='a.png is the result of a.png and itself to be read: choose another --out or --suffix'):
        plan('a.png', out='.', suffix='')
    os.symlink('a_x2.png', 'link.png')
    with pytest.raises(ValueError, match='a_x2.png is the result of a.png and itself to be read'):
        plan('a.png', 'link.png', out='.')  # what it leads to would be another picture by then
    earlier('out/b_x2.png')
    saved(here / 'out' / 'c.png')
    assert targets('out', out='out') == ['out/b_x2_x2.png', 'out/c_x2.png']  # its picture is not here: it is one itself


def test_folders_and_suffixes_that_cannot_be(here):
    saved(here / 'a.png')
    with pytest.raises(NotADirectoryError, match='--out=a.png is a file: name a folder'):
        plan('a.png', out='a.png')
    with pytest.raises(ValueError, match='--suffix=/b is added to the names of files and cannot hold a /'):
        plan('a.png', suffix='/b')
    with pytest.raises(ValueError, match='no home directory'):
        plan('~nobody-of-this-name/a.png')
    assert plan('a.png', out='~').jobs[0].target == pathlib.Path.home() / 'a_x2.png'


def test_names_of_any_length(here, model, capsys):  # noqa: F811
    long = ['a' * (length - 4) + '.png' for length in (200, 250, 251, 252, 255)] + ['é' * 120 + '.png']
    for name in long:
        saved(here / 'in' / name)
    assert upscale.run(['in'], 'out', model=model)[1]
    said = capsys.readouterr()
    assert said.out.startswith('5 done, 1 failed; ') and len(os.listdir('out')) == 5
    assert f'failed: in/{long[4]}: its name, or that of its result, is longer than the disk takes: rename it' in said.err
    assert not upscale.run(['in'], 'out', model=model, suffix='')[1] and len(os.listdir('out')) == 5 + 6
    assert not [name for name in os.listdir('out') if name.startswith('.')]


def test_temporary_names():
    assert paths.beside('b/a.png', '.part') == pathlib.Path('b/.a.png.part')
    names = {paths.beside(f'{"é" * 200}{i}', '.part').name for i in range(100)}
    assert len(names) == 100 and all(len(os.fsencode(name)) < 120 for name in names)
    assert paths.beside('a' * 101, '.part') == paths.beside('a' * 101, '.part')
