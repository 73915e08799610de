"""Networks and their building blocks: parameter counts, taps, golden values, gradients, memory, readable errors."""

import math
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import close, np_conv, plain, relu
from jax import lax

from kdsr import models
from kdsr.models import edsr, kernel_gradients, layers, rcan, rdn, san

SAME = ((1, 1), (1, 1))
CASES = [  # kernel (kh, kw), padding, outputs; 3 outputs take the matmul path where the padding is SAME
    *(((1, 1), ((0, 0), (0, 0)), 6), ((3, 3), SAME, 5), ((3, 3), SAME, 3)),
    *(((9, 9), ((4, 4), (4, 4)), 3), ((9, 9), ((4, 4), (4, 4)), 5), ((2, 5), ((1, 0), (4, 2)), 3)),
]


def equal_to_lax(shape, size, padding, outputs):
    """Asserts that the house convolution, its gradients and the gradients of those are lax's, to 1e-10."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, k = jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=(*size, shape[-1], outputs)))
        weight = rng.normal(size=plain(x, k, padding).shape)

        def results(conv, x, k):
            value = lambda x, k: (jnp.sin(conv(x, k, padding)) * weight).sum()
            grad = jax.grad(value, (0, 1))
            norm = lambda x, k: sum((g**2).sum() for g in grad(x, k))  # as R1: a gradient of a gradient
            return conv(x, k, padding), grad(x, k), jax.grad(norm, (0, 1))(x, k)

        # as arguments: as constants, jax 0.7.2 folds lax's own double gradient into wrong numbers
        ours, laxs = jax.jit(lambda x, k: (results(layers.conv, x, k), results(plain, x, k)))(x, k)
        same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())
        jax.tree.map(same, ours, laxs)


@pytest.mark.parametrize(('size', 'padding', 'outputs'), CASES)
def test_conv_value_gradient_and_double_gradient_equal_lax(size, padding, outputs):
    equal_to_lax((2, 7, 11, 4), size, padding, outputs)


@pytest.mark.parametrize(('size', 'padding'), [((3, 3), SAME), ((2, 2), ((0, 0), (0, 0))), ((3, 2), ((2, 0), (1, 2)))])
def test_kernel_gradients_of_strips_equal_lax(monkeypatch, size, padding):
    monkeypatch.setattr(kernel_gradients, 'WHOLE', 0)
    monkeypatch.setattr(kernel_gradients, 'STRIP', 2**12)  # five strips of the 20 rows that come out
    rows = 20 + (size[0] - 1 - sum(padding[0]))
    gradient = jax.grad(lambda k, x: layers.conv(x, k, padding).sum())
    taken = jax.make_jaxpr(gradient)(jnp.ones((*size, 5, 6)), jnp.ones((9, rows, 7, 5)))
    assert 'length=5' in str(taken)
    equal_to_lax((9, rows, 7, 5), size, padding, 6)


def test_conv_differentiates_over_a_constant_image():
    """jax 0.7.2 hands NumPy constants of a jitted function to custom gradients as literals, which are no arrays."""
    x = np.float32(np.random.default_rng(0).random((2, 6, 6, 8)))
    gradient = jax.grad(lambda k, x: (layers.conv(x, k, SAME) ** 2).sum())
    k = jnp.ones((3, 3, 8, 8))
    np.testing.assert_allclose(jax.jit(lambda k: gradient(k, x))(k), jax.jit(gradient)(k, x), rtol=1e-5)


def slow_convolutions(conv, order):
    """Layouts of the compiled convolutions, of an order-th derivative inside a scan, that are not the fast one."""
    net = lambda x, k: (jnp.tanh(conv(jnp.tanh(conv(x, k, SAME)), k, SAME)) ** 2).sum()
    step = jax.grad(net if order == 1 else lambda x, k: (jax.grad(net)(x, k) ** 2).sum(), (0, 1))
    descend = lambda carry, _: (jax.tree.map(jnp.subtract, carry, step(*carry)), None)
    scanned = jax.jit(lambda x, k: lax.scan(descend, (x, k), None, length=3)[0])
    text = scanned.lower(jnp.zeros((2, 12, 12, 8)), jnp.zeros((3, 3, 8, 8))).compile().as_text()
    return [layout for layout in re.findall(r'dim_labels=(\S+?)[,\s]', text) if layout != 'b01f_01io->b01f']


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='the slow form is one of XLA:CPU')
@pytest.mark.parametrize('order', [1, 2])
def test_scanned_gradients_have_only_the_fast_layout(order):
    assert slow_convolutions(layers.conv, order) == []
    assert slow_convolutions(plain, order) != []  # else this test could not see the slow form


def test_conv_gradients_keep_the_dtype_of_what_they_belong_to():
    module, x = layers.Conv(3, dtype='bfloat16'), jnp.ones((1, 5, 6, 4), jnp.bfloat16)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    loss = lambda v, x: module.apply(v, x).astype(jnp.float32).sum()
    dv, dx = jax.eval_shape(jax.grad(loss, (0, 1)), variables, x)
    assert jax.eval_shape(module.apply, variables, x).dtype == dx.dtype == jnp.bfloat16
    assert {g.dtype for g in jax.tree.leaves((variables, dv))} == {jnp.dtype('float32')}


def test_conv_initialisation_is_pytorchs_uniform_law():
    """U(-b, b) with b = 1/sqrt(fan_in): the extremes of 36,864 draws lie within 0.1 % of b, the variance is b^2/3."""
    params = layers.Conv(64).init(jax.random.key(1), jnp.zeros((1, 4, 4, 64)))['params']
    bound, kernel = (64 * 9) ** -0.5, np.asarray(params['kernel'])
    assert bound * 0.999 < kernel.max() <= bound and -bound <= kernel.min() < -bound * 0.999
    assert kernel.var() == pytest.approx(bound**2 / 3, rel=0.02)
    assert params['bias'].shape == (64,) and 0.8 * bound < np.abs(params['bias']).max() <= bound


@pytest.mark.parametrize('r', [2, 3])
def test_pixel_shuffle_is_depth_to_space_and_permutes_to_pytorchs(r):
    b, h, w, c = 2, 3, 4, 5
    x = np.random.default_rng(0).normal(size=(b, h, w, r * r * c)).astype(np.float32)
    y = x.reshape(b, h, w, r, r, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h * r, w * r, c)
    np.testing.assert_array_equal(layers.pixel_shuffle(x, r), y)
    # torch.nn.PixelShuffle's definition on torch-ordered channels equals ours on permuted ones.
    torch_order = x.reshape(b, h, w, c, r, r).transpose(0, 1, 4, 2, 5, 3).reshape(b, h * r, w * r, c)
    permuted = np.moveaxis(x.reshape(b, h, w, c, r, r), 3, 5).reshape(x.shape)
    np.testing.assert_array_equal(layers.pixel_shuffle(permuted, r), torch_order)


def test_colour_shift():
    """The constants of the original MeanShift: 255 * (0.4488, 0.4371, 0.4040) = (114.444, 111.4605, 103.02)."""
    black = layers.sub_mean(jnp.zeros((1, 1, 1, 3)))
    np.testing.assert_allclose(black[0, 0, 0], [-114.444, -111.4605, -103.02], rtol=1e-6)
    image = jax.random.uniform(jax.random.key(0), (2, 4, 5, 3))
    np.testing.assert_allclose(layers.add_mean(layers.sub_mean(image)), image, atol=1e-6)
    np.testing.assert_allclose(layers.sub_mean(image[..., :1]), 255 * image[..., :1], rtol=1e-6)


COUNTS = [  # trainable parameters at x2, x3, x4, x8 of the original PyTorch code (SAN: without its dead ones)
    ('rcan', {}, (15_444_643, 15_629_283, 15_592_355, 15_740_067)),
    ('rcan', {'blocks': 6}, (5_023_603, 5_208_243, 5_171_315, 5_319_027)),
    ('san', {}, (15_676_804, 15_861_444, 15_824_516, 15_972_228)),
    ('san', {'groups': 6}, (4_811_852, 4_996_492, 4_959_564, 5_107_276)),
    ('edsr', {'blocks': 32, 'features': 256, 'res_scale': 0.1}, (40_729_603, 43_680_003, 43_089_923, 45_450_243)),
    ('edsr', {}, (1_369_859, 1_554_499, 1_517_571, 1_665_283)),
    ('rdn', {}, (22_123_395, 22_308_035, 22_271_107)),
    ('rdn', {'blocks': 20, 'layers': 6, 'growth': 32}, (5_541_795, 5_634_115, 5_578_787)),
]


@pytest.mark.parametrize(('name', 'args', 'counts'), COUNTS)
def test_published_parameter_counts(name, args, counts, monkeypatch):
    monkeypatch.setattr(layers, 'conv', plain)  # quicker to trace
    lr = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    for scale, count in zip((2, 3, 4, 8), counts, strict=False):
        shapes = jax.eval_shape(models.build(name, scale=scale, **args).init, jax.random.key(0), lr)
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count, scale


def test_edsr_that_makes_the_image_at_once():
    """Head 28*64, seven blocks of 2 * 577*64, body 577*64, upsampler 577*48; scale x4 is one shuffle of 4."""
    net = models.build('edsr', blocks=7, direct=True)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 28 * 64 + 7 * 2 * 577 * 64 + 577 * 64 + 577 * 48 == 583_408
    assert models.taps(net)['body'] == (1, 16, 16, 64) and 'tail' not in shapes['params']


def test_san_published_totals_include_its_dead_parameters():
    assert 15_824_516 + san.dead_parameters(20) == 15_862_560  # 15.86M and 5.0M at x4 in FAKD's table 3
    assert 4_959_564 + san.dead_parameters(6) == 4_997_594


def test_fakd_taps_and_their_place_in_the_contract():
    assert edsr.fakd_taps() == ('block5', 'block10', 'body') and edsr.fakd_taps(blocks=32)[:2] == ('block10', 'block21')
    assert rcan.fakd_taps() == rcan.fakd_taps(blocks=6) == ('group3', 'group7', 'body')
    assert san.fakd_taps() == ('group7', 'group14', 'body') and san.fakd_taps(groups=6) == ('group2', 'group4', 'body')
    assert rdn.fakd_taps() == ('block6', 'block12', 'body')


TINY = {
    'edsr': {'features': 8, 'blocks': 2, 'res_scale': 0.5},
    **dict.fromkeys(('rcan', 'san'), {'features': 8, 'groups': 2, 'blocks': 1, 'reduction': 4}),
    'rdn': {'features': 8, 'blocks': 2, 'layers': 2, 'growth': 4},
}


def tiny(name, dtype='float32'):
    """A small net whose parameters are all drawn at random, and an LR batch `[2, 6, 7, 3]`."""
    net = models.build(name, scale=3, dtype=dtype, **TINY[name])
    lr = jax.random.uniform(jax.random.key(1), (2, 6, 7, 3))
    rng = np.random.default_rng(0)  # zeros (gamma, the non-local module's last convolution) would hide errors
    draw = lambda a: rng.uniform(-1, 1, a.shape).astype(np.float32) / max(1, np.prod(a.shape[:3])) ** 0.5
    return net, jax.tree.map(draw, jax.eval_shape(net.init, jax.random.key(0), lr)), lr


@pytest.mark.parametrize('name', TINY)
def test_tap_names_shapes_and_the_skip_law(name):
    net, variables, lr = tiny(name)
    params, unit = variables['params'], 'group' if name in ('rcan', 'san') else 'block'
    flipped = net.clone(tap_pre_skip=not net.tap_pre_skip)
    (sr, taps), (same, other) = jax.jit(lambda v, x: (net.apply(v, x), flipped.apply(v, x)))(variables, lr)
    assert sr.shape == (2, 18, 21, 3) and sr.dtype == jnp.float32
    names = ('head', f'{unit}1', f'{unit}2', 'body')
    assert {k: v.shape for k, v in taps.items()} == dict.fromkeys(names, (2, 6, 7, 8))
    assert set(models.module(name).fakd_taps(**TINY[name])) <= set(names)
    assert net.tap_pre_skip == (name == 'san')  # what FAKD's code reads when it runs
    pre, post = (taps, other) if net.tap_pre_skip else (other, taps)
    np.testing.assert_array_equal(same, sr)  # another view, not another network
    close(post['body'] - pre['body'], taps['head'] if name != 'rdn' else np_conv(255 * np.float64(lr), params['head1']))
    if name in ('edsr', 'rcan'):
        close(pre['body'], np_conv(taps[f'{unit}2'], params['body']))
    if name == 'san':
        close(pre['body'], jax.jit(san.NonLocal('float32').apply)({'params': params['nonlocal']}, taps['group2']))


def test_edsr_equals_numpy():
    net, variables, lr = tiny('edsr')
    params, mean = variables['params'], 255 * np.array([0.4488, 0.4371, 0.4040])
    x = head = np_conv(255 * np.float64(lr) - mean, params['head'])
    for block in (params['block1'], params['block2']):
        x = x + 0.5 * np_conv(relu(np_conv(x, block['conv1'])), block['conv2'])
    x = np_conv(np_conv(x, params['body']) + head, params['up']['conv1'])
    x = x.reshape(2, 6, 7, 3, 3, 8).transpose(0, 1, 3, 2, 4, 5).reshape(2, 18, 21, 8)
    close(jax.jit(net.apply)(variables, lr)[0], (np_conv(x, params['tail']) + mean) / 255)


def test_rcan_block_equals_numpy():
    params = tiny('rcan')[1]['params']['group1']['block1']
    x = np.random.default_rng(1).normal(size=(2, 5, 4, 8))
    y = np_conv(relu(np_conv(x, params['conv1'])), params['conv2'])
    gate = np_conv(y.mean((1, 2), keepdims=True), params['attention']['squeeze'])
    gate = np_conv(relu(gate), params['attention']['excite'])
    close(jax.jit(rcan.Block(4, 'float32').apply)({'params': params}, jnp.float32(x)), x + y / (1 + np.exp(-gate)))


def test_non_local_equals_numpy_and_starts_as_the_identity():
    """Odd sides: the cut is at the floor, the pooling drops the last row or column."""
    params, x = tiny('san')[1]['params']['nonlocal'], np.random.default_rng(1).normal(size=(1, 7, 9, 8))
    y = np.empty((1, 7, 9, 2))
    for part in [np.s_[:, a, b] for a in (slice(3), slice(3, 7)) for b in (slice(4), slice(4, 9))]:
        q, k, v = (np_conv(x[part], params[name]) for name in ('theta', 'phi', 'value'))
        h, w = k.shape[1] // 2 * 2, k.shape[2] // 2 * 2
        k, v = (np.max([t[:, i:h:2, j:w:2] for i in (0, 1) for j in (0, 1)], 0).reshape(-1, 2) for t in (k, v))
        score = np.exp(q.reshape(-1, 2) @ k.T)
        y[part] = (score / score.sum(1, keepdims=True) @ v).reshape(q.shape)
    module = san.NonLocal('float32')
    close(jax.jit(module.apply)({'params': params}, jnp.float32(x)), x + np_conv(y, params['conv']))
    np.testing.assert_array_equal(jax.jit(module.init_with_output)(jax.random.key(0), jnp.float32(x))[0], np.float32(x))


def test_attention_in_blocks_equals_attention_at_once():
    """Values and gradients; 37 rows in 8 blocks of 5 leave a padded rest."""
    q, k, v = (jax.random.normal(jax.random.key(i), (2, n, 6)) for i, n in enumerate((37, 11, 11)))
    value = lambda most: lambda *qkv: (jnp.sin(san.attention(*qkv, most)) ** 2).sum()
    run = lambda most: jax.jit(jax.value_and_grad(value(most), (0, 1, 2)))(q, k, v)
    loops = lambda most: str(jax.make_jaxpr(lambda: san.attention(q, k, v, most))()).count('scan')
    assert loops(120) == 1 and loops(2**22) == 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), run(120), run(2**22))


def test_second_order_statistics_equal_the_original():
    """Values of the original PyTorch code, float64, on sin(1 + 0.7 i) of shape (2, 4, 3, 5), i the flat index."""
    with jax.enable_x64(True):
        x = jnp.sin(1 + 0.7 * jnp.arange(120.0)).reshape(2, 4, 3, 5).transpose(0, 2, 3, 1)
        sigma = san.covariance(x)
        assert sigma[0, 0, 0] == pytest.approx(0.5288940936, abs=1e-9)
        np.testing.assert_allclose(jnp.trace(sigma, axis1=1, axis2=2), [1.9923065054, 1.9401704868], atol=1e-9)
        rows = [0.1115377161, -0.0612616971, -0.0532733176, 0.1119285567]
        np.testing.assert_allclose(san.second_order(x)[0, 0, 0], rows, atol=1e-9)
        np.testing.assert_allclose(san.second_order(x, 3), san.second_order(x[:, :, 1:4]), atol=1e-12)
    assert san.second_order(x.astype(jnp.bfloat16)).dtype == jnp.float32
    assert jnp.isfinite(jax.grad(lambda x: san.second_order(x).sum())(jnp.zeros((1, 2, 2, 4)))).all()


def largest_array(lowered):
    """Bytes of the largest float32 array in a compiled program, those inside fusions included."""
    shapes = re.findall(r'f32\[([\d,]+)\]', lowered.compile().as_text())
    return 4 * max(math.prod(map(int, shape.split(','))) for shape in shapes)


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='about the CPU compiler')
@pytest.mark.parametrize(('scale', 'size'), [(2, (678, 1020)), (4, (339, 510))])
def test_a_whole_div2k_image_fits_san_into_8_gib(scale, size):
    """Compiled, not run. The compiler's memory report leaves out what its fusions allocate (a whole attention is one),
    so arrays are bounded as well: at x2 the scores of one quadrant, 172,890 x 43,095, would take 28 GiB."""
    net, args = models.build('san', scale=scale, groups=6), (jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    lr = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    lowered = jax.jit(lambda *a: net.apply(*a)[0]).lower(jax.eval_shape(net.init, *args), lr)
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 8 * 2**30
    assert largest_array(lowered) <= 256 * 678 * 1020 * 4  # the upsampler's last convolution
    q, k = (jax.ShapeDtypeStruct((1, n, 16), jnp.float32) for n in (43095, 10668))
    whole = jax.jit(lambda q, k: san.attention(q, k, k, 2**50)).lower(q, k)
    assert largest_array(whole) >= 43095 * 10668 * 4  # else this test could not see a stored score


@pytest.mark.parametrize('name', ['edsr', 'san'])
def test_bfloat16_is_for_the_work_only(name):
    net, variables, lr = tiny(name, 'bfloat16')
    sr, taps = jax.jit(net.apply)(variables, lr)
    full = jax.jit(net.clone(dtype='float32').apply)(variables, lr)[0]
    assert (sr.dtype, taps['body'].dtype) == (jnp.float32, jnp.bfloat16)
    assert jnp.abs(sr - full).mean() < 0.05 * jnp.abs(full - full.mean()).mean()


def test_models_are_found_by_their_file_and_mistakes_are_named():
    files = pathlib.Path(models.__file__).parent.glob('*.py')
    assert tuple(sorted(f.stem for f in files if '\nGenerator = ' in f.read_text())) == models.names()
    for name, args, line in [
        ('edrs', {}, r"unknown model 'edrs', did you mean 'edsr'\?; models: edsr, gcfsr, msrresnet"),
        ('layers', {}, "unknown model 'layers'"),
        ('../edsr', {}, 'unknown model'),
        ('rcan', {'group': 3}, r"rcan has no field 'group', did you mean 'groups'\?; its fields: scale"),
        ('edsr', {'blocks': '16'}, "edsr: blocks must be int, got '16'"),
        ('edsr', {'blocks': True}, 'blocks must be int'),
        ('edsr', {'blocks': 0}, 'blocks must be at least 1, got 0'),
        ('edsr', {'dtype': 'bfloat'}, r"dtype 'bfloat', did you mean 'bfloat16'\?"),
    ]:
        with pytest.raises(ValueError, match=line):
            models.build(name, **args)
    for name, args, size, line in [
        ('rdn', {'scale': 8}, 8, 'no published x8'),
        ('edsr', {'scale': 5}, 8, 'scale 5 is not supported: use one of 2, 3, 4, 8'),
        ('san', {}, 3, 'at least 4x4 pixels, got 3x3'),
        ('rcan', {'features': 8}, 8, 'reduction 16 leaves no channel of 8'),
    ]:
        with pytest.raises(ValueError, match=line):
            jax.eval_shape(models.build(name, **args).init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
