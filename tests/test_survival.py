"""A run that is killed, stopped or poisoned: what is on disk, and what the same command makes of it."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """A folder with training pictures and a teacher."""
    return tiny.room(tmp_path_factory.mktemp('survival'))


def start(room, workdir, *flags, method='fakd'):
    command = [
        sys.executable,
        '-m',
        'kdsr.main',
        f'--config={HERE / "tiny_config.py"}:{method}@{room}',
        f'--workdir={workdir}',
        *flags,
    ]
    env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': f'{HERE.parent}:{HERE}', 'KDSR_CACHE': str(room / 'cache')}
    return subprocess.Popen(command, env=env, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err[-3000:]
    return out, err


def wait_for(condition, process, seconds=200):
    deadline = time.time() + seconds
    while time.time() < deadline:
        if condition():
            return
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.002)
    raise TimeoutError


def steps_done(workdir):
    path = workdir / 'metrics.jsonl'
    lines = path.read_text().split('\n')[:-1] if path.exists() else []
    return json.loads(lines[-1])['step'] if lines else 0


def saving(workdir):
    return any('orbax-checkpoint-tmp' in p.name for p in (workdir / 'resume').glob('*')) if (workdir / 'resume').exists() else False


@pytest.fixture(scope='module')
def whole(room):
    """An uninterrupted run of 24 steps."""
    out, err = finish(start(room, room / 'whole'))
    return room / 'whole', out, err


def final_state(workdir):
    """Every leaf of the latest checkpoint: step, key, weights, optimiser, averages."""
    import orbax.checkpoint as ocp

    manager = ocp.CheckpointManager((workdir / 'resume').absolute())
    step = manager.latest_step()
    found = ocp.StandardCheckpointer().restore((workdir / 'resume' / str(step) / 'state').absolute())
    manager.close()
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(found)[0]
    values = {jax.tree_util.keystr(k): v for k, v in leaves}
    return step, {
        k: np.array(jax.random.key_data(v) if jax.dtypes.issubdtype(v.dtype, jax.dtypes.prng_key) else v) for k, v in values.items()
    }


def same_files(a, b):
    assert (a / 'metrics.jsonl').read_bytes() == (b / 'metrics.jsonl').read_bytes()
    for net in ('student', 'student_ema'):
        assert (a / 'export' / net / 'weights.safetensors').read_bytes() == (
            b / 'export' / net / 'weights.safetensors'
        ).read_bytes()
    (step_a, state_a), (step_b, state_b) = final_state(a), final_state(b)
    assert step_a == step_b == 24
    assert state_a.keys() == state_b.keys() and len(state_a) > 80
    assert all(np.array_equal(state_a[k], state_b[k]) for k in state_a)


def test_killed_three_times_equals_uninterrupted_bit_for_bit(room, whole):
    workdir = room / 'killed'
    points = (
        lambda: steps_done(workdir) >= 6,
        lambda: steps_done(workdir) >= 8 and saving(workdir),
        lambda: steps_done(workdir) >= 18,
    )
    for point in points:
        process = start(room, workdir)
        wait_for(point, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    _, err = finish(start(room, workdir))
    assert 'resumed at step' in err
    same_files(workdir, whole[0])


def test_sigterm_saves_and_leaves_cleanly(room, whole):
    workdir = room / 'terminated'
    process = start(room, workdir)
    wait_for(lambda: steps_done(workdir) >= 4, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 128 + signal.SIGTERM, err[-2000:]
    assert 'the same command goes on from here' in err and 'Traceback' not in err
    finish(start(room, workdir))
    same_files(workdir, whole[0])


def killed_on_the_way(room, method):
    """A run killed at step 10 or later and gone on with, which equals an uninterrupted one; its folder and its last state."""
    whole, killed = room / f'{method}_whole', room / f'{method}_killed'
    finish(start(room, whole, method=method))
    process = start(room, killed, method=method)
    wait_for(lambda: steps_done(killed) >= 10, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finish(start(room, killed, method=method))
    same_files(killed, whole)
    return killed, final_state(killed)[1]


@pytest.mark.slow
def test_two_players_with_batch_norm_survive_a_kill_bit_for_bit(room):
    """Student and critic of SRGAN lightening: parameters, batch statistics and both optimisers."""
    _, kept = killed_on_the_way(room, 'gan2g_al')
    for net in ('student', 'disc'):
        assert any(net in k and 'batch_stats' in k for k in kept) and any(net in k and "'mu'" in k for k in kept)


@pytest.mark.slow
def test_degraded_images_and_spectral_vectors_survive_a_kill_bit_for_bit(room):
    """The second stage of Real-ESRGAN: what is drawn of each image, the critic's vectors and both optimisers."""
    _, kept = killed_on_the_way(room, 'realesrgan')
    assert any('disc' in k and 'spectral' in k for k in kept) and any('disc' in k and "'mu'" in k for k in kept)


@pytest.mark.slow
def test_workers_die_with_a_killed_trainer_and_change_nothing(room):
    """Killed on the way with two processes that make LR, and gone on with threads; it equals a run with threads alone."""
    whole, killed = room / 'threads_whole', room / 'workers_killed'
    finish(start(room, whole, method='realesrgan'))
    process = start(room, killed, '--config.data.workers=2', method='realesrgan')
    wait_for(lambda: steps_done(killed) >= 10, process)
    children = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    workers = [pid for pid in children if b'kdsr.data' in pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()]
    assert len(workers) == 2
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.time() + 5
    while any(pathlib.Path(f'/proc/{pid}').exists() for pid in workers) and time.time() < deadline:
        time.sleep(0.05)
    assert not any(pathlib.Path(f'/proc/{pid}').exists() for pid in workers)
    _, err = finish(start(room, killed, method='realesrgan'))
    assert 'going on with data.workers=0 (was 2)' in err
    same_files(killed, whole)


@pytest.mark.slow
def test_a_growing_student_survives_a_kill_bit_for_bit(room):
    """Data-free distillation, killed between the two steps in which a block joins: the student and all generators."""
    killed, kept = killed_on_the_way(room, 'data_free')
    assert all(any(net in k for k in kept) for net in ('student', 'generator_x2', 'generator_x4'))
    assert (killed / 'samples' / 'invented_0000024.png').is_file()


def test_files_of_a_run(whole):
    workdir, out, err = whole
    lines = [json.loads(x) for x in (workdir / 'metrics.jsonl').read_text().splitlines()]
    assert [x['step'] for x in lines if 'l1' in x] == list(range(2, 25, 2))
    assert [x['step'] for x in lines if 'val/psnr_y' in x] == [8, 16, 24]
    results = json.loads((workdir / 'results.json').read_text())
    assert {'bicubic', 'student', 'teacher', 'cost'} <= results.keys()
    assert results['student']['validation/x2'].keys() == {'psnr_y', 'ssim_y', 'psnr_rgb', 'images'}
    assert sorted(p.name for p in (workdir / 'samples').iterdir()) == [f'step_{s:07d}.png' for s in (8, 16, 24)]
    assert list((workdir / 'tensorboard').glob('events*'))
    assert 'ETA' in err and 'images/s' in err and 'data wait' in err
    assert '| validation/x2 | student' in out


def test_the_latest_two_and_the_best_are_kept(whole):
    kept = {int(p.name) for p in (whole[0] / 'resume').iterdir() if p.name.isdigit()}
    lines = [json.loads(x) for x in (whole[0] / 'metrics.jsonl').read_text().splitlines()]
    scores = {x['step']: x['val/psnr_y'] for x in lines if 'val/psnr_y' in x}
    assert kept == {20, 24, max(scores, key=scores.get)}


def test_a_finished_run_is_not_run_again(room, whole):
    _, err = finish(start(room, whole[0]))
    assert 'is finished' in err


def test_another_config_in_the_same_workdir_is_refused(room, whole):
    process = start(room, whole[0], '--config.optimizer.learning_rate=0.5')
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1
    assert 'optimizer.learning_rate was 0.001 and is now 0.5' in err


def test_nan_stops_with_step_and_parts_and_keeps_the_checkpoint(room):
    workdir = room / 'poisoned'
    # 1e30 at a learning rate of 1e30 overflows in the second step; the checkpoint of step 1 is from before
    flags = ('--config.optimizer.learning_rate=1e30', '--config.save_every=1', '--config.optimizer.clip=0.0')
    process = start(room, workdir, *flags)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1
    assert 'error: step 2: instance = nan, l1 = nan, spatial = nan' in err and 'Traceback' not in err
    step, state = final_state(workdir)
    assert step == 1 and all(np.isfinite(v).all() for v in state.values())
