"""The small students, compressed ESRGAN's and SRVGGNetCompact, and the depthwise convolution; how far a pixel reaches in each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import LR, close, drawn, leaky, np_conv, np_transposed, plain, quick, size
from jax import lax
from state_dicts import saved

from kdsr import convert, models
from kdsr.models import depthwise, layers, rrdb, rrdb_gsoc, rrdb_student, srvgg


def grouped(x, kernel):
    """What the depthwise convolution must equal: lax's own, differentiated by autodiff."""
    options = {'dimension_numbers': layers.NHWC, 'feature_group_count': x.shape[-1]}
    return lax.conv_general_dilated(x, kernel[:, :, None], (1, 1), 'SAME', **options)


@pytest.mark.parametrize('height', [1, 12, 31])
def test_depthwise_value_gradient_and_double_gradient_equal_lax(height):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, kernel, weight = (jnp.asarray(rng.normal(size=s)) for s in ((2, height, 7, 4), (3, 3, 4), (2, height, 7, 4)))

        def results(conv):
            grad = jax.grad(lambda x, k: (jnp.sin(conv(x, k)) * weight).sum(), (0, 1))
            norm = lambda x, k: sum((g**2).sum() for g in grad(x, k))
            return conv(x, kernel), grad(x, kernel), jax.grad(norm, (0, 1))(x, kernel)

        ours, laxs = quick(lambda: (results(depthwise.depthwise), results(grouped)))()
        same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())
        jax.tree.map(same, ours, laxs)


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='the slow form is one of XLA:CPU')
def test_a_scanned_depthwise_gradient_has_no_convolution():
    def program(conv):
        step = jax.grad(lambda x, k: (jnp.tanh(conv(x, k)) ** 2).sum(), (0, 1))
        descend = lambda carry, _: (jax.tree.map(jnp.subtract, carry, step(*carry)), None)
        scanned = jax.jit(lambda x, k: lax.scan(descend, (x, k), None, length=3)[0])
        return scanned.lower(jnp.zeros((2, 12, 12, 8)), jnp.zeros((3, 3, 8))).compile().as_text()

    assert 'convolution(' not in program(depthwise.depthwise)
    assert 'convolution(' in program(grouped)  # else this test could not see one


def test_depthwise_gradients_keep_the_dtype_of_what_they_belong_to_and_sum_in_float32():
    module, x = depthwise.Depthwise('bfloat16'), jnp.ones((1, 40, 40, 2), jnp.bfloat16)
    variables = quick(module.init)(jax.random.key(0), x)
    loss = lambda v, x: module.apply(v, x).astype(jnp.float32).sum()
    dv, dx = quick(jax.grad(loss, (0, 1)))(variables, x)
    assert dx.dtype == jnp.bfloat16 and {g.dtype for g in jax.tree.leaves((variables, dv))} == {jnp.dtype('float32')}
    assert (dv['params']['kernel'][1, 1] == 1600).all()  # a sum in bfloat16 would stop growing at 256


def test_depthwise_starts_by_keras_laws():
    """Glorot with 9 C inputs and 9 outputs; a tenth of He's, cut off at two deviations, with 9 C inputs, or C for a bias."""
    start = lambda channels, **laws: quick(depthwise.Depthwise(**laws).init)(jax.random.key(0), jnp.zeros((1, 3, 3, channels)))
    kernel = start(3)['params']['kernel']
    assert 0.3 < np.abs(kernel).max() <= (6 / 36) ** 0.5 and not start(3)['params']['bias'].any()
    he = start(4096, **depthwise.TENTH_HE_BOTH)['params']
    for value, inputs in ((he['kernel'], 9 * 4096), (he['bias'], 4096)):
        std = 0.1 * (2 / inputs) ** 0.5
        assert np.std(value) == pytest.approx(std, rel=0.03) and np.abs(value).max() <= 2 * std / 0.8796


COUNTS = [
    ('rrdb_student', {'released': True}, 7_393),  # of the released code
    ('rrdb_student', {'released': True, 'rdbs': 2}, 11_233),  # of its README
    ('rrdb_student', {}, 33_358),
    ('srvgg', {}, 621_424),
    ('srvgg', {'blocks': 32}, 1_213_296),
]


@pytest.mark.parametrize(('name', 'args', 'count'), COUNTS)
def test_published_parameter_counts(name, args, count, monkeypatch):
    monkeypatch.setattr(layers, 'conv', plain)  # quicker to trace
    shapes = jax.eval_shape(models.build(name, **args).init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32))
    assert size(shapes) == count


def np_depthwise(x, params):
    """Depthwise convolution as a full one whose kernel is diagonal in the channels."""
    return np_conv(x, {'kernel': np.float64(params['kernel']) * np.eye(x.shape[-1]), 'bias': params['bias']})


@pytest.mark.parametrize('released', [True, False])
def test_the_student_equals_numpy(released):
    net = rrdb_student.RRDBStudent(features=8, blocks=2, rdbs=2, layers=3, released=released)
    variables = drawn(net, LR)
    p = variables['params']
    x = head = np_conv(255 * np.float64(LR), p['head'])
    for block in (p['block1'], p['block2']):
        y = x
        for dense in (block['dense1'], block['dense2']):
            first = np_depthwise(y, dense['conv1'])
            second = np_depthwise(y + leaky(first), dense['conv2'])
            y = y + 0.2 * np_depthwise(y + leaky(first) + leaky(second), dense['conv3'])
        x = x + 0.2 * y
    x = x + head
    if released:
        x = np_transposed(x, p['up'], 4)
    else:
        x = np_conv(x, p['up']['conv1']).reshape(2, 5, 6, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 20, 24, 3)
    sr, taps = quick(net.apply)(variables, LR)
    close(sr, np_depthwise(leaky(x), p['tail']) / 255)
    assert {k: v.shape for k, v in taps.items()} == dict.fromkeys(('head', 'block1', 'block2', 'body'), (2, 5, 6, 8))
    assert rrdb_student.fakd_taps() == ('block1', 'block2', 'body')
    assert quick(net.clone(dtype='bfloat16').apply)(variables, LR)[0].dtype == jnp.float32


def test_only_the_released_upsampler_leaves_a_grid():
    """Seen through a last convolution that copies: there every fourth row and column is the same for any image."""
    for released in (True, False):
        net = rrdb_student.RRDBStudent(features=8, released=released)
        variables = drawn(net, LR)
        variables['params']['tail']['kernel'] = np.float32(np.arange(9) == 4).reshape(3, 3, 1, 1) * np.ones(
            (1, 1, 3, 1), np.float32
        )
        sr = quick(net.apply)(variables, LR)[0].reshape(2, 5, 4, 6, 4, 3)
        varied = np.asarray(sr).std((0, 1, 3)).min(-1) > 1e-3  # [dy, dx]
        grid = (np.arange(4)[:, None] == 3) | (np.arange(4) == 3)
        np.testing.assert_array_equal(varied, ~grid if released else np.ones((4, 4)))


def chain(blocks=3, features=4, scale=2):
    """A state dict of Real-ESRGAN's SRVGGNetCompact, random: body.0 a convolution, body.1 a PReLU, ..."""
    rng, out = np.random.default_rng(4), {}
    for i in range(blocks + 2):
        inputs, outputs = 3 if i == 0 else features, 3 * scale**2 if i == blocks + 1 else features
        out[f'body.{2 * i}.weight'] = np.float32(rng.uniform(-1, 1, (outputs, inputs, 3, 3)) / 3 / inputs**0.5)
        out[f'body.{2 * i}.bias'] = np.float32(rng.uniform(-0.5, 0.5, outputs))
        if i <= blocks:
            out[f'body.{2 * i + 1}.weight'] = np.float32(rng.uniform(0, 0.5, outputs))
    return out


def test_converted_srvgg_equals_numpy(tmp_path):
    """torch.nn.PixelShuffle: output (c, r y + dy, r x + dx) is channel c r^2 + dy r + dx."""
    tensors = chain()
    card, *_ = convert.convert(saved(tmp_path / 'w.pth', tensors), 'srvgg', tmp_path / 'out')
    assert card['args'] == {'scale': 2, 'features': 4, 'blocks': 3, 'channels': 3}
    x = np.float64(LR)
    for i in range(0, 10, 2):
        x = np_conv(x, {'kernel': tensors[f'body.{i}.weight'].transpose(2, 3, 1, 0), 'bias': tensors[f'body.{i}.bias']})
        x = np.where(x > 0, x, x * tensors[f'body.{i + 1}.weight']) if i < 8 else x
    detail = x.reshape(2, 5, 6, 3, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(2, 10, 12, 3)
    net = models.load(tmp_path / 'out')
    close(net(LR), detail + LR.repeat(2, 1).repeat(2, 2))
    taps = quick(net.module.apply)(net.variables, LR)[1]
    assert {k: v.shape for k, v in taps.items()} == dict.fromkeys(('head', 'block1', 'block2', 'block3'), (2, 5, 6, 4))
    assert srvgg.fakd_taps() == ('block5', 'block10', 'block16')
    assert (quick(net.module.init)(jax.random.key(0), LR)['params']['prelu2']['alpha'] == 0.25).all()


@pytest.mark.parametrize(
    ('change', 'line'),
    [
        (
            lambda t: [t.pop(k) for k in list(t) if t[k].ndim == 1 and 'weight' in k],
            r'layers with weights \(0, 2, 4, 6, 8, ...\) are no',
        ),
        (
            lambda t: t.update({'body.3.weight': t['body.2.weight']}),
            r'its layer 3 has kernel \(3, 3, 4, 4\), and no alpha: is it another',
        ),
        (
            lambda t: t.update({'conv_first.bias': t['body.0.bias']}),
            r'conv_first.bias \(4,\) is no layer of its: is it another model',
        ),
        (lambda t: t.update({f'body.{10**12}.bias': t['body.0.bias']}), 'its 10 layers .* are no chain'),
        (lambda t: t.pop('body.4.bias'), r'do not fit: missing params/conv2/bias \(4,\)'),
    ],
)
def test_mistakes_are_one_line(tmp_path, change, line):
    tensors = chain()
    change(tensors)
    with pytest.raises(ValueError, match=line) as error:
        convert.convert(saved(tmp_path / 'w.pth', tensors), 'srvgg', tmp_path / 'out')
    assert '\n' not in str(error.value)


REACH = [
    (rrdb, {'features': 3, 'growth': 2, 'blocks': 1}),
    (rrdb_gsoc, {'features': 3, 'blocks': 1}),
    (srvgg, {'features': 3, 'blocks': 3}),
    (rrdb_student, {'features': 3, 'blocks': 2}),
    (rrdb_student, {'features': 3, 'rdbs': 2, 'blocks': 1, 'released': True}),
]


@pytest.mark.parametrize(('module', 'args'), REACH)
def test_the_radius_is_how_far_a_pixel_reaches(module, args):
    """By gradients: of all output columns of one LR column, with respect to the others, at each place modulo 4."""
    net, radius = module.Generator(**args, dtype='float64'), module.radius(**args)
    assert models.radius(net) == radius
    middle, width = 4 * (-(-radius // 4)), 8 * (-(-radius // 4)) + 8
    with jax.enable_x64(True):
        lr = jnp.ones((1, 4, width, 3)) / 3
        variables = jax.tree.map(jnp.float64, drawn(net, lr))
        pull = quick(lambda cotangent: jax.vjp(lambda x: net.apply(variables, x)[0], lr)[1](cotangent)[0])
        reach = 0
        for column in range(middle, middle + 4):
            cotangent = np.zeros((1, 4 * net.scale, width * net.scale, 3))
            cotangent[:, :, column * net.scale : (column + 1) * net.scale] = 1, 2, 3
            heard = np.flatnonzero(np.abs(pull(cotangent)).max((0, 1, 3)))
            reach = max(reach, *np.abs(heard - column))
    assert reach == radius


def test_where_pixels_are_folded_no_radius_makes_tiles_exact():
    assert rrdb.radius(scale=2) is None and rrdb.radius(scale=1) is None and rrdb.radius() == 349
