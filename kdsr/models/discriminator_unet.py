"""Real-ESRGAN's discriminator: a U-Net that judges every pixel, with spectral normalisation."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import Conv, at_least_float32
from kdsr.models.spectral import SpectralConv

CELL = 8  # three halvings: the sides of an image are multiples of it


def example(size=256, **_):
    """What it is shown first: one image of the size that it is trained on; it takes others as well."""
    return (jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32),)


class Discriminator(nn.Module):
    """`image [B, H, W, 3]` in [0, 1] -> (logits `[B, H, W, 1]`, taps), float32; positive means real, the losses take the sigmoid.

    H and W are multiples of 8, ValueError for others. A convolution, three that halve the image (k = 4) and double its channels;
    three times a bilinear enlargement to the double, a convolution that halves the channels, and the sum with the features of
    that size on the way down; two more convolutions, and one to the logits. LeakyReLU(0.2) after all but the last. The first and
    the last have biases, the others spectral normalisation (see `SpectralConv` for `train` and the collection 'spectral').

    At `features` 64 it has 4,376,897 parameters; at 32, 16 and 8 1,094,817, 274,001 and 68,649. `size` only says what it is
    trained on. taps: 'conv0' ... 'conv8', as numbered in the original, each after its activation, 4 to 6 after their sums.

    In Real-ESRGAN's training a step calls it three times, here twice (`critics.judged`): as many power iterations.

    References: Wang et al., Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data, ICCV Workshops 2021,
    section 3.4 (`UNetDiscriminatorSN`); Schonfeld et al., A U-Net Based Discriminator for Generative Adversarial Networks, CVPR
    2020; Miyato et al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018.
    """

    size: int = 256
    features: int = 64
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, image, train=False):
        height, width = image.shape[1:3]
        if height % CELL or width % CELL:
            raise ValueError(f'this discriminator takes sides that are multiples of {CELL}, got {height}x{width}: choose others')
        act = functools.partial(nn.leaky_relu, negative_slope=0.2)
        spectral, taps = functools.partial(SpectralConv, dtype=self.dtype), {}
        x = taps['conv0'] = act(Conv(self.features, dtype=self.dtype, name='conv0')(image))
        for i in (1, 2, 3):
            x = taps[f'conv{i}'] = act(spectral(2**i * self.features, 4, 2, name=f'conv{i}')(x, train))
        for i in (4, 5, 6):
            x = act(spectral(2 ** (6 - i) * self.features, name=f'conv{i}')(doubled(x), train))
            x = taps[f'conv{i}'] = x + taps[f'conv{6 - i}']
        for i in (7, 8):
            x = taps[f'conv{i}'] = act(spectral(self.features, name=f'conv{i}')(x, train))
        return at_least_float32(Conv(1, dtype=self.dtype, name='conv9')(x)), taps


def doubled(x):
    """`[B, h, w, C]` -> `[B, 2h, 2w, C]`, bilinear with half-pixel centres: `jax.image.resize`, PyTorch's align_corners=False.

    Every pixel makes two along rows and along columns, each 3/4 of itself and 1/4 of its neighbour on that side; beyond the border
    lies the border again. Sums of shifted images, where `jax.image.resize` multiplies by matrices of the size of the image.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        inner = functools.partial(jax.lax.slice_in_dim, x, axis=axis)
        before = jnp.concatenate([inner(0, 1), inner(0, size - 1)], axis)
        after = jnp.concatenate([inner(1, size), inner(size - 1, size)], axis)
        pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x
