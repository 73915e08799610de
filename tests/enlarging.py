"""A small untrained network and pictures to enlarge."""

import jax
import numpy as np
import tiny
from PIL import Image

from kdsr import models
from kdsr.models import exports

EXTENSIONS = {'.png': 'PNG', '.jpg': 'JPEG', '.webp': 'WEBP', '.tif': 'TIFF'}


def network(path, **args):
    """Writes a small untrained EDSR, x2 by default, as an export and returns its path."""
    args = {'scale': 2, 'features': 4, 'blocks': 1, **args}
    lr, rng = jax.ShapeDtypeStruct((1, 16, 16, 3), np.float32), np.random.default_rng(0)
    shapes = jax.eval_shape(models.build('edsr', **args).init, jax.random.key(0), lr)
    weights = jax.tree.map(lambda s: np.float32(rng.uniform(-0.3, 0.3, s.shape)), shapes)
    exports.save(path, name='edsr', args=args, variables=weights)
    return str(path)


def saved(path, height=12, width=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tiny.picture(height, width, len(path.name))).save(path, EXTENSIONS.get(path.suffix, 'PNG'))
    return path
