"""A teacher's images of folders of images, as folders of pairs: to measure how well students imitate it, and to train by.

    python benchmarks/teacher_images.py --model=teachers/rrdb23 --data=Set5,Set14,B100 --out=runs/teacher
    python -m kdsr.evaluate --model=runs/student --data=runs/teacher/Set5_teacher

    python benchmarks/teacher_images.py --model=teachers/srresnet --data=BSDS500,photos@2 --out=runs/teacher
    python -m kdsr.main --config=experiments/teacher.py --config.data.source=folder --config.data.path=runs/teacher/BSDS500_teacher

Writes OUT/<folder>_teacher/HR (the teacher's images, 8 bits) and LR_x<scale>; those that are there are kept. A student that is
trained on them is distilled offline: the teacher sees every image once, and not every patch of every step.
"""

import os
import pathlib
import shutil

import numpy as np
from absl import flags
from PIL import Image

from kdsr import commands, metrics, models
from kdsr.data import sources
from kdsr.data.resize import downscale

MODEL = flags.DEFINE_string('model', None, 'export, run or shipped name', required=True)
DATA = flags.DEFINE_list('data', None, 'folders of images or of pairs, comma-separated; @2 halves the images first', required=True)
OUT = flags.DEFINE_string('out', None, 'where the folders go', required=True)


def main(_):
    """Runs the command."""
    teacher = models.load(MODEL.value)
    s = teacher.scale
    for folder in DATA.value:
        name = pathlib.Path(folder.partition('@')[0]).name
        target = pathlib.Path(OUT.value) / f'{name}_teacher'
        if target.exists():
            continue
        temporary = target.with_name(f'.{target.name}.{os.getpid()}')
        for part in ('HR', f'LR_x{s}'):
            (temporary / part).mkdir(parents=True)
        source, show = sources.folder(folder, scale=s), commands.progress(name)
        try:
            for i, stem in enumerate(source.names):
                hr, lr = source.read(i)
                lr = downscale(hr[: len(hr) // s * s, : hr.shape[1] // s * s], s) if lr is None else lr
                sr = np.asarray(teacher(np.float32(lr[None]) / np.float32(255)))[0]
                for part, image in (('HR', np.uint8(np.round(255 * metrics.quantise(sr)))), (f'LR_x{s}', lr)):
                    Image.fromarray(image).save(temporary / part / f'{stem}.png')
                show(i + 1, len(source))
            os.replace(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


if __name__ == '__main__':
    commands.run(main)
