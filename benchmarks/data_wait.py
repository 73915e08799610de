"""How long does the training loop wait for data, of the embedded photographs and of a folder of 2K PNGs?

    python benchmarks/data_wait.py [--steps=60]

Prints, per source, the share of the training time that the loop stood waiting for its next batch (batch 16, x4, LR patches of 48).
"""

import pathlib
import tempfile

import numpy as np
from absl import flags
from PIL import Image

from kdsr import commands, recipes, stages, writers
from kdsr.data import sources

STEPS = flags.DEFINE_integer('steps', 60, 'training steps per source')


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


def main(_):
    """Runs both sources, the folder twice: its first pass decodes into the cache."""
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
