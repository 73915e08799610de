"""What is scored, and against what: pictures that cannot be, infinite PSNR, a teacher's pictures, samples that are cuts."""

import json

import numpy as np
import pytest
import tiny
from PIL import Image
from shell import command

from kdsr import config as configs
from kdsr import crops, curves, evaluate, models, nets, outcome, recipes, report, runs, sheets, train, writers
from kdsr.data import benchmarks
from kdsr.protocols import PROTOCOLS


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('KDSR_CACHE', str(tmp_path / 'cache'))


def example(name, hr, scale):
    return benchmarks.Example(name, benchmarks.lowered(hr, scale), hr)


def flat(side, value=100):
    return np.full((side, side, 3), value, np.uint8)


def said(caplog):
    return '\n'.join(r.getMessage() for r in caplog.records)


# pictures that cannot be scored


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('scale', [2, 3, 4, 8])
def test_the_smallest_picture_that_is_let_through_is_the_smallest_that_can_be_scored(protocol, scale):
    side = evaluate.smallest(scale, protocol)
    fits, small = (example(f'{n}', tiny.picture(n, 4 * side, 1), scale) for n in (side, side - scale))
    kept = evaluate.scorable([fits, small], scale, 'here', protocol)
    assert [e.name for e in kept] == [fits.name]
    assert np.isfinite(list(evaluate.score(evaluate.bicubic(scale), kept, scale, protocol=protocol).values())[0])
    with pytest.raises(ValueError, match='SSIM needs at least 11x11|cannot shave'):
        evaluate.score(evaluate.bicubic(scale), [small], scale, protocol=protocol)


def test_small_and_flat_pictures_are_counted_by_name(caplog):
    examples = [example('small', flat(18), 2), example('one', flat(40), 2), example('good', tiny.picture(40, 40, 1), 2)]
    assert [e.name for e in evaluate.scorable(examples, 2, 'Set1', lpips='alex')] == ['one', 'good']
    assert '1 of 3 images in Set1 are smaller than 32x32 and left out: small' in said(caplog)
    assert '1 of 2 images in Set1 are of one colour, and not in the means of PSNR: one' in said(caplog)
    with pytest.raises(ValueError, match='none of the 1 images in Set1 has both sides of 32 pixels'):
        evaluate.scorable(examples[:1], 2, 'Set1', lpips='alex')


def config(room, images='images', **values):
    cfg = tiny.config(room / images, '', student=recipes.model('edsr', blocks=3, features=8), **values)
    cfg.method = {'name': 'supervised', 'loss': 'l1'}
    return cfg


def made_of(cfg, workdir):
    """The Outcome of a run that trains a student alone."""
    return outcome.Outcome(cfg, workdir, {'student': nets.student(cfg)})


def test_bad_pictures_are_said_at_the_start_and_others_take_their_place(tmp_path, caplog):
    tiny.folder(tmp_path / 'images', count=4)
    for name, side in (('~1', 10), ('~2', 12)):  # the last by name would be validation
        Image.fromarray(flat(side)).save(tmp_path / 'images' / f'{name}.png')
    for name, side in (('a', 10), ('b', 40)):
        (tmp_path / 'set').mkdir(exist_ok=True)
        Image.fromarray(tiny.picture(side, side, 1)).save(tmp_path / 'set' / f'{name}.png')
    made = made_of(config(tmp_path, benchmarks=str(tmp_path / 'set')), tmp_path / 'run')
    assert [e.name for e in made.sets['validation']] == ['0003'] and [e.name for e in made.sets['set']] == ['b']
    assert '0003' not in made.training.names
    assert 'are smaller than 16x16: others are held out instead' in said(caplog)
    assert '1 of 2 images in set are smaller than 16x16 and left out: a' in said(caplog)
    with pytest.raises(FileNotFoundError, match='no folder .*nowhere'):
        made_of(config(tmp_path, benchmarks=str(tmp_path / 'nowhere')), tmp_path / 'run')
    tiny.folder(tmp_path / 'one', count=1)
    with pytest.raises(ValueError, match='leaves no image for validation: it takes two, of at least 16x16'):
        made_of(config(tmp_path, 'one'), tmp_path / 'run')


def test_validation_pictures_that_are_too_small_are_counted_once(tmp_path, caplog):
    tiny.folder(tmp_path / 'images', count=50)
    Image.fromarray(flat(10)).save(tmp_path / 'images' / '0024.png')
    made = made_of(config(tmp_path), tmp_path / 'run')
    assert [e.name for e in made.examples] == ['0049']
    assert f"1 of 2 validation images in '{tmp_path}/images' are smaller than 16x16 and left out: 0024" in said(caplog)


# infinite PSNR


def test_infinite_psnr_and_pictures_of_one_colour_are_in_no_mean():
    good = [example('a', tiny.picture(40, 40, 1), 2), example('b', tiny.picture(40, 40, 2), 2)]
    examples = [*good, example('one', flat(40), 2)]
    bicubic = evaluate.score(evaluate.bicubic(2), examples, 2)
    worse = evaluate.score(lambda lr: evaluate.bicubic(2)(lr) + 2 / 255, examples, 2)
    assert bicubic['images']['one']['psnr_y'] == np.inf and np.isfinite(worse['images']['one']['psnr_y'])
    for found in (bicubic, worse):  # of the same two pictures, whoever met the third
        assert found['psnr_y'] == np.mean([found['images'][n]['psnr_y'] for n in 'ab'])
        assert found['ssim_y'] == np.mean([v['ssim_y'] for v in found['images'].values()])
    met = np.float32(good[0].hr[None]) / 255
    exact = evaluate.score(lambda lr: met, good[:1], 2)
    assert exact['psnr_y'] == np.inf  # there is nothing else to take a mean of
    broken = evaluate.score(lambda lr: evaluate.bicubic(2)(lr) * np.nan, good, 2)
    assert np.isnan(broken['psnr_y'])  # never hidden


def test_plots_and_reports_take_infinite_scores(tmp_path):
    scores = {'psnr_y': np.inf, 'ssim_y': 1.0, 'images': {}}
    for seed in (0, 1):
        folder = tmp_path / f'{seed}'
        folder.mkdir()
        (folder / 'config.json').write_text(configs.to_json(config(tmp_path, seed=seed)))
        lines = [{'step': s, 'val/psnr_y': np.inf if s < 4 or seed else 30.0 + s} for s in range(1, 9)]
        (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
        found = {'bicubic': {'validation/x2': scores}, 'student': {'validation/x2': scores}}
        (folder / 'results.json').write_text(json.dumps({**found, 'cost': {}, 'steps': 8}))
    text, _ = report.report([tmp_path], tmp_path / 'out', images=0)
    assert text.count('`bicubic`') == 1 and 'bicubic (2)' not in text and ' inf' in text
    low, high = curves.second_half(runs.grouped(runs.collect([tmp_path])))['ylim']
    assert 30 < low < high < 40 and (tmp_path / 'out' / 'curves.png').is_file()


# a teacher's pictures


def taught():
    """Two examples of a teacher's pictures; of 'b' the truth is unknown."""
    made = {n: tiny.picture(40, 40, i) for i, n in enumerate('ab')}
    examples = benchmarks.Examples([example('a', tiny.picture(40, 40, 7), 2), example('b', made['b'], 2)])
    examples.teacher, examples.unknown = made, {'b'}
    return examples


def test_truth_and_teacher_are_columns_of_their_own():
    examples, fn = taught(), evaluate.bicubic(2)
    found = evaluate.results({'student': fn}, {'Set1': examples}, 2)
    student, teacher = found['student']['Set1/x2'], found['teacher']['Set1/x2']
    plain = lambda lr, hr: evaluate.score(fn, [benchmarks.Example('x', lr, hr)], 2)
    lr = [e.lr for e in examples]
    for metric in PROTOCOLS['y8'].columns:
        assert student[metric] == plain(lr[0], examples[0].hr)[metric]
        against = [plain(lr[i], examples.teacher[n])[metric] for i, n in enumerate('ab')]
        assert student[f'teacher_{metric}'] == np.mean(against)
    assert list(student['images']['b']) == ['teacher_psnr_y', 'teacher_ssim_y', 'teacher_psnr_rgb']
    exact = evaluate.score(lambda lr: np.float32(examples.teacher['a'][None]) / 255, examples[:1], 2)
    assert teacher['psnr_y'] == exact['psnr_y'] and list(teacher['images']) == ['a'] and 'teacher_psnr_y' not in teacher
    alone = evaluate.score(fn, examples.only(lambda e: e.name == 'b'), 2)
    assert (
        'psnr_y' not in alone
        and evaluate.psnr_of(alone) == alone['teacher_psnr_y']
        and evaluate.psnr_of(student) == student['psnr_y']
    )
    assert 'teacher' not in evaluate.results({'student': fn}, {'Set1': list(examples)}, 2)


def test_protocols_for_y_compare_with_the_teacher_too():
    examples = taught().only(lambda e: e.name == 'a')
    found = evaluate.score_teacher(examples, 2, protocol='vdsr_y8')
    y = evaluate.score(
        lambda _: PROTOCOLS['vdsr_y8'].images(None, examples.teacher['a'], 2)[1][None], list(examples), 2, protocol='vdsr_y8'
    )
    assert found['psnr_y'] == y['psnr_y'] and 5 < found['psnr_y'] < 60


def test_a_run_on_a_teachers_pictures_is_scored_by_the_truth(tmp_path, capsys):
    """From the command that makes them to the table: the truth and the teacher are columns, the teacher has its row."""
    tiny.folder(tmp_path / 'photos', count=3)
    tiny.teacher(tmp_path / 'net')
    command('kdsr.teach', tmp_path / 'net', f'--data={tmp_path}/photos', f'--out={tmp_path}/made/photos_teacher')
    results = train.train(config(tmp_path, 'made/photos_teacher', steps=1), tmp_path / 'run')
    found = {k: results[k]['validation/x2'] for k in ('bicubic', 'student', 'teacher')}
    photos = benchmarks.Examples([e for e in benchmarks.read(tmp_path / 'photos', 2) if e.name == '0002'])
    expected = evaluate.score(models.load(tmp_path / 'net'), photos, 2)['psnr_y']  # borders of LR differ: symmetric, replicated
    assert found['teacher']['psnr_y'] == pytest.approx(expected, abs=0.05)
    assert all(set(v) >= {'psnr_y', 'teacher_psnr_y'} for k, v in found.items() if k != 'teacher')
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(('| set', '| validation'))]
    assert len(rows) == 4 and 'teacher_psnr_y' in rows[0] and '| teacher ' in rows[3]
    assert json.loads((tmp_path / 'run/metrics.jsonl').read_text().splitlines()[-1])['val/teacher_psnr_y'] > 0


# samples


@pytest.mark.parametrize('kind', ['edsr', 'vdsr', 'rcan'])
def test_samples_are_cuts_of_what_the_network_makes_of_the_whole_picture(tmp_path, monkeypatch, kind):
    """Also of a network that looks everywhere (RCAN's channel attention)."""
    tiny.folder(tmp_path / 'images', count=2, height=240, width=280)
    cfg, rows = config(tmp_path), []
    made = made_of(cfg, tmp_path / 'run')
    if kind == 'vdsr':
        network = models.load(tiny.luminance(tmp_path / 'net'), scale=2)
    elif kind == 'edsr':
        network = models.load(tiny.teacher(tmp_path / 'net'))
    else:
        import jax

        module = models.build('rcan', scale=2, groups=1, blocks=1, features=8, reduction=2)
        lr = np.zeros((1, 16, 16, 3), np.float32)
        network = models.exports.upscaler(module, models.init(module, jax.random.key(0), lr))
    monkeypatch.setattr(sheets, 'comparison', lambda given, path, **_: rows.extend(given))
    made.others['teacher'] = network
    made.picture(network, 1, writers.Writer(tmp_path, 0, active=False))
    ((_, row),) = rows
    panels = {label.partition(':')[0]: image for label, image in row}
    ((_, lr, hr),) = made.examples
    lr, top, left = np.float32(lr[None]) / np.float32(255), (120 - 64) // 2, (140 - 64) // 2
    window = np.s_[2 * top : 2 * top + 128, 2 * left : 2 * left + 128]
    for name, fn in (('student', network), ('teacher', network), ('bicubic', evaluate.bicubic(2))):
        np.testing.assert_allclose(panels[name], np.asarray(fn(lr))[0][window], atol=1e-5)
    np.testing.assert_array_equal(panels['HR'], np.float32(hr[window]) / 255)


def test_samples_say_whose_picture_they_show(tmp_path, monkeypatch):
    tiny.folder(tmp_path / 'images', count=2)
    made, rows = made_of(config(tmp_path), tmp_path / 'run'), []
    made.examples, made.others = taught(), {'bicubic': evaluate.bicubic(2)}
    monkeypatch.setattr(sheets, 'comparison', lambda given, path, **_: rows.extend(given))
    made.picture(evaluate.bicubic(2), 1, writers.Writer(tmp_path, 0, active=False))
    labels = [[label for label, _ in row] for _, row in rows]
    assert [name for name, _ in rows] == ['a', 'b'] and [len(row) for row in labels] == [4, 3]
    assert labels[0][2].startswith("teacher's picture: ") and labels[0][3] == 'HR' and labels[1][2] == "teacher's picture"
    np.testing.assert_array_equal(rows[1][1][2][1], np.float32(made.examples.teacher['b']) / 255)
    captions = [c for c, _ in crops.panels({}, 2, made.examples[1], 0, 0, 8, aim='teacher')]
    assert captions == ['b x2', 'teacher']
