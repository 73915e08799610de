"""imresize: bit-exact against the benchmarks' LR images, translation invariant, equal to MATLAB's formula."""

import numpy as np
import pytest

from kdsr.data.images import list_images, read_rgb
from kdsr.data.resize import downscale, imresize, margin


def noise(height, width, seed=0):
    """Uniform noise reaches 0 and 255, so that overshoot is clipped as well."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def matlab_matrix(n, out, scale, border):
    """`[out, n]` weights, line by line from `contributions` in MATLAB's imresize.m (0-based)."""
    shrink = min(scale, 1.0)
    u = (np.arange(out) + 0.5) / scale - 0.5
    indices = np.floor(u - 2 / shrink)[:, None].astype(int) + np.arange(int(np.ceil(4 / shrink)) + 2)
    t = np.abs(u[:, None] - indices) * shrink
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    weights = np.where(t <= 1, near, np.where(t <= 2, far, 0))
    weights /= weights.sum(1, keepdims=True)
    both_ways = np.concatenate([np.arange(n), np.arange(n)[::-1]])
    indices = both_ways[indices % (2 * n)] if border == 'symmetric' else np.clip(indices, 0, n - 1)
    matrix = np.zeros((out, n))
    np.add.at(matrix, (np.arange(out)[:, None], indices), weights)
    return matrix


@pytest.mark.parametrize('border', ['symmetric', 'replicate'])
@pytest.mark.parametrize('scale', [1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 8, 0.37, 2 / 3, 0.7213467, 1.5, 2, 3, 4, 8])
def test_equals_matlabs_formula(scale, border):
    image = np.random.default_rng(1).random((29, 23, 3))  # sides below the kernel of 1/8: taps wrap more than once
    size = [int(np.ceil(scale * n)) for n in image.shape[:2]]
    rows, columns = (matlab_matrix(n, m, scale, border) for n, m in zip(image.shape, size, strict=False))
    want = np.einsum('ij,jkc,lk->ilc', rows, image, columns)
    got = imresize(image, scale, border=border)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=1e-11)


# B100's LR images for x2 and x3 are not in the data folder.
@pytest.mark.parametrize('name, s', [(n, s) for n in ('Set5', 'Set14') for s in (2, 3, 4)] + [('B100', 4)])
def test_benchmark_lr_is_reproduced_bit_for_bit(data_dir, name, s):
    """Made by an old MATLAB (replicate border); today's differs only where the border is seen, within 4 LR pixels."""
    folder = data_dir / 'benchmarks' / name
    hrs = {p.stem: p for p in list_images(folder / 'HR')}
    wrong = wrong_inside = 0
    for path in list_images(folder / f'LR_x{s}'):
        lr, hr = read_rgb(path), read_rgb(hrs[path.stem])
        hr = hr[: s * lr.shape[0], : s * lr.shape[1]]
        wrong += (imresize(hr, 1 / s, border='replicate', round_between=True) != lr).sum()
        wrong_inside += (downscale(hr, s) != lr)[4:-4, 4:-4].sum()
    assert (wrong, wrong_inside) == (0, 0)


def crop_cases(height, width, s, rng):
    """Crops [y0, y1) x [x0, x1) at multiples of s: the corners, the whole image, random ones."""
    h, w = height // s, width // s
    cases = [(0, 3, 0, 3), (h - 3, h, w - 3, w), (0, 3, w - 3, w), (0, h, 0, w), (0, h, 2, 3)]
    for _ in range(25):
        y, x = rng.integers(0, h - 1), rng.integers(0, w - 1)
        cases.append((y, rng.integers(y + 1, h + 1), x, rng.integers(x + 1, w + 1)))
    return cases


@pytest.mark.parametrize(
    'lower',
    [downscale, lambda x, s: imresize(x, 1 / s), lambda x, s: imresize(np.float64(x) / 255, 1 / s)],
    ids=['training', 'uint8', 'float'],
)
@pytest.mark.parametrize('s', [2, 3, 4, 5, 8])
def test_lr_of_a_crop_is_the_crop_of_the_lr(s, lower):
    """Bit for bit, with a window of `margin(s)` more pixels that ends at the image's own border."""
    image, m = noise(13 * s, 16 * s), margin(s)
    whole = lower(image, s)
    assert m % s == 0
    for y0, y1, x0, x1 in crop_cases(*image.shape[:2], s, np.random.default_rng(s)):
        top, left = max(0, y0 * s - m), max(0, x0 * s - m)
        window = lower(image[top : y1 * s + m, left : x1 * s + m], s)
        got = window[y0 - top // s :, x0 - left // s :][: y1 - y0, : x1 - x0]
        np.testing.assert_array_equal(got, whole[y0:y1, x0:x1])


def test_margin_is_no_larger_than_needed():
    """One multiple of s less, and the crop's own border shows."""
    for s in (2, 3, 4, 8):
        image, m = noise(12 * s, 12 * s), margin(s) - s
        crop = downscale(image[4 * s - m : 8 * s + m, 4 * s - m : 8 * s + m], s)[m // s : m // s + 4, m // s : m // s + 4]
        assert (crop != downscale(image, s)[4:8, 4:8]).any()


@pytest.mark.parametrize('s', [2, 3, 4, 8])
def test_flips_commute_with_downscale(s):
    image = noise(11 * s, 9 * s)
    for flip in (np.flipud, np.fliplr, lambda x: x[::-1, ::-1]):
        np.testing.assert_array_equal(downscale(flip(image), s), flip(downscale(image, s)))


def test_transposes_do_not_commute_with_downscale(data_dir):
    """Rows first and 8 bits in between: so pairs are turned after the degradation, never before."""
    hr = read_rgb(data_dir / 'benchmarks' / 'Set5' / 'HR' / 'butterfly.png')
    hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
    turned = downscale(hr.transpose(1, 0, 2), 4).transpose(1, 0, 2)
    difference = np.abs(turned.astype(int) - downscale(hr, 4))
    assert (difference > 0).mean() > 0.05
    assert difference.max() <= 2


def test_rounding_is_half_up_and_clipped():
    got = imresize(np.full((8, 8), 2.5), 1 / 2, round_between=True)
    np.testing.assert_array_equal(got, np.full((4, 4), 3.0))  # half to even would give 2
    step = np.repeat(np.uint8([[0, 0, 0, 0, 255, 255, 255, 255]]), 8, axis=0)
    exact = imresize(step / 1.0, 2)
    assert exact.min() < -5 and exact.max() > 260  # the cubic overshoots; uint8 must clip instead of wrapping
    np.testing.assert_array_equal(imresize(step, 2), np.clip(np.floor(exact + 0.5), 0, 255))


@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.float64])
def test_keeps_dtype_rank_and_constants(dtype):
    for shape in ((12, 18), (12, 18, 1), (12, 18, 3)):
        image = np.full(shape, 7, dtype)
        for scale in (1 / 3, 0.37, 1, 1.5, 2):
            got = imresize(image, scale)
            assert got.dtype == dtype
            assert got.shape == (int(np.ceil(12 * scale)), int(np.ceil(18 * scale)), *shape[2:])
            np.testing.assert_allclose(got, 7, rtol=1e-6)


def test_size_overrides_the_rounded_up_default():
    image = noise(10, 13)
    assert imresize(image, 1 / 4).shape == (3, 4, 3)
    np.testing.assert_array_equal(imresize(image, 1 / 4, size=(2, 3)), imresize(image, 1 / 4)[:2, :3])
    np.testing.assert_array_equal(imresize(image, None, size=(20, 26)), imresize(image, 2))
    assert imresize(image, None, size=(7, 40)).shape == (7, 40, 3)


@pytest.mark.parametrize(
    'call, words',
    [
        (lambda: imresize(noise(4, 4), 2, border='mirror'), "border 'mirror'.*symmetric, replicate"),
        (lambda: imresize(np.zeros((4, 4), np.int32), 2), 'int32; convert'),
        (lambda: imresize(np.zeros((2, 4, 4, 3)), 2), r'\(2, 4, 4, 3\)'),
        (lambda: imresize(np.zeros((0, 4, 3)), 2), r'\(0, 4, 3\)'),
        (lambda: imresize(noise(4, 4), -2), 'positive, got scale -2'),
        (lambda: imresize(noise(4, 4), None), 'a scale or a size'),
        (lambda: downscale(noise(9, 8), 4), r'multiples of 4, got uint8 \(9, 8, 3\)'),
        (lambda: downscale(np.zeros((8, 8, 3)), 4), 'float64'),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
