"""The fields of a config with their values and meanings, as text: `--help` beside a config, and two pages.

python -m kdsr.main --config=fakd:paper --help      recipes, words, and every field of this config
python -m kdsr.manual > docs/config.md
python -m kdsr.manual methods > docs/config_methods.md
"""

import sys

from kdsr import meanings, methods, optim, recipes, settings

# blocks that one line explains
WHOLE = (
    'student.args',
    *(f'method.{name}' for name in ('discriminator', 'wide', 'deep', 'content', 'look', 'growth', 'r1', 'features', 'history')),
)


def meaning(path, method):
    """What a field means; '' of one that is a network's own, or of a method of somebody's own that has no ABOUT."""
    if path in meanings.CONFIG:
        return meanings.CONFIG[path]
    top, _, rest = path.partition('.')
    block, _, last = rest.rpartition('.')
    if top == 'data':
        return meanings.DATA.get(rest, '')
    if top.endswith('optimizer') or block.endswith('optimizer'):
        return meanings.OPTIMIZER.get(last, '')
    own = meanings.METHODS.get(method) or getattr(methods.module(method), 'ABOUT', {})
    return own.get(rest, '')


def rows(config):
    """[(field, value, meaning)] of all fields of one stage, complete; blocks without fields of their own are one row."""
    found, method = [], config.method.name

    def walk(block, prefix):
        for name, value in block.items():
            path = f'{prefix}{name}'
            if isinstance(value, dict) and value and path not in WHOLE:
                walk(value, f'{path}.')
            else:
                found.append((path, shown(value), meaning(path, method)))

    walk(config.to_dict(), '')
    return found


def shown(value):
    """A value as one would write it on the command line."""
    if isinstance(value, dict):
        return '{' + ', '.join(f'{k}: {shown(v)}' for k, v in value.items()) + '}'
    return f'{value:g}' if isinstance(value, float) else repr(value) if value in ('', ()) else str(value)


def of_config(spec):
    """What `--help` says beside `--config=spec`."""
    from kdsr import stages

    path, _, _ = spec.partition(':')
    found = settings.executed(path)
    parts = [recipes.described(path, found)] if 'RECIPES' in found else []
    config = settings.load(spec.removesuffix(':help'))
    for stage in stages.planned(config):
        listed = [(field, value, about) for field, value, about in rows(stage) if field != 'name']
        wide = min(max(len(f'{field}={value}') for field, value, _ in listed), 60)
        lines = [f'  --config.{f"{field}={value}":{wide}}  {about}'.rstrip() for field, value, about in listed]
        named = f'stages.{stage.name}.FIELD of the stage {stage.name}' if 'stages' in config else config.name
        parts.append('\n'.join([f'Fields of {named}, as they are:', *lines]))
    return '\n\n'.join(parts)


def page():
    """docs/config.md."""
    base = recipes.base().to_dict()
    plain = [(k, shown(v), meanings.CONFIG[k]) for k, v in base.items() if not isinstance(v, dict)]
    more = [(k, '', meanings.CONFIG[k]) for k in meanings.CONFIG if k not in base]
    parts = [
        '# Fields of a config',
        'Made by `python -m kdsr.manual`. `--config.FIELD=VALUE` sets one, `--config.stages.NAME.FIELD=VALUE` that of one stage;\n'
        '`python -m kdsr.main --config=FILE:words --help` shows all fields of a recipe with their values. Those of the methods:\n'
        '[config_methods.md](config_methods.md).',
        '## Every run',
        table([*plain, *more]),
        '## `data`',
        table((f'data.{k}', shown(v), meanings.DATA[k]) for k, v in base['data'].items()),
        '## `optimizer`, and every block `*_optimizer` of a method',
        table((f'optimizer.{k}', shown(v), meanings.OPTIMIZER[k]) for k, v in optim.DEFAULTS.items()),
    ]
    return '\n\n'.join(parts)


def methods_page():
    """docs/config_methods.md."""
    parts = ['# Fields of the methods', 'Made by `python -m kdsr.manual methods`. What they compute: [methods.md](methods.md).']
    for name in methods.names():
        block = {k: v for k, v in methods.defaults(name).items() if k != 'name'}
        values = {k: '{}' if k.endswith('optimizer') else shown(v) for k, v in block.items()}
        rows = ((f'method.{k}', values[k], meanings.METHODS[name][k]) for k in block)
        parts += [f'## `method.name={name}`', table(rows)]
    return '\n\n'.join(parts)


def table(rows):
    """Markdown of (field, default, meaning)."""
    lines = [f'| `{field}` | {value and f"`{value}`"} | {about} |' for field, value, about in rows]
    return '\n'.join(['| field | default | meaning |', '|---|---|---|', *lines])


if __name__ == '__main__':
    print(methods_page() if sys.argv[1:] == ['methods'] else page())
