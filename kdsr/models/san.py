"""SAN (Dai et al., CVPR 2019): second-order channel attention between two passes of one non-local module."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.layers import Conv, Upsampler, add_mean, at_least_float32, sub_mean
from kdsr.models.pooling import max_pool
from kdsr.models.rcan import ChannelAttention

SCORES = 2**22  # attention scores held at once (16 MiB of float32); more are made in blocks of rows


def covariance(x):
    """Biased channel covariance of a map, `[B, h, w, C]` -> `[B, C, C]`, float32 or wider.

    Equals the original's X (I/N - 1/N^2) X' without its N x N centring matrix. `matmul` at full precision: the matrix
    root below amplifies the rounding of bfloat16 or TF32.
    """
    b, h, w, c = x.shape
    x = at_least_float32(x).reshape(b, h * w, c)
    x = x - x.mean(1, keepdims=True)
    return jnp.matmul(x.mT, x, precision='highest') / (h * w)


def newton_schulz_sqrt(sigma, iterations=5):
    """Approximate square root of symmetric positive semi-definite `[..., C, C]` by Newton-Schulz iterations.

    Li et al., Towards Faster Training of Global Covariance Pooling Networks by Iterative Matrix Square Root
    Normalization, CVPR 2018: divide by the trace, iterate, multiply by its root. Zero for sigma = 0.
    """
    matmul = functools.partial(jnp.matmul, precision='highest')
    sigma = at_least_float32(sigma)
    three = 3 * jnp.eye(sigma.shape[-1], dtype=sigma.dtype)
    trace = jnp.maximum(jnp.trace(sigma, axis1=-2, axis2=-1), 1e-12)[..., None, None]  # a 1-pixel map has sigma = 0
    a = sigma / trace
    z = (three - a) / 2
    y = matmul(a, z)
    for _ in range(iterations - 2):
        w = (three - matmul(z, y)) / 2
        y, z = matmul(y, w), matmul(w, z)
    return jnp.sqrt(trace) * matmul(y, three - matmul(z, y)) / 2


def second_order(x, most=1000):
    """Channel descriptor `[B, 1, 1, C]` of a map `[B, h, w, C]`: row means of the root of its covariance.

    A map of more than `most` pixels a side is cropped to its centre first, as in the original.
    """
    h, w = x.shape[1:3]
    top, left = max(0, h - most) // 2, max(0, w - most) // 2
    root = newton_schulz_sqrt(covariance(x[:, top : top + most, left : left + most]))
    return root.mean(1)[:, None, None, :]


def attention(query, key, value, most=SCORES):
    """softmax(query key') value over positions: `[B, N, D]`, `[B, M, D]`, `[B, M, E]` -> `[B, N, E]`, not scaled.

    A row of scores needs all keys but no other row, so blocks of rows are exact. Where the N x M scores of the batch
    are more than `most`, they are made block by block and again in the backward pass, and never stored.
    """

    def rows(q):
        wide = jnp.promote_types(q.dtype, jnp.float32)
        scores = jnp.einsum('bnd,bmd->bnm', q, key, preferred_element_type=wide)
        return jnp.einsum('bnm,bme->bne', nn.softmax(scores).astype(value.dtype), value)

    (b, n, d), m = query.shape, key.shape[1]
    blocks = -(-n // max(1, most // (b * m)))
    if blocks == 1:
        return rows(query)
    size = -(-n // blocks)
    padded = jnp.pad(query, ((0, 0), (0, blocks * size - n), (0, 0)))
    out = jax.lax.map(jax.checkpoint(rows), padded.reshape(b, blocks, size, d).swapaxes(0, 1))
    return out.swapaxes(0, 1).reshape(b, blocks * size, -1)[:, :n]


def quadrants(x):
    """The four parts of `[B, h, w, C]` cut at (h // 2, w // 2), as two rows of two."""
    h, w = x.shape[1] // 2, x.shape[2] // 2
    return (x[:, :h, :w], x[:, :h, w:]), (x[:, h:, :w], x[:, h:, w:])


class NonLocal(nn.Module):
    """Region-level non-local module, `[B, h, w, F]` -> the same: x + conv(attention within each quadrant).

    Keys and values are pooled 2x2: the original asks for no pooling, but its 2-D branch pools all the same, and the
    released weights were trained so. The last convolution starts at zero: the module starts as the identity.
    """

    dtype: str

    @nn.compact
    def __call__(self, x):
        features = x.shape[-1]
        inner = functools.partial(Conv, max(1, features // 4), 1, dtype=self.dtype)
        q, k, v = (quadrants(inner(name=name)(x)) for name in ('theta', 'phi', 'value'))
        rows = [jnp.concatenate([_attend(q[i][j], k[i][j], v[i][j]) for j in (0, 1)], 2) for i in (0, 1)]
        y, zeros = jnp.concatenate(rows, 1), nn.initializers.zeros
        return x + Conv(features, 1, dtype=self.dtype, kernel_init=zeros, bias_init=zeros, name='conv')(y)


def _attend(query, key, value):
    flat = lambda x: x.reshape(x.shape[0], -1, x.shape[-1])
    return attention(flat(query), flat(max_pool(key)), flat(max_pool(value))).reshape(query.shape)


class Block(nn.Module):
    """`[B, h, w, F]` -> the same: x + conv(relu(conv(x)))."""

    dtype: str

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(Conv, x.shape[-1], dtype=self.dtype)
        return x + conv(name='conv2')(nn.relu(conv(name='conv1')(x)))


class Group(nn.Module):
    """`[B, h, w, F]` -> the same: x + conv(y * gate(second-order statistics of y)), y = plain residual blocks of x."""

    blocks: int
    reduction: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        y = x
        for i in range(1, self.blocks + 1):
            y = Block(self.dtype, name=f'block{i}')(y)
        gate = ChannelAttention(self.reduction, self.dtype, name='attention')
        y = y * gate(second_order(y).astype(y.dtype))
        return x + Conv(x.shape[-1], dtype=self.dtype, name='conv')(y)


class SAN(nn.Module):
    """Second-order attention network, `lr [B, h, w, channels]` in [0, 1] -> (image `[B, s*h, s*w, channels]`, taps).

    The image is float32 and not clipped; LR of at least 4x4 (ValueError: the quadrants are pooled). Published sizes,
    all 64 features and reduction 16: 20 groups x 10 blocks (the default and FAKD's teacher); FAKD's student 6 x 10.
    Built after the released code (inner width F/4, a convolution at the end of each group), without its dead
    parameters: see `dead_parameters`.

    Taps, each `[B, h, w, features]`: 'head'; 'group1' ... 'groupG', after so many groups, the shared skip gamma * u0
    included; 'body', the second non-local pass before + head (what FAKD's code reads), after it if not `tap_pre_skip`.

    References: Dai et al., Second-Order Attention Network for Single Image Super-Resolution, CVPR 2019;
    He et al., FAKD: Feature-Affinity based Knowledge Distillation for Efficient Image Super-Resolution, ICIP 2020.
    """

    scale: int = 4
    features: int = 64
    groups: int = 20
    blocks: int = 10
    reduction: int = 16
    rgb_range: float = 255.0
    channels: int = 3
    dtype: str = 'float32'
    tap_pre_skip: bool = True

    @nn.compact
    def __call__(self, lr):
        if min(lr.shape[1:3]) < 4:
            raise ValueError(f'SAN needs images of at least 4x4 pixels, got {lr.shape[1]}x{lr.shape[2]}: pad them')
        conv = functools.partial(Conv, dtype=self.dtype)
        head = conv(self.features, name='head')(sub_mean(lr, self.rgb_range))
        nonlocal_ = NonLocal(self.dtype, name='nonlocal')  # one module, used twice
        gamma = self.param('gamma', nn.initializers.zeros, ()).astype(self.dtype)
        taps = {'head': head}
        x = start = nonlocal_(head)
        for i in range(1, self.groups + 1):
            group = Group(self.blocks, self.reduction, self.dtype, name=f'group{i}')
            x = taps[f'group{i}'] = group(x) + gamma * start
        body = nonlocal_(x)
        x = body + head
        taps['body'] = body if self.tap_pre_skip else x
        x = Upsampler(self.scale, self.features, self.dtype, name='up')(x)
        return add_mean(conv(self.channels, name='tail')(x), self.rgb_range), taps


Generator = SAN


def fakd_taps(groups=SAN.groups, **_):
    """The three taps FAKD distils: after 1/3 and 2/3 of the groups, rounded up (7, 14 of 20; 2, 4 of 6), the body."""
    return f'group{-(-groups // 3)}', f'group{-(-2 * groups // 3)}', 'body'


def radius(**_):
    """None, no limit: its statistics and its attention read the whole image."""
    return None


def dead_parameters(groups=SAN.groups, features=SAN.features):
    """Parameters that the released SAN holds, never uses, and counts: live + dead = the published number.

    One own gamma per group, a 3x3 convolution and, in the non-local wrapper, a second-order attention of reduction 8.
    """
    inner = features // 8
    return groups + (9 * features**2 + features) + (2 * features * inner + inner + features)
