"""SRResNet's and SRGAN's generator: krasserm's Keras files, .npz files that name the layers by their place, PyTorch's files."""

import math
import re

import numpy as np

from kdsr.foreign import Converted, keras, names

PLACES = {'conv_in': 'head', 'prelu_in': 'head_prelu', 'conv_mid': 'body', 'bn_mid': 'body_bn', 'conv_out': 'tail'}


# PyTorch's names: of leftthomas (block1 to block8), of Lornatang (trunk, in two generations) and of sgrvinod (conv_block)
FIRST, LAST = (rf'(?:conv{i}|conv_block{i}|conv_block{i}\.conv_block)' for i in (1, 2))
TORCH = (
    (rf'{FIRST}\.0|block1\.0', lambda: 'head'),
    (rf'{FIRST}\.1|block1\.1', lambda: 'head_prelu'),
    (r'block(\d+)\.(conv|bn)(\d)', lambda i, kind, k: f'block{int(i) - 1}/{kind}{k}'),
    (r'block(\d+)\.prelu', lambda i: f'block{int(i) - 1}/prelu'),
    (r'residual_blocks\.(\d+)\.conv_block([12])\.conv_block\.([012])', lambda i, k, n: layer(i, 3 * int(k) - 3 + int(n))),
    (r'trunk\.(\d+)\.rcb\.(\d)', lambda i, n: layer(i, n)),
    (rf'{LAST}\.0|block\d+\.0', lambda: 'body'),
    (rf'{LAST}\.1|block\d+\.1', lambda: 'body_bn'),
    (r'(?:upsampling|subpixel_convolutional_blocks|end)\.(\d+)\.(?:upsample_block\.0|conv)', lambda i: f'up/conv{int(i) + 1}'),
    (r'(?:upsampling|subpixel_convolutional_blocks|end)\.(\d+)\.(?:upsample_block\.2|prelu)', lambda i: f'up/prelu{int(i) + 1}'),
    (r'conv3|conv_block3|conv_block3\.conv_block\.0|end\.\d+', lambda: 'tail'),
)
LEAVES = {'weight': 'gamma', 'bias': 'beta', 'running_mean': 'moving_mean', 'running_var': 'moving_variance'}


def convert(tensors):
    """Converted weights, all sizes read off the file; what PyTorch's files cannot tell is as their authors' code has it."""
    if any(re.match(r'(?:conv_block1\.|conv1\.0|block1\.0)', key) for key in tensors):
        return from_torch(tensors)
    return from_tensorflow(tensors)


def kin(tensors):
    """'msrresnet' where the names are those of BasicSR's SRResNet, which is another network, else ''."""
    return 'msrresnet' if any(re.match(r'upconv1\.|upsample1\.', key) for key in tensors) else ''


def layer(block, place):
    """The house's name of a layer of a block: conv1, bn1, prelu, conv2, bn2."""
    return f'block{int(block) + 1}/{("conv1", "bn1", "prelu", "conv2", "bn2")[int(place)]}'


def from_torch(tensors):
    """Weights in `TORCH`'s names. A PReLU's one slope becomes one per channel, a bias that a convolution lacks becomes 0."""
    last = max(names.numbers(tensors, r'block(\d+)\.'), default=0)  # leftthomas: upsampler and tail
    tensors = {re.sub(rf'^block{last}\.', 'end.', key): array for key, array in tensors.items()} if last > 1 else tensors
    out = {}
    for key, array in tensors.items():
        stem, _, leaf = key.rpartition('.')
        match, name = next(((m, name) for pattern, name in TORCH if (m := re.fullmatch(pattern, stem))), (None, None))
        if not match:
            out[key] = array
            continue
        place = name(*match.groups())
        leaf = 'alpha' if 'prelu' in place else LEAVES.get(leaf, leaf) if 'bn' in place else names.split(key)[1]
        new = keras.place(place, leaf)
        if new in out:
            raise ValueError(f'{key} is {new} once more: the file holds more than one network')
        out[new] = names.transposed(array)
    *_, channels, features = names.shape(out, 'params/head/kernel', tensors)
    wide = lambda key, v: np.broadcast_to(v, features) if key.endswith('/alpha') and v.size == 1 else v
    out = {key: wide(key, array) for key, array in out.items()}
    for key in [k for k in out if k.endswith('/kernel')]:
        out.setdefault(key.replace('/kernel', '/bias'), np.zeros(out[key].shape[-1], np.float32))
    out, scale = names.shuffled(out, features)
    args = {'scale': scale, 'features': features, 'blocks': names.count(out, 'block', tensors), 'channels': channels}
    tutorial = any(key.startswith('subpixel_convolutional_blocks') for key in tensors)
    code = {'tanh': tutorial or last > 1, 'imagenet': tutorial, 'eps': 1e-5}
    return Converted(args | code, out, tuple(code))


def from_tensorflow(tensors):
    """Weights of a Keras file or an .npz. Their pixel shuffle is TensorFlow's, which is the house's."""
    variables = by_place(tensors) if 'conv_in/kernel' in tensors else by_order(tensors)
    variables = {k: v.reshape(-1) if k.endswith('/alpha') else v for k, v in variables.items()}  # Keras: (1, 1, C)
    *_, channels, features = names.shape(variables, 'params/head/kernel', tensors)
    ups = [v.shape[-1] // features for k, v in variables.items() if re.fullmatch(r'params/up/conv\d+/bias', k)]
    scale, blocks = math.isqrt(math.prod(ups)), names.count(variables, 'block', tensors)
    return Converted({'scale': scale, 'features': features, 'blocks': blocks, 'channels': channels}, variables)


def by_order(tensors):
    """Weights of a Keras file, whose layers are called conv2d_7: the network is a chain, so their order tells."""
    kinds = [name for layer in keras.layers(tensors).values() for name in layer]
    blocks = (kinds.count('gamma') - 1) // 2
    parts = (('conv1', 'kernel'), ('bn1', 'gamma'), ('prelu', 'alpha'), ('conv2', 'kernel'), ('bn2', 'gamma'))
    body = [(f'block{i}/{part}', kind) for i in range(1, blocks + 1) for part, kind in parts]
    up = [(f'up/{p}{i}', k) for i in range(1, kinds.count('alpha') - blocks) for p, k in (('conv', 'kernel'), ('prelu', 'alpha'))]
    ends = [('body', 'kernel'), ('body_bn', 'gamma')], [('tail', 'kernel')]
    return keras.named(tensors, [('head', 'kernel'), ('head_prelu', 'alpha'), *body, *ends[0], *up, *ends[1]])


def by_place(tensors):
    """Weights of an .npz with conv_in, prelu_in, block00/conv1, ..., conv_mid, bn_mid, up0/conv, up0/prelu, ..., conv_out."""
    out = {}
    for key, array in tensors.items():
        layer, _, leaf = key.rpartition('/')
        layer = re.sub(r'^block(\d+)/', lambda m: f'block{int(m[1]) + 1}/', PLACES.get(layer, layer))
        layer = re.sub(r'^up(\d+)/(conv|prelu)$', lambda m: f'up/{m[2]}{int(m[1]) + 1}', layer)
        out[keras.place(layer, {'mean': 'moving_mean', 'var': 'moving_variance'}.get(leaf, leaf))] = array
    return out
