"""Whole images of any size through a network in bounded memory: overlapping tiles, results as bands of rows."""

import math

import numpy as np

from kdsr.data.resize import imresize

SIDE = 256  # LR pixels of a tile, both ways: an EDSR of 64 features takes 0.6 GB for one
# LR pixels; what a network reads further away is left out. RRDBNet-23 reads 349 px: its tiles of 192 px differ from the whole
# by 1 of 255 levels at most with RealSR's weights, by 4 with Real-ESRGAN's x4plus (2.3 % of the bytes differ).
OVERLAP = 48
BAND = 2**28  # bytes: a band of a very wide picture has fewer rows
PIECE = 16  # rows that are resized together


def overlapping(radius):
    """By how many LR pixels tiles overlap, of a network that sees so far (`models.radius`; None: everything)."""
    return OVERLAP if radius is None else min(radius, OVERLAP)


def upscale(fn, image, *, scale, side=SIDE, overlap=OVERLAP, size=None, progress=None):
    """The upscaled image as one array, `[H, W]` or `[H, W, C]` as `image` is and of its dtype; arguments as of `bands`."""
    image = np.asarray(image)
    blocks = bands(fn, image, scale=scale, side=side, overlap=overlap, size=size, progress=progress)
    return np.concatenate(list(blocks)).reshape(*(size or (image.shape[0] * scale, image.shape[1] * scale)), *image.shape[2:])


def bands(fn, image, *, scale, side=SIDE, overlap=OVERLAP, size=None, dtype=None, progress=None):
    """The upscaled image as bands of rows `[rows, W, C]`, top to bottom; only one band and one tile are held at a time.

    Tiles overlap by `overlap` on each side and lie wholly inside the image, so that a network which reads no further gives what
    it would give for the whole image. Networks are compiled for a shape: an image of at least `side` both ways has one, unless
    it is so wide that a band would exceed `BAND` bytes; one that is smaller in a dimension has its own size there.

    Args:
      fn: `[1, h, w, 3]` in [0, 1] -> `[1, s*h, s*w, 3]`, e.g. `models.load(export)`. Grey and alpha go through it as grey
        pictures, each by itself; an alpha that is constant stays as it is. Colours go through it as `covered` makes them.
      image: `[H, W]` or `[H, W, C]` of 1 to 4 channels (grey, grey + alpha, RGB, RGBA); uint8, uint16, or floats in [0, 1].
      scale: s, that of `fn`.
      side: of a tile, LR pixels.
      overlap: LR pixels; the receptive field's radius (`models.radius`) is enough.
      size: (rows, columns) of the result; by default s times those of the image, else resized as by `imresize`.
      dtype: of the bands; default as of the image. Integers are clipped and rounded, floats are not.
      progress: called with (tiles done, tiles in all).

    Raises:
      ValueError: another dtype or number of channels, an empty image, or tiles that are not larger than their overlap.
      FloatingPointError: the network gave NaN or infinity.
    """
    image, dtype = _checked(image), np.dtype(dtype or image.dtype)
    height, width, channels = image.shape
    size = size or (scale * height, scale * width)
    alpha = image[..., -1:] if channels in (2, 4) else None
    if alpha is not None and alpha.min() == alpha.max():
        value = finish(_unit(alpha[:1, :1]), dtype)
        options = {'scale': scale, 'side': side, 'overlap': overlap, 'size': size, 'dtype': dtype, 'progress': progress}
        for band in bands(fn, image[..., :-1], **options):
            yield np.concatenate([band, np.broadcast_to(value, (*band.shape[:2], 1))], -1)
        return
    if alpha is not None:
        image = covered(image)
    if size == (scale * height, scale * width):
        yield from _enlarged(fn, image, scale, side, overlap, dtype, progress)
    else:
        blocks = _enlarged(fn, image, scale, side, overlap, np.dtype(np.float32), progress)
        for band in resized(blocks, (scale * height, scale * width), size):
            yield finish(band, dtype)


def covered(image):
    """A copy of an image with alpha in which the colours of what is not seen are those of what is seen around it.

    A network mixes the colours of neighbours, whatever their alpha: black under transparent pixels would darken the edge of what
    lies on them. So a pixel's colour goes over to that of its surroundings, which is weighted by alpha, by as much as its alpha
    is below the largest of the 3x3 pixels about it: none where alpha is the same all around, all the way where it is 0.

    Args:
      image: `[H, W, 2]` or `[H, W, 4]` as of `bands`, alpha last, not 0 everywhere.

    References: Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4 (pull-push).
    """
    height, width, _ = image.shape
    largest = _unit(image[..., -1].max())
    sums = np.empty(((height + 1) // 2, (width + 1) // 2, image.shape[-1]), np.float32)
    for y in range(0, height, PIECE):
        sums[y // 2 : (y + PIECE) // 2] = _halved(_weighted(_unit(image[y : y + PIECE]), largest))
    around = _pulled(sums)
    del sums
    out = image.copy()
    for y in range(0, height, PIECE):
        part = _unit(image[y : y + PIECE])
        colours, alpha = part[..., :-1], part[..., -1:]
        near = image[np.arange(y - 1, y + len(part) + 1).clip(0, height - 1), :, -1]
        near = np.maximum.reduce([near[:-2], near[1:-1], near[2:]])
        near = np.pad(near, ((0, 0), (1, 1)), 'edge')
        near = _unit(np.maximum.reduce([near[:, :-2], near[:, 1:-1], near[:, 2:]]))[..., None]
        seen = alpha / np.where(near > 0, near, 1)
        half = around[np.arange(y // 2 - 1, (y + len(part) + 1) // 2 + 1).clip(0, len(around) - 1)]
        rest = _doubled(half)[2 : 2 + len(part), :width]
        out[y : y + PIECE, :, :-1] = finish(seen * colours + (1 - seen) * rest, image.dtype)
    return out


def _weighted(part, largest):
    alpha = part[..., -1:] / largest
    return np.concatenate([part[..., :-1] * alpha, alpha], -1)


def _halved(sums):
    """`[h, w, C]` -> the sums of its squares of 2x2, `[h/2, w/2, C]` rounded up."""
    height, width, channels = sums.shape
    sums = np.pad(sums, ((0, height % 2), (0, width % 2), (0, 0)))
    return sums.reshape(sums.shape[0] // 2, 2, sums.shape[1] // 2, 2, channels).sum((1, 3))


def _pulled(sums):
    """Sums `[h, w, C + 1]` of colours times alpha, and of alpha -> colours `[h, w, C]`, wider means where there is no alpha."""
    height, width, _ = sums.shape
    alpha = sums[..., -1:]
    trust = np.minimum(alpha, 1)
    if height == width == 1:
        return sums[..., :-1] / alpha
    around = _doubled(_pulled(_halved(sums)))[:height, :width]
    around *= 1 - trust
    for y in range(0, height, PIECE):  # the mean times the trust
        rows = slice(y, y + PIECE)
        around[rows] += sums[rows, :, :-1] * (trust[rows] / np.where(alpha[rows] > 0, alpha[rows], 1))
    return around


def _doubled(image):
    """Twice the size, linearly."""
    for axis in (0, 1):
        place = np.arange(2 * image.shape[axis])
        beside = (place // 2 + place % 2 * 2 - 1).clip(0, image.shape[axis] - 1)
        image, other = np.take(image, place // 2, axis), np.take(image, beside, axis)
        image *= 0.75
        other *= 0.25
        image += other
    return image


def cuts(length, side, overlap):
    """The tiles along one side of an image: [(start, first, last)].

    The tile [start, start + side) gives the pixels [first, last), which are `overlap` or more away from those of its ends that
    are not the image's. Tiles are spread evenly; a `length` up to `side` is one tile of its own size.

    Raises ValueError for tiles that are not larger than their overlap.
    """
    if length <= side:
        return [(0, 0, length)]
    step = side - 2 * overlap
    if step < 1:
        raise ValueError(
            f'tiles of {side} px that overlap by {overlap} px on each side have no middle: use {2 * overlap + 16} or more '
            f'({2 * overlap + 1} is the smallest tile of this network)'
        )
    count = -(-(length - 2 * overlap) // step)
    starts = [i * (length - side) // (count - 1) for i in range(count)]
    borders = [0, *((left + right + side) // 2 for left, right in zip(starts, starts[1:], strict=False)), length]
    return list(zip(starts, borders, borders[1:], strict=False))


def resized(blocks, source, size):
    """Bands of an image of `source` = (rows, columns) -> bands of the image resized to `size`, as `imresize(.., None, size=size)`.

    Floats `[rows, W, C]` in, float32 out. Holds as many rows of the source as the kernel reads, and `PIECE` more.
    """
    (height, _), (rows, columns) = source, size
    wide = max(1, height / rows)
    held = math.ceil(4 * wide) + 3 + PIECE  # more than the source's rows that one row of the result reads
    # The rows lie in a ring; row j's weight stands in column j % held, so that the result is a product with the ring.
    weights = imresize(np.eye(held)[np.arange(height) % held], None, size=(rows, held)).astype(np.float32)
    last = np.floor((np.arange(rows) + 0.5) * height / rows - 0.5 + 2 * wide).clip(max=height - 1)
    ring, y, done = None, 0, 0
    for block in blocks:
        for part in (block[i : i + PIECE] for i in range(0, len(block), PIECE)):
            part = imresize(part, None, size=(len(part), columns))
            ring = np.zeros((held, part[0].size), np.float32) if ring is None else ring
            ring[np.arange(y, y + len(part)) % held] = part.reshape(len(part), -1)
            y += len(part)
            ready = int(np.searchsorted(last, y))  # the rows of the result whose last source row is there
            if ready > done:
                yield (weights[done:ready] @ ring).reshape(-1, *part.shape[1:])
            done = ready


def finish(image, dtype):
    """Floats in [0, 1] as `dtype`: integers clipped and rounded half up, floats as they are."""
    if dtype.kind == 'f':
        return image.astype(dtype)
    white = np.float32(np.iinfo(dtype).max)
    return (np.clip(image, 0, 1) * white + np.float32(0.5)).astype(dtype)


def _enlarged(fn, image, scale, side, overlap, dtype, progress):
    height, width, channels = image.shape
    most = max(16, BAND // (scale**2 * width * channels * dtype.itemsize))
    lower = min(side, most + 2 * overlap)
    rows, columns = cuts(height, lower, overlap), cuts(width, side, overlap)
    done = 0
    for top, first, last in rows:
        band = np.empty((scale * (last - first), scale * width, channels), dtype)
        for left, begin, end in columns:
            sr = _planes(fn, _unit(image[None, top : top + lower, left : left + side]))[0]
            inside = sr[scale * (first - top) : scale * (last - top), scale * (begin - left) : scale * (end - left)]
            if not np.isfinite(inside).all():
                raise FloatingPointError('the network gives NaN or infinity here: use --dtype=float32')
            band[:, scale * begin : scale * end] = finish(inside, dtype)
            done += 1
            if progress:
                progress(done, len(rows) * len(columns))
        yield band


def _planes(fn, x):
    """`fn` on a tile `[1, h, w, C]` of 1 to 4 channels."""
    grey = lambda plane: np.asarray(fn(np.repeat(plane, 3, -1))).mean(-1, keepdims=True)
    colours = grey(x[..., :1]) if x.shape[-1] < 3 else np.asarray(fn(x[..., :3]))
    return np.concatenate([colours, grey(x[..., -1:])], -1) if x.shape[-1] in (2, 4) else colours


def _unit(x):
    return x.astype(np.float32) / np.float32(np.iinfo(x.dtype).max if x.dtype.kind == 'u' else 1)


def _checked(image):
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3 or not 1 <= image.shape[-1] <= 4 or image.size == 0:
        raise ValueError(f'expected an image [H, W] or [H, W, 1 to 4], got {image.shape}')
    if image.dtype not in (np.uint8, np.uint16) and image.dtype.kind != 'f':
        raise ValueError(f'expected uint8, uint16 or floats in [0, 1], got {image.dtype}: convert it first')
    return image
