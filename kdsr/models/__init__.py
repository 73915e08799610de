"""Networks by name: `build('edsr', scale=4)` makes the `Generator` of kdsr/models/edsr.py."""

import dataclasses
import difflib
import importlib
import importlib.util
import os
import sys

import jax
import jax.numpy as jnp

from kdsr.models import exports

GENERATORS = ('edsr', 'msrresnet', 'rcan', 'rdn', 'rrdb', 'rrdb_gsoc', 'rrdb_student', 'san', 'srresnet', 'srvgg', 'vdsr')
DTYPES = ('float32', 'bfloat16', 'float16', 'float64')


def names():
    """Names that `build` knows, sorted. A module of your own in kdsr/models with a `Generator` is found as well."""
    return GENERATORS


def build(name, **kwargs):
    """An untrained generator, a `flax.linen.Module`: `(image, taps) = net.apply({'params': ...}, lr)`.

    Args:
      name: module name below kdsr.models, e.g. 'edsr', or the dotted name of a module of your own, 'mypkg.net'.
      **kwargs: the model's fields, e.g. `scale=4, features=64`; what is left out keeps the default.

    Raises:
      ValueError: unknown name or field, or a value of the wrong type; the line names what is allowed.
    """
    return made(name, module(name).Generator, kwargs)


def made(name, network, kwargs):
    """`network(**kwargs)`, a linen module that messages call `name`; ValueError as `build`'s."""
    fields = network_fields(network)
    for key, value in kwargs.items():
        if key not in fields:
            raise ValueError(f'{name} has no field {key!r}{_meant(key, fields)}; its fields: {", ".join(fields)}')
        _check(name, key, value, fields[key])
    return network(**kwargs)


def network_fields(network):
    """{field: type} of a linen module's class."""
    return {f.name: f.type for f in dataclasses.fields(network) if f.name not in ('parent', 'name')}


def build_block(block, config):
    """`build` of a config block {name, args}, with the run's scale and compute dtype."""
    if block.args.get('scale', config.scale) != config.scale:
        raise ValueError(f'config.student.args.scale={block.args.scale} is not config.scale={config.scale}: set config.scale alone')
    try:
        return build(block.name, **{'scale': config.scale, 'dtype': config.dtype, **block.args})
    except ValueError as e:
        raise ValueError(f'config.student, name or args: {e}') from e


def teacher(config):
    """The network `config.teacher`, computing in `config.dtype`.

    Raises ValueError where the config names none or one for another scale, and as `load` does.
    """
    path = config.get('teacher')
    if not path:
        raise ValueError(f"config.teacher is empty, method '{config.method.name}' needs one: an export, a run, or e.g. 'edsr_x4'")
    try:
        network = load(path, dtype=config.dtype)
    except FileNotFoundError as e:
        raise FileNotFoundError(f'config.teacher: {e}') from e
    if config.scale not in network.scales:
        raise ValueError(f'the teacher {path} is a {exports.times(network.scales)} model, config.scale is {config.scale}')
    return network.at(config.scale)


def init(net, key, example):
    """Random variables of `net` for inputs like `example` (an array or a list of them)."""
    # Not jitted: hundreds of random draws in one program take XLA minutes to compile (RCAN 10x6 on CPU: 70 s, so 7 s).
    return net.init(key, example)


def start(net, config, key, example):
    """The variables a run's student begins with: those of the export `config.student_init`, or random ones where it is empty.

    Raises FileNotFoundError and ValueError as `load` does, also where the export is another network.
    """
    if not config.get('student_init'):
        return init(net, key, example)
    try:
        _, variables = exports.read(config.student_init)
    except FileNotFoundError as e:
        raise FileNotFoundError(f'config.student_init: {e}') from e
    exports.check(variables, jax.eval_shape(net.init, key, example), config.student_init)
    return jax.tree.map(jnp.asarray, variables)


def train_apply(net, params, vars, x, axis=None):
    """`net` on `x` as training sees it: (outputs, new vars).

    Args:
      net: linen module. One with batch norm takes `train` and `axis` in its call.
      params: its parameters.
      vars: its other collections, {} if none. 'batch_stats' among them makes batch norm use this batch's statistics.
      x: its input.
      axis: name of the device axis over which a batch's statistics are joined, None for one device.

    Returns:
      What `net.apply` gives, and `vars` with the statistics moved on (just `vars` for a net without). A network that is called
      twice in a step takes the new vars in the second call.
    """
    if 'batch_stats' not in vars:
        return net.apply({'params': params, **vars}, x), vars
    outputs, moved = net.apply({'params': params, **vars}, x, train=True, axis=axis, mutable=['batch_stats'])
    return outputs, {**vars, **moved}


def taps(generator):
    """Tap name -> shape on one 16x16 LR image; the keys are the contract, the last number is the width."""
    lr = jax.ShapeDtypeStruct((1, 16, 16, generator.channels), jnp.float32)
    shapes = jax.eval_shape(lambda key, x: generator.init_with_output(key, x)[0][1], jax.random.key(0), lr)
    return {name: s.shape for name, s in shapes.items()}


def radius(generator):
    """How many LR pixels around an output pixel's own LR pixel can change it, rounded up; None if all of them can.

    Asks the `radius(**fields)` of the generator's module; a module of your own without one counts as None.
    """
    fields = {name: getattr(generator, name) for name in network_fields(type(generator))}
    measure = getattr(importlib.import_module(type(generator).__module__), 'radius', None)
    return measure(**fields) if measure else None


def load(path, dtype='float32', scale=None):
    """`fn(lr) -> sr` (an `exports.Upscaler`) of an export directory, a finished run or a shipped model's name.

    `scale` chooses one of those that the card names; None is the one the network was exported with.

    Raises FileNotFoundError where there is none, ValueError where its weights do not fit its model or it is for other scales.
    """
    card, variables = exports.read(path)
    permitted(card['model'], path)
    generator = build(card['model'], **{**card['args'], 'dtype': dtype})
    lr = jax.ShapeDtypeStruct((1, 16, 16, generator.channels), jnp.float32)
    exports.check(variables, jax.eval_shape(generator.init, jax.random.key(0), lr), path)
    network = exports.upscaler(generator, variables, card)
    if scale not in (None, *network.scales):
        raise ValueError(f'{path} is a {exports.times(network.scales)} model, not one for x{scale}')
    return network.at(scale or network.scale)


def permitted(name, path):
    """ValueError where a card names a module of nobody knows whom: reading a file must not import what the file says."""
    allowed = os.environ.get('KDSR_MODULES', '').split(',')
    if '.' in str(name) and name not in sys.modules and name not in allowed:
        raise ValueError(f'{path} is a network of the module {name}: if that is yours, allow it by KDSR_MODULES={name}')


def module(name):
    """The module of a generator, e.g. kdsr.models.edsr, with its `Generator` and helpers; ValueError if unknown."""
    loaded = found(name, __name__)
    if not hasattr(loaded, 'Generator'):
        own = f'; {name} has no Generator' if loaded and '.' in name else ''
        raise ValueError(f'unknown model {name!r}{_meant(str(name), names())}; models: {", ".join(names())}{own}')
    return loaded


def found(name, package):
    """The module `name` of `package`, or the one with this name where it is dotted ('mypkg.net'); None where there is none."""
    path = str(name) if '.' in str(name) else f'{package}.{name}'
    if not all(part.isidentifier() for part in path.split('.')):
        return None
    try:
        spec = importlib.util.find_spec(path)
    except ModuleNotFoundError as e:  # of a parent; one that the parent itself lacks is another matter
        if not f'{path}.'.startswith(f'{e.name}.'):
            raise
        spec = None
    return importlib.import_module(path) if spec else None


def _check(name, key, value, kind):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    right = number if kind is float else type(value) is kind
    if not right:
        raise ValueError(f'{name}: {key} must be {kind.__name__}, got {value!r}')
    if kind is int and value < 1:
        raise ValueError(f'{name}: {key} must be at least 1, got {value}')
    if key == 'dtype' and value not in DTYPES:
        raise ValueError(f'{name}: dtype {value!r}{_meant(value, DTYPES)}; one of {", ".join(DTYPES)}')


def _meant(word, known):
    close = difflib.get_close_matches(word, list(known), 1)
    return f', did you mean {close[0]!r}?' if close else ''
