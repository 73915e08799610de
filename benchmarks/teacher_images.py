"""A teacher's images of benchmark folders as benchmark folders, to measure how well students imitate it.

    python benchmarks/teacher_images.py --model=teachers/rrdb23 --data=Set5,Set14,B100 --out=runs/teacher
    python -m kdsr.evaluate --model=runs/student --data=runs/teacher/Set5_teacher

Writes OUT/<set>_teacher/HR (the teacher's images, 8 bits) and LR_x<scale>; sets that are there are kept.
"""

import os
import pathlib
import shutil

import numpy as np
from absl import flags
from PIL import Image

from kdsr import commands, metrics, models
from kdsr.data import benchmarks

MODEL = flags.DEFINE_string('model', None, 'export, run or shipped name', required=True)
DATA = flags.DEFINE_list('data', None, 'benchmark folders, comma-separated', required=True)
OUT = flags.DEFINE_string('out', None, 'where the folders go', required=True)


def main(_):
    """Runs the command."""
    teacher = models.load(MODEL.value)
    for folder in map(pathlib.Path, DATA.value):
        target = pathlib.Path(OUT.value) / f'{folder.name}_teacher'
        if target.exists():
            continue
        temporary = target.with_name(f'.{target.name}.{os.getpid()}')
        pairs = {'HR': temporary / 'HR', 'LR': temporary / f'LR_x{teacher.scale}'}
        for path in pairs.values():
            path.mkdir(parents=True)
        examples = benchmarks.read(folder, teacher.scale)
        try:
            for i, (name, lr, _) in enumerate(examples, 1):
                sr = np.asarray(teacher(np.float32(lr[None]) / np.float32(255)))[0]
                Image.fromarray(np.uint8(np.round(255 * metrics.quantise(sr)))).save(pairs['HR'] / f'{name}.png')
                Image.fromarray(lr).save(pairs['LR'] / f'{name}.png')
                commands.progress(folder.name, i, len(examples))
            os.replace(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


if __name__ == '__main__':
    commands.run(main)
