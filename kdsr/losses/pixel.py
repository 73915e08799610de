"""Losses between two images: L1, L2 and Charbonnier, each the unweighted mean over all elements."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def l1(sr: ArrayLike, hr: ArrayLike) -> jax.Array:
    """Mean absolute error.

    The subgradient at a zero difference is 0. Examples do not couple.

    Args:
      sr: images `[B, H, W, C]`, any range (any other shape is fine too).
      hr: target, same shape and range as `sr`.

    Returns:
      Scalar, at least float32, in the units of the images.

    Raises:
      ValueError: the shapes differ.

    References:
      Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops 2017, section 4.2.
    """
    return absolute(_difference('pixel.l1', sr, hr)).mean()


def l2(sr: ArrayLike, hr: ArrayLike) -> jax.Array:
    """Mean squared error, without the factor 1/2. Examples do not couple.

    Args:
      sr: images `[B, H, W, C]`, any range (any other shape is fine too).
      hr: target, same shape and range as `sr`.

    Returns:
      Scalar, at least float32, in squared units of the images.

    Raises:
      ValueError: the shapes differ.

    References:
      Dong et al., "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016, section 3.3.
    """
    return jnp.square(_difference('pixel.l2', sr, hr)).mean()


def charbonnier(sr: ArrayLike, hr: ArrayLike, *, eps: float = 1e-3) -> jax.Array:
    """Mean of `sqrt(d**2 + eps**2)`, a smooth L1: equal images cost `eps`, with gradient 0.

    Examples do not couple. BasicSR writes `sqrt(d**2 + eps)`: its `eps=1e-12` is `eps=1e-6` here.

    Args:
      sr: images `[B, H, W, C]`, any range (any other shape is fine too).
      hr: target, same shape and range as `sr`.
      eps: width of the rounded tip, above 0, in the units of the images (the default belongs to [0, 1]).

    Returns:
      Scalar, at least float32, in the units of the images.

    Raises:
      ValueError: the shapes differ.

    References:
      Lai et al., "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR 2017, section 3.2.
    """
    return jnp.sqrt(jnp.square(_difference('pixel.charbonnier', sr, hr)) + eps**2).mean()


def total_variation(image: ArrayLike) -> jax.Array:
    """Sum over an image of the absolute differences between neighbours, down and across; mean over the batch.

    A constant image costs 0, with gradient 0. It grows with the number of pixels. Examples do not couple.

    Args:
      image: images `[B, H, W, C]`, any range.

    Returns:
      Scalar, at least float32, in the units of the images.

    Raises:
      ValueError: the shape is not 4-D.

    References:
      Rudin et al., "Nonlinear total variation based noise removal algorithms", Physica D 60, 1992, in the anisotropic form.
    """
    image = as_float(image)
    if image.ndim != 4:
        raise ValueError(f'pixel.total_variation: shape {image.shape} must be [B, H, W, C]')
    return sum(absolute(jnp.diff(image, axis=axis)).sum((1, 2, 3)).mean() for axis in (1, 2))


KINDS = {'l1': l1, 'l2': l2, 'charbonnier': charbonnier}


def as_float(x: ArrayLike) -> jax.Array:
    """`x` in at least float32: bfloat16 and integer images become float32, float64 stays."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def absolute(x: jax.Array) -> jax.Array:
    """`|x|` with derivative 0 at 0, as in PyTorch; that of `jnp.abs` is 1 there, pushing equal pixels apart."""
    return x * jnp.sign(x)


def _difference(name, a, b):
    # without this check `[B, H, W, 1]` against `[B, H, W, 3]` would broadcast silently
    if jnp.shape(a) != jnp.shape(b):
        raise ValueError(f'{name}: shapes {jnp.shape(a)} and {jnp.shape(b)} differ; crop or resize to the same shape')
    return as_float(a) - as_float(b)
