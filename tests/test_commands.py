"""The commands as a person types them: results, one-line errors, help."""

import json

import pytest
import tiny
from shell import HERE, command, only_line


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """A benchmark folder of three pictures, training pictures and a x2 teacher."""
    folder = tiny.room(tmp_path_factory.mktemp('commands'))
    tiny.folder(folder / 'set' / 'HR', count=3, height=40, width=50)
    return folder


def test_readme_names_the_commands_that_ci_runs():
    readme, ci = (HERE / 'README.md').read_text(), (HERE / '.ci' / 'run').read_text()
    for line in ('python -m kdsr.main --config=experiments/fakd.py', 'python -m pytest'):
        assert line in readme and line in ci


@pytest.mark.slow
def test_smoke_run_of_the_main_job(tmp_path):
    run = command('kdsr.main', '--config=experiments/fakd.py:smoke', f'--workdir={tmp_path}')
    assert '| validation/x4 | teacher' in run.stdout and 'first step after' in run.stderr
    assert (
        json.loads((tmp_path / 'results.json').read_text())['cost']['student']['parameters'] == 9_203
    )  # 224 + 3 * 1168 + 584 + 2 * 2336 + 219


def test_evaluate_bicubic_and_an_export(room, tmp_path):
    run = command('kdsr.evaluate', '--model=bicubic', f'--data={room / "set"}', '--scale=2,3', f'--json={tmp_path / "a.json"}')
    found = json.loads((tmp_path / 'a.json').read_text())
    assert list(found) == ['set/x2', 'set/x3'] and list(found['set/x2']['images']) == ['0000', '0001', '0002']
    assert f'{found["set/x2"]["psnr_y"]:.3f}' in run.stdout and found['set/x2']['psnr_y'] > found['set/x3']['psnr_y']
    plain, eight = (tmp_path / f'{i}.json' for i in range(2))
    command('kdsr.evaluate', f'--model={room / "teacher"}', f'--data={room / "set"}', f'--json={plain}')
    command(
        'kdsr.evaluate',
        f'--model={room / "teacher"}',
        f'--data={room / "set"}',
        f'--json={eight}',
        '--self_ensemble',
        '--protocol=div2k',
    )
    assert json.loads(plain.read_text()).keys() == {'set/x2'}
    assert json.loads(eight.read_text())['set/x2'].keys() == {'evaluation', 'psnr_rgb', 'ssim_rgb', 'images'}


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--model=nowhere', '--data=set'], 'no model at nowhere: expected a folder with model.json'),
        (['--model=bicubic', '--data=nowhere', '--scale=2'], 'nowhere'),
        (['--model=bicubic', '--data=set'], '--model=bicubic needs --scale'),
        (['--model=teacher', '--data=set', '--scale=3'], 'teacher is a x2 model, --scale asks for x3'),
    ],
)
def test_errors_of_evaluate_are_one_line(room, flags, message):
    assert message in only_line(command('kdsr.evaluate', *flags, cwd=room, code=1))


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--config.data.path=nowhere'], "no folder 'nowhere'"),
        (['--config.student.name=edrs'], "did you mean 'edsr'"),
        (['--config.patch=4000'], 'is large enough for HR patches of 8000x8000'),
        (['--config.batch_size=0'], 'config.batch_size=0 must be at least 1'),
    ],
)
def test_errors_of_main_are_one_line(room, tmp_path, flags, message):
    config = f'--config={HERE / "tests" / "tiny_config.py"}:{room}'
    assert message in only_line(command('kdsr.main', config, f'--workdir={tmp_path}', *flags, code=1))


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--config=experiments/fakd.py', '--config.stepz=3'], "config field 'stepz' is unknown, did you mean 'steps'?"),
        (['--config=experiments/fakd.py', '--config.method.transfroms=x'], "did you mean 'transforms'?"),
        (['--config=experiments/fakd.py', '--confg.steps=3'], "Unknown command line flag 'confg.steps'"),
        (['--config=experiments/fakd.py', '--config.steps=many'], '--config.steps=many'),
        (['--config=experiments/fakd.py:papr'], "'papr' is unknown, did you mean 'paper'?"),
        (['--config=experiments/nofile.py'], 'experiments/nofile.py'),
        ([], '--config must have a value'),
    ],
)
def test_typos_in_flags_are_one_line(flags, message):
    run = command('kdsr.main', *flags, code=1)
    assert message in only_line(run) and len(run.stderr.splitlines()) == 1


def test_a_full_disk_is_named(monkeypatch, capsys):
    from kdsr import commands

    def full(_):
        raise OSError(28, 'No space left on device', 'resume/4')

    monkeypatch.setattr(commands, 'cache', lambda: None)
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS(['test'])
    with pytest.raises(SystemExit) as stop:
        commands.guarded(full)([])
    assert stop.value.code == 1
    assert 'error: the disk is full while writing resume/4: free some space' in capsys.readouterr().err


COMMANDS = ['kdsr.main', 'kdsr.evaluate', 'kdsr.convert', 'kdsr.upscale', 'kdsr.report', 'kdsr.export', 'kdsr.data.prepare']


@pytest.mark.parametrize('module', COMMANDS)
def test_help_shows_an_example(module):
    for flag in ('--help', '-h') if module == 'kdsr.main' else ('--help',):
        run = command(module, flag)
        assert f'python -m {module}' in run.stdout


@pytest.mark.parametrize(
    'flags',
    [
        ['kdsr.main', '--config=experiments/fakd.py', 'foo'],
        ['kdsr.main', 'foo', '--config=experiments/fakd.py:smoke'],
        ['kdsr.evaluate', '--model=bicubic', '--data=x', 'foo'],
    ],
)
def test_a_stray_argument_is_refused(flags):
    assert "unexpected argument 'foo'" in only_line(command(*flags, code=1))


def test_two_stages_hand_the_teacher_over_and_finished_ones_are_skipped(room, tmp_path):
    from kdsr import recipes, stages

    first = tiny.config(room / 'images', room / 'teacher', name='first', steps=2)
    first.method = {'name': 'supervised', 'loss': 'l1'}
    first.teacher = ''
    second = tiny.config(room / 'images', 'stage:first/student', name='second', steps=2)
    config = recipes.base(name='both')
    config.stages = (first, second)
    results = stages.run(config, tmp_path)
    assert results['teacher'] == json.loads((tmp_path / 'first' / 'results.json').read_text())['student']
    before = (tmp_path / 'first' / 'results.json').stat().st_mtime_ns
    (tmp_path / 'second' / 'results.json').unlink()
    assert stages.run(config, tmp_path)['student'] == results['student']
    assert (tmp_path / 'first' / 'results.json').stat().st_mtime_ns == before
    wrong = recipes.base(name='wrong')
    wrong.stages = (tiny.config(room / 'images', 'stage:frist/student', name='x'),)
    with pytest.raises(ValueError, match="no earlier stage is called 'frist'"):
        stages.run(wrong, tmp_path)


def test_an_override_of_the_config_reaches_all_stages_that_do_not_set_the_field():
    from kdsr import recipes, stages

    config = recipes.base(name='both', seed=7, steps=5)
    config.stages = (
        recipes.block({'name': 'a', 'steps': 3, 'method': {'name': 'supervised', 'loss': 'l2'}}),
        recipes.block({'name': 'b'}),
    )
    first, second = (stages.derived(config, block) for block in config.stages)
    assert (first.seed, first.steps, second.seed, second.steps) == (7, 3, 7, 5)
    assert first.method.to_dict() == {'name': 'supervised', 'loss': 'l2'} and 'stages' not in first
    with pytest.raises(ValueError, match="field 'stepz' of stage 'c' is unknown, did you mean 'steps'"):
        stages.derived(config, recipes.block({'name': 'c', 'stepz': 1}))
