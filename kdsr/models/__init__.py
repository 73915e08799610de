"""Networks by name: `build('edsr', scale=4)` makes the `Generator` of kdsr/models/edsr.py.

A network is a module with a linen class called `Generator` (LR images to HR images), `Discriminator` or `Network`, which returns
`(output, taps)`. Beside it the module may have `example(**fields)`, what its call takes as a tuple of `jax.ShapeDtypeStruct`: a
generator without one takes LR images of any size, one with it those of that size alone.
"""

import dataclasses
import importlib
import inspect
import os
import sys
import typing

import jax
import jax.numpy as jnp

from kdsr import named
from kdsr.fields import meant
from kdsr.models import exports

GENERATORS = ('edsr', 'gcfsr', 'msrresnet', 'rcan', 'rdn', 'rrdb', 'rrdb_gsoc', 'rrdb_student', 'san', 'srresnet', 'srvgg', 'vdsr')
KINDS = ('Generator', 'Discriminator', 'Network')  # what a network's class is called
DISCRIMINATORS = ('discriminator_esrgan', 'discriminator_srgan', 'discriminator_stylegan', 'discriminator_unet')
DTYPES = ('float32', 'bfloat16', 'float16', 'float64')


def names():
    """Names of the generators that `build` knows, sorted. A module of your own in kdsr/models is found as well."""
    return GENERATORS


def build(name, /, **kwargs):
    """An untrained network, a `flax.linen.Module`, e.g. a generator: `(image, taps) = net.apply({'params': ...}, lr)`.

    Args:
      name: module name below kdsr.models, e.g. 'edsr', or the dotted name of a module of your own, 'mypkg.net'.
      **kwargs: the model's fields, e.g. `scale=4, features=64`; what is left out keeps the default.

    Raises:
      ValueError: unknown name or field, or a value of the wrong type; the line names what is allowed.
    """
    return made(name, network_class(name), kwargs)


def build_in(dtype, name, /, **kwargs):
    """`build`, computing in `dtype` if the network has that field."""
    own = network_fields(network_class(name))
    return build(name, **kwargs, **({'dtype': dtype} if 'dtype' in own and 'dtype' not in kwargs else {}))


def made(name, network, kwargs):
    """`network(**kwargs)`, a linen module that messages call `name`; ValueError as `build`'s."""
    fields = network_fields(network)
    for key, value in kwargs.items():
        if key not in fields:
            raise ValueError(f'{name} has no field {key!r}{meant(key, fields)}; its fields: {", ".join(fields)}')
        _check(name, key, value, fields[key])
    # a card holds lists; a linen module that is compared and hashed wants tuples
    return network(**{k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()})


def network_fields(network):
    """{field: type} of a linen module's class."""
    return {f.name: f.type for f in dataclasses.fields(network) if f.name not in ('parent', 'name')}


def network_class(name):
    """The linen class of the network called `name`, see `build`."""
    loaded = module(name)
    return next(getattr(loaded, kind) for kind in KINDS if hasattr(loaded, kind))


def fields_of(net):
    """{field: value} of a linen module."""
    return {name: getattr(net, name) for name in network_fields(type(net))}


def example(net):
    """What the call of `net` takes, a tuple of `jax.ShapeDtypeStruct`: its module's `example(**fields)`, or one 16x16 LR image.

    Raises ValueError for a network that is no generator and has no `example`.
    """
    own = getattr(importlib.import_module(type(net).__module__), 'example', None)
    if own:
        return tuple(own(**fields_of(net)))
    if not hasattr(net, 'channels'):
        raise ValueError(f'{type(net).__module__} must have example(**fields), what its network takes: it has no field channels')
    return (jax.ShapeDtypeStruct((1, 16, 16, net.channels), jnp.float32),)


def only_size(generator):
    """(rows, columns) of the LR images that a generator takes, None where they may have any size."""
    own = hasattr(importlib.import_module(type(generator).__module__), 'example')
    return example(generator)[0].shape[1:3] if own else None


def require_any_picture(name, upscaler):
    """ValueError where the Upscaler called `name` works on other channels than RGB or Y, or on images of one size alone."""
    if upscaler.module.channels not in (1, 3):
        raise ValueError(
            f"'{name}' works on {upscaler.module.channels} channels: enlarging pictures needs a network for RGB or for Y"
        )
    if size := only_size(upscaler.module):
        kind = upscaler.card.get('model', type(upscaler.module).__name__)
        raise ValueError(f"'{name}' ({kind}) enlarges images of {size[0]}x{size[1]} alone, no pictures of any size")


def pictures(net):
    """`pictures(net, variables)` of a module whose network makes images of its own, None of others."""
    return getattr(importlib.import_module(type(net).__module__), 'pictures', None)


def shapes(net):
    """The shapes of the variables of `net`."""
    return jax.eval_shape(net.init, jax.random.key(0), *example(net))


def init(net, key, *inputs):
    """Random variables of `net` for such inputs (arrays, or lists of them)."""
    # Not jitted: hundreds of random draws in one program take XLA minutes to compile (RCAN 10x6 on CPU: 70 s, so 7 s).
    return net.init(key, *inputs)


def train_apply(net, params, vars, *inputs, axis=None, **named):
    """`net` as training sees it: (outputs, new vars).

    Args:
      net: linen module. Its call may take `train` (True here) and `axis`, as one with batch norm does.
      params: its parameters.
      vars: its other collections, {} if none; all of them move as the call says: batch statistics, spectral vectors, ...
      inputs, named: of its call.
      axis: name of the device axis over which a batch's statistics are joined, None for one device.

    Returns:
      What `net.apply` gives, and `vars` moved on (just `vars` for a net without). A network that is called twice in a step takes
      the new vars in the second call.
    """
    if not vars:
        return net.apply({'params': params}, *inputs, **named), vars
    taken = inspect.signature(type(net).__call__).parameters
    named |= {k: v for k, v in {'train': True, 'axis': axis}.items() if k in taken}
    outputs, moved = net.apply({'params': params, **vars}, *inputs, mutable=list(vars), **named)
    return outputs, {**vars, **moved}


def taps(net):
    """Tap name -> shape on one `example`; the keys are the contract, the last number is the width."""
    found = jax.eval_shape(lambda key, *x: net.init_with_output(key, *x)[0][1], jax.random.key(0), *example(net))
    return {name: s.shape for name, s in found.items()}


def radius(generator):
    """How many LR pixels around an output pixel's own LR pixel can change it, rounded up; None if all of them can.

    Asks the `radius(**fields)` of the generator's module; a module of your own without one counts as None.
    """
    measure = getattr(importlib.import_module(type(generator).__module__), 'radius', None)
    return measure(**fields_of(generator)) if measure else None


def load(path, dtype='float32', scale=None):
    """`fn(lr) -> sr` (an `exports.Upscaler`) of an export directory, a finished run or a shipped model's name.

    `scale` chooses one of those that the card names; None is the one the network was exported with.

    Raises FileNotFoundError where there is none, ValueError where its weights do not fit its model, where it makes no images or
    is for other scales.
    """
    generator, variables, card = network(path, dtype)
    if not hasattr(generator, 'scale'):
        raise ValueError(f'{path} is a {card["model"]}, which enlarges no images: name the export of a generator')
    found = exports.upscaler(generator, variables, card)
    if scale not in (None, *found.scales):
        raise ValueError(f'{path} is a {exports.times(found.scales)} model, not one for x{scale}')
    return found.at(scale or found.scale)


def network(path, dtype='float32'):
    """(module, variables, card) of any exported network, a discriminator for example; errors as of `load`."""
    card, variables = exports.read(path)
    permitted(card['model'], path)
    net = build_in(dtype, card['model'], **{k: v for k, v in card['args'].items() if k != 'dtype'})
    exports.check(variables, shapes(net), path)
    return net, variables, card


def permitted(name, path):
    """ValueError where a card names a module of nobody knows whom: reading a file must not import what the file says."""
    allowed = os.environ.get('KDSR_MODULES', '').split(',')
    if '.' in str(name) and name not in sys.modules and name not in allowed:
        raise ValueError(f'{path} is a network of the module {name}: if that is yours, allow it by KDSR_MODULES={name}')


def module(name):
    """The module of a network, e.g. kdsr.models.edsr, with its class and helpers; ValueError if unknown."""
    loaded = named.module(name, __name__)
    if not any(hasattr(loaded, kind) for kind in KINDS):
        own = f'; {name} has no {" or ".join(KINDS)}' if loaded and '.' in name else ''
        raise ValueError(f'unknown model {name!r}{meant(str(name), names())}; models: {", ".join(names())}{own}')
    return loaded


def _check(name, key, value, kind):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    several = typing.get_origin(kind) is tuple
    right = number if kind is float else isinstance(value, (tuple, list)) if several else type(value) is kind
    if not right:
        raise ValueError(f'{name}: {key} must be {"a tuple" if several else kind.__name__}, got {value!r}')
    if kind is int and value < 1:
        raise ValueError(f'{name}: {key} must be at least 1, got {value}')
    if key == 'dtype' and value not in DTYPES:
        raise ValueError(f'{name}: dtype {value!r}{meant(value, DTYPES)}; one of {", ".join(DTYPES)}')
