"""The house rules: who imports whom, no second loop, no drawers, files of a readable size."""

import ast
import pathlib
import re

import pytest

HERE = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted((HERE / 'kdsr').rglob('*.py'))

# room -> what it may import of kdsr besides itself; `compiled`, `types`, `fields` and `paths` are leaves
ALLOWED = {
    'losses': set(),
    'metrics': set(),
    'types': set(),
    'compiled': set(),
    'fields': set(),
    'models': {'compiled', 'metrics', 'data.resize', 'paths'},
    'methods': {'critics', 'data.resize', 'fields', 'growth', 'losses', 'models', 'nets', 'optim', 'steps', 'taps', 'types'},
    'critics': {'fields', 'losses', 'models', 'nets'},
    'nets': {'models', 'types'},
    'steps': {'nets', 'optim', 'types'},
    'taps': {'fields', 'models', 'nets'},
    'growth': set(),
    'data': {'types', 'commands', 'metrics', 'paths'},
    'paths': set(),
    'pictures': {'paths'},
    'tiling': {'data.resize'},
}
LEAN = {'losses': {'jax', 'numpy'}, 'metrics': {'jax', 'numpy'}}


def imports(path):
    """Dotted names that a file imports, 'kdsr.data.resize' for `from kdsr.data import resize`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{a.name}' for a in node.names)


def room(path):
    return path.relative_to(HERE / 'kdsr').parts[0].removesuffix('.py')


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(HERE)))
def test_rooms_import_only_what_they_may(path):
    names = [n for n in imports(path)]
    ours = [n.removeprefix('kdsr.') for n in names if n.startswith('kdsr.')]
    if room(path) in ALLOWED:
        allowed = ALLOWED[room(path)] | {room(path)}
        assert [n for n in ours if not any(n == a or n.startswith(a + '.') for a in allowed)] == []
    if room(path) in LEAN:
        assert {n.split('.')[0] for n in names if not n.startswith('kdsr.')} <= LEAN[room(path)] | {
            'functools',
            'collections',
            'math',
        }
    if path.name not in ('main.py', 'stages.py'):
        assert not [n for n in ours if n == 'train' or n.startswith('train.')]
    if path.name not in ('train.py', 'stages.py', 'settings.py') and room(path) != 'methods':
        assert not [n for n in ours if n == 'methods' or n.startswith('methods.')]


def test_there_is_one_loop():
    for path in (HERE / 'kdsr' / 'methods').glob('*.py'):
        text = path.read_text()
        assert 'for step' not in text and 'CheckpointManager(' not in text, path


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(HERE)))
def test_files_are_readable(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text)), 'a module says in its first line what it is for'
    assert path.stem not in ('utils', 'util', 'helpers', 'common')


def test_the_loop_and_the_command_stay_short():
    lines = lambda name: len((HERE / 'kdsr' / name).read_text().splitlines())
    assert lines('train.py') <= 150 and lines('main.py') <= 60 and lines('parallel.py') <= 120


def test_every_requirement_declares_its_minimum():
    """benchmarks/versions.sh installs it: a bare name has no oldest version that could be tried."""
    lines = (HERE / 'requirements.txt').read_text().splitlines()
    minimum = {m[1]: m[2] for line in lines if (m := re.fullmatch(r'([\w-]+)>=([\d.]+)(; sys_platform != "win32")?', line))}
    assert len(minimum) == len(lines)
    assert f'jax {minimum["jax"]} or newer' in (HERE / 'README.md').read_text()
