"""RRDBNet, official and GSOC's, and ESRGAN's discriminator: counts, the concatenating form, real weights, foreign names."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import LR, close, drawn, leaky, np_conv, np_transposed, plain, quick, size
from flax import traverse_util
from state_dicts import saved

from kdsr import convert, evaluate, models
from kdsr.data import benchmarks
from kdsr.foreign import rrdb as foreign
from kdsr.models import discriminator_esrgan, discriminator_srgan, layers, rrdb, rrdb_gsoc

COUNTS = [  # of the original PyTorch and TensorFlow code
    ('rrdb', {}, 16_697_987),
    ('rrdb', {'scale': 2}, 16_703_171),
    ('rrdb', {'scale': 1}, 16_723_907),
    ('rrdb_gsoc', {}, 4_605_955),
]


@pytest.mark.parametrize(('name', 'args', 'count'), COUNTS)
def test_published_parameter_counts(name, args, count, monkeypatch):
    monkeypatch.setattr(layers, 'conv', plain)  # quicker to trace
    shapes = jax.eval_shape(models.build(name, **args).init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32))
    assert size(shapes) == count


def test_the_discriminator_of_esrgan_is_srgans_without_biases():
    """57,116,169 parameters for GSOC's patches of 512, 7,964,169 for ESRGAN's of 128; the statistics are not counted."""
    for side, count in ((128, 7_964_169), (512, 57_116_169)):
        shapes = jax.eval_shape(discriminator_esrgan.Discriminator(side).init, jax.random.key(0), jnp.zeros((1, side, side, 3)))
        assert (size(shapes['params']), size(shapes['batch_stats'])) == (count, 3_712)
    with pytest.raises(ValueError, match='takes images of 128x128, got 64x64: set size'):
        jax.eval_shape(discriminator_esrgan.Discriminator().init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    ours, images = discriminator_esrgan.Discriminator(16, features=8), jax.random.uniform(jax.random.key(1), (3, 16, 16, 3))
    theirs = discriminator_srgan.Discriminator(16, features=8, hidden=100, momentum=0.99)
    variables, zeros = drawn(ours, images), jax.eval_shape(theirs.init, jax.random.key(0), images)['params']
    biases = {k: {'bias': np.zeros(v['bias'].shape, np.float32)} for k, v in zeros.items() if k.startswith('conv')}
    joined = {k: {**biases.get(k, {}), **v} for k, v in variables['params'].items()}
    stats = {'batch_stats': variables['batch_stats']}
    run = lambda net, params: quick(functools.partial(models.train_apply, net))(params, stats, images)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), run(ours, variables['params']), run(theirs, joined))


def state(blocks=2, features=8, growth=4, inputs=3, channels=3):
    """A state dict of BasicSR's RRDBNet, random; its dense convolutions read their input and all results before theirs."""
    f, g = features, growth
    sizes = {'conv_first': (f, inputs)}
    for place in [f'body.{i}.rdb{j}.' for i in range(blocks) for j in (1, 2, 3)]:
        sizes |= {f'{place}conv{k}': (g if k < 5 else f, f + g * (k - 1)) for k in range(1, 6)}
    sizes |= dict.fromkeys(('conv_body', 'conv_up1', 'conv_up2', 'conv_hr'), (f, f)) | {'conv_last': (channels, f)}
    rng, out = np.random.default_rng(3), {}
    for name, (outputs, inputs) in sizes.items():
        out[f'{name}.weight'] = np.float32(rng.uniform(-1, 1, (outputs, inputs, 3, 3)) / inputs**0.5)
        out[f'{name}.bias'] = np.float32(rng.uniform(-0.5, 0.5, outputs))
    return out


def reference(tensors, lr, r=1, blocks=2):
    """RRDBNet as it is published: features joined before every convolution; numpy, float64."""
    conv = lambda name, x: np_conv(x, {'kernel': tensors[f'{name}.weight'].transpose(2, 3, 1, 0), 'bias': tensors[f'{name}.bias']})
    b, h, w, c = lr.shape
    x = lr.reshape(b, h // r, r, w // r, r, c).transpose(0, 1, 3, 5, 2, 4)  # torch's pixel_unshuffle: channel c, dy, dx
    x = head = conv('conv_first', x.reshape(b, h // r, w // r, c * r * r))
    for i in range(blocks):
        block = x
        for j in (1, 2, 3):
            features = [x]
            for k in (1, 2, 3, 4):
                features.append(leaky(conv(f'body.{i}.rdb{j}.conv{k}', np.concatenate(features, -1))))
            x = x + 0.2 * conv(f'body.{i}.rdb{j}.conv5', np.concatenate(features, -1))
        x = block + 0.2 * x
    x = head + conv('conv_body', x)
    for name in ('conv_up1', 'conv_up2'):
        x = leaky(conv(name, x.repeat(2, 1).repeat(2, 2)))
    return conv('conv_last', leaky(conv('conv_hr', x)))


OLDER = [
    (r'^body\.(\d+)\.rdb', r'RRDB_trunk.\1.RDB'),
    ('conv_body', 'trunk_conv'),
    (r'conv_up(\d)', r'upconv\1'),
    ('conv_hr', 'HRconv'),
]
OLDEST = [
    (r'^body\.(\d+)\.rdb(\d\.conv\d)', r'model.1.sub.\1.RDB\2.0'),
    *(('conv_body', 'model.1.sub.2'), ('conv_first', 'model.0'), ('conv_up1', 'model.3'), ('conv_up2', 'model.6')),
    *(('conv_hr', 'model.8'), ('conv_last', 'model.10')),
]


@pytest.mark.parametrize('pairs', [(), OLDER, OLDEST], ids=['BasicSR', '2019', '2018'])
def test_the_push_form_of_converted_weights_equals_the_concatenating_network(tmp_path, pairs):
    tensors = state()
    card, _, assumed, *_ = convert.convert(saved(tmp_path / 'w.pth', tensors, pairs), 'rrdb', tmp_path / 'out')
    assert card['args'] == {'scale': 4, 'features': 8, 'blocks': 2, 'growth': 4, 'channels': 3} and assumed == ()
    assert card['parameters'] == sum(array.size for array in tensors.values())
    close(models.load(tmp_path / 'out')(LR), reference(tensors, LR))


@pytest.mark.parametrize('scale', [2, 1])
def test_smaller_scales_read_squares_of_pixels_as_one(scale):
    """Sides of 8x12, and cut to 7x9, which is continued by the edge; PyTorch's order of channels in the file."""
    r, lr = 4 // scale, np.random.default_rng(6).uniform(size=(1, 8, 12, 3)).astype(np.float32)
    tensors = state(inputs=3 * r * r, blocks=1)
    args, variables, _ = foreign.convert(tensors)
    assert args['scale'] == scale
    net = models.build('rrdb', **args)
    run = quick(lambda x: net.apply(traverse_util.unflatten_dict(variables, sep='/'), x)[0])
    close(run(lr), reference(tensors, lr, r, 1))
    cut = lr[:, :7, :9]
    padded = np.pad(cut, ((0, 0), (0, -7 % r), (0, -9 % r), (0, 0)), mode='edge')
    np.testing.assert_allclose(run(cut), run(padded)[:, : 7 * scale, : 9 * scale], atol=1e-6)
    assert run(cut).shape == (1, 7 * scale, 9 * scale, 3) and run(lr[:, :1, :1]).shape == (1, scale, scale, 3)


def test_gradients_of_the_push_form_equal_those_of_the_concatenating_one():
    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        x, kernels = rng.normal(size=(2, 4, 5, 6)), [rng.normal(size=(3, 3, 6 + 3 * k, 3 if k < 4 else 6)) / 8 for k in range(5)]
        biases = [rng.normal(size=k.shape[-1]) for k in kernels]

        def joined(x, kernels, biases):
            features = [x]
            for kernel, bias in zip(kernels, biases, strict=True):
                y = plain(jnp.concatenate(features, -1), kernel, ((1, 1), (1, 1))) + bias
                features.append(jnp.where(y > 0, y, 0.2 * y))
            return jnp.sin(x + 0.2 * y).sum()

        def pushed(x, kernels, biases):
            starts = [0, 6, 9, 12, 15, 18]
            cut = lambda k: jnp.concatenate([kernel[:, :, starts[k] : starts[k + 1]] for kernel in kernels[k:]], -1)
            params = {f'push{k}': {'kernel': cut(k)} for k in range(5)}
            params['push0']['bias'] = jnp.concatenate(biases)
            return jnp.sin(rrdb.DenseBlock(3, 'float64').apply({'params': params}, x)).sum()

        run = lambda f: quick(jax.value_and_grad(f, (0, 1, 2)))(x, kernels, biases)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-10), run(pushed), run(joined))


def test_dense_blocks_start_by_a_tenth_of_kaimings_law():
    """In the published layout convolution k has 9 (64 + 32 (k - 1)) inputs; biases are 0."""
    params = quick(rrdb.DenseBlock(32, 'float32').init)(jax.random.key(0), jnp.zeros((1, 4, 4, 64)))['params']
    for source in range(5):
        kernel, widths = np.asarray(params[f'push{source}']['kernel']), [32, 32, 32, 32, 64][source:]
        for k, part in enumerate(np.split(kernel, np.cumsum(widths)[:-1], -1), source):
            assert part.std() == pytest.approx(0.1 * (2 / (9 * (64 + 32 * k))) ** 0.5, rel=0.03)
    assert not params['push0']['bias'].any() and 'bias' not in params['push1']


WEIGHTS = {  # name -> model, PSNR-Y on Set5 of the same weights in PyTorch
    'rrdb23_realsr_df2k_x4_fp16': ('rrdb', 30.389),
    'rrdb23_realesrgan_x4plus_fp16': ('rrdb', 26.634),
    'srvggnetcompact_realesr_animevideov3_x4_fp16': ('srvgg', 28.250),
}
slow_second = lambda name: pytest.param(name, marks=pytest.mark.slow if 'x4plus' in name else ())


@pytest.mark.parametrize('name', map(slow_second, WEIGHTS))
def test_real_weights_give_the_outputs_of_their_original(tmp_path, data_dir, name):
    """Golden outputs on a 24x24 crop: the same weights run in PyTorch, float32."""
    card, *_ = convert.convert(data_dir / 'weights' / f'{name}.npz', WEIGHTS[name][0], tmp_path / 'out')
    assert card['parameters'] == {'rrdb': 16_697_987, 'srvgg': 621_424}[card['model']] and card['args']['scale'] == 4
    with np.load(data_dir / 'weights' / 'parity' / f'{name}.npz') as golden:
        np.testing.assert_allclose(
            models.load(tmp_path / 'out')(golden['lr_uint8'][None] / 255)[0], golden['sr_float01'], atol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize('name', WEIGHTS)
def test_scores_on_set5(tmp_path, data_dir, name):
    model, golden = WEIGHTS[name]
    convert.convert(data_dir / 'weights' / f'{name}.npz', model, tmp_path / 'out')
    found = evaluate.score(models.load(tmp_path / 'out'), benchmarks.read(data_dir / 'benchmarks' / 'Set5', 4), 4)
    assert found['psnr_y'] == pytest.approx(golden, abs=0.002)


@pytest.mark.parametrize(
    ('change', 'line'),
    [
        (
            lambda t: t.pop('body.1.rdb2.conv3.bias'),
            r'block2/dense2/conv3 must be a kernel \(3, 3, 16, 4\) .* it is missing: another',
        ),
        (
            lambda t: t.update({'body.0.rdb1.conv5.weight': t['conv_hr.weight']}),
            r'conv5 must be .*, it is \(3, 3, 8, 8\) and \(8,\)',
        ),
        (
            lambda t: t.update({'conv_first.weight': t['conv_hr.weight'][:, :6]}),
            'reads 6 channels, which are not 1, 4 or 16 pixels',
        ),
        (lambda t: t.pop('conv_last.weight'), 'no convolution in it is params/tail/kernel: is it another model'),
        (lambda t: t.update({'model.9.bias': t['conv_last.bias']}), r'do not fit: unexpected model.9.bias \(3,\)'),
        (lambda t: [t.pop(k) for k in list(t) if 'rdb3' in k], 'do not fit: missing params/block1/dense3/push0/bias'),
    ],
)
def test_mistakes_are_one_line(tmp_path, change, line):
    tensors = state()
    change(tensors)
    with pytest.raises(ValueError, match=line) as error:
        convert.convert(saved(tmp_path / 'w.pth', tensors), 'rrdb', tmp_path / 'out')
    assert '\n' not in str(error.value)
    with pytest.raises(ValueError, match='scale 3 is not supported by RRDBNet: use 1, 2 or 4'):
        jax.eval_shape(models.build('rrdb', scale=3).init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


@pytest.mark.parametrize('stride', [2, 3, 4])
def test_transposed_convolution_equals_keras_rule(stride):
    net, x = rrdb_gsoc.TransposedConv(4, stride), np.random.default_rng(1).normal(size=(2, 3, 5, 6))
    variables = drawn(net, jnp.float32(x))
    y = quick(net.apply)(variables, jnp.float32(x))
    close(y, np_transposed(x, variables['params'], stride))


def test_the_teacher_of_gsoc_equals_numpy():
    net = rrdb_gsoc.RRDBNet(features=8, blocks=1)
    variables = drawn(net, LR)
    p = variables['params']
    dense = {'push0': 8 * 5, 'push4': 8}
    assert all(p['block1']['dense2'][k]['kernel'].shape == (3, 3, 8, n) for k, n in dense.items())
    x = head = leaky(np_conv(255 * np.float64(LR), p['head']))
    x = np.float64(quick(rrdb.Block(8, 'float32').apply)({'params': p['block1']}, jnp.float32(x)))
    x = np_conv(x, p['body']) + head
    for up in ('up1', 'up2'):
        x = leaky(np_transposed(x, p[up], 2))
    expected = np_conv(leaky(np_conv(x, p['hr'])), p['tail']) / 255
    sr, taps = quick(net.apply)(variables, LR)
    close(sr, expected)
    assert {k: v.shape for k, v in taps.items()} == dict.fromkeys(('head', 'block1', 'body'), (2, 5, 6, 8))


def test_taps_are_named_as_everywhere_and_bfloat16_is_for_the_work_only():
    net = models.build('rrdb', features=8, blocks=3, growth=4, dtype='bfloat16')
    variables = drawn(net, LR)
    sr, taps = quick(net.apply)(variables, LR)
    full, _ = quick(net.clone(dtype='float32').apply)(variables, LR)
    assert (sr.dtype, taps['body'].dtype) == (jnp.float32, jnp.bfloat16)
    assert jnp.abs(sr - full).mean() < 0.05 * jnp.abs(full - full.mean()).mean()
    assert {k: v.shape for k, v in taps.items()} == dict.fromkeys(('head', 'block1', 'block2', 'block3', 'body'), (2, 5, 6, 8))
    assert rrdb.fakd_taps() == ('block7', 'block15', 'body') and rrdb_gsoc.fakd_taps() == ('block3', 'block7', 'body')
    assert models.taps(net.clone(scale=2))['body'] == (1, 8, 8, 8)
