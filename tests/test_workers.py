"""Worker processes: the batches of one process bit for bit, errors that arrive, no device, and no life after their trainer."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import sent
import tiny

from kdsr import recipes
from kdsr.data import cache, pipeline, prepare, sources, workers


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """A folder with six pictures of 64x80, which is also the cache."""
    folder = tmp_path_factory.mktemp('workers')
    tiny.folder(folder / 'photos')
    return folder


@pytest.fixture(scope='module')
def photos(room):
    return sources.folder(str(room / 'photos'), scale=2, cache_dir=str(room))


def first(count, source, **values):
    """The first `count` batches as [(lr, hr)]."""
    stream = pipeline.train_batches(source, **{'scale': 2, 'patch': 8, 'batch': 4, 'seed': 3, **values})
    try:
        return [(b.lr, b.hr) for b, _ in zip(stream, range(count), strict=False)]
    finally:
        stream.close()


def agree(found, expected):
    np.testing.assert_array_equal([lr for lr, _ in found], [lr for lr, _ in expected], strict=True)
    np.testing.assert_array_equal([hr for _, hr in found], [hr for _, hr in expected], strict=True)


@pytest.mark.parametrize('count', [1, 2, 3])
def test_batches_are_those_of_threads_from_any_start(photos, count):
    values = {}
    if count == 2:  # degraded, as the workers are made for; 1 and 3: crops, in Y where one process may be ahead
        block = {'preset': 'realesrgan', 'canvas': 0, 'draws': 'batch', 'pool': 12}
        values = {'degradation': pipeline.degrading({'degradation': block}, 2), 'augment': 'mirror'}
    elif count == 3:
        values = {'colour': 'y'}
    alone = first(9, photos, threads=0, **values)
    agree(first(7, photos, start=2, workers=count, **values), alone[2:])


def test_two_trainers_with_workers_see_the_batches_of_one(photos):
    whole = first(2, photos, start=5)
    halves = [first(2, photos, start=5, workers=1, process_index=p, process_count=2) for p in (0, 1)]
    agree([tuple(map(np.concatenate, zip(*parts, strict=True))) for parts in zip(*halves, strict=True)], whole)


def test_every_source_reaches_a_worker(room, tmp_path):
    """Sub-images from disk, and a source of a person's own, which is opened again there."""
    prepare.prepare(str(room / 'photos'), tmp_path / 'cut', size=32, step=32)
    for block in recipes.data('array_record', path=str(tmp_path / 'cut')), recipes.data('own.photos', number=7).lock():
        source = sources.open_source(block, 2)
        agree(first(2, source, workers=1), first(2, source))


def test_what_cannot_be_sent_is_named(photos):
    odd = dataclasses.replace(photos, read=lambda i: photos.read(i), where="'my photos'")
    with pytest.raises(ValueError, match="config.data.workers=2: the source of 'my photos' cannot be sent to another process"):
        first(1, odd, workers=2)


def test_a_worker_has_no_jax_and_prints_beside_the_batches(capfd):
    team = workers.Workers(sent.about, 1, 'nothing')
    assert team(0) == team(1) == (team.processes[0].pid, False, 'cpu')
    team.close()
    assert 'a source of one prints this' in capfd.readouterr().err


def test_making_examples_needs_no_jax():
    program = 'import sys, kdsr.data.examples, kdsr.data.sources; print("jax" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stdout == 'False\n'


def test_errors_arrive_and_do_not_hang():
    team = workers.Workers(sent.failing, 1, 'nothing')
    with pytest.raises(OSError, match='Input/output error.*photo.png') as e:
        team(1)
    assert 'in failing' in e.value.__notes__[0]
    with pytest.raises(RuntimeError, match='Shy: photo.png: is torn'):
        team(2)
    assert team(0) == 0  # it goes on
    for _ in range(2):
        with pytest.raises(ChildProcessError, match='config.data.workers=1 is gone .exit status 3'):
            team(3)
    team.close()


def test_a_cache_that_changed_is_told(photos):
    """Between the start of the run and that of its workers."""
    stale = cache.Mapped(photos.read.args[0].path, {'images': []}, None)
    with pytest.raises(OSError, match='has changed since the run began, because a picture has: start the run again'):
        first(1, dataclasses.replace(photos, read=stale), workers=2)


def test_close_ends_the_processes_at_once(photos):
    stream = pipeline.train_batches(photos, scale=2, patch=8, batch=4, seed=3, workers=2)
    next(stream)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 2 and all(p.returncode == -signal.SIGKILL for p in stream.workers.processes)


TRAINER = """
import os, sys, time
import sent
from kdsr.data import workers
team = workers.Workers(sent.about, 2, 'nothing')
print(*[p.pid for p in team.processes], {team(k)[0] for k in range(4)} <= {p.pid for p in team.processes}, flush=True)
time.sleep(100)
"""  # without a guard of its main module


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_outlive_signals_of_the_group_but_not_their_trainer():
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    trainer = subprocess.Popen([sys.executable, '-c', TRAINER], env=env, stdout=subprocess.PIPE, text=True)
    *pids, right = trainer.stdout.readline().split()
    assert right == 'True' and len(pids) == 2
    pids = [int(pid) for pid in pids]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    time.sleep(0.2)
    assert all(map(alive, pids))
    trainer.kill()
    trainer.wait()
    trainer.stdout.close()
    deadline = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, pids))
