"""The fields of a config with their values and meanings, as text: `--help` beside a config, and docs/config.md.

python -m kdsr.main --config=fakd:paper --help      recipes, words, and every field of this config
python -m kdsr.manual > docs/config.md
"""

from kdsr import meanings, methods, optim, recipes, settings

# blocks that one line explains
WHOLE = ('student.args', *(f'method.{name}' for name in ('discriminator', 'wide', 'deep', 'content', 'look', 'growth', 'r1')))


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
    line = lambda field, value, about: f'| `{field}` | {value and f"`{value}`"} | {about} |'
    head = ['| field | default | meaning |', '|---|---|---|']
    base = recipes.base().to_dict()
    plain = [line(k, shown(v), meanings.CONFIG[k]) for k, v in base.items() if not isinstance(v, dict)]
    more = [line(k, '', meanings.CONFIG[k]) for k in meanings.CONFIG if k not in base]
    parts = [
        '# Fields of a config',
        'Made by `python -m kdsr.manual`. `--config.FIELD=VALUE` sets one, `--config.stages.NAME.FIELD=VALUE` that of one stage;\n'
        '`python -m kdsr.main --config=FILE:words --help` shows all fields of a recipe with their values.',
        '## Every run',
        '\n'.join([*head, *plain, *more]),
        '## `data`',
        '\n'.join([*head, *(line(f'data.{k}', shown(v), meanings.DATA[k]) for k, v in base['data'].items())]),
        '## `optimizer`, and every block `*_optimizer` of a method',
        '\n'.join([*head, *(line(f'optimizer.{k}', shown(v), meanings.OPTIMIZER[k]) for k, v in optim.DEFAULTS.items())]),
    ]
    for name in methods.names():
        block = {k: v for k, v in methods.defaults(name).items() if k != 'name'}
        values = {k: '{}' if k.endswith('optimizer') else shown(v) for k, v in block.items()}
        about = meanings.METHODS[name]
        parts += [f'## `method.name={name}`', '\n'.join([*head, *(line(f'method.{k}', values[k], about[k]) for k in block)])]
    return '\n\n'.join(parts)


if __name__ == '__main__':
    print(page())
