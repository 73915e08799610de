"""PSNR and SSIM: golden values of the benchmarks, the original FAKD code's values, scikit-image, JAX equal to numpy."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from kdsr import metrics
from kdsr.data import benchmarks
from kdsr.data.resize import imresize

COLUMNS = ('psnr_y', 'ssim_y', 'psnr_rgb')
SETS = [('Set5', 2), ('Set5', 3), ('Set5', 4), ('Set14', 2), ('Set14', 3), ('Set14', 4)]
B100 = [pytest.param('B100', s, marks=pytest.mark.slow) for s in (2, 3, 4)]


def pair(shape=(40, 37, 3), seed=0, noise=0.1):
    """A smooth image and a noisy copy, float64 in [0, 1]."""
    rng = np.random.default_rng(seed)
    clean = np.clip(imresize(rng.random((shape[-3] // 4 + 1, shape[-2] // 4 + 1, shape[-1])), 4), 0, 1)
    clean = np.broadcast_to(clean[: shape[-3], : shape[-2]], shape)
    return np.clip(clean + noise * rng.standard_normal(shape), 0, 1), clean


@pytest.mark.parametrize('name, s', SETS + B100)
def test_bicubic_equals_golden_values(data_dir, name, s):
    """golden_metrics.json: an independent float64 implementation. Per image and mean: 1e-3 dB, 1e-4 of SSIM.

    Bicubic = the uint8 LR enlarged with symmetric border, rounded once at the end.
    """
    golden = json.loads((data_dir / 'weights' / 'golden_metrics.json').read_text())[f'bicubic/{name}/x{s}']
    examples = {e.name: e for e in benchmarks.read(data_dir / 'benchmarks' / name, s)}
    assert sorted(examples) == sorted(i['name'] for i in golden['images'])
    found = {k: [] for k in COLUMNS}
    for image in golden['images']:
        _, lr, hr = examples[image['name']]
        sr = imresize(lr, s)
        for k in COLUMNS:
            found[k].append(getattr(metrics, k)(sr, hr, s))
            assert found[k][-1] == pytest.approx(image[k], abs=1e-4 if k == 'ssim_y' else 1e-3), (image['name'], k)
    for k in COLUMNS:
        assert np.mean(found[k]) == pytest.approx(golden['mean'][k], abs=1e-4 if k == 'ssim_y' else 1e-3), k


def test_fakd_psnr():
    """Values of the original PyTorch code (its `calc_psnr`, x4), float64."""
    wave = lambda phase: np.clip(np.round(127 + 100 * np.sin(0.37 * np.arange(3 * 24 * 20) + phase)), 0, 255)
    sr, hr = (wave(phase).reshape(3, 24, 20).transpose(1, 2, 0) / 255 for phase in (0, 0.05))
    assert metrics.psnr_y(sr, hr, 4, weights=metrics.Y_WEIGHTS_EDSR) == pytest.approx(43.29006370, abs=5e-9)
    assert metrics.psnr_rgb(sr, hr, 4) == pytest.approx(37.11311813, abs=5e-9)


def test_scikit_image_agrees():
    """On the valid region: scikit-image pads, but crops the padded rim again before it averages. 1e-10 is rounding."""
    a, b = pair()
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1)
    assert metrics.ssim(a, b) == pytest.approx(structural_similarity(a, b, data_range=1.0, **options), abs=1e-10)
    assert metrics.psnr(a, b) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1.0), abs=1e-10)
    assert metrics.ssim(255 * a, 255 * b, peak=255) == pytest.approx(metrics.ssim(a, b), abs=1e-10)
    assert metrics.psnr(255 * a, 255 * b, peak=255) == pytest.approx(metrics.psnr(a, b), abs=1e-10)


@pytest.mark.parametrize('name', ['psnr_y', 'ssim_y', 'psnr_rgb', 'ssim_rgb'])
def test_jax_equals_numpy(name):
    """float32 on the device against float64 on the host, jitted, one image and a batch."""
    function = getattr(metrics, name)
    jitted = jax.jit(function, static_argnums=2)
    for noise in (0.3, 0.01, 0.001):
        a, b = pair((3, 40, 37, 3), noise=noise)
        a, b = metrics.quantise(a), metrics.quantise(b)  # in float32 a tie of the 8-bit rounding may fall otherwise
        want = function(a, b, 4)
        assert want.shape == (3,)
        np.testing.assert_allclose(jitted(jnp.float32(a), jnp.float32(b), 4), want, atol=1e-4)
        one = jitted(jnp.float32(a[1]), np.uint8(np.round(255 * b[1])), 4)
        assert one.shape == () and one.dtype == jnp.float32
        np.testing.assert_allclose(one, want[1], atol=1e-4)
        assert function(a[1], b[1], 4) == pytest.approx(want[1], abs=1e-12)


def test_ssim_is_stable_in_float32():
    """Bright, nearly flat images: the variance is the small difference of large moments there."""
    rng = np.random.default_rng(0)
    b = np.full((64, 64, 3), 0.97) + 0.004 * rng.standard_normal((64, 64, 3))
    a = b + 0.004 * rng.standard_normal(b.shape)
    assert abs(metrics.ssim(jnp.float32(a), jnp.float32(b)) - metrics.ssim(a, b)) < 1e-5


def test_equal_images():
    _, b = pair()
    for x in (b, jnp.float32(b)):
        assert metrics.psnr(x, x) == np.inf
        assert metrics.psnr_y(x, x, 4) == np.inf
        assert metrics.ssim(x, x) == 1
    assert np.isinf(metrics.psnr(np.stack([b, b]), np.stack([b, 1 - b]))).tolist() == [True, False]


def test_quantise():
    x = np.array([-0.2, 0.5 / 255, 1.5 / 255, 2.4 / 255, 1.3]).reshape(1, 5, 1)
    np.testing.assert_array_equal(metrics.quantise(x)[0, :, 0] * 255, [0, 0, 2, 2, 255])
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(metrics.quantise(levels), levels / 255)
    np.testing.assert_array_equal(np.round(metrics.quantise(jnp.float32(levels / 255)) * 255), levels)


def test_rgb_to_y():
    """Black 16, white 235 and the primaries of MATLAB's rgb2ycbcr: 81.481, 144.553, 40.966."""
    colours = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)[None]
    want = [16, 235, 81.481, 144.553, 40.966]
    np.testing.assert_allclose(metrics.rgb_to_y(colours)[0, :, 0], want, atol=1e-12)
    np.testing.assert_allclose(metrics.rgb_to_y(jnp.float32(colours))[0, :, 0], want, rtol=1e-6)
    grey = np.random.default_rng(0).random((5, 6, 1))
    np.testing.assert_allclose(metrics.rgb_to_y(grey), metrics.rgb_to_y(np.repeat(grey, 3, axis=-1)), rtol=1e-14)
    assert metrics.psnr_y(grey, grey / 2, 1) == pytest.approx(metrics.psnr_y(*(np.repeat(x, 3, -1) for x in (grey, grey / 2)), 1))


def test_only_the_shaved_border_is_ignored():
    _, b = pair()
    b = metrics.quantise(b)
    a = b.copy()
    a[:4], a[-4:], a[:, :4], a[:, -4:] = 0, 0, 0, 0
    assert metrics.psnr_y(a, b, 4) == np.inf
    assert metrics.psnr_y(a, b, 3) < 60
    np.testing.assert_array_equal(metrics.shave(b, 0), b)


@pytest.mark.parametrize(
    'call, words',
    [
        (lambda: metrics.psnr_y(np.zeros((8, 8, 3)), np.zeros((8, 9, 3)), 2), r'\(8, 8, 3\) and \(8, 9, 3\)'),
        (lambda: metrics.psnr(np.zeros((8, 8)), np.zeros((8, 8))), r'got shape \(8, 8\)'),
        (lambda: metrics.psnr(np.zeros((8, 8, 3), int), np.zeros((8, 8, 3), int)), 'int64'),
        (lambda: metrics.psnr_y(np.zeros((8, 8, 3)), np.zeros((8, 8, 3)), 4), 'shave 4 pixels .* 8x8'),
        (lambda: metrics.ssim_y(np.zeros((18, 40, 3)), np.zeros((18, 40, 3)), 4), '11x11 pixels, got 10x32'),
        (lambda: metrics.rgb_to_y(np.zeros((8, 8, 4))), r'\(8, 8, 4\)'),
        (lambda: jax.jit(metrics.psnr)(jnp.zeros((8, 8, 3)), jnp.zeros((8, 8, 1))), 'different shapes'),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
