"""The report: numbers, grouping and labels of hand-made runs, curves, and crops of a real network."""

import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny
from handmade import evaluation, results, run, scores
from PIL import Image

from kdsr import crops, curves, evaluate, labels, metrics, models, report, runs, tables

HERE = pathlib.Path(__file__).parents[1]
PSNR = {0: 31.25, 1: 31.5, 2: 31.9}  # of the student by seed


def groups(*folders):
    return runs.grouped(runs.collect(folders))


def table(path):
    return list(csv.DictReader(path.open(newline='')))


@pytest.fixture
def seeds(tmp_path):
    """Three seeds of one experiment; the last has a benchmark more."""
    for seed, psnr in PSNR.items():
        sets = ('validation/x2', 'Set5/x2') if seed == 2 else ('validation/x2',)
        run(tmp_path / 'runs' / f'{seed}', seed, results(psnr, sets=sets, ms=5.0 + seed))
    return tmp_path / 'runs'


def test_numbers_are_those_of_numpy_and_csv_keeps_every_digit(seeds, tmp_path):
    text, files = report.report([seeds], tmp_path / 'out', images=0)
    bicubic, teacher, row = table(tmp_path / 'out' / 'report.csv')
    psnr = np.array(list(PSNR.values()))
    assert float(row['validation/x2 psnr_y mean']) == np.mean(psnr)
    assert float(row['validation/x2 psnr_y std']) == np.std(psnr, ddof=1)
    assert float(row['validation/x2 ssim_y mean']) == np.mean(psnr / 40)
    assert float(row['validation/x2 ssim_y std']) == np.std(psnr / 40, ddof=1)
    assert (row['n'], row['seeds'], row['parameters'], row['gmacs'], row['steps']) == ('3', '0 1 2', '9203', '0.25', '4')
    assert float(row['ms']) == 6.0 and float(row['data_wait']) == 0.01
    assert (float(row['Set5/x2 psnr_y mean']), row['Set5/x2 psnr_y std']) == (31.9, '')  # one value has no spread
    assert (bicubic['run'], bicubic['n'], float(bicubic['validation/x2 psnr_y mean']), bicubic['ms']) == ('bicubic', '', 29.0, '')
    assert (teacher['run'], teacher['parameters'], float(teacher['Set5/x2 psnr_y mean'])) == ('teacher nowhere', '50000', 33.0)
    assert list(row)[-5:] == ['parameters', 'gmacs', 'ms', 'data_wait', 'steps']
    # (31.25 + 31.5 + 31.9) / 3 = 31.55; deviations -0.3, -0.05, 0.35: sqrt(0.215 / 2) = 0.3279
    assert '| 31.550 ± 0.328 ' in text and '| 31.900 ' in text and '| 9,203 ' in text and '| 1.0% ' in text
    assert 'Set5/x2: 1 of the 3 runs of `tiny`' in text and 'ranking' not in text
    assert files == ['report.md', 'report.csv', 'curves.png'] and not (tmp_path / 'out' / 'crops.png').exists()
    assert (tmp_path / 'out' / 'report.md').read_text() == text + '\n\n![curves.png](curves.png)\n'


def test_few_seeds_are_no_ranking(seeds, tmp_path):
    note = 'differences smaller than the spread are not a ranking'
    assert f'- 2 seeds; {note}' in report.report([seeds / '0', seeds / '1'], tmp_path / 'out', images=0)[0]
    text, _ = report.report([seeds / '0'], tmp_path / 'out', images=0)
    assert f'- 1 seed; {note}' in text and '±' not in text.split('\n\n')[0]


def test_runs_that_differ_in_the_seed_alone_are_one_group(tmp_path):
    data = lambda **values: {**tiny.config('images', 'nowhere').data.to_dict(), **values}
    run(tmp_path / 'a', 3)
    run(tmp_path / 'b', 1, name='other', save_every=7, benchmarks='Set5', data=data(cache_dir='elsewhere', threads=9))
    run(tmp_path / 'c', 1, steps=5)
    run(tmp_path / 'd', 1, data=data(path='photos'))
    found = groups(tmp_path)
    assert [[r.folder.name for r in g.runs] for g in found] == [['b', 'a'], ['c'], ['d']]


def test_equal_runs_are_refused_and_a_run_named_twice_counts_once(tmp_path):
    run(tmp_path / 'a', 3)
    assert [len(g.runs) for g in groups(tmp_path, tmp_path / 'a', tmp_path / '..' / tmp_path.name / 'a')] == [1]
    run(tmp_path / 'b', 3)
    with pytest.raises(ValueError, match='/a and .*/b have the same config and the same seed 3: give one of them'):
        groups(tmp_path)


def test_labels_are_the_name_and_what_differs_in_words(tmp_path):
    method = lambda **values: {**tiny.METHOD, **values}
    run(tmp_path / 'a', 0, method=method(w_affinity=1.0))
    run(tmp_path / 'b', 1, method=method(w_affinity=10.0, transforms='', adapter=True), teacher='')
    run(tmp_path / 'c', 2, method={'name': 'supervised', 'loss': 'l1'})
    pair = groups(tmp_path / 'a', tmp_path / 'b')
    assert [g.label for g in pair] == [
        'tiny: from nowhere, no adapter, …',
        'tiny: no teacher, adapter, no transforms, w_affinity 10',
    ]
    assert pair[0].fields.split() == [
        'teacher=nowhere',
        'method.adapter=False',
        'method.transforms=spatial+instance',
        'method.w_affinity=1',
    ]
    # what the label has no room for is said below
    assert [g.rest for g in pair] == ['method.transforms=spatial+instance method.w_affinity=1', '']
    assert '`tiny: from nowhere, no adapter, …` has method.transforms=spatial+instance' in report.notes(pair, [])
    assert [tuple(g[:3]) for g in groups(tmp_path / 'c')] == [('tiny', '', '')]
    # of another family: only the method tells it from the others, not hundreds of fields
    assert [g.label for g in groups(tmp_path / 'a', tmp_path / 'c')] == ['tiny: fakd', 'tiny: supervised']
    run(tmp_path / 'd', 0, name='wide', student={'name': 'edsr', 'args': {'blocks': 3, 'features': 99}})
    named = groups(tmp_path / 'd', tmp_path / 'a')
    assert [(g.label, g.rest) for g in named] == [
        ('wide', 'student.args.features=99 method.w_affinity=10'),
        ('tiny', 'student.args.features=8 method.w_affinity=1'),
    ]


def test_labels_of_many_runs_are_short_and_differ():
    """However many fields differ, whatever their length."""
    names = ['run'] * 4 + ['a_name_that_is_much_longer_than_any_row_of_a_table_should_be_' + end for end in 'xxy']
    path = 'data/of/someone/with/' + 'long_' * 20
    fields = [{'method.name': 'fakd', 'data.path': path, **{f'method.f{k}': i * 1.5 for k in range(20)}} for i in range(7)]
    found = labels.of(names, fields)
    assert len({label for label, *_ in found}) == 7 and max(len(label) for label, *_ in found) <= 60
    for i, (label, whole, rest) in enumerate(found):
        assert whole.split() == [f'method.f{k}={i * 1.5:g}' for k in sorted(range(20), key=str)]
        assert set(rest.split()) <= set(whole.split()) and len(rest.split()) + label.count(' f') + label.count(',f') == 20, label
    end = '…' + (path + 'a')[-56:]
    assert labels.displayed([path + 'a', path + 'a', 'b']) == [end + ' #1', end + ' #2', 'b']


def test_references_stand_once_unless_they_differ(tmp_path):
    run(tmp_path / 'a', 0, results(31.0))
    run(tmp_path / 'b', 1, results(31.5, bicubic=29.0004, sets=('validation/x2', 'Set14/x2')))
    run(tmp_path / 'c', 0, results(32.0, teacher=34.0), teacher='large')
    text, _ = report.report([tmp_path], tmp_path / 'out', images=0)
    rows = table(tmp_path / 'out' / 'report.csv')
    assert [r['run'] for r in rows] == ['bicubic', 'teacher nowhere', 'teacher large', 'tiny: from nowhere', 'tiny: from large']
    assert float(rows[0]['Set14/x2 psnr_y mean']) == 29.0004 and 'bicubic differs' not in text
    run(tmp_path / 'd', 2, results(31.0, bicubic=27.0))
    text, _ = report.report([tmp_path], tmp_path / 'out', images=0)
    assert 'bicubic differs: some runs were scored on other images' in text and '`bicubic (2)`' in text


def test_seeds_of_several_stages_are_grouped_although_their_teachers_lie_apart(tmp_path):
    for seed in range(2):
        room = tmp_path / f'seed{seed}'
        run(room / 'first', seed, results(30.0), teacher='')
        run(room / 'second', seed, results(31.0), teacher=f'/before/it/moved/seed{seed}/first/export/student')
    found = groups(tmp_path)
    assert [len(g.runs) for g in found] == [2, 2]
    assert found[1].fields == 'teacher=first/export/student'
    assert runs.teacher_path(found[1].runs[1]) == tmp_path / 'seed1' / 'first' / 'export' / 'student'


def staged(folder, stages=('first', 'second'), name='whole', done=2, seed=0, **values):
    """Writes a run with stages of which the first `done` are finished and one more has begun."""
    folder.mkdir(parents=True)
    (folder / 'stages.json').write_text(json.dumps({'name': name, 'stages': stages}))
    for i, stage in enumerate(stages[: done + 1]):
        run(folder / stage, seed, results(30.0 + i) if i < done else None, name=stage, steps=4 + i, **values)
    return folder


def test_a_run_with_stages_is_its_last_one_under_the_name_of_the_run(tmp_path):
    staged(tmp_path / 'runs' / 'b', ('z', 'a'), name='student')
    staged(tmp_path / 'runs' / 'a', ('z', 'a'), name='other', batch_size=9)
    text, _ = report.report([tmp_path / 'runs'], tmp_path / 'out', images=0)
    rows = table(tmp_path / 'out' / 'report.csv')
    assert [(r['run'], r['steps'], r['validation/x2 psnr_y mean']) for r in rows[-2:]] == [
        ('other', '4', '31.0'),
        ('student', '4', '31.0'),
    ]
    assert [g.label for g in groups(tmp_path / 'runs' / 'b' / 'z', tmp_path / 'runs' / 'b')] == ['student/z', 'student']


def test_a_run_whose_later_stages_have_not_begun_is_unfinished(tmp_path):
    text, _ = report.report([staged(tmp_path / 'run', ('a', 'b', 'c'), done=1)], tmp_path / 'out', images=0)
    assert '| `whole/b`      | 0    | 4 of 5 |' in text and '`whole/a`' not in text
    shutil.rmtree(tmp_path / 'run' / 'b')
    text, _ = report.report([tmp_path / 'run'], tmp_path / 'out', images=0)
    assert '| `whole/a`      | 0    | 4 of 4 |' in text and table(tmp_path / 'out' / 'report.csv') == []
    assert 'unfinished' not in report.report([tmp_path / 'run' / 'a'], tmp_path / 'out', images=0)[0]


def test_a_directory_in_which_two_runs_met_shows_both(tmp_path):
    run(tmp_path / 'run' / 'b', 1, results(31.0), name='demo')
    run(tmp_path / 'smoke', 0, results(30.0), name='smoke')
    for file in (tmp_path / 'smoke').iterdir():
        file.rename(tmp_path / 'run' / file.name)
    assert [r.config['name'] for r in runs.collect([tmp_path])] == ['smoke', 'demo']


def test_unfinished_runs_are_listed_with_where_they_stand(seeds, tmp_path):
    folder = run(tmp_path / 'killed', 7, steps=80)
    with (folder / 'metrics.jsonl').open('a') as f:
        f.write('{"step": 6, "l1"')  # a kill tears the last line
    run(tmp_path / 'new', 8, lines=[], steps=80)
    text, files = report.report([folder, tmp_path / 'new'], tmp_path / 'out', images=0)
    assert '| `tiny`         | 7    | 4 of 80 | 25.000 dB at step 2 | ' in text and '| 0 of 80 ' in text
    assert table(tmp_path / 'out' / 'report.csv') == []
    text, _ = report.report([seeds, folder], tmp_path / 'out', images=0)
    assert '`tiny: 4 steps`' in text and '| `tiny: 80 steps` | 7 ' in text


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda room: [], 'no RUN given'),
        (lambda room: [room], 'no run at .*: expected a directory with config.json and results.json or metrics.jsonl'),
        (lambda room: [room / 'gone'], 'no run at .*gone'),
        (
            lambda room: [(run(room / 'a') / 'metrics.jsonl').write_text('{}\n{"step"\n') and room],
            'metrics.jsonl line 2 is damaged',
        ),
        (lambda room: [(run(room / 'a') / 'results.json').write_text('{') and room], 'results.json is damaged'),
        (lambda room: [(room / 'config.json').write_text('{"seed": 1}') and room], 'no field name, scale, steps'),
    ],
)
def test_bad_input_is_named(tmp_path, make, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        runs.collect(make(tmp_path))
    assert '\n' not in str(error.value)


def test_the_command_prints_the_table_and_errors_are_one_line(seeds, tmp_path):
    def command(*args):
        env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(HERE)}
        line = [sys.executable, '-m', 'kdsr.report', *map(str, args)]
        return subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)

    done = command(seeds, '--out=new/report', '--images=0')
    assert done.returncode == 0 and '31.550 ± 0.328' in done.stdout and 'report.md, report.csv, curves.png' in done.stdout
    failed = command('nowhere', '--out=report')
    assert failed.returncode == 1 and len(failed.stderr.splitlines()) == 1
    assert failed.stderr.startswith('error: no run at nowhere: expected a directory with config.json')


def test_curves(seeds, tmp_path):
    with_seed_3 = run(tmp_path / '3', 3, lines=[{'step': 2, 'l1': 1.0}])  # unfinished: not part of the mean
    (group,) = groups(seeds, with_seed_3)
    for i, r in enumerate(group.runs):
        r.lines[0]['l1'] = float(i)
    assert curves.mean_curve(group.runs, 'l1') == ([2, 4], [1.0, 2.0])
    assert curves.loss_parts([group]) == ['l1']
    assert curves.thinned([1, 2, 3, 4, 5], [1.0, 3.0, 5.0, 7.0, 9.0], 2) == ([3, 5], [3.0, 8.0])
    assert curves.thinned([1, 2], [5.0, 6.0], 60) == ([1, 2], [5.0, 6.0])
    assert curves.second_half([group]) == {}  # one validation is nothing to enlarge
    lines = [{'step': s, 'val/psnr_y': 20.0 + s} for s in range(1, 11)]
    late = curves.second_half(groups(run(tmp_path / 'long', lines=lines)))
    assert late == {'xlim': (4.9, 10.1), 'ylim': (pytest.approx(24.6), pytest.approx(30.4))}  # 25..30 and 8 % of it


def test_curves_of_many_groups_of_other_lengths_are_drawn(tmp_path):
    for i in range(12):
        parts = {'l1': 5.0 / (i + 1), 'zero': 0.0, 'tiny_part': 1e-6}
        lines = [{'step': s, **parts} for s in range(1, 20 + i)] + [{'step': s, 'val/psnr_y': 20 + s / 9} for s in (5, 10, 15, 19)]
        run(tmp_path / f'{i:02}', i % 3, results(30.0), lines=lines, batch_size=8 + i // 3)
    run(tmp_path / 'empty', 0, lines=[], batch_size=99)
    found = groups(tmp_path)
    assert [len(g.runs) for g in found] == [3, 3, 3, 3, 1]
    curves.draw(found, tables.references([r for g in found for r in g.finished]), tmp_path / 'curves.png')
    width, height = Image.open(tmp_path / 'curves.png').size
    assert width == 1200 and 600 < height < 1200
    assert np.asarray(Image.open(tmp_path / 'curves.png').convert('L')).std() > 10
    curves.draw(groups(tmp_path / 'empty'), [], tmp_path / 'empty.png')
    assert Image.open(tmp_path / 'empty.png').size[0] == 1200


def test_the_hardest_window_is_found():
    hr = np.full((96, 128, 3), 100, np.uint8)
    hr[40:60:2, 80:100] = 200  # stripes of one pixel: lost in LR
    top, left, error = crops.hardest(hr[::2, ::2] * 0 + 150, hr, 2, 10)
    assert error > 0
    lr = np.full((48, 64, 3), 100, np.uint8)
    lr[20:30, 40:50] = 150
    assert crops.hardest(lr, hr, 2, 10)[:2] == (20, 40)
    assert crops.hardest(lr, hr, 2, 48)[0] == 0  # as high as the image


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    return tiny.teacher(tmp_path_factory.mktemp('network') / 'export' / 'student')


@pytest.mark.parametrize('corner', [(0, 0), (30, 64), (56, 104)])
def test_a_window_is_that_of_the_whole_image(network, corner):
    lr = tiny.picture(72, 120, 5)
    fn = models.load(network)
    whole = np.asarray(fn(np.float32(lr[None]) / np.float32(255)))[0]
    y, x = corner
    # 3 blocks, head, body and tail: 2 * 3 + 3 convolutions of LR pixels and one of HR see 10 pixels
    part = crops.upscaled(fn, lr, y, x, 16, 2, margin=10)
    np.testing.assert_allclose(part, whole[2 * y : 2 * (y + 16), 2 * x : 2 * (x + 16)], atol=2e-6)


def test_crops_show_hr_bicubic_teacher_and_students(network, tmp_path):
    for seed in (2, 1):
        shutil.copytree(network.parent, run(tmp_path / 'runs' / f'{seed}', seed, results(30.0), teacher=str(network)) / 'export')
    run(tmp_path / 'runs' / 'other', 1, batch_size=9)
    tiny.folder(tmp_path / 'set' / 'HR', count=4, height=64, width=80)
    found, steps = groups(tmp_path / 'runs'), []
    fns, missing = crops.networks(found, 2)
    assert list(fns) == ['bicubic', f'teacher {network}', f'{found[0].label}, seed 1']
    assert len(missing) == 2 and 'teacher nowhere' in missing[0] and f'{found[1].label}, seed 1 (' in missing[1]
    places = crops.choose(crops.examples(tmp_path / 'set', 2), 2, 3)
    assert len(places) == 3 and {p[3] for p in places} == {32}
    example, top, left, side = places[0]
    captions = [caption for caption, _ in crops.panels(fns, 2, *places[0])]
    sr = evaluate.bicubic(2)(np.float32(example.lr[None]) / np.float32(255))[0]
    cut = np.s_[2 * top : 2 * (top + side), 2 * left : 2 * (left + side)]
    assert captions[:3] == [f'{example.name} x2', 'HR', f'bicubic\n{metrics.psnr_y(sr[cut], example.hr[cut], 0):.2f} dB']
    text, files = report.report(
        [tmp_path / 'runs'], tmp_path / 'out', data=tmp_path / 'set', images=3, progress=lambda *a: steps.append(a)
    )
    assert steps == [(1, 3), (2, 3), (3, 3)] and 'crops.png' in files and '- not in the crops: teacher nowhere' in text
    picture = Image.open(tmp_path / 'out' / 'crops.png')
    assert picture.width == 5 * (crops.PANEL + crops.GAP) - crops.GAP and picture.height > 3 * crops.PANEL


def test_crops_without_a_network_are_left_out(seeds, tmp_path):
    text, files = report.report([seeds], tmp_path / 'out', data='unread')
    assert 'crops.png' not in files and 'not in the crops: tiny, seed 0 (no student in' in text


def test_every_scored_metric_is_a_column_and_lpips_says_its_network(tmp_path):
    found = results(31.0)
    for scored in (found[k]['validation/x2'] for k in ('student', 'teacher', 'bicubic')):
        scored |= {'lpips': 0.25, 'niqe': 5.5, 'note': 'no number'}
    run(tmp_path / 'a', 0, found, lpips='alex')
    run(tmp_path / 'b', 0, found, lpips='vgg', name='vgg')
    run(tmp_path / 'c', 0, results(30.0), name='plain')
    text, _ = report.report([tmp_path], tmp_path / 'out', images=0)
    bicubic, teacher, *rows = table(tmp_path / 'out' / 'report.csv')
    told = [[r[f'validation/x2 {m} mean'] for m in ('psnr_rgb', 'lpips', 'lpips:vgg', 'niqe')] for r in rows]
    assert told == [['30.0', '0.25', '', '5.5'], ['30.0', '', '0.25', '5.5'], ['29.0', '', '', '']]
    # one row of references, whatever each run has measured of them
    assert [bicubic[f'validation/x2 {m} mean'] for m in ('psnr_y', 'lpips', 'lpips:vgg')] == ['29.0', '0.25', '0.25']
    assert (teacher['run'], teacher['validation/x2 lpips mean']) == ('teacher nowhere', '0.25')
    assert not any('note' in column or 'images' in column for column in bicubic) and '| 0.2500 ' in text
    assert 'lpips: lower is better' in text


def test_rows_by_score_and_as_given(tmp_path):
    for name, psnr in (('b', 31.0), ('c', 33.0), ('a', 32.0)):
        run(tmp_path / name, 0, results(psnr), name=name, batch_size=ord(name))
    paths, order = [tmp_path / name for name in 'bca'], lambda: [r['run'] for r in table(tmp_path / 'out' / 'report.csv')][2:]
    report.report(paths, tmp_path / 'out', images=0)
    assert order() == ['b', 'c', 'a']
    report.report(paths, tmp_path / 'out', images=0, order='score')
    assert order() == ['c', 'a', 'b']


def test_a_printed_table_fits_a_terminal_and_the_file_keeps_it_whole(seeds, tmp_path):
    text, _ = report.report([seeds], tmp_path / 'out', images=0, width=100)
    rows = [line for line in text.splitlines() if line.startswith('|')]
    assert max(map(len, rows)) <= 100 and sum(line.startswith('| `tiny`') for line in rows) > 1
    whole = (tmp_path / 'out' / 'report.md').read_text().splitlines()
    (header,) = [line for line in whole if line.startswith('| run')]
    cells = lambda lines: {cell for line in lines if '---' not in line for cell in line.split()}
    assert cells(rows) == cells([line for line in whole if line.startswith('|')])
    names = {cell.strip() for line in rows if line.startswith('| run') for cell in line.split('|')}
    assert {cell.strip() for cell in header.split('|')} == names


def test_legends_and_captions_leave_room_for_what_they_tell(tmp_path, network):
    """Of 12 runs of several methods: a legend is at most a quarter of its picture, a caption lower than its crop."""
    names = [f'experiment_{i}_with_a_name_that_is_far_longer_than_most_names_are' for i in range(12)]
    lines = [{'step': s, 'l1': 1.0 + s, 'val/psnr_y': 20.0 + s} for s in range(1, 5)]
    for i, name in enumerate(names):
        folder = run(tmp_path / 'runs' / f'{i:02}', 0, results(30.0 + i / 9), lines=lines, name=name, teacher=f'teacher_{i}')
        shutil.copytree(network.parent, folder / 'export')
    found = groups(tmp_path / 'runs')
    curves.draw(found, tables.references([r for g in found for r in g.finished]), tmp_path / 'curves.png')
    picture = np.asarray(Image.open(tmp_path / 'curves.png').convert('L'))
    axes = np.flatnonzero((picture < 128).mean(1) > 0.3)  # the rows of pixels in which the axes' lines are
    assert axes.max() > 0.7 * len(picture)
    tiny.folder(tmp_path / 'set' / 'HR', count=1, height=256, width=256)
    fns, _ = crops.networks(found, 2)
    panels = crops.panels(fns, 2, *crops.choose(crops.examples(tmp_path / 'set', 2), 2, 1)[0])
    assert len(panels) == 15 and crops.strip(panels[:6]).height < 2 * crops.PANEL


def test_gain_is_over_each_runs_own_bicubic(tmp_path):
    run(tmp_path / 'a', 0, results(31.0, bicubic=29.0))
    run(tmp_path / 'b', 1, results(32.0, bicubic=28.0))
    text, _ = report.report([tmp_path], tmp_path / 'out', images=0)
    rows = {r['run']: r for r in table(tmp_path / 'out' / 'report.csv')}
    gain = lambda name: rows[name]['validation/x2 gain_db mean']
    assert (gain('tiny'), gain('teacher nowhere'), gain('bicubic')) == ('3.0', '4.0', '')
    assert float(rows['tiny']['validation/x2 gain_db std']) == np.std([2.0, 4.0], ddof=1)
    assert '| +3.000 ± 1.414 ' in text and 'gain_db: over bicubic' in text


def test_files_of_evaluate_are_rows_with_a_gain(seeds, network, tmp_path):
    own = evaluation(tmp_path / 'own.json', 33.0, model=str(network), protocol='y8')
    more = evaluation(tmp_path / 'more.json', 33.5, model=str(network), protocol='y8', self_ensemble=True)
    other = evaluation(tmp_path / 'other.json', 34.0, model=str(network), protocol='dfsr')
    old = evaluation(tmp_path / 'old.json', 30.0)
    plain = evaluation(tmp_path / 'b.json', 29.0, model='bicubic', protocol='y8')
    text, files = report.report([own, seeds, more, other, old, plain], tmp_path / 'out', images=1)
    rows = {r['run']: r for r in table(tmp_path / 'out' / 'report.csv')}
    ensemble = f'{network} +self-ensemble'
    assert list(rows) == ['bicubic', 'teacher nowhere', 'tiny', str(network), ensemble, 'old']
    said = lambda name, *metrics: [rows[name][f'Set5/x2 {m} mean'] for m in metrics]
    assert said(str(network), 'psnr_y', 'gain_db', 'psnr_y:dfsr') == ['33.0', '4.0', '34.0']
    assert said(ensemble, 'psnr_y', 'gain_db') == ['33.5', '4.5'] and said('old', 'gain_db') == ['1.0']
    assert 'dfsr: by that protocol of kdsr.evaluate' in text
    assert '`old`: its file does not tell model and protocol, which is taken for y8' in text
    assert 'not in the crops: old (its file does not tell the model)' in text and 'crops.png' in files
    fns, _ = crops.networks(groups(seeds), 2, [runs.evaluation(f) for f in (own, more, old)])
    assert list(fns) == ['bicubic', str(network), ensemble]


def test_a_file_adds_to_the_row_of_the_run_that_it_scored(network, tmp_path):
    for seed in range(3):
        shutil.copytree(network.parent, run(tmp_path / 'runs' / f'{seed}', seed, results(30.0)) / 'export')
    files = [evaluation(tmp_path / f'{s}.json', 33.0 + s, model=str(tmp_path / 'runs' / f'{s}'), protocol='y8') for s in range(2)]
    bicubic = evaluation(tmp_path / 'b.json', 29.0, model='bicubic', protocol='y8')
    text, _ = report.report([tmp_path / 'runs', *files, bicubic], tmp_path / 'out', images=0)
    *_, row = table(tmp_path / 'out' / 'report.csv')
    assert [float(row[f'Set5/x2 {m} mean']) for m in ('psnr_y', 'gain_db')] == [33.5, 4.5]
    assert row['run'] == 'tiny' and row['Set5/x2 gain_db std'] == row['Set5/x2 psnr_y std'] == str(np.std([33.0, 34.0], ddof=1))
    assert 'Set5/x2: 2 of the 3 runs of `tiny`' in text
    # another file of the same student contradicts it
    other = evaluation(tmp_path / 'other.json', 20.0, model=str(tmp_path / 'runs' / '0' / 'export' / 'student'), protocol='y8')
    report.report([tmp_path / 'runs', *files, other], tmp_path / 'out', images=0)
    assert [r['Set5/x2 psnr_y mean'] for r in table(tmp_path / 'out' / 'report.csv')][2:] == ['33.5', '20.0']


def test_files_of_evaluate_alone_make_a_report(tmp_path):
    files = [evaluation(tmp_path / f'{psnr}.json', psnr, model='gone', protocol='y8') for psnr in (30.0, 31.0)]
    text, made = report.report(files, tmp_path / 'out', images=0)
    assert [r['run'] for r in table(tmp_path / 'out' / 'report.csv')] == ['gone', 'gone (2)']
    assert made == ['report.md', 'report.csv'] and 'seed' not in text


@pytest.mark.parametrize('text', ['{', '[]', '{}', '{"student": {"Set5/x2": {"psnr_y": 1}}}', '{"Set5": {"images": {}}}', '\0\1'])
def test_other_files_are_named(tmp_path, text):
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(ValueError, match='x.json is (damaged|not what kdsr.evaluate --json writes)') as error:
        report.report([tmp_path / 'x.json'], tmp_path / 'out')
    assert '\n' not in str(error.value)


def test_evaluate_tells_model_and_protocol_beside_the_documented_values(network, tmp_path):
    tiny.folder(tmp_path / 'set' / 'HR', count=1, height=32, width=32)
    args = [f'--model={network}', f'--data={tmp_path / "set"}', '--protocol=rgb', f'--json={tmp_path / "x.json"}']
    env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(HERE)}
    subprocess.run([sys.executable, '-m', 'kdsr.evaluate', *args], env=env, check=True, capture_output=True, timeout=120)
    found = json.loads((tmp_path / 'x.json').read_text())['set/x2']
    assert (
        found['evaluation'] == {'model': str(network), 'protocol': 'rgb'}
        and found['images']['0000']['psnr_rgb'] == found['psnr_rgb']
    )
    one = runs.evaluation(tmp_path / 'x.json')
    assert one.label == str(network) and set(one.scores['set/x2']) == {'psnr_rgb:rgb', 'ssim_rgb:rgb'}


@pytest.mark.filterwarnings('error::RuntimeWarning', 'error::UserWarning')
def test_infinite_scores_are_shown_and_spoil_nothing(tmp_path):
    lines = [{'step': s, 'val/psnr_y': v, 'learning_rate/student': 0.1} for s, v in enumerate((21.0, np.inf, 22.0, 23.0), 1)]
    for seed in range(2):
        found = results(np.inf if seed else 31.0, bicubic=np.inf, teacher=np.inf)
        run(tmp_path / 'runs' / f'{seed}', seed, found, lines=[*lines, {'step': 4, 'l1': np.inf}])
    text, _ = report.report([tmp_path / 'runs'], tmp_path / 'out', images=0)
    rows = table(tmp_path / 'out' / 'report.csv')
    assert [r['run'] for r in rows] == ['bicubic', 'teacher nowhere', 'tiny']
    assert {r['validation/x2 psnr_y mean'] for r in rows} == {'inf'} and rows[2]['validation/x2 psnr_y std'] == ''
    found = groups(tmp_path / 'runs')
    assert curves.loss_parts(found) == ['l1']
    assert curves.mean_curve(found[0].runs, 'val/psnr_y') == ([1, 3, 4], [21.0, 22.0, 23.0])
    assert curves.second_half(found) == {} and Image.open(tmp_path / 'out' / 'curves.png').size[0] == 1200


def test_what_was_compared_with_a_teachers_pictures_has_columns_of_its_own(tmp_path):
    found = results(31.0)
    taught = {
        k: {'s/x2': {'teacher_psnr_y': v, 'teacher_lpips': 0.5, 'images': {}}} for k, v in (('bicubic', 26.0), ('student', 28.5))
    }
    found = {k: v | taught.get(k, {}) if k != 'cost' else v for k, v in found.items() if isinstance(v, dict)} | {'steps': 4}
    found['teacher'] = {'s/x2': scores(30.0)}
    run(tmp_path / 'a', 0, found, teacher='', lpips='vgg')
    report.report([tmp_path], tmp_path / 'out', images=0)
    _, teacher, row = table(tmp_path / 'out' / 'report.csv')
    assert (teacher['run'], teacher['s/x2 psnr_y mean']) == ("pictures' teacher", '30.0')
    said = [row[f's/x2 {m} mean'] for m in ('psnr_y', 'teacher_psnr_y', 'teacher_gain_db', 'teacher_lpips:vgg')]
    assert said == ['', '28.5', '2.5', '0.5'] and row['validation/x2 gain_db mean'] == '2.0'
