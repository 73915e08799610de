"""SRResNet, the SRGAN discriminator and batch norm: counts, parity with real weights, Keras' rules, devices, gradients.

Run as a program with several devices, it prints how far a step over all of them is from one on a single device.
"""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import drawn, quick, size
from flax import traverse_util
from jax import lax

from kdsr import compiled, models
from kdsr.models import discriminator_srgan, edsr, exports, layers, norms, srresnet

TINY = {'features': 8, 'blocks': 2}


COUNTS = [  # features, blocks, scale, trainable parameters, statistics; by hand from the layers of krasserm/super-resolution
    (64, 16, 4, 1_550_659, 4_224),  # 1,554,883 in all: SRGAN's
    (64, 16, 2, 1_402_883, 4_224),
    (32, 8, 4, 248_227, 1_088),  # 249,315: the student of Lee and Park
    (64, 32, 4, 2_737_475, 8_320),
]


@pytest.mark.parametrize(('features', 'blocks', 'scale', 'trainable', 'statistics'), COUNTS)
def test_generator_counts(features, blocks, scale, trainable, statistics):
    net = models.build('srresnet', features=features, blocks=blocks, scale=scale)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    assert (size(shapes['params']), size(shapes['batch_stats'])) == (trainable, statistics)


def test_discriminator_counts_and_the_size_it_takes():
    net = discriminator_srgan.Discriminator()
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 96, 96, 3)))
    assert (size(shapes['params']), size(shapes['batch_stats'])) == (23_565_505, 3_712)
    with pytest.raises(ValueError, match='takes images of 96x96, got 48x96: set size'):
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 48, 96, 3)))


HOUSE = {'conv_in': 'head', 'prelu_in': 'head_prelu', 'conv_mid': 'body', 'bn_mid': 'body_bn', 'conv_out': 'tail'}


def converted(path):
    """Variables from an .npz of the weights in krasserm's Keras files: 'block00/conv1/kernel' -> params/block1/conv1/kernel."""
    renamed = {}
    with np.load(path) as arrays:
        for key, value in arrays.items():
            first, *rest, leaf = key.split('/')
            if up := re.fullmatch(r'up(\d)', first):
                layer = ('up', f'{rest[0]}{int(up[1]) + 1}')
            elif block := re.fullmatch(r'block(\d\d)', first):
                layer = (f'block{int(block[1]) + 1}', *rest)
            else:
                layer = (HOUSE[first], *rest)
            renamed['batch_stats' if leaf in ('mean', 'var') else 'params', *layer, leaf] = value
    return traverse_util.unflatten_dict(renamed)


@pytest.mark.parametrize('name', ['srresnet_x4_krasserm', 'srgan_generator_x4_krasserm'])
def test_real_weights_give_the_outputs_of_their_original(data_dir, name):
    """Golden outputs on a 24x24 crop: the same weights run in PyTorch, float32. Also as a float16 export, statistics included."""
    variables, net = converted(data_dir / 'weights' / f'{name}.npz'), models.build('srresnet')
    assert size(variables) == 1_554_883
    with np.load(data_dir / 'weights' / 'parity' / f'{name}.npz') as golden:
        lr, sr = jnp.float32(golden['lr_uint8'][None] / 255), golden['sr_float01']
    exports.check(variables, jax.eval_shape(net.init, jax.random.key(0), lr), name)
    apply = compiled.jit(lambda v, x: net.apply(v, x)[0][0])
    np.testing.assert_allclose(apply(variables, lr), sr, atol=1e-5)
    half = jax.tree.map(lambda a: np.float32(np.float16(a)), variables)
    assert np.abs(apply(half, lr) - sr).max() < 0.25 / 255


def test_taps_and_shapes():
    net, lr = models.build('srresnet', **TINY), jax.random.uniform(jax.random.key(1), (2, 6, 7, 3))
    variables = drawn(net, lr)
    for scale in (2, 3, 8):
        shape = jax.eval_shape(net.clone(scale=scale).init_with_output, jax.random.key(0), lr)[0][0].shape
        assert shape == (2, 6 * scale, 7 * scale, 3)
    sr, taps = quick(net.apply)(variables, lr)
    assert sr.dtype == jnp.float32 and 0 < sr.min() < sr.max() < 1
    names = ('head', 'block1', 'block2', 'body')
    assert {k: v.shape for k, v in taps.items()} == dict.fromkeys(names, (2, 6, 7, 8))
    assert set(srresnet.fakd_taps(**TINY)) <= set(names) and srresnet.fakd_taps() == ('block5', 'block10', 'body')
    body = layers.Conv(8).apply({'params': variables['params']['body']}, taps['block2'])
    body_bn = {k: v['body_bn'] for k, v in variables.items()}
    np.testing.assert_allclose(taps['body'], norms.BatchNorm().apply(body_bn, body) + taps['head'], atol=1e-5)
    assert models.taps(net) == dict.fromkeys(names, (1, 16, 16, 8))


def test_exports_carry_the_statistics(tmp_path):
    net, lr = models.build('srresnet', **TINY), jax.random.uniform(jax.random.key(1), (1, 6, 7, 3))
    variables = drawn(net, lr)
    card = exports.save(tmp_path, name='srresnet', args=TINY, variables=variables)
    assert card['parameters'] == size(variables['params'])
    np.testing.assert_array_equal(models.load(tmp_path)(lr), exports.upscaler(net, variables)(lr))
    exports.save(tmp_path, name='srresnet', args=TINY, variables={'params': variables['params']})
    with pytest.raises(ValueError, match='missing batch_stats/'):
        models.load(tmp_path)


def test_initialisation_is_keras_law():
    """Glorot: U(+-sqrt(6 / (fan_in + fan_out))); biases, alpha, beta and means 0, gamma and variances 1."""
    net, args = models.build('srresnet', scale=2, features=8, blocks=1), (jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    flat = traverse_util.flatten_dict(quick(net.init)(*args), sep='/')
    assert flat.keys() == traverse_util.flatten_dict(jax.eval_shape(functools.partial(models.init, net), *args), sep='/').keys()
    bound, kernel = (6 / (9 * 9 * 3 + 9 * 9 * 8)) ** 0.5, flat['params/head/kernel']
    assert 0.99 * bound < np.abs(kernel).max() <= bound and np.var(kernel) == pytest.approx(bound**2 / 3, rel=0.05)
    for key, value in flat.items():
        if not key.endswith('kernel'):
            assert np.all(value == (key.endswith(('gamma', 'var')))), key


def batch_norm(x, variables, eps=1e-3):
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return variables['gamma'] * (x - mean) / np.sqrt(var + eps) + variables['beta'], mean, var


def test_batch_norm_equals_numpy_and_moves_by_keras_rule():
    net, x = norms.BatchNorm(0.8), np.random.default_rng(1).normal(2, 3, (3, 5, 4, 6))
    variables = drawn(net, jnp.float32(x))
    params, old = variables['params'], variables['batch_stats']
    y, moved = quick(lambda v, x: models.train_apply(net, v['params'], {'batch_stats': v['batch_stats']}, x))(variables, x)
    expected, mean, var = batch_norm(x, params)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(moved['batch_stats']['mean'], 0.8 * old['mean'] + 0.2 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moved['batch_stats']['var'], 0.8 * old['var'] + 0.2 * var, rtol=1e-5)
    expected = params['gamma'] * (x - old['mean']) / np.sqrt(old['var'] + 1e-3) + params['beta']
    np.testing.assert_allclose(quick(net.apply)(variables, jnp.float32(x)), expected, atol=1e-5)


def test_batch_norm_and_prelu_gradients_equal_autodiff_of_the_formula():
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        x, weight = jnp.asarray(rng.normal(1, 2, (2, 3, 5, 4))), rng.normal(size=(2, 3, 5, 4))
        norm, prelu = norms.BatchNorm(dtype='float64'), norms.PReLU()
        variables, slopes = (jax.tree.map(jnp.float64, drawn(net, x)) for net in (norm, prelu))

        def ours(params, alpha, x):
            y, _ = models.train_apply(norm, params, {'batch_stats': variables['batch_stats']}, x)
            return (jnp.sin(prelu.apply({'params': alpha}, y)) * weight).sum()

        def formula(params, alpha, x):
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            y = params['gamma'] * (x - mean) / jnp.sqrt(var + 1e-3) + params['beta']
            return (jnp.sin(jnp.where(y > 0, y, alpha['alpha'] * y)) * weight).sum()

        pair = [quick(jax.value_and_grad(f, (0, 1, 2)))(variables['params'], slopes['params'], x) for f in (ours, formula)]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), *pair)


def test_train_apply_moves_statistics_only_where_there_are_any():
    lr = jax.random.uniform(jax.random.key(1), (2, 6, 7, 3))
    plain = edsr.EDSR(**TINY)
    params = drawn(plain, lr)['params']
    (sr, _), vars = quick(functools.partial(models.train_apply, plain))(params, {}, lr)
    assert vars == {} and jnp.array_equal(sr, quick(plain.apply)({'params': params}, lr)[0])
    norm = norms.BatchNorm(0.8)  # called twice, as a discriminator on real and generated images: both leave their trace
    variables, vars = norm.init(jax.random.key(0), lr), {'batch_stats': {'mean': jnp.zeros(3), 'var': jnp.ones(3)}, 'other': {}}
    for image in (lr, lr + 1):
        _, vars = models.train_apply(norm, variables['params'], vars, image)
    mean = lr.mean((0, 1, 2))
    np.testing.assert_allclose(vars['batch_stats']['mean'], 0.8 * 0.2 * mean + 0.2 * (mean + 1), rtol=1e-5)
    assert vars['other'] == {}
    fresh = norm.init(jax.random.key(0), lr, train=True)['batch_stats']
    assert not fresh['mean'].any() and (fresh['var'] == 1).all()  # a first look is no update


def np_conv(x, params, stride=1):
    """3x3 convolution in numpy with TensorFlow's SAME: even sides of stride 2 are padded at the bottom and right only."""
    pad = [(1, 1) if stride == 1 or side % 2 else (0, 1) for side in x.shape[1:3]]
    p, (h, w) = np.pad(x, ((0, 0), *pad, (0, 0))), (-(-side // stride) for side in x.shape[1:3])
    view = lambda i, j: p[:, i : i + stride * h : stride, j : j + stride * w : stride][:, :h, :w]
    return params['bias'] + sum(view(i, j) @ np.float64(params['kernel'][i, j]) for i in range(3) for j in range(3))


@pytest.mark.parametrize('sides', [(8, 6), (7, 6), (5, 9)])
def test_strided_convolution_pads_like_tensorflow(sides):
    net, x = layers.StridedConv(5), np.random.default_rng(1).normal(size=(2, *sides, 4))
    variables = drawn(net, jnp.float32(x))
    y = quick(net.apply)(variables, jnp.float32(x))
    np.testing.assert_allclose(y, np_conv(x, variables['params'], 2), atol=1e-5)
    kernel = jnp.float32(variables['params']['kernel'])
    same = lax.conv_general_dilated(jnp.float32(x), kernel, (2, 2), 'SAME', dimension_numbers=layers.NHWC)
    np.testing.assert_allclose(y, same + variables['params']['bias'], atol=1e-5)


@pytest.fixture(scope='module')
def disc():
    """A discriminator for 16x16, its variables and images."""
    net, images = (
        discriminator_srgan.Discriminator(16, features=8, hidden=32),
        jax.random.uniform(jax.random.key(1), (3, 16, 16, 3)),
    )
    return net, drawn(net, images), images


def test_discriminator_equals_numpy(disc):
    """With batch statistics; the flattened order is rows, columns, channels."""
    net, variables, images = disc
    params, x = variables['params'], 2 * np.float64(images) - 1
    leaky = lambda x: np.where(x > 0, x, 0.2 * x)
    for i in range(1, 9):
        x = np_conv(x, params[f'conv{i}'], 2 - i % 2)
        x = leaky(batch_norm(x, params[f'bn{i}'])[0] if i > 1 else x)
    x = leaky(x.reshape(3, -1) @ params['dense1']['kernel'] + params['dense1']['bias'])
    expected = (x @ params['dense2']['kernel'] + params['dense2']['bias'])[:, 0]
    stats = {'batch_stats': variables['batch_stats']}
    (logits, _), _ = quick(functools.partial(models.train_apply, net))(params, stats, images)
    assert logits.shape == (3,) and logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def test_every_parameter_gets_a_gradient(disc):
    """Finite everywhere; not 0, but for biases that batch norm subtracts again: theirs is 0 but for rounding."""
    generator, lr = models.build('srresnet', scale=2, features=8, blocks=1), jax.random.uniform(jax.random.key(2), (2, 8, 8, 3))
    ours, theirs = drawn(generator, lr), disc[1]

    def loss(params):
        (sr, _), _ = models.train_apply(generator, params[0], {'batch_stats': ours['batch_stats']}, lr)
        (logits, _), _ = models.train_apply(disc[0], params[1], {'batch_stats': theirs['batch_stats']}, sr)
        return jnp.sin(logits).sum()

    grads = quick(jax.grad(loss))((ours['params'], theirs['params']))
    for net in grads:
        flat = traverse_util.flatten_dict(net, sep='/')
        for key, g in flat.items():
            before_norm = re.fullmatch(r'(block\d/conv\d|body|conv[2-8])/bias', key)
            assert np.isfinite(g).all(), key
            peak = np.abs(flat[key.replace('bias', 'kernel')]).max() if before_norm else 0
            assert np.abs(g).max() < 1e-3 * peak if before_norm else np.abs(g).max() > 0, key


def test_bfloat16_keeps_statistics_and_results_in_float32(disc):
    generator, lr = models.build('srresnet', scale=2, dtype='bfloat16', **TINY), jnp.ones((2, 8, 8, 3))
    ours, theirs = drawn(generator, lr), disc[1]

    def both(ours, theirs, lr):
        (sr, taps), vars = models.train_apply(generator, ours['params'], {'batch_stats': ours['batch_stats']}, lr)
        net = disc[0].clone(dtype='bfloat16')
        (logits, _), their_vars = models.train_apply(net, theirs['params'], {'batch_stats': theirs['batch_stats']}, sr)
        return sr, logits, (vars, their_vars), taps

    sr, logits, vars, taps = jax.eval_shape(both, ours, theirs, lr)
    assert {leaf.dtype for leaf in jax.tree.leaves((sr, logits, vars))} == {jnp.dtype('float32')}
    assert {leaf.dtype for leaf in jax.tree.leaves(taps)} == {jnp.dtype('bfloat16')}
    x = jnp.bfloat16(3 + jnp.arange(512.0).reshape(4, 8, 8, 2) / 512)  # a sum in bfloat16 would stop growing at 1024
    norm = norms.BatchNorm(0.0, dtype='bfloat16')
    _, vars = models.train_apply(norm, {'gamma': jnp.ones(2), 'beta': jnp.zeros(2)}, {'batch_stats': {}}, x)
    np.testing.assert_allclose(vars['batch_stats']['mean'], np.float64(x).mean((0, 1, 2)), rtol=1e-6)


def across_devices():
    """Relative differences (gradients, statistics) of a step over all devices from one on a single device; joined or not."""
    count, net = jax.device_count(), models.build('srresnet', scale=2, features=8, blocks=1)
    lr = jax.random.uniform(jax.random.key(1), (2 * count, 8, 8, 3)) * jnp.linspace(0.2, 1, 2 * count)[:, None, None, None]
    variables = drawn(net, lr)

    def step(params, lr, axis=None, join=True):
        def loss(params):
            (sr, _), vars = models.train_apply(
                net, params, {'batch_stats': variables['batch_stats']}, lr, axis=axis if join else None
            )
            return jnp.sin(sr).mean(), vars

        grads, vars = jax.grad(loss, has_aux=True)(params)
        return lax.pmean((grads, vars), axis) if axis else (grads, vars)

    def mapped(params, lr, join):
        body = functools.partial(step, axis='data', join=join)
        return jax.pmap(body, axis_name='data', in_axes=(None, 0), out_axes=None)(params, lr.reshape(count, 2, *lr.shape[1:]))

    peak = lambda tree: max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))
    apart = lambda a, b: [peak(jax.tree.map(jnp.subtract, x, y)) / peak(y) for x, y in zip(a, b, strict=True)]
    one = jax.jit(step)(variables['params'], lr)
    joined, alone = (apart(mapped(variables['params'], lr, join), one) for join in (True, False))
    return {'devices': count, 'joined': joined, 'alone': alone}


def test_eight_devices_equal_one():
    """Gradients and running statistics of the same global batch of 16; without the axis they are others."""
    here = pathlib.Path(__file__)
    flags = {'XLA_FLAGS': '--xla_force_host_platform_device_count=8', 'JAX_PLATFORMS': 'cpu', 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}
    env = {**os.environ, **flags, 'PYTHONPATH': str(here.parents[1])}
    done = subprocess.run([sys.executable, str(here)], env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts['devices'] == 8
    assert max(facts['joined']) < 1e-5 < 1e-3 < min(facts['alone']), facts


def test_every_batch_norm_joins_the_devices(disc):
    """Two sums (mean, mean square) for each: 7 in the discriminator, 2 a block and 1 in the generator; none without the axis."""
    generator, lr = models.build('srresnet', scale=2, **TINY), jnp.ones((2, 8, 8, 3))
    for net, variables, x, norm_layers in ((disc[0], disc[1], disc[2], 7), (generator, drawn(generator, lr), lr, 5)):
        for axis in ('data', None):
            stats = {'batch_stats': variables['batch_stats']}
            run = functools.partial(models.train_apply, net, variables['params'], stats, x, axis=axis)
            program = str(jax.make_jaxpr(run, axis_env=[('data', 8)])())
            # jax before 0.8 writes the sums of a pair as one line with two results
            summed = [name for names in re.findall(r'^ *(.*) = psum\w*\[', program, re.M) for name in names.split()]
            assert len(summed) == (2 * norm_layers if axis else 0)


if __name__ == '__main__':
    print(json.dumps(across_devices()))
