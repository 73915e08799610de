"""VGG16 and VGG19: torchvision's files and Caffe's in its names, Keras' .h5, and .npz files in the house's names."""

import re

import jax
import jax.numpy as jnp

from kdsr.foreign import Converted, names
from kdsr.models import vgg


def convert(tensors):
    """Converted weights of the convolutions; dense layers are left out.

    Names cannot tell whose weights they are: `weights`, which decides the preprocessing, is taken as 'torchvision' for
    PyTorch's names and for .npz, and as 'caffe' for Keras' names (Keras' weights are Caffe's).
    """
    keras = any(re.match(r'block\d_conv\d/', key) for key in tensors)
    variables = torchs(tensors) if any(key.startswith('features.') for key in tensors) else by_name(tensors)
    depth = depth_of(len({key.split('/')[1] for key in variables if key.startswith('params/')}))
    return Converted({'depth': depth, 'weights': 'caffe' if keras else 'torchvision'}, variables, ('weights',))


def depth_of(convolutions):
    """16 or 19, by the number of convolutions; ValueError for another number."""
    depths = {len(vgg.layers(depth)): depth for depth in vgg.BLOCKS}
    if convolutions not in depths:
        raise ValueError(f'it has {convolutions} convolutions of a VGG, VGG16 has 13 and VGG19 16: is it another model?')
    return depths[convolutions]


def torchs(tensors):
    """Weights called features.0, features.2, ...: what lies between is activations and poolings, so their order tells."""
    numbers = sorted(names.numbers(tensors, r'features\.(\d+)\.'))
    if any(array.ndim == 1 and key.endswith('.weight') for key, array in tensors.items()):
        raise ValueError('it is a VGG with batch normalisation, such as vgg16_bn: use the plain vgg16 or vgg19')
    layer = dict(zip(numbers, (f'conv{s}_{k}' for s, k in vgg.layers(depth_of(len(numbers)))), strict=True))
    return names.rename(tensors, [(r'features\.(\d+)', layer.get), (r'classifier\..*', None)])


def by_name(tensors):
    """Weights called block1_conv1 (Keras) or conv1_1; kernel and bias by their rank: old Keras files name them W_1 and b_1."""
    out = {}
    for key, array in tensors.items():
        if match := re.fullmatch(r'(?:block(\d)_conv|conv(\d)_)(\d)/.*', key):
            out[f'params/conv{match[1] or match[2]}_{match[3]}/{"kernel" if array.ndim == 4 else "bias"}'] = array
    return out


def network(args):
    """(module up to the last convolution, example input) of these arguments."""
    s, k = vgg.layers(args['depth'])[-1]
    return vgg.VGG(**{'taps': (f'relu{s}_{k}',), **args}), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
