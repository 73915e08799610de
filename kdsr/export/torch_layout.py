"""Weights as PyTorch's super-resolution tools name and store them: .safetensors of BasicSR, Real-ESRGAN, RCAN and RDN."""

import functools
import re

import numpy as np
from flax import traverse_util
from safetensors import numpy as safetensors

from kdsr import foreign
from kdsr.export import jobs, program
from kdsr.foreign import formats
from kdsr.models import exports
from kdsr.models.layers import RGB_MEAN
from kdsr.models.rrdb import LAYERS, fold, widths

PACKAGES = ('safetensors',)


def plan(made, options):
    """The one job; ValueError for a network that has no layout known to PyTorch's tools. `options` are not needed."""
    name = made.network.card['model']
    if name not in FAMILIES:
        raise ValueError(f'no PyTorch tool has a layout for a {name}; there is one for {", ".join(FAMILIES)}')
    return [jobs.Job(f'{made.name}.safetensors', functools.partial(write, made, name), PACKAGES, 0.0)]


def write(made, name, path):
    """Writes the tensors, float32, and converts them back: they must be the same weights bit for bit (ValueError)."""
    weights = exports.flatten(made.network.variables)
    tensors = FAMILIES[name]({key.removeprefix('params/'): np.asarray(v) for key, v in weights.items()}, made.network.module)
    path.write_bytes(safetensors.save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, {'format': 'pt'}))
    args, variables, assumed = foreign.model(name).convert(formats.read(path).arrays)
    exports.check(variables, made.network.variables, f'{name}, as read again,')
    if changed := [key for key, value in variables.items() if not np.array_equal(value, weights[key])]:
        raise ValueError(f'read again, {", ".join(changed)} are other weights')
    module = made.network.module
    unlike = {key: getattr(module, key) for key, value in args.items() if value != getattr(module, key)}
    if lost := [key for key in unlike if key not in assumed]:
        raise ValueError(f'read again, it is another network: {", ".join(lost)}')
    more = ''.join(f' --arg {key}={value!r}' for key, value in unlike.items())
    again = made.network.with_variables(traverse_util.unflatten_dict(variables, sep='/'))
    return {
        'checks': [program.difference(made, made.shapes[0], again)],
        'tensors': len(tensors),
        'not in the file': {key: getattr(module, key) for key in assumed},
        'tools': TOOLS[name],
        'read': [f'python -m kdsr.convert {made.name}.safetensors --model={name} --out=EXPORT{more}'],
    }


def renamed(weights, rules):
    """{'block1/conv1/kernel': `[h, w, I, O]`, ...} -> {'body.0.conv1.weight': `[O, I, h, w]`, ...}, by (pattern, name) pairs."""
    tensors = {}
    for key, array in weights.items():
        stem, _, leaf = key.rpartition('/')
        match, name = next((m, name) for pattern, name in rules if (m := re.fullmatch(pattern, stem)))
        tensors[f'{name(*map(int, match.groups()))}.{"bias" if leaf == "bias" else "weight"}'] = transposed(array)
    return tensors


def transposed(array):
    """A convolution's kernel `[h, w, I, O]` -> `[O, I, h, w]`, anything else as it is."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def shuffled(weights, channels):
    """`weights` with the outputs of up/convN in the order c*r*r + dy*r + dx, PyTorch's; the house's is (dy*r + dx)*C + c."""

    def order(array):
        split = array.reshape(*array.shape[:-1], array.shape[-1] // channels, channels)
        return np.swapaxes(split, -1, -2).reshape(array.shape)

    return {key: order(array) if re.match(r'up/conv\d+/', key) else array for key, array in weights.items()}


def edsr(weights, module):
    """BasicSR's names; its mean colour and range of 255 are in its code. It has no `direct` tail: that is SwinIR's upsampler."""
    rules = (
        (r'head', lambda: 'conv_first'),
        (r'block(\d+)/conv(\d)', lambda i, k: f'body.{i - 1}.conv{k}'),
        (r'body', lambda: 'conv_after_body'),
        (r'up/conv(\d+)', lambda i: f'upsample.{2 * i - 2}'),
        (r'tail', lambda: 'conv_last'),
    )
    return renamed(shuffled(weights, module.channels if module.direct else module.features), rules)


def rcan(weights, module):
    """The original code's names, and its colour shift as the convolutions that it is there."""
    rules = (
        (r'head', lambda: 'head.0'),
        (r'group(\d+)/block(\d+)/conv(\d)', lambda g, b, k: f'body.{g - 1}.body.{b - 1}.body.{2 * k - 2}'),
        (r'group(\d+)/block(\d+)/attention/squeeze', lambda g, b: f'body.{g - 1}.body.{b - 1}.body.3.conv_du.0'),
        (r'group(\d+)/block(\d+)/attention/excite', lambda g, b: f'body.{g - 1}.body.{b - 1}.body.3.conv_du.2'),
        (r'group(\d+)/conv', lambda g: f'body.{g - 1}.body.{module.blocks}'),
        (r'body', lambda: f'body.{module.groups}'),
        (r'up/conv(\d+)', lambda i: f'tail.0.{2 * i - 2}'),
        (r'tail', lambda: 'tail.1'),
    )
    return colour_shift(module) | renamed(shuffled(weights, module.features), rules)


def colour_shift(module):
    """sub_mean and add_mean of the original EDSR and RCAN; {} for other images than RGB, where there are none."""
    if module.channels != 3:
        return {}
    same, shift = np.eye(3, dtype=np.float32)[..., None, None], np.float32(module.rgb_range) * np.float32(RGB_MEAN)
    return {'sub_mean.weight': same, 'sub_mean.bias': -shift, 'add_mean.weight': same, 'add_mean.bias': shift}


def rdn(weights, module):
    """The original code's names."""
    ups = sum(key.startswith('up/') for key in weights) // 2
    rules = (
        (r'head(\d)', lambda i: f'SFENet{i}'),
        (r'block(\d+)/conv(\d+)', lambda b, i: f'RDBs.{b - 1}.convs.{i - 1}.conv.0'),
        (r'block(\d+)/fuse', lambda b: f'RDBs.{b - 1}.LFF'),
        (r'fuse', lambda: 'GFF.0'),
        (r'body', lambda: 'GFF.1'),
        (r'up/conv(\d+)', lambda i: f'UPNet.{2 * i - 2}'),
        (r'tail', lambda: f'UPNet.{2 * ups}'),
    )
    return renamed(shuffled(weights, module.growth), rules)


def rrdb(weights, module):
    """BasicSR's names, which are those of Real-ESRGAN and of ESRGAN's newer files."""
    rules = (
        (r'head', lambda: 'conv_first'),
        (r'block(\d+)/dense(\d)/conv(\d)', lambda i, j, k: f'body.{i - 1}.rdb{j}.conv{k}'),
        (r'body', lambda: 'conv_body'),
        (r'up(\d)', lambda i: f'conv_up{i}'),
        (r'hr', lambda: 'conv_hr'),
        (r'tail', lambda: 'conv_last'),
    )
    weights = joined(weights, module.features, module.growth)
    kernel, r = weights['head/kernel'], fold(module.scale, module.folds)
    split = kernel.reshape(*kernel.shape[:2], r * r, -1, kernel.shape[-1])  # inputs (dy, dx, c) -> (c, dy, dx)
    return renamed(weights | {'head/kernel': np.swapaxes(split, 2, 3).reshape(kernel.shape)}, rules)


def joined(weights, features, growth):
    """`weights` with 'push<k>' of each dense block, cut along its outputs and joined along the inputs: conv1 ... conv5."""
    out = {key: array for key, array in weights.items() if '/push' not in key}
    outputs = widths(features, growth)
    for block in sorted({key.partition('push')[0] for key in weights if '/push' in key}):
        for k in range(LAYERS):
            # push<source> has the outputs of the convolutions from number `source` on
            cut = lambda source, leaf, k=k, block=block: np.split(
                weights[f'{block}push{source}/{leaf}'], np.cumsum(outputs[source:])[:-1], -1
            )[k - source]
            out[f'{block}conv{k + 1}/kernel'] = np.concatenate([cut(source, 'kernel') for source in range(k + 1)], 2)
            out[f'{block}conv{k + 1}/bias'] = cut(0, 'bias')
    return out


def srvgg(weights, module):
    """Real-ESRGAN's names: the layers' numbers, convolutions and PReLUs by turns."""
    rules = (
        (r'head', lambda: 'body.0'),
        (r'head_prelu', lambda: 'body.1'),
        (r'conv(\d+)', lambda i: f'body.{2 * i}'),
        (r'prelu(\d+)', lambda i: f'body.{2 * i + 1}'),
        (r'up/conv1', lambda: f'body.{2 * module.blocks + 2}'),
    )
    return renamed(shuffled(weights, module.channels), rules)


FAMILIES = {'edsr': edsr, 'rcan': rcan, 'rdn': rdn, 'rrdb': rrdb, 'srvgg': srvgg}
TOOLS = {
    'edsr': 'BasicSR',
    'rcan': 'the original code, spandrel, chaiNNer',
    'rdn': "the original code, EDSR-PyTorch's RDN",
    'rrdb': 'BasicSR, Real-ESRGAN; of growth 32 spandrel, chaiNNer',
    'srvgg': 'Real-ESRGAN, spandrel, chaiNNer',
}
