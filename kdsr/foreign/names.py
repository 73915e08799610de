"""From PyTorch's names and layouts to the house's: rules, the channels before a pixel shuffle, sizes read off shapes."""

import math
import re

import numpy as np

from kdsr.models.layers import RGB_MEAN

HALF = 2.0**-8  # relative, what rounding to bfloat16 changes at most

ENDS = (  # what EDSR, RCAN and SAN share, in EDSR-PyTorch's names and in BasicSR's
    (r'head\.0|conv_first', lambda: 'head'),
    (r'tail\.0\.(\d+)', lambda i: f'up/conv{i // 2 + 1}'),
    (r'upsample\.(\d+)', lambda i: f'up/conv{i // 2 + 1}'),
    (r'tail\.1|conv_last', lambda: 'tail'),
)


def rename(tensors, rules):
    """{'body.0.weight': `[O, I, h, w]`, ...} -> {'params/block1/kernel': `[h, w, I, O]`, ...}.

    Args:
      rules: (pattern, name) pairs. The first pattern that matches a whole name (without its '.weight' or '.bias') decides;
        `name` is a function of the pattern's groups, taken as numbers, or None for tensors that are left out.

    A name that no rule knows is kept: `exports.check` will list it. ValueError where two tensors get the same name.
    """
    out, origin = {}, {}
    for key, array in tensors.items():
        stem, leaf = split(key)
        match, name = next(((m, name) for pattern, name in rules if (m := re.fullmatch(pattern, stem))), (None, None))
        if match and not name:
            continue
        new = '/'.join(filter(None, ('params', name(*(int(g) for g in match.groups() if g)), leaf))) if match else key
        if new in out:
            raise ValueError(f'{key} and {origin[new]} are both {new}: the file holds more than one network')
        out[new], origin[new] = transposed(array), key
    return out


NORM = {  # PyTorch's names of what a batch norm has
    'weight': 'params/{}/gamma',
    'bias': 'params/{}/beta',
    'running_mean': 'batch_stats/{}/mean',
    'running_var': 'batch_stats/{}/var',
}


def rename_normed(tensors, rules):
    """`rename` of a network with batch norm: what has a running mean gets gamma, beta and, in 'batch_stats', mean and var.

    The names in `rules` are functions of the pattern's groups as texts.
    """
    out, origin = {}, {}
    for key, array in tensors.items():
        stem, _, leaf = key.rpartition('.')
        match, name = next(((m, name) for pattern, name in rules if (m := re.fullmatch(pattern, stem))), (None, None))
        if match and not name:
            continue
        layer = match and name(*match.groups())
        form = NORM.get(leaf) if f'{stem}.running_mean' in tensors else f'params/{{}}/{split(key)[1]}'
        new = form.format(layer) if match and form else key
        if new in out:
            raise ValueError(f'{key} and {origin[new]} are both {new}: the file holds more than one network')
        out[new], origin[new] = transposed(array), key
    return out


def split(key):
    """'head.0.weight' -> ('head.0', 'kernel'); 'gamma' -> ('gamma', '')."""
    stem, _, leaf = key.rpartition('.')
    return (stem, {'weight': 'kernel', 'bias': 'bias'}[leaf]) if leaf in ('weight', 'bias') else (key, '')


def transposed(array):
    """A convolution's kernel `[O, I, h, w]` -> `[h, w, I, O]`, a matrix `[O, I]` -> `[I, O]`, anything else as it is."""
    return array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim, range(array.ndim)))


def shuffled(variables, channels):
    """(variables, scale): the convolutions params/up/convN with their outputs in the house's order, and the factor of all.

    PyTorch's PixelShuffle takes output channel c*r*r + dy*r + dx, the house's (dy*r + dx)*C + c. `channels` is C.
    """
    out, scale = dict(variables), 1
    for key, array in variables.items():
        if re.fullmatch(r'params/up/conv\d+/(kernel|bias)', key):
            r = math.isqrt(array.shape[-1] // channels)
            if r * r * channels != array.shape[-1]:
                raise ValueError(f'{key} makes {array.shape[-1]} channels, which no pixel shuffle brings to {channels}')
            split = array.reshape(*array.shape[:-1], channels, r * r)
            out[key] = np.swapaxes(split, -1, -2).reshape(array.shape)
            scale *= r if key.endswith('bias') else 1
    return out, scale


def shape(variables, key, tensors):
    """Shape of a tensor that sizes are read from; ValueError, with what the file has instead, where there is none."""
    if key not in variables or variables[key].ndim != 4:
        raise ValueError(f'no convolution in it is {key}: is it another model? It begins with {beginning(tensors)}')
    return variables[key].shape


def numbers(keys, pattern):
    """Numbers that the group of `pattern` takes at the start of names, e.g. those of 'block1', 'block2' -> {1, 2}."""
    return {int(m[1]) for key in keys if (m := re.match(pattern, key))}


def count(variables, unit, tensors):
    """How many of params/block1, params/block2, ... there are (unit 'block'); ValueError where there is none."""
    found = numbers(variables, rf'params/{unit}(\d+)/')
    if not found:
        raise ValueError(f'nothing in it is {unit}1: is it another model? It begins with {beginning(tensors)}')
    return len(found)


def beginning(tensors):
    """Names and shapes of the first few tensors."""
    return ', '.join(f'{k} {v.shape}' for k, v in list(tensors.items())[:4])


def colour_range(tensors):
    """{'rgb_range': 255.0} from the fixed colour shift of EDSR, RCAN and SAN, {} where the file has none.

    ValueError where the shift is not DIV2K's mean times a range, which is all that these models can do.
    """
    if 'sub_mean.bias' not in tensors:
        return {}
    shift, mean = -tensors['sub_mean.bias'], np.float32(RGB_MEAN)
    matrix = tensors.get('sub_mean.weight', np.eye(3)).squeeze()
    scale, error = float(np.round(shift.mean() / mean.mean(), 3)), 1e-3
    if near := [known for known in (255.0, 1.0) if abs(scale - known) < HALF * known]:
        scale, error = near[0], HALF  # a file in half precision has 254.96
    alike = lambda a, b: a.shape == b.shape and np.allclose(a, b, rtol=error, atol=1e-5)
    if not alike(shift, scale * mean) or not alike(matrix, np.eye(3)):
        found = ', '.join(f'{value:.3f}' for value in shift)
        raise ValueError(f'its colour shift ({found}) is not that of DIV2K, (0.4488, 0.4371, 0.4040) times a range')
    return {'rgb_range': scale}


def generator(tensors, rules, direct=False):
    """(variables, args, assumed) of EDSR, RCAN and SAN as far as they are alike: head, upsampler and colours.

    `direct`: the upsampler gives the image and not features.
    """
    variables = rename(tensors, [(r'(?:sub|add)_mean', None), *rules, *ENDS])
    *_, channels, features = shape(variables, 'params/head/kernel', tensors)
    variables, scale = shuffled(variables, channels if direct else features)
    colours = colour_range(tensors)
    args = {'scale': scale, 'features': features, 'rgb_range': 255.0, 'channels': channels, **colours}
    return variables, args, () if colours else ('rgb_range',)
