"""README and docs: lengths, links, and that every command in them is one that there is; the README's tasks are run."""

import functools
import importlib.util
import re
import shlex
import shutil

import numpy as np
import pytest
import tiny
from PIL import Image
from shell import HERE, command

import kdsr
from kdsr import settings
from kdsr.__main__ import COMMANDS

PAGES = [HERE / 'README.md', *sorted((HERE / 'docs').glob('*.md'))]
README = (HERE / 'README.md').read_text()


def commands(text):
    """[words] of every command of kdsr in a page: in its code blocks, and between backquotes."""
    blocks = re.findall(r'```\w*\n(.*?)```|((?:^ {4}.+\n)+)', text, re.S | re.M)
    lines = [line.strip() for pair in blocks for line in ''.join(pair).replace('\\\n', ' ').splitlines()]
    lines += re.findall(r'`([^`\n]+)`', text)
    found = []
    for line in lines:
        for part in line.split('&&'):
            words = part.split('#')[0].split()
            while words and '=' in words[0] and words[0][0].isupper():  # FIELD=VALUE before the command
                words = words[1:]
            if words[:2] == ['python', '-m'] and words[2:] and words[2].startswith('kdsr'):
                found.append(words[2:])
            elif words[:1] == ['kdsr'] and len(words) > 1 and words[1] in COMMANDS:
                module, _, config = COMMANDS[words[1]]
                rest = [f'--config={words[2]}', *words[3:]] if config and words[2:] and words[2][0] != '-' else words[2:]
                found.append([f'kdsr.{module}', *rest])
    return found


@functools.cache
def flags_of(module):
    """Names of the flags that a command takes."""
    return set(re.findall(r'--(?:\[no\])?(\w+)', command(module, '--helpfull').stdout)) | {'help', 'helpfull'}


def test_pages_are_short_enough_to_be_read():
    lines = {page.name: len(page.read_text().splitlines()) for page in PAGES}
    assert lines.pop('README.md') <= 150 and max(lines.values()) <= 250, lines


def test_every_link_leads_somewhere():
    """Files beside the page, and headings in them as GitHub names them."""
    slug = lambda heading: re.sub(r'[^\w\- ]', '', heading.strip().lower()).replace(' ', '-')
    for page in PAGES:
        for target in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
            if target.startswith('https://'):
                continue
            path, _, anchor = target.partition('#')
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f'{page.name}: {target}'
            if anchor:
                assert anchor in [slug(h) for h in re.findall(r'^#+ (.*)$', file.read_text(), re.M)], f'{page.name}: {target}'


@pytest.mark.slow
@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.stem)
def test_every_command_is_one_that_there_is(page):
    """Its module, its flags, its recipe and fields. What is optional, [--like=this], is left to the pages' tables."""
    for module, *words in commands(page.read_text()):
        assert importlib.util.find_spec(module), module
        given = [w.lstrip('-').partition('=')[0] for w in words if re.match(r'--\w', w)]
        flags = flags_of(module)
        unknown = [w for w in given if not {w, w.removeprefix('no')} & flags and not w.startswith('config.')]
        assert not unknown, f'{module} {" ".join(words)}'
        specs = [w.removeprefix('--config=') for w in words if w.startswith('--config=')]
        fields = [w.removeprefix('--config.') for w in words if w.startswith('--config.')]
        for spec in specs:
            path = spec.partition(':')[0]
            if re.search(r'[A-Z\[]', spec) or 'mine.' in ' '.join(words) or spec.endswith(':help'):
                continue  # FILE.py, [words], and what another test runs
            fields = [f for f in fields if 'FIELD' not in f and 'NAME' not in f and '[' not in f and '...' not in f]
            settings.read(f'{HERE / path}{spec[len(path) :]}' if '/' in path else spec, fields)


def test_every_recipe_that_is_named_exists():
    specs = {spec for page in PAGES for spec in re.findall(r'experiments/\w+\.py(?::[\w,]+)?', page.read_text())}
    assert len(specs) >= 15
    for spec in specs:
        if not spec.endswith((':help', ':word', ':words', ':word,word')) and '/FILE' not in spec:
            settings.load(f'{HERE}/{spec}')


# The README to the letter


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the photo, the photos, the benchmarks and the weights that the README speaks of."""
    Image.fromarray(tiny.picture(40, 50, 0)).save(tmp_path / 'photo.jpg')
    tiny.folder(tmp_path / 'photos', count=3, height=96, width=96)
    for name in ('Set5', 'Set14'):
        tiny.folder(tmp_path / name / 'HR', count=1, height=96, width=96)
    args = {'features': 8, 'blocks': 2}
    from kdsr import models
    from kdsr.models import exports

    rng, net = np.random.default_rng(0), models.build('edsr', **args)
    import jax

    shapes = jax.eval_shape(net.init, jax.random.key(0), models.example(net)[0])
    weights = jax.tree.map(lambda s: np.float32(rng.uniform(-0.1, 0.1, s.shape)), shapes)
    exports.save(tmp_path / 'edsr', name='edsr', args=args, variables=weights)
    (card,) = kdsr.export(tmp_path / 'edsr', 'torch', tmp_path / 'weights', say=None)
    shutil.copy(tmp_path / 'weights' / card['file'], tmp_path / 'net.pth')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_three_tasks_of_the_readme_to_the_letter(desk):
    """In smoke sizes: four steps of training, and StableHLO where TensorFlow is not installed."""
    section = README.partition('## Three tasks')[2].partition('```pycon')[0]
    lines = [line for block in re.findall(r'```\n(.*?)```', section, re.S) for line in block.splitlines()]
    assert len(lines) == 7
    for line in lines:
        words = shlex.split(line)
        if words[1] == 'train':
            words += [f'--config.{k}=4' for k in ('steps', 'eval_every', 'save_every', 'batch_size')] + ['--config.patch=16']
        if words[1] == 'export' and not importlib.util.find_spec('tensorflow'):
            words = [w.replace('tflite,ncnn', 'stablehlo') for w in words]
        command(*words, cwd=desk)
    assert (desk / 'large' / 'photo_x4.jpg').is_file() and len(list((desk / 'large').glob('*.png'))) == 3
    assert (desk / 'runs' / 'light' / 'export' / 'student').is_dir() and list((desk / 'phone').glob('light_x4*'))


@pytest.mark.slow
def test_the_python_of_the_readme_to_the_letter(desk):
    section = README.partition('## From Python')[2]
    program = re.search(r'```python\n(.*?)```', section, re.S)[1].replace('steps=20', 'steps=2')
    found = {}
    exec(program, found)  # the README is ours
    assert found['results']['steps'] == 2 and found['rows'][0]['set'] == 'Set5'
    assert [path.name for path in found['large']] == ['photo_x4.jpg'] and found['cards'] and '| `fakd_smoke`' in found['text']


@pytest.mark.slow
def test_adding_ones_own_works_to_the_letter(tmp_path):
    """The files and commands of docs/extend.md, in an empty folder."""
    section = (HERE / 'docs' / 'extend.md').read_text()
    files = re.findall(r'```python\n# (mine/\S+\.py)(.*?)```', section, re.S)
    lines = re.findall(r'`python -m (kdsr\.main .*?mine\..*?)`', section)
    assert [name for name, _ in files] == ['mine/losses.py', 'mine/espcn.py', 'mine/soft.py', 'mine/stack.py'] and len(lines) == 4
    (tmp_path / 'mine').mkdir()
    for name, text in files:
        (tmp_path / name).write_text(f'#{text}')
    (tmp_path / 'experiments').symlink_to(HERE / 'experiments')
    np.save(tmp_path / 'photos.npy', np.stack([tiny.picture(96, 96, i) for i in range(6)]))
    for i, line in enumerate(lines):
        run = command(*shlex.split(line), f'--workdir=run{i}', cwd=tmp_path)
        assert '| validation/x4 | student |' in run.stdout
    assert '"w_edges": 0.5' in (tmp_path / 'run2' / 'config.json').read_text()
