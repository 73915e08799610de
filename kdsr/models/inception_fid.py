"""InceptionV3 in the form that FID is defined by, which is not torchvision's in the last details."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from kdsr.models.layers import NHWC, at_least_float32, conv, uniform
from kdsr.models.norms import BatchNorm
from kdsr.models.pooling import mean
from kdsr.models.vgg import check_image

SIDE = 299  # pixels: what FID's pictures are resized to
SMALLEST = 75  # pixels, below which a pooling leaves nothing
# Of each kind of block its branches, each a chain of (name, channels, kernel, stride); None: the block's own number of channels.
# Two names at the end of a chain both take what comes before them. 'pool' follows its pooling.
ROW, COLUMN = (1, 7), (7, 1)
BRANCHES = {
    'a': (
        (('branch1x1', 64, (1, 1), 1),),
        (('branch5x5_1', 48, (1, 1), 1), ('branch5x5_2', 64, (5, 5), 1)),
        (('branch3x3dbl_1', 64, (1, 1), 1), ('branch3x3dbl_2', 96, (3, 3), 1), ('branch3x3dbl_3', 96, (3, 3), 1)),
    ),
    'b': (
        (('branch3x3', 384, (3, 3), 2),),
        (('branch3x3dbl_1', 64, (1, 1), 1), ('branch3x3dbl_2', 96, (3, 3), 1), ('branch3x3dbl_3', 96, (3, 3), 2)),
    ),
    'c': (
        (('branch1x1', 192, (1, 1), 1),),
        (('branch7x7_1', None, (1, 1), 1), ('branch7x7_2', None, ROW, 1), ('branch7x7_3', 192, COLUMN, 1)),
        (
            ('branch7x7dbl_1', None, (1, 1), 1),
            ('branch7x7dbl_2', None, COLUMN, 1),
            ('branch7x7dbl_3', None, ROW, 1),
            ('branch7x7dbl_4', None, COLUMN, 1),
            ('branch7x7dbl_5', 192, ROW, 1),
        ),
    ),
    'd': (
        (('branch3x3_1', 192, (1, 1), 1), ('branch3x3_2', 320, (3, 3), 2)),
        (
            ('branch7x7x3_1', 192, (1, 1), 1),
            ('branch7x7x3_2', 192, ROW, 1),
            ('branch7x7x3_3', 192, COLUMN, 1),
            ('branch7x7x3_4', 192, (3, 3), 2),
        ),
    ),
    'e': (
        (('branch1x1', 320, (1, 1), 1),),
        (('branch3x3_1', 384, (1, 1), 1),),
        (('branch3x3dbl_1', 448, (1, 1), 1), ('branch3x3dbl_2', 384, (3, 3), 1)),
    ),
}
FORKS = {'branch3x3_1': 'branch3x3_2', 'branch3x3dbl_2': 'branch3x3dbl_3'}  # of the kind e: both of a row and of a column
# name: kind, pooling, channels after the pooling (0: as they are), the block's own number of channels
BLOCKS = {
    'mixed5b': ('a', 'average', 32, 0),
    'mixed5c': ('a', 'average', 64, 0),
    'mixed5d': ('a', 'average', 64, 0),
    'mixed6a': ('b', 'strided', 0, 0),
    'mixed6b': ('c', 'average', 192, 128),
    'mixed6c': ('c', 'average', 192, 160),
    'mixed6d': ('c', 'average', 192, 160),
    'mixed6e': ('c', 'average', 192, 192),
    'mixed7a': ('d', 'strided', 0, 0),
    'mixed7b': ('e', 'average', 192, 0),
    'mixed7c': ('e', 'maximum', 192, 0),
}


def example(**_):
    """What it takes: one image of the size that FID resizes to."""
    return (jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32),)


def resized(images):
    """`[B, H, W, 3]` -> `[B, 299, 299, 3]`, bilinear between pixel centres, without a filter where it makes smaller.

    As pytorch-fid does it; FID's first code, in TensorFlow, laid corners and not centres of the pixels on each other.
    """
    shape = (len(images), SIDE, SIDE, images.shape[-1])
    return jax.image.resize(at_least_float32(jnp.asarray(images)), shape, 'linear', antialias=False, precision='highest')


class Network(nn.Module):
    """`[B, H, W, 3]` RGB in [0, 1], at least 75x75 pixels -> (features `[B, 2048]`, taps), float32 or wider.

    The features are means over positions of the last block, FID's "pool3" of `resized` images. taps: 'pool1', 'pool2', 'mixed6e',
    'mixed7c', of 64, 192, 768 and 2048 channels. It differs from torchvision's InceptionV3: average poolings leave the padding out
    of the count, and the last block's pooling is a maximum. Batch norm always takes the running statistics. Raises ValueError for
    another shape or a smaller image.

    References: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016; Heusel et al., GANs Trained by
    a Two Time-Scale Update Rule, NeurIPS 2017 (FID); the details are those of github.com/mseitzer/pytorch-fid 0.3.0.
    """

    dtype: str = 'float32'

    @nn.compact
    def __call__(self, image):
        check_image("FID's InceptionV3", image, SMALLEST)
        unit = lambda name, features, size, stride=1, padded=False: Unit(features, size, stride, padded, self.dtype, name=name)
        x, taps = (2 * at_least_float32(image) - 1).astype(self.dtype), {}
        x = unit('conv2a', 32, (3, 3))(unit('conv1a', 32, (3, 3), 2)(x))
        x = taps['pool1'] = _pool(unit('conv2b', 64, (3, 3), padded=True)(x))
        x = unit('conv4a', 192, (3, 3))(unit('conv3b', 80, (1, 1))(x))
        x = taps['pool2'] = _pool(x)
        for name, fields in BLOCKS.items():
            x = taps[name] = Block(*fields, self.dtype, name=name)(x)
        return mean(x), {k: v for k, v in taps.items() if k in ('pool1', 'pool2', 'mixed6e', 'mixed7c')}


class Block(nn.Module):
    """`[B, H, W, C]` -> `[B, H, W, D]`, or of the kinds b and d half as high and wide: the branches of `BRANCHES`, side by side."""

    kind: str
    pooling: str
    pooled: int
    own: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x):
        unit = lambda name, features, size, stride=1: Unit(features, size, stride, stride == 1, self.dtype, name=name)
        found = []
        for branch in BRANCHES[self.kind]:
            y = x
            for name, features, size, stride in branch:
                y = unit(name, features or self.own, size, stride)(y)
            fork = FORKS.get(name) if self.kind == 'e' else None
            found += [unit(f'{fork}a', 384, (1, 3))(y), unit(f'{fork}b', 384, (3, 1))(y)] if fork else [y]
        pool = {'average': average, 'strided': _pool, 'maximum': lambda x: nn.max_pool(x, (3, 3), (1, 1), 'SAME')}[self.pooling]
        found.append(unit('branch_pool', self.pooled, (1, 1))(pool(x)) if self.pooled else pool(x))
        return jnp.concatenate(found, -1)


class Unit(nn.Module):
    """A convolution without bias, batch norm, ReLU: `[B, H, W, C]` -> `[B, h, w, features]`, as large as before where `padded`."""

    features: int
    size: tuple[int, int]
    stride: int = 1
    padded: bool = True
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x):
        shape = (*self.size, x.shape[-1], self.features)
        kernel = self.param('kernel', uniform(np.prod(shape[:3])), shape, jnp.float32).astype(self.dtype)
        padding = tuple((n // 2, n // 2) if self.padded else (0, 0) for n in self.size)
        strides = (self.stride, self.stride)
        plain = self.stride == 1
        x = conv(x, kernel, padding) if plain else lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NHWC)
        return nn.relu(BatchNorm(dtype=self.dtype, name='bn')(x))


def _pool(x):
    return nn.max_pool(x, (3, 3), (2, 2))


def average(x):
    """Mean over 3x3 windows of those pixels that are in the image, `[B, H, W, C]` -> the same."""
    # counted by numpy: XLA folds a window sum of ones for minutes
    counts = [np.float32([min(i + 2, n) - max(i - 1, 0) for i in range(n)]) for n in x.shape[1:3]]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = x[:, :-2] + x[:, 1:-1] + x[:, 2:]
    x = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]
    return x / (counts[0][:, None, None] * counts[1][:, None]).astype(x.dtype)
