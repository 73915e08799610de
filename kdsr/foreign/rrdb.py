"""RRDBNet's weights: files of BasicSR and Real-ESRGAN, of ESRGAN in its two older sets of names, and .npz files in the first's."""

import math
import re

import numpy as np

from kdsr.foreign import Converted, names
from kdsr.models.rrdb import LAYERS, widths

RDB = lambda i, j, k: f'block{i + 1}/dense{j}/conv{k}'
RULES = (
    (r'body\.(\d+)\.rdb(\d)\.conv(\d)', RDB),  # BasicSR
    (r'RRDB_trunk\.(\d+)\.RDB(\d)\.conv(\d)', RDB),  # ESRGAN since 2019
    (r'1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0', RDB),  # ESRGAN in 2018: numbers of the layers of a chain
    (r'conv_first|0', lambda: 'head'),
    (r'conv_body|trunk_conv|1\.sub\.\d+', lambda: 'body'),
    (r'(?:conv_up|upconv)(\d)', lambda i: f'up{i}'),
    (r'conv_hr|HRconv', lambda: 'hr'),
    (r'conv_last', lambda: 'tail'),
)


def convert(tensors):
    """Converted weights, all sizes read off the file.

    The scale by how many pixels the first convolution reads as one, or else by the convolutions that follow an enlargement.
    """
    if any(key.startswith('model.1.sub.') for key in tensors):
        tensors = {key.removeprefix('model.'): array for key, array in tensors.items()}
    variables = names.rename(as_torch(tensors), (*RULES, *chain(tensors)))
    features, channels = names.shape(variables, 'params/tail/kernel', tensors)[2:]
    growth = names.shape(variables, 'params/block1/dense1/conv1/kernel', tensors)[-1]
    inputs = names.shape(variables, 'params/head/kernel', tensors)[2]
    r = math.isqrt(inputs // channels)
    if inputs != r * r * channels or r not in (1, 2, 4):
        raise ValueError(f'its first convolution reads {inputs} channels, which are not 1, 4 or 16 pixels of {channels}')
    enlarged = 2 ** len(names.numbers(variables, r'params/up(\d)/kernel'))
    args = {'scale': enlarged // r, 'features': features}
    variables['params/head/kernel'] = unshuffled(variables['params/head/kernel'], r)
    blocks = names.count(variables, 'block', tensors)
    variables = pushed(variables, features, growth)
    args |= {'blocks': blocks, 'growth': growth, 'channels': channels}
    # one enlargement may be by 3 as well, which is no network here
    return Converted(args if enlarged == 4 else args | {'folds': False}, variables, ('scale',) if enlarged == 2 else ())


def chain(tensors):
    """Rules for the end of ESRGAN's chain of 2018: 3, 6, ... after an enlargement each, and the last two, two apart."""
    last = max(names.numbers(tensors, r'(\d+)\.weight$'), default=0)
    ends = [(str(last - 2), lambda: 'hr'), (str(last), lambda: 'tail')]
    return [*ends, *((str(n), lambda n=n: f'up{n // 3}') for n in range(3, last - 2, 3))]


def as_torch(tensors):
    """An .npz file's arrays (conv_first/kernel `[h, w, I, O]`, ...) as PyTorch has them; those of PyTorch as they are."""
    return {
        re.sub(r'/(kernel|bias)$', lambda m: {'kernel': '.weight', 'bias': '.bias'}[m[1]], key): (
            array.transpose(3, 2, 0, 1) if key.endswith('/kernel') and array.ndim == 4 else array
        )
        for key, array in tensors.items()
    }


def unshuffled(kernel, r):
    """The first convolution's kernel `[h, w, I, O]` with its inputs in the house's order, (dy, dx, c) for PyTorch's (c, dy, dx)."""
    split = kernel.reshape(*kernel.shape[:2], -1, r * r, kernel.shape[-1])
    return np.swapaxes(split, 2, 3).reshape(kernel.shape)


def pushed(variables, features, growth):
    """`variables` with the five convolutions of each dense block cut along their inputs and joined along their outputs.

    Every conv1 ... conv5 reads the block's input and the results before it; 'push<k>' is what they all take from the k-th of
    these, k = 0 ... 4. ValueError where a block lacks one of the convolutions.
    """
    out = {key: array for key, array in variables.items() if not re.search(r'/dense\d/conv\d/', key)}
    outputs = widths(features, growth)
    starts = [0, *(features + growth * i for i in range(LAYERS))]
    for block in sorted({key[: m.end()] for key in variables if (m := re.match(r'params/block\d+/dense\d/', key))}):
        layers = range(1, LAYERS + 1)
        kernels, biases = ([variables.get(f'{block}conv{k}/{leaf}') for k in layers] for leaf in ('kernel', 'bias'))
        shapes = [(3, 3, starts[k], outputs[k - 1]) for k in layers]
        for k, kernel, bias, shape in zip(layers, kernels, biases, shapes, strict=True):
            if kernel is None or bias is None or kernel.shape != shape or bias.shape != shape[3:]:
                found = 'missing' if kernel is None or bias is None else f'{kernel.shape} and {bias.shape}'
                raise ValueError(f'{block}conv{k} must be a kernel {shape} and a bias {shape[3:]}, it is {found}: another model?')
        for source in range(LAYERS):
            shares = [kernel[:, :, starts[source] : starts[source + 1]] for kernel in kernels[source:]]
            out[f'{block}push{source}/kernel'] = np.concatenate(shares, -1)
        out[f'{block}push0/bias'] = np.concatenate(biases)
    return out
