"""StyleGAN2's discriminator as GCFSR has it: without the deviations of a minibatch, so that no example sees another."""

import functools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import at_least_float32
from kdsr.models.stylegan import EqualConv, EqualDense, sides, width

LEAST = 4  # side of the features that its dense layers read


def example(size=128, channels=3, **_):
    """What it takes: one image of its own size."""
    return (jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32),)


class Discriminator(nn.Module):
    """`image [B, size, size, channels]` in [0, 1] -> (logits `[B]`, taps), float32; positive means real.

    A 1x1 convolution; residual blocks that halve the image down to 4x4 (two 3x3 convolutions, and a 1x1 one beside them, their sum
    over the root of 2); one more convolution and two dense layers. size: 8, 16, ..., 1024. narrow: factor of all widths, of which
    there are 512 at up to 64 px and half as many per doubling.

    Parameters at 1024 px and 1, 1/2, 1/4, 1/8: 29,007,905, 7,253,777, 1,814,345, 454,037; at 512 px 28,978,241.

    taps: 'image<size>', after the first convolution; 'block<side>' with size / 2 ... 4, after the block that gives that size;
    'last', after the last convolution, all with an image's axes; 'dense', `[B, width(4, narrow)]`.

    Weights of a penalty on the image's gradient (`adversarial.r1`) are published for images in [-1, 1]: here a gradient is twice
    as long, the weight a quarter.

    References: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020; He et al., GCFSR, CVPR 2022, whose
    code calls it `StyleGAN2Discriminator_no_std`.
    """

    size: int = 128
    narrow: float = 1.0
    channels: int = 3
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, image):
        levels, features = sides(self.size, LEAST), functools.partial(width, narrow=self.narrow)
        if image.shape[1:] != (self.size, self.size, self.channels):
            made = f'{self.size}x{self.size}x{self.channels}'
            raise ValueError(f'this discriminator takes images of {made}, got {"x".join(map(str, image.shape[1:]))}')
        layer, taps = functools.partial(EqualConv, dtype=self.dtype), {}
        first = layer(features(self.size), 1, name='image')
        x = taps[f'image{self.size}'] = first(2 * at_least_float32(image) - 1)
        for side in levels[1:]:
            inner = layer(x.shape[-1], name=f'block{side}_conv1')(x)
            inner = layer(features(side), down=True, name=f'block{side}_conv2')(inner)
            beside = layer(features(side), 1, down=True, use_bias=False, act=False, name=f'block{side}_skip')(x)
            x = taps[f'block{side}'] = (inner + beside) * math.sqrt(0.5)
        x = taps['last'] = layer(features(LEAST), name='last')(x)
        flat = x.reshape(len(x), -1)
        flat = taps['dense'] = EqualDense(features(LEAST), act=True, dtype=self.dtype, name='dense')(flat)
        return at_least_float32(EqualDense(1, dtype=self.dtype, name='logit')(flat))[:, 0], taps
