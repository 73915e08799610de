"""Small untrained networks that the tests of the exporters write to files."""

import jax
import numpy as np

from kdsr import models
from kdsr.models import exports

# every family, small; x4 but for three
NETWORKS = {
    'edsr': {'features': 8, 'blocks': 2},
    'msrresnet': {'features': 8, 'blocks': 2},
    'rcan': {'features': 8, 'groups': 2, 'blocks': 2, 'reduction': 2, 'scale': 2},
    'rdn': {'features': 8, 'blocks': 2, 'layers': 2, 'growth': 4, 'scale': 3},
    'rrdb': {'features': 8, 'blocks': 1, 'growth': 4},
    'rrdb_gsoc': {'features': 8, 'blocks': 1},
    'rrdb_student': {'features': 8},
    'san': {'features': 8, 'groups': 1, 'blocks': 1, 'reduction': 2, 'scale': 2},
    'srresnet': {'features': 8, 'blocks': 1},
    'srvgg': {'features': 8, 'blocks': 2},
    'vdsr': {'features': 8, 'blocks': 2},
}


def network(path, name, seed=0, **args):
    """Writes an untrained network as an export and returns its path; no weight is zero, and no statistic as at first."""
    args = {**NETWORKS[name], **args}
    net, rng = models.build(name, **args), np.random.default_rng(seed)
    lr = jax.ShapeDtypeStruct((1, 16, 16, net.channels), np.float32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), lr)
    kernel = lambda shape: rng.uniform(-1, 1, shape) * np.prod(shape[:-1]) ** -0.5
    variables = jax.tree.map(
        lambda s: np.float32(kernel(s.shape) if len(s.shape) == 4 else rng.uniform(0.01, 0.1, s.shape)), shapes
    )
    exports.save(path, name=name, args=args, variables=variables)
    return str(path)
