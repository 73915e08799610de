"""What a config must be: complete, of values that can be meant, and the same when a run goes on."""

import json
import math
import pathlib

from kdsr import fields, named, optim, recipes

AT_LEAST_1 = ('scale', 'patch', 'batch_size', 'steps', 'log_every', 'eval_every', 'save_every')
RANGES = {name: (1, math.inf) for name in AT_LEAST_1}
# larger seeds would share jax's 32 bits of key with smaller ones
RANGES |= {'seed': (0, 2**32 - 1), 'ema_decay': (0, math.nextafter(1, 0))}
WORDS = {'dtype': ('float32', 'bfloat16'), 'export': ('best', 'latest'), 'export_dtype': ('float32', 'float16')}
WORDS |= {'data.colour': ('rgb', 'y'), 'data.augment': ('dihedral', 'mirror', 'none'), 'lpips': ('', 'alex', 'vgg')}
AUGMENT = {True: 'dihedral', False: 'none'}  # what older configs say


def complete(config):
    """`config` with what its blocks `student` and `data` leave out; a path alone means the source 'folder'."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        if hasattr(config.get('student'), 'items'):
            config.student = {'args': {}, **config.student.to_dict()}
        if hasattr(config.get('data'), 'items'):
            config.data = {**recipes.embedded().to_dict(), **config.data.to_dict()}
            if isinstance(config.data.augment, bool):
                with config.data.ignore_type():
                    config.data.augment = AUGMENT[config.data.augment]
            if config.data.source == 'embedded' and config.data.path:
                config.data.source = 'folder'
    return config


def check(config):
    """Raises ValueError naming the first field whose value cannot be meant."""
    known = recipes.base().to_dict() | {'student': {'name': '', 'args': {}}, 'teacher': ''}
    for name in ('student', 'method'):
        if 'name' not in (config.get(name) or ()):
            raise ValueError(f"config.{name}.name is missing: set e.g. config.student = recipes.model('edsr')")
    values = config.to_dict()
    if missing := [name for name in recipes.base() if name not in values]:
        raise ValueError(f'config.{missing[0]} is missing: a config starts from kdsr.recipes.base()')
    for name in values:
        if hint := fields.meant(name, [*known, 'method']) if name not in (*known, 'method') else '':
            raise ValueError(f'config.{name} is unknown{hint}')
    kept = {k: v for k, v in values.items() if k in known and k != 'optimizer'}
    fields.filled(kept, known, 'config', RANGES)
    optim.check(config.optimizer, 'config.optimizer', config.steps)
    for name, words in WORDS.items():
        value = flat(values)[name]
        if value not in words:
            listed = f'{", ".join(map(repr, words[:-1]))} or {words[-1]!r}'
            raise ValueError(f"config.{name}='{value}' must be {listed}")


def to_json(config):
    """The config as text, the same for equal configs."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + '\n'


# What may differ between a run and its continuation: nothing that changes weights or metrics.
CHANGEABLE = ('name', 'benchmarks', 'save_every', 'wandb')
# What a continuation may change besides: what is measured, how often, and how fast; no weights.
RESUMABLE = (*CHANGEABLE, 'data.threads', 'data.workers', 'data.cache_dir', 'data.validation_images', 'log_every')


RETIRED = ('interpolate',)  # fields of older runs that nothing reads any more; they never changed weights


def require_same(config, folder, method=None):
    """{field: (old, new)} of what `config` changes in the run in `folder`, {} for a new run.

    A field that the run does not have, since an older kdsr began it, counts as its default; method: those of the method's block.

    Raises ValueError naming the first field that would change the run's weights, or a config.json that is damaged.
    """
    path = pathlib.Path(folder) / 'config.json'
    if not path.exists():
        return {}
    now = flat(json.loads(to_json(config)))
    try:
        before = flat(json.loads(path.read_bytes()))
    except (ValueError, AttributeError) as e:
        raise ValueError(
            f'{path} is damaged ({e}), so that nothing tells whether this is the config of the run: bring it back, or delete it '
            f'and the run goes on with this config'
        ) from e
    usual = flat(json.loads(json.dumps(recipes.base().to_dict() | {'method': method or {}})))
    before = {k: v for k, v in before.items() if k not in RETIRED}
    before |= {k: AUGMENT.get(v, v) for k, v in before.items() if k == 'data.augment'}
    before |= {k: usual[k] for k in now if k in usual and k not in before}
    changed = {k: (before.get(k), now.get(k)) for k in {**before, **now} if before.get(k) != now.get(k)}
    for key, (old, new) in changed.items():
        if key not in RESUMABLE and (reason := fixed(key, old, new, config)) is not None:
            raise ValueError(
                f'{folder} was started with another config: {key} was {old!r} and is now {new!r}{reason}. '
                f'Choose another --workdir, or go on with the old value'
            )
    return changed


def fixed(key, old, new, config):
    """Why a run cannot go on with another value of `key`, in words that may be empty; None where it can."""
    if key == 'eval_every':
        return None if config.export == 'latest' else " (with config.export='best' it chooses the weights that are exported)"
    if key == 'steps' and isinstance(old, int):
        if new < old:
            return ' (a run can only go on to more steps)'
        found = [k for k, v in flat(config.to_dict()).items() if k.rpartition('.')[2] == 'schedule' and v == 'cosine']
        return f" (config.{found[0]}='cosine' depends on the number of steps)" if found else None
    return ''


def flat(tree, prefix=''):
    """{'data': {'path': 'x'}} -> {'data.path': 'x'}."""
    found = {}
    for key, value in tree.items():
        found |= flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}
    return found


named.function_too(__name__)
