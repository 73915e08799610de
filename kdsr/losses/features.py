"""Losses between feature maps of a student and a teacher: hints, attention transfer, flow of solution procedure."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from kdsr.losses import pixel

# Affinities of two good networks differ little: TF32 or one bfloat16 pass would turn their difference into noise.
einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def fitnet(student: ArrayLike, teacher: ArrayLike) -> jax.Array:
    """Mean absolute difference of the raw features: the hint loss with an L1 and without a regressor, as in FAKD.

    Channels must be equal (the paper's regressor is a 1x1 convolution of the caller's). Examples do not couple.
    Zero features are no special case.

    Args:
      student: features `[B, H, W, C]`.
      teacher: features `[B, H, W, C]`.

    Returns:
      Scalar, at least float32, in the units of the features.

    Raises:
      ValueError: the shapes differ or are not 4-D.

    References:
      Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, section 2.2 (there squared, with a regressor).
      He et al., "FAKD: Feature-Affinity Based Knowledge Distillation for Efficient Image Super-Resolution", ICIP 2020.
    """
    return pixel.l1(*check_shapes('features.fitnet', student, teacher, 'BHWC'))


def scaled(student: ArrayLike, teacher: ArrayLike, *, deviation: ArrayLike = 1.0) -> jax.Array:
    """Mean squared difference of the features after both were divided by one number: `mean(((student - teacher) / deviation)^2)`.

    With the standard deviation of the teacher's features as `deviation` taps of very different sizes weigh alike; a student of
    zeros then costs 1 + (mean / deviation)^2. Examples do not couple but by what the caller takes `deviation` of.

    Args:
      student: features `[B, H, W, C]`, brought to the teacher's width.
      teacher: features `[B, H, W, C]`.
      deviation: scalar above 0.

    Returns:
      Scalar, at least float32, without a unit where `deviation` has that of the features.

    Raises:
      ValueError: the shapes differ or are not 4-D, or `deviation` is no scalar.

    References:
      Liu et al., "A Simple and Generic Framework for Feature Distillation via Channel-wise Transformation", arXiv 2303.13212,
      2023 (there a plain sum of squares, after an MLP on the student's channels, which is the caller's).
    """
    student, teacher = check_shapes('features.scaled', student, teacher, 'BHWC')
    if jnp.shape(deviation) != ():
        raise ValueError(f'features.scaled: deviation has shape {jnp.shape(deviation)}, must be a scalar: one for each tap')
    return jnp.square((student - teacher) / deviation).mean()


def attention(student: ArrayLike, teacher: ArrayLike, *, eps: float = 1e-6) -> jax.Array:
    """Attention transfer: mean absolute difference of the two `attention_map`s.

    Channels may differ. Examples do not couple. An all-zero feature map has attention 0 and gets gradient 0.

    Args:
      student: features `[B, H, W, Cs]`.
      teacher: features `[B, H, W, Ct]`.
      eps: added to the norm of the map.

    Returns:
      Scalar, at least float32, in [0, 1].

    Raises:
      ValueError: B, H or W differ or the shapes are not 4-D.

    References:
      Zagoruyko & Komodakis, "Paying More Attention to Attention", ICLR 2017, section 3.1 (there the L2 norm of the
      difference; the mean of absolutes is that of FAKD, ICIP 2020).
    """
    student, teacher = check_shapes('features.attention', student, teacher, 'BHW')
    return pixel.l1(attention_map(student, eps=eps), attention_map(teacher, eps=eps))


def attention_map(x: ArrayLike, *, eps: float = 1e-6) -> jax.Array:
    """Energy over channels with unit L2 norm over the image: `[B, H, W, C]` -> `[B, H, W]`."""
    return unit(jnp.square(pixel.as_float(x)).sum(-1), (1, 2), eps)


def fsp(student: tuple[ArrayLike, ArrayLike], teacher: tuple[ArrayLike, ArrayLike]) -> jax.Array:
    """Flow of solution procedure: mean absolute difference of the two `fsp_matrix`es, each of a pair of taps.

    Channels of student and teacher must be equal, tap by tap; their sizes H x W may differ. Examples do not couple.
    Zero features are no special case.

    Args:
      student: an earlier and a later tap, `[B, H1, W1, C1]` and `[B, H2, W2, C2]`, with H1 >= H2 and W1 >= W2.
      teacher: likewise, with the same B, C1 and C2.

    Returns:
      Scalar, at least float32, in squared units of the features.

    Raises:
      ValueError: B, C1 or C2 differ, a shape is not 4-D, or a second tap is larger than the first.

    References:
      Yim et al., "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer Learning",
      CVPR 2017, equations 1 and 2 (there squared; the absolute difference is that of FAKD, ICIP 2020).
    """
    matrices = fsp_matrix(*student), fsp_matrix(*teacher)
    if matrices[0].shape != matrices[1].shape:
        shapes = [f'{jnp.shape(a)}, {jnp.shape(b)}' for a, b in (student, teacher)]
        raise ValueError(
            f'features.fsp: student taps {shapes[0]} and teacher taps {shapes[1]} must have equal B and channels; '
            'a 1x1 convolution on the student adapts C'
        )
    return pixel.l1(*matrices)


def fsp_matrix(first: ArrayLike, second: ArrayLike) -> jax.Array:
    """Products of all channels of two taps, averaged over positions: `[B, C1, C2]`.

    A larger first tap `[B, H1, W1, C1]` is averaged down to the size of the second, `[B, H2, W2, C2]`.
    """
    first, second = check_shapes('features.fsp', first, second, 'B', names=('first tap', 'second tap'))
    (_, h1, w1, _), (_, h2, w2, _) = first.shape, second.shape
    if h1 < h2 or w1 < w2:
        raise ValueError(f'features.fsp: first tap {first.shape} is smaller than second tap {second.shape}; exchange the two taps')
    if (h1, w1) != (h2, w2):
        rows, columns = (jnp.asarray(_adaptive_mean(*size), first.dtype) for size in ((h1, h2), (w1, w2)))
        first = einsum('ih,jw,bhwc->bijc', rows, columns, first)
    return einsum('bhwc,bhwd->bcd', first, second) / (h2 * w2)


def check_shapes(name, student, teacher, equal, names=('student', 'teacher')):
    """Both features in at least float32; ValueError unless they are `[B, H, W, C]` and agree on the axes `equal`."""
    shapes = jnp.shape(student), jnp.shape(teacher)
    same = {axis for axis, s, t in zip('BHWC', *shapes, strict=False) if s == t}
    if not all(len(shape) == 4 for shape in shapes) or not same.issuperset(equal):
        raise ValueError(
            f'{name}: {names[0]} {shapes[0]} and {names[1]} {shapes[1]} must be [B, H, W, C] with equal '
            f'{", ".join(equal)}; tap at the same resolution, and adapt C by a 1x1 convolution'
        )
    return pixel.as_float(student), pixel.as_float(teacher)


def unit(x: jax.Array, axis, eps: float) -> jax.Array:
    """`x / (norm + eps)`, the norm being L2 over `axis`; a zero vector stays zero, with gradient zero."""
    square = jnp.square(x).sum(axis, keepdims=True)
    # d sqrt(0) is infinite, and 0 * inf = NaN survives a where around it: the argument itself must be safe. With
    # the inner where alone a zero vector would still get its gradient divided by eps, i.e. multiplied by 1e8.
    # (`== 0`, not `> 0`: NaN features must stay visible.)
    norm = jnp.sqrt(jnp.where(square == 0, 1, square))
    return jnp.where(square == 0, 0, x / (norm + eps))


def max_pool(x, pool):
    """Maximum over `pool` x `pool` windows with that stride: `[B, H, W, C]` -> `[B, ceil(H/pool), ceil(W/pool), C]`."""
    # equal maxima of a window share the gradient (torch gives it to the first)
    return _windows(x, pool, -jnp.inf).max((2, 4))


def average_pool(x, pool):
    """Likewise the mean, of the valid elements only (torch: `ceil_mode=True`)."""
    valid = _windows(np.ones((1, *x.shape[1:3], 1), x.dtype), pool, 0).sum((2, 4))
    return _windows(x, pool, 0).sum((2, 4)) / valid


POOLS = {'avg': average_pool, 'max': max_pool}


def _windows(x, pool, fill):
    """`[B, H, W, C]` -> `[B, ceil(H/k), k, ceil(W/k), k, C]`, filled up below and to the right."""
    b, h, w, c = x.shape
    rows, columns = -(-h // pool), -(-w // pool)
    x = jnp.pad(x, ((0, 0), (0, rows * pool - h), (0, columns * pool - w), (0, 0)), constant_values=fill)
    return x.reshape(b, rows, pool, columns, pool, c)


def _adaptive_mean(size, out):
    """`[out, size]`, torch's AdaptiveAvgPool2d: windows from floor(i size/out) to ceil((i+1) size/out), overlapping."""
    starts = [i * size // out for i in range(out)]
    ends = [-(-(i + 1) * size // out) for i in range(out)]
    matrix = np.zeros((out, size))
    for row, start, end in zip(matrix, starts, ends, strict=True):
        row[start:end] = 1 / (end - start)
    return matrix
