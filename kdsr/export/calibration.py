"""Pictures that an integer network's ranges are set by, and what integers cost in PSNR."""

import numpy as np

from kdsr import console, evaluate, tiling
from kdsr.data import benchmarks, sources
from kdsr.export import program

MOST = 32  # pictures to calibrate by, spread evenly over the folder: TensorFlow takes some seconds for each


def sets(options, made, flag):
    """(examples to calibrate by, {name: examples} to compare on: those of --benchmarks, else the same).

    Raises ValueError for a network that takes no RGB pictures; flag: where int8 was asked for.
    """
    if made.channels != 3:
        raise ValueError(f'int8 is calibrated by RGB pictures, the network takes {made.channels} channels: leave it out of {flag}')
    examples, scale = read(options.calibration, made.scale), made.scale
    name = benchmarks.set_name(options.calibration) if options.calibration else 'embedded'
    compared = benchmarks.sets(options.benchmarks, scale) or {name: examples}
    return examples, {name: evaluate.scorable(found, scale, name) for name, found in compared.items()}


def told(options, pictures):
    """What a card says of the calibration."""
    return {'calibration': {'from': options.calibration or 'embedded photographs', 'pictures': len(pictures)}}


def read(folder, scale):
    """Pairs of LR and HR (`benchmarks.Example`) of a folder as of `benchmarks.read`, of the embedded photographs if it is ''."""
    if folder:
        return benchmarks.read(folder, scale)
    source = sources.embedded()
    return benchmarks.collect([source.entry(i) for i in range(len(source))], scale, benchmarks.lowered, source.where)


def inputs(examples, size):
    """The LR pictures as float32 `[1, rows, columns, 3]` in [0, 1]; smaller ones go on by reflection, of larger ones the middle.

    The first has a black and a white corner, so that the ranges of what goes in and comes out are those of bytes.
    """
    chosen = [examples[i * len(examples) // min(MOST, len(examples))] for i in range(min(MOST, len(examples)))]
    pictures = [program.filled(_middle(example.lr, size), size)[None] / np.float32(255) for example in chosen]
    rows, columns = (side // 4 for side in size)
    pictures[0][0, :rows, :columns], pictures[0][0, -rows:, -columns:] = 0, 1
    return pictures


def _middle(image, size):
    top, left = (max(0, have - want) // 2 for have, want in zip(image.shape[:2], size, strict=True))
    return image[top : top + size[0], left : left + size[1]]


def anywhere(fn, size, scale):
    """`fn`, which takes `[1, *size, C]` only, for pictures of any size: overlapping windows, smaller pictures reflected."""
    overlaps = [min(16, (side - 1) // 4) for side in size]

    def whole(lr):
        height, width = lr.shape[1:3]
        padded = program.filled(np.asarray(lr[0]), [max(side, have) for side, have in zip(size, (height, width), strict=True)])
        sr = np.empty((1, scale * height, scale * width, lr.shape[-1]), np.float32)
        for top, first, last in tiling.cuts(height, size[0], overlaps[0]):
            for left, begin, end in tiling.cuts(width, size[1], overlaps[1]):
                window = fn(padded[None, top : top + size[0], left : left + size[1]])[0]
                inside = window[scale * (first - top) : scale * (last - top), scale * (begin - left) : scale * (end - left)]
                sr[0, scale * first : scale * last, scale * begin : scale * end] = inside
        return sr

    return whole


def cost(fn, quantised, made, sets):
    """What a quantised network loses: {'Set14/x4': {'float32': mean PSNR-Y, 'int8': ..., 'drop': ..., 'pictures': ...}}.

    fn, quantised: `[1, *size, 3] -> [1, s * rows, s * columns, 3]` in [0, 1]; both see the same windows of the pictures.
    sets: {name: examples}. PSNR by the protocol y8 of `evaluate`.
    """
    networks = {kind: anywhere(network, made.size, made.scale) for kind, network in (('float32', fn), ('int8', quantised))}
    found = {}
    for name, examples in sets.items():
        psnr = {}
        for kind, network in networks.items():
            show = console.progress(f'PSNR of {kind} on {name}')
            psnr[kind] = evaluate.psnr_of(evaluate.score(network, examples, made.scale, progress=show))
        found[f'{name}/x{made.scale}'] = {**psnr, 'drop': psnr['float32'] - psnr['int8'], 'pictures': len(examples)}
    return found
