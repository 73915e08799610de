"""SRResNet's and SRGAN's generator: krasserm's Keras files, and .npz files that name the layers by their place."""

import math
import re

from kdsr.foreign import Converted, keras, names

PLACES = {'conv_in': 'head', 'prelu_in': 'head_prelu', 'conv_mid': 'body', 'bn_mid': 'body_bn', 'conv_out': 'tail'}


def convert(tensors):
    """Converted weights, all sizes read off the file. Its pixel shuffle is TensorFlow's, which is the house's."""
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
