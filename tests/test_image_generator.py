"""The generator of data-free distillation: counts, its first law, its equations, instance normalisation's gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import close, np_conv

from kdsr.models import norms
from kdsr.models.image_generator import Network


@pytest.mark.parametrize(('size', 'count'), [(24, 1_406_849), (16, 748_929), (12, 518_657)])
def test_published_parameter_counts(size, count):
    net = Network(size)
    (image, _), variables = jax.eval_shape(net.init_with_output, jax.random.key(0), jnp.zeros((2, 256)))
    assert image.shape == (2, size, size, 1) and sum(leaf.size for leaf in jax.tree.leaves(variables)) == count


def test_equals_numpy():
    net, rng = Network(12, latent=5, channels=3), np.random.default_rng(0)
    z = rng.normal(size=(2, 5))
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.float32(z))
    draw = lambda s: np.float32(rng.normal(size=s.shape) / np.prod(s.shape[:-1]) ** 0.5)
    params = jax.tree.map(draw, shapes)['params']

    def norm(x, p, eps):
        mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
        return p['gamma'] * (x - mean) / np.sqrt(var + eps) + p['beta']

    leaky = lambda x: np.where(x > 0, x, 0.2 * x)
    twice = lambda x: x.repeat(2, 1).repeat(2, 2)
    x = (z @ params['dense']['kernel'] + params['dense']['bias']).reshape(2, 3, 3, 128)
    x = twice(norm(x, params['norm1'], 1e-5))
    x = twice(leaky(norm(np_conv(x, params['conv1']), params['norm2'], 0.8)))
    x = leaky(norm(np_conv(x, params['conv2']), params['norm3'], 0.8))
    close(jax.jit(net.apply)({'params': params}, jnp.float32(z))[0], (np.tanh(np_conv(x, params['conv3'])) + 1) / 2)


def test_first_weights_are_he_normal_by_fan_in():
    params = jax.jit(Network(12).init)(jax.random.key(0), jnp.zeros((1, 256)))['params']
    for name, fan_in in (('dense', 256), ('conv1', 1152), ('conv2', 1152)):
        kernel = np.asarray(params[name]['kernel'])
        assert kernel.std() == pytest.approx((2 / fan_in) ** 0.5, rel=0.01)
        assert np.abs(kernel).max() > 3.5 * kernel.std()  # not cut off
        assert 0.8 * fan_in**-0.5 < np.abs(params[name]['bias']).max() <= fan_in**-0.5
    assert (params['norm1']['gamma'] == 1).all() and (params['norm1']['beta'] == 0).all()


def test_instance_norms_gradients_are_those_of_its_formula():
    with jax.enable_x64(True):
        rng, net = np.random.default_rng(0), norms.InstanceNorm(eps=0.8, dtype='float64')
        x, weight = jnp.asarray(3 + rng.normal(size=(2, 5, 4, 3))), rng.normal(size=(2, 5, 4, 3))
        variables = {'params': {'gamma': jnp.asarray(rng.normal(size=3)), 'beta': jnp.asarray(rng.normal(size=3))}}

        def plain(v, x):
            x = x - x.mean((1, 2), keepdims=True)
            p = v['params']
            return p['gamma'] * x / jnp.sqrt((x**2).mean((1, 2), keepdims=True) + 0.8) + p['beta']

        results = lambda fn: jax.jit(jax.value_and_grad(lambda v, x: (jnp.sin(fn(v, x)) * weight).sum(), (0, 1)))(variables, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), results(net.apply), results(plain))


def test_too_small_a_size_is_named():
    with pytest.raises(ValueError, match='images of 4 px or more, not 3'):
        Network(3).init(jax.random.key(0), jnp.zeros((1, 256)))
