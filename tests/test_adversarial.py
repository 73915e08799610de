"""Adversarial losses: values by numpy and by hand, gradients and their signs, laws between the two players."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdsr.losses import adversarial
from kdsr.losses.adversarial import hinge, lsgan, relativistic, vanilla

LOSSES = [vanilla, lsgan, hinge, relativistic]
every_loss = pytest.mark.parametrize('loss', LOSSES, ids=lambda f: f.__name__)
REAL, FAKE = np.array([0.0, 2.0, -1.5, 0.5]), np.array([1.0, -3.0, 0.25, -0.75])

one = lambda z: np.logaddexp(0, -z).mean()  # BCE(1, z)
zero = lambda z: np.logaddexp(0, z).mean()  # BCE(0, z)


def parts(loss):
    """(values, gradients of the generator's part, of the discriminator's) for (real, fake)."""
    part = lambda k: jax.grad(lambda real, fake: loss(real, fake)[k], (0, 1))
    return jax.jit(lambda real, fake: (loss(real, fake), part(0)(real, fake), part(1)(real, fake)))


@pytest.mark.parametrize(
    'loss, generator, discriminator',
    [
        (vanilla, one(FAKE), one(REAL) + zero(FAKE)),
        (lsgan, ((FAKE - 1) ** 2).mean(), ((REAL - 1) ** 2).mean() + (FAKE**2).mean()),
        (hinge, 0.625, (1 + 0 + 2.5 + 0.5) / 4 + (2 + 0 + 1.25 + 0.25) / 4),
        (
            relativistic,
            zero(REAL - FAKE.mean()) + one(FAKE - REAL.mean()),
            one(REAL - FAKE.mean()) + zero(FAKE - REAL.mean()),
        ),
    ],
)
def test_values(loss, generator, discriminator):
    with jax.enable_x64(True):
        np.testing.assert_allclose(loss(REAL, FAKE), [generator, discriminator], rtol=1e-12)
    got = jax.jit(loss)(*(x.reshape(2, 1, 2, 1).astype(np.float32) for x in (REAL, FAKE)))  # of a patch discriminator
    np.testing.assert_allclose(got, [generator, discriminator], rtol=1e-6)


@pytest.mark.parametrize(
    'loss, values',
    [(vanilla, (math.log(2), 2 * math.log(2))), (lsgan, (1, 1)), (hinge, (0, 2)), (relativistic, (2 * math.log(2),) * 2)],
)
def test_values_of_an_undecided_discriminator(loss, values):
    np.testing.assert_allclose(loss(np.zeros(3), np.zeros(3)), values, rtol=1e-6, atol=1e-12)


@every_loss
def test_huge_logits_are_finite(loss):
    """1e4 of either sign, in float32, where exp overflows from 89 on; the largest value is LSGAN's, about 2e8."""
    for real in (-1e4, 1e4):
        for fake in (-1e4, 1e4):
            values, *gradients = parts(loss)(jnp.full(4, real), jnp.full(4, fake))
            assert np.isfinite(values).all() and all(np.isfinite(g).all() for pair in gradients for g in pair)
    lost = vanilla(np.float32([-1e4]), np.float32([1e4]))  # the discriminator wrong about both
    np.testing.assert_allclose(lost, [0, 2e4])
    assert parts(vanilla)(jnp.array([-1e4]), jnp.array([-1e4]))[1][1] == -1  # the generator still learns: no clipping
    assert parts(vanilla)(jnp.array([-1e4]), jnp.array([1e4]))[2] == (-1, 1)  # and so does the discriminator


@every_loss
def test_signs_of_gradients(loss):
    """G raises the logits of fakes; D raises those of reals and lowers those of fakes (LSGAN: between its labels 0 and 1)."""
    rng = np.random.default_rng(0)
    real, fake = (rng.uniform(0.1, 0.9, 8).astype(np.float32) for _ in range(2))
    _, generator, discriminator = parts(loss)(real, fake)
    assert (generator[1] < 0).all() and (discriminator[0] < 0).all() and (discriminator[1] > 0).all()
    if loss is relativistic:
        assert (generator[0] > 0).all()  # G is also paid for lowering reals
    else:
        assert not np.any(generator[0])


def test_laws_between_the_players():
    with jax.enable_x64(True):
        # softplus(z) - softplus(-z) = z: vanilla's terms for fakes differ by the mean logit
        generator, discriminator = vanilla(REAL, FAKE)
        np.testing.assert_allclose(discriminator - one(REAL) - generator, FAKE.mean(), rtol=1e-12)
        # hinge inside the margin is a zero-sum game up to the reals: D + G = 2 - mean(real) + mean(fake) - mean(fake)
        real, fake = REAL / 4, FAKE / 4
        np.testing.assert_allclose(sum(hinge(real, fake)), 2 - real.mean(), rtol=1e-12)
        # relativistic: exchanging the images exchanges the players; only differences of logits count
        np.testing.assert_allclose(relativistic(FAKE, REAL), relativistic(REAL, FAKE)[::-1], rtol=1e-12)
        np.testing.assert_allclose(relativistic(REAL + 7, FAKE + 7), relativistic(REAL, FAKE), rtol=1e-12)


@every_loss
def test_halves_of_a_batch_add_up(loss):
    """Two devices equal one, values and gradients: of themselves, or (relativistic) with the means over both devices."""

    def device(real, fake):
        if loss is not relativistic:
            return loss(real, fake)
        means = jax.lax.pmean((real.mean(), fake.mean()), 'data')
        return loss(real, fake, real_mean=means[0], fake_mean=means[1])

    split = lambda x: x.reshape(2, -1)
    mapped = jax.vmap(device, axis_name='data')
    two = lambda real, fake: tuple(v.mean() for v in mapped(split(real), split(fake)))
    with jax.enable_x64(True):
        got, want = (parts(f)(jnp.asarray(REAL), jnp.asarray(FAKE)) for f in (two, loss))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), got, want)
        if loss is relativistic:  # without them the halves would be compared among themselves
            alone = np.mean([loss(r, f) for r, f in zip(split(REAL), split(FAKE), strict=True)], 0)
            assert np.abs(alone - want[0]).max() > 1e-2


@every_loss
def test_half_precision_and_unequal_numbers(loss):
    """The maths of bfloat16 logits is float32; 4 reals against 3 fakes are fine."""
    real, fake = jnp.asarray(REAL, jnp.bfloat16), jnp.asarray(FAKE[:3], jnp.bfloat16)
    got = loss(real, fake)
    assert [v.dtype for v in got] == [jnp.float32] * 2 and [v.shape for v in got] == [()] * 2
    np.testing.assert_array_equal(got, loss(np.float32(real), np.float32(fake)))


def test_a_mean_that_is_none():
    with pytest.raises(ValueError, match=r'relativistic: fake_mean has shape \(4,\), must be a scalar; pass logits.mean'):
        jax.eval_shape(lambda x: adversarial.relativistic(x, x, fake_mean=x), REAL)


def test_r1_of_a_linear_critic_is_the_square_of_its_weights():
    """Whatever the images; with half of gamma = 10 it is 5 |w|^2. On images in [0, 1] a critic of [-1, 1] has four times its R1."""
    w, x = (
        np.random.default_rng(0).normal(size=(5, 6, 3)),
        REAL[:, None, None, None] * np.ones((4, 5, 6, 3)),
    )
    linear = lambda x: (x * w).sum((1, 2, 3))
    np.testing.assert_allclose(jax.jit(lambda x: adversarial.r1(linear, x))(x), np.square(w).sum(), rtol=1e-5)
    np.testing.assert_allclose(adversarial.r1(lambda x: linear(2 * x - 1), x), 4 * np.square(w).sum(), rtol=1e-5)


def test_r1_is_differentiated_again_and_takes_maps():
    """critic x^2 w / 2 for each pixel: gradient w x, R1 mean (w x)^2 summed, its gradient in w is 2 w x^2."""
    x = np.arange(12.0, dtype=np.float32).reshape(2, 3, 2, 1)
    value, gradient = jax.value_and_grad(lambda w: adversarial.r1(lambda x: w * x**2 / 2, x))(3.0)
    np.testing.assert_allclose([value, gradient], [9 * np.square(x).sum() / 2, 6 * np.square(x).sum() / 2], rtol=1e-6)
