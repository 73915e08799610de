"""GCFSR: published counts, PyTorch's numbers, noise, the condition, conversion, and its life as an upscaler of one size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import quick
from flax import traverse_util
from gcfsr_weights import generator, numbers, wave
from safetensors import numpy as safetensors

from kdsr import convert, cost, export, models, upscale
from kdsr.foreign import gcfsr as foreign
from kdsr.models import bicubic, exports, gcfsr, stylegan

# Of tests/torch_gcfsr.py (PyTorch 2.13.0, float64), which equals the released code to 1e-14: 32x32 at 1/64 of the widths with
# styles of 6, the weights of `numbers`, conditions 1/4 and 1; mean, standard deviation and three values of the images, no noise.
IMAGE = [0.619507879721484, 0.15217989033889887, 0.6719718901629528, 0.28244501969252583, 0.7052640043699687]
COUNTS = [  # GCFSR's code at 1 (the counts of students follow from its layers); multiply-adds in 1e9, counted by its formula
    *((1024, n, 512, False, c, m) for n, c, m in ((1.0, 66_668_706, 149.3), (0.5, 24_790_114, None), (0.25, 10_261_698, None))),
    (1024, 0.125, 512, False, 4_600_210, 2.46),
    *((1024, n, 512, True, c, None) for n, c in ((1.0, 66_668_706), (0.5, 16_676_450), (0.25, 4_173_762), (0.125, 1_045_778))),
    *((512, n, 512, False, c, None) for n, c in ((1.0, 62_352_925), (0.5, 22_645_533), (0.25, 9_192_349), (0.125, 4_065_885))),
    *((512, n, 512, True, c, None) for n, c in ((0.5, 15_597_341), (0.25, 3_903_901), (0.125, 978_269))),
    *((64, c / 512, 64, False, n, m) for c, n, m in (
        (64, 695_022, 0.5112), (32, 232_510, 0.1299), (16, 87_654, 0.0335), (8, 36_826, 0.0089))),
    *((32, c / 512, 64, False, n, m) for c, n, m in (
        (64, 468_713, 0.1275), (32, 156_153, 0.0324), (16, 58_625, 0.0084), (8, 24_549, 0.0022))),
]  # fmt: skip
TINY = {'scale': 4, 'out_size': 32, 'narrow': 1 / 64, 'style': 6}


@pytest.mark.parametrize(('size', 'narrow', 'style', 'narrow_style', 'count', 'gmacs'), COUNTS)
def test_counts_and_cost(size, narrow, style, narrow_style, count, gmacs):
    """Multiply-adds within 1 %: the transposed convolutions also make the rows and columns that the filter takes away."""
    net = models.build('gcfsr', out_size=size, narrow=narrow, style=style, narrow_style=narrow_style)
    shapes = models.shapes(net)
    assert cost.parameters(shapes) == count
    if gmacs:
        image, condition = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((1, size, size, 3), (1,)))
        counted = cost.macs(lambda v, x, c: net.apply(v, x, c, method='refine')[0], shapes, image, condition)
        np.testing.assert_allclose(sum(counted.values()) / 1e9, gmacs, rtol=0.01, atol=0.00005)


def converted(dtype=np.float32, narrow=1 / 64, style=6, **fields):
    """(network, variables) of the state dict of `numbers`."""
    found = foreign.convert(numbers(generator(32, narrow, style), dtype))
    variables = traverse_util.unflatten_dict(found.variables, sep='/')
    return models.build('gcfsr', **{**found.args, 'dtype': np.dtype(dtype).name, **fields}), variables


def test_equals_pytorch():
    with jax.enable_x64(True):
        net, variables = converted(np.float64)
        image, conditions = 0.5 + wave((2, 32, 32, 3), 90), jnp.asarray([0.25, 1.0])
        out, _ = quick(lambda v, x, c: net.apply(v, x, c, method='refine'))(variables, image, conditions)
        assert out.dtype == jnp.float64
        np.testing.assert_allclose([out.mean(), out.std(), out[0, 0, 0, 0], out[1, 31, 30, 2], out[1, 7, 20, 1]], IMAGE, rtol=1e-6)


@pytest.fixture(scope='module')
def tiny():
    """(network, variables, compiled call) with strengths of noise that are not 0."""
    net, variables = converted()
    return net, variables, quick(net.apply)


def test_the_call_is_a_refinement_of_the_enlarged_image_in_8_bits(tiny):
    """At scale 4 of a full_scale of 4 the condition is 1; a smaller condition makes another image."""
    net, variables, call = tiny
    lr = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    sr, taps = call(variables, lr)
    shown = np.round(255 * np.clip(bicubic.enlarge(lr, 4), 0, 1)) / 255
    refine = quick(lambda v, x, c: net.apply(v, x, c, method='refine')[0])
    np.testing.assert_allclose(sr, refine(variables, shown, jnp.ones(2)), atol=1e-5)
    assert float(jnp.abs(sr - refine(variables, shown, jnp.full(2, 0.5))).max()) > 1e-2
    widths = {f'{kind}{side}': (2, side, side, 8) for side in (32, 16) for kind in ('encode', 'mod')}
    assert {k: v.shape for k, v in taps.items()} == widths
    assert gcfsr.fakd_taps() == ('mod16', 'mod128', 'mod1024') and set(gcfsr.fakd_taps(32)) < set(taps)


def test_shares_of_both_branches_have_squares_that_sum_to_1():
    a, b = gcfsr.unit(*np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32))
    np.testing.assert_allclose(a**2 + b**2, 1, atol=1e-6)


def test_noise_is_that_of_the_key_whatever_the_width(tiny, monkeypatch):
    """A network of twice the width draws the same maps, layer by layer; a batch's order changes nothing; 'fixed' is one key."""
    net, variables, call = tiny
    lr, keys = np.random.default_rng(0).random((2, 8, 8, 3), np.float32), jax.random.split(jax.random.key(3), 2)
    plain, noisy = (call(variables, lr, jnp.ones(2), k)[0] for k in (None, keys))
    assert float(jnp.abs(plain - noisy).min(3).mean()) > 1e-3
    turned = call(variables, lr[::-1], jnp.ones(2), keys[::-1])[0]
    np.testing.assert_allclose(turned[::-1], noisy, atol=1e-5)
    fixed = quick(net.clone(noise='fixed').apply)(variables, lr)[0]
    np.testing.assert_allclose(fixed, call(variables, lr, jnp.ones(2), jnp.stack([jax.random.key(0)] * 2))[0], atol=1e-5)
    drawn, draw = [], stylegan.noise_map
    monkeypatch.setattr(gcfsr, 'noise_map', lambda *a: drawn.append((a[1:], draw(*a))) or drawn[-1][1])
    for width in (1 / 128, 1 / 64):
        other = models.build('gcfsr', **{**TINY, 'narrow': width})
        jax.eval_shape(lambda x, k, other=other: other.init(jax.random.key(0), x, None, k), lr, keys)
    assert [layer for layer, _ in drawn[:3]] == [layer for layer, _ in drawn[3:]] == [(0, (16, 16)), (1, (32, 32)), (2, (32, 32))]


def test_noise_is_added_times_its_strength_before_the_branches_are_mixed():
    """With a key and without: the difference is the slope of the activation times the share, the strength and the map."""
    layer, rng = gcfsr.StyleConv(3, 5), np.random.default_rng(0)
    x, style = rng.normal(size=(1, 4, 4, 2)), rng.normal(size=(1, 6))
    blend = ((jnp.full((1, 3), 0.6), jnp.full((1, 3), 0.8)), jnp.full((1, 4, 4, 3), 100.0))  # far from the kink
    key = jax.random.split(jax.random.key(0), 1)
    params = {**quick(layer.init)(jax.random.key(1), x, style)['params'], 'noise': jnp.asarray([0.5])}
    with_noise, without = (quick(layer.apply)({'params': params}, x, style, k, blend) for k in (key, None))
    want = np.sqrt(2) * 0.6 * 0.5 * np.broadcast_to(stylegan.noise_map(key, 5, (4, 4)), (1, 4, 4, 3))
    np.testing.assert_allclose(with_noise - without, want, atol=2e-5)


def test_a_file_of_gcfsr_is_found_converted_and_used(tmp_path):
    """By its names; the maps of noise in the file are left out; the card says scales, and the file's largest is assumed for 1."""
    arrays = numbers(generator(64, 1 / 64, 5))
    (tmp_path / 'g.safetensors').write_bytes(safetensors.save(arrays))
    made = convert.convert(tmp_path / 'g.safetensors', '', tmp_path / 'net', args={'full_scale': 8})
    args = {'scale': 4, 'out_size': 64, 'narrow': 1 / 64, 'style': 5, 'full_scale': 8, 'channels': 3}
    assert (made.card['model'], made.card['args'], made.assumed, made.found) == ('gcfsr', args, ('scale',), True)
    assert made.card['scales'] == [4, 8] and made.card['parameters'] == sum(
        a.size for k, a in arrays.items() if not k.startswith('noises.')
    )
    network = models.load(tmp_path / 'net', scale=8)
    assert network.scales == (4, 8) and models.only_size(network.module) == (8, 8) and models.radius(network.module) is None
    assert network(np.full((1, 8, 8, 3), 0.5, np.float32)).shape == (1, 64, 64, 3)
    with pytest.raises(ValueError, match=r'takes images of 8x8x3, not \(16, 16, 3\)'):
        network(np.zeros((1, 16, 16, 3), np.float32))
    with pytest.raises(ValueError, match=r"net' \(gcfsr\) enlarges images of 16x16 alone"):
        upscale.run([str(tmp_path)], tmp_path / 'large', model=tmp_path / 'net')


@pytest.mark.slow
def test_it_is_exported_for_its_size(tmp_path):
    net, variables = converted()
    exports.save(tmp_path / 'net', name='gcfsr', args={**TINY, 'full_scale': 4}, variables=variables)
    cards, failures = export.run(tmp_path / 'net', ['stablehlo'], tmp_path / 'files')
    assert not failures and cards[0]['checks'][0]['input'] == [1, 8, 8, 3] and net.scale == 4


def test_published_sizes_are_read_off_the_file():
    """The scale at which the condition is 1: 64 for 1024 px, 32 for 512."""
    for size, full_scale, scales in ((1024, 64, [4, 8, 16, 32, 64]), (512, 32, [4, 8, 16, 32])):
        shapes = generator(size, 1 / 16, 512)
        found = foreign.convert({k: np.broadcast_to(np.float32(0), s) for k, s in shapes.items()})
        assert (found.args['out_size'], found.args['full_scale'], found.args['style']) == (size, full_scale, 512)
        assert foreign.card(found.args)['scales'] == scales and found.assumed == ('scale', 'full_scale')
        exports.check(
            traverse_util.unflatten_dict(found.variables, sep='/'),
            models.shapes(models.build('gcfsr', **found.args)), 'the file',
        )  # fmt: skip


def test_what_it_cannot_be_is_named():
    for args, line in [
        ({'out_size': 48}, '48 px is no size of it: use 32, 64, 128, 256, 512 or 1024'),
        ({'out_size': 16}, '16 px is no size of it'),
        ({'scale': 3}, 'scale=3 does not divide out_size=32'),
        ({'noise': 'some'}, "noise='some' of gcfsr is none of none, fixed"),
        ({'narrow': 0.001}, r'narrow=0.001 leaves 0 channels at 32 px: it must leave 2'),
        ({'narrow_style': True, 'style': 1}, 'style=1 times narrow=0.015625 leaves no style'),
    ]:
        with pytest.raises(ValueError, match=line):
            models.shapes(models.build('gcfsr', **{**TINY, **args}))
    blind = generator(32, 1, 8) | {'final_down2.1.weight': (512, 512, 3, 3), 'final_down2.2.bias': (512,)}
    with pytest.raises(ValueError, match='makes 512 channels and not 256: GCFSR_blind is another network'):
        foreign.convert({k: np.broadcast_to(np.float32(0), s) for k, s in blind.items()})


def test_a_checkpoint_of_the_released_form_equals_pytorch(tmp_path):
    """Averaged weights of a .pth, noise as the house draws it, float32; where PyTorch is installed."""
    torch = pytest.importorskip('torch')
    import torch_gcfsr

    rng = np.random.default_rng(0)
    arrays = {k: rng.normal(size=s).astype(np.float32) for k, s in generator(64, 1 / 32, 7).items()}
    weights = torch_gcfsr.tensors(arrays)
    torch.save({'params': {k: 0 * v for k, v in weights.items()}, 'params_ema': weights}, tmp_path / 'net_g.pth')
    made = convert.convert(tmp_path / 'net_g.pth', 'gcfsr', tmp_path / 'net')
    net, variables, _ = models.network(tmp_path / 'net')
    image, condition = rng.random((2, 64, 64, 3), np.float32), np.float32([0.5, 1])
    keys = jax.random.split(jax.random.key(7), 2)
    ours, _ = quick(lambda v, *a: net.apply(v, *a, method='refine'))(variables, image, condition, keys)
    maps = [stylegan.noise_map(keys, i, (side, side)) for i, side in enumerate((16, 32, 32, 64, 64))]
    nchw = lambda x: torch.tensor(np.array(x)).permute(0, 3, 1, 2)
    theirs = (torch_gcfsr.generator(weights, 2 * nchw(image) - 1, torch.tensor(condition), [nchw(m) for m in maps]) + 1) / 2
    assert made.taken == 'params_ema' and ours.std() > 0.1
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1), atol=1e-4 * float(ours.std()))
