"""Keras' weight files (.h5), whose layers are known by their order: auto-made names do not sort in it."""

import itertools

import h5py
import numpy as np

from kdsr.foreign import Unreadable

REMEDY = "save it with model.save_weights('weights.h5') in Keras 2 or TensorFlow"
STATISTICS = {'moving_mean': 'mean', 'moving_variance': 'var'}


def read(path):
    """{'conv2d/kernel': array, ...} in the order of the file's `layer_names`, the network's own.

    The last part of a key is the variable's name: kernel, bias, gamma, beta, moving_mean, moving_variance, alpha.
    Raises Unreadable for a file without that order, OSError and KeyError for a damaged one.
    """
    with h5py.File(path) as file:
        group = file['model_weights'] if 'model_weights' in file else file
        if 'layer_names' not in group.attrs:
            raise Unreadable(f"it has no 'layer_names', the order of its layers: {REMEDY}")
        arrays = {}
        for layer in _texts(group.attrs['layer_names']):
            for weight in _texts(group[layer].attrs['weight_names']):
                arrays[f'{layer}/{leaf(weight)}'] = np.asarray(group[layer][weight])
        return arrays


def leaf(weight):
    """'block1/conv2d_1/kernel:0' -> 'kernel'."""
    return weight.rpartition('/')[2].partition(':')[0]


def layers(tensors):
    """{'conv2d': {'kernel': array, ...}, ...} of what `read` gave, in its order."""
    found = {}
    for key, array in tensors.items():
        layer, _, name = key.rpartition('/')
        found.setdefault(layer, {})[name] = array
    return found


def named(tensors, expected):
    """The weights of a file with the house's names for its layers: {'params/head/kernel': array, ...}.

    Args:
      expected: the network's layers with weights, in order, as (house name, a variable that such a layer has).

    ValueError where the file has another kind of layer at a place, or more or fewer of them.
    """
    out = {}
    for i, (layer, wanted) in enumerate(itertools.zip_longest(layers(tensors).items(), expected), 1):
        if not layer or not wanted or wanted[1] not in layer[1]:
            have = f'{layer[0]!r} ({", ".join(list(layer[1])[:4])})' if layer else 'none'
            want = f'{wanted[0]} with a {wanted[1]}' if wanted else 'none'
            raise ValueError(f'layer {i} of the file is {have}, the model has {want}: is it another model?')
        out |= {place(wanted[0], leaf): array for leaf, array in layer[1].items()}
    return out


def place(layer, leaf):
    """House name of a variable, with its collection: ('bn', 'moving_mean') -> 'batch_stats/bn/mean'."""
    return f'batch_stats/{layer}/{STATISTICS[leaf]}' if leaf in STATISTICS else f'params/{layer}/{leaf}'


def _texts(names):
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]
