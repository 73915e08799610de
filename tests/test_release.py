"""What a release is made of: one version, dependencies in step, cards that agree, a wheel that works outside of the checkout."""

import ast
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import pytest
import tiny
from packaging.requirements import Requirement

import kdsr

HERE = pathlib.Path(__file__).resolve().parents[1]
TREE = ('kdsr', 'experiments', 'tests', 'benchmarks', 'colab', 'docs')
CONFIG = tomllib.loads((HERE / 'pyproject.toml').read_text())
PROJECT, SETUPTOOLS = CONFIG['project'], CONFIG['tool']['setuptools']
EXTRAS = PROJECT['optional-dependencies']
# What the extras bring, as it is imported.
BARRED = (
    'skimage tensorflow_datasets importlib_resources pyarrow wandb tensorflow ai_edge_litert jax2onnx onnx onnxruntime '
    'torch spandrel pnnx ncnn jupytext nbclient nbformat ipykernel IPython pytest xdist ruff'
)
WITHOUT_EXTRAS = f"""
import sys
for name in {BARRED.split()}:
    sys.modules[name] = None  # importing it is an ImportError
import numpy as np, kdsr
config = kdsr.config('fakd:smoke,baseline', data__path='images', data__source='folder')
kdsr.train(config, 'folder_run')
(row,) = kdsr.evaluate('folder_run', 'images')
assert row['scale'] == 4 and row['psnr_y'] > 5
assert kdsr.upscale(np.zeros((20, 24, 3), np.uint8), model='folder_run').shape == (80, 96, 3)
assert kdsr.export('folder_run', ['torch'], 'files')[0]['checks'][0]['max'] == 0
text = kdsr.report('folder_run', 'report')
assert 'fakd_smoke_baseline' in text and 'no crops: the photographs of scikit-image' in text, text
for fields, cure in (
    ({{}}, 'pip install scikit-image'),
    ({{'data__source': 'tfds'}}, 'pip install tensorflow-datasets importlib_resources'),
    ({{'wandb': 'mine', 'data__path': 'images'}}, 'pip install wandb'),
):
    try:
        kdsr.train(kdsr.config('fakd:smoke,baseline', **fields), 'refused_run')
    except (FileNotFoundError, ModuleNotFoundError) as e:
        assert cure in str(e), e
    else:
        raise AssertionError(f'no error that says {{cure}}')
print(kdsr.__file__)
"""


def requirements(lines):
    """{name: (versions, marker)}; an extra of kdsr itself counts as what it brings."""
    found = {}
    for need in map(Requirement, lines):
        if need.name == 'kdsr':
            found |= requirements(line for extra in need.extras for line in EXTRAS[extra])
        else:
            found[need.name] = (str(need.specifier), str(need.marker or ''))
    return found


def test_one_version():
    at_line = lambda name, pattern: re.search(pattern, (HERE / name).read_text(), re.M)[1]
    assert SETUPTOOLS['dynamic']['version'] == {'attr': 'kdsr.__version__'} and 'version' in PROJECT['dynamic']
    assert at_line('CITATION.cff', r'^version: (\S+)$') == kdsr.__version__
    assert at_line('CHANGELOG.md', r'^## (\S+)$') == kdsr.__version__, 'the newest stands first'


def test_every_package_is_listed():
    folders = {file.parent.relative_to(HERE) for file in (HERE / 'kdsr').rglob('*.py')}
    assert SETUPTOOLS['packages'] == sorted({'.'.join(folder.parts) for folder in folders} | {'kdsr.experiments'})
    assert SETUPTOOLS['package-dir'] == {'kdsr.experiments': 'experiments'}


def test_dependencies_are_in_step_with_the_requirements():
    """requirements.txt is what the README's commands install: dependencies and the extra 'test', each with one minimum."""
    listed, needed = requirements((HERE / 'requirements.txt').read_text().splitlines()), requirements(PROJECT['dependencies'])
    assert needed.items() <= listed.items()
    assert listed.items() <= (needed | requirements(EXTRAS['test'])).items()
    for name, lines in EXTRAS.items():
        brought = requirements(lines)
        assert not brought.keys() & needed.keys(), f'{name} repeats what is there already'
        assert all(versions.startswith('>=') for versions, _ in brought.values())
        assert all(listed.get(k, v) == v for k, v in brought.items())


def test_what_kdsr_imports_is_brought_by_the_dependencies():
    """By the names of their imports; what is imported inside a function may also be an extra's."""
    names = {'orbax-checkpoint': 'orbax', 'absl-py': 'absl', 'pillow': 'PIL'}
    brought = {names.get(name, name.replace('-', '_')) for name in requirements(PROJECT['dependencies'])}
    known = brought | set(sys.stdlib_module_names) | {'kdsr', 'ml_dtypes'}  # jax's number types, of which it is made
    for path in [*(HERE / 'kdsr').rglob('*.py'), *(HERE / 'experiments').glob('*.py')]:
        tree = ast.parse(path.read_text())
        lazy = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
        for node in (n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)):
            for name in [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]:
                top = name.split('.')[0]
                assert top in known or id(node) in lazy and top in BARRED.split(), f'{path}: {name}'


@pytest.mark.parametrize('folder', sorted((HERE / 'kdsr' / 'pretrained').iterdir()), ids=lambda p: p.name)
def test_cards_agree_with_the_weights(folder):
    """CARD.md names parameters, commit, command, pictures and their terms, and has the scores of model.json."""
    assert sorted(p.name for p in folder.iterdir()) == ['CARD.md', 'model.json', 'weights.safetensors']
    text, card = (folder / 'CARD.md').read_text(), json.loads((folder / 'model.json').read_text())
    command = card['command'] if isinstance(card['command'], str) else card['command'][-1]
    flat = ' '.join(text.split())
    for said in (
        f'{card["parameters"]:,} parameters',
        f'commit {card["commit"]}',
        command,
        f'--model={folder.name} ',
        'Apache-2.0',
    ):
        assert said in flat, said
    pictures = {
        'T91': 'T91 ',
        'BSDS500 train and test': 'BSDS500, train and test ',
        'photographs at half size': 'photographs at half ',
    }
    for name, count in card['data'].items():
        assert name == 'validation' or re.search(rf'\| {pictures[name]}[^|]*\| {count} \| \w', text), name
    for name, scores in card['scores'].items():
        if not name.startswith('validation'):
            row = re.search(rf'^\| {name.replace("/", " ")} \|.*\| ([\d.]+) / ([\d.]+)[^|]* \|$', text, re.M)
            assert abs(float(row[1]) - scores['psnr_y']) < 6e-4 and abs(float(row[2]) - scores['ssim_y']) < 6e-5, name


def run(program, *args, cwd, code=0):
    """A process that has nothing of the checkout."""
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'} | {'JAX_PLATFORMS': 'cpu'}
    done = subprocess.run([program, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == code, done.stdout + done.stderr[-3000:]
    return done


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A copy to build from: setuptools leaves build/ where it builds, and would take files of another day from there."""
    folder = tmp_path_factory.mktemp('tree') / 'kdsr'
    for name in TREE:
        shutil.copytree(HERE / name, folder / name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    for file in HERE.glob('*.*'):
        if file.is_file() and not file.name.startswith('.'):
            shutil.copy(file, folder)
    shutil.copy(HERE / 'LICENSE', folder)
    return folder


@pytest.fixture(scope='module')
def wheel(tree):
    """The wheel, made as the build system of pyproject.toml says; its setuptools comes from an index."""
    run(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--wheel-dir=dist', '.', cwd=tree)
    (file,) = (tree / 'dist').glob('*.whl')
    return file


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """(bin folder, empty folder to work in) of an environment with the wheel; its dependencies are those of this one."""
    room = tmp_path_factory.mktemp('installed')
    venv.create(room / 'venv', symlinks=True)
    python = room / 'venv' / 'bin' / 'python'
    run(sys.executable, '-m', 'pip', f'--python={python}', 'install', '-q', '--no-deps', '--no-index', wheel, cwd=room)
    site = run(python, '-c', "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=room).stdout.strip()
    # a path in a .pth file comes after the environment's own, and the .pth files there are not read: no checkout
    paths = dict.fromkeys(sysconfig.get_path(kind) for kind in ('purelib', 'platlib'))
    (pathlib.Path(site) / 'dependencies.pth').write_text('\n'.join(paths))
    (room / 'work').mkdir()
    tiny.folder(room / 'work' / 'images', height=96, width=96)
    return python.parent, room / 'work'


@pytest.mark.slow
def test_the_wheel_holds_kdsr_and_nothing_else(tree, wheel):
    package = tree / 'kdsr'
    kept = [*package.rglob('*.py'), *package.glob('pretrained/*/*'), *package.glob('data/photos/*')]
    recipes = {f'kdsr/experiments/{file.name}' for file in tree.glob('experiments/*.py')}
    expected = recipes | {str(file.relative_to(tree)) for file in kept}
    with zipfile.ZipFile(wheel) as archive:
        info = f'kdsr-{kdsr.__version__}.dist-info'
        assert {name for name in archive.namelist() if not name.startswith(info)} == expected
        metadata = archive.read(f'{info}/METADATA').decode()
        assert archive.read(f'{info}/licenses/LICENSE') == (HERE / 'LICENSE').read_bytes()
    assert {'kdsr/experiments/fakd.py', 'kdsr/pretrained/light_x4/CARD.md'} <= expected
    needs = [line.partition(': ')[2] for line in metadata.splitlines() if line.startswith('Requires-Dist: ')]
    assert requirements(line for line in needs if 'extra ==' not in line) == requirements(PROJECT['dependencies'])
    assert 'License-Expression: Apache-2.0' in metadata and f'\nVersion: {kdsr.__version__}\n' in metadata


@pytest.mark.slow
def test_the_wheel_works_outside_of_the_checkout(installed):
    bin_, work = installed
    command = lambda *args, **kwargs: run(bin_ / 'kdsr', *args, cwd=work, **kwargs)
    assert command('--version').stdout.strip() == kdsr.__version__
    origin = run(bin_ / 'python', '-c', 'import kdsr; print(kdsr.__file__)', cwd=work).stdout.strip()
    assert pathlib.Path(origin).is_relative_to(bin_.parent) and not pathlib.Path(origin).is_relative_to(HERE)
    assert re.search(r'^ *(--config=\S*:)?smoke\b', command('train', 'fakd:help').stdout, re.M)
    assert "no config file 'fakdd', did you mean 'fakd'" in command('train', 'fakdd', code=1).stderr
    command('upscale', 'images/0000.png', '--out=large')
    assert [file.name for file in (work / 'large').iterdir()] == ['0000_x4.png']
    smoke = run(bin_ / 'python', '-m', 'kdsr.main', '--config=fakd:smoke', '--workdir=smoke', cwd=work)
    assert '| validation/x4 | student |' in smoke.stdout and (work / 'smoke' / 'export' / 'student' / 'model.json').is_file()


@pytest.mark.slow
def test_the_wheel_works_without_the_extras(installed):
    """Trains on a folder, evaluates, upscales, exports and reports; where an extra is missing, the error says what an index has."""
    bin_, work = installed
    told = run(bin_ / 'python', '-c', WITHOUT_EXTRAS, cwd=work)
    assert pathlib.Path(told.stdout.splitlines()[-1]).is_relative_to(bin_.parent)
