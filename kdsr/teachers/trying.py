"""How a program wants its pictures: axes, colours and range are tried on a test picture, of which the right ones give a picture.

A network that enlarges gives, reduced again, what it was given; a wrong range or order of axes gives something else.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kdsr.data.resize import imresize
from kdsr.teachers import teacher

TEST = 64  # pixels of the test picture, where the program takes any size
ODD = (65, 33)  # of the one that asks whether it really takes any: rounded up to one of MULTIPLES they are none of the next
MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
NEAR = 0.08  # root mean square, of white: as far as a result may be from the test picture
CLEAR = 1.5  # how many times further away the next layout must be
ALIKE = 0.01  # two layouts whose results differ by less are the same to us
AXES, COLOURS, RANGES = ('nchw', 'nhwc'), ('rgb', 'bgr', 'y'), ('1', '255', '-1')
SAID = {'1': '0..1', '255': '0..255', '-1': '-1..1'}
USAGE = "--layout takes words such as 'nhwc,bgr,255' or 'nchw,rgb,1:255' (range in:out; 1, 255, or -1 for -1..1)"


class Program(NamedTuple):
    """A file that can be run. run: array of `dtype` -> array, raises what its runtime raises; shape: four sides, None the free."""

    run: Callable
    shape: tuple
    dtype: np.dtype


class Layout(NamedTuple):
    """How pictures go in and come out. axes, colour, white, given: of AXES, COLOURS, RANGES (in) and RANGES (out)."""

    axes: str
    colour: str
    white: str
    given: str

    def __str__(self):
        ranges = SAID[self.white] if self.white == self.given else f'{SAID[self.white]} -> {SAID[self.given]}'
        return f'{self.axes.upper()}, {ranges}, {self.colour.upper()}'


class Found(NamedTuple):
    """One layout's result. distance: how far from the test picture; image: `[s*h, s*w, C]`, white 1."""

    layout: Layout
    distance: float
    scale: int
    image: np.ndarray


def recognised(program, words=''):
    """How to use a program: (fn, scale, details, {side, overlap}), as of `teacher.Teacher`.

    Args:
      program: Program. words: what --layout says; what it leaves out is found.

    Raises ValueError where no layout gives a picture, several do, the scale is not a whole number, or the program takes neither
    RGB nor Y.
    """
    size, exact = _size(program.shape)
    found, reasons = [], []
    for layout in _candidates(program, words):
        try:
            found.append(_tried(program, layout, size))
        except ValueError as e:
            reasons.append(str(e))
    if not found:
        raise ValueError(reasons[0])
    best, notes = _best(found)
    raw = lambda x: call(program, best.layout, x)
    multiple = 1 if exact else _multiple(raw, best)
    fn = teacher.fitted(raw, best.scale, multiple, exact)
    fn = teacher.of_luma(fn, best.scale) if best.layout.colour == 'y' else fn
    notes = (*notes, *([f'{exact[0]}x{exact[1]} alone'] if exact else [f'multiples of {multiple}'] if multiple > 1 else []))
    return fn, best.scale, (str(best.layout), np.dtype(program.dtype).name, *notes), teacher.tiles(multiple, exact)


def call(program, layout, x):
    """`program` on float32 `[1, h, w, C]` in [0, 1], RGB or Y -> the same of its result; ValueError with its runtime's reason."""
    x = x[..., ::-1] if layout.colour == 'bgr' else x
    x = {'1': lambda v: v, '255': lambda v: 255 * v, '-1': lambda v: 2 * v - 1}[layout.white](np.float32(x))
    x = np.rint(np.clip(x, 0, 255)) if np.dtype(program.dtype).kind == 'u' else x
    x = x.transpose(0, 3, 1, 2) if layout.axes == 'nchw' else x
    x = np.repeat(x, program.shape[0] or 1, 0)
    try:
        y = np.asarray(program.run(np.ascontiguousarray(x.astype(program.dtype))))
    except Exception as e:  # each runtime has its own
        raise ValueError(f'it cannot be run on a picture [{", ".join(map(str, x.shape))}]: {" ".join(str(e).split())[:200]}') from e
    if y.ndim != 4:
        raise ValueError(f'it gives {list(y.shape)}, which is no picture')
    y = np.float32(y[:1].transpose(0, 2, 3, 1) if layout.axes == 'nchw' else y[:1])
    y = {'1': lambda v: v, '255': lambda v: v / 255, '-1': lambda v: (v + 1) / 2}[layout.given](y)
    return y[..., ::-1] if layout.colour == 'bgr' else y


def sample(height, width, channels=3):
    """A smooth picture `[1, height, width, channels]`, float32 in [0.1, 0.9], whose channels differ in mean and content."""
    y, x = np.mgrid[:height, :width] / 16
    waves = [np.sin(x + y), np.sin(1.7 * x - y / 2 + 1), np.cos(y + x / 3 + 2)]
    planes = [mean + 0.2 * wave for mean, wave in zip((0.7, 0.5, 0.3), waves, strict=True)]
    return np.stack(planes[:channels], -1)[None].astype(np.float32)


def _size(shape):
    if len(shape) != 4:
        raise ValueError(f'its input has {len(shape)} axes, {list(shape)}: pictures have 4')
    if shape[1] in (1, 3) or shape[3] not in (1, 3):
        sides = shape[2:]
    else:
        sides = shape[1:3]
    return tuple(side or TEST for side in sides), tuple(side or TEST for side in sides) if any(sides) else None


def _candidates(program, words):
    asked = [word for word in words.lower().replace(' ', '').split(',') if word]
    axes = [name for name, i in zip(AXES, (1, 3), strict=True) if program.shape[i] in (1, 3)]
    known = axes or (list(AXES) if program.shape[1] is program.shape[3] is None else [])
    if not known:
        raise ValueError(f'its input is {list(program.shape)}, with neither 1 nor 3 channels: teachers of RGB or Y are known')
    whole = np.dtype(program.dtype).kind == 'u'
    found = []
    for name in known:
        channels = program.shape[1 if name == 'nchw' else 3]
        colours = {1: ('y',), 3: ('rgb', 'bgr')}.get(channels, COLOURS)
        ranges = [(a, b) for a in (('255',) if whole else RANGES) for b in RANGES]
        found += [Layout(name, c, *pair) for c, pair in itertools.product(colours, ranges)]
    for word in asked:
        pair = tuple(word.split(':')) if ':' in word else (word, word)
        if word in AXES:
            found = [one for one in found if one.axes == word]
        elif word in COLOURS:
            found = [one for one in found if one.colour == word]
        elif len(pair) == 2 and set(pair) <= set(RANGES):
            found = [one for one in found if (one.white, one.given) == pair]
        else:
            raise ValueError(f"--layout has no '{word}': {USAGE}")
    if not found:
        raise ValueError(f'--layout={words} does not fit its input {list(program.shape)} of {np.dtype(program.dtype).name}')
    return sorted(found, key=lambda one: (one.colour != 'rgb', one.white != one.given, RANGES.index(one.white)))


def _tried(program, layout, size):
    given = sample(*size, 1 if layout.colour == 'y' else 3)
    image = call(program, layout, given)
    scale = _scale(image, given)
    if not np.isfinite(image).all():
        raise ValueError('it gives NaN or infinity on a smooth test picture: the file is damaged, or in half precision by mistake')
    image = image[0]
    reduced = imresize(np.float64(np.clip(image, -1, 2)), 1 / scale) if scale > 1 else image
    cut = np.s_[4:-4, 4:-4]  # borders are each network's own
    return Found(layout, float(np.sqrt(np.mean((reduced[cut] - given[0][cut]) ** 2))), scale, image)


def _scale(image, given):
    rows, columns = (n / m for n, m in zip(image.shape[1:3], given.shape[1:3], strict=True))
    if image.shape[-1] != given.shape[-1]:
        raise ValueError(f'it gives {image.shape[-1]} channels for {given.shape[-1]}')
    if rows != columns or rows != int(rows) or rows < 1:
        sizes = f'{image.shape[1]}x{image.shape[2]} of {given.shape[1]}x{given.shape[2]} pixels'
        raise ValueError(f'it makes {sizes}, which is no enlargement by a whole number')
    return int(rows)


def _best(found):
    """(the right one, notes); ValueError naming the two nearest where it is not clear."""
    nearest = min(found, key=lambda one: one.distance)
    if nearest.distance > NEAR:
        raise ValueError(
            f'no layout gives a picture like the one that goes in (the nearest, {nearest.layout}, is {255 * nearest.distance:.0f} '
            f'levels away): it is no upscaler, or {USAGE}'
        )
    alike = lambda one, other: one.image.shape == other.image.shape and _away(one.image, other.image) < ALIKE
    best = next(one for one in found if alike(one, nearest))
    others = [one for one in found if not alike(one, best)]
    turned = [one for one in others if one.layout._replace(colour='') == best.layout._replace(colour='')]
    rivals = [one for one in others if one not in turned and one.distance < CLEAR * best.distance]
    if rivals:
        far = lambda one: f'{one.layout} ({255 * one.distance:.1f} levels away)'
        raise ValueError(f'{far(best)} and {far(min(rivals, key=lambda r: r.distance))} both give a picture: {USAGE}')
    if best.layout.colour == 'y' or len({one.layout.colour for one in found}) == 1:
        return best, ()
    if turned and CLEAR * best.distance < turned[0].distance:
        return best, ()
    first = next((one for one in turned if one.layout.colour == 'rgb' and one.distance < CLEAR * best.distance), best)
    return first, ('taken for RGB, BGR would do as well (--layout=bgr)',)


def _away(one, other):
    return float(np.sqrt(np.mean((np.clip(one, 0, 1) - np.clip(other, 0, 1)) ** 2)))


def _multiple(raw, best):
    """The least of MULTIPLES that both sides must be of."""
    channels = 1 if best.layout.colour == 'y' else 3
    for multiple in MULTIPLES:
        rows, columns = (-(-side // multiple) * multiple for side in ODD)
        given = sample(rows, columns, channels)
        try:
            image = raw(given)
        except ValueError:
            continue
        if image.shape[1:3] == (best.scale * rows, best.scale * columns) and np.isfinite(image).all():
            return multiple
    raise ValueError(f'it works on pictures of {TEST}x{TEST} and on none of other sizes that were tried')
