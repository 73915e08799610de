"""How long does the training loop wait for data, of the embedded photographs and of a folder of 2K PNGs?

    python benchmarks/data_wait.py [--steps=60]

Prints, per source, the share of the training time that the loop stood waiting for its next batch (batch 16, x4, LR patches of 48).

    python benchmarks/data_wait.py --workers=0,1,2 [--steps=30]

prints instead how fast degraded batches are made when nothing consumes them: Real-ESRGAN's degradation of the embedded
photographs, x4, HR patches of 256, batch 16. `CPU ms` is what all processes together are on a processor for one example: beside
other work it says more than the time on the clock. A device at 20 steps of batch 16 a second takes 320 a second. Linux only.
"""

import os
import pathlib
import tempfile
import time

import numpy as np
from absl import flags
from PIL import Image

from kdsr import commands, recipes, stages, writers
from kdsr.data import pipeline, sources

STEPS = flags.DEFINE_integer('steps', 60, 'training steps per source, or batches per number of workers')
WORKERS = flags.DEFINE_list('workers', [], 'measure degraded batches with so many worker processes; 0: with two threads')
PATCH, BATCH, DEMAND = 64, 16, 320  # LR pixels, examples, examples a second


def large_pngs(folder, count=12, height=1356, width=2040):
    """Mosaics of the embedded photographs at the size of DIV2K, as PNG."""
    photos = sources.embedded()
    for i in range(count):
        rows = [[photos.hr((i + j + k) % len(photos)) for k in range(8)] for j in range(6)]
        tiles = [np.concatenate([np.resize(p[:260, :260], (260, 260, 3)) for p in row], 1) for row in rows]
        Image.fromarray(np.concatenate(tiles)[:height, :width]).save(folder / f'{i:04}.png', compress_level=1)


def waited(data, workdir):
    """Share of the time spent waiting in a run on `data`."""
    config = recipes.base(
        name='data_wait',
        student=recipes.model('edsr', blocks=4, features=16),
        steps=STEPS.value,
        log_every=20,
        eval_every=STEPS.value,
        save_every=STEPS.value,
        data=data,
    )
    config.data.validation_images = 1
    config.method = {'name': 'supervised', 'loss': 'l1'}
    return stages.run(config, workdir)['data_wait']


def used(pids):
    """Seconds that these processes have been on a processor."""
    fields = [pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split() for pid in pids]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf('SC_CLK_TCK')


def rate(workers):
    """A row of the table of degraded batches."""
    chosen = pipeline.degrading({'degradation': {'preset': 'realesrgan'}}, 4)
    options = {'scale': 4, 'patch': PATCH, 'batch': BATCH, 'seed': 0, 'degradation': chosen, 'augment': 'mirror'}
    stream = pipeline.train_batches(sources.embedded(), **options, workers=workers)
    pids = [os.getpid(), *(p.pid for p in stream.workers.processes)] if workers else [os.getpid()]
    for _ in range(8):  # what was made before the first one was taken
        next(stream)
    began, before = time.perf_counter(), used(pids)
    for _ in range(STEPS.value):
        next(stream)
    seconds, cpu, count = time.perf_counter() - began, used(pids) - before, STEPS.value * BATCH
    stream.close()
    row = {'workers': str(workers), 'examples/s': count / seconds, 'cores busy': cpu / seconds, 'CPU ms': 1000 * cpu / count}
    return row | {'a core makes/s': count / cpu, f'cores for {DEMAND}/s': DEMAND * cpu / count}


def main(_):
    """Runs both sources, the folder twice: its first pass decodes into the cache."""
    if WORKERS.value:
        rows = [rate(int(count)) for count in WORKERS.value]
        print(writers.table(rows, {name: '' if name == 'workers' else '.1f' for name in rows[0]}))
        return
    with tempfile.TemporaryDirectory() as room:
        room = pathlib.Path(room)
        (room / 'png').mkdir()
        large_pngs(room / 'png')
        png = lambda: recipes.folder(str(room / 'png'), cache_dir=str(room / 'cache'))
        runs = {'embedded photographs': recipes.embedded(), '2K PNGs, first pass': png(), '2K PNGs, later': png()}
        rows = [{'source': k, 'waited for data': waited(v, room / k.replace(' ', '_'))} for k, v in runs.items()]
    print('\n' + writers.table(rows, {'source': '', 'waited for data': '.2%'}))


if __name__ == '__main__':
    commands.run(main)
