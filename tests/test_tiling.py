"""Tiles: what they give equals the whole image, for the radii that the networks state; bands resized as the whole image."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from kdsr import models, tiling
from kdsr.data.resize import imresize
from kdsr.models import exports

CONVOLUTIONAL = {
    'edsr': {'blocks': 2, 'features': 4},
    'srresnet': {'blocks': 1, 'features': 4},
    'rdn': {'blocks': 2, 'layers': 2, 'growth': 4, 'features': 4},
}
GLOBAL = {
    'rcan': {'groups': 1, 'blocks': 1, 'features': 4, 'reduction': 2},
    'san': {'groups': 1, 'blocks': 1, 'features': 8, 'reduction': 2},
}


def network(name, scale, positive=False, **args):
    """An Upscaler with random weights; `positive` ones that average, so that nothing which is read cancels or is cut off."""
    module = models.build(name, scale=scale, **args)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    rng = np.random.default_rng(0)

    def weights(path, leaf):
        inputs = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 0
        if positive:  # small biases, else the tanh of SRResNet has no gradient
            return np.float32(rng.uniform(0.5, 1.5, leaf.shape) / (inputs or 100))
        if any(name in jax.tree_util.keystr(path) for name in ('var', 'scale')):
            return np.float32(rng.uniform(0.5, 1.5, leaf.shape))
        return np.float32(rng.uniform(-1, 1, leaf.shape) / np.sqrt(inputs or 100))

    variables = jax.tree_util.tree_map_with_path(weights, shapes)
    return exports.upscaler(module, variables)


def seen(fn, n, pixel):
    """`[n, n]` bool: the LR pixels that a pixel of the output reads, by its gradient."""
    value = lambda lr, pixel: jax.lax.dynamic_slice(fn.module.apply(fn.variables, lr)[0], (0, *pixel, 0), (1, 1, 1, 3)).sum()
    lr = np.random.default_rng(1).uniform(0.4, 0.6, (1, n, n, 3)).astype(np.float32)
    return np.asarray(jax.jit(jax.grad(value))(lr, jnp.asarray(pixel)))[0].any(-1)


@pytest.mark.parametrize(('name', 'scale'), [('edsr', 2), ('edsr', 3), ('edsr', 4), ('srresnet', 2), ('srresnet', 4), ('rdn', 3)])
def test_the_stated_radius_is_the_gradients(name, scale):
    fn = network(name, scale, positive=True, **CONVOLUTIONAL[name])
    reach = lambda pixel: np.abs(np.argwhere(seen(fn, 33, pixel)) - 16).max()
    # the pixels at the two ends of LR pixel 16 reach farthest
    assert max(reach((16 * scale, 16 * scale)), reach((17 * scale - 1,) * 2)) == models.radius(fn.module)


def test_radii_of_the_published_sizes():
    assert [models.radius(models.build(name)) for name in ('edsr', 'srresnet', 'rdn', 'rcan', 'san')] == [36, 40, 133, None, None]


@pytest.mark.parametrize('name', GLOBAL)
def test_global_networks_read_the_whole_image(name):
    fn = network(name, 2, **GLOBAL[name])
    assert models.radius(fn.module) is None and seen(fn, 24, (24, 24)).all()


def test_a_model_of_ones_own_without_a_radius_counts_as_global():
    class Own:
        __dataclass_fields__ = {}

    assert models.radius(Own()) is None


@pytest.mark.parametrize('length', [1, 31, 32, 33, 40, 41, 97, 1000])
def test_cuts_cover_each_pixel_once_and_keep_the_overlap(length):
    found = tiling.cuts(length, 32, 12)
    assert [first for _, first, _ in found] == [0, *(last for _, _, last in found[:-1])] and found[-1][2] == length
    for start, first, last in found:
        end = min(start + 32, length)
        assert 0 <= start <= first < last <= end and (length <= 32 or end - start == 32)
        assert first == start == 0 or first - start >= 12
        assert last == end == length or end - last >= 12


@pytest.mark.parametrize(('height', 'width'), [(53, 61), (19, 71), (67, 23), (13, 11)])
@pytest.mark.parametrize(('name', 'scale'), [('edsr', 3), ('srresnet', 2)])
def test_tiled_equals_whole(name, scale, height, width):
    fn = network(name, scale, **CONVOLUTIONAL[name])
    overlap = models.radius(fn.module)
    image = tiny.picture(height, width, 4)
    shapes = set()

    def counted(x):
        shapes.add(x.shape)
        return fn(x)

    whole = np.asarray(fn(np.float32(image[None]) / 255))[0]
    tiled = tiling.upscale(counted, np.float32(image) / 255, scale=scale, side=32, overlap=overlap)
    assert np.abs(tiled - whole).max() < 1e-5
    assert shapes == {(1, min(32, height), min(32, width), 3)}  # one compilation for an image
    eight = tiling.upscale(fn, image, scale=scale, side=32, overlap=overlap)
    assert np.abs(eight.astype(int) - tiling.finish(whole, np.dtype('uint8'))).max() <= 1


def test_too_small_an_overlap_shows():
    fn = network('edsr', 2, **CONVOLUTIONAL['edsr'])  # reaches 8 px
    image = np.float32(tiny.picture(61, 61, 4)) / 255
    whole = np.asarray(fn(image[None]))[0]
    error = lambda overlap: np.abs(tiling.upscale(fn, image, scale=2, side=32, overlap=overlap) - whole).max()
    assert error(8) < 1e-5 and error(1) > 1e-3


def nearest(x):
    """A x2 network that shows what it was given."""
    return np.asarray(x).repeat(2, 1).repeat(2, 2)


def doubled(x):
    return x.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
def test_channels_and_depths_stay(channels, dtype):
    rng = np.random.default_rng(channels)
    image = rng.integers(0, 65536, (21, 45, channels)).astype(dtype) if dtype != 'float32' else rng.random((21, 45, channels), 'f4')
    image = image.astype(dtype)
    out = tiling.upscale(nearest, image, scale=2, side=16, overlap=2)
    assert out.dtype == dtype
    shown = tiling.covered(image) if channels in (2, 4) else image  # and alpha as it is
    np.testing.assert_array_equal(shown[..., -1], image[..., -1])
    np.testing.assert_allclose(out, doubled(shown), atol=1e-6 if dtype == 'float32' else 0)
    np.testing.assert_allclose(tiling.upscale(nearest, image[..., 0], scale=2), doubled(image[..., 0]), atol=1e-6)


def test_constant_alpha_stays_without_work_and_other_alpha_is_a_grey_picture():
    calls = []

    def dim(x):
        calls.append(x.shape)
        return nearest(x) / 2

    image = np.full((4, 5, 4), 200, np.uint8)
    assert (tiling.upscale(dim, image, scale=2) == [100, 100, 100, 200]).all() and len(calls) == 1
    image[0, 0, 3] = 100
    out = tiling.upscale(dim, image, scale=2)
    assert len(calls) == 3 and out[0, 0].tolist() == [100, 100, 100, 50] and out[5, 5].tolist() == [100, 100, 100, 100]
    assert tiling.upscale(dim, image, scale=2, size=(4, 5)).shape == (4, 5, 4)


def blurred(x):
    """A x2 network that mixes the 3x3 pixels around each."""
    x = np.pad(np.asarray(x), ((0, 0), (1, 1), (1, 1), (0, 0)), 'edge')
    return nearest(sum(x[:, i : i + x.shape[1] - 2, j : j + x.shape[2] - 2] for i in range(3) for j in range(3)) / 9)


def on_white(image):
    white, image = np.iinfo(image.dtype).max, np.float64(image)
    return image[..., :-1] * image[..., -1:] / white + white - image[..., -1:]


def disc(height, width, dtype='uint8', channels=4):
    """A soft-edged white disc; what is wholly transparent is black."""
    y, x = np.mgrid[:height, :width]
    white = np.iinfo(dtype).max
    alpha = np.round(white * np.clip(0.35 * min(height, width) - np.hypot(y - height / 2, x - width / 2), 0, 1))
    return np.stack([white * (alpha > 0)] * (channels - 1) + [alpha], -1).astype(dtype)


@pytest.mark.parametrize('channels', [2, 4])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_white_on_transparent_black_is_white_on_white(dtype, channels):
    for height, width in [(41, 57), (16, 16), (5, 70)]:
        image, white = disc(height, width, dtype, channels), np.iinfo(dtype).max
        for size in (None, (height * 3 // 2, width * 3 // 2)):
            out = tiling.upscale(blurred, image, scale=2, side=24, overlap=4, size=size)
            assert out[..., -1].min() == 0 and 0 < out[..., -1].max() <= white
            assert np.abs(on_white(out) - white).max() <= 2 * white / 255


def test_white_on_transparent_black_by_a_trained_network():
    out = tiling.upscale(models.load('light_x4'), disc(40, 40), scale=4)
    assert np.abs(on_white(out) - 255).max() <= 2


def test_what_is_transparent_does_not_matter():
    rng = np.random.default_rng(0)
    image = disc(37, 50)
    image[..., :3] = tiny.picture(37, 50, 3)
    other = np.where(image[..., 3:] == 0, rng.integers(0, 256, image.shape), image).astype(np.uint8)
    other[..., 3] = image[..., 3]
    assert (other != image).any()
    same = lambda a, b: np.testing.assert_array_equal(tiling.upscale(blurred, a, scale=2), tiling.upscale(blurred, b, scale=2))
    same(image, other)


def test_what_is_as_opaque_as_all_around_it_stays():
    image = np.random.default_rng(1).integers(0, 65536, (33, 46, 4)).astype(np.uint16)
    image[..., 3] = 30000
    image[:, 20:, 3] = 65535  # half glass, half wood
    shown = tiling.covered(image)
    np.testing.assert_array_equal(np.delete(shown, 19, 1), np.delete(image, 19, 1))
    assert (shown[:, 19] != image[:, 19]).any()
    alone = np.zeros((64, 80, 2), np.uint8)
    alone[10, 70] = 200, 7  # one pixel gives its colour to them all
    assert (tiling.covered(alone)[..., 0] == 200).all()


def test_covering_holds_a_copy_and_its_quarter():
    image = np.zeros((2048, 1500, 4), np.uint8)
    image[100:200, :, 3] = 255
    tracemalloc.start()
    tiling.covered(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * image.size  # the whole as floats would be that, each time


def test_very_wide_pictures_have_lower_bands(monkeypatch):
    monkeypatch.setattr(tiling, 'BAND', 2 * 90 * 2 * 3 * 20)  # 20 LR rows of this picture
    image = tiny.picture(70, 90, 1)
    blocks = list(tiling.bands(nearest, image, scale=2, side=48, overlap=4))
    assert max(map(len, blocks)) <= 2 * (20 + 4)  # those at the top and bottom need no overlap there
    np.testing.assert_array_equal(np.concatenate(blocks), doubled(image))


@pytest.mark.parametrize('size', [(26, 35), (91, 100), (53, 61), (3, 2), (1, 122), (120, 90)])
def test_bands_are_resized_as_the_whole_image(size):
    image = np.random.default_rng(0).random((53, 61, 3))
    for rows in (1, 7, 20, 53):
        blocks = (np.float32(image[y : y + rows]) for y in range(0, 53, rows))
        found = np.concatenate(list(tiling.resized(blocks, (53, 61), size)))
        np.testing.assert_allclose(found, imresize(image, None, size=size), atol=2e-6)


def test_another_factor_is_the_networks_result_resized():
    image = tiny.picture(30, 41, 2)
    out = tiling.upscale(nearest, image, scale=2, side=24, overlap=3, size=(45, 62))
    expected = imresize(np.float64(doubled(image)), None, size=(45, 62))
    np.testing.assert_allclose(out, np.clip(expected, 0, 255), atol=0.51)


def test_progress_counts_tiles():
    seen = []
    tiling.upscale(nearest, np.zeros((20, 40), np.uint8), scale=2, side=16, overlap=2, progress=lambda *a: seen.append(a))
    assert seen == [(i, 6) for i in range(1, 7)] or seen == [(i, 8) for i in range(1, 9)]


def test_mistakes_are_one_line():
    for image, text in [
        (np.zeros((2, 2, 5), np.uint8), r'got \(2, 2, 5\)'),
        (np.zeros((0, 2, 3), np.uint8), r'got \(0, 2, 3\)'),
        (np.zeros((2, 2, 3), np.int32), 'got int32: convert it first'),
    ]:
        with pytest.raises(ValueError, match=text):
            tiling.upscale(nearest, image, scale=2)
    with pytest.raises(
        ValueError, match='tiles of 16 px that overlap by 8 px on each side have no middle: use 32 or more .17 is the smallest'
    ):
        tiling.upscale(nearest, np.zeros((40, 40), np.uint8), scale=2, side=16, overlap=8)
    with pytest.raises(FloatingPointError, match='NaN or infinity here: use --dtype=float32'):
        tiling.upscale(lambda x: nearest(x) * np.nan, np.zeros((4, 4), np.uint8), scale=2)
