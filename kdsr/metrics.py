"""PSNR, SSIM, LPIPS and the Frechet distance as benchmarks define them: pure functions of images, the last two of features.

Images are `[H, W, C]` or `[B, H, W, C]`, floats in [0, 1] or uint8. A score is a scalar for one image and `[B]` for a
batch. With numpy input everything is computed in float64 on the host; with JAX input (also one of two) in float32 at
least, and every function can be jitted.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

# Y of BT.601 in studio swing, as MATLAB's rgb2ycbcr computes it: Y = 16 + 65.481 R + 128.553 G + 24.966 B for [0, 1].
Y_WEIGHTS = (65.481, 128.553, 24.966)
# The code of EDSR, RCAN and FAKD weighs the RGB difference with these, over 256 instead of 255.
Y_WEIGHTS_EDSR = tuple(w * 255 / 256 for w in (65.738, 129.057, 25.064))

WINDOW = 11  # pixels: the side of SSIM's window, and so of the smallest image that has an SSIM


def _arrays(*images):
    """The array module of `images`, and the images as floats in [0, 1]."""
    xp = jnp if any(isinstance(x, jax.Array) for x in images) else np
    return xp, *(_as_float(xp, x) for x in images)


def _as_float(xp, x):
    x = xp.asarray(x)
    if x.ndim not in (3, 4):
        raise ValueError(f'expected an image [H, W, C] or a batch [B, H, W, C], got shape {x.shape}')
    if x.dtype != np.uint8 and not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f'expected uint8 or floats in [0, 1], got {x.dtype}; divide by its peak first')
    scale = 255 if x.dtype == np.uint8 else 1
    return x.astype(np.float64 if xp is np else jnp.promote_types(x.dtype, jnp.float32)) / scale


def _pair(a, b):
    if np.shape(a) != np.shape(b):
        raise ValueError(f'images to compare have different shapes: {np.shape(a)} and {np.shape(b)}')
    return _arrays(a, b)


def _luma(x, weights):
    if x.shape[-1] not in (1, 3):
        raise ValueError(f'Y needs 1 (grey) or 3 (RGB) channels, got shape {x.shape}')
    # A matmul over 3 channels would run in bfloat16 on a TPU.
    return sum(w * x[..., i % x.shape[-1]] for i, w in enumerate(weights))[..., None]


def quantise(x):
    """What an 8-bit image file keeps of `x`: clipped to [0, 1] and rounded (half to even) to multiples of 1/255."""
    xp, x = _arrays(x)
    return xp.round(xp.clip(x, 0, 1) * 255) / 255


def rgb_to_y(x):
    """`[..., H, W, 3]` -> Y in [16, 235], `[..., H, W, 1]`, not rounded (MATLAB's rgb2ycbcr of a double image, x 255).

    One channel is grey, and has the Y of R = G = B. Raises ValueError for other channel counts.
    """
    _, x = _arrays(x)
    return 16 + _luma(x, Y_WEIGHTS)


def shave(x, border):
    """`x` without `border` pixels on each side. Raises ValueError if nothing would be left."""
    height, width = x.shape[-3:-1]
    if border < 0 or 2 * border >= min(height, width):
        raise ValueError(f'cannot shave {border} pixels off each side of an image of {height}x{width}')
    return x[..., border : height - border, border : width - border, :]


def psnr(a, b, *, peak=1.0):
    """10 log10(peak^2 / mean((a - b)^2)) in dB over all pixels and channels; inf for equal images.

    Args:
      a, b: images of equal shape; uint8 counts as [0, 1].
      peak: the largest possible value, 255 for `rgb_to_y`'s output.

    Raises ValueError if the shapes differ.
    """
    xp, a, b = _pair(a, b)
    return _decibels(xp, a - b, peak)


def _decibels(xp, difference, peak):
    with np.errstate(divide='ignore'):
        return -10 * xp.log10(xp.mean((difference / peak) ** 2, axis=(-3, -2, -1)))


def _window(x):
    """Weighted mean over 11x11 pixels, valid region: `[..., H, W, C]` -> `[..., H-10, W-10, C]`."""
    weights = np.exp(-(np.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    height, width = x.shape[-3] - 10, x.shape[-2] - 10
    x = sum(float(w) * x[..., k : k + height, :, :] for k, w in enumerate(weights))
    return sum(float(w) * x[..., k : k + width, :] for k, w in enumerate(weights))


def ssim(a, b, *, peak=1.0):
    """Structural similarity: 11x11 Gaussian window (sigma 1.5), valid region, K1 = 0.01, K2 = 0.03, mean over channels.

    Args:
      a, b: images of equal shape, at least 11x11 pixels; uint8 counts as [0, 1].
      peak: the largest possible value, 255 for `rgb_to_y`'s output.

    Raises ValueError if the shapes differ or the image is smaller than the window.

    References: Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004,
    eq. 13; region and window of the authors' ssim_index.m.
    """
    xp, a, b = _pair(a, b)
    if min(a.shape[-3:-1]) < WINDOW:
        raise ValueError(f'SSIM needs at least {WINDOW}x{WINDOW} pixels, got {a.shape[-3]}x{a.shape[-2]}')
    # With p = a + b and m = a - b the two factors of eq. 13 are 1 - mean(m)^2 / (...) and 1 - var(m) / (...): no
    # difference of large numbers is left but var(p), and subtracting a constant makes that safe in float32.
    p, m = (a + b) / peak, (a - b) / peak
    centre = xp.mean(p, axis=(-3, -2, -1), keepdims=True)
    mean_p, mean_m = _window(p - centre), _window(m)
    var_p, var_m = _window((p - centre) ** 2) - mean_p**2, _window(m**2) - mean_m**2
    mean_p = mean_p + centre
    luminance = 1 - mean_m**2 / ((mean_p**2 + mean_m**2) / 2 + 0.01**2)
    structure = 1 - var_m / ((var_p + var_m) / 2 + 0.03**2)
    return xp.mean(luminance * structure, axis=(-3, -2, -1))


def psnr_y(sr, hr, border, *, weights=Y_WEIGHTS):
    """PSNR in dB of the Y channel (peak 255) of 8-bit images, `border` pixels shaved off each side.

    Args:
      sr, hr: `[H, W, 3]` or `[B, H, W, 3]`; both are quantised to 8 bits first, Y is not.
      border: usually the scale.
      weights: `Y_WEIGHTS_EDSR` gives the values that EDSR's, RCAN's and FAKD's code prints.

    Raises ValueError if the shapes differ or nothing is left inside the border.
    """
    xp, sr, hr = _pair(sr, hr)
    return _decibels(xp, _luma(shave(quantise(sr) - quantise(hr), border), weights), 255)


def ssim_y(sr, hr, border):
    """SSIM of the Y channel (peak 255) of 8-bit images; arguments and errors as `psnr_y` and `ssim`."""
    sr, hr = (shave(rgb_to_y(quantise(x)), border) for x in _pair(sr, hr)[1:])
    return ssim(sr, hr, peak=255)


def psnr_rgb(sr, hr, border):
    """PSNR in dB over all channels of 8-bit images; arguments and errors as `psnr_y`."""
    sr, hr = (shave(quantise(x), border) for x in _pair(sr, hr)[1:])
    return psnr(sr, hr)


def ssim_rgb(sr, hr, border):
    """SSIM of 8-bit images, mean over channels; arguments and errors as `psnr_y` and `ssim`."""
    sr, hr = (shave(quantise(x), border) for x in _pair(sr, hr)[1:])
    return ssim(sr, hr)


def lpips(features_a, features_b, lins):
    """Learned perceptual image patch similarity: sum over layers of sum_c lin_c (unit(a)_c - unit(b)_c)^2, mean over positions.

    Each position's features are divided by their L2 norm over channels first, plus 1e-10; an all-zero position stays
    zero, with gradient 0. With numpy arrays it is computed in float64, otherwise in float32 at least.

    Args:
      features_a, features_b: a list (or a dict) of features `[..., H, W, C]`, layer by layer.
      lins: likewise the weight of each channel, `[C]`.

    Returns:
      `[...]`, a score per image; 0 for equal features.

    Raises:
      ValueError: the three differ in length or names, or the shapes of a layer do not fit.

    References: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, eq. 1,
    in version 0.1 of the authors' code.
    """
    leaves, tree = zip(*map(jax.tree.flatten, (features_a, features_b, lins)), strict=True)
    if not tree[0] == tree[1] == tree[2]:
        raise ValueError(f'LPIPS needs the same layers three times, got {tree[0]}, {tree[1]} and weights {tree[2]}')
    xp = jnp if any(isinstance(x, jax.Array) for x in sum(leaves, [])) else np
    return sum(_layer_distance(xp, *layer) for layer in zip(*leaves, strict=True))


def _layer_distance(xp, a, b, lin):
    if np.shape(a) != np.shape(b) or np.shape(a)[-1:] != np.shape(lin):
        raise ValueError(f'LPIPS: features {np.shape(a)} and {np.shape(b)} and weights {np.shape(lin)} do not fit together')
    float_ = lambda x: xp.asarray(x, np.float64 if xp is np else jnp.promote_types(xp.asarray(x).dtype, jnp.float32))
    difference = _unit(xp, float_(a)) - _unit(xp, float_(b))
    return (difference**2 * float_(lin)).sum(-1).mean((-2, -1))


def _unit(xp, x):
    square = (x**2).sum(-1, keepdims=True)
    # the derivative of sqrt at 0 is infinite: a zero vector must not reach it
    return xp.where(square == 0, 0, x / (xp.sqrt(xp.where(square == 0, 1, square)) + 1e-10))


def frechet(features_a, features_b) -> float:
    """Frechet distance between two sets, by the Gaussians of their features: |m_a - m_b|^2 + tr(A + B - 2 (A B)^1/2).

    m and A are mean and unbiased covariance; in float64 on the host. It takes no root of a covariance and so stays exact where
    that is singular; but below about 2 D examples the value itself is biased upwards, the more the fewer there are.

    Args:
      features_a, features_b: `[N, D]`, an example a row; N may differ, and is at least 2.

    Returns: 0 (equal mean and covariance) or more; NaN where a feature is not finite.

    Raises ValueError for other shapes, fewer examples, or sets of different D.

    References: Dowson & Landau, The Frechet distance between multivariate normal distributions, J. Multivariate Analysis 1982;
    Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017, eq. 6.
    """
    sets = [np.asarray(x, np.float64) for x in (features_a, features_b)]
    for x in sets:
        if x.ndim != 2 or len(x) < 2 or x.shape[1] != sets[0].shape[-1]:
            shapes = ' and '.join(str(np.shape(x)) for x in (features_a, features_b))
            raise ValueError(f'a Frechet distance needs two sets [N, D] of equal D, each with 2 examples at least; got {shapes}')
    if not all(np.isfinite(x).all() for x in sets):
        return math.nan
    means = [x.mean(0) for x in sets]
    # r' r is the covariance
    roots = [np.linalg.qr((x - m) / np.sqrt(len(x) - 1), mode='r') for x, m in zip(sets, means, strict=True)]
    return _between(*means, *roots)


def gaussian(features):
    """(mean `[D]`, unbiased covariance `[D, D]`) in float64 of features `[N, D]`, N >= 2: what `frechet_of` takes, to be kept."""
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f'mean and covariance need features [N, D] of 2 examples at least, got {x.shape}')
    return x.mean(0), np.atleast_2d(np.cov(x, rowvar=False))


def frechet_of(mean_a, cov_a, mean_b, cov_b) -> float:
    """`frechet` of sets of which only mean `[D]` and covariance `[D, D]` are known; as exact as covariances are, about 1e-7.

    Negative eigenvalues that rounding has left count as 0. Raises ValueError for other shapes, and for what is no covariance.
    """
    mean_a, cov_a, mean_b, cov_b = (np.asarray(x, np.float64) for x in (mean_a, cov_a, mean_b, cov_b))
    if mean_a.ndim != 1 or mean_b.shape != mean_a.shape or {cov_a.shape, cov_b.shape} != {2 * mean_a.shape}:
        shapes = ', '.join(str(x.shape) for x in (mean_a, cov_a, mean_b, cov_b))
        raise ValueError(f'a Frechet distance needs means [D] and covariances [D, D] of equal D, got {shapes}')
    if not all(np.isfinite(x).all() for x in (mean_a, cov_a, mean_b, cov_b)):
        return math.nan
    return _between(mean_a, mean_b, _root(cov_a), _root(cov_b))


def _root(covariance):
    """r `[D, D]` with r' r = covariance."""
    values, vectors = np.linalg.eigh(covariance)
    if not np.allclose(covariance, covariance.T, rtol=1e-5, atol=1e-5 * abs(values[-1])) or values[0] < -1e-5 * abs(values[-1]):
        raise ValueError(f'a covariance is symmetric and has no negative eigenvalue, here one is {values[0]:g}')
    # what is below is rounding, whose root would not be small
    least = len(values) * np.finfo(np.float64).eps * values[-1]
    return np.sqrt(np.where(values > least, values, 0))[:, None] * vectors.T


def _between(mean_a, mean_b, root_a, root_b):
    """tr (A B)^1/2 is the sum of the singular values of root_a root_b', which are never complex."""
    common = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + (root_a**2).sum() + (root_b**2).sum() - 2 * common
    return max(float(distance), 0.0)
