"""What every generator is made of: the house convolution, pixel shuffle, upsampler and colour shift."""

import contextlib
import contextvars
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from kdsr.models import kernel_gradients

NHWC = ('NHWC', 'HWIO', 'NHWC')
RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, as in the original EDSR, RCAN and SAN code


def conv(x, kernel, padding):
    """Convolution of stride 1, fast on CPU also inside `scan`, `cond` and a double backward.

    Args:
      x: `[B, H, W, I]`.
      kernel: `[kh, kw, I, O]`, of the dtype of `x`.
      padding: `((top, bottom), (left, right))`, static ints.

    Returns:
      `[B, H + top + bottom - kh + 1, W + left + right - kw + 1, O]`. On CPU reverse mode only (no `jax.jvp`).
    """
    if on_cpu():
        return _cpu_conv(jnp.asarray(x), jnp.asarray(kernel), padding)
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=NHWC)


_plain = contextvars.ContextVar('plain', default=False)


def on_cpu():
    """Whether programs run on CPU, where XLA leaves much to the caller; other backends know these patterns themselves."""
    return jax.default_backend() == 'cpu' and not _plain.get()


@contextlib.contextmanager
def plain():
    """What is traced inside is the same on all backends, each convolution one operation, as other runtimes want it.

    It holds for tracing, not for running: a function that was jitted and traced outside keeps its form.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _cpu_conv(x, kernel, padding):
    """Both gradients of a stride-1 convolution are such convolutions; here they are written so, and call this function again.

    They keep the one layout (NHWC x HWIO) that XLA:CPU runs fast everywhere. Autodiff's own transposes use other layouts,
    which it turns into scalar loops outside the entry computation (50 to 300 times slower).
    """
    if kernel.shape[:2] == (1, 1) and padding == ((0, 0), (0, 0)):
        return jnp.einsum('bhwi,io->bhwo', x, kernel[0, 0])
    if kernel.shape[-1] <= 4 and kernel.shape[0] <= 3 and _same(kernel, padding):
        return _to_few_outputs(x, kernel)
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=NHWC)


def _conv_fwd(x, kernel, padding):
    return _cpu_conv(x, kernel, padding), (x, kernel)


def _conv_bwd(padding, saved, g):
    x, kernel = saved
    kh, kw, _, features = kernel.shape
    (top, bottom), (left, right) = padding
    back = ((kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right))
    dx = _cpu_conv(g, kernel[::-1, ::-1].transpose(0, 1, 3, 2), back)
    if (kh, kw) == (1, 1) and x.shape[:3] == g.shape[:3]:
        dkernel = jnp.einsum('bhwi,bhwo->io', x, g)[None, None]
    elif features <= 4 and _same(kernel, padding):
        dkernel = kernel_gradients.few_outputs(x, g, kh)
    elif len(x) < 8 and features <= x.shape[-1] and _same(kernel, padding):
        dkernel = kernel_gradients.few_examples(_cpu_conv, x, g, kh)
    else:
        dkernel = kernel_gradients.strips(_cpu_conv, x, g, padding)
    return dx, dkernel.astype(kernel.dtype)


_cpu_conv.defvjp(_conv_fwd, _conv_bwd)


def _same(kernel, padding):
    k = kernel.shape[0]
    return k == kernel.shape[1] <= 9 and k % 2 == 1 and padding == ((k // 2, k // 2),) * 2


def _to_few_outputs(x, kernel):
    """The convolution for few outputs: all taps as one matmul, then shifted sums; 2-5x faster on CPU.

    It holds k * k values for every output: worth it up to k = 3.
    """
    k, _, inputs, outputs = kernel.shape
    height, width = x.shape[1:3]
    taps = jnp.einsum('bhwi,io->bhwo', x, kernel.transpose(2, 0, 1, 3).reshape(inputs, -1))
    taps = lax.optimization_barrier(jnp.pad(taps, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0))))
    shift = lambda i, j: taps[:, i : i + height, j : j + width, (i * k + j) * outputs :][..., :outputs]
    return sum(shift(i, j) for i in range(k) for j in range(k))


def plane_sum(x):
    """Sum over rows and columns, `[B, H, W, C]` -> `[B, C]`, one axis after the other.

    Asked for both axes at once, XLA:CPU sums windows of windows: 8 times slower, and less exact.
    """
    return lax.optimization_barrier(x.sum(2)).sum(1) if on_cpu() else x.sum((1, 2))


@jax.custom_vjp
def add_bias(x, bias):
    """`[B, H, W, C]` + `[C]`, the gradient by `plane_sum`. Reverse mode only."""
    return x + bias


add_bias.defvjp(lambda x, bias: (x + bias, None), lambda _, g: (g, plane_sum(g).sum(0)))


@jax.custom_vjp
def gated(x, gate):
    """`[B, H, W, C]` * `[B, 1, 1, C]`, the gate's gradient by `plane_sum`. Reverse mode only."""
    return x * gate


gated.defvjp(lambda x, gate: (x * gate, (x, gate)), lambda saved, g: (g * saved[1], plane_sum(g * saved[0])[:, None, None]))


def uniform(fan_in):
    """Initialiser U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what PyTorch gives a Conv2d's weight and bias by default."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


# `Conv(..., **GLOROT)` draws by Keras' default law instead.
GLOROT = {'kernel_init': nn.initializers.glorot_uniform(), 'bias_init': nn.initializers.zeros}


class Conv(nn.Module):
    """`[B, H, W, I]` -> `[B, H, W, features]`, stride 1, zero padding (SAME); the house convolution with parameters.

    Parameters `kernel` (`[k, k, I, features]`) and `bias` (`[features]`) are float32, drawn by PyTorch's default law,
    U(+-1/sqrt(I k^2)), unless `kernel_init` or `bias_init` say otherwise; `dtype` is what the work is done in.
    """

    features: int
    kernel_size: int = 3
    use_bias: bool = True
    dtype: str = 'float32'
    kernel_init: Callable | None = None
    bias_init: Callable | None = None

    @nn.compact
    def __call__(self, x):
        k, inputs = self.kernel_size, x.shape[-1]
        init = uniform(inputs * k * k)
        kernel = self.param('kernel', self.kernel_init or init, (k, k, inputs, self.features), jnp.float32)
        same = ((k - 1) // 2, k // 2)
        y = conv(x.astype(self.dtype), kernel.astype(self.dtype), (same, same))
        if self.use_bias:
            y = add_bias(y, self.param('bias', self.bias_init or init, (self.features,), jnp.float32).astype(self.dtype))
        return y


class StridedConv(nn.Module):
    """`[B, H, W, I]` -> `[B, ceil(H/stride), ceil(W/stride), features]`, zero padding by TensorFlow's rule for SAME.

    Even sides get no padding at the top and left and one row and column at the bottom and right (k = 3, stride 2): PyTorch's
    `padding=1` reads other pixels. Parameters and initial law as in `Conv`. Not for the inside of `scan` or `cond` on CPU:
    the gradient is autodiff's.
    """

    features: int
    kernel_size: int = 3
    stride: int = 2
    use_bias: bool = True
    dtype: str = 'float32'
    kernel_init: Callable | None = None
    bias_init: Callable | None = None

    @nn.compact
    def __call__(self, x):
        k, s, inputs = self.kernel_size, self.stride, x.shape[-1]
        init = uniform(inputs * k * k)
        kernel = self.param('kernel', self.kernel_init or init, (k, k, inputs, self.features), jnp.float32)
        total = [max((-(-size // s) - 1) * s + k - size, 0) for size in x.shape[1:3]]
        padding = [(t // 2, t - t // 2) for t in total]
        kernel = kernel.astype(self.dtype)
        y = lax.conv_general_dilated(x.astype(self.dtype), kernel, (s, s), padding, dimension_numbers=NHWC)
        if self.use_bias:
            y = add_bias(y, self.param('bias', self.bias_init or init, (self.features,), jnp.float32).astype(self.dtype))
        return y


def pixel_shuffle(x, r):
    """`[B, h, w, r*r*C]` -> `[B, r*h, r*w, C]`, input channel (dy*r + dx)*C + c (TensorFlow's depth_to_space).

    One 4-D transpose: the only form that every exporter takes. PyTorch orders its channels c*r*r + dy*r + dx; a kernel
    (or bias) `k` of the convolution before is brought here by
    `k.reshape(..., C, r, r)` -> axes (..., dy, dx, c) -> `reshape(..., r*r*C)`.
    """
    b, h, w, channels = x.shape
    c = channels // (r * r)
    return x.reshape(b * h, w, r, r * c).transpose(0, 2, 1, 3).reshape(b, h * r, w * r, c)


def pixel_unshuffle(x, r):
    """The inverse of `pixel_shuffle`: `[B, r*h, r*w, C]` -> `[B, h, w, r*r*C]`."""
    b, h, w, c = x.shape
    return x.reshape(b * h // r, r, w // r, r * c).transpose(0, 2, 1, 3).reshape(b, h // r, w // r, r * r * c)


def nearest(x, r):
    """`[B, h, w, C]` -> `[B, r*h, r*w, C]`, each pixel r x r times. Exporters do not take `jax.image.resize` at free sizes."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, r, w, r, c)).reshape(b, r * h, r * w, c)


class Upsampler(nn.Module):
    """`[B, h, w, I]` -> `[B, s*h, s*w, features]`: per factor r of the scale a 3x3 convolution and a pixel shuffle.

    Scale 2^n takes n steps of 2, scale 3 one step of 3 (Shi et al., CVPR 2016; as in EDSR), ValueError for others; or, with
    `at_once`, any scale takes one step.
    """

    scale: int
    features: int
    dtype: str = 'float32'
    at_once: bool = False

    @nn.compact
    def __call__(self, x):
        for i, r in enumerate((self.scale,) if self.at_once else factors(self.scale), 1):
            x = pixel_shuffle(Conv(self.features * r * r, dtype=self.dtype, name=f'conv{i}')(x), r)
        return x


def factors(scale):
    """Upsampling steps of a scale: 2 -> (2,), 3 -> (3,), 4 -> (2, 2), 8 -> (2, 2, 2); ValueError for any other."""
    steps = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}
    if scale not in steps:
        raise ValueError(f'scale {scale!r} is not supported: use one of {", ".join(map(str, steps))}')
    return steps[scale]


def sub_mean(image, rgb_range=255.0):
    """`[..., C]` in [0, 1] -> zero-centred `[..., C]` on 0..rgb_range, float32 or wider.

    RGB (C = 3) loses DIV2K's mean colour; any other number of channels is only scaled, its mean taken as 0.
    """
    image = at_least_float32(image)
    return rgb_range * image - rgb_range * _mean(image)


def add_mean(image, rgb_range=255.0):
    """The inverse of `sub_mean`: `[..., C]` zero-centred on 0..rgb_range -> image in [0, 1], not clipped."""
    image = at_least_float32(image)
    return (image + rgb_range * _mean(image)) / rgb_range


def at_least_float32(x):
    """`x` in float32, or as it is where it is wider: half precision is for the bulk of the work only."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _mean(image):
    return jnp.asarray(RGB_MEAN if image.shape[-1] == 3 else 0.0, image.dtype)
