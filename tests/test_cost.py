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


def test_what_no_result_depends_on_does_not_count():
    x = jnp.ones((8, 8))
    inner = jax.jit(lambda x: (x @ x, (x @ x) @ x))
    assert cost.macs(lambda x: (inner(x)[0], jnp.sin(x @ x))[0], x)['dot'] == 8**3


def test_a_step_costs_as_much_as_its_compiled_program(tmp_path):
    """XLA's count without loops: less the products with the zeros around 16x16 images, (46/48)^2, plus element-wise work."""
    import tiny

    from kdsr import budget, methods, recipes, stages

    config = tiny.config(tmp_path, tiny.teacher(tmp_path / 'teacher'))
    config.method = recipes.block(name='supervised', loss='l1')
    config.student = recipes.model('edsr', blocks=3, features=32)
    (stage,) = stages.planned(config)
    method, batch = methods.make(stage), budget.noise(stage)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    compiled = jax.jit(method.step).lower(shapes, method.frozen, batch).compile().cost_analysis()['flops']
    found = budget.of(stage, repeats=1)
    assert (46 / 48) ** 2 < compiled / (1e9 * found['gflop']) < 0.95
    assert found['total_gflop'] == 4 * found['gflop'] and found['ms'] > 0


def test_a_stage_that_reads_an_earlier_ones_networks_has_a_cost():
    """PISR's second stage has the first one's student as its teacher, and its encoder."""
    from kdsr import budget, settings, stages

    first, second = budget.every(stages.planned(settings.load('experiments/after_fakd.py:smoke,pisr')), repeats=1)
    assert (first['stage'], second['stage']) == ('teacher', 'student')
    assert first['parameters'] == second['parameters'] and min(first['gflop'], second['gflop']) > 0


def test_a_stage_that_learns_from_kept_pictures_has_a_cost():
    from kdsr import budget, settings, stages

    config = settings.load('experiments/distil.py:taught,tiny')
    config.patch = config.batch_size = 8
    (found,) = budget.every(stages.planned(config), repeats=1)
    assert found['parameters'] == 9492 and found['gflop'] > 0
