"""StyleGAN2's layers: equalised and modulated convolutions, filters of an enlargement or a reduction, noise by keys.

References: Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020; "equalised": Karras et al., Progressive
Growing of GANs, ICLR 2018. Orders and paddings are those of BasicSR's and GCFSR's code.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from kdsr.models.layers import add_bias, at_least_float32, conv, gated, pixel_shuffle

EPS = 1e-8  # below a square root
FILTER = (1, 3, 3, 1)  # along rows and along columns, over their sum
VALID = ((0, 0), (0, 0))


def width(side, narrow=1.0):
    """Channels of features of side x side: 512 up to 64 px, then half as many per doubling, times `narrow`, rounded down.

    ValueError where that leaves fewer than 2.
    """
    channels = int(min(512, 32768 // side) * narrow)
    if channels < 2:
        raise ValueError(f'narrow={narrow} leaves {channels} channels at {side} px: it must leave 2')
    return channels


def sides(size, least, most=1024):
    """(size, size / 2, ..., least); ValueError for a size that is no power of two in [2 least, most]."""
    if size not in (allowed := [2**i for i in range(2, 11) if 2 * least <= 2**i <= most]):
        raise ValueError(f'{size} px is no size of it: use {", ".join(map(str, allowed[:-1]))} or {allowed[-1]}')
    return tuple(size >> i for i in range(size.bit_length()) if size >> i >= least)


def flrelu(x):
    """LeakyReLU(0.2) times the root of 2, which keeps the size of what it is given."""
    return nn.leaky_relu(x, 0.2) * np.sqrt(2).astype(x.dtype)


def equalised(module, shape, dtype):
    """The parameter 'kernel' of a module, float32 and drawn from N(0, 1), over the root of its fan-in; all but the last axis.

    So weights of all layers are of one size, and Adam changes them all at one pace.
    """
    kernel = module.param('kernel', nn.initializers.normal(1.0), shape, jnp.float32)
    return (kernel * float(np.prod(shape[:-1])) ** -0.5).astype(dtype)


class EqualDense(nn.Module):
    """`[B, I]` -> `[B, features]`, equalised. bias_init: what its bias is at first. act: with `flrelu`."""

    features: int
    bias_init: float = 0.0
    act: bool = False
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x):
        bias = self.param('bias', nn.initializers.constant(self.bias_init), (self.features,), jnp.float32)
        y = x.astype(self.dtype) @ equalised(self, (x.shape[-1], self.features), self.dtype) + bias.astype(self.dtype)
        return flrelu(y) if self.act else y


class EqualConv(nn.Module):
    """`[B, H, W, I]` -> `[B, H, W, features]`, equalised, zero padding, bias and `flrelu` unless they are left out.

    down: halves H and W, which are even; the image is filtered first (`blurred`), so that nothing aliases.
    """

    features: int
    kernel_size: int = 3
    down: bool = False
    use_bias: bool = True
    act: bool = True
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x):
        k, x = self.kernel_size, x.astype(self.dtype)
        kernel = equalised(self, (k, k, x.shape[-1], self.features), self.dtype)
        if not self.down:
            y = conv(x, kernel, ((k // 2, k // 2), (k // 2, k // 2)))
        elif k == 1:
            y = conv(blurred(x, (1, 1), stride=2), kernel, VALID)
        else:
            y = halved(blurred(x, (2, 2)), kernel)
        if self.use_bias:
            y = add_bias(y, self.param('bias', nn.initializers.zeros, (self.features,), jnp.float32).astype(self.dtype))
        return flrelu(y) if self.act else y


class ModConv(nn.Module):
    """`(x [B, H, W, I], style [B, S])` -> `[B, H, W, features]`: for each example another kernel, w[k, k, I, features] s[I].

    s is an EqualDense of the style. demodulate: each output's kernel is brought to the length 1. up: enlarges H and W by 2, by a
    transposed convolution and the filter. Instead of kernels it scales what they read and what they give: the same numbers up to
    rounding, in one convolution for all examples.
    """

    features: int
    kernel_size: int = 3
    up: bool = False
    demodulate: bool = True
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x, style):
        k, inputs, x = self.kernel_size, x.shape[-1], x.astype(self.dtype)
        kernel = at_least_float32(equalised(self, (k, k, inputs, self.features), jnp.promote_types(self.dtype, 'float32')))
        s = at_least_float32(EqualDense(inputs, bias_init=1.0, dtype=self.dtype, name='modulation')(style))
        y, weights = gated(x, s.astype(self.dtype)[:, None, None]), kernel.astype(self.dtype)
        if self.up:
            y = blurred(doubled(y, weights), (1, 0), gain=2)
        else:
            y = conv(y, weights, ((k // 2, k // 2), (k // 2, k // 2)))
        if self.demodulate:
            lengths = jax.lax.rsqrt(jnp.square(s) @ jnp.square(kernel).sum((0, 1)) + EPS)
            y = gated(y, lengths.astype(self.dtype)[:, None, None])
        return y


def blurred(x, pad, gain=1, stride=1):
    """The filter (1, 3, 3, 1)/8 along rows and columns, on zeros around, as sums of shifted images.

    Args:
      x: `[B, H, W, C]`. pad: rows and columns of zeros (before, after). gain: factor per axis. stride: takes every so manieth.
    """
    weights = [gain * w / sum(FILTER) for w in FILTER]
    for axis in (1, 2):
        x = jnp.pad(x, [pad if i == axis else (0, 0) for i in range(4)])
        last = x.shape[axis] - len(FILTER) + 1
        x = sum(w * jax.lax.slice_in_dim(x, i, i + last, stride, axis) for i, w in enumerate(weights))
    return x


def enlarged(x):
    """`[B, h, w, C]` -> `[B, 2h, 2w, C]`: zeros between the pixels, then the filter; bilinear, with zeros beyond the border."""
    for axis in (1, 2):
        size = x.shape[axis]
        shifted = lambda pad, start, x=x, axis=axis, size=size: jax.lax.slice_in_dim(
            jnp.pad(x, [pad if i == axis else (0, 0) for i in range(4)]), start, start + size, axis=axis
        )
        pair = jnp.stack([0.75 * x + 0.25 * shifted((1, 0), 0), 0.75 * x + 0.25 * shifted((0, 1), 1)], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def halved(x, kernel):
    """`[B, 2h+1, 2w+1, I]`, `[3, 3, I, O]` -> `[B, h, w, O]`: a convolution of stride 2 without padding.

    Four house convolutions, of the pixels in even and odd rows and columns with the taps that read them: as many multiply-adds,
    and gradients of every order that are house convolutions as well.
    """
    return sum(conv(x[:, i::2, j::2], kernel[i::2, j::2], VALID) for i in (0, 1) for j in (0, 1))


def doubled(x, kernel):
    """`[B, h, w, I]`, `[3, 3, I, O]` -> `[B, 2h+2, 2w+2, O]`: a transposed convolution of stride 2, then a row and column of zeros.

    Pixel (y, x) adds its multiple of kernel[i, j] to pixel (2y + i, 2x + j), as in PyTorch's conv_transpose2d; so kernels of its
    files are not flipped. Again four house convolutions, one for even and odd rows and columns each. Zeros are put around the
    image first: as the convolutions' padding they make XLA:CPU's kernel gradients 7 to 25 times slower.
    """
    height, width = x.shape[1:3]
    x, taps, parts = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (slice(None, None, -2), slice(1, 2)), []
    for i in (0, 1):
        for j in (0, 1):
            read = x[:, i : height + 2 - i, j : width + 2 - j]
            part = conv(read, kernel[taps[i]][:, taps[j]], VALID)
            parts.append(jnp.pad(part, ((0, 0), (0, i), (0, j), (0, 0))))
    return pixel_shuffle(jnp.concatenate(parts, -1), 2)


def noise_map(keys, layer, size):
    """N(0, 1), `[B, h, w, 1]` for `size` = (h, w): the map that an example's key of `keys` `[B]` has for the layer of that number.

    It depends on nothing else: networks of any width draw the same.
    """
    draw = lambda key: jax.random.normal(jax.random.fold_in(key, layer), (*size, 1), jnp.float32)
    return jax.vmap(draw)(keys)
