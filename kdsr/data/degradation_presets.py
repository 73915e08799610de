"""What degradations draw from: every probability and range a field of a config block, the published values as presets.

Wang et al., Real-ESRGAN, ICCVW 2021, sections 3 and 4.1, and the options that were released with it.
"""

import copy
import math

from kdsr import fields
from kdsr.data import distortions, jpeg, kernels

FAMILIES = dict(zip(kernels.FAMILIES, (0.45, 0.25, 0.12, 0.03, 0.12, 0.03), strict=True))
TORCH_MODES = ('area', 'bilinear', 'bicubic')
FIRST = {
    'blur': 1.0,  # probability
    'kernel_size': (7, 21),  # odd ones
    'sinc': 0.1,  # probability that a blur is a sinc; else one of
    'families': FAMILIES,  # shares
    'sigma': (0.2, 3.0),  # pixels, along each axis
    'angle': (-math.pi, math.pi),
    'generalized_beta': (0.5, 4.0),
    'plateau_beta': (1.0, 2.0),
    'cutoff': math.pi / 5,  # least one of sinc kernels, the most is pi; that of kernels below 13 pixels:
    'small_cutoff': math.pi / 3,
    'up': 0.2,  # probability
    'down': 0.7,  # probability; else the size is kept
    'ratio': (0.15, 1.5),
    'modes': TORCH_MODES,  # equally likely
    'noise': 1.0,  # probability
    'gaussian': 0.5,  # probability that noise is Gaussian; else it is Poisson's
    'gaussian_sigma': (1.0, 30.0),  # grey levels
    'poisson_scale': (0.05, 3.0),
    'grey': 0.4,  # probability that noise is the same in all channels
    'jpeg': 1.0,  # probability
    'quality': (30.0, 95.0),
}
SECOND = FIRST | {
    'blur': 0.8,
    'sigma': (0.2, 1.5),
    'up': 0.3,
    'down': 0.4,
    'ratio': (0.3, 1.2),  # of the LR size
    'gaussian_sigma': (1.0, 25.0),
    'poisson_scale': (0.05, 2.5),
    'jpeg': 0.0,  # it comes last
}
LAST = {
    'modes': TORCH_MODES,
    'sinc': 0.8,  # probability
    'kernel_size': (7, 21),
    'cutoff': math.pi / 3,  # the least
    'jpeg': 1.0,  # probability
    'jpeg_last': 0.5,  # probability that JPEG comes after the resize and the sinc; else before both
    'quality': (30.0, 95.0),
}
REALESRGAN = {
    'scale': 4,
    'canvas': 400,  # HR pixels: least side of the piece that is degraded, of which the crop is a part; 0: as small as can be
    'sharpen': True,  # degrade the sharpened image
    'codec': 'formula',  # of JPEG: theirs, or 'file' for that of files
    'draws': 'example',  # or 'batch': as released, a batch shares what degradations.draw says, and `pool` mixes batches
    'pool': 0,  # of 'batch': pairs that are shuffled together, several batches (theirs reaches as far as 12 do); 0: none
    'first': FIRST,
    'second': SECOND,
    'last': LAST,
}
NOTHING = {'blur': 0.0, 'up': 0.0, 'down': 0.0, 'noise': 0.0, 'jpeg': 0.0}
BICUBIC = {
    **REALESRGAN,
    'canvas': 0,
    'sharpen': False,
    'codec': 'file',
    'first': FIRST | NOTHING,
    'second': SECOND | NOTHING,
    'last': LAST | {'modes': ('matlab',), 'sinc': 0.0, 'jpeg': 0.0, 'jpeg_last': 1.0},
}
PRESETS = {
    'realesrgan': REALESRGAN,
    'bicubic': BICUBIC,
    # The canvas has an LR block of 16 pixels more than a crop of 64, so that blocks begin anywhere in it.
    'jpeg': BICUBIC | {'canvas': 320, 'last': BICUBIC['last'] | {'jpeg': 1.0}},
    # An old photograph, scanned: soft, the grain of the film in the size of LR pixels, the JPEG of the scanner.
    'mild': BICUBIC
    | {
        'canvas': 320,
        'first': BICUBIC['first'] | {'blur': 1.0, 'sinc': 0.0},
        'second': BICUBIC['second']
        | {'modes': ('area', 'matlab'), 'noise': 1.0, 'grey': 0.8, 'gaussian_sigma': (1.0, 12.0), 'poisson_scale': (0.05, 1.2)},
        'last': BICUBIC['last'] | {'jpeg': 1.0, 'quality': (50.0, 95.0)},
    },
}
SHARES = ('blur', 'sinc', 'up', 'down', 'noise', 'gaussian', 'grey', 'jpeg', 'jpeg_last')
RANGES = {f'{part}.{name}': (0.0, 1.0) for part in ('first', 'second', 'last') for name in SHARES}
RANGES |= {f'{part}.families.{name}': (0.0, 1.0) for part in ('first', 'second') for name in kernels.FAMILIES}
RANGES |= {'scale': (1, 64), 'canvas': (0, 1 << 16), 'pool': (0, 1 << 20)}
DRAWS = ('example', 'batch')


def settings(block=None, preset='realesrgan', where='config.data.degradation'):
    """A preset with the fields of `block` in place of its own, nested as it is: {'first': {'sigma': (0.2, 2)}}.

    Raises ValueError naming the first field that is unknown, of the wrong type, or out of range.
    """
    defaults = copy.deepcopy(fields.chosen(f'{where}.preset', preset, PRESETS))
    found = fields.filled(block or {}, defaults, where, RANGES)
    fields.chosen(f'{where}.codec', found['codec'], jpeg.CODECS)
    if fields.chosen(f'{where}.draws', found['draws'], DRAWS) == 'example' and found['pool']:
        raise ValueError(
            f"{where}.pool={found['pool']} mixes batches whose examples share draws, and with draws='example' none do: "
            f"leave it out, or set {where}.draws='batch'"
        )
    for part in ('first', 'second', 'last'):
        for name, value in found[part].items():
            path = f'{where}.{part}.{name}'
            if name == 'modes':
                [fields.chosen(path, mode, distortions.MODES) for mode in value]
            elif isinstance(value, (tuple, list)):
                _check_pair(path, name, value)
    for part in ('first', 'second'):
        if found[part]['up'] + found[part]['down'] > 1:
            raise ValueError(f'{where}.{part}: up and down are probabilities of one draw, together at most 1')
        if not any(found[part]['families'].values()):
            raise ValueError(f'{where}.{part}.families: one share must be above 0')
    return found


def _check_pair(path, name, pair):
    if len(pair) != 2 or not pair[0] <= pair[1]:
        raise ValueError(f'{path}={pair} must be (least, most)')
    least = {'sigma': 0.01, 'angle': -math.inf, 'ratio': 0.01, 'kernel_size': 1, 'quality': 1}.get(name, 0)
    if pair[0] < least:
        raise ValueError(f'{path}={pair} must be at least {least}')
    if name == 'kernel_size' and not all(side % 2 for side in pair):
        raise ValueError(f'{path}={pair} must be odd')
