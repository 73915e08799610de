"""What a command line says of a run: its config file, the overrides of its fields, and whether anything reads them."""

import ast
import contextlib
import pathlib
import re
import runpy
import traceback

import ml_collections

from kdsr import config as configs
from kdsr import fields, methods, models, optim, recipes, writers

OPEN = ('student.args', 'method.discriminator', 'method.wide', 'method.deep', 'data.degradation')  # blocks whose fields others know
OPTIONAL = {'teacher': ''}  # not every config file has it
NOT_OF_SOURCE = "data.source='{}' does not read it"
SOURCES = {  # what each source of data reads besides the fields that all do
    'embedded': (),
    'folder': ('path', 'images', 'downscale'),
    'tfds': ('path', 'name', 'split'),
    'array_record': ('path',),
}


def read(spec, overrides=()):
    """(config, paths of the fields that were set) of `--config=spec` and of overrides 'steps=10', 'student.args.groups=2'.

    `stages.NAME.steps=10` is one stage's. An override of a method's or network's name, or of a whole block, is made first: it
    decides which fields there are. Another method than the file's starts from its own defaults; another network keeps those of the
    file's arguments that it has.

    Raises ValueError naming a field that is unknown, or whose value is of the wrong type; FileNotFoundError without such a file.
    """
    config = load(spec)
    pairs = {}
    for path, equals, text in (override.partition('=') for override in overrides):
        pairs[re.sub(r'^stages\[(\d+)\]', r'stages.\1', path)] = text if equals else 'true'
    first = [path for path in pairs if path in ('student.name', 'method.name') or hasattr(at(config, path), 'items')]
    before = {name: at(config, f'{name}.name') for name in ('student', 'method')}
    for path in first:
        place(config, path, pairs[path])
    adapt(config, {k: v for k, v in before.items() if f'{k}.name' in pairs and v != config[k].name})
    for path in (path for path in pairs if path not in first):
        place(config, path, pairs[path])
    source = at(config, 'data.source')
    if source == 'embedded' and pairs.get('data.path') and 'data.source' not in pairs:
        config.data.source = 'folder'
        writers.say("config.data.path is set, hence config.data.source='folder'")
    elif source == 'embedded' and pairs.get('data.path'):
        raise ValueError(f'--config.data.path is read by nothing: {NOT_OF_SOURCE.format("embedded")}')
    elif source == 'embedded' and 'data.source' in pairs:
        config.data.path = ''  # the file's, for another source
    return config.lock(), list(pairs)


def load(spec):
    """The config of 'FILE.py' or 'FILE.py:word,word', not locked."""
    path, colon, argument = spec.partition(':')
    found = executed(path)
    if 'RECIPES' not in found and 'get_config' not in found:
        raise ValueError(f'{path} has neither RECIPES nor get_config(): see kdsr.recipes')
    with on_one_line(located(path)):
        if 'RECIPES' in found:
            config = recipes.config(pathlib.Path(path).stem, found, argument)
        else:
            config = found['get_config'](*([argument] if colon else []))
    if not isinstance(config, ml_collections.ConfigDict | dict):
        raise ValueError(f'{path} must give a config (kdsr.recipes.base), not {type(config).__name__}')
    config = config if isinstance(config, ml_collections.ConfigDict) else ml_collections.ConfigDict(config)
    return config.unlock()


def located(path):
    """The file of a config: `path` itself, or 'fakd' for the experiment of that name that comes with kdsr."""
    if pathlib.Path(path).is_file():
        return path
    return {file.stem: str(file) for file in reversed(experiments())}.get(path, path)


def experiments():
    """The config files that come with kdsr: inside the package where it is installed, beside it in a checkout."""
    here = pathlib.Path(__file__).resolve().parent
    return [file for folder in (here, here.parent) for file in sorted((folder / 'experiments').glob('*.py'))]


def executed(path):
    """What a config file defines, {name: value}."""
    path = located(path)
    if not pathlib.Path(path).is_file():
        own = [file.stem for file in experiments()]
        near = fields.meant(path, [*map(str, pathlib.Path(path).parent.glob('*.py')), *own])
        raise FileNotFoundError(f"no config file '{path}'{near}: --config=FILE.py[:word,word]")
    with on_one_line(path):
        return runpy.run_path(path)


@contextlib.contextmanager
def on_one_line(path):
    """Turns any mistake of a person's Python in the file `path` into a ValueError of one line."""
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as e:
        lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == path]
        line = f' line {lines[-1]}' if lines else ''
        raise ValueError(f'{path}{line}: {type(e).__name__}: {e}') from e


def described(spec):
    """What there is to choose in the file of 'FILE.py:help'; None for any other argument."""
    path, _, argument = spec.partition(':')
    if argument != 'help':
        return None
    found = executed(path)
    if 'RECIPES' not in found:
        return (found.get('__doc__') or f'{path} does not say what its get_config takes').strip()
    return recipes.described(path, found)


def at(config, path):
    """The value of a dotted path, None where there is none."""
    value = config
    for name in path.split('.'):
        value = value.get(name) if hasattr(value, 'get') else None
    return value


def adapt(config, renamed):
    """Gives the blocks `student` and `method` the fields of what they name; `renamed`: block -> what the file named, if another."""
    known = methods.defaults(config.method.name) if at(config, 'method.name') else None
    if known is not None:
        config.method = known | ({} if 'method' in renamed else config.method.to_dict())
    if at(config, 'student.name'):
        config.student = {'args': {}, **config.student.to_dict()}
    if 'student' in renamed:
        name = config.student.name
        try:
            has = models.network_fields(models.network_class(name))
        except ValueError as e:
            raise ValueError(f'config.student.name: {e}') from e
        other = [k for k in config.student.args if k not in has]
        config.student.args = {k: v for k, v in config.student.args.items() if k in has}
        if other:
            writers.say(f'{name} has no {", ".join(other)}: what the config file says of them does not count')


def place(config, path, text):
    """Sets one field; ValueError naming it where there is no such field, or `text` is not of its type."""
    *parents, name = path.split('.')
    block, prefix = config, ''
    if parents[:1] == ['stages'] and len(parents) > 1:
        block, prefix, parents = stage_block(config, parents[1], [*parents, name][2]), '.'.join(parents[:2]) + '.', parents[2:]
    for i, parent in enumerate(parents):
        if not hasattr(block, 'items') or parent not in block:
            raise unknown(config, block, prefix + '.'.join(parents[: i + 1]))
        block = block[parent]
    # an optimiser block of a network's own may be empty in the file
    more = optim.DEFAULTS if parents and parents[-1].endswith('optimizer') else {} if parents else OPTIONAL
    known = hasattr(block, 'items') and (name in block or '.'.join(parents) in OPEN or name in more)
    if not known:
        raise unknown(config, block, path)
    with block.unlocked(), block.ignore_type():
        block[name] = value(text, block.get(name, more.get(name)), f'--config.{path}={text}')


def stage_block(config, which, field):
    """The block of the stage called or numbered `which`, with the config's `field` where it has none of its own."""
    blocks = config.get('stages') or ()
    found = [b for i, b in enumerate(blocks) if which in (str(i), b.get('name'))]
    if not found:
        names = ', '.join(b.get('name', '') for b in blocks) or 'none'
        raise ValueError(f"config.stages has no '{which}' (stages: {names})")
    if field not in found[0] and field in config:
        value = config[field]
        found[0][field] = value.copy_and_resolve_references() if hasattr(value, 'items') else value
    return found[0]


def unknown(config, block, path):
    """ValueError for a field that is none of `block`'s, with the nearest that is, of the block or anywhere."""
    parent, _, name = path.rpartition('.')
    if not hasattr(block, 'items'):
        return ValueError(f"config field '{path}' is unknown: {parent} holds a value, not fields")
    elsewhere = [p for p in configs.flat(config.to_dict()) if p.rpartition('.')[2] == name]
    hint = fields.meant(name, block) or (f", did you mean '{elsewhere[0]}'?" if elsewhere else '')
    return ValueError(f"config field '{path}' is unknown" + (hint or f' (fields of {parent or "the config"}: {", ".join(block)})'))


def value(text, like, where):
    """`text` as a value of the type of `like`, of any type where that is None; ValueError that begins with `where`."""
    try:
        if isinstance(like, str):
            return text
        if isinstance(like, bool):
            return {'true': True, '1': True, 'false': False, '0': False}[text.lower()]
        if isinstance(like, int | float):
            return type(like)(text)
        if hasattr(like, 'items'):
            return ml_collections.ConfigDict(ast.literal_eval(text))
        if isinstance(like, tuple | list):
            given = ast.literal_eval(text) if text else ()
            return tuple(given) if isinstance(given, tuple | list) else (given,)
    except (ValueError, KeyError, SyntaxError, TypeError, AttributeError, MemoryError, RecursionError):
        kind = fields.KINDS[dict if hasattr(like, 'items') else tuple if isinstance(like, list) else type(like)]
        raise ValueError(f'{where} must be {kind}') from None
    try:
        return ast.literal_eval(text.capitalize() if text in ('true', 'false') else text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def require_read(paths, blocks, stages):
    """Raises ValueError naming the first of the `paths` set on the command line that none of the `stages` reads.

    Args:
      blocks: config.stages; what a block has of its own, its stage does not take from the config. stages: the configs made of them.
    """
    every = [unread(stage) for stage in stages]
    for path in paths:
        top, prefix = path.split('.'), ''
        taken = [i for i, block in enumerate(blocks) if top[0] not in block or top[0] == 'name']
        if top[0] == 'stages' and len(top) > 2:
            taken = [i for i, b in enumerate(blocks) if top[1] in (str(i), b.get('name'))]
            prefix, top = '.'.join(top[:2]) + '.', top[2:]
        if top[0] != 'stages' and not taken:
            names = ', '.join(b.get('name', '') for b in blocks)
            own = f'--config.stages.{blocks[-1].get("name", 0)}.{path}'
            raise ValueError(f'--config.{path} is read by nothing: the stages {names} have their own {top[0]}; set e.g. {own}')
        steps = ['.'.join(top[: n + 1]) for n in range(len(top))]
        reasons = [next((every[i][p] for p in steps if p in every[i]), None) for i in taken]
        if reasons and all(reasons):
            raise ValueError(f'--config.{prefix}{".".join(top)} is read by nothing: {reasons[0]}')


def unread(stage):
    """{field: why} of the fields that the source, the optimiser and the method of a stage do not read."""
    data = stage.data
    every = {name for names in SOURCES.values() for name in names}
    names = every - set(SOURCES.get(data.source, every))
    found = {f'data.{name}': NOT_OF_SOURCE.format(data.source) for name in names}
    if data.source == 'array_record':
        found['data.cache_dir'] = "data.source='array_record' is read from disk"
    if not data.training:
        found |= dict.fromkeys(('data.augment', 'data.workers'), 'data.training=False: no image is trained on')
    elif data.get('workers'):
        found['data.threads'] = f'with data.workers={data.workers} processes make the batches'
    return found | optim.unread(stage.optimizer, 'optimizer') | methods.unread(stage)


def say_smoke(spec, config):
    """Says of a run of a recipe 'smoke' or 'smoke_...' what its numbers are worth."""
    if any(word.partition('_')[0] == 'smoke' for word in spec.partition(':')[2].split(',')):
        writers.say(f'smoke run, {config.steps} steps: shows that everything works, trains nothing')
