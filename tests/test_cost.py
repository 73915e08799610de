"""Multiply-adds and parameters against the published figures."""

import jax
import jax.numpy as jnp
import pytest

from kdsr import cost, models
from kdsr.models import layers


@pytest.mark.parametrize(
    ('name', 'args', 'gmacs'),
    [  # FAKD's students and teachers at x4 on a 36x64 LR image: convolutions of the original PyTorch networks
        ('rcan', {'blocks': 20}, 36.67),
        ('rcan', {'blocks': 6}, 12.89),
        ('san', {'groups': 6}, 12.49),
    ],
)
def test_convolutions_of_published_networks(name, args, gmacs, monkeypatch):
    monkeypatch.setattr(layers, 'on_cpu', lambda: False)  # on CPU some are matrix products
    net, lr = models.build(name, **args), jax.ShapeDtypeStruct((1, 36, 64, 3), jnp.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), lr)
    counted = cost.macs(lambda v, x: net.apply(v, x)[0], variables, lr)
    assert counted['conv'] / 1e9 == pytest.approx(gmacs, abs=0.03)


def test_products_and_loops_are_counted():
    def fn(x):
        y, _ = jax.lax.scan(lambda c, _: (c @ x, None), x, length=5)
        return jax.nn.relu(y) @ x

    assert cost.macs(fn, jnp.ones((8, 8))) == {'conv': 0, 'dot': 6 * 8**3}
