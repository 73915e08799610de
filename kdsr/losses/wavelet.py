"""Losses between the wavelet bands of two images."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from kdsr.losses import pixel


def haar(image: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """One level of the Haar transform: (low `[B, H/2, W/2, C]`, high `[B, H/2, W/2, 3, C]`).

    Of a block [[a, b], [c, d]] low is (a + b + c + d) / 2, high (a + b - c - d) / 2, (a - b + c - d) / 2 and (a - b - c + d) / 2:
    an orthogonal map.

    Args:
      image: `[B, H, W, C]`, even sides.

    Raises:
      ValueError: the shape is not 4-D, or a side is odd.
    """
    image = pixel.as_float(image)
    if image.ndim != 4 or image.shape[1] % 2 or image.shape[2] % 2:
        raise ValueError(f'wavelet.haar: shape {image.shape} must be [B, H, W, C] with even sides')
    a, b, c, d = (image[:, y::2, x::2] for y in (0, 1) for x in (0, 1))
    return (a + b + c + d) / 2, jnp.stack([a + b - c - d, a - b + c - d, a - b - c + d], 3) / 2


def haar_l1(student: ArrayLike, teacher: ArrayLike, *, levels: int = 1) -> jax.Array:
    """Mean absolute difference of the high bands of each level, plus that of the last low band.

    Examples do not couple. Equal images cost 0.

    Args:
      student: images `[B, H, W, C]`, sides multiples of 2**levels.
      teacher: likewise, same shape.
      levels: how often the low band is split again; 1 in the paper as it is summarised, 4 in its code.

    Returns:
      Scalar, at least float32, in the units of the images.

    Raises:
      ValueError: shapes differ, sides cannot be halved so often, `levels` is below 1.

    References:
      Jiang et al., "MTKD: Multi-Teacher Knowledge Distillation for Image Super-Resolution", ECCV 2024, and its code, `dwtLoss`.
    """
    if jnp.shape(student) != jnp.shape(teacher) or levels < 1:
        shapes = f'{jnp.shape(student)} and {jnp.shape(teacher)}'
        raise ValueError(f'wavelet.haar_l1: shapes {shapes} must be equal, levels={levels} at least 1')
    low, total = pixel.as_float(student) - pixel.as_float(teacher), 0.0  # the transform is linear
    for _ in range(levels):
        low, high = haar(low)
        total = total + pixel.absolute(high).mean()
    return total + pixel.absolute(low).mean()
