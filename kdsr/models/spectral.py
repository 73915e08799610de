"""Spectral normalisation: convolutions that stretch no input by much, since their kernels have the largest singular value 1."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from kdsr.models.layers import at_least_float32, conv, pixel_unshuffle, uniform

EPS = 1e-12  # the smallest length by which a vector is divided


class SpectralConv(nn.Module):
    """`[B, H, W, I]` -> `[B, H/stride, W/stride, features]`: convolution by kernel / sigma, no bias, zero padding (k - stride)/2.

    sigma = v M u of the kernel as a matrix M `[k*k*I, features]`: its largest singular value, as soon as the unit vectors `u`
    (`[features]`) and `v` (`[k*k*I]`), the collection 'spectral', are near its singular vectors. With `train` one power iteration
    moves them before they are used, and the collection must be mutable: v = M u / |M u|, u = v M / |v M|. Otherwise they stay.
    They are constants to every gradient; that of sigma goes through M.

    No example has a part in them: devices with equal weights have equal vectors, whatever batch each of them sees, and nothing is
    joined over them. At first they are random directions, for which sigma means nothing: a fresh network is not for evaluation.

    Parameters and vectors are float32, the kernel drawn as that of `layers.Conv`; `dtype` is what the convolution is done in.

    References: Miyato et al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018. Order, eps, and the vectors'
    initial law, normal and then of length 1, are those of PyTorch's torch.nn.utils.spectral_norm.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x, train=False):
        k, inputs = self.kernel_size, x.shape[-1]
        kernel = self.param('kernel', uniform(inputs * k * k), (k, k, inputs, self.features), jnp.float32)
        random = lambda size: unit(jax.random.normal(self.make_rng('params'), (size,), jnp.float32))
        u = self.variable('spectral', 'u', random, self.features)
        v = self.variable('spectral', 'v', random, k * k * inputs)
        matrix = at_least_float32(kernel).reshape(-1, self.features)
        if train and not self.is_initializing():
            u.value, v.value = iterated(lax.stop_gradient(matrix), u.value)
        sigma = exact(exact(v.value, matrix), u.value)
        return strided(x.astype(self.dtype), (kernel / sigma).astype(self.dtype), self.stride)


def iterated(matrix, u):
    """(u, v) after one power iteration on `matrix` `[N, O]` from `u` `[O]`; v is `[N]`."""
    v = unit(exact(matrix, u))
    return unit(exact(v, matrix)).astype(u.dtype), v.astype(u.dtype)


def unit(vector):
    """`vector` with the length 1, or nearly none where it had none."""
    return vector / jnp.maximum(jnp.sqrt(jnp.sum(vector * vector)), EPS)


def exact(a, b):
    """Their product in full precision: in TF32 sigma, a scale of all outputs, would be off in its fourth digit."""
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)


def strided(x, kernel, stride):
    """`[B, H, W, I]`, `[k, k, I, O]` -> `[B, H/stride, W/stride, O]`, zero padding (k - stride)/2, as PyTorch's k4 s2 p1.

    The house convolution, also for strides: the pixels of a cell of stride x stride become channels, and the kernel that reads
    them has k/stride taps a side. The multiply-adds are the same, and the gradients are house convolutions again. `stride` divides
    k and the sides of the image.
    """
    k, _, inputs, features = kernel.shape
    pad = (k - stride) // 2
    if stride == 1:
        return conv(x, kernel, ((pad, pad), (pad, pad)))
    cells = pixel_unshuffle(jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))), stride)
    n = k // stride
    folded = kernel.reshape(n, stride, n, stride, inputs, features).transpose(0, 2, 1, 3, 4, 5)
    return conv(cells, folded.reshape(n, n, stride * stride * inputs, features), ((0, 0), (0, 0)))
