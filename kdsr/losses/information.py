"""Variational information distillation: how surely the student's features tell the teacher's."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from kdsr.losses import pixel

SCALES = {'laplace': 0.1, 'gaussian': 0.001}  # of the softplus, as the code has it
LEAST = 1e-8


def negative_log_likelihood(teacher: ArrayLike, mean: ArrayLike, spread: ArrayLike, *, law: str = 'laplace') -> jax.Array:
    """Mean over values of -log p(teacher | mean, b), with b = c `spread` + 1e-8, up to what is constant.

    'laplace': ln(2 b) + |mean - t| / b + C ln(2 pi) / 2, c = 0.1. 'gaussian': ln(b) / 2 + (mean - t)^2 / (2 b) + C ln(2 pi) / 2,
    c = 0.001. The constant, for C channels at every value, is the released code's; it moves nothing. Examples do not couple.

    Args:
      teacher: features `[B, H, W, C]`.
      mean: what is told of them, same shape.
      spread: how far off that may be, above 0, same shape: a softplus.
      law: 'laplace' (the published one) or 'gaussian'.

    Returns:
      Scalar, at least float32.

    Raises:
      ValueError: shapes differ, `law` is unknown.

    References:
      Lee et al., "Learning with Privileged Information for Efficient Image Super-Resolution", ECCV 2020 (PISR), section 3.3.
      Ahn et al., "Variational Information Distillation for Knowledge Transfer", CVPR 2019.
    """
    shapes = {jnp.shape(x) for x in (teacher, mean, spread)}
    if len(shapes) > 1 or law not in SCALES:
        raise ValueError(f"information: shapes {sorted(shapes)} must be equal, law {law!r} 'laplace' or 'gaussian'")
    b = SCALES[law] * pixel.as_float(spread) + LEAST
    off = pixel.as_float(mean) - pixel.as_float(teacher)
    constant = off.shape[-1] / 2 * math.log(2 * math.pi)
    values = jnp.log(2 * b) + pixel.absolute(off) / b if law == 'laplace' else jnp.log(b) / 2 + off**2 / (2 * b)
    return constant + values.mean()
