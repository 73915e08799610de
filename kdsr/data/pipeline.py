"""Batches for training: aligned random crops, LR made on the fly, flips; batch k depends on (seed, k) alone."""

import dataclasses
import functools

import grain
import numpy as np
from absl import logging

from kdsr import metrics
from kdsr.data import benchmarks, degradation_presets, degradations
from kdsr.data.resize import downscale, margin
from kdsr.types import Batch

ENDLESS = 2**62  # examples
CHANNELS = {'rgb': 3, 'y': 1}  # of a batch, by its colour


SYMMETRIES = {'dihedral': 7, 'mirror': 1, 'none': 0}  # the bits of `dihedral` that may be set


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


def crop_pair(hr, lr, scale, patch, rng, augment='dihedral'):
    """Random aligned (lr, hr) patches of one image.

    The dihedral symmetry comes last: the 8-bit intermediate of the downscaling makes rows and columns differ, so that
    a transpose before it would change LR pixels.

    Args:
      hr: uint8 `[H, W, 3]`. lr: uint8 `[H // scale, W // scale, 3]`, or None: made from `hr`.
      patch: side of the LR patch. rng: numpy Generator. augment: of SYMMETRIES.
    """
    h, w = hr.shape[0] // scale, hr.shape[1] // scale
    y, x, state = rng.integers(h - patch + 1), rng.integers(w - patch + 1), rng.integers(8) & SYMMETRIES[augment]
    if lr is None:
        small = lr_crop(hr[: h * scale, : w * scale], y, x, patch, scale)
    else:
        small = lr[y : y + patch, x : x + patch]
    large = hr[y * scale : (y + patch) * scale, x * scale : (x + patch) * scale]
    return dihedral(small, state), dihedral(large, state)


def train_batches(
    source,
    *,
    scale,
    patch,
    batch,
    seed,
    start=0,
    process_index=0,
    process_count=1,
    augment='dihedral',
    degradation=None,
    colour='rgb',
    threads=2,
    prefetch=4,
):
    """Endless iterator of `Batch`, float32 numpy in [0, 1]; `.close()` ends its threads.

    Every pass over the images has a new order. Batch k depends on (source, seed, k) alone, so `start=k` goes on exactly
    where an earlier iterator stood, whatever its threads. Process p of n holds the p-th of n equal parts of the global
    batch: together the processes see what one process would, in the order of `Ctx.example_keys`.

    Args:
      source: sources.Source, or None for methods that read no image: batches of zeros, `[batch, 1, 1, 1]`.
      patch: side of the LR patch, pixels; HR patches are `scale * patch`.
      batch: examples per batch over all processes.
      start: number of batches to skip, at no cost.
      augment: how patches are turned, of SYMMETRIES. degradation: settings of degradations.degrade, which makes LR; None: as above.
      colour: 'rgb', or 'y': Y of BT.601 in [16, 235]/255, not rounded, of the RGB patches.
      threads: how many make batches ahead; 0: the caller's own thread. prefetch: batches kept ready.

    Raises ValueError if `batch` does not divide by `process_count` or no image is large enough.
    """
    if batch % process_count:
        raise ValueError(f'batch {batch} must be a multiple of the {process_count} processes')
    share = batch // process_count
    if source is None:
        return Blank(share)
    source = _large_enough(source, scale * patch)
    count = len(source)

    def example(j):
        k = j // share * batch + process_index * share + j % share  # the global example
        image = _order(count, seed, k // count)[k % count]
        if degradation:
            return turned(degradations.degrade(source.hr(image), degradation, seed, k, patch), seed, k, augment)
        return crop_pair(*source.read(image), scale, patch, np.random.default_rng((seed, 1, k)), augment)

    data = grain.MapDataset.range(ENDLESS).map(example).batch(share, batch_fn=functools.partial(_assemble, colour))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch if threads else 0)
    batches = iter(data.to_iter_dataset(options))
    grain.experimental.set_next_index(batches, start)
    return batches


def turned(pair, seed, number, augment):
    """The (lr, hr) of example `number`, both in the symmetry that it draws; what was done to LR is turned with it."""
    state = np.random.default_rng((seed, 2, number)).integers(8) & SYMMETRIES[augment]
    return tuple(dihedral(image, state) for image in pair)


def degrading(data, scale):
    """The settings of `degradations.degrade` of a data block, None where LR is HR reduced alone; ValueError naming a field."""
    block = dict(data.get('degradation') or {})
    if not block:
        return None
    preset = block.pop('preset', 'realesrgan')
    chosen = degradation_presets.settings({'scale': scale, **block}, preset)
    if chosen['scale'] != scale:
        raise ValueError(
            f'config.data.degradation.scale={chosen["scale"]} and config.scale={scale} must be equal: leave the first out'
        )
    if data.get('colour') == 'y':
        raise ValueError("config.data.degradation makes colour images: config.data.colour must be 'rgb'")
    return chosen


def degraded(source, chosen, side=64):
    """`source` with a degraded crop of each image, always the same: pairs of LR `[side, side, 3]` and HR."""
    pair = functools.lru_cache(maxsize=None)(lambda i: degradations.degrade(source.hr(i), chosen, 0, i, side)[::-1])
    large = side * chosen['scale']
    return dataclasses.replace(source, shapes=((large, large),) * len(source), read=pair, taught=())


@functools.lru_cache(maxsize=8)
def _order(count, seed, round_):
    # Not grain's shuffle(): its index cipher tries again until it hits one of few images, 2 ms per example for 9 of them.
    return np.random.default_rng((seed, 0, round_)).permutation(count).tolist()


class Blank:
    """Endless iterator of batches that hold nothing but their size."""

    def __init__(self, size):
        self.batch = Batch(*np.zeros((2, size, 1, 1, 1), np.float32), {})

    def __iter__(self):
        return self

    def __next__(self):
        return self.batch

    def close(self):
        """As of the other iterators; there is nothing to end."""


def sample_batch(source, *, scale, patch, batch, seed=0):
    """The first batch, for initialising networks."""
    batches = train_batches(source, scale=scale, patch=patch, batch=batch, seed=seed, threads=0)
    first = next(batches)
    batches.close()
    return first


def validation_examples(source, scale, limit=None, smallest=1):
    """Whole images as `benchmarks.Examples`, HR cropped to a multiple of `scale`; `limit` of them, evenly spread.

    Those with a side below `smallest` are left out; a warning names them.
    """
    smallest = max(scale, smallest)
    usable = [i for i, shape in enumerate(source.shapes) if min(shape) >= smallest]
    if len(usable) < len(source):
        small = [name for name, shape in zip(source.names, source.shapes, strict=True) if min(shape) < smallest]
        count = f'{len(small)} of {len(source)} validation images in {source.where}'
        _warn_once(f'{count} are smaller than {smallest}x{smallest} and left out: {", ".join(small)}')
    count = min(limit or len(usable), len(usable))
    chosen = [source.entry(usable[k * len(usable) // count]) for k in range(count)]
    return benchmarks.collect(chosen, scale, downscale, source.where)


def _large_enough(source, size):
    """The images with both sides at least `size`; says how many are not."""
    large = [i for i, shape in enumerate(source.shapes) if min(shape) >= size]
    if not large:
        most = max((min(shape) for shape in source.shapes), default=0)
        raise ValueError(
            f'no image in {source.where} is large enough for HR patches of {size}x{size} '
            f'({len(source)} images, the largest short side is {most}): use a smaller patch or larger images'
        )
    if len(large) < len(source):
        small = len(source) - len(large)
        _warn_once(f'{small} of {len(source)} images in {source.where} are smaller than {size}x{size} and skipped')
    return source.take(large)


@functools.cache
def _warn_once(message):
    logging.warning('%s', message)


def _assemble(colour, pairs):
    """Batch of uint8 pairs: stacked as bytes, converted once."""
    rgb = lambda images: np.divide(images, np.float32(255), dtype=np.float32)
    unit = rgb if colour == 'rgb' else lambda images: np.float32(metrics.rgb_to_y(images) / 255)
    lr, hr = (unit(np.stack(images)) for images in zip(*pairs, strict=True))
    return Batch(lr, hr, {})
