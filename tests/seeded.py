"""Weights of PyTorch files drawn by numpy, each tensor by its own name: what goldens of PyTorch's code were computed with."""

import functools
import re
import zlib

import numpy as np

from kdsr import models
from kdsr.models import exports

STEM = {'conv1a': 'Conv2d_1a_3x3', 'conv2a': 'Conv2d_2a_3x3', 'conv2b': 'Conv2d_2b_3x3', 'conv3b': 'Conv2d_3b_1x1'}
STEM['conv4a'] = 'Conv2d_4a_3x3'
LITE0 = {'stem': '_conv_stem', 'stem_bn': '_bn0', 'head': '_conv_head', 'head_bn': '_bn1', 'classes': '_fc'}
PARTS = {'': '_depthwise_conv', 'expand': '_expand_conv', 'expand_bn': '_bn0', 'bn': '_bn1', 'project': '_project_conv'}
PARTS['project_bn'] = '_bn2'
LEAVES = {'kernel': 'weight', 'gamma': 'weight', 'beta': 'bias', 'mean': 'running_mean', 'var': 'running_var', 'bias': 'bias'}


def draw(shapes):
    """{name: float32} of {name: shape}: kernels by He's law, factors of batch norm about 1, the rest about 0."""
    out = {}
    for name, shape in shapes.items():
        x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
        if len(shape) > 1:
            x *= np.sqrt(2 / np.prod(shape[1:]))
        else:
            x = np.exp(0.1 * x) if name.endswith(('.weight', '.running_var')) else 0.1 * x
        out[name] = np.float32(x)
    return out


@functools.cache
def state_dict(model):
    """The whole file of 'efficientnet_lite0', or of 'inception_fid' with the classes that FID's file has besides."""
    found = {}
    for key, value in exports.flatten(models.shapes(models.build(model))).items():
        _, layer, leaf = re.fullmatch(r'(params|batch_stats)/(.*)/(\w+)', key).groups()
        order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(value.shape), range(len(value.shape)))
        found[f'{NAMES[model](layer)}.{LEAVES[leaf]}'] = tuple(value.shape[i] for i in order)
    if model == 'inception_fid':
        found |= {'fc.weight': (1008, 2048), 'fc.bias': (1008,)}
    return draw(found)


def inception_name(layer):
    """'mixed5b/branch1x1/bn' -> 'Mixed_5b.branch1x1.bn', 'conv1a' -> 'Conv2d_1a_3x3.conv'."""
    place, kind = layer.removesuffix('/bn'), 'bn' if layer.endswith('/bn') else 'conv'
    return f'{STEM.get(place) or place.replace("mixed", "Mixed_").replace("/", ".")}.{kind}'


def lite0_name(layer):
    """'block2/expand_bn' -> '_blocks.1._bn0', 'stem' -> '_conv_stem'."""
    match = re.fullmatch(r'block(\d+)/?(\w*)', layer)
    return f'_blocks.{int(match[1]) - 1}.{PARTS[match[2]]}' if match else LITE0[layer]


NAMES = {'inception_fid': inception_name, 'efficientnet_lite0': lite0_name}


def image(height, width):
    """A smooth RGB image in [0, 1], `[1, H, W, 3]`."""
    rows, columns = np.mgrid[:height, :width]
    return np.float32(0.5 + 0.5 * np.stack([np.sin(rows / 5 + columns / 9 + c) for c in range(3)], -1))[None]
