"""MATLAB's bicubic up and down by whole factors and bilinear up, inside networks and losses: linear, exact, differentiable."""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from kdsr.data.resize import imresize
from kdsr.models import colour
from kdsr.models.layers import at_least_float32

SMALL = 96  # sides up to this are enlarged by a matrix; XLA:CPU differentiates it 10 times faster than shifts


def enlarge(x, scale, border='symmetric'):
    """`[B, h, w, C]` -> `[B, s*h, s*w, C]`, float32 or wider: `imresize(x, s, border=border)`, not clipped or rounded.

    Sides may be free (`jax.export`). Raises ValueError for a border that is none of `imresize`'s.

    Reference: R. Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE Trans. ASSP 1981, a = -1/2.
    """
    x, sides = at_least_float32(x), x.shape[1:3]
    if all(isinstance(n, int) and n <= SMALL for n in sides):
        return _by_matrices(x, border, *((scale * n, n) for n in sides))
    weights = matrix(9 * scale, 9, border)[4 * scale : 5 * scale, 2:7]
    return _by_shifts(_by_shifts(x, weights, 1, border), weights, 2, border)


def with_colour(enlarge_y, rgb, scale):
    """`[B, h, w, 3]` in [0, 1] -> `[B, s*h, s*w, 3]`: Y of BT.601 by `enlarge_y`, of `[B, h, w, 1]`; Cb and Cr bicubically."""
    planes = colour.rgb_to_ycbcr(rgb)
    chroma = planes[..., 1:] if scale == 1 else enlarge(planes[..., 1:], scale)
    return colour.ycbcr_to_rgb(jnp.concatenate([enlarge_y(planes[..., :1]), chroma], -1))


def bilinear(x, scale):
    """`[B, h, w, C]` -> `[B, s*h, s*w, C]`, float32 or wider: PyTorch's `interpolate(mode='bilinear', align_corners=False)`."""
    x, place = at_least_float32(x), (np.arange(scale) + 0.5) / scale - 0.5  # of the s new pixels, between -1/2 and 1/2
    weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(-2, 3)))
    return _by_shifts(_by_shifts(x, weights, 1), weights, 2)


def reduce(x, scale, border='symmetric'):
    """`[B, s*h, s*w, C]` -> `[B, h, w, C]`, float32 or wider: `imresize(x, 1/s, border=border)`, antialiased, not rounded.

    Raises ValueError for sides that are no multiples of s, and for a border that is none of `imresize`'s.
    """
    x, sides = at_least_float32(x), x.shape[1:3]
    if any(n % scale for n in sides):
        raise ValueError(f'cannot reduce {sides[0]}x{sides[1]} by {scale}: the sides must be multiples of it')
    return _by_matrices(x, border, *((n // scale, n) for n in sides))


@functools.lru_cache
def matrix(rows, columns, border='symmetric'):
    """`[rows, columns]`, float64: what resizing makes of one side of an image."""
    return imresize(np.eye(columns), None, size=(rows, columns), border=border)


def _by_matrices(x, border, rows, columns):
    # highest precision: accelerators would round the factors of a product to 8 or 11 bits
    down, across = (jnp.asarray(matrix(*sizes, border), x.dtype) for sizes in (rows, columns))
    return jnp.einsum('ih,bhwc,jw->bijc', down, x, across, precision=lax.Precision.HIGHEST)


def _by_shifts(x, weights, axis, border='symmetric'):
    """Enlarges one axis: for each of the s phases a sum of the five nearest pixels by `weights` `[s, 5]`, then the phases in turn.

    A matrix would grow with the image; and all exporters take this at free sizes, unlike `pad` and `concatenate`.
    """
    n = x.shape[axis]
    resized = lambda stacked, factor: stacked.reshape(*x.shape[:axis], factor * n, *x.shape[axis + 1 :])
    if border == 'replicate':
        edge = lambda at: jnp.broadcast_to(lax.slice_in_dim(x, at, at + 1, axis=axis), x.shape)
        around = [edge(0), edge(0), x, edge(n - 1), edge(n - 1)]
    else:
        back = jnp.flip(x, axis)
        around = [x, back, x, back, x]
    endless = resized(jnp.stack(around, axis), 5)  # the border of a single line as well
    shifted = [lax.slice_in_dim(endless, 2 * n - 2 + k, 3 * n - 2 + k, axis=axis) for k in range(5)]
    phases = [sum(float(w) * y for w, y in zip(row, shifted, strict=True) if w) for row in weights]
    return resized(jnp.stack(phases, axis + 1), len(weights))
