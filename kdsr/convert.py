"""Weights of other projects -> a kdsr export, which every other command takes by its path.

python -m kdsr.convert edsr_baseline_x4.pt --out=../weights/edsr_x4
python -m kdsr.convert pre_generator.h5 --model=srresnet --out=../weights/srresnet_x4
python -m kdsr.convert net_g_400000.pth --key=params --out=../weights/rrdb_x4
python -m kdsr.convert vgg19.pth --model=vgg --out=../weights/vgg19 --arg weights=caffe
"""

import ast
import hashlib
from typing import NamedTuple

import jax
import numpy as np
from absl import flags

from kdsr import commands, foreign, models
from kdsr.foreign import bounds, formats, names
from kdsr.models import exports, layers
from kdsr.paths import expanded, fresh, written


class Made(NamedTuple):
    """What `convert` made: the export's card, the wrapper such as 'params_ema' that was taken or '', names of assumed arguments.

    others: further weights in the file, which --key takes. found: whether the model was told by names and shapes alone.
    """

    card: dict
    taken: str
    assumed: tuple[str, ...]
    others: tuple[str, ...]
    found: bool


class Unknown(ValueError):
    """A file whose weights are of no network in kdsr.models; the message says what they look like."""


class Reading(NamedTuple):
    """A file's weights as one of the models: its name in kdsr.models, all its fields, flat variables, assumed fields."""

    model: str
    args: dict
    variables: dict
    assumed: tuple[str, ...]


def convert(source, model, out, *, args=None, dtype='float32', key='', max_gib=bounds.MAX_GIB):
    """Writes the export of a foreign file; `out` appears whole or not at all.

    Args:
      source: .npz, .safetensors, Keras' .h5, PyTorch's .pth or .pt (nothing in it is run).
      model: one of `foreign.MODELS`, or '' for the one whose names and shapes the file has.
      out: new directory.
      args: fields of the model that are to be other than what the file's shapes say.
      dtype: 'float32' or 'float16', the stored precision.
      key, max_gib: those of `formats.read`.

    Returns: Made.

    Raises:
      FileNotFoundError: no such source.
      FileExistsError: `out` has files.
      ValueError: unknown model or argument; the source is damaged, more than weights, or of another model: the line lists
        names and shapes of both sides, and the model that it looks like.
    """
    source, given = expanded(source), dict(args or {})
    if model:
        foreign.model(model)
    out = fresh(out)
    weights = formats.read(source, key, max_gib)
    try:
        read = reading(weights.arrays, model, given, source) if model else told(weights.arrays, given, source)
    except ValueError as e:
        more = f'; it also holds {", ".join(weights.others)}: --key takes another' if weights.others else ''
        if isinstance(e, Unknown):
            more += f'; as a teacher it needs no conversion: python -m kdsr.teach {source} --data=PICTURES --out=TAUGHT'
        raise ValueError(f'{e}{more}') from e
    for name, array in read.variables.items():
        if name.startswith('params/') and np.abs(array).max() > np.finfo(dtype).max:
            raise ValueError(f'{name} of {source} has values beyond {dtype}: leave out --dtype')
    with source.open('rb') as file:
        card = {'source': {'file': source.name, 'sha256': hashlib.file_digest(file, 'sha256').hexdigest()}}
    family = foreign.model(read.model)
    card |= family.card(read.args) if hasattr(family, 'card') else {}
    with written(out, several=True) as part:
        card = exports.save(part, name=read.model, args=read.args, variables=read.variables, dtype=dtype, **card)
    return Made(card, weights.taken, tuple(a for a in read.assumed if a not in given), weights.others, not model)


def reading(tensors, model, given, source, others=True):
    """The Reading of a file's tensors as `model`, with `given` fields.

    ValueError where they are of another model, with the names of those that they are of, unless `others` is off.
    """
    model = getattr(foreign.model(model), 'kin', lambda _: '')(tensors) or model
    family, what = foreign.model(model), f'{source} as {model}'
    try:
        args, variables, assumed = family.convert(tensors)
        module, *example = network(model, family, args, given)
        with layers.plain():  # only shapes are asked for: half of the tracing
            expected = jax.eval_shape(module.init, jax.random.key(0), *example)
        what += f'({", ".join(f"{k}={v!r}" for k, v in {**args, **given}.items())})'
        exports.check(variables, expected, what)
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError) as e:
        reason = str(e) if isinstance(e, ValueError) else f'its names or shapes are no such network ({type(e).__name__}: {e})'
        also = [name for name in fitting(tensors, source) if name != model] if others else []
        more = f'; this looks like {foreign.MODELS[also[0]]}: --model={also[0]}' if also else foreign.unsupported(tensors)
        raise ValueError(f'{reason if what in reason else f"{what}: {reason}"}{more}') from e
    return Reading(model, args | given, variables, assumed)


def fitting(tensors, source):
    """{model: Reading} of all models that the tensors are weights of."""
    found = {}
    for model in foreign.MODELS:
        try:
            read = reading(tensors, model, {}, source, others=False)
        except ValueError:
            continue
        found.setdefault(read.model, read)
    return found


def told(tensors, given, source):
    """The Reading of the one model that the tensors are of. Unknown where they are of none, ValueError where of several."""
    found = fitting(tensors, source)
    if not found:
        more = foreign.unsupported(tensors) or f'; give --model, one of {", ".join(foreign.MODELS)}, to see what it lacks'
        raise Unknown(f'{source} is of no model that is known here, it begins with {names.beginning(tensors)}{more}')
    if len(found) > 1:
        raise ValueError(f'{source} may be {" or ".join(found)}: give --model')
    (model, read), *_ = found.items()
    return reading(tensors, model, given, source) if given else read


def network(model, family, args, given):
    """(module, example input) of the arguments that the file tells and those that are given instead; ValueError as `convert`."""
    if not hasattr(family, 'network'):
        module = models.build(model, **{**args, **given})
        return module, *models.example(module)
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
    flags.DEFINE_string('model', None, f'what it is: {", ".join(foreign.MODELS)}; left out, its names and shapes tell')
    flags.DEFINE_string('out', None, 'new directory for the export', required=True)
    flags.DEFINE_multi_string('arg', [], 'field of the model as key=value, where the file cannot tell it; repeat it for more')
    flags.DEFINE_string('key', '', 'which weights of a file that holds several, such as params; averaged ones come first')
    flags.DEFINE_float('max_gib', bounds.MAX_GIB, 'memory that the tensors of the file may take, in GiB', lower_bound=0)
    flags.DEFINE_enum('dtype', 'float32', ['float32', 'float16'], 'stored precision')


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    if len(argv) != 2:
        more = f', not {len(argv) - 1} ({" ".join(argv[1:])}): repeat --arg for each key=value' if len(argv) > 2 else ''
        raise ValueError(f'give one SOURCE file{more}: python -m kdsr.convert SOURCE --out=EXPORT')
    options = {'args': pairs(flag.arg), 'dtype': flag.dtype, 'key': flag.key, 'max_gib': flag.max_gib}
    card, wrapper, assumed, others, found = convert(argv[1], flag.model, flag.out, **options)
    taken = f' ({wrapper} of it)' if wrapper else ''
    print(f'{argv[1]}{taken} -> {flag.out}: {card["model"]}, {card["parameters"]:,} parameters, {card["dtype"]}')
    print(', '.join(f'{k}={v!r}' for k, v in card['args'].items()))
    if found or flag.model != card['model']:
        print(f'by its names and shapes it is {foreign.MODELS[card["model"]]}: --model={card["model"]}')
    if others:
        print(f'not taken: {", ".join(others)}; --key takes another')
    if assumed:
        values = ', '.join(f'{k}={card["args"][k]!r}' for k in assumed)
        print(f'not in the file, taken as published: {values}; --arg key=value sets another value')


if __name__ == '__main__':
    define_flags()
    commands.run(main, arguments=True)
