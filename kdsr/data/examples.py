"""One training example: which image, which crop, how it is degraded and turned; a pure function of its number.

It needs no jax, so that worker processes (kdsr.data.workers) start quickly and touch no device.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from kdsr.data import degradations
from kdsr.data.resize import downscale, margin

SYMMETRIES = {'dihedral': 7, 'mirror': 1, 'none': 0}  # the bits of `dihedral` that may be set


@dataclasses.dataclass(frozen=True)
class Examples:
    """Makes a trainer's share of batch k, the same pixels wherever this is sent (pickle).

    read, count: of a sources.Source whose images are all large enough. scale, patch, augment, degradation, seed: as of
    `pipeline.train_batches`. batch: examples in a batch over all trainers; `share` of them, from number `first` on, are made here.
    """

    read: Callable
    count: int
    scale: int
    patch: int
    augment: str
    degradation: dict | None
    seed: int
    batch: int
    first: int
    share: int

    def __call__(self, k):
        """(lr `[share, patch, patch, 3]`, hr `[share, scale * patch, scale * patch, 3]`) of batch `k`, uint8, and as HR what else
        `read` gives."""
        start = k * self.batch + self.first
        pairs = [self.example(place) for place in range(start, start + self.share)]
        return tuple(np.stack(images) for images in zip(*pairs, strict=True))

    def example(self, place):
        """(lr, hr) of the example that stands at `place`, counted over all batches, and as HR what else `read` gives."""
        number = pooled(self.degradation['pool'], self.seed, place) if self.degradation else place
        image = order(self.count, self.seed, number // self.count)[number % self.count]
        hr, lr, *more = self.read(image)
        if self.degradation:
            pair = degradations.degrade(hr, self.degradation, self.seed, number, self.patch, number // self.batch)
            return turned(pair, self.seed, number, self.augment)
        return crop_pair(hr, lr, self.scale, self.patch, np.random.default_rng((self.seed, 1, number)), self.augment, *more)


@functools.lru_cache(maxsize=8)
def order(count, seed, round_):
    """The images of one pass, shuffled."""
    # Not grain's shuffle(): its index cipher tries again until it hits one of few images, 2 ms per example for 9 of them.
    return np.random.default_rng((seed, 0, round_)).permutation(count).tolist()


def pooled(pool, seed, place):
    """The number of the example that stands at `place` where the pairs of `pool` examples are shuffled; `place` itself without.

    Where the examples of a batch share draws (`draws='batch'`), a batch shows one size of noise grain, one blur or none: too much
    of a kind. The released Real-ESRGAN mixes pairs of many batches through a queue of pictures. Here it is the numbers that are
    mixed, in windows of `pool`, so that example k is still a function of (seed, k) and nothing is stored or waited for. A window of
    m batches reaches m * (1 - C(m*b - b, b) / C(m*b, b)) source batches in a batch of b, from (m*m - 1) / (3*m) batches away in the
    mean: with b = 48 and m = 12 they are 11.85 and 4.0, where that queue of 192 pairs has 11.2 and 4.0.
    """
    return place // pool * pool + _window(pool, seed, place // pool)[place % pool] if pool else place


@functools.lru_cache(maxsize=8)
def _window(pool, seed, number):
    return np.random.default_rng((seed, 4, number)).permutation(pool).tolist()


def turned(pair, seed, number, augment):
    """The (lr, hr) of example `number`, both in the symmetry that it draws; what was done to LR is turned with it."""
    state = np.random.default_rng((seed, 2, number)).integers(8) & SYMMETRIES[augment]
    return tuple(dihedral(image, state) for image in pair)


def dihedral(image, state):
    """A view in one of 8 symmetries: bit 0 mirrors left-right, bit 1 upside down, bit 2 then transposes."""
    image = image[:, ::-1] if state & 1 else image
    image = image[::-1] if state & 2 else image
    return image.transpose(1, 0, 2) if state & 4 else image


def lr_crop(hr, y, x, patch, scale):
    """LR of one place without scaling the whole image: exactly `downscale(hr, scale)[y : y + patch, x : x + patch]`.

    The HR crop carries the pixels that the filter reaches; at a true border there are none and the border rule
    is the whole image's.

    Args:
      hr: uint8 `[H, W, 3]`, sides multiples of `scale`. y, x, patch: LR pixels.
    """
    m = margin(scale)
    top, left = max(y * scale - m, 0), max(x * scale - m, 0)
    lr = downscale(hr[top : (y + patch) * scale + m, left : (x + patch) * scale + m], scale)
    y, x = y - top // scale, x - left // scale
    return lr[y : y + patch, x : x + patch]


def crop_pair(hr, lr, scale, patch, rng, augment='dihedral', *more):
    """Random aligned (lr, hr, *more) patches of one image.

    The dihedral symmetry comes last: the 8-bit intermediate of the downscaling makes rows and columns differ, so that
    a transpose before it would change LR pixels.

    Args:
      hr: uint8 `[H, W, 3]`. lr: uint8 `[H // scale, W // scale, 3]`, or None: made from `hr`.
      patch: side of the LR patch. rng: numpy Generator. augment: of SYMMETRIES. more: further images of HR's size.
    """
    h, w = hr.shape[0] // scale, hr.shape[1] // scale
    y, x, state = rng.integers(h - patch + 1), rng.integers(w - patch + 1), rng.integers(8) & SYMMETRIES[augment]
    if lr is None:
        small = lr_crop(hr[: h * scale, : w * scale], y, x, patch, scale)
    else:
        small = lr[y : y + patch, x : x + patch]
    large = (image[y * scale : (y + patch) * scale, x * scale : (x + patch) * scale] for image in (hr, *more))
    return tuple(dihedral(image, state) for image in (small, *large))
