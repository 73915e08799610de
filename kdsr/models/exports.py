"""The export format: one network as `weights.safetensors` + `model.json`, readable without its training code or state."""

import hashlib
import json
import pathlib
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from safetensors import numpy as safetensors

from kdsr import compiled
from kdsr.models.bicubic import with_colour
from kdsr.paths import expanded, written

PRETRAINED = pathlib.Path(__file__).parents[1] / 'pretrained'


class Upscaler(NamedTuple):
    """A network with its weights: `fn(lr) -> sr`, what evaluation, upscaling and export call.

    module: linen generator. variables: its flax variables. card: the contents of model.json, {} for a net in training.
    apply: compiled `(variables, lr) -> sr`, shared by all Upscalers made by `with_variables`.
    """

    module: Any
    variables: Any
    card: dict
    apply: Any

    def __call__(self, lr):
        """lr `[B, h, w, C]` in [0, 1] -> sr `[B, s*h, s*w, C]`, float32, not clipped. Compiles once per shape.

        A network of one channel, which is Y, takes RGB as well: Cb and Cr are enlarged bicubically.
        Raises ValueError for images of whole numbers, which are none in [0, 1], and for other shapes.
        """
        lr = lr if hasattr(lr, 'dtype') else np.asarray(lr)
        shape, kind, channels = np.shape(lr), lr.dtype, self.module.channels
        if not jnp.issubdtype(kind, jnp.floating):
            raise ValueError(f'the images are {kind}: give numbers in [0, 1], for 0..255 np.float32(images) / 255')
        if len(shape) != 4 or shape[-1] not in (channels, 3 if channels == 1 else channels):
            one = ': images[None] is a batch of one' if len(shape) == 3 else ''
            raise ValueError(f'the images must be [B, h, w, {channels}], they are {list(shape)}{one}')
        return self.apply(self.variables, jnp.asarray(lr, jnp.float32))

    def __repr__(self):
        """One line; the weights themselves would be thousands."""
        kind = self.card.get('model', type(self.module).__name__)
        count = sum(np.size(v) for k, v in flatten(self.variables).items() if k.startswith('params/'))
        return f'<Upscaler: {kind}, {times(self.scales)}, {count:,} parameters>'

    def with_variables(self, variables):
        """The same compiled function on other weights."""
        return self._replace(variables=variables)

    @property
    def scale(self):
        return self.module.scale

    @property
    def scales(self):
        """The scales that the weights serve: those of the card's 'scales', or the one."""
        return tuple(self.card.get('scales', [self.scale]))

    def at(self, scale):
        """The same weights at another of the `scales`."""
        if scale == self.scale:
            return self
        card = {**self.card, 'args': {**self.card.get('args', {}), 'scale': scale}}
        return upscaler(self.module.clone(scale=scale), self.variables, card)


def upscaler(module, variables, card=None):
    """An Upscaler of `module`; taps are dropped, so the compiler removes them."""

    def apply(variables, lr):
        if module.channels == 1 and lr.shape[-1] == 3:
            return with_colour(lambda y: module.apply(variables, y)[0], lr, module.scale)
        return module.apply(variables, lr)[0]

    return Upscaler(module, variables, card or {}, compiled.jit(apply))


def times(scales):
    """(2, 3, 4) -> 'x2, x3, x4'."""
    return ', '.join(f'x{s}' for s in scales)


def flatten(variables):
    """Flax variables -> {'params/head/kernel': array}."""
    return traverse_util.flatten_dict(variables, sep='/')


def save(path, *, name, args, variables, dtype='float32', **card):
    """Writes an export directory and returns its card.

    Args:
      path: directory; files in it are replaced, the card last, so that a kill between leaves a mismatch that `read` reports.
      name, args: what `models.build(name, **args)` takes.
      variables: flax variables, `{'params': ..., ...}`.
      dtype: 'float32' or 'float16', the stored precision of the parameters.
      **card: anything JSON-able to keep beside (scores, data, command, ...).
    """
    path = expanded(path)
    path.mkdir(parents=True, exist_ok=True)
    # running statistics stay float32: variances beyond float16's 65504 would become infinite and silence their channel
    kept = {k: dtype if k.startswith('params/') else 'float32' for k in flatten(variables)}
    arrays = {k: np.array(v, kept[k], order='C') for k, v in flatten(variables).items()}
    blob = safetensors.save(arrays)
    card = {
        'model': name,
        'args': dict(args),
        'dtype': dtype,
        'parameters': sum(int(v.size) for k, v in arrays.items() if k.startswith('params/')),
        'sha256': hashlib.sha256(blob).hexdigest(),
        **card,
    }
    for file, data in (('weights.safetensors', blob), ('model.json', (json.dumps(card, indent=2) + '\n').encode())):
        with written(path / file) as part:
            part.write_bytes(data)
    return card


def stages(path):
    """(name, stages in order) of the run with stages in the directory `path`, as its stages.json says; ('', []) of any other.

    Raises ValueError naming the file where it is damaged.
    """
    file = pathlib.Path(path) / 'stages.json'
    if not file.is_file():
        return '', []
    try:
        plan = json.loads(file.read_bytes())
        return str(plan['name']), [str(stage) for stage in plan['stages']]
    except (ValueError, KeyError, TypeError) as e:
        raise ValueError(f'{file} is damaged ({e!r}): delete it, the command of this run writes it anew') from e


def student(path):
    """The export directory of the student, averaged weights first, that was trained in the directory `path` itself, or None."""
    candidates = [pathlib.Path(path) / 'export' / name for name in ('student_ema', 'student')]
    return next((candidate for candidate in candidates if (candidate / 'model.json').is_file()), None)


def find(path):
    """The export directory that `path` means: itself, a run's student (of several stages the last's), or a shipped name.

    Raises FileNotFoundError where there is none (yet), ValueError for a directory of two runs: neither of them is the one meant.
    """
    path = expanded(path)
    if (path / 'model.json').is_file():
        return path
    own, (_, names) = student(path), stages(path)
    trained = bool(own) or (path / 'config.json').is_file()
    inside = [str(path / name) for name in names or sorted(p.parent.name for p in path.glob('*/config.json'))]
    if trained and inside:
        raise ValueError(f'{path} holds different runs: name the one you mean, {", ".join([*[str(own)] * bool(own), *inside])}')
    if names:
        return _last(path, inside)
    if own:
        return own
    if trained:
        lost = (path / 'results.json').is_file()
        reason = 'its export/ was lost' if lost else 'its run is not finished (the same command goes on with it)'
        raise FileNotFoundError(f'no student in {path}: {reason}')
    if (PRETRAINED / path / 'model.json').is_file():
        return PRETRAINED / path
    if inside:
        raise FileNotFoundError(f'{path} holds several runs, and no stages.json tells the last: name one, {", ".join(inside)}')
    shipped = ', '.join(sorted(p.parent.name for p in PRETRAINED.glob('*/model.json')))
    raise FileNotFoundError(
        f'no model at {path}: expected a folder with model.json and weights.safetensors, a finished run, '
        f'or the name of a shipped model ({shipped})'
    )


def _last(path, folders):
    """The student of the last of a run's stages, FileNotFoundError naming those that can be had where it is not finished."""
    done = [folder for folder in folders if (pathlib.Path(folder) / 'results.json').is_file() and student(folder)]
    if folders[-1] in done:
        return student(folders[-1])
    others = f'; finished: {", ".join(done)}' if done else ''
    raise FileNotFoundError(f'{path} is not finished: its last stage is to be {folders[-1]} (the same command goes on){others}')


def read(path):
    """Reads an export, a run or a shipped model: (card, float32 variables).

    Raises FileNotFoundError where there is none, ValueError where the weights do not belong to the card.
    """
    path = find(path)
    try:
        card = json.loads((path / 'model.json').read_text())
        name, args, digest = card['model'], card['args'], card['sha256']
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise ValueError(f'{path}/model.json is no card of a network ({type(e).__name__}: {e}): export or copy it again') from e
    if not (isinstance(name, str) and isinstance(args, dict)):
        raise ValueError(f'{path}/model.json names no network: export or copy it again')
    file = path / 'weights.safetensors'
    if not file.is_file():
        raise FileNotFoundError(f'{path} has a model.json but no weights.safetensors: copy both files')
    blob = file.read_bytes()
    if hashlib.sha256(blob).hexdigest() != digest:
        raise ValueError(f'{file} is not the file its model.json describes (sha256 differs): export or copy it again')
    arrays = {k: v.astype(np.float32) for k, v in safetensors.load(blob).items()}
    return card, traverse_util.unflatten_dict(arrays, sep='/')


def check(variables, expected, what):
    """Raises ValueError listing the keys and shapes in which `variables` and `expected` (arrays or shapes) differ."""
    have, want = flatten(variables), flatten(expected)
    lines = [f'missing {k} {tuple(want[k].shape)}' for k in want if k not in have]
    lines += [f'unexpected {k} {tuple(have[k].shape)}' for k in have if k not in want]
    both = [k for k in want if k in have and tuple(have[k].shape) != tuple(want[k].shape)]
    lines += [f'{k} is {tuple(have[k].shape)}, the model has {tuple(want[k].shape)}' for k in both]
    if lines:
        more = f' ... and {len(lines) - 8} more' if len(lines) > 8 else ''
        raise ValueError(f'the weights of {what} do not fit: ' + '; '.join(lines[:8]) + more)
