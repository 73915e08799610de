"""Pictures that kdsr.teach wrote, as training data of three: LR, the truth, and what the teacher made of LR."""

import dataclasses
import functools

from absl import logging

from kdsr.data import cache


def imitated(source, scale, cache_dir=None):
    """A sources.Source of pictures that a teacher made, with `read(i)` -> (truth, LR, the teacher's picture), uint8.

    Where the truth is unknown the teacher's picture stands for it, which is said. The truth is decoded once, as all pictures are.

    Raises ValueError where a picture is no teacher's, its LR of this `scale` is not there, or its truth is broken.
    """
    asked = "config.teacher='taught'"
    if not source.taught or not all(source.taught):
        raise ValueError(f"{asked}: {source.where} holds no teacher's pictures: python -m kdsr.teach TEACHER makes them")
    if lacking := [name for i, name in enumerate(source.names) if source.lr(i) is None]:
        remedy = "set config.scale to the teacher's, which its teacher.json has"
        raise ValueError(f'{asked}: {lacking[0]} in {source.where} has no LR of scale {scale}: {remedy}')
    known = [i for i, one in enumerate(source.taught) if one.truth]
    if missing := len(source) - len(known):
        logging.warning("of %d of %d images the truth is unknown: the teacher's picture stands for it", missing, len(source))
    entries = [_entry(source.names[i], source.taught[i]) for i in known]
    truths = cache.decoded(entries, cache_dir)
    if truths.skipped:
        raise ValueError('{}: the truth cannot be read ({}): make the folder anew'.format(*truths.skipped[0]))
    for i, shape in zip(known, truths.shapes, strict=True):
        if any(n < m for n, m in zip(shape, source.shapes[i], strict=True)):
            raise ValueError(f"{source.names[i]}: the truth {shape} is smaller than the teacher's picture: make the folder anew")
    places = dict(zip(known, range(len(known)), strict=True))
    return dataclasses.replace(source, read=functools.partial(_three, source.read, truths.read, places))


def _entry(name, taught):
    return cache.Entry(name, functools.partial(_alone, taught.truth), taught.origin, taught.stamp)


def _alone(truth):
    return truth(), None


def _three(read, truths, places, i):
    picture, lr = read(i)
    truth = truths(places[i])[0] if i in places else picture
    return truth[: picture.shape[0], : picture.shape[1]], lr, picture
