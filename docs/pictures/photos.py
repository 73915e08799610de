"""docs/pictures/photos.jpg: a photograph that was degraded, and what bicubic, the shipped models and photo_x4's teacher make of it.

python docs/pictures/photos.py teachers/x4plus
"""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from make import joined, panel

from kdsr import cost, evaluate, models
from kdsr.data import degradation_presets, degradations, sources

PICTURE, PRESET, SEED, NUMBER, SIDE = 'coffee', 'realesrgan', 0, 19, 80  # LR pixels of the side


def main(teacher):
    """Draws; `teacher` is the export of the network that taught photo_x4."""
    source = sources.embedded()
    hr = source.hr(source.names.index(PICTURE))
    lr, truth = degradations.degrade(hr, degradation_presets.settings(preset=PRESET), SEED, NUMBER, SIDE)
    unit = np.float32(lr[None]) / np.float32(255)
    networks = {'bicubic': evaluate.bicubic(4), **{name: models.load(name) for name in ('light_x4', 'photo_x4')}}
    networks['its teacher'] = models.load(teacher)
    shown = [panel(['degraded picture', f'{SIDE}x{SIDE}'], lr)]
    for name, fn in networks.items():
        facts = '' if name == 'bicubic' else f'{cost.parameters(fn.variables) / 1e6:.2f} M weights'
        shown.append(panel([name, facts], np.uint8(np.round(255 * np.clip(np.asarray(fn(unit))[0], 0, 1)))))
    shown.append(panel(['truth', ''], truth))
    joined(shown).save(pathlib.Path(__file__).with_name('photos.jpg'), quality=92, subsampling=0)


if __name__ == '__main__':
    main(sys.argv[1])
