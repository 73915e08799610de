"""GCFSR (He et al., CVPR 2022): faces of one size, restored by an encoder and StyleGAN2's decoder, with a knob for how much."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from kdsr.models.bicubic import enlarge
from kdsr.models.layers import add_bias, at_least_float32, gated
from kdsr.models.stylegan import EPS, EqualConv, EqualDense, ModConv, enlarged, flrelu, noise_map, sides, width

LEAST = 16  # side of the features at which the decoder begins
NOISES = ('none', 'fixed')


def example(scale=4, out_size=1024, channels=3, **_):
    """What it takes: one LR image of its own size. ValueError for sizes that it has not, and a scale that does not divide them."""
    sides(out_size, LEAST)
    if out_size % scale:
        raise ValueError(f'scale={scale} does not divide out_size={out_size}: choose one that does')
    return (jax.ShapeDtypeStruct((1, out_size // scale, out_size // scale, channels), jnp.float32),)


class GCFSR(nn.Module):
    """Generative and controllable face super-resolution, `lr [B, out_size / s, out_size / s, channels]` in [0, 1] -> (image, taps).

    The image is `[B, out_size, out_size, channels]`, float32, not clipped. LR is enlarged by MATLAB's bicubic, clipped and rounded
    to 8 bits, as published; what follows is `refine`.

    out_size: 32, 64, ..., 1024. narrow: factor of all widths, of which there are 512 at up to 64 px and half as many per doubling.
    style: length of the vectors that modulate the decoder; narrow_style: `narrow` shortens them as well. full_scale: the scale at
    which the condition is 1, that of the hardest images; published are 64 for 1024 px and 32 for 512. noise: what a call without
    keys has in the place of noise, 'none' or 'fixed', the same maps for every image.

    Parameters at 1024 px and 1, 1/2, 1/4, 1/8: 66,668,706, 24,790,114, 10,261,698, 4,600,210; with narrow_style 66,668,706,
    16,676,450, 4,173,762, 1,045,778. At 512 px 62,352,925.

    Taps: 'encode<side>', the encoder's features at out_size ... 16, and 'mod<side>', the decoder's after their modulation at 16 ...
    out_size, all `[B, side, side, width(side, narrow)]`.

    References: He et al., GCFSR: a Generative and Controllable Face Super Resolution Method Without Facial and GAN Priors, CVPR
    2022, and github.com/hejingwenhejingwen/GCFSR, whose own `narrow` works at 1 only: the layer of the styles expects 4096 values.
    """

    scale: int = 4
    out_size: int = 1024
    narrow: float = 1.0
    style: int = 512
    narrow_style: bool = False
    full_scale: int = 64
    noise: str = 'none'
    channels: int = 3
    dtype: str = 'float32'

    def __call__(self, lr, condition=None, keys=None):
        """`condition` is that of the scale where it is None, scale / full_scale; otherwise as of `refine`."""
        (taken,) = example(self.scale, self.out_size, self.channels)
        if lr.shape[1:] != taken.shape[1:]:
            raise ValueError(f'this network takes images of {"x".join(map(str, taken.shape[1:]))}, not {lr.shape[1:]}')
        if condition is None:
            condition = jnp.full(len(lr), self.scale / self.full_scale, jnp.float32)
        return self.refine(jnp.round(255 * jnp.clip(enlarge(lr, self.scale), 0, 1)) / 255, condition, keys)

    @nn.compact
    def refine(self, x, condition, keys=None):
        """The network on images that are enlarged already, `[B, out_size, out_size, channels]` in [0, 1] -> (image, taps).

        Args:
          condition: `[B]`, how much is to be invented: scale / full_scale of the scale that an image was reduced by.
          keys: typed PRNG keys `[B]`, one per example, which its noise depends on alone; None: the field `noise`.
        """
        if self.noise not in NOISES:
            raise ValueError(f"noise='{self.noise}' of gcfsr is none of {', '.join(NOISES)}")
        if keys is None and self.noise == 'fixed':
            keys = jnp.broadcast_to(jax.random.key(0), (len(x),))
        features, taps = functools.partial(width, narrow=self.narrow), {}
        layer = functools.partial(EqualConv, dtype=self.dtype)
        dense = functools.partial(EqualDense, bias_init=1.0)
        blends, levels = {}, sides(self.out_size, LEAST)
        y, condition = 2 * at_least_float32(x) - 1, jnp.reshape(condition, (-1, 1)).astype(jnp.float32)
        for side in levels:
            y = taps[f'encode{side}'] = layer(features(side), down=side < self.out_size, name=f'encode{side}')(y)
            a, b = (dense(features(side), name=f'{part}{side}')(condition) for part in ('keep', 'inject'))
            blends[side] = unit(a, b), layer(features(side), act=False, name=f'shift{side}')(y)
        small = layer(features(8), down=True, name='encode8')(y)
        small = layer(features(4) // 2, down=True, name='encode4')(small)
        count, length = 2 * len(levels), int(self.style * (self.narrow if self.narrow_style else 1))
        if length < 1:
            raise ValueError(f'style={self.style} times narrow={self.narrow} leaves no style: set a larger one')
        styles = EqualDense(count * length, act=True, dtype=self.dtype, name='styles')(small.reshape(len(x), -1))
        styles = styles.reshape(len(x), count, length).swapaxes(0, 1)
        y, rgb = layer(features(LEAST), name='start')(y), None
        for i, side in enumerate(reversed(levels)):
            styled = functools.partial(StyleConv, features(side), dtype=self.dtype)
            if i:
                y = styled(2 * i - 1, up=True, name=f'up{side}')(y, styles[2 * i - 1], keys)
            y = taps[f'mod{side}'] = styled(2 * i, name=f'mod{side}')(y, styles[2 * i], keys, blends[side])
            share = ToImage(self.channels, dtype=self.dtype, name=f'rgb{side}')(y, styles[2 * i + 1])
            rgb = share if rgb is None else share + enlarged(rgb)
        return (rgb + 1) / 2, taps


class StyleConv(nn.Module):
    """`(x [B, h, w, I], style [B, S], keys, blend)` -> `[B, h, w, features]`, or twice the size with `up`.

    A modulated convolution, plus its learned strength times the noise of `keys` (None: without) for the layer of that `number`;
    with blend = ((a, b), shift) then a times that plus b times the shift, per channel; bias and `flrelu`.
    """

    features: int
    number: int
    up: bool = False
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x, style, keys=None, blend=None):
        y = ModConv(self.features, up=self.up, dtype=self.dtype, name='conv')(x, style)
        strength = self.param('noise', nn.initializers.zeros, (1,), jnp.float32)
        if keys is not None:
            y += (strength * noise_map(keys, self.number, y.shape[1:3])).astype(self.dtype)
        if blend is not None:
            (a, b), shift = blend
            per_channel = lambda factor: factor.astype(self.dtype)[:, None, None]
            y = gated(y, per_channel(a)) + gated(shift, per_channel(b))
        bias = self.param('bias', nn.initializers.zeros, (self.features,), jnp.float32)
        return flrelu(add_bias(y, bias.astype(self.dtype)))


class ToImage(nn.Module):
    """`(x [B, h, w, I], style [B, S])` -> `[B, h, w, channels]`, float32: this level's share in the image."""

    channels: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x, style):
        y = ModConv(self.channels, 1, demodulate=False, dtype=self.dtype, name='conv')(x, style)
        bias = self.param('bias', nn.initializers.zeros, (self.channels,), jnp.float32)
        return add_bias(at_least_float32(y), bias)


Generator = GCFSR


def unit(a, b):
    """(a, b) over the root of a^2 + b^2 + 1e-8."""
    length = lax.rsqrt(jnp.square(a) + jnp.square(b) + EPS)
    return a * length, b * length


def equal_taps(out_size=GCFSR.out_size, **_):
    """The decoder's features after their modulation at every size, for `taps.quarters`."""
    return tuple(f'mod{side}' for side in sides(out_size, LEAST)[::-1])


def fakd_taps(out_size=GCFSR.out_size, **_):
    """Three taps for feature distillation: the decoder's at 16 px, at half of the way and at the end."""
    levels = sides(out_size, LEAST)[::-1]
    return f'mod{levels[0]}', f'mod{levels[len(levels) // 2]}', f'mod{levels[-1]}'
