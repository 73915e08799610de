"""The house rules: who imports whom, no second loop, no drawers, files of a readable size."""

import ast
import pathlib
import re

import pytest

HERE = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted((HERE / 'kdsr').rglob('*.py'))

# room -> what it may import of kdsr besides itself and the leaves; a command's `if __name__ == '__main__'` does not count
LEAVES = {'allocator', 'compiled', 'gains', 'named', 'labels', 'console', 'fields', 'lock', 'metrics', 'paths', 'quiet', 'types'}
ALLOWED = {
    **{leaf: set() for leaf in LEAVES},
    'fields': {'named'},
    'losses': set(),
    'growth': set(),
    'curves': set(),
    'models': {'data.resize'},
    'optim': set(),
    'sheets': set(),
    'writers': set(),
    'parallel': set(),
    'pictures': set(),
    'commands': {'writers'},
    'peers': {'writers'},
    'nets': {'models'},
    'taps': {'models', 'nets'},
    'critics': {'data.sharpening', 'losses', 'models', 'nets'},
    'sights': {'data.resize'},
    'steps': {'nets', 'optim'},
    'consistency': set(),
    'history': set(),
    'methods': {
        'consistency',
        'critics',
        'data.resize',
        'data.sharpening',
        'growth',
        'history',
        'losses',
        'models',
        'nets',
        'optim',
        'sights',
        'steps',
        'taps',
    },
    'data': set(),
    'recipes': {'optim'},
    'config': {'optim', 'recipes'},
    'cost': {'models'},
    'tiling': {'data.resize'},
    'protocols': {'data.resize'},
    'niqe': {'data.resize'},
    'frechet': {'foreign', 'models'},
    'evaluate': {'commands', 'data', 'frechet', 'models', 'niqe', 'protocols', 'writers'},
    'foreign': {'models'},
    'convert': {'commands', 'foreign', 'models'},
    'blend': {'commands', 'models'},
    'teachers': {'convert', 'data', 'foreign', 'models', 'pictures', 'tiling'},
    'teach': {'commands', 'data', 'teachers'},
    'upscale': {'commands', 'evaluate', 'models', 'pictures', 'tiling', 'writers'},
    'export': {'commands', 'data', 'evaluate', 'foreign', 'models', 'tiling', 'writers'},
    'runs': {'config', 'models'},
    'tables': {'evaluate', 'models', 'runs'},
    'crops': {'data', 'evaluate', 'models', 'runs'},
    'page': {'crops', 'document', 'tables'},
    'document': set(),
    'compare': {'commands', 'cost', 'crops', 'data', 'document', 'evaluate', 'models', 'sheets', 'teachers', 'writers'},
    'report': {'commands', 'crops', 'curves', 'frechet', 'page', 'runs', 'tables', 'writers'},
    'checkpoints': {'parallel', 'writers'},
    'carry': {'checkpoints', 'optim', 'parallel', 'writers'},
    'outcome': {'cost', 'crops', 'data', 'evaluate', 'models', 'nets', 'parallel', 'sheets', 'writers'},
    'rescore': {'data', 'evaluate', 'models', 'outcome', 'parallel', 'writers'},
    'train': {'carry', 'checkpoints', 'config', 'data', 'methods', 'outcome', 'parallel', 'peers', 'writers'},
    'settings': {'config', 'methods', 'models', 'optim', 'recipes', 'writers'},
    'budget': {'commands', 'cost', 'data', 'methods', 'models', 'nets', 'parallel', 'settings', 'stages', 'writers'},
    'study': {'commands', 'evaluate', 'frechet', 'recipes', 'settings', 'stages', 'writers'},
    'stages': {'config', 'methods', 'models', 'parallel', 'rescore', 'settings', 'train', 'writers'},
    'main': {'commands', 'peers', 'settings', 'stages', 'writers'},
    'manual': {'meanings', 'methods', 'optim', 'recipes', 'settings', 'stages'},
    'meanings': set(),
    'api': {
        'commands',
        'compare',
        'evaluate',
        'export',
        'models',
        'report',
        'settings',
        'stages',
        'teach',
        'teachers',
        'tiling',
        'upscale',
    },  # fmt: skip
    '__main__': set(),
    '__init__': {'api'},
}
LEAN = {'losses': {'jax', 'numpy'}, 'metrics': {'jax', 'numpy'}}


def imports(path):
    """Dotted names that a file imports, 'kdsr.data.resize' for `from kdsr.data import resize`."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and '__main__' in ast.dump(node.test))]
    for node in ast.walk(tree):
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
    allowed = ALLOWED[room(path)] | {room(path)} | (LEAVES if room(path) not in LEAVES | {'losses'} else set())
    assert [n for n in ours if not any(n == a or n.startswith(a + '.') for a in allowed)] == []
    if room(path) in LEAN:
        assert {n.split('.')[0] for n in names if not n.startswith('kdsr.')} <= LEAN[room(path)] | {
            'functools',
            'collections',
            'math',
        }


def test_there_is_one_loop():
    for path in (HERE / 'kdsr' / 'methods').glob('*.py'):
        text = path.read_text()
        assert 'for step' not in text and 'CheckpointManager(' not in text, path
        assert path.stem == '__init__' or '\ndef make(cfg):' in text, 'a method is a file here that has make'


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


def test_tests_share_by_modules_that_hold_no_tests():
    """What two test files need stands in a module of its own: importing a test file runs its tests' set-up twice."""
    for path in sorted((HERE / 'tests').glob('*.py')):
        names = [name for name in imports(path) if name.split('.')[0].startswith('test_')]
        assert names == [], path


@pytest.mark.parametrize('path', sorted((HERE / 'tests').glob('test_*.py')), ids=lambda p: p.stem)
def test_every_test_can_fail(path):
    """It asserts, raises or compares something, and no assertion holds constants alone."""
    tree = ast.parse(path.read_text())
    constants = {}
    for node in (n for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)):
        if not any(isinstance(part, ast.Call) for part in ast.walk(node.value)):
            constants[node.targets[0].id] = node
    checks = re.compile(r'raises|assert|close|command|check|agree|equal')
    for test in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith('test_')):
        asserted = [n for n in ast.walk(test) if isinstance(n, ast.Assert)]
        assert asserted or checks.search(ast.unparse(test.body)), f'{test.name} cannot fail'
        for node in asserted:
            names = {part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)}
            assert names - constants.keys(), f'{test.name}: `{ast.unparse(node)}` compares what is written in the test'
