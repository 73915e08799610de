"""Contrastive distillation: near to the teacher's image, in features, compared with how far from worse images."""

from collections.abc import Callable, Sequence

import jax
from jax.typing import ArrayLike

from kdsr.losses import pixel
from kdsr.losses.perceptual import Features, check_same

EPS = 1e-7


def ratio(
    student: Features,
    teacher: Features,
    negatives: Sequence[Features],
    *,
    weights: Features | None = None,
    eps: float = EPS,
    mean: Callable[[jax.Array], jax.Array] = lambda x: x,
) -> jax.Array:
    """Weighted sum over features of mean|t - s| / (mean over values of sum_j |n_j - s| + eps).

    0 where student and teacher are equal; further from the negatives is better.

    COUPLES THE EXAMPLES of the batch, both means are over all of them: on several devices pass `mean` over these
    (`lambda x: jax.lax.pmean(x, axis)`). Gradients flow through it.

    Args:
      student: a list or a dict of features `[B, H, W, C]` of its images.
      teacher: likewise of the teacher's, of the same names and shapes.
      negatives: one or more such lists or dicts, of images that the student shall leave behind; `[B, H, W, C]` or `[1, H, W, C]`.
      weights: likewise one number for each feature; None counts every one once.
      eps: what keeps the quotient finite.
      mean: of a scalar over devices that share a batch.

    Returns:
      Scalar, at least float32, without a unit.

    Raises:
      ValueError: names or shapes differ, there are no features or no negatives.

    References:
      Wang et al., "Towards Compact Single Image Super-Resolution via Contrastive Self-distillation", IJCAI 2021 (CSD), eq. 4.
      Zhou et al., "Dynamic Contrastive Knowledge Distillation for Efficient Image Restoration", AAAI 2025 (DCKD).
    """
    if not negatives:
        raise ValueError('contrastive.ratio: there are no negatives')
    weights = jax.tree.map(lambda _: 1.0, student) if weights is None else weights
    check_same('contrastive.ratio', student, teacher, weights)
    for one in negatives:
        check_same('contrastive.ratio', jax.tree.map(lambda x: x[:1], student), jax.tree.map(lambda x: x[:1], one), weights)
    others = [jax.tree.leaves(one) for one in negatives]
    total = 0.0
    for i, (s, t, w) in enumerate(zip(*map(jax.tree.leaves, (student, teacher, weights)), strict=True)):
        away = sum(far(one[i], s) for one in others)
        total = total + w * mean(pixel.l1(s, t)) / (mean(away) + eps)
    return total


def far(negative: ArrayLike, student: ArrayLike) -> jax.Array:
    """mean|n - s|, where one negative may stand beside all images."""
    return pixel.absolute(pixel.as_float(negative) - pixel.as_float(student)).mean()
