"""Batches for training: aligned random crops, LR made on the fly, flips; batch k depends on (seed, k) alone."""

import dataclasses
import functools

import grain
import numpy as np
from absl import logging

from kdsr import metrics
from kdsr.data import benchmarks, degradation_presets, degradations, examples
from kdsr.data import workers as processes
from kdsr.data.resize import downscale
from kdsr.types import Batch

ENDLESS = 2**62  # batches
CHANNELS = {'rgb': 3, 'y': 1}  # of a batch, by its colour


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
    workers=0,
    prefetch=4,
):
    """Endless iterator of `Batch`, float32 numpy in [0, 1]; `.close()` ends its threads and workers.

    Every pass over the images has a new order. Batch k depends on (source, seed, k) alone, so `start=k` goes on exactly
    where an earlier iterator stood, whatever its threads and workers. Process p of n holds the p-th of n equal parts of the global
    batch: together the processes see what one process would, in the order of `Ctx.example_keys`.

    Args:
      source: sources.Source, or None for methods that read no image: batches of zeros, `[batch, 1, 1, 1]`.
      patch: side of the LR patch, pixels; HR patches are `scale * patch`.
      batch: examples per batch over all processes.
      start: number of batches to skip, at no cost.
      augment: how patches are turned, of examples.SYMMETRIES.
      degradation: settings of degradations.degrade, which makes LR; None: HR is reduced alone.
      colour: 'rgb', or 'y': Y of BT.601 in [16, 235]/255, not rounded, of the RGB patches.
      threads: how many make batches ahead; 0: the caller's own thread.
      workers: how many processes make them instead (kdsr.data.workers); 0: the threads do. prefetch: batches kept ready.

    Raises ValueError if `batch` does not divide by `process_count`, no image is large enough, the pool of the degradation is no
    multiple of `batch`, or `source` cannot be sent to workers. The iterator raises what reading an image does.
    """
    if batch % process_count:
        raise ValueError(f'batch {batch} must be a multiple of the {process_count} processes')
    share = batch // process_count
    if source is None:
        return Blank(share)
    pool = degradation['pool'] if degradation else 0
    if pool % batch or pool == batch:
        raise ValueError(f'config.data.degradation.pool={pool} must be several batches of {batch}: {12 * batch}, or 0')
    source = _large_enough(source, scale * patch)
    kind = {'scale': scale, 'patch': patch, 'augment': augment, 'degradation': degradation, 'seed': seed}
    make = examples.Examples(source.read, len(source), **kind, batch=batch, first=process_index * share, share=share)
    team = processes.Workers(make, workers, f'the source of {source.where}') if workers else None
    called = team or make
    data = grain.MapDataset.range(ENDLESS).map(lambda k: _assemble(colour, *called(k)))
    # With workers a thread does no more than wait for one of them, and turn its bytes into floats.
    threads, ready = (workers, prefetch + workers) if workers else (threads, prefetch if threads else 0)
    batches = iter(data.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ready)))
    grain.experimental.set_next_index(batches, start)
    return Joined(batches, team) if team else batches


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


class Joined:
    """The iterator `batches`, and the workers that make them; `.close()` ends both."""

    def __init__(self, batches, workers):
        self.batches, self.workers = batches, workers

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.batches)

    def close(self):
        """Ends the threads and the processes."""
        self.batches.close()
        self.workers.close()


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


def _assemble(colour, lr, hr, *teacher):
    """Batch of stacked uint8 images: converted once. teacher: the teacher's images, where they are data."""
    rgb = lambda images: np.divide(images, np.float32(255), dtype=np.float32)
    unit = rgb if colour == 'rgb' else lambda images: np.float32(metrics.rgb_to_y(images) / 255)
    return Batch(unit(lr), unit(hr), {'teacher': unit(*teacher)} if teacher else {})
