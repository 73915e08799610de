"""Weights of other projects: readers of their formats, and one file per model that brings names and layouts to the house's.

A model's file has `convert(tensors) -> Converted`, and `network(args) -> (module, example input)` unless it is a generator.
`card(args)`, where it has one, is what the export's card says besides; `kin(tensors)` another model that its name is used for.
"""

import importlib
import importlib.util
import re
from typing import Any, NamedTuple

from kdsr.fields import meant

MODELS = {  # and what their files are known as
    'discriminator_srgan': "the discriminator of krasserm's SRGAN",
    'discriminator_stylegan': "the discriminator of GCFSR (StyleGAN2's without deviations of a minibatch)",
    'edsr': 'EDSR',
    'gcfsr': 'GCFSR',
    'inception_fid': "FID's InceptionV3",
    'msrresnet': 'SRResNet of BasicSR (MSRResNet)',
    'rcan': 'RCAN',
    'rdn': 'RDN',
    'rrdb': 'RRDBNet (ESRGAN, Real-ESRGAN)',
    'san': 'SAN',
    'srresnet': 'SRResNet (SRGAN)',
    'srvgg': 'SRVGGNetCompact',
    'vdsr': 'VDSR',
    'vgg': 'VGG',
}
# networks whose files are met often, and that kdsr.models has not: a pattern that a name begins with, and what they are
UNSUPPORTED = (
    (r'residual\.\d+\.in1\.', "twtygqyy's SRResNet, which has instance normalisation"),
    (r'res_blocks\.\d+\.conv_block\.', "PyTorch-GAN's SRGAN, whose colours are ImageNet's on both sides"),
    (r'(?:model\.)?1\.sub\.\d+\.res\.', "BasicSR's SRResNet of 2018, which has a chain of its own"),
    (r'layers\.\d+\.residual_group\.(?:blocks|layers)\.', 'a transformer (SwinIR, HAT)'),
)


class Unreadable(ValueError):
    """A file that is whole, but holds no weights that can be taken; the message says why, and what to do."""


class Weights(NamedTuple):
    """What a file holds: {name: array}, the wrapper such as 'params_ema' that was taken or '', those that were not."""

    arrays: dict[str, Any]
    taken: str = ''
    others: tuple[str, ...] = ()


class Converted(NamedTuple):
    """One network's weights in the house's form.

    args: fields of the model, read off the shapes. variables: {'params/head/kernel': array, ...}, convolutions HWIO.
    assumed: those of `args` that a file cannot tell, set to what was published.
    """

    args: dict[str, Any]
    variables: dict[str, Any]
    assumed: tuple[str, ...] = ()


def model(name):
    """The module that converts weights of this model; ValueError, with a suggestion, where there is none."""
    found = isinstance(name, str) and name.isidentifier() and importlib.util.find_spec(f'{__name__}.{name}')
    module = importlib.import_module(f'{__name__}.{name}') if found else None
    if not hasattr(module, 'convert'):
        raise ValueError(f'no conversion for a model {name!r}{meant(name, MODELS)}; models: {", ".join(MODELS)}')
    return module


def unsupported(tensors):
    """'; this looks like ...' where the names are those of a network that is not supported, else ''."""
    seen = next((what for pattern, what in UNSUPPORTED if any(re.match(pattern, key) for key in tensors)), '')
    return f'; this looks like {seen}: there is no such model in kdsr' if seen else ''
