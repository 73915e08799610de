"""kdsr's own networks as teachers."""

from kdsr import models, tiling
from kdsr.models import exports
from kdsr.teachers.teacher import Teacher


def opened(path, scale=None):
    """The Teacher of an export, a run or a shipped model; errors as of `models.load`."""
    network = models.load(path, scale=scale)
    return teacher(path, network, f'{network.card["model"]}', network.card['sha256'])


def teacher(name, network, what, digest):
    """The Teacher of an `exports.Upscaler`; ValueError where it takes other pictures than RGB or Y of any size."""
    models.require_any_picture(name, network)
    count = sum(v.size for k, v in exports.flatten(network.variables).items() if k.startswith('params/'))
    details = ('0..1', 'Y' if network.module.channels == 1 else 'RGB', f'{count:,} parameters')
    overlap = tiling.overlapping(models.radius(network.module))
    return Teacher(name, what, network.scale, network, details, digest, overlap=overlap)
