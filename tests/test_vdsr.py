"""VDSR and all that works on Y alone: counts, growth, official weights and scores, colour pictures, files, training."""

import json

import exporting
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from arrays import close, np_conv, relu
from PIL import Image
from shell import command, only_line

from kdsr import config as configs
from kdsr import convert, evaluate, export, metrics, models, pictures, recipes, train, upscale
from kdsr.data import benchmarks, pipeline, sources
from kdsr.data.resize import imresize
from kdsr.models import exports, vdsr

OFFICIAL = 'vdsr_official_multiscale_Y'
SMALL = {'features': 4, 'blocks': 3}


def drawn(net, seed=0):
    """Variables of `net`, all drawn at random, so that no part is silent."""
    rng, x = np.random.default_rng(seed), jax.ShapeDtypeStruct((1, 8, 8, net.channels), jnp.float32)
    draw = lambda s: np.float32(rng.normal(size=s.shape) * 2 * max(1, np.prod(s.shape[:3])) ** -0.5)
    return jax.tree.map(draw, jax.eval_shape(net.init, jax.random.key(0), x))


def saved(path, seed=0, **card):
    """Writes a small x2 network, for several scales if the card says so, and returns its path."""
    args = {'scale': 2, **SMALL}
    exports.save(path, name='vdsr', args=args, variables=drawn(models.build('vdsr', **args), seed), **card)
    return str(path)


@pytest.mark.parametrize(
    ('args', 'count'), [({}, 664_704), ({'features': 32}, 166_464), ({'features': 16}, 41_760), ({'bias': True}, 665_921)]
)
def test_published_parameter_counts(args, count):
    net, lr = models.build('vdsr', **args), jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), lr)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count
    grown = jax.eval_shape(lambda key, x: net.init(key, x, active=1, method='refine'), jax.random.key(0), lr)
    assert jax.tree.map(jnp.shape, grown) == jax.tree.map(jnp.shape, shapes)


def test_first_weights_are_he_normal_by_fan_out():
    params = jax.jit(vdsr.VDSR(blocks=1).init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))['params']
    for name, outputs in (('head', 64), ('block1', 64), ('tail', 1)):
        assert np.std(params[name]['kernel']) == pytest.approx((2 / (9 * outputs)) ** 0.5, rel=0.06)
    assert np.abs(params['block1']['kernel']).max() > 3.5 * (2 / (9 * 64)) ** 0.5  # not cut off


def test_a_tail_of_zeros_begins_with_bicubic_enlargement():
    net, lr = models.build('vdsr', scale=3, **SMALL, tail_init='zeros'), np.random.default_rng(0).random((7, 5, 1))
    image, _ = net.apply(models.init(net, jax.random.key(0), jnp.zeros((1, 8, 8, 1))), jnp.asarray(lr[None], jnp.float32))
    np.testing.assert_allclose(image[0], imresize(lr, 3), atol=1e-6)
    with pytest.raises(ValueError, match="tail_init='zero' of vdsr is none of fan_out, zeros"):
        models.init(models.build('vdsr', tail_init='zero'), jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


def test_equals_numpy_and_reads_no_further_than_it_says():
    net = models.build('vdsr', scale=3, bias=True, **SMALL)
    variables = drawn(net)
    lr = np.random.default_rng(1).random((1, 14, 15, 1))
    x = imresize(lr[0], 3)[None]
    params, y = variables['params'], x
    for name in ('head', 'block1', 'block2', 'block3'):
        y = relu(np_conv(y, params[name]))
    run = jax.jit(net.apply)
    sr, taps = run(variables, lr)
    close(sr, x + np_conv(y, params['tail']))
    close(taps['block3'], y)
    assert models.taps(net)['head'] == (1, 48, 48, 4) and set(vdsr.fakd_taps(**SMALL)) <= set(taps)
    radius = models.radius(net)
    assert radius == 4 and models.radius(models.build('vdsr', scale=2)) == 12
    other = lr.copy()
    other[:, 7] += 1
    changed = np.flatnonzero(np.abs(run(variables, other)[0] - sr).max((0, 2, 3)))
    assert 7 - radius <= changed.min() // 3 and changed.max() // 3 <= 7 + radius


@pytest.mark.parametrize('active', [1, 2, 3])
def test_a_network_that_grows_equals_a_shorter_one(active):
    """Also where the number is known only when it runs; blocks that do not act get no gradient."""
    net = models.build('vdsr', **SMALL)
    variables, x = drawn(net), np.random.default_rng(1).random((2, 9, 8, 1))
    kept = {k: v for k, v in variables['params'].items() if not k.startswith('block') or int(k[5:]) <= active}
    short = models.build('vdsr', **{**SMALL, 'blocks': active}).apply({'params': kept}, x, method='refine')[0]
    run = jax.jit(lambda v, k: net.apply(v, x, k, method='refine')[0])
    np.testing.assert_array_equal(net.apply(variables, x, active=active, method='refine')[0], short)
    close(run(variables, jnp.int32(active)), short)
    grads = jax.jit(jax.grad(lambda v: (net.apply(v, x, jnp.int32(active), method='refine')[0] ** 2).sum()))(variables)
    assert {k for k, g in grads['params'].items() if np.any(g['kernel'])} == set(kept)


@pytest.fixture(scope='module')
def official(data_dir, tmp_path_factory):
    """The published weights as an export."""
    out = tmp_path_factory.mktemp('official') / 'vdsr'
    card, _, assumed, *_ = convert.convert(data_dir / 'weights' / f'{OFFICIAL}.npz', 'vdsr', out)
    assert card['parameters'] == 665_921 and card['scales'] == [2, 3, 4] and not assumed
    assert card['args'] == {'scale': 4, 'features': 64, 'blocks': 18, 'channels': 1, 'bias': True}
    return out


def test_official_weights_equal_the_original_code(official, data_dir):
    golden = np.load(data_dir / 'weights' / 'parity' / f'{OFFICIAL}.npz')
    net, x = models.load(official), golden['bicubic_up_y01'][None, ..., None]
    y = jax.jit(lambda v, x: net.module.apply(v, x, method='refine')[0])(net.variables, x)
    np.testing.assert_allclose(y[0, ..., 0], golden['sr_y01'], atol=1e-5)
    lr = np.float32(imresize(golden['hr_y01'], 1 / 4))[None, ..., None]
    np.testing.assert_allclose(net(lr)[0, ..., 0], golden['sr_y01'], atol=1e-5)


SET5 = {'vdsr_y8': (37.527, 33.658, 31.343), 'dfsr': (37.593, 33.685, 31.361)}


@pytest.mark.parametrize('scale', [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize('protocol', SET5)
def test_official_weights_on_set5(official, data_dir, protocol, scale):
    """The means of an independent implementation in numpy; VDSR's paper has 37.53, 33.66 and 31.35."""
    fn = evaluate.load(official, [scale], protocol)[scale]
    found = evaluate.score(fn, benchmarks.read(data_dir / 'benchmarks' / 'Set5', scale), scale, protocol=protocol)
    assert found['psnr_y'] == pytest.approx(SET5[protocol][scale - 2], abs=0.005)


def test_pytorchs_names_are_known(tmp_path):
    """Those of github.com/twtygqyy/pytorch-vdsr, without biases."""
    net = models.build('vdsr', scale=4, **SMALL)
    variables = drawn(net)
    names = {'head': 'input', 'tail': 'output', **{f'block{i}': f'residual_layer.{i - 1}.conv' for i in range(1, 4)}}
    tensors = {f'{names[k]}.weight': v['kernel'].transpose(3, 2, 0, 1) for k, v in variables['params'].items()}
    np.savez(tmp_path / 'w.npz', **tensors)
    card, *_ = convert.convert(tmp_path / 'w.npz', 'vdsr', tmp_path / 'out')
    assert card['args'] == {'scale': 4, **SMALL, 'channels': 1, 'bias': False}
    jax.tree.map(np.testing.assert_array_equal, models.load(tmp_path / 'out').variables, variables)


def test_mistakes_in_weights_are_named(tmp_path):
    chain = {f'conv{i:02}/kernel': np.zeros((3, 3, 1 if i == 0 else 4, 1 if i == 3 else 4), np.float32) for i in range(4)}
    wrong = [({**chain, 'prelu01/alpha': np.ones(4)}, 'unexpected prelu01/alpha'), ({'a': np.ones(3)}, 'is it another model')]
    for tensors, line in wrong:
        np.savez(tmp_path / 'w.npz', **tensors)
        with pytest.raises(ValueError, match=line):
            convert.convert(tmp_path / 'w.npz', 'vdsr', tmp_path / 'out')


def test_colour_pictures_by_a_network_for_y(tmp_path):
    network = models.load(saved(tmp_path / 'net'))
    lr = np.float32(tiny.picture(14, 16, 0)[None] / 255)
    sr = np.asarray(network(lr))
    y = np.float32(metrics.rgb_to_y(lr) / 255)
    close(metrics.rgb_to_y(sr) / 255, np.asarray(network(y)))
    large = imresize(np.float64(lr[0]), 2)
    chroma = lambda x: np.float64(x) @ [[-37.797, 112], [-74.203, -93.786], [112, -18.214]]
    np.testing.assert_allclose(chroma(sr[0]), chroma(large), atol=1e-3)
    grey = np.asarray(network(np.repeat(lr[..., :1], 3, -1)))
    np.testing.assert_allclose(grey, grey[..., :1].repeat(3, -1), atol=1e-5)


def test_one_network_for_several_scales(tmp_path):
    path, single = saved(tmp_path / 'net', scales=[2, 3, 4]), saved(tmp_path / 'single')
    lr = np.float32(tiny.picture(9, 8, 0)[None] / 255)
    third = models.load(path, scale=3)
    assert third(lr).shape == (1, 27, 24, 3) and third.card['args']['scale'] == 3 and models.load(path).scale == 2
    assert list(evaluate.load(path, [])) == [2, 3, 4] and list(evaluate.load(path, [4, 3])) == [4, 3]
    assert list(evaluate.load(single, [])) == [2]
    with pytest.raises(ValueError, match='net is a x2, x3, x4 model, not one for x8'):
        models.load(path, scale=8)
    with pytest.raises(ValueError, match='net is a x2, x3, x4 model, --scale asks for x5'):
        evaluate.load(path, [2, 5])
    with pytest.raises(ValueError, match='protocol=dfsr is for networks that work on Y, .* takes 3 channels'):
        evaluate.load(exporting.network(tmp_path / 'edsr', 'edsr'), [], 'dfsr')


def test_evaluate_by_the_command(tmp_path):
    path, folder = saved(tmp_path / 'net', scales=[2, 3, 4]), tiny.folder(tmp_path / 'set', 2, 48, 36)
    run = lambda *more, **options: command('kdsr.evaluate', f'--data={folder}', *more, **options)
    run(f'--model={path}', '--scale=2,4', '--protocol=vdsr_y8', f'--json={tmp_path / "a.json"}')
    found = json.loads((tmp_path / 'a.json').read_text())
    assert list(found) == ['set/x2', 'set/x4'] and found['set/x2'].keys() == {'evaluation', 'psnr_y', 'ssim_y', 'images'}
    lpips = run(f'--model={path}', '--protocol=dfsr', '--lpips=alex', code=1)
    assert '--lpips compares colour images' in only_line(lpips)


def test_bicubic_by_the_protocols_for_y(data_dir):
    """33.690 for x2 is what data-free distillation's protocol gives; its table has 33.69."""
    examples = benchmarks.read(data_dir / 'benchmarks' / 'Set5', 2)
    assert evaluate.score(evaluate.bicubic(2), examples, 2, protocol='dfsr')['psnr_y'] == pytest.approx(33.690, abs=0.001)


def test_upscale_grey_and_colour_files(tmp_path):
    path, colour = saved(tmp_path / 'net', scales=[2, 3, 4]), tiny.picture(14, 18, 0)
    Image.fromarray(colour).save(tmp_path / 'rgb.png')
    Image.fromarray(colour[..., 0]).save(tmp_path / 'grey.png')
    files = [tmp_path / 'rgb.png', tmp_path / 'grey.png']
    assert not upscale.run(files, tmp_path / 'out', model=path)[1]
    as_bytes = lambda sr: np.uint8(np.clip(np.asarray(sr[0]), 0, 1) * 255 + 0.5)
    network, unit = models.load(path), np.float32(colour[None]) / np.float32(255)
    np.testing.assert_array_equal(pictures.read(tmp_path / 'out' / 'rgb_x2.png').pixels, as_bytes(network(unit)))
    grey = np.asarray(network(unit[..., :1].repeat(3, -1))).mean(-1, keepdims=True)
    np.testing.assert_array_equal(pictures.read(tmp_path / 'out' / 'grey_x2.png').pixels, as_bytes(grey))
    assert not upscale.run(files[:1], tmp_path / 'out', model=path, outscale=3)[1]
    third = models.load(path, scale=3)(unit)  # not the x2 picture, resized
    np.testing.assert_array_equal(pictures.read(tmp_path / 'out' / 'rgb_x3.png').pixels, as_bytes(third))


def test_export_takes_y_and_says_so(tmp_path):
    path = saved(tmp_path / 'vdsr', scales=[2, 3, 4])
    (said,), failures = export.run(path, ['stablehlo'], tmp_path / 'out', size=(24, 20), scale=3)
    assert not failures and said['file'] == 'vdsr_x3.stablehlo' and said['model']['args']['scale'] == 3
    assert said['input']['shape'] == ['b', 'h', 'w', 1] and said['output']['shape'] == ['b', '3*h', '3*w', 1]
    assert said['input']['colours'].startswith('Y of BT.601') and max(c['max'] for c in said['checks']) < 1e-5


def test_training_batches_of_y(tmp_path):
    source = sources.folder(tiny.folder(tmp_path / 'images'), scale=2, cache_dir=tmp_path / 'cache')
    options = {'scale': 2, 'patch': 8, 'batch': 4, 'seed': 1, 'threads': 0}
    rgb, y = (next(pipeline.train_batches(source, colour=c, **options)) for c in ('rgb', 'y'))
    assert y.lr.shape == (4, 8, 8, 1) and y.hr.shape == (4, 16, 16, 1) and y.hr.dtype == np.float32
    np.testing.assert_allclose(y.hr * 255, metrics.rgb_to_y(rgb.hr), atol=1e-4)
    np.testing.assert_allclose(y.lr * 255, metrics.rgb_to_y(rgb.lr), atol=1e-4)


def test_supervised_training_on_y(tmp_path):
    """Through the one loop; pictures, scores and the table are those of colour images."""
    images, teacher = tiny.folder(tmp_path / 'images'), saved(tmp_path / 'teacher')
    config = tiny.config(images, teacher, student=recipes.model('vdsr', **SMALL), optimizer=recipes.adam(1e-3, clip=1.0))
    config.method, config.data.colour = {'name': 'supervised', 'loss': 'l1'}, 'y'
    results = train.train(config, tmp_path / 'run')
    sets = {net: set(results[net]['validation/x2']) for net in ('bicubic', 'student', 'teacher')}
    assert all({'psnr_y', 'psnr_rgb'} <= columns for columns in sets.values())
    assert results['cost']['student']['lr_shape'] == [1, 120, 160, 1]
    assert (tmp_path / 'run' / 'samples' / 'step_0000004.png').is_file()
    student = models.load(tmp_path / 'run')
    assert student.scales == (2,) and student(np.zeros((1, 8, 8, 3), np.float32)).shape == (1, 16, 16, 3)
    config.data.colour = 'rgb'
    with pytest.raises(ValueError, match="gives 3 channels, the student vdsr takes 1: set config.data.colour='y'"):
        train.train(config, tmp_path / 'other')
    config.data.colour = 'grey'
    with pytest.raises(ValueError, match="config.data.colour='grey' must be 'rgb' or 'y'"):
        configs.check(config)
