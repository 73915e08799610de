"""What the second-order degradation does besides blurring: resizing as PyTorch does it, and noise.

Wang et al., Real-ESRGAN, ICCVW 2021, section 3.1. Images are float32 `[3, H, W]` in grey levels, 0 to 255.
"""

import functools
import math

import numpy as np
import scipy.sparse
import scipy.special

from kdsr.data.resize import imresize

MODES = ('area', 'bilinear', 'bicubic', 'matlab')
LUMINANCE = np.float32((0.2989, 0.587, 0.114))
SHARPNESS = -0.75  # of PyTorch's cubic; MATLAB's is -0.5
QUANTILES = 4096  # of a Poisson distribution


def resized(image, size, mode, ratio=None):
    """`image` at `size` (rows, columns) as `torch.nn.functional.interpolate` resizes it: nothing is smoothed when it shrinks.

    mode: 'area' (adaptive mean), 'bilinear', 'bicubic', or 'matlab', which is `imresize` of the 8-bit image and does smooth.
    ratio: output / input where it is not that of the sizes: PyTorch maps pixels by the factor it is given, which the rounded
    sizes miss by a little.
    """
    if mode == 'matlab':
        return planes(imresize(picture(image), None, round_between=True, size=size))
    for axis in (1, 2):
        n, out = image.shape[axis], size[axis - 1]
        if n != out:
            image = _along(_matrix(n, out, mode, ratio or out / n), image, axis)
    return image


def _along(matrix, image, axis):
    # Sparse times dense wants the axis first.
    moved = np.moveaxis(image, axis, 0)
    out = matrix @ np.ascontiguousarray(moved).reshape(len(moved), -1)
    return np.ascontiguousarray(np.moveaxis(out.reshape(-1, *moved.shape[1:]), 0, axis))


@functools.lru_cache(maxsize=32)
def _matrix(n, out, mode, ratio):
    """Sparse float32 `[out, n]` of one axis."""
    if mode == 'area':
        first, last = np.arange(out) * n // out, -(-np.arange(1, out + 1) * n // out)
        index = first[:, None] + np.arange((last - first).max())
        weights = (index < last[:, None]) / (last - first)[:, None]
    else:
        at = (np.arange(out) + 0.5) / ratio - 0.5
        at = np.maximum(at, 0) if mode == 'bilinear' else at
        reach = 1 if mode == 'bilinear' else 2
        index = np.floor(at).astype(int)[:, None] + np.arange(1 - reach, reach + 1)
        away = np.abs(at[:, None] - index)
        weights = np.maximum(1 - away, 0) if mode == 'bilinear' else _cubic(away)
    rows = np.broadcast_to(np.arange(out)[:, None], index.shape)
    entries = (weights.ravel(), (rows.ravel(), np.clip(index, 0, n - 1).ravel()))
    return scipy.sparse.coo_array(entries, (out, n)).tocsr().astype(np.float32)


def _cubic(t):
    # Keys' kernel with a free parameter.
    a = SHARPNESS
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * (t**3 - 5 * t**2 + 8 * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def with_gaussian_noise(image, sigma, grey, rng):
    """`image` and normal noise of `sigma` grey levels, the same in all channels if `grey`; clipped."""
    noise = rng.standard_normal(image.shape[grey:], dtype=np.float32)
    noise *= np.float32(sigma)
    return np.clip(image + noise, 0, 255)


def with_poisson_noise(image, scale, grey, rng):
    """`image` and `scale` times the noise of counted light, that of its luminance in all channels if `grey`; clipped.

    White is as many counts as the 8-bit image has distinct values, rounded up to a power of two.
    """
    light = sum(weight * plane for weight, plane in zip(LUMINANCE, image, strict=True)) if grey else image
    shown = levels(light)
    present = np.count_nonzero(np.bincount(shown.ravel(), minlength=256))
    counts = 2 ** math.ceil(math.log2(present))
    chance = rng.integers(QUANTILES, size=shown.shape, dtype=np.uint16)
    noise = _poisson(counts)[shown.astype(np.int32) * QUANTILES + chance]
    noise *= np.float32(scale)
    return np.clip(image + noise, 0, 255)


@functools.cache
def _poisson(counts):
    """float32 `[256 * QUANTILES]`: for each grey level the deviations, in grey levels, of equally likely counts.

    There are but 256 distributions, so that a look-up replaces numpy's sampler, of which most of the chain's time would be. A count
    whose chance is below 1/QUANTILES may be missing.
    """
    mean = np.arange(256)[:, None] * counts / 255
    count = np.arange(int(counts + 6 * math.sqrt(counts) + 8))
    reached = scipy.special.pdtr(count, mean)
    middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    found = np.stack([np.searchsorted(row, middles) for row in reached])
    return ((found - mean) * 255 / counts).astype(np.float32).ravel()


def levels(image):
    """Grey levels as uint8, rounded and clipped."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def picture(image):
    """float32 `[3, H, W]` in grey levels as uint8 `[H, W, 3]`."""
    return np.ascontiguousarray(levels(image).transpose(1, 2, 0))


def planes(image):
    """uint8 `[H, W, 3]` as float32 `[3, H, W]`."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
