"""What the config files share: their argument, common blocks, sweeps and checks."""

import difflib
import itertools
import json
import math
import os
import pathlib

import ml_collections

from kdsr import fields, optim


def parse_arg(arg, options):
    """The argument of `--config=file.py:paper,x4` as a dict.

    Args:
      arg: comma-separated words, or None. A word is the name of a flag, one choice of a group, or `key=value` for a key
        whose default is a number or text.
      options: name -> default. False: a flag. A tuple: a group of words, the first is the default. Else a key with a value.

    Raises ValueError with a suggestion for a word that is none of these.
    """
    chosen = {k: v[0] if isinstance(v, tuple) else v for k, v in options.items()}
    words = {w: (k, w) for k, v in options.items() if isinstance(v, tuple) for w in v}
    words |= {k: (k, True) for k, v in options.items() if v is False}
    for word in filter(None, (arg or '').split(',')):
        key, equals, value = word.partition('=')
        if equals and key in options and options[key] is not False and not isinstance(options[key], tuple):
            chosen[key] = type(options[key])(value)
        elif word in words:
            name, picked = words[word]
            chosen[name] = picked
        else:
            known = [*words, *(k + '=...' for k, v in options.items() if v is not False and not isinstance(v, tuple))]
            near = difflib.get_close_matches(word, known, 1, 0.5)
            hint = f", did you mean '{near[0]}'?" if near else ''
            raise ValueError(f"config argument '{word}' is unknown{hint} (known: {', '.join(known)})")
    return chosen


def model(name, **args):
    """Block for a network: `models.build(name, **args)`; the scale is filled in from `config.scale`."""
    return ml_collections.ConfigDict({'name': name, 'args': args})


def block(values):
    """A dict as a ConfigDict: one of the blocks in `config.stages` (see kdsr.stages)."""
    return ml_collections.ConfigDict(values)


def base(**values):
    """The fields that every run has, with their defaults; `values` change or add."""
    config = ml_collections.ConfigDict(
        {
            'name': 'run',  # names the default workdir: runs/<name>
            'seed': 0,
            'scale': 4,
            'patch': 48,  # side of the LR patch, pixels
            'batch_size': 16,  # over all devices
            'steps': 1000,  # batches
            'dtype': 'float32',  # compute dtype of the networks; parameters, losses and statistics stay float32
            'student_init': '',  # export whose weights the student starts from; '': random ones
            'carry': (),  # networks that a stage takes over from the one before, with optimiser and averages
            'ema_decay': 0.0,  # 0: no averaged weights
            'log_every': 50,
            'eval_every': 500,
            'save_every': 500,
            'export': 'best',  # which weights are exported: 'best' by validation PSNR, or 'latest'
            'export_dtype': 'float32',
            'lpips': '',  # 'alex' or 'vgg': the final table has LPIPS as well
            'benchmarks': '',  # comma-separated benchmark folders, evaluated once at the end
            'data': embedded(),
            'optimizer': adam(1e-4),
        }
    )
    config.update(values)
    return config


def embedded(**values):
    """Data block: the photographs that come with scikit-image."""
    return data('embedded', **values)


def folder(path, **values):
    """Data block: folders of images, 'a,b@2' (b halved before use); see kdsr.data.sources.folder."""
    return data('folder', path=path, **values)


def train_images(**values):
    """Data block: T91, BSDS500 (train and test parts) and 34 large photographs at half size, below $KDSR_DATA/train_images."""
    root = os.path.join(os.environ.get('KDSR_DATA', '../shared/data'), 'train_images')
    parts = ('BSDS500_test200', 'BSDS500_train200', 'T91', 'photos_hires@2')
    return folder(','.join(f'{root}/{p}' for p in parts), **values)


def data(source, **values):
    """Data block; source, path, images, downscale, name, split, cache_dir as in kdsr.data.sources.open_source."""
    block = {'source': source, 'path': '', 'images': '', 'downscale': 1, 'name': '', 'split': 'train', 'cache_dir': ''}
    # colour: of training batches, 'rgb', or 'y' for networks of one channel; validation and benchmarks are RGB
    # training: False where a method reads no images, and the source is only for validation
    block |= {'validation_images': 8, 'threads': 2, 'augment': True, 'colour': 'rgb', 'training': True}
    return ml_collections.ConfigDict({**block, **values})


def adam(learning_rate, **values):
    """Optimiser block; the fields are those of kdsr.optim.make."""
    return ml_collections.ConfigDict({**optim.DEFAULTS, 'learning_rate': learning_rate, **values})


def smoke(config):
    """Shrinks a run to a few steps of a tiny EDSR: it shows that everything works, in 20 seconds."""
    config.student = model('edsr', blocks=3, features=8)
    config.steps, config.batch_size, config.patch = 6, 4, 16
    config.log_every, config.eval_every, config.save_every = 2, 6, 3
    config.data.validation_images = 1  # each shape is a compilation for every network


def grid(**axes):
    """Override strings of a sweep: `grid(seed=[0, 1], scale=[2])` gives [['--config.seed=0', '--config.scale=2'], ...]."""
    names = list(axes)
    return [
        [f'--config.{k.replace("__", ".")}={v}' for k, v in zip(names, values, strict=True)]
        for values in itertools.product(*axes.values())
    ]


AT_LEAST_1 = ('scale', 'patch', 'batch_size', 'steps', 'log_every', 'eval_every', 'save_every')
RANGES = {name: (1, math.inf) for name in AT_LEAST_1}
# larger seeds would share jax's 32 bits of key with smaller ones
RANGES |= {'seed': (0, 2**32 - 1), 'ema_decay': (0, math.nextafter(1, 0))}
WORDS = {'dtype': ('float32', 'bfloat16'), 'export': ('best', 'latest'), 'export_dtype': ('float32', 'float16')}
WORDS |= {'data.colour': ('rgb', 'y'), 'lpips': ('', 'alex', 'vgg')}


def complete(config):
    """`config` with what its blocks `student` and `data` leave out; a path alone means the source 'folder'."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        if hasattr(config.get('student'), 'items'):
            config.student = {'args': {}, **config.student.to_dict()}
        if hasattr(config.get('data'), 'items'):
            config.data = {**embedded().to_dict(), **config.data.to_dict()}
            if config.data.source == 'embedded' and config.data.path:
                config.data.source = 'folder'
    return config


def check(config):
    """Raises ValueError naming the first field whose value cannot be meant."""
    known = base().to_dict() | {'student': {'name': '', 'args': {}}, 'teacher': ''}
    for name in ('student', 'method'):
        if 'name' not in (config.get(name) or ()):
            raise ValueError(f"config.{name}.name is missing: set e.g. config.student = kdsr.model('edsr')")
    values = config.to_dict()
    if missing := [name for name in base() if name not in values]:
        raise ValueError(f'config.{missing[0]} is missing: a config starts from kdsr.config.base()')
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
CHANGEABLE = ('name', 'benchmarks', 'save_every')
# What a continuation may change besides: what is measured, how often, and how fast; no weights.
RESUMABLE = (*CHANGEABLE, 'data.threads', 'data.cache_dir', 'data.validation_images', 'log_every')


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
    usual = flat(json.loads(json.dumps(base().to_dict() | {'method': method or {}})))
    before = {k: v for k, v in before.items() if k not in RETIRED}
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
