"""MATLAB's `imresize` (bicubic, antialiased) in numpy: what SR benchmarks mean by "bicubic"."""

import functools
import math
from fractions import Fraction

import numpy as np

BORDERS = ('symmetric', 'replicate')
FLOAT32_BITS = 24  # float32 adds integers below 2**24 without rounding


def imresize(image, scale, *, border='symmetric', round_between=False, size=None):
    """Resizes an image as MATLAB's `imresize(image, scale)`: bicubic (a = -0.5), widened by 1/scale when shrinking.

    Rows are resized first, then columns. For scale 1/integer the sum has fixed weights and a fixed order, so a pixel
    depends on its neighbourhood only, bit for bit: the LR of a crop is the crop of the LR (see `margin`).

    Args:
      image: `[H, W]` or `[H, W, C]`, uint8 or floating point of any range.
      scale: output size / input size, e.g. 4, 1.5 or 1/3; None derives it per axis from `size`.
      border: 'symmetric' mirrors the image including its edge pixel (today's MATLAB); 'replicate'
        repeats the edge pixel (old MATLAB: with `round_between` it gives the LR images of Set5, Set14 and BSD100 bit
        for bit).
      round_between: round the image between the two passes to 0..255, as MATLAB does with uint8 images; float images
        must be on that scale.
      size: (rows, columns) of the output; default `ceil(scale * input)`.

    Returns: the resized image; uint8 (rounded half up, clipped) for uint8, else unrounded in the dtype of `image`.

    Raises ValueError for other dtypes, ranks or borders, an empty image, or a scale that is not positive.

    References: R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP 1981, eq. 4.
    """
    image = np.asarray(image)
    ratios, size = _plan(image, scale, border, size)
    # Each pass works on axis 0 of a contiguous array, where strided slices are cheap.
    x = image.reshape(*image.shape[:2], -1)
    rows_first = ratios[0] <= ratios[1]  # MATLAB starts with the axis that shrinks more
    for axis in (0, 1) if rows_first else (1, 0):
        x = np.ascontiguousarray(x if axis == 0 else x.transpose(1, 2, 0))
        x = _resize_rows(x, ratios[axis], size[axis], border)
        if round_between:
            x, round_between = _to_uint8(x), False
        x = x if axis == 0 else x.transpose(2, 0, 1)
    x = _to_uint8(x) if image.dtype == np.uint8 else x.astype(image.dtype)
    return np.ascontiguousarray(x).reshape(*size, *image.shape[2:])


def downscale(hr, s):
    """The LR image of a training pair as today's MATLAB makes it: uint8 `[s*h, s*w, C]` -> uint8 `[h, w, C]`.

    It commutes with flips bit for bit, not with transposes: rows are resized first and rounded to 8 bits in between.
    So turn pairs after this, not before.

    Raises ValueError if `hr` is not uint8 or its sides are not multiples of `s`.
    """
    hr = np.asarray(hr)
    if hr.dtype != np.uint8 or hr.shape[0] % s or hr.shape[1] % s:
        raise ValueError(
            f'downscale by {s}: expected a uint8 image with sides that are multiples of {s}, '
            f'got {hr.dtype} {hr.shape}; crop it first'
        )
    return imresize(hr, Fraction(1, s), border='symmetric', round_between=True)


def margin(s):
    """HR pixels to keep around a crop so that its LR, trimmed by `margin(s) // s`, is the crop of the whole image's LR.

    The kernel reaches 1.5 s pixels beyond the s pixels of an LR pixel; rounded up to a multiple of s.
    """
    return 2 * s


def _plan(image, scale, border, size):
    if border not in BORDERS:
        raise ValueError(f'imresize: border {border!r} is not one of {", ".join(BORDERS)}')
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f'imresize: expected an image [H, W] or [H, W, C], got shape {image.shape}')
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f'imresize: expected uint8 or floating point, got {image.dtype}; convert it first')
    if scale is None and size is None:
        raise ValueError('imresize: give a scale or a size')
    if scale is None:
        ratios = [Fraction(out, n) for out, n in zip(size, image.shape[:2], strict=True)]
    else:
        # 1/3 as a float means 1/3: only exact ratios have phases that repeat exactly.
        ratios = [Fraction(scale).limit_denominator(1 << 20)] * 2
    size = [math.ceil(r * n) for r, n in zip(ratios, image.shape[:2], strict=True)] if size is None else size
    if min(ratios) <= 0 or min(size) <= 0:
        raise ValueError(f'imresize: scale and size must be positive, got scale {scale}, size {size}')
    return ratios, tuple(size)


def _cubic(t):
    # Keys' kernel, a = -1/2.
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def _resize_rows(x, ratio, n_out, border):
    if ratio == 1 and n_out == len(x):
        return x
    return (_shrink_rows if ratio.numerator == 1 else _gather_rows)(x, ratio, n_out, border)


@functools.lru_cache
def _shrink_taps(s):
    # Weights of the 1/s kernel as integers: the cubic at odd (s even) or even (s odd) multiples of 1/(2s) is an integer
    # over 16 s^3. Sums of 8-bit pixels are then exact, so rounding ties fall the same way everywhere.
    first = -((3 * s) // 2)
    m = 2 * np.arange(first, s - first) - (s - 1)
    weights = np.rint(_cubic(m / (2 * s)) * 16 * s**3)
    kept = np.flatnonzero(weights)
    return first + kept[0], weights[kept[0] : kept[-1] + 1]


def _shrink_rows(x, ratio, n_out, border):
    s = ratio.denominator
    first, weights = _shrink_taps(s)
    taps, total = len(weights), weights.sum()
    exact = x.dtype == np.uint8 and 255 * np.abs(weights).sum() < 1 << FLOAT32_BITS
    dtype = np.float32 if exact else np.float64
    x = x[_inside(first + np.arange(s * (n_out - 1) + taps), len(x), border)].astype(dtype)
    term = lambda k: x[k : k + s * (n_out - 1) + 1 : s]
    y = np.zeros((n_out, *x.shape[1:]), dtype)
    pair = np.empty_like(y)
    for k, w in enumerate(weights[: taps // 2].astype(dtype)):
        np.add(term(k), term(taps - 1 - k), out=pair)  # the kernel is symmetric; so flips commute bit for bit
        pair *= w
        y += pair
    if taps % 2:
        y += weights[taps // 2].astype(dtype) * term(taps // 2)
    return y / np.float64(total)


def _gather_rows(x, ratio, n_out, border):
    p, q = ratio.numerator, ratio.denominator
    wide = max(1, q / p)
    # Output pixel i looks at u = ((2i + 1) q - p) / 2p; its distance to every tap is an integer over 2p: no rounding.
    numerator = (2 * np.arange(n_out, dtype=np.int64) + 1) * q - p
    taps = math.ceil(4 * wide) + 2
    index = numerator[:, None] // (2 * p) - taps // 2 + 1 + np.arange(taps)
    weights = _cubic((numerator[:, None] - 2 * p * index) / (2 * max(p, q)))
    weights /= weights.sum(1, keepdims=True)
    index = _inside(index, len(x), border)
    x = x.astype(np.float64)
    shape = (n_out,) + (1,) * (x.ndim - 1)
    return sum(weights[:, k].reshape(shape) * x[index[:, k]] for k in range(taps) if weights[:, k].any())


def _inside(index, n, border):
    if border == 'replicate':
        return np.clip(index, 0, n - 1)
    index = index % (2 * n)
    return np.minimum(index, 2 * n - 1 - index)


def _to_uint8(x):
    if x.dtype == np.uint8:
        return x
    return np.clip(np.floor(x + 0.5), 0, 255).astype(np.uint8)
