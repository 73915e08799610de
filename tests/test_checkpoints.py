"""Damage to what a run keeps, a second writer, and what may change in a run that goes on: each is one line, and nothing is lost."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from kdsr import checkpoints, lock, parallel, peers, recipes, rescore, stages, writers
from kdsr import config as configs


def state(step):
    return parallel.place({'w': jax.numpy.arange(2000.0) + step, 'n': jax.numpy.int32(step)})


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of steps 1, 2 and 3; the first has the best score and stays as well as the last two."""
    saved = checkpoints.Checkpoints(tmp_path / 'resume')
    for step, score in ((1, 30.0), (2, 20.0), (3, 25.0)):
        saved.save(step, state(step), {'count': step}, score)
    saved.close()
    assert {p.name for p in (tmp_path / 'resume').iterdir() if p.name.isdigit()} == {'1', '2', '3'}
    return tmp_path / 'resume'


def largest(room):
    return max((p for p in room.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)


def rewritten(change):
    def damage(room):
        file = largest(room / 'state')
        file.write_bytes(change(file.read_bytes()))

    return damage


def flipped(data):
    """One bit of the middle of a file turned."""
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


DAMAGE = {
    'cut short': rewritten(lambda data: data[: len(data) // 2]),
    'emptied': rewritten(lambda data: b''),
    'zeroed': rewritten(lambda data: bytes(len(data))),
    'a bit flipped': rewritten(flipped),
    'a file missing': lambda room: largest(room / 'state').unlink(),
    'all arrays missing': lambda room: shutil.rmtree(room / 'state'),
    'log cut short': lambda room: (room / 'log' / 'metadata').write_bytes((room / 'log' / 'metadata').read_bytes()[:20]),
    'log changed': lambda room: (room / 'log' / 'metadata').write_bytes(
        (room / 'log' / 'metadata').read_bytes().replace(b'"count":3', b'"count":4').replace(b'"count": 3', b'"count": 4')
    ),
    'log missing': lambda room: shutil.rmtree(room / 'log'),
    'manifest zeroed': lambda room: (room / 'state' / 'manifest.ocdbt').write_bytes(bytes(100)),
}


@pytest.mark.parametrize('kind', DAMAGE)
def test_a_damaged_checkpoint_falls_back_to_the_last_whole_one(folder, kind, capsys):
    DAMAGE[kind](folder / '3')
    saved = checkpoints.Checkpoints(folder)
    step, found, log = saved.restore(state(0))
    assert step == 2 and log == {'count': 2}
    np.testing.assert_array_equal(found['w'], state(2)['w'])
    lines = [line for line in capsys.readouterr().err.splitlines() if 'damaged' in line]
    assert len(lines) == 1 and lines[0].startswith('step 3 is damaged (') and 'going on from 2' in lines[0]
    saved.save(3, state(3), {'count': 3}, 25.0)  # the step can be made again
    saved.close()
    assert checkpoints.Checkpoints(folder).restore(state(0))[0] == 3


def test_where_no_checkpoint_is_whole_one_line_says_what_to_delete(folder):
    for step in '123':
        DAMAGE['a bit flipped'](folder / step)
    with pytest.raises(ValueError, match=r'no checkpoint in \S+ is whole \(.*\): delete \S+resume to train from the start'):
        checkpoints.Checkpoints(folder).restore(state(0))


def test_another_model_is_called_so_and_damage_is_not(folder):
    other = parallel.place({'w': jax.numpy.arange(7.0), 'n': jax.numpy.int32(0)})
    with pytest.raises(ValueError, match=r'does not fit this config \(another model.*float32\[2000\] there and float32\[7\] here'):
        checkpoints.Checkpoints(folder).restore(other)


def test_a_damaged_best_checkpoint_is_replaced_by_the_best_other_one(folder, capsys):
    DAMAGE['a bit flipped'](folder / '1')
    saved = checkpoints.Checkpoints(folder)
    saved.restore(state(0))
    assert saved.restore_best(state(0))[0] == 3
    assert 'the best checkpoint, step 1, is damaged' in capsys.readouterr().err


def holder(folder, ready, done):
    with lock.held(folder):
        ready.set()
        done.wait(60)


def test_a_second_writer_is_refused_by_name_and_a_dead_one_is_forgotten(tmp_path):
    spawn = multiprocessing.get_context('spawn')
    ready, done = spawn.Event(), spawn.Event()
    first = spawn.Process(target=holder, args=(tmp_path, ready, done))
    first.start()
    assert ready.wait(60)
    with pytest.raises(BlockingIOError, match=rf'is in use by process {first.pid} on .*another --workdir'):
        with lock.held(tmp_path):
            pass
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    with lock.held(tmp_path):  # released by its death
        pass


def test_without_locks_of_the_filesystem_a_file_is_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, 'locked', lambda *_: False)
    with lock.held(tmp_path):
        with pytest.raises(BlockingIOError, match=rf'process {os.getpid()} on .*if that process is gone, delete'):
            with lock.held(tmp_path):
                pass
    gone = subprocess.Popen([sys.executable, '-c', ''])
    gone.wait()
    (tmp_path / 'lock.owner').write_text(json.dumps({'host': lock.socket.gethostname(), 'pid': gone.pid}))
    with lock.held(tmp_path):  # of a dead process of this host
        pass
    assert not (tmp_path / 'lock.owner').exists()


def run_config(**values):
    found = recipes.base(student=recipes.model('edsr'), method=recipes.block({'name': 'supervised', 'loss': 'l1'}), export='latest')
    for path, value in values.items():
        block, name = found, path.split('__')
        for part in name[:-1]:
            block = block[part]
        block[name[-1]] = value
    return found


MAY = {'data__threads': 0, 'log_every': 7, 'eval_every': 9, 'data__validation_images': 3, 'steps': 2000, 'benchmarks': 'Set5'}
MAY_NOT = {'seed': 1, 'batch_size': 8, 'steps': 10, 'optimizer__learning_rate': 1.0, 'data__augment': 'none'}


@pytest.mark.parametrize('field', MAY)
def test_what_changes_no_weights_may_change(tmp_path, field):
    (tmp_path / 'config.json').write_text(configs.to_json(run_config()))
    assert list(configs.require_same(run_config(**{field: MAY[field]}), tmp_path)) == [field.replace('__', '.')]


@pytest.mark.parametrize('field', MAY_NOT)
def test_what_changes_weights_may_not_and_is_named(tmp_path, field):
    (tmp_path / 'config.json').write_text(configs.to_json(run_config()))
    with pytest.raises(ValueError, match=field.replace('__', r'\.')):
        configs.require_same(run_config(**{field: MAY_NOT[field]}), tmp_path)


def test_a_schedule_that_depends_on_the_steps_is_named(tmp_path):
    cosine = {'optimizer__schedule': 'cosine'}
    (tmp_path / 'config.json').write_text(configs.to_json(run_config(**cosine)))
    with pytest.raises(ValueError, match=r"steps was 1000 and is now 2000 \(config.optimizer.schedule='cosine' depends on"):
        configs.require_same(run_config(**cosine, steps=2000), tmp_path)
    best = {'export': 'best'}
    (tmp_path / 'config.json').write_text(configs.to_json(run_config(**best)))
    with pytest.raises(ValueError, match=r"eval_every was 500 and is now 9 \(with config.export='best' it chooses the weights"):
        configs.require_same(run_config(**best, eval_every=9), tmp_path)


def test_a_torn_config_is_said(tmp_path):
    (tmp_path / 'config.json').write_text(configs.to_json(run_config())[:99])
    with pytest.raises(ValueError, match=r'config.json is damaged .*bring it back, or delete it'):
        configs.require_same(run_config(), tmp_path)


def test_a_broken_line_of_metrics_is_left_out_and_said(tmp_path, capsys):
    path = tmp_path / 'metrics.jsonl'
    path.write_bytes(b'{"step": 1, "l1": 3}\n{"step": 2, "l1\n\xff\n{"step": 3}\n{"step": 4}\n{"st')
    writers.repair(path, 3)
    assert path.read_text() == '{"step": 1, "l1": 3}\n{"step": 3}\n'
    assert [line.split('metrics.jsonl ')[1][:18] for line in capsys.readouterr().err.splitlines()] == [
        'line 2 is damaged ',
        'line 3 is damaged ',
    ]


def test_a_line_cut_short_is_said_where_its_step_will_not_be_run_again(tmp_path, capsys):
    path = tmp_path / 'metrics.jsonl'
    for step, said in ((3, True), (2, False)):
        path.write_text('{"step": 2, "l1": 3}\n{"step": 3, "l1": 2')
        writers.repair(path, step)
        assert path.read_text() == '{"step": 2, "l1": 3}\n'
        assert ('line 2 is cut short and left out' in capsys.readouterr().err) == said


def test_late_answers_of_a_damaged_checkpoint_are_not_printed(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, 'excepthook', lambda kind, error, trace: seen.append(error))
    checkpoints.silence_late_answers()
    for error in (
        RuntimeError('Event loop is closed'),
        other := RuntimeError('another'),
        late := ValueError('Event loop is closed'),
    ):
        sys.excepthook(type(error), error, None)
    assert seen == [other, late]


@pytest.mark.parametrize('text', ['{"student": {"val', '{}', '[]', '{"student": {}, "steps": 3}', '\xff'])
def test_results_that_are_cut_short_are_made_again_from_the_checkpoints(tmp_path, text, capsys):
    (tmp_path / 'results.json').write_text(text, encoding='latin1')
    with pytest.raises(ValueError, match='results.json is damaged .* and .* has no checkpoints: delete it to train this run again'):
        stages.read_results(tmp_path)
    (tmp_path / 'resume').mkdir()
    assert stages.read_results(tmp_path) is None and 'making it again from the last checkpoint' in capsys.readouterr().err


def test_a_finished_run_goes_on_to_more_steps_or_is_scored_on_more_sets(tmp_path, monkeypatch, capsys):
    (tmp_path / 'config.json').write_text(configs.to_json(run_config(data__source='embedded')))
    results = {'student': {'validation/x4': {}, 'Set5/x4': {}}, 'steps': 1000}
    monkeypatch.setattr(rescore, 'add', lambda stage, folder, results: {**results, 'scored': rescore.missing(stage, results)})
    assert stages.finished(run_config(), tmp_path, results) == results
    assert stages.finished(run_config(benchmarks='a/Set5,b/Set14'), tmp_path, results)['scored'] == ['b/Set14']
    assert stages.finished(run_config(steps=1001), tmp_path, results) is None
    assert 'was finished at step 1000 and goes on to step 1001' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('coordinator', 'processes', 'process', 'message'),
    [
        (None, 2, 0, '--processes=2 needs --coordinator=HOST:PORT'),
        ('host', 2, 0, '--coordinator=host must be HOST:PORT'),
        ('host:1', 2, 2, r'--process=2 must be in 0..1 with --processes=2'),
        ('host:1', 1, 0, '--coordinator=host:1 is for several processes: --processes is missing'),
        (None, -1, 0, '--processes=-1 must be at least 1, or 0'),
    ],
)
def test_a_missing_flag_of_several_processes_is_named(coordinator, processes, process, message):
    with pytest.raises(ValueError, match=message):
        peers.check(coordinator, processes, process)
