"""Draws the place of an image where bicubic fails most, side by side: HR, bicubic, teachers, students."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kdsr import evaluate, labels, metrics, models, runs
from kdsr.data import benchmarks, pipeline, sources
from kdsr.models import exports
from kdsr.paths import written

SIDE = 128  # HR pixels of a crop
PANEL, GAP, TEXT = 256, 6, 14  # pixels
PER_LINE = 6


def hardest(lr, hr, scale, side):
    """(top, left, error): the `side` x `side` LR window with the largest mean squared error of bicubic; (0, 0) is the corner.

    Bicubic is no competitor, so that the choice favours none of the runs.

    Args:
      lr: uint8 `[h, w, 3]`. hr: uint8 `[scale * h, scale * w, 3]`. side: LR pixels, at most h and w.
    """
    sr = evaluate.bicubic(scale)(np.float32(lr[None]) / np.float32(255))[0]
    error = np.square(np.clip(sr, 0, 1) - hr / 255).mean(-1)
    cells = error.reshape(lr.shape[0], scale, lr.shape[1], scale).mean((1, 3))
    sums = np.pad(cells.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(windows.argmax(), windows.shape)
    return int(top), int(left), float(windows.max()) / side**2


def upscaled(fn, lr, top, left, side, scale, margin=None):
    """`fn`'s HR pixels of one LR window, float32, as they are in the whole image: made from it and `margin` LR pixels around it.

    The piece has one size for all windows of large images, so that a network compiles once. `margin` is by default as far as the
    network sees (`models.radius`); one that sees everything, and a `fn` that is no network, is given the whole image.
    """
    module = getattr(fn, 'module', None)
    margin = models.radius(module) if margin is None and module else margin
    starts, piece = [], lr[None]
    for axis, at in ((1, top), (2, left)):
        length = piece.shape[axis] if margin is None else min(side + 2 * margin, piece.shape[axis])
        start = min(max(at - (margin or 0), 0), piece.shape[axis] - length)
        piece = np.take(piece, range(start, start + length), axis)
        starts.append(scale * (at - start))
    sr = np.asarray(fn(np.float32(piece) / np.float32(255)))[0]
    return sr[starts[0] : starts[0] + scale * side, starts[1] : starts[1] + scale * side]


def networks(groups, scale, evaluations=()):
    """({label: fn}, reasons): bicubic, each distinct teacher, each group's networks of the lowest seed, what kdsr.evaluate scored.

    Labels are those of the table's rows; reasons tell why others are missing.
    """
    wanted, found, missing = {}, {'bicubic': evaluate.bicubic(scale)}, []
    for run in (run for group in groups for run in group.runs if run.config.get('teacher')):
        wanted[f'teacher {runs.teacher_name(run)}'] = runs.teacher_path(run)
    for group in groups:
        run = (group.finished or group.runs)[0]
        seed = f', seed {run.config["seed"]}'
        wanted[group.label + seed] = exports.student(run.folder) or run.folder
    averaged = {e.label for e in evaluations if e.self_ensemble}
    wanted |= {e.label: e.model for e in evaluations if e.label != 'bicubic' and _has(e, scale)}
    for label, path in wanted.items():
        try:
            if not path:
                raise FileNotFoundError('its file does not tell the model')
            fn = models.load(path, scale=scale)
            found[label] = evaluate.self_ensemble(fn) if label in averaged else fn
        except (FileNotFoundError, ValueError) as e:
            missing.append(f'not in the crops: {label} ({e})')
    return found, missing


def _has(evaluation, scale):
    return any(name.endswith(f'/x{scale}') for name in evaluation.scores)


def rows(groups, evaluations=(), *, data='', images=3, progress=None):
    """What is compared, one row of `panels` per image and scale; none without a network that can be loaded.

    Args:
      groups: kdsr.runs.Group list. evaluations: kdsr.runs.Evaluation list.
      data: benchmark folder; '': the embedded validation photographs. images: how many, those where bicubic fails most.
      progress: called with (done, total).

    Returns: (rows, sentences about what is missing).
    """
    found, missing = [], []
    scales = {group.runs[0].config['scale'] for group in groups}
    scales |= {int(name.rpartition('/x')[2]) for e in evaluations for name in e.scores}
    for scale in sorted(scales):
        fns, reasons = networks([g for g in groups if g.runs[0].config['scale'] == scale], scale, evaluations)
        missing += reasons
        if len(fns) == 1:
            continue
        try:
            candidates = examples(data, scale)
        except FileNotFoundError as e:
            if data:
                raise
            return found, [*missing, f'no crops: {e}']  # the table and the curves need no pictures
        candidates = evaluate.fitting({'crops': candidates}, scale, fns.values())['crops']
        chosen = choose(candidates, scale, images)
        for i, place in enumerate(chosen, 1):
            found.append(panels(fns, scale, *place, aim='teacher' if place[0][0] in candidates.unknown else 'HR'))
            if progress:
                progress(i, len(chosen))
    return found, missing


def examples(data, scale):
    """Images (name, lr, hr) of a benchmark folder, or of the embedded validation photographs."""
    if data:
        return benchmarks.read(data, scale)
    return pipeline.validation_examples(sources.split(sources.embedded())[1], scale)


def choose(candidates, scale, count):
    """[(example, top, left, side)]: the hardest windows of the `count` images that have the hardest."""
    found = []
    for example in candidates:
        side = min(max(SIDE // scale, 1), *example[1].shape[:2])
        top, left, error = hardest(*example[1:], scale, side)
        found.append((error, (example, top, left, side)))
    return [place for _, place in sorted(found, key=lambda item: -item[0])[:count]]


def panels(fns, scale, example, top, left, side, aim='HR'):
    """[(caption, uint8 image)] of one row: where it is, HR (`aim`: what that is), and each network with the window's PSNR (Y).

    The first image fills a panel; all others have the pixels of HR, which `strip` enlarges.
    """
    name, lr, hr = example
    box = [scale * v for v in (left, top, left + side, top + side)]
    crop = hr[box[1] : box[3], box[0] : box[2]]
    row = [(f'{name} x{scale}', _overview(hr, box)), (aim, crop)]
    for label, fn in fns.items():
        sr = upscaled(fn, lr, top, left, side, scale)
        score = metrics.psnr_y(np.float64(sr), crop, 0)
        row.append((f'{labels.shortened(label)}\n{score:.2f} dB', np.uint8(np.round(255 * np.clip(sr, 0, 1)))))
    return row


def sheet(rows, path):
    """Writes rows of (caption, image) as one PNG file, replaced at once; long rows are broken into lines of equal length."""
    bands = []
    for row in rows:
        length = -(-len(row) // -(-len(row) // PER_LINE))
        bands += [strip(row[i : i + length]) for i in range(0, len(row), length)]
        bands.append(Image.new('RGB', (1, 3 * GAP), 'white'))
    whole = Image.new('RGB', (max(b.width for b in bands), sum(b.height for b in bands)), 'white')
    for i, band in enumerate(bands):
        whole.paste(band, (0, sum(b.height for b in bands[:i])))
    with written(path) as part:
        whole.save(part, 'PNG')


def strip(line):
    """One line of (caption, image) as a picture."""
    line = [(caption, _enlarged(picture)) for caption, picture in line]
    font = ImageFont.load_default(TEXT)
    captions = ['\n'.join(w for part in c.split('\n') for w in textwrap.wrap(part, 34)) for c, _ in line]
    room = (TEXT + 4) * max(c.count('\n') + 1 for c in captions) + 6
    whole = Image.new('RGB', (len(line) * (PANEL + GAP) - GAP, room + max(p.shape[0] for _, p in line) + GAP), 'white')
    pen = ImageDraw.Draw(whole)
    for i, (caption, (_, picture)) in enumerate(zip(captions, line, strict=True)):
        pen.text((i * (PANEL + GAP) + 1, room - 4), caption, fill='black', font=font, anchor='ld')
        whole.paste(Image.fromarray(picture), (i * (PANEL + GAP), room))
    return whole


def factor(image):
    """The whole factor by which an image fills a panel."""
    return max(PANEL // max(image.shape[:2]), 1)


def _enlarged(image):
    """Pixels repeated by that factor: nothing is smoothed."""
    return image.repeat(factor(image), 0).repeat(factor(image), 1)


def _overview(hr, box):
    """The image fitted into a panel, the window framed."""
    whole = Image.fromarray(_enlarged(hr))
    whole.thumbnail((PANEL, PANEL), Image.Resampling.LANCZOS)
    ratio = whole.width / hr.shape[1]
    pen = ImageDraw.Draw(whole)
    for width, colour in ((4, 'black'), (2, 'yellow')):
        pen.rectangle([v * ratio for v in box], outline=colour, width=width)
    return np.asarray(whole)
