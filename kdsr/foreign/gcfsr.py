"""GCFSR's weights: files of github.com/hejingwenhejingwen/GCFSR."""

import re

import numpy as np

from kdsr.foreign import Converted, names
from kdsr.models.gcfsr import LEAST
from kdsr.models.stylegan import width


def convert(tensors):
    """Converted weights; a file tells all sizes, but neither the scale nor the one at which the condition is 1.

    No kernel is flipped: `stylegan.doubled` enlarges as PyTorch's transposed convolution does. The buffers of noise are left out:
    their sizes are not those of the layers, and the released code never reads them.
    """
    out_size = LEAST << (1 + max(names.numbers(tensors, r'conv_body_down\.(\d+)\.'), default=-1))
    sides = [out_size >> i for i in range(out_size.bit_length() - LEAST.bit_length() + 1)]
    variables = names.rename(as_layers(tensors), rules(sides))
    features = names.shape(variables, 'params/start/kernel', tensors)[-1]
    last = names.shape(variables, 'params/encode4/kernel', tensors)[-1]
    if last == 2 * (features // 2) and features == width(LEAST):
        raise ValueError(f'its final_down2 makes {last} channels and not {last // 2}: GCFSR_blind is another network')
    variables['params/styles/kernel'] = flattened(variables['params/styles/kernel'], last)
    style = variables['params/styles/kernel'].shape[-1] // (2 * len(sides))
    full_scale = max(4, out_size // 16)  # 64 at 1024 px and 32 at 512
    args = {'scale': 4, 'out_size': out_size, 'narrow': features / width(LEAST), 'style': style, 'full_scale': full_scale}
    channels = names.shape(variables, f'params/encode{out_size}/kernel', tensors)[2]
    return Converted(args | {'channels': channels}, variables, ('scale', 'full_scale'))


def card(args):
    """The scales that such a network is trained for: 4, 8, ..., and that at which the condition is 1."""
    return {'scales': sorted({args['scale'], *(4 << i for i in range(5) if 4 << i <= args['full_scale'])})}


def rules(sides):
    """Those of `names.rename` for a network with features of these sides, the largest first."""
    up = sides[-2::-1]
    parts = (
        (r'', lambda layer: layer),
        (r'\.strength', lambda layer: f'{layer}/noise'),
        (r'\.activate', lambda layer: layer),
        (r'\.modulated_conv', lambda layer: f'{layer}/conv'),
        (r'\.modulated_conv\.modulation', lambda layer: f'{layer}/conv/modulation'),
    )
    layers = (
        (r'style_conv1', lambda: f'mod{LEAST}'),
        (r'style_convs\.(\d+)', lambda i: f'{"mod" if i % 2 else "up"}{up[i // 2]}'),
        (r'to_rgb1', lambda: f'rgb{LEAST}'),
        (r'to_rgbs\.(\d+)', lambda i: f'rgb{up[i]}'),
    )
    return (
        (r'conv_body_first\.\d', lambda: f'encode{sides[0]}'),
        (r'conv_body_down\.(\d+)\.\d', lambda i: f'encode{sides[i + 1]}'),
        (r'final_conv\.\d', lambda: 'start'),
        (r'final_down1\.\d', lambda: 'encode8'),
        (r'final_down2\.\d', lambda: 'encode4'),
        (r'final_linear', lambda: 'styles'),
        (r'condition_scale1\.(\d+)', lambda i: f'keep{sides[i]}'),
        (r'condition_scale2\.(\d+)', lambda i: f'inject{sides[i]}'),
        (r'condition_shift\.(\d+)\.0', lambda i: f'shift{sides[i]}'),
        *((p + q, lambda *i, f=f, g=g: g(f(*i))) for p, f in layers for q, g in parts),
        (r'noises\.noise\d+', None),
    )


def as_layers(tensors):
    """The tensors with modulated kernels `[O, I, h, w]`, biases `[O]`, and strengths of noise called so, not weights."""
    found = {}
    for key, array in tensors.items():
        if re.fullmatch(r'style_conv\w*(\.\d+)?\.weight', key):
            key = key.replace('.weight', '.strength')
        array = array[0] if array.ndim == 5 else array.reshape(-1) if key.endswith('.bias') else array
        found[key] = array
    return found


def flattened(kernel, channels):
    """A dense kernel `[channels*4*4, O]` that reads PyTorch's flattened features -> `[4*4*channels, O]`, the house's order."""
    return np.moveaxis(kernel.reshape(channels, 4 * 4, -1), 0, 1).reshape(kernel.shape)
