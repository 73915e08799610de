"""What does a teacher make of folders of images? Folders of pairs, to measure how well students imitate it, and to train by.

    python benchmarks/teacher_images.py --model=teachers/rrdb23 --data=Set5,Set14,B100 --out=runs/teacher
    python -m kdsr.evaluate --model=runs/student --data=runs/teacher/Set5_teacher

    python benchmarks/teacher_images.py --model=teachers/srresnet --data=BSDS500,photos@2 --out=runs/teacher
    python -m kdsr.main --config=experiments/teacher.py --config.data.source=folder --config.data.path=runs/teacher/BSDS500_teacher

Writes OUT/<folder>_teacher/HR (the teacher's images, 8 bits), LR_x<scale>, truth/ (what they imitate; not with --notruth) and
teacher.json, by which kdsr knows them for a teacher's: it scores against the truth and, in columns of their own, against the
teacher. Folders that are there are kept; one that was interrupted goes on with the same command. A student that is trained on them
is distilled offline: the teacher sees every image once, and not every patch of every step.

Teachers of degraded photographs move colours: Real-ESRGAN's x4plus the mean of a channel by 3.5 of 255 levels, half of the time by
more. --colour=lr gives their pictures the colours of LR again, by what a Gaussian of 8 LR pixels shows of both.
"""

import json
import os
import pathlib

import numpy as np
import scipy.ndimage
from absl import flags
from PIL import Image

from kdsr import commands, console, metrics, models, writers
from kdsr.data import benchmarks, layouts, sources
from kdsr.data.resize import downscale, imresize
from kdsr.paths import beside, remove, written

MODEL = flags.DEFINE_string('model', None, 'export, run or shipped name', required=True)
DATA = flags.DEFINE_list('data', None, 'folders of images or of pairs, comma-separated; @2 halves the images first', required=True)
OUT = flags.DEFINE_string('out', None, 'where the folders go', required=True)
TRUTH = flags.DEFINE_bool('truth', True, 'also copy what the images imitate; without it students are scored by the teacher alone')
COLOUR = flags.DEFINE_enum('colour', 'teacher', ['teacher', 'lr'], 'whose colours, in the large, the pictures have')
BLUR = 8  # LR pixels: sigma of the Gaussian that shows colours in the large


def main(_):
    """Runs the command."""
    teacher = models.load(MODEL.value)
    s = teacher.scale
    for folder in DATA.value:
        name = pathlib.Path(folder.partition('@')[0]).name
        target = pathlib.Path(OUT.value) / f'{name}_teacher'
        if target.exists():
            old = '' if (target / layouts.CARD).is_file() else f', without {layouts.CARD}: delete it to have it made anew'
            writers.say(f'{target} is there and kept{old}')
            continue
        source = sources.folder(folder, scale=s)
        source = source.take(i for i, shape in enumerate(source.shapes) if min(shape) >= s)
        card = {'teacher': MODEL.value, 'scale': s, 'source': folder, **({'truth': 'truth'} if TRUTH.value else {})}
        card |= {'colour': COLOUR.value} if COLOUR.value != 'teacher' else {}
        part = beside(target, '.part')
        enlarge(teacher, source, part, json.dumps(card, indent=1) + '\n', console.progress(name))
        os.replace(part, target)


def enlarge(teacher, source, part, card, show):
    """Writes what `teacher` makes of `source` to the folder `part`, but for pictures that the same `card` left there."""
    if not (part / layouts.CARD).is_file() or (part / layouts.CARD).read_text() != card:
        remove(part)
        part.mkdir(parents=True)
        (part / layouts.CARD).write_text(card)
    s = teacher.scale
    for i in range(len(source)):
        if (part / 'HR' / f'{source.names[i]}.png').is_file():
            continue
        # of a teacher's pictures the truth, where it is known
        ((stem, lr, hr),) = benchmarks.collect([source.entry(i)], s, downscale, source.where)
        sr = np.asarray(teacher(np.float32(lr[None]) / np.float32(255)))[0]
        images = {
            f'LR_x{s}': lr,
            'truth': hr,
            'HR': np.uint8(np.round(255 * metrics.quantise(sr))),
        }  # HR last: it says the rest is there
        for kind, image in images.items():
            if kind != 'truth' or TRUTH.value:
                (part / kind).mkdir(exist_ok=True)
                with written(part / kind / f'{stem}.png') as file:
                    Image.fromarray(image).save(file, 'PNG')
        show(i + 1, len(source))


def recoloured(sr, lr, scale):
    """`sr` (uint8 `[s*h, s*w, 3]`) with the colours of `lr` (uint8 `[h, w, 3]`) in the large."""
    away = lr - imresize(sr / 255, 1 / scale) * 255
    away = scipy.ndimage.gaussian_filter(away, (BLUR, BLUR, 0), mode='nearest')
    return np.uint8(np.clip(np.rint(sr + imresize(away, scale)), 0, 255))


if __name__ == '__main__':
    commands.run(main)
