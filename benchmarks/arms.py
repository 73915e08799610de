"""The arms that benchmarks/study.py trains and benchmarks/transforms.py times: words and overrides of a config file."""

from typing import NamedTuple


class Study(NamedTuple):
    """Arms to compare.

    config: file and the words that all arms share. arms: name -> (words, overrides). default: what runs without --arms. against:
    the arm that gains refer to. metrics: columns of kdsr.evaluate. lpips: its --lpips.
    """

    config: str
    arms: dict
    default: list
    against: str
    metrics: tuple = ('psnr_y',)
    lpips: str = ''
    protocol: str = 'y8'


# Weights with which each transform's gradient in the student is as long as that of 10*spatial, as
# `benchmarks/transforms.py --balance` measured it on a student that had trained alone.
WEIGHTS = {
    'spatial': 10.0,
    'channel': 9.0,
    'instance': 9.0,
    'fsp': 0.06,
    'attention': 120.0,
    'fitnet': 0.5,
    'pooled_spatial': 12.0,
    'rbf': 3200.0,
    'mmd': 0.44,
}


def overrides(transform):
    """Values of config.method for one transform alone."""
    values = {'w_affinity': WEIGHTS[transform], 'transforms': transform}
    if transform in ('channel', 'fsp', 'fitnet'):
        values['adapter'] = True  # these compare channels, and the student is narrower
    if transform == 'pooled_spatial':
        values['pool'] = 2
    return values


FAKD = {
    'alone': ('baseline', {}),
    'output': ('output', {}),
    'fakd10': ('', {}),
    'fakd1': ('', {'method.w_affinity': 1.0}),
    **{name: ('', {f'method.{k}': v for k, v in overrides(name).items()}) for name in WEIGHTS},
}
SRGAN = {name: (name, {}) for name in ('baseline', 'gan2g', 'gan2g_al', 'g2g_al', 'gan2gan')}
STUDENTS = ('released', 'readme', 'corrected', 'compact')
ESRGAN = {
    **{name: (f'comparative,{name}', {}) for name in STUDENTS},
    **{f'{name}-gan': (f'adversarial,{name}', {}) for name in STUDENTS},
    'compact-balanced': ('adversarial,compact,balanced', {}),
    'compact-offline': ('offline,compact', {}),
}
DATA_FREE = {
    **{name: (name, {}) for name in ('noise', 'generator', 'random', 'whole', 'released', 'data_kd', 'data')},
    'unbalanced': ('generator', {'method.w_reconstruction': 1.0}),
}
STUDIES = {
    'fakd': Study('experiments/fakd.py:study', FAKD, ['alone', 'output', 'fakd10', 'fakd1'], 'alone'),
    'srgan': Study('experiments/srgan_kd.py:study', SRGAN, list(SRGAN), 'baseline', ('psnr_y', 'ssim_y', 'lpips'), 'alex'),
    'esrgan': Study(
        'experiments/compressed_esrgan.py:study', ESRGAN, list(ESRGAN)[:-1], 'released', ('psnr_y', 'ssim_y', 'lpips'), 'alex'
    ),
    'data_free': Study(
        'experiments/data_free.py:study', DATA_FREE, list(DATA_FREE)[:-2], 'noise', ('psnr_y', 'ssim_y'), protocol='dfsr'
    ),
}
