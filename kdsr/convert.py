"""Weights of other projects -> a kdsr export, which every other command takes by its path.

python -m kdsr.convert edsr_baseline_x4.pt --model=edsr --out=../weights/edsr_x4
python -m kdsr.convert pre_generator.h5 --model=srresnet --out=../weights/srresnet_x4
python -m kdsr.convert vgg19.pth --model=vgg --out=../weights/vgg19 --arg weights=caffe
"""

import ast
import hashlib
import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from kdsr import commands, foreign, models
from kdsr.foreign import formats
from kdsr.models import exports


def convert(source, model, out, *, args=None, dtype='float32'):
    """Writes the export of a foreign file; `out` appears whole or not at all.

    Args:
      source: .npz, .safetensors, Keras' .h5, PyTorch's .pth or .pt (nothing in it is run).
      model: one of `foreign.MODELS`.
      out: new directory.
      args: fields of the model that are to be other than what the file's shapes say.
      dtype: 'float32' or 'float16', the stored precision.

    Returns: (card, wrapper such as 'params_ema' that the weights were taken from or '', names of assumed arguments).

    Raises:
      FileNotFoundError: no such source.
      FileExistsError: `out` has files.
      ValueError: unknown model or argument; the source is damaged, more than weights, or of another model: the line lists
        names and shapes of both sides.
    """
    out, given = pathlib.Path(out).expanduser(), dict(args or {})
    family = foreign.model(model)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"'{out}' has files: choose another --out or delete it first")
    tensors, wrapper = formats.read(source)
    try:
        args, variables, assumed = family.convert(tensors)
    except ValueError as e:
        raise ValueError(f'{source} as {model}: {e}') from e
    module, example = network(model, family, args, given)
    args |= given
    expected = jax.eval_shape(module.init, jax.random.key(0), example)
    exports.check(variables, expected, f'{source} as {model}({", ".join(f"{k}={v!r}" for k, v in args.items())})')
    for name, array in variables.items():
        if name.startswith('params/') and np.abs(array).max() > np.finfo(dtype).max:
            raise ValueError(f'{name} of {source} has values beyond {dtype}: leave out --dtype')
    origin = {'file': pathlib.Path(source).name, 'sha256': hashlib.sha256(pathlib.Path(source).read_bytes()).hexdigest()}
    more = getattr(family, 'CARD', {})
    temporary = out.with_name(f'{out.name}.tmp{os.getpid()}')
    try:
        card = exports.save(temporary, name=model, args=args, variables=variables, dtype=dtype, source=origin, **more)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return card, wrapper, tuple(a for a in assumed if a not in given)


def network(model, family, args, given):
    """(module, example input) of the arguments that the file tells and those that are given instead; ValueError as `convert`."""
    if not hasattr(family, 'network'):
        module = models.build(model, **{**args, **given})
        return module, jax.ShapeDtypeStruct((1, 16, 16, module.channels), jnp.float32)
    for key, value in given.items():
        if key not in args or type(value) is not type(args[key]):
            fields = ', '.join(f'{k} ({type(v).__name__})' for k, v in args.items())
            raise ValueError(f'{model} takes no --arg {key}={value!r}; its fields: {fields}')
    return family.network({**args, **given})


def pairs(texts):
    """['scale=4', 'weights=caffe'] -> {'scale': 4, 'weights': 'caffe'}; ValueError for a text without key or '='."""
    args = {}
    for text in texts:
        key, equals, value = text.partition('=')
        if not key.isidentifier() or not equals:
            raise ValueError(f'--arg {text} is no key=value: write e.g. --arg scale=4')
        try:
            args[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            args[key] = value
    return args


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_string('model', None, f'what it is: {", ".join(foreign.MODELS)}', required=True)
    flags.DEFINE_string('out', None, 'new directory for the export', required=True)
    flags.DEFINE_multi_string('arg', [], 'field of the model as key=value, where the file cannot tell it; repeat it for more')
    flags.DEFINE_enum('dtype', 'float32', ['float32', 'float16'], 'stored precision')


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    if len(argv) != 2:
        more = f', not {len(argv) - 1} ({" ".join(argv[1:])}): repeat --arg for each key=value' if len(argv) > 2 else ''
        raise ValueError(f'give one SOURCE file{more}: python -m kdsr.convert SOURCE --model=NAME --out=EXPORT')
    card, wrapper, assumed = convert(argv[1], flag.model, flag.out, args=pairs(flag.arg), dtype=flag.dtype)
    taken = f' ({wrapper} of it)' if wrapper else ''
    print(f'{argv[1]}{taken} -> {flag.out}: {card["model"]}, {card["parameters"]:,} parameters, {card["dtype"]}')
    print(', '.join(f'{k}={v!r}' for k, v in card['args'].items()))
    if assumed:
        values = ', '.join(f'{k}={card["args"][k]!r}' for k in assumed)
        print(f'not in the file, taken as published: {values}; --arg key=value sets another value')


if __name__ == '__main__':
    define_flags()
    commands.run(main, arguments=True)
