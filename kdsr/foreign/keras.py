"""Keras' weight files (.h5), whose layers are known by their order: auto-made names do not sort in it."""

import itertools
import os
import subprocess
import sys

import h5py
import numpy as np

from kdsr.foreign import Unreadable, bounds

REMEDY = "save it with model.save_weights('weights.h5') in Keras 2 or TensorFlow"
STATISTICS = {'moving_mean': 'mean', 'moving_variance': 'var'}
LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED)
FILTERS = (1, 2, 3, 4, 5, 6, 32000)  # HDF5's own and LZF; others are programs that HDF5 would look for and run
PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2]) + 1))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from kdsr.foreign import bounds, keras
keras.read(sys.argv[1], bounds.Budget(float(sys.argv[3]), float(sys.argv[4])))
"""


def tried(path, budget):
    """Unreadable where the HDF5 library dies of a file or does not end on it, which a second process finds out.

    It reads as `read` does, within 5 seconds of computing and one more for 20 MB. Where there are no such limits (Windows)
    nothing is tried. A file that is shorter than it says needs no trial.
    """
    with open(path, 'rb') as file:
        head = file.read(48)
    place = 40 if head[8] < 2 else 28  # of the end of the file, in the two forms of its first block
    end = int.from_bytes(head[place : place + 8], 'little')
    if len(head) < 48 or budget.size < end:
        raise Unreadable(f'it is cut short, it has {budget.size:,} of {end:,} bytes: copy or download it again')
    seconds = 5 + budget.size // 20_000_000
    args = [sys.executable, '-c', PROGRAM, str(path), str(seconds), str(budget.size), str(budget.max_gib)]
    run = subprocess.run(args, env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}, capture_output=True)
    if run.returncode < 0:
        raise Unreadable('the HDF5 library dies of it or does not end on it, it is damaged: copy or download it again')


def read(path, budget=None):
    """{'conv2d/kernel': array, ...} in the order of the file's `layer_names`, the network's own.

    The last part of a key is the variable's name: kernel, bias, gamma, beta, moving_mean, moving_variance, alpha. Only numbers
    with a decimal point are read. Raises Unreadable for a file without that order, for one that refers to other files or to
    other places in it, and for one that declares more than its `budget`; OSError and KeyError for a damaged one.
    """
    budget = budget or bounds.Budget(os.path.getsize(path))
    with h5py.File(path, 'r') as file:
        group = within(file, 'model_weights') if 'model_weights' in file else file
        if 'layer_names' not in group.attrs:
            raise Unreadable(f"it has no 'layer_names', the order of its layers: {REMEDY}")
        found = {}
        for layer in _texts(group.attrs['layer_names']):
            for weight in _texts(within(group, layer).attrs['weight_names']):
                data = within(group, f'{layer}/{weight}')
                if data.dtype.kind == 'f':
                    check(weight, data)
                    budget.take(data.shape, data.dtype.itemsize)
                    if data.chunks:
                        budget.take(data.chunks, data.dtype.itemsize)  # the library holds a whole one
                    found[f'{layer}/{leaf(weight)}'] = data
        return {key: np.asarray(data) for key, data in found.items()}


def within(group, path):
    """A group's part by its path, by hard links alone; Unreadable for links to elsewhere, KeyError where there is none."""
    for part in filter(None, path.split('/')):
        if group.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise Unreadable(f'{ascii(path)} in it is a link to another place or file, which is not followed: {REMEDY}')
        group = group[part]
    return group


def check(name, data):
    """Unreadable where a data set's numbers lie outside the file, or need a foreign program to be read."""
    kept = data.id.get_create_plist()
    if kept.get_external_count() or kept.get_layout() not in LAYOUTS:
        raise Unreadable(f'{ascii(name)} in it takes its numbers from another file or data set, which is not read: {REMEDY}')
    if unknown := [n for n in (kept.get_filter(i)[0] for i in range(kept.get_nfilters())) if n not in FILTERS]:
        raise Unreadable(f'{ascii(name)} in it is compressed by the foreign filter {unknown[0]}: {REMEDY}')


def leaf(weight):
    """'block1/conv2d_1/kernel:0' -> 'kernel'."""
    return weight.rpartition('/')[2].partition(':')[0]


def layers(tensors):
    """{'conv2d': {'kernel': array, ...}, ...} of what `read` gave, in its order."""
    found = {}
    for key, array in tensors.items():
        layer, _, name = key.rpartition('/')
        found.setdefault(layer, {})[name] = array
    return found


def named(tensors, expected):
    """The weights of a file with the house's names for its layers: {'params/head/kernel': array, ...}.

    Args:
      expected: the network's layers with weights, in order, as (house name, a variable that such a layer has).

    ValueError where the file has another kind of layer at a place, or more or fewer of them.
    """
    out = {}
    for i, (layer, wanted) in enumerate(itertools.zip_longest(layers(tensors).items(), expected), 1):
        if not layer or not wanted or wanted[1] not in layer[1]:
            have = f'{layer[0]!r} ({", ".join(list(layer[1])[:4])})' if layer else 'none'
            want = f'{wanted[0]} with a {wanted[1]}' if wanted else 'none'
            raise ValueError(f'layer {i} of the file is {have}, the model has {want}: is it another model?')
        out |= {place(wanted[0], leaf): array for leaf, array in layer[1].items()}
    return out


def place(layer, leaf):
    """House name of a variable, with its collection: ('bn', 'moving_mean') -> 'batch_stats/bn/mean'."""
    return f'batch_stats/{layer}/{STATISTICS[leaf]}' if leaf in STATISTICS else f'params/{layer}/{leaf}'


def _texts(names):
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]
