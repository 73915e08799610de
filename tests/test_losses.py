"""The losses: values of the original PyTorch code, plain forms, gradients, memory and laws."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdsr.losses import affinity, features, pixel

# FSP takes pairs of taps: a smaller copy with its channels reversed
second_tap = lambda x: x[:, : x.shape[1] // 2 + 1, :-1, ::-1] * 2


# the nine feature losses as f(student, teacher), with hyper-parameters that exercise every branch
LOSSES = {
    'SA': affinity.spatial,
    'CA': affinity.channel,
    'IA': affinity.instance,
    'FSP': lambda s, t: features.fsp((s, second_tap(s)), (t, second_tap(t))),
    'AT': features.attention,
    'fitnet': features.fitnet,
    'PSA': functools.partial(affinity.pooled_spatial, pool=2),
    'RBF': functools.partial(affinity.rbf, pool=2, pool_type='avg', order=3, gamma=2.0),
    'MMD': functools.partial(affinity.mmd, pool=2),
}
every_loss = pytest.mark.parametrize('name', LOSSES)
# compiled once per loss: every law below uses features of the shape LAW
STEP = {name: jax.jit(jax.value_and_grad(loss, (0, 1))) for name, loss in LOSSES.items()}
LAW = (2, 6, 8, 4)


def wave(f, rate, phase, shape, amplitude=1.0, offset=0.0):
    """Waves over the flat NCHW index, as NHWC: what the golden values below are defined on."""
    return (offset + amplitude * f(rate * np.arange(np.prod(shape)) + phase)).reshape(shape).transpose(0, 2, 3, 1)


def random(seed, shape, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


S, T = wave(np.sin, 0.7, 1, (2, 4, 3, 5)), wave(np.cos, 0.3, 0, (2, 4, 3, 5))
S2, T2 = wave(np.sin, 0.5, 2, (2, 4, 3, 5)), wave(np.cos, 0.2, 0, (2, 4, 3, 5))

# ---- values of the original PyTorch code, float64: github.com/Vincent-Hoo/Knowledge-Distillation-for-Super-resolution

GOLDEN = [
    (affinity.spatial, 0.8404592222),
    (affinity.channel, 0.2289153318),
    (affinity.instance, 0.5172237874),
    (lambda s, t: features.fsp((s, jnp.asarray(S2, s.dtype)), (t, jnp.asarray(T2, t.dtype))), 0.3224070581),
    (features.attention, 0.0459715693),
    (features.fitnet, 0.8038149140),
    (affinity.pooled_spatial, 0.8404592222),
    (lambda s, t: affinity.pooled_spatial(s, t, pool=2), 0.4676872782),
    (lambda s, t: affinity.pooled_spatial(s, t, pool=2, pool_type='avg'), 0.4282557957),
    (affinity.mmd, 0.1493577937),
    (lambda s, t: affinity.mmd(s, t, pool=2), 0.1565530410),
    (lambda s, t: affinity.mmd(s, t, pool=2, pool_type='avg'), 0.0806038151),
    (affinity.rbf, 0.0009036614),
    (lambda s, t: affinity.rbf(s, t, pool=2), 0.0006186459),
    (lambda s, t: affinity.rbf(s, t, pool=2, pool_type='avg'), 0.0007863792),
]


# ten printed decimals: the last digit of the smallest value, 6e-4, is worth 1.6e-7
@pytest.mark.parametrize('x64, rtol', [(False, 1e-5), (True, 1e-6)])
def test_golden(x64, rtol):
    with jax.enable_x64(x64):
        got = jax.jit(lambda s, t: [loss(s, t) for loss, _ in GOLDEN])(jnp.asarray(S), jnp.asarray(T))
    assert {v.dtype for v in got} == {np.dtype('float64' if x64 else 'float32')}
    np.testing.assert_allclose(got, [value for _, value in GOLDEN], rtol=rtol)


def test_golden_matrices():
    pooled = features.average_pool(jnp.arange(15.0).reshape(1, 3, 5, 1), 2)[0, :, :, 0]
    np.testing.assert_allclose(pooled, [[3, 5, 6.5], [10.5, 12.5, 14]])  # avg_pool2d(…, 2, ceil_mode=True)
    with jax.enable_x64(True):
        for got, value in [
            (affinity.spatial_matrix(S)[0, 0, :3], [0.9999999867, 0.8512218853, 0.4000530960]),
            (features.attention_map(S)[0, 0, :3], [0.2813875211, 0.3106867160, 0.2383781925]),
            (affinity.instance_matrix(S), [[0.9241316047, -0.3820743086], [-0.3885671451, 0.9214204110]]),
        ]:
            np.testing.assert_allclose(got, value, rtol=1e-9)


def test_golden_composite_parts():
    """The unweighted parts of the original's total loss `10*SA+2*AT`, alpha 0.5, over three taps."""
    sr, tr, hr = (wave(np.sin, 0.11, phase, (2, 3, 8, 8), 100, 127) for phase in (0, 0.1, 0.3))
    taps = [(wave(np.sin, 0.7, 1 + k, (2, 4, 3, 5)), wave(np.cos, 0.3, k, (2, 4, 3, 5))) for k in range(3)]
    with jax.enable_x64(True):
        np.testing.assert_allclose(pixel.l1(sr, hr), 19.0349263273, rtol=1e-10)
        np.testing.assert_allclose(pixel.l1(sr, tr), 6.3869737705, rtol=1e-10)
        np.testing.assert_allclose(10 * sum(affinity.spatial(s, t) for s, t in taps), 25.0999141194, rtol=1e-10)
        np.testing.assert_allclose(2 * sum(features.attention(s, t) for s, t in taps), 0.2848396680, rtol=1e-9)


# ---- plain forms, one window or position at a time


def _pool(x, k, reduce):
    h, w = (range(0, n, k) for n in x.shape[1:3])
    return jnp.stack([jnp.stack([reduce(x[:, i : i + k, j : j + k], (1, 2)) for j in w], 1) for i in h], 1)


def _cosines(x, eps=1e-8):
    x = x.reshape(len(x), -1, x.shape[-1])
    x = x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + eps)
    return x @ x.swapaxes(1, 2)


def _rbf(x, order, gamma):
    z = 2 * gamma * _cosines(x, 0)
    return jnp.exp(-2 * gamma) * sum(z**p / math.factorial(p) for p in range(order + 1))


def _mmd(x):
    return jnp.abs(x.mean(-1).reshape(len(x), -1, 1) - x.mean(-1).reshape(len(x), 1, -1))


def _fsp(x):
    second = second_tap(x)
    (h, w), (i, j) = x.shape[1:3], second.shape[1:3]
    window = lambda a, n, size: slice(math.floor(a * size / n), math.ceil((a + 1) * size / n))
    first = lambda a, b: x[:, window(a, i, h), window(b, j, w)].mean((1, 2))
    return sum(first(a, b)[:, :, None] * second[:, a, b, None] for a in range(i) for b in range(j)) / (i * j)


def _instance(x):
    gram = x.reshape(len(x), -1) @ x.reshape(len(x), -1).T
    return gram / jnp.linalg.norm(gram, axis=1, keepdims=True)


def _attention(x):
    energy = (x**2).sum(-1)
    return energy / (jnp.sqrt((energy**2).sum((1, 2), keepdims=True)) + 1e-6)


PLAIN = {
    'SA': _cosines,
    'CA': lambda x: _cosines(x.transpose(0, 3, 1, 2).reshape(len(x), x.shape[-1], -1)),
    'IA': _instance,
    'FSP': _fsp,
    'AT': _attention,
    'fitnet': lambda x: x,
    'PSA': lambda x: _cosines(_pool(x, 2, jnp.max)),
    'RBF': lambda x: _rbf(_pool(x, 2, jnp.mean), 3, 2.0),
    'MMD': lambda x: _mmd(_pool(x, 2, jnp.max)),
}


def plain_step(matrix):
    return jax.jit(jax.value_and_grad(lambda s, t: jnp.abs(matrix(s) - matrix(t)).mean(), (0, 1)))


def assert_steps_equal(got, want):
    """Value and both gradients, in float64; 1e-16 where a gradient is zero but for rounding."""
    np.testing.assert_allclose(got[0], want[0], rtol=1e-12, atol=1e-16)
    for a, b in zip(got[1], want[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max() + 1e-16)


@every_loss
def test_plain_form_and_bfloat16_features(name):
    """The maths of bfloat16 features is float32: close to the float64 value of the same rounded features."""
    s, t = (jnp.asarray(random(i, (2, 3, 5, 4)), jnp.bfloat16) for i in (0, 1))
    value, gradients = STEP[name](s, t)
    assert value.dtype == jnp.float32 and value.shape == () and all(g.dtype == jnp.bfloat16 for g in gradients)
    s, t = (np.asarray(x, np.float64) for x in (s, t))
    with jax.enable_x64(True):
        want = plain_step(PLAIN[name])(s, t)
        assert_steps_equal(STEP[name](s, t), want)
    np.testing.assert_allclose(value, want[0], rtol=1e-5)


def test_pixel_losses():
    a, b = random(0, (2, 4, 5, 3)), random(1, (2, 4, 5, 3))
    d = abs(a - b)
    with jax.enable_x64(True):
        np.testing.assert_allclose(pixel.l1(a, b), d.mean(), rtol=1e-12)
        np.testing.assert_allclose(pixel.l2(a, b), (d**2).mean(), rtol=1e-12)
        np.testing.assert_allclose(pixel.charbonnier(a, b, eps=0.5), np.hypot(d, 0.5).mean(), rtol=1e-12)
    assert pixel.l1(np.uint8([0, 255]), np.uint8([255, 0])) == 255  # bytes must not wrap around


# ---- row blocks

BLOCKED = [(affinity.spatial, _cosines), (affinity.rbf, lambda x: _rbf(x, 2, 5.0)), (affinity.mmd, _mmd)]


@pytest.mark.parametrize('loss, matrix', BLOCKED)
@pytest.mark.parametrize('h, w', [(1, 1), (1, 257), (25, 31)])
def test_row_blocks_equal_the_plain_form(loss, matrix, h, w):
    """257 is prime and one more than a block, 775 takes four uneven blocks; student and teacher differ in width."""
    s, t = random(0, (2, h, w, 4)), random(1, (2, h, w, 6))
    with jax.enable_x64(True):
        assert_steps_equal(jax.jit(jax.value_and_grad(loss, (0, 1)))(s, t), plain_step(matrix)(s, t))


@pytest.mark.parametrize('size', [(1, 97), (1, 1009), (32, 36)])
@pytest.mark.parametrize('loss', [affinity.spatial, affinity.rbf, affinity.mmd])
def test_no_square_matrix_is_compiled(loss, size):
    n, x = math.prod(size), jax.ShapeDtypeStruct((2, *size, 8), jnp.float32)
    assert f'{n},{n}' not in jax.jit(jax.value_and_grad(loss, (0, 1))).lower(x, x).compile().as_text()


def test_temporary_memory_of_9216_positions():
    """96 x 96 positions of 64 channels: 27 MiB on CPU with jax 0.10, where the plain form has 648; 45 and 1301 with 0.7.2."""
    x = jax.ShapeDtypeStruct((1, 96, 96, 64), jnp.float32)
    blocked, plain = (f.lower(x, x).compile() for f in (STEP['SA'], plain_step(_cosines)))
    limit = 40 if jax.__version_info__ >= (0, 10) else 50
    assert blocked.memory_analysis().temp_size_in_bytes < limit * 2**20
    assert '9216,9216' not in blocked.as_text() and '9216,9216' in plain.as_text()  # the test above can see


def test_equal_features_cost_nothing():
    x = random(0, LAW, np.float32)
    np.testing.assert_allclose([step(x, x)[0] for step in STEP.values()], 0, atol=1e-7)  # up to rounding
    # equal elements do not pull, as in PyTorch: d|x| is sign(x), 0 at 0
    assert not STEP['fitnet'](x, x)[1][0].any()
    assert not STEP['MMD'](np.zeros_like(x), x)[1][0].any()


@every_loss
def test_gradients_at_zeros_are_finite_and_nan_stays_visible(name):
    x = random(0, LAW, np.float32)
    zeros = np.zeros_like(x)
    dead = x.copy()
    dead[0, 2, 3] = dead[..., 1] = dead[1] = 0  # a position, a channel, an example
    for s, t in [(zeros, x), (x, zeros), (zeros, zeros), (dead, x), (x, dead)]:
        value, gradients = STEP[name](s, t)
        assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
        assert max(np.abs(g).max() for g in gradients) < 10  # not divided by eps either
    dead[0, 1, 1, 1] = np.nan
    assert np.isnan(STEP[name](dead, x)[0])


def test_same_without_jit_and_inside_pmap():
    s, t = (random(i, LAW, np.float32) for i in (0, 1))
    mapped = jax.pmap(lambda s, t: jax.lax.pmean({n: f(s, t) for n, f in STEP.items()}, 'data'), axis_name='data')
    for name, (value, (gradient, _)) in mapped(s[None], t[None]).items():
        want, (expected, _) = STEP[name](s, t)
        np.testing.assert_allclose([value[0], LOSSES[name](s, t)], want, rtol=1e-5)
        np.testing.assert_allclose(gradient[0], expected, rtol=1e-4, atol=1e-7)


@every_loss
def test_only_the_instances_couple(name):
    """A batch of two copies costs what one costs, and the batch the mean of its examples; but for the instances."""
    s, t = (random(i, LAW, np.float32) for i in (0, 1))
    copies = lambda x: np.concatenate([x, x])
    once, twice = (jax.jit(LOSSES[name])(*pair) for pair in ((s, t), (copies(s), copies(t))))
    alone = np.mean([STEP[name](copies(s[i : i + 1]), copies(t[i : i + 1]))[0] for i in (0, 1)])
    if name == 'IA':
        assert jax.jit(affinity.instance)(s[:1], t[:1]) < 1e-6 and alone < 1e-6 and abs(twice - once) > 1e-3
    else:
        np.testing.assert_allclose([twice, alone], once, rtol=1e-5)


@pytest.mark.parametrize('name', ['SA', 'CA', 'IA', 'AT', 'PSA', 'RBF'])
def test_scale_does_not_matter(name):
    s, t = (random(i, LAW, np.float32) for i in (0, 1))
    np.testing.assert_allclose(STEP[name](100 * s, t)[0], STEP[name](s, t)[0], rtol=1e-5)
    assert STEP[name](3 * t, t)[0] < 1e-6


# ---- errors, at trace time

SHAPES = [(2, 4, 4, 3), (2, 4, 4, 1), (2, 4, 5, 3), (2, 5, 4, 3), (3, 4, 4, 3), (2, 4, 3)]
x, grey, wide, tall, more, flat = map(np.zeros, SHAPES)
ERRORS = [
    (lambda: pixel.l1(grey, x), 'pixel.l1: shapes (2, 4, 4, 1) and (2, 4, 4, 3) differ'),
    (lambda: pixel.charbonnier(x, more), 'pixel.charbonnier: shapes (2, 4, 4, 3) and (3, 4, 4, 3) differ'),
    (lambda: features.fitnet(x, grey), 'features.fitnet: student (2, 4, 4, 3) and teacher (2, 4, 4, 1) must be'),
    (lambda: features.attention(x, wide), '(2, 4, 5, 3) must be [B, H, W, C] with equal B, H, W;'),
    (lambda: features.fsp((x, wide), (x, x)), 'first tap (2, 4, 4, 3) is smaller than second tap (2, 4, 5, 3)'),
    (lambda: features.fsp((x, x), (x, grey)), 'teacher taps (2, 4, 4, 3), (2, 4, 4, 1) must have equal B and channels'),
    (lambda: affinity.spatial(flat, flat), 'affinity.spatial: student (2, 4, 3) and teacher (2, 4, 3) must be [B,'),
    (lambda: affinity.channel(x, grey), '[B, H, W, C] with equal B, C; tap at the same resolution, and adapt C by a 1x1'),
    (lambda: affinity.instance(x, more), 'affinity.instance: student (2, 4, 4, 3) and teacher (3, 4, 4, 3)'),
    (lambda: affinity.pooled_spatial(x, tall), 'affinity.pooled_spatial: student (2, 4, 4, 3) and teacher (2, 5,'),
    (lambda: affinity.mmd(x, more), 'affinity.mmd: student (2, 4, 4, 3) and teacher (3, 4, 4, 3)'),
    (lambda: affinity.pooled_spatial(x, x, pool_type='mean'), "pool_type 'mean' is unknown; use 'avg' or 'max'"),
    (lambda: affinity.mmd(x, x, pool=0), 'affinity.mmd: pool 0 must be at least 1'),
    (lambda: affinity.rbf(x, x, order=0), 'affinity.rbf: order 0 must be at least 1'),
]


@pytest.mark.parametrize('call, message', ERRORS)
def test_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        jax.eval_shape(call)
