"""One step on 1 and 8 devices and in 2 processes: same weights, equal replicas, full donation, one compilation."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import tiny

from kdsr import checkpoints, parallel, peers, quiet

HERE = pathlib.Path(__file__).parent


def start(mode, *args, devices=1, **env):
    flags = f'--xla_force_host_platform_device_count={devices}'
    settings = {**os.environ, 'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': f'{HERE.parent}:{HERE}', **env}
    command = [sys.executable, str(HERE / 'device_worker.py'), mode, *map(str, args)]
    return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """A folder with training pictures and a teacher."""
    return tiny.room(tmp_path_factory.mktemp('parallel'))


@pytest.fixture(
    scope='module',
    params=['fakd', *(pytest.param(name, marks=pytest.mark.slow) for name in ('srgan_kd', 'data_free', 'unet', 'sdakd'))],
)
def method(request):
    """One player, three with batch norm, a student and generators by turns, a critic with spectral vectors, such a one with R1."""
    return request.param


@pytest.fixture(scope='module')
def one_and_eight(room, method):
    both = [start('steps', room, room / f'{method}{n}', devices=n, TINY=method) for n in (1, 8)]
    return [finish(p) for p in both]


def weights(path):
    with np.load(path) as arrays:
        return dict(arrays)


def largest_difference(a, b):
    assert a.keys() == b.keys()
    return max(float(np.abs(a[k] - b[k]).max()) for k in a)


def test_eight_devices_equal_one(room, method, one_and_eight):
    assert [f['devices'] for f in one_and_eight] == [1, 8]
    one, eight = (weights(room / f'{method}{n}' / 'weights.npz') for n in (1, 8))
    assert largest_difference(one, weights(room / f'{method}1' / 'before.npz')) > 1e-4  # it did train
    assert largest_difference(one, eight) < 1e-5


@pytest.mark.slow
def test_what_came_after_fakd_on_eight_devices_equals_one(room):
    """DUKD with one update and with two, contrastive of history and of bicubic images, both stages of PISR, the wavelet term."""
    tiny.informed(room)  # writes the networks that both read
    both = [start('several', room, room / f'after{n}', devices=n, TINY=','.join(tiny.AFTER_FAKD)) for n in (1, 8)]
    assert [finish(p)['devices'] for p in both] == [1, 8]
    for name in tiny.AFTER_FAKD:
        before, one, eight = (weights(room / f) for f in (f'after1/{name}_before.npz', f'after1/{name}.npz', f'after8/{name}.npz'))
        assert largest_difference(one, before) > 1e-4 and largest_difference(one, eight) < 1e-5, name


def test_replicas_are_equal_and_old_states_donated(method, one_and_eight):
    unread = (
        8 if method in ('unet', 'sdakd') else 0
    )  # of a layer's two spectral vectors training makes the second without a look at the old
    for facts in one_and_eight:
        assert facts['replicas_differ_by'] == 0.0
        assert facts['kept_old_leaves'] == 3 * unread  # in three steps
        assert facts['frozen_alive'] and facts['frozen_unchanged']


def test_nothing_compiles_after_the_first_step(one_and_eight):
    for facts in one_and_eight:
        assert facts['compilations_later'] == 0


def test_sum_of_ones_is_the_device_count(one_and_eight):
    assert [f['ones'] for f in one_and_eight] == [1, 8]


def test_checkpoint_of_eight_devices_opens_on_one(room, method, one_and_eight):
    facts = finish(start('restore', room, room / f'{method}8', devices=1, TINY=method))
    assert facts['step'] == 3
    assert largest_difference(weights(room / f'{method}8' / 'weights.npz'), weights(room / f'{method}8' / 'restored.npz')) == 0.0


def test_one_device_runs_the_fast_convolutions(one_and_eight):
    assert one_and_eight[0]['ynn_convolutions'] == 0


def test_checkpoints_hold_placed_states_whatever_a_step_returns(tmp_path):
    """Before jax 0.8 pmap's results have a placement of their own, into which Orbax restores nothing."""
    add = lambda state, frozen, batch, axis: (jax.tree.map(lambda x: x + 1, state), {})
    batch = np.zeros((jax.local_device_count(), 1), np.float32)
    stepped, _ = parallel.pmapped(add)(parallel.place(np.arange(6, dtype=np.float32)), parallel.place({}), batch)
    state = {'stepped': stepped, 'elsewhere': jax.device_put(np.float32(3), jax.sharding.SingleDeviceSharding(jax.devices()[0]))}
    placed = parallel.place(state)
    saved = checkpoints.Checkpoints(tmp_path)
    saved.save(1, state, {}, 20.0)
    step, found = saved.restore_best(state)
    saved.close()
    assert step == 1
    for name in state:
        assert found[name].sharding == placed[name].sharding
        assert np.array_equal(found[name], state[name])


def free_port():
    with socket.socket() as s:
        s.bind(('localhost', 0))
        return s.getsockname()[1]


def two_processes(room, workdir, steps):
    port = free_port()
    pair = [start('main', room, workdir, steps, port, i, devices=1) for i in range(2)]
    return [finish(p) for p in pair]


@pytest.mark.slow
def test_two_processes_train_one_model_save_and_resume(room):
    facts = two_processes(room, room / 'two', 4)
    assert [f['ones'] for f in facts] == [2, 2]
    first, second = (weights(room / 'two' / f'weights_{i}.npz') for i in range(2))
    assert largest_difference(first, second) == 0.0
    single = finish(start('main', room, room / 'single', 4, 0, 0, devices=2))
    assert single['ones'] == 2
    assert largest_difference(first, weights(room / 'single' / 'weights_0.npz')) < 1e-5
    # stopped at step 2, gone on with: the weights of the uninterrupted run, bit for bit
    two_processes(room, room / 'halves', -2)
    assert not (room / 'halves' / 'results.json').exists()
    two_processes(room, room / 'halves', 4)
    assert largest_difference(first, weights(room / 'halves' / 'weights_0.npz')) == 0.0


def test_the_reader_of_stderr_starts_where_nothing_is_imported_before_it():
    program, *rest = peers.READER
    done = subprocess.run([program, '-S', *rest], input=b'one line\n', capture_output=True, check=True, timeout=60)
    assert done.stderr == b'one line\n'


@pytest.mark.slow
@pytest.mark.parametrize('lost', [0, 1])
def test_a_lost_process_ends_the_other_in_one_line(room, tmp_path, lost):
    """Whichever of two dies, the other ends by itself, says it in one line, and nothing that was saved is lost."""
    flags = [f'--workdir={tmp_path / "run"}', f'--coordinator=localhost:{free_port()}', '--processes=2', '--peer_timeout=10']
    config = f'--config={HERE / "tiny_config.py"}:fakd@{room}'
    env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': f'{HERE.parent}:{HERE}', 'KDSR_CACHE': str(room / 'cache')}
    command = [sys.executable, '-m', 'kdsr.main', config, '--config.steps=100000', *flags]
    logs = [(tmp_path / f'{i}.log').open('w') for i in range(2)]
    start_one = lambda i: subprocess.Popen([*command, f'--process={i}'], env=env, cwd=HERE.parent, stdout=logs[i], stderr=logs[i])
    both = [start_one(0), start_one(1)]
    try:
        deadline = time.time() + 200
        while not list((tmp_path / 'run' / 'resume').glob('[0-9]*')) and time.time() < deadline:
            assert [p.poll() for p in both] == [None, None], (tmp_path / '0.log').read_text()[-2000:]
            time.sleep(0.05)
        both[lost].kill()
        assert both[1 - lost].wait(90) != 0
    finally:
        for process in both:
            process.kill()
    log, deadline = tmp_path / f'{1 - lost}.log', time.time() + 30
    while quiet.LOST not in log.read_text() and time.time() < deadline:  # the reader of its stderr outlives it by a moment
        time.sleep(0.05)
    said = log.read_text()
    assert said.count(quiet.LOST) == 1 and 'Traceback' not in said and '***' not in said
    assert list((tmp_path / 'run' / 'resume').glob('[0-9]*'))


@pytest.mark.parametrize('kind', [jax.errors.JaxRuntimeError, ValueError])
@pytest.mark.parametrize(('text', 'leaves'), [('UNKNOWN: Gloo AllGather failed: Connection reset', True), ('steps=0', False)])
def test_whatever_class_the_error_of_a_lost_process_has(kind, text, leaves, monkeypatch, capsys):
    """jax raises it as one or the other, by what it was doing."""
    left = []
    monkeypatch.setattr(peers, 'leave', lambda: left.append(True))
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    peers.leave_if_lost(kind, kind(text), None)
    assert bool(left) == leaves == (quiet.LOST in capsys.readouterr().err)
    monkeypatch.setattr(jax, 'process_count', lambda: 1)
    peers.leave_if_lost(kind, kind(text), None)
    assert len(left) == leaves
