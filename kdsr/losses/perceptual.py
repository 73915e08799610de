"""Losses between features of a fixed network, e.g. a VGG, of two images: any features, the network is the caller's."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from kdsr.losses import pixel

Features = ArrayLike | Sequence[ArrayLike] | Mapping[str, ArrayLike]
NORMS = {'l1': pixel.l1, 'l2': pixel.l2}


def distance(features_a: Features, features_b: Features, *, norm: str = 'l2', weights: Features | None = None) -> jax.Array:
    """Weighted sum over features of their mean squared (or absolute) difference; equal features cost 0.

    Examples do not couple. Zero features are no special case.

    Args:
      features_a: a list or a dict of features, each `[B, H, W, C]` or any shape, or one such array.
      features_b: likewise, with the same names and shapes.
      norm: 'l2', mean of squares without 1/2, or 'l1', mean of absolutes.
      weights: likewise one number for each; None counts every feature once.

    Returns:
      Scalar, at least float32, in (squared) units of the features.

    Raises:
      ValueError: names, lengths or shapes differ, there are no features, `norm` is unknown.

    References:
      Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016, section 3.2.
      Wang et al., "ESRGAN", ECCV Workshops 2018, section 3.3 (norm 'l1', features before the activation).
    """
    if norm not in NORMS:
        raise ValueError(f"perceptual.distance: norm {norm!r} is unknown; use 'l1' or 'l2'")
    weights = jax.tree.map(lambda _: 1.0, features_a) if weights is None else weights
    check_same('perceptual.distance', features_a, features_b, weights)
    layers = zip(*map(jax.tree.leaves, (features_a, features_b, weights)), strict=True)
    return sum(w * NORMS[norm](a, b) for a, b, w in layers)


def content(a: ArrayLike, b: ArrayLike, *, scale: float = 12.75) -> jax.Array:
    """SRGAN's content loss `mean((a/scale - b/scale)^2)` of one feature; the default multiplies by 1/162.5625 = 0.00615.

    The default belongs to VGG19 with Caffe's weights on 0..255 (features of order 100). Examples do not couple.

    Args:
      a: features `[B, H, W, C]` (any other shape is fine too), e.g. of VGG19's relu5_4.
      b: likewise, same shape.
      scale: what both are divided by.

    Returns:
      Scalar, at least float32.

    Raises:
      ValueError: the shapes differ.

    References:
      Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017,
      section 2.2.1 and equation 5 (rescaling by 1/12.75: section 3.2).
    """
    check_same('perceptual.content', a, b)
    return pixel.l2(a, b) / scale**2


def style(features_a: Features, features_b: Features) -> jax.Array:
    """Sum over features of the mean absolute difference of their `gram` matrices; equal features cost 0.

    Channels must be equal, sizes H x W may differ. Examples do not couple.

    Args:
      features_a: a list or a dict of features, each `[B, H, W, C]`, or one such array.
      features_b: likewise, with the same names.

    Returns:
      Scalar, at least float32, in squared units of the features.

    Raises:
      ValueError: names or numbers of features, or their channels, differ.

    References:
      Gatys et al., "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016; in this form (L1, divided by C H W)
      Ren et al., "Online Multi-Granularity Distillation for GAN Compression", ICCV 2021, and its code.
    """
    matrices = [jax.tree.map(gram, features) for features in (features_a, features_b)]
    check_same('perceptual.style', *matrices)
    return sum(pixel.l1(a, b) for a, b in zip(*map(jax.tree.leaves, matrices), strict=True))


def gram(x: ArrayLike) -> jax.Array:
    """Products of all channels, summed over positions: `[B, H, W, C]` -> `[B, C, C]`, divided by C H W."""
    x = pixel.as_float(x)
    _, h, w, c = x.shape
    return jnp.einsum('bhwc,bhwd->bcd', x, x, precision=jax.lax.Precision.HIGHEST) / (h * w * c)


def check_same(name, features_a, features_b, weights=None):
    """ValueError unless both have the same names, at least one, and shapes, and `weights`, if any, the same names."""
    a, b = ({jax.tree_util.keystr(k): jnp.shape(v) for k, v in _leaves(x)} for x in (features_a, features_b))
    w = a.keys() if weights is None else {jax.tree_util.keystr(k) for k, _ in _leaves(weights)}
    if not a or a.keys() != b.keys() or a.keys() != w:
        raise ValueError(f'{name}: features {list(a)} and {list(b)} with weights {sorted(w)} must be the same, and at least one')
    for key, shape in a.items():
        if shape != b[key]:
            raise ValueError(f'{name}: features{key} of shapes {shape} and {b[key]} differ; crop or resize the images to one size')


def _leaves(tree):
    return jax.tree_util.tree_leaves_with_path(tree)
