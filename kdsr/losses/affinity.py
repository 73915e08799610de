"""Losses between affinity matrices: how alike the positions, channels or examples of features are to one another."""

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from kdsr.losses import pixel
from kdsr.losses.features import POOLS, check_shapes, einsum, unit

# Rows of an N x N affinity that exist at a time: 256 x 9216 floats are 9 MiB.
ROWS = 256


def spatial(student: ArrayLike, teacher: ArrayLike, *, eps: float = 1e-8) -> jax.Array:
    """Spatial affinity (SA): mean absolute difference of the two `spatial_matrix`es, cosines between N = H*W positions.

    No N x N array is stored, forward or backward; reverse mode only. Channels may differ. Examples do not couple.
    A position whose features are all zero has affinity 0 to every other, and gets gradient 0.

    Args:
      student: features `[B, H, W, Cs]`.
      teacher: features `[B, H, W, Ct]`.
      eps: added to the norm of each position (the public code of FAKD used 1e-7 until 2020).

    Returns:
      Scalar, at least float32, in [0, 2].

    Raises:
      ValueError: B, H or W differ or the shapes are not 4-D.

    References:
      He et al., "FAKD: Feature-Affinity Based Knowledge Distillation for Efficient Image Super-Resolution", ICIP 2020
      (`SA` in its code).
    """
    student, teacher = check_shapes('affinity.spatial', student, teacher, 'BHW')
    return _mean_difference(_dot, _directions(student, eps), _directions(teacher, eps))


def spatial_matrix(x: ArrayLike, *, eps: float = 1e-8) -> jax.Array:
    """Cosines between all positions of each image: `[B, H, W, C]` -> `[B, N, N]`, N = H*W, row by row."""
    return _matrix(_dot, _directions(pixel.as_float(x), eps))


def channel(student: ArrayLike, teacher: ArrayLike, *, eps: float = 1e-8) -> jax.Array:
    """Channel affinity (CA): mean absolute difference of the two `channel_matrix`es, cosines between channels.

    Channels must be equal; sizes H x W may differ. Examples do not couple. An all-zero channel has affinity 0 to every
    other, and gets gradient 0.

    Args:
      student: features `[B, Hs, Ws, C]`.
      teacher: features `[B, Ht, Wt, C]`.
      eps: added to the norm of each channel.

    Returns:
      Scalar, at least float32, in [0, 2].

    Raises:
      ValueError: B or C differ or the shapes are not 4-D.

    References:
      He et al., "FAKD", ICIP 2020 (`CA` in its code).
    """
    student, teacher = check_shapes('affinity.channel', student, teacher, 'BC')
    return pixel.l1(channel_matrix(student, eps=eps), channel_matrix(teacher, eps=eps))


def channel_matrix(x: ArrayLike, *, eps: float = 1e-8) -> jax.Array:
    """Cosines between all channels of each image: `[B, H, W, C]` -> `[B, C, C]`."""
    x = unit(pixel.as_float(x), (1, 2), eps)
    return einsum('bhwc,bhwd->bcd', x, x)


def instance(student: ArrayLike, teacher: ArrayLike) -> jax.Array:
    """Instance affinity (IA): mean absolute difference of the two `instance_matrix`es, similarity between examples.

    COUPLES THE EXAMPLES of the batch: on several devices gather both features first (`jax.lax.all_gather`). One
    example alone costs 0. H, W and C may differ. An all-zero example has affinity 0 to every other, with gradient 0.

    Args:
      student: features `[B, Hs, Ws, Cs]`.
      teacher: features `[B, Ht, Wt, Ct]`.

    Returns:
      Scalar, at least float32, in [0, 2].

    Raises:
      ValueError: B differs or the shapes are not 4-D.

    References:
      He et al., "FAKD", ICIP 2020 (`IA` in its code).
      Tung & Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, section 3 (there squared).
    """
    student, teacher = check_shapes('affinity.instance', student, teacher, 'B')
    return pixel.l1(instance_matrix(student), instance_matrix(teacher))


def instance_matrix(x: ArrayLike) -> jax.Array:
    """Products of all examples, each row with unit L2 norm (so not symmetric): `[B, H, W, C]` -> `[B, B]`."""
    x = pixel.as_float(x)
    return unit(einsum('ahwc,bhwc->ab', x, x), 1, 0)


def pooled_spatial(
    student: ArrayLike, teacher: ArrayLike, *, pool: int = 1, pool_type: str = 'max', eps: float = 1e-8
) -> jax.Array:
    """Pooled spatial affinity (PSA): `spatial` of features pooled to N' = ceil(H/pool) * ceil(W/pool) positions.

    No N' x N' array is stored; reverse mode only. Channels may differ. Examples do not couple. A pooled position that
    is all zero has affinity 0 to every other, and gets gradient 0.

    Args:
      student: features `[B, H, W, Cs]`.
      teacher: features `[B, H, W, Ct]`.
      pool: side and stride of the window; a window over the edge counts its valid elements only.
      pool_type: 'max' or 'avg'.
      eps: added to the norm of each position.

    Returns:
      Scalar, at least float32, in [0, 2].

    Raises:
      ValueError: B, H or W differ, the shapes are not 4-D, `pool` is below 1, `pool_type` is unknown.

    References:
      Liu et al., "Structured Knowledge Distillation for Semantic Segmentation", CVPR 2019, "pair-wise distillation"
      (there squared); the absolute difference is that of the code of FAKD.
    """
    student, teacher = _pooled('affinity.pooled_spatial', student, teacher, pool, pool_type)
    return _mean_difference(_dot, _directions(student, eps), _directions(teacher, eps))


def rbf(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    pool: int = 1,
    pool_type: str = 'max',
    order: int = 2,
    gamma: float = 5.0,
) -> jax.Array:
    """RBF affinity: mean absolute difference of Gaussian kernels between the directions of pooled positions.

    The kernel `exp(-gamma |x - y|^2)` of unit vectors is `exp(-2 gamma) exp(2 gamma x.y)`, and the second factor its
    Taylor polynomial. It is small: at the defaults at most 61 exp(-10) = 0.0028, so its weight must be of order 1000.
    No N' x N' array is stored; reverse mode only. Channels may differ. Examples do not couple. A position that is all
    zero has the kernel exp(-2 gamma) to every other, and gets gradient 0.

    Args:
      student: features `[B, H, W, Cs]`.
      teacher: features `[B, H, W, Ct]`.
      pool, pool_type: as in `pooled_spatial`.
      order: degree of the polynomial, at least 1.
      gamma: inverse squared width of the kernel.

    Returns:
      Scalar, at least float32.

    Raises:
      ValueError: as `pooled_spatial`; `order` is below 1.

    References:
      Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019, generalized kernel (there between
      examples; between positions in the code of FAKD).
    """
    if order < 1:
        raise ValueError(f'affinity.rbf: order {order} must be at least 1')
    student, teacher = _pooled('affinity.rbf', student, teacher, pool, pool_type)
    kernel = functools.partial(_taylor_rbf, order=order, gamma=gamma)
    return _mean_difference(kernel, _directions(student, 0), _directions(teacher, 0))


def mmd(student: ArrayLike, teacher: ArrayLike, *, pool: int = 1, pool_type: str = 'max') -> jax.Array:
    """Mean discrepancy affinity: `|m_i - m_j|` between pooled positions, m being the mean over channels.

    No N' x N' array is stored; reverse mode only. Channels may differ. Examples do not couple. Equal means have
    discrepancy 0 and subgradient 0, so all-zero features get gradient 0.

    Args:
      student: features `[B, H, W, Cs]`.
      teacher: features `[B, H, W, Ct]`.
      pool, pool_type: as in `pooled_spatial`.

    Returns:
      Scalar, at least float32, in the units of the features.

    Raises:
      ValueError: as `pooled_spatial`.

    References:
      The `MMD` affinity of the code of FAKD (He et al., ICIP 2020), after Huang & Wang, "Like What You Like: Knowledge
      Distill via Neuron Selectivity Transfer", arXiv 1707.01219, 2017 (there between distributions over channels).
    """
    student, teacher = _pooled('affinity.mmd', student, teacher, pool, pool_type)
    mean = lambda x: _positions(x.mean(-1, keepdims=True))
    return _mean_difference(_distance, mean(student), mean(teacher))


# Affinities a(x, y) of positions `[n, C]` to positions `[N, C]`, `[n, N]`; all symmetric: a(x, y) = a(y, x)'.


def _dot(x, y):
    return einsum('ic,jc->ij', x, y)


def _taylor_rbf(x, y, order, gamma):
    z = 2 * gamma * _dot(x, y)
    kernel = 1.0
    for p in range(order, 0, -1):  # Horner: 1 + z (1 + z/2 (1 + z/3 ...))
        kernel = 1 + z / p * kernel
    return math.exp(-2 * gamma) * kernel


def _distance(x, y):
    return pixel.absolute(x - y.T)


def _matrix(affinity, x):
    return jax.vmap(lambda image: affinity(image, image))(x)


def _mean_difference(affinity, student, teacher):
    """Mean of |affinity(s, s) - affinity(t, t)| over images `[B, N, C]`, one at a time: their matrices are large."""
    dtype = jnp.promote_types(student.dtype, teacher.dtype)
    images = student.astype(dtype), teacher.astype(dtype)
    return jax.lax.map(lambda pair: _difference(affinity, *pair), images).mean()


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _difference(affinity, student, teacher):
    return _difference_forward(affinity, student, teacher)[0]


def _difference_forward(affinity, student, teacher):
    """The loss of one image and its gradient for student and teacher, in one pass over blocks of rows.

    For D = A_s - A_t and L = mean |D|, row i gives the whole dL/ds_i = 2/N^2 sum_j sign(D_ij) da(s_i, s_j)/ds_i: s_i
    enters row i and, A being symmetric, equally column i. So no second pass over the rows is needed, and only `[N, C]`
    is kept. XLA drops the teacher's part where nobody differentiates it.
    """
    n = len(student)
    # at least two blocks, of equal size: then no block is N x N, and a prime N pads less than one row per block
    blocks = max(2, -(-n // ROWS))
    rows = -(-n // blocks)
    cut = lambda x: jnp.pad(x, ((0, blocks * rows - n), (0, 0))).reshape(blocks, rows, -1)
    join = lambda x: x.reshape(blocks * rows, *x.shape[2:])[:n]

    def block(pair):
        a_student, pull_student = jax.vjp(lambda x: affinity(x, student), pair[0])
        a_teacher, pull_teacher = jax.vjp(lambda x: affinity(x, teacher), pair[1])
        # two products, not the one of [s, -t] and [s, t]: equal rows then cancel exactly and pull nowhere
        difference = a_student - a_teacher
        sign = jnp.sign(difference)
        return jnp.abs(difference).sum(-1), *pull_student(sign), *pull_teacher(-sign)

    loss, d_student, d_teacher = map(join, jax.lax.map(block, (cut(student), cut(teacher))))
    return loss.sum() / n**2, (2 / n**2 * d_student, 2 / n**2 * d_teacher)


def _difference_backward(affinity, gradients, g):
    return tuple(g * gradient for gradient in gradients)


_difference.defvjp(_difference_forward, _difference_backward)


def _positions(x):
    return x.reshape(x.shape[0], -1, x.shape[-1])


def _directions(x, eps):
    return _positions(unit(x, -1, eps))


def _pooled(name, student, teacher, pool, pool_type):
    student, teacher = check_shapes(name, student, teacher, 'BHW')
    if pool < 1:
        raise ValueError(f'{name}: pool {pool} must be at least 1')
    if pool_type not in POOLS:
        raise ValueError(f"{name}: pool_type {pool_type!r} is unknown; use 'avg' or 'max'")
    return tuple(POOLS[pool_type](x, pool) for x in (student, teacher))
