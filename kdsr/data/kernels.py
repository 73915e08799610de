"""Blur kernels of the second-order degradation: six bell-shaped families and the sinc of ringing, drawn and applied.

Wang et al., Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data, ICCVW 2021, sections 3.2 and 3.3.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.special

FAMILIES = ('iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso')
ROUND_BELOW = 13  # pixels: smaller sinc kernels have a higher least cutoff
SEPARABLE = 3  # up to so many pairs of passes are faster than the Fourier transform
STRETCH = 16  # pixels made by one product of matrices
ONE_THREAD = 1 << 18  # multiplications of a product that OpenBLAS does not divide
NEGLIGIBLE = 1e-6  # of a kernel's largest singular value: far below the 1/255 of an 8-bit image


class Kernel(NamedTuple):
    """What was drawn of a kernel.

    family: of FAMILIES, or 'sinc'. size: its side, odd. sigma: along the two axes, pixels. angle: of the first axis, radians.
    beta: the shape of generalized and plateau kernels, 1 of others. cutoff: of a sinc, radians a pixel.
    """

    family: str
    size: int
    sigma: tuple = (0.0, 0.0)
    angle: float = 0.0
    beta: float = 1.0
    cutoff: float = 0.0

    def __str__(self):
        if self.family == 'sinc':
            return f'sinc {self.size} {self.cutoff:.1f}'
        sigma = f'{self.sigma[0]:.1f}' + (f'/{self.sigma[1]:.1f}' if 'aniso' in self.family else '')
        return f'{self.family.replace("generalized", "gen")} {sigma}'


def drawn(rng, block):
    """A `Kernel` drawn as the fields of `block` say (those of an order in `degradations.PRESETS`).

    All numbers are drawn whether the family needs them or not, so that what follows does not hang on it.
    """
    least, most = block['kernel_size']
    size = int(least + 2 * rng.integers((most - least) // 2 + 1))
    is_sinc = rng.random() < block['sinc']
    names = list(block['families'])
    shares = np.array([block['families'][name] for name in names])
    family = names[rng.choice(len(names), p=shares / shares.sum())]
    sigma = tuple(rng.uniform(*block['sigma'], 2).tolist())
    angle = rng.uniform(*block['angle'])
    betas = {kind: _beta(rng, *block[f'{kind}_beta']) for kind in ('generalized', 'plateau')}
    cutoff = rng.uniform(block['small_cutoff' if size < ROUND_BELOW else 'cutoff'], math.pi)
    if is_sinc:
        return Kernel('sinc', size, cutoff=cutoff)
    if not family.endswith('aniso'):
        sigma, angle = (sigma[0], sigma[0]), 0.0
    return Kernel(family, size, sigma, angle, betas.get(family.partition('_')[0], 1.0))


def _beta(rng, least, most):
    # Flatter than a Gaussian or more peaked, with equal chance, however unequal the two ranges are.
    ranges = (least, 1.0), (1.0, most)
    return rng.uniform(*ranges[rng.integers(2)])


def values(kernel):
    """The kernel as float64 `[size, size]` whose sum is 1; rows are the second axis, downwards."""
    across = np.arange(kernel.size) - kernel.size // 2
    x, y = np.meshgrid(across, across)
    if kernel.family == 'sinc':
        weights = _sinc(np.hypot(x, y), kernel.cutoff)
    else:
        cos, sin = math.cos(kernel.angle), math.sin(kernel.angle)
        distance = ((cos * x + sin * y) / kernel.sigma[0]) ** 2 + ((cos * y - sin * x) / kernel.sigma[1]) ** 2
        powered = distance**kernel.beta
        weights = 1 / (1 + powered) if kernel.family.startswith('plateau') else np.exp(-powered / 2)
    return weights / weights.sum()


def _sinc(radius, cutoff):
    # The circular low-pass filter: a Bessel function where a one-dimensional one has a sine.
    away = np.where(radius == 0, 1, radius)
    return np.where(radius == 0, cutoff**2 / (4 * math.pi), cutoff * scipy.special.j1(cutoff * away) / (2 * math.pi * away))


def blurred(image, kernel):
    """`image` under a kernel, mirrored at its borders without the border pixel.

    Args:
      image: float32 `[3, H, W]`. kernel: `[k, k]`, k odd; as all of ours it equals itself turned by half a turn.

    Returns: float32 `[3, H, W]`.
    """
    u, s, v = np.linalg.svd(kernel)
    rank = int((s > NEGLIGIBLE * s[0]).sum())
    if rank <= SEPARABLE:
        return sum(along(along(image, v[i] * s[i], 2), u[:, i], 1) for i in range(rank))
    half, (height, width) = len(kernel) // 2, image.shape[1:]
    size = [scipy.fft.next_fast_len(n + 2 * half) for n in (height, width)]
    # Circular: what wraps around falls on the first rows and columns, which are cut off.
    rows, columns = (mirrored(np.arange(-half, m - half), n) for m, n in zip(size, (height, width), strict=True))
    spectrum = scipy.fft.rfft2(image[:, rows][:, :, columns])
    spectrum *= scipy.fft.rfft2(kernel.astype(np.float32), size)
    return scipy.fft.irfft2(spectrum, size, overwrite_x=True)[:, 2 * half : 2 * half + height, 2 * half : 2 * half + width]


def along(image, weights, axis):
    """`image` float32 `[3, H, W]` under a symmetric `weights` `[k]`, k odd, along axis 1 or 2, mirrored at its borders.

    By products of matrices, the fastest that numpy has.
    """
    if axis == 1:
        return along(image.transpose(0, 2, 1), weights, 2).transpose(0, 2, 1)
    half, n = len(weights) // 2, image.shape[2]
    padded = np.pad(image.reshape(-1, n), ((0, 0), (half, half + STRETCH)), 'reflect')
    return stretches(padded, _band(weights.astype(np.float32).tobytes()), n).reshape(image.shape)


def stretches(rows, matrix, n):
    """float32 `[r, n]`: `rows` `[r, at least n]` times `matrix` `[a, b]`, which moves b pixels at a time along them.

    In pieces so small that the library of numpy takes one thread: with several, for products of this size, they wait for each other
    most of the time (nine times as long on two busy cores), and a data loader has its own.
    """
    reach, step = matrix.shape
    out = np.empty((len(rows), -(-n // step) * step), np.float32)
    slab = max(ONE_THREAD // (reach * step), 1)
    for top in range(0, len(rows), slab):
        for i in range(0, n, step):
            np.matmul(rows[top : top + slab, i : i + reach], matrix, out=out[top : top + slab, i : i + step])
    return out[:, :n]


@functools.lru_cache(maxsize=8)
def _band(weights):
    weights = np.frombuffer(weights, np.float32)
    band = np.zeros((STRETCH + len(weights) - 1, STRETCH), np.float32)
    for i in range(STRETCH):
        band[i : i + len(weights), i] = weights
    return band


def mirrored(index, n):
    """Where positions outside 0 .. n - 1 are mirrored to, the border pixel standing once."""
    index = np.abs(index) % max(2 * n - 2, 1)
    return np.minimum(index, 2 * n - 2 - index)
