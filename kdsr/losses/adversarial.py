"""Adversarial losses: the logits of real and of generated images in, each player's part of the loss out; R1 for discriminators."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from kdsr.losses import pixel


def vanilla(real: ArrayLike, fake: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Binary cross-entropy on logits: G `BCE(1, fake)` (non-saturating), D `BCE(1, real) + BCE(0, fake)`, not halved.

    Finite at any finite logit, with gradients of at most 1 per mean. Examples do not couple. G does not use `real`.

    Args:
      real: logits of real images, `[B]` or any shape (`[B, h, w, 1]` of a patch discriminator).
      fake: logits of generated images, any shape.

    Returns:
      (generator, discriminator), scalars of at least float32, not negative. At logits 0: log 2 and 2 log 2.

    References:
      Goodfellow et al., "Generative Adversarial Networks", NeurIPS 2014, section 3.
      Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017.
    """
    real, fake = pixel.as_float(real), pixel.as_float(fake)
    return _bce_one(fake), _bce_one(real) + _bce_zero(fake)


def lsgan(real: ArrayLike, fake: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Least squares with labels 1 and 0: G `mean((fake - 1)^2)`, D `mean((real - 1)^2) + mean(fake^2)`.

    Without the paper's factors 1/2, as in most code. Examples do not couple. G does not use `real`.

    Args:
      real: outputs (no sigmoid) for real images, `[B]` or any shape.
      fake: outputs for generated images, any shape.

    Returns:
      (generator, discriminator), scalars of at least float32, not negative.

    References:
      Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, equation 9.
    """
    real, fake = pixel.as_float(real), pixel.as_float(fake)
    return jnp.square(fake - 1).mean(), jnp.square(real - 1).mean() + jnp.square(fake).mean()


def hinge(real: ArrayLike, fake: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Hinge: G `-mean(fake)`, D `mean(max(0, 1 - real)) + mean(max(0, 1 + fake))`.

    Logits beyond the margin give D no gradient. Examples do not couple. G does not use `real`.

    Args:
      real: logits of real images, `[B]` or any shape.
      fake: logits of generated images, any shape.

    Returns:
      (generator, discriminator), scalars of at least float32; the generator's may be negative.

    References:
      Lim & Ye, "Geometric GAN", arXiv 1705.02894, 2017.
    """
    real, fake = pixel.as_float(real), pixel.as_float(fake)
    return -fake.mean(), jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + fake).mean()


def relativistic(
    real: ArrayLike, fake: ArrayLike, *, real_mean: ArrayLike | None = None, fake_mean: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array]:
    """Relativistic average: is a real image more real than the average generated one, and the other way round.

    With R = real - mean(fake) and F = fake - mean(real): D `BCE(1, R) + BCE(0, F)`, G `BCE(0, R) + BCE(1, F)`, not
    halved. The same number added to all logits changes nothing. Exchanging real and fake exchanges the two parts.

    COUPLES THE EXAMPLES of the batch by the two means: on several devices pass the means over all of them
    (`jax.lax.pmean(real.mean(), axis)`). Gradients flow through the means, as in the paper.

    Args:
      real: logits of real images, `[B]` or any shape.
      fake: logits of generated images, any shape.
      real_mean: the scalar mean of `real` over the whole batch; None takes that of `real`.
      fake_mean: likewise of `fake`.

    Returns:
      (generator, discriminator), scalars of at least float32, not negative.

    Raises:
      ValueError: a mean is not a scalar.

    References:
      Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", ICLR 2019
      (arXiv 1807.00734, 2018): RaSGAN.
      Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV Workshops 2018,
      section 3.2.
    """
    real, fake = pixel.as_float(real), pixel.as_float(fake)
    real_over, fake_over = real - _mean('fake_mean', fake, fake_mean), fake - _mean('real_mean', real, real_mean)
    return _bce_zero(real_over) + _bce_one(fake_over), _bce_one(real_over) + _bce_zero(fake_over)


def r1(critic: Callable[[jax.Array], jax.Array], real: ArrayLike) -> jax.Array:
    """The gradient penalty R1: `mean over examples of |d critic(x) / d x|^2`, without its factor gamma / 2.

    The square is summed over all values of an example, not averaged. Examples do not couple, unless they do in the critic. A
    gradient of it is one of second order; it needs the critic's gradient by reverse mode only. With a linear critic, `x . w`, it
    is |w|^2 whatever the images.

    StyleGAN2 adds gamma / 2 of it with gamma 10, at every 16th step and 16 times as much then: factor 80, for images in [-1, 1].
    A critic that takes images in [0, 1] has gradients twice as long: factor 20.

    Args:
      critic: images -> logits, `[B]` or a map `[B, h, w, 1]`, whose sum is differentiated.
      real: real images, `[B, ...]`.

    Returns:
      A scalar of at least float32, not negative.

    References:
      Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, equation 9.
      Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 4 (lazy regularisation).
    """
    real = pixel.as_float(real)
    gradient = pixel.as_float(jax.grad(lambda x: critic(x).sum())(real))
    return jnp.square(gradient).sum() / len(real)


# -log sigmoid(z) = softplus(-z) and -log(1 - sigmoid(z)) = softplus(z): neither overflows, and no log(0) has to be clipped


def _bce_one(logits):
    return jax.nn.softplus(-logits).mean()


def _bce_zero(logits):
    return jax.nn.softplus(logits).mean()


def _mean(name, logits, given):
    if given is None:
        return logits.mean()
    if jnp.shape(given) != ():
        raise ValueError(f'adversarial.relativistic: {name} has shape {jnp.shape(given)}, must be a scalar; pass logits.mean()')
    return pixel.as_float(given)
