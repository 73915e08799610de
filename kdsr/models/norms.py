"""Batch and instance normalisation, and PReLU by Keras' rules: what some networks add to the convolutions."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from kdsr.models.layers import add_bias, at_least_float32, gated, plane_sum


def moments(x, axis=None):
    """Mean and biased variance per channel of `[B, H, W, C]`, two `[C]`; of all devices' examples if `axis` names their axis."""
    count = x.shape[0] * x.shape[1] * x.shape[2]
    mean, square = plane_sum(x).sum(0) / count, plane_sum(x * x).sum(0) / count
    if axis:
        mean, square = lax.pmean((mean, square), axis)
    return mean, jnp.maximum(square - mean**2, 0)


class BatchNorm(nn.Module):
    """`[B, H, W, C]` -> the same: gamma * (x - mean) / sqrt(variance + eps) + beta, per channel.

    With `train` mean and variance are those of the batch, joined over the devices of the mapped axis `axis` (None: this
    device alone), and the collection 'batch_stats' (`mean`, `var`, each `[C]`), which must then be mutable, moves by
    Keras' rule: new = momentum * old + (1 - momentum) * batch. Otherwise mean and variance come from that collection.
    Couples examples when it trains. Parameters, statistics and the work are float32 or wider; the result has `dtype`.

    References: Ioffe and Szegedy, Batch Normalization, ICML 2015; eps and momentum are Keras' defaults. The running variance
    takes the biased variance, as Keras' formula does; TensorFlow's fused kernel takes n/(n-1) of it.
    """

    momentum: float = 0.99
    eps: float = 1e-3
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x, train=False, axis=None):
        shape, ones, zeros = (x.shape[-1],), nn.initializers.ones, nn.initializers.zeros
        gamma, beta = self.param('gamma', ones, shape, jnp.float32), self.param('beta', zeros, shape, jnp.float32)
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, shape, jnp.float32)
        running_var = self.variable('batch_stats', 'var', jnp.ones, shape, jnp.float32)
        x = at_least_float32(x)
        if train:
            mean, var = moments(x, axis)
            if not self.is_initializing():
                running_mean.value = self._moved(running_mean.value, mean)
                running_var.value = self._moved(running_var.value, var)
        else:
            mean, var = running_mean.value, running_var.value
        scale = gamma * lax.rsqrt(var + self.eps)
        shift = beta - mean * scale
        return add_bias(_per_channel(x, scale), shift.astype(x.dtype)).astype(self.dtype)

    def _moved(self, old, batch):
        return (self.momentum * old + (1 - self.momentum) * batch).astype(old.dtype)


class InstanceNorm(nn.Module):
    """`[B, H, W, C]` -> the same: gamma * (x - mean) / sqrt(variance + eps) + beta, mean and variance of each plane.

    The variance is the biased one; there are no running statistics. Parameters and the work are float32 or wider; the result
    has `dtype`. Reference: Ulyanov et al., Instance Normalization: The Missing Ingredient for Fast Stylization, 2016.
    """

    eps: float = 1e-5
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x):
        shape = (x.shape[-1],)
        gamma = self.param('gamma', nn.initializers.ones, shape, jnp.float32)
        beta = self.param('beta', nn.initializers.zeros, shape, jnp.float32)
        x, count = at_least_float32(x), x.shape[1] * x.shape[2]
        x = _shifted(x, -plane_sum(x) / count)
        var = plane_sum(x * x) / count
        return add_bias(gated(x, (gamma * lax.rsqrt(var + self.eps))[:, None, None]), beta.astype(x.dtype)).astype(self.dtype)


@jax.custom_vjp
def _shifted(x, shift):
    """`[B, H, W, C]` + `[B, C]`, the shift's gradient by `plane_sum`. Reverse mode only."""
    return x + shift[:, None, None]


_shifted.defvjp(lambda x, shift: (_shifted(x, shift), None), lambda _, g: (g, plane_sum(g)))


class PReLU(nn.Module):
    """`[B, H, W, C]` -> the same: relu(x) - alpha * relu(-x), one slope `alpha` per channel.

    At first all slopes are `slope`: 0 in Keras, 0.25 in PyTorch. At x = 0 it has no slope, as Keras'.
    Reference: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """

    slope: float = 0.0

    @nn.compact
    def __call__(self, x):
        alpha = self.param('alpha', nn.initializers.constant(self.slope), (x.shape[-1],), jnp.float32)
        return nn.relu(x) - _per_channel(nn.relu(-x), alpha)


def _per_channel(x, factor):
    """`[B, H, W, C]` * `[C]` by way of `gated`, whose gradient is summed axis by axis: faster on CPU, and more exact."""
    return gated(x, jnp.broadcast_to(factor.astype(x.dtype), (x.shape[0], 1, 1, x.shape[-1])))
