"""LR images as bad as found ones, by the second-order degradation of Real-ESRGAN: a pure function of (image, seed, number).

    python -m kdsr.data.degradations photo.jpg --out=sheet.png --preset=realesrgan --seed=0

draws 16 degradations of one photograph and tells what was drawn.

Wang et al., Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data, ICCVW 2021: twice blur, resize, noise
and JPEG, then a resize to LR, ringing (sinc) and JPEG. Here everything is drawn for each example. Their code draws once for a batch
what decides the sizes and the order of operations (SHARED below): `draws='batch'` does that, and `pool` mixes the pairs of batches
(kdsr.data.examples.pooled).
"""

import math
from typing import NamedTuple

import numpy as np
from absl import flags
from PIL import Image, ImageDraw

from kdsr.data import distortions, jpeg, kernels, sharpening
from kdsr.data.degradation_presets import PRESETS, settings
from kdsr.data.images import read_rgb
from kdsr.data.resize import margin
from kdsr.paths import written

COLUMNS, PANEL, TEXT, GAP = 4, 256, 50, 6  # pixels of the sheet but for the first


class Order(NamedTuple):
    """What was drawn of one round. kernel: None without a blur. noise: '', 'gaussian' or 'poisson'. quality: None without JPEG."""

    kernel: kernels.Kernel | None
    ratio: float
    mode: str
    noise: str
    amount: float
    grey: bool
    quality: float | None


class Last(NamedTuple):
    """What was drawn of the end. kernel: None without a sinc. quality: None without JPEG."""

    mode: str
    kernel: kernels.Kernel | None
    quality: float | None
    jpeg_last: bool


class Drawn(NamedTuple):
    """All that is drawn of an example besides noise. place: of the canvas in the image, and of the crop in it; parts in [0, 1)."""

    first: Order
    second: Order
    last: Last
    place: tuple


SHARED = ('blur', 'ratio', 'mode', 'noise', 'kind')  # of a round; by `draws='batch'`


def draw(chosen, rng, shared=None):
    """A `Drawn` of the settings `chosen`; `rng` is a numpy Generator.

    shared: a second one, in the same state for all examples of a batch. Of it are then the draws that the released code makes once
    for a batch: whether a round blurs, its resize and its kind of noise; the last resize and the place of the last JPEG; and where
    the crop is in the canvas. Kernels, amounts, qualities, grey or not, and the sinc at the end are each example's.
    """
    first, second, last, place = _all(chosen, rng)
    if shared is not None:
        *rounds, end, crop = _all(chosen, shared)
        first, second = (own | {name: common[name] for name in SHARED} for own, common in zip((first, second), rounds, strict=True))
        last = last._replace(mode=end.mode, jpeg_last=end.jpeg_last)
        place = place[:2] + crop[2:]
    return Drawn(_order(first), _order(second), last, place)


def _all(chosen, rng):
    # The same numbers are drawn whether they are used or not, so that one does not hang on another.
    return _round_of(chosen['first'], rng), _round_of(chosen['second'], rng), _last(chosen['last'], rng), tuple(rng.random(4))


def _round_of(block, rng):
    blur, kernel = rng.random() < block['blur'], kernels.drawn(rng, block)
    resize = rng.random()
    least, most = block['ratio']
    up, down = rng.uniform(1, max(most, 1)), rng.uniform(min(least, 1), 1)
    ratio = up if resize < block['up'] else down if resize < block['up'] + block['down'] else 1.0
    mode = block['modes'][rng.integers(len(block['modes']))]
    noise = rng.random() < block['noise']
    kind = 'gaussian' if rng.random() < block['gaussian'] else 'poisson'
    amounts = {'gaussian': rng.uniform(*block['gaussian_sigma']), 'poisson': rng.uniform(*block['poisson_scale'])}
    grey, jpeg, quality = rng.random() < block['grey'], rng.random() < block['jpeg'], rng.uniform(*block['quality'])
    drawn = {'blur': blur, 'kernel': kernel, 'ratio': ratio, 'mode': mode, 'noise': noise, 'kind': kind, 'amounts': amounts}
    return {**drawn, 'grey': bool(grey), 'quality': quality if jpeg else None}


def _order(drawn):
    kernel, kind = drawn['kernel'] if drawn['blur'] else None, drawn['kind']
    noise = kind if drawn['noise'] else ''
    return Order(kernel, drawn['ratio'], drawn['mode'], noise, drawn['amounts'][kind], drawn['grey'], drawn['quality'])


def _last(block, rng):
    mode = block['modes'][rng.integers(len(block['modes']))]
    least, most = block['kernel_size']
    size, cutoff = int(least + 2 * rng.integers((most - least) // 2 + 1)), rng.uniform(block['cutoff'], math.pi)
    sinc, jpeg, jpeg_last = (rng.random() < block[name] for name in ('sinc', 'jpeg', 'jpeg_last'))
    quality = rng.uniform(*block['quality'])
    return Last(mode, kernels.Kernel('sinc', size, cutoff=cutoff) if sinc else None, quality if jpeg else None, bool(jpeg_last))


def generator(seed, number):
    """The numpy Generator of example `number`."""
    return np.random.default_rng(np.random.SeedSequence((seed, number)))


def degrade(hr, chosen, seed, number, lr_side, batch=None):
    """Example `number`: a random crop of `hr` and what became of it.

    The same arguments draw the same numbers on any machine; the same pixels too, but for the last bit of the libraries' sums.

    Args:
      hr: uint8 `[H, W, 3]`; one smaller than the canvas is mirrored beyond its borders. chosen: of `settings`.
      seed, number: whole numbers from 0. lr_side: LR pixels.
      batch: number of the batch with which the example shares draws where `draws='batch'`; None: it shares none.

    Returns: (lr uint8 `[lr_side, lr_side, 3]`, hr uint8 `[scale * lr_side, scale * lr_side, 3]`), not sharpened.
    """
    rng = generator(seed, number)
    together = chosen['draws'] == 'batch' and batch is not None
    drawn = draw(chosen, rng, np.random.default_rng((seed, 3, batch)) if together else None)
    scale = chosen['scale']
    side = max(chosen['canvas'] // scale, lr_side + (0 if chosen['canvas'] else 2 * margin(scale) // scale))  # LR pixels
    canvas = _canvas(hr, side * scale, drawn.place[:2])
    y, x = (int(part * (side - lr_side + 1)) for part in drawn.place[2:])
    lr = distortions.picture(_degraded(distortions.planes(canvas), drawn, side, chosen, rng))
    large = canvas[y * scale : (y + lr_side) * scale, x * scale : (x + lr_side) * scale]
    return np.ascontiguousarray(lr[y : y + lr_side, x : x + lr_side]), np.ascontiguousarray(large)


def _canvas(hr, side, place):
    top, left = (int(part * (max(n - side, 0) + 1)) for part, n in zip(place, hr.shape, strict=False))
    piece = hr[top : top + side, left : left + side]
    rows, columns = (kernels.mirrored(np.arange(side), n) for n in piece.shape[:2])
    return piece if piece.shape[:2] == (side, side) else piece[rows][:, columns]


def _degraded(image, drawn, side, chosen, rng):
    """float32 `[3, H, H]` -> `[3, side, side]`, in grey levels and not rounded."""
    codec = jpeg.CODECS[chosen['codec']]
    image = sharpening.sharpened(image) if chosen['sharpen'] else image
    ratio = drawn.first.ratio
    image = _round(image, drawn.first, int(image.shape[1] * ratio) or 1, ratio, codec, rng)
    second, last = drawn.second, drawn.last
    if second.kernel or second.ratio != 1 or second.noise or second.quality:
        # It starts from the LR size, whatever the first one made of the image.
        image = _round(image, second, int(side * second.ratio) or 1, None, codec, rng)
    if last.quality and not last.jpeg_last:
        image = codec(image, last.quality)
    image = distortions.resized(image, (side, side), last.mode)
    image = kernels.blurred(image, kernels.values(last.kernel)) if last.kernel else image
    return codec(image, last.quality) if last.quality and last.jpeg_last else image


def _round(image, order, side, ratio, codec, rng):
    if order.kernel:
        image = kernels.blurred(image, kernels.values(order.kernel))
    image = distortions.resized(image, (side, side), order.mode, ratio)
    if order.noise == 'gaussian':
        image = distortions.with_gaussian_noise(image, order.amount, order.grey, rng)
    elif order.noise == 'poisson':
        image = distortions.with_poisson_noise(image, order.amount, order.grey, rng)
    return codec(image, order.quality) if order.quality else image


def caption(drawn):
    """What was drawn, in three short lines: the two rounds and the end."""
    lines = []
    for order in (drawn.first, drawn.second):
        noise = f'{order.noise[:5]} {order.amount:.1f}{" grey" * order.grey}' if order.noise else ''
        size = f'x{order.ratio:.2f} {order.mode}' if order.ratio != 1 else ''
        parts = [str(order.kernel or ''), size, noise, f'q{order.quality:.0f}' if order.quality else '']
        lines.append(', '.join(filter(None, parts)) or '-')
    last = drawn.last
    parts = [last.mode + (f', {last.kernel}' if last.kernel else ''), f'q{last.quality:.0f}' if last.quality else '']
    return '\n'.join([*lines, ', '.join(filter(None, parts if last.jpeg_last else parts[::-1]))])


def sheet(hr, chosen, seed, count=16, lr_side=64):
    """A picture of `count` degradations of `hr`, LR pixels enlarged to be seen, each below its caption."""
    rows = -(-count // COLUMNS)
    whole = Image.new('RGB', (COLUMNS * (PANEL + GAP), rows * (PANEL + TEXT + GAP)), 'white')
    pen = ImageDraw.Draw(whole)
    for number in range(count):
        lr, _ = degrade(hr, chosen, seed, number, lr_side)
        at = number % COLUMNS * (PANEL + GAP), number // COLUMNS * (PANEL + TEXT + GAP)
        whole.paste(Image.fromarray(lr).resize((PANEL, PANEL), Image.Resampling.NEAREST), (at[0], at[1] + TEXT))
        pen.text((at[0] + 2, at[1] + 2), caption(draw(chosen, generator(seed, number))), fill='black')
    return whole


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_string('out', None, 'PNG file for the sheet', required=True)
    flags.DEFINE_enum('preset', 'realesrgan', list(PRESETS), 'what to draw from')
    flags.DEFINE_integer('seed', 0, 'of the draws', lower_bound=0)


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    if len(argv) != 2:
        raise ValueError(f'give one PHOTO, not {len(argv) - 1}: python -m kdsr.data.degradations PHOTO --out=sheet.png')
    picture = sheet(read_rgb(argv[1]), settings(preset=flag.preset), flag.seed)
    with written(flag.out) as part:
        picture.save(part, 'PNG')
    print(f'16 degradations of {argv[1]} ({flag.preset}, seed {flag.seed}): {flag.out}')


if __name__ == '__main__':
    from kdsr import commands

    define_flags()
    commands.run(main, arguments=True)
