"""kdsr from Python: what the functions give, who is told what, and how a call ends that is stopped."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import tiny
from shell import HERE, command, only_line

import kdsr
from kdsr import console, meanings, methods, models, optim, recipes, settings, writers


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """(folder, results, lines, steps) of a run that the API trained."""
    room, lines, steps = tiny.room(tmp_path_factory.mktemp('api')), [], []
    config = tiny.config(room / 'images', room / 'teacher', log_every=1)
    config.method.transforms = 'instance'
    tell = lambda step, total, metrics: steps.append((step, total, sorted(metrics)))
    results = kdsr.train(config, room / 'run', say=lines.append, progress=tell)
    return room / 'run', results, lines, steps


def test_training_gives_its_results_and_tells_each_step(trained):
    folder, results, lines, steps = trained
    assert results['steps'] == 4 and json.loads((folder / 'results.json').read_text())['student'] == results['student']
    assert [step[:2] for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)] and 'l1' in steps[0][2]
    assert any(line.startswith('compiling the step') for line in lines)
    assert any('| validation/x2 | student |' in line for line in lines)


def test_the_card_records_the_call_and_not_the_command_line(trained):
    card = json.loads((trained[0] / 'export' / 'student' / 'model.json').read_text())
    assert card['command'] == f"kdsr.train(config 'tiny', '{trained[0]}')"


def test_silent_is_silent(trained, capfd):
    rows = kdsr.evaluate(trained[0], trained[0].parent / 'images', say=None)
    assert kdsr.upscale([trained[0].parent / 'images' / '0000.png'], trained[0].parent / 'large', model=trained[0], say=None)
    assert capfd.readouterr() == ('', '') and rows[0]['set'] == 'images' and rows[0]['scale'] == 2
    assert rows[0]['psnr_y'] == pytest.approx(np.mean([image['psnr_y'] for image in rows[0]['images'].values()]))


def test_a_finished_run_is_not_trained_again(trained):
    lines = []
    config = tiny.config(trained[0].parent / 'images', trained[0].parent / 'teacher', log_every=1)
    config.method.transforms = 'instance'
    assert kdsr.train(config, trained[0], say=lines.append)['student'] == trained[1]['student']
    assert len(lines) == 1 and 'is finished' in lines[0]


@pytest.mark.parametrize(('shape', 'dtype'), [((9, 7, 3), 'uint8'), ((9, 7), 'uint16'), ((9, 7, 4), 'float32')])
def test_an_array_is_enlarged_to_one_of_its_kind(trained, shape, dtype):
    image = (np.random.default_rng(0).random(shape) * (1 if dtype == 'float32' else np.iinfo(dtype).max)).astype(dtype)
    large = kdsr.upscale(image, model=trained[0])
    assert large.shape == (18, 14, *shape[2:]) and large.dtype == image.dtype
    if len(shape) == 3 and shape[2] == 3:
        sr = np.asarray(kdsr.load(trained[0])(image[None] / np.float32(255)))[0]
        np.testing.assert_array_equal(large, np.uint8(np.round(255 * np.clip(sr, 0, 1))))


def test_what_cannot_be_done_raises_and_the_rest_is_done(trained, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'no picture')
    files = [tmp_path / 'broken.png', trained[0].parent / 'images' / '0001.png']
    with pytest.raises(ValueError, match='1 of 2 could not be enlarged.*broken.png'):
        kdsr.upscale(files, tmp_path / 'out', model=trained[0], say=None)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['0001_x2.png']
    with pytest.raises(ValueError, match='paths need out=FOLDER'):
        kdsr.upscale('a.png')
    with pytest.raises(ValueError, match='size 3x3 is too small'):
        kdsr.export(trained[0], 'stablehlo', tmp_path / 'files', size=(3, 3), say=None)


def test_report_and_export(trained, tmp_path):
    assert '| `tiny`' in kdsr.report(trained[0], tmp_path / 'report', images=0)
    (card,) = kdsr.export(trained[0], 'torch', tmp_path / 'files', say=None)
    assert (tmp_path / 'files' / card['file']).is_file()


def test_a_teachers_pictures_and_models_beside_each_other(trained, tmp_path):
    tiny.folder(tmp_path / 'photos', count=2)
    told = []
    found = kdsr.teach(trained[0], tmp_path / 'photos', tmp_path / 'taught', say=told.append, patches=1, size=48)
    assert found == {tmp_path / 'taught': (2, [])} and len(list((tmp_path / 'taught' / 'HR').iterdir())) == 2 and told
    scores = kdsr.compare(tmp_path / 'photos', [trained[0]], tmp_path / 'compared', say=None, lpips_by='')
    assert list(scores) == ['bicubic', str(trained[0])] and (tmp_path / 'compared' / 'index.html').is_file()


def test_configs_by_spec_and_fields():
    config = kdsr.config('fakd:smoke', steps=9, method__alpha=0.25, student__args={'blocks': 3}, optimizer__milestones=(1, 2))
    assert (config.name, config.steps, config.method.alpha) == ('fakd_smoke', 9, 0.25)
    assert config.student.args.to_dict() == {'blocks': 3} and config.optimizer.milestones == (1, 2)
    assert 'alpha: 0.25' in str(config)
    with pytest.raises(ValueError, match="'stepz' is unknown, did you mean 'steps'"):
        kdsr.config('fakd', stepz=3)
    with pytest.raises(FileNotFoundError, match="no config file 'fakdd', did you mean 'fakd'"):
        kdsr.config('fakdd')


def test_modules_are_functions_too_and_unknown_names_are_errors():
    assert callable(kdsr.train) and kdsr.train.loop and kdsr.models is models and kdsr.__version__
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = kdsr.trian


@pytest.mark.slow
def test_stopping_a_call_saves_and_the_same_call_goes_on(tmp_path):
    """Ctrl-C in a notebook's cell is a SIGINT in the main thread."""
    tiny.room(tmp_path)
    program = f"""
import os, pathlib, signal, sys
sys.path.insert(0, {str(HERE / 'tests')!r})
import kdsr, tiny
room = pathlib.Path({str(tmp_path)!r})
config = tiny.config(room / 'images', room / 'teacher', steps=8)
config.method.transforms = 'instance'
stop = lambda step, *_: step == 3 and os.kill(os.getpid(), signal.SIGINT)
try:
    kdsr.train(config, room / 'run', progress=stop)
except KeyboardInterrupt as e:
    print('stopped:', e)
kdsr.train(config, room / 'run')
"""
    env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(HERE)}
    run = subprocess.run([sys.executable, '-c', program], env=env, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr
    assert 'the same call goes on from here' in run.stdout or 'is saved; the same call goes on with it' in run.stdout
    assert 'resumed at step' in run.stdout and json.loads((tmp_path / 'run' / 'results.json').read_text())['steps'] == 8


def test_importing_kdsr_is_cheap():
    """No networks, plots or converters; jax itself is not needed before something is used."""
    program = (
        'import sys, kdsr; print(sorted({m.split(".")[0] for m in sys.modules} & {"jax", "flax", "tensorflow", "matplotlib"}))'
    )
    run = subprocess.run([sys.executable, '-c', program], cwd=HERE, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == '[]'


# The list of commands and the manual


def test_kdsr_lists_its_commands_and_passes_on_to_them(tmp_path):
    from kdsr import __main__ as listed

    text = command('kdsr').stdout
    assert (
        all(f'    {name} ' in text for name in listed.COMMANDS) and command('kdsr', '--version').stdout.strip() == kdsr.__version__
    )
    assert "no command 'trian', did you mean 'train'?" in only_line(command('kdsr', 'trian', code=1))
    assert 'Recipes, one of them' in command('kdsr', 'train', 'teacher:help').stdout
    assert "'nosuch' is unknown" in only_line(command('kdsr', 'train', 'teacher:nosuch', code=1))


def test_every_field_has_a_meaning_and_the_page_is_that_of_the_code():
    for name in methods.names():
        assert meanings.METHODS[name].keys() == methods.defaults(name).keys() - {'name'}
    base = recipes.base().to_dict()
    assert meanings.DATA.keys() == base['data'].keys() and meanings.OPTIMIZER.keys() == optim.DEFAULTS.keys()
    assert base.keys() - {'data', 'optimizer'} <= meanings.CONFIG.keys()
    from kdsr import manual

    assert (HERE / 'docs' / 'config.md').read_text() == manual.page() + '\n', 'python -m kdsr.manual > docs/config.md'
    methods_page = (HERE / 'docs' / 'config_methods.md').read_text()
    assert methods_page == manual.methods_page() + '\n', 'python -m kdsr.manual methods > docs/config_methods.md'


@pytest.mark.parametrize('spec', ['fakd', 'srgan_kd:paper,gan2gan,two_stage', 'data_free:smoke'])
def test_help_beside_a_config_shows_every_field(spec):
    from kdsr import manual, stages

    text = manual.of_config(spec)
    for stage in stages.planned(settings.load(spec)):
        for field, value, about in manual.rows(stage):
            assert field == 'name' or f'--config.{field}={value}' in text
            assert about or field in ('method.name',), field


def test_help_beside_a_config_ends_well():
    run = command('kdsr.main', '--config=fakd:smoke', '--help')
    assert '--config.method.w_affinity=10' in run.stdout and 'Recipes, one of them' in run.stdout


# Weights & Biases


def test_a_board_is_told_what_tensorboard_is(tmp_path, monkeypatch):
    told = []
    board = types.SimpleNamespace(log=lambda values, step: told.append((step, values)), finish=lambda: told.append('finished'))
    fake = types.ModuleType('wandb')
    fake.init = lambda **facts: told.append(facts) or board
    monkeypatch.setitem(sys.modules, 'wandb', fake)
    for _ in range(2):
        writer = writers.Writer(tmp_path, 0, wandb='project', name='run', config={'a': 1})
        writer.scalars(3, {'l1': 0.5}, {'speed': 9.0})
        writer.close()
    first, line, end, again, *_ = told
    assert (first['project'], first['name'], first['config'], first['resume']) == ('project', 'run', {'a': 1}, 'allow')
    assert line == (3, {'l1': 0.5, 'speed': 9.0}) and end == 'finished' and again['id'] == first['id']
    monkeypatch.setitem(sys.modules, 'wandb', None)
    with pytest.raises(ModuleNotFoundError, match="config.wandb='project': pip install wandb"):
        writers.Writer(tmp_path, 0, wandb='project')


def test_whoever_listens_is_told_and_nobody_else(capsys):
    lines = []
    with console.told(lines.append):
        console.say('a')
        console.show('b')
        with console.told():
            console.say('c')
    console.say('d')
    assert lines == ['a', 'b'] and capsys.readouterr() == ('', 'd\n')
