"""Files from strangers: what they may ask for, what they may hold besides weights, and what becomes of 150 hostile ones."""

import collections
import io
import json
import os
import pathlib
import pickle
import subprocess
import sys

import h5py
import malformed
import numpy as np
import pytest
from pickled import FIXTURES, archive, string, tensor
from shell import HERE

from kdsr.foreign import bounds, formats, keras, pickles


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
@pytest.mark.parametrize('every', [5, pytest.param(1, marks=pytest.mark.slow)])
def test_hostile_files_are_one_line(tmp_path, every):
    """No traceback, nothing runs, nothing of another file is read, under 1 GiB and 10 s; all files are smaller than 2 MB."""
    folder = tmp_path / 'files'
    folder.mkdir()
    malformed.make(folder, everything=every == 1)
    assert len(os.listdir(folder)) >= (150 if every == 1 else 145) and max(f.stat().st_size for f in folder.iterdir()) < 2e6
    env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(HERE)}
    args = [sys.executable, malformed.__file__, folder, every]
    run = subprocess.run(list(map(str, args)), env=env, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    *lines, memory = run.stdout.splitlines()
    assert max(map(int, memory.split())) < 2**20 and len(lines) >= 145 // every
    for name, seconds, line in map(json.loads, lines):
        assert seconds < 10 and '\n' not in line and (name in line or name == 'many blocks'), (name, seconds, line)
    assert not (folder / 'ran').exists()


@pytest.mark.parametrize('kind', ['zip', 'stream'])
def test_what_a_training_checkpoint_holds_beside_its_weights(kind):
    """Written by PyTorch 2.13, which reads them with weights_only=True: states of an optimiser and three schedules, a Counter,
    an OrderedDict, torch.device, torch.Size, dtypes, a layout, sets, a complex number, bytes, tensors of odd kinds."""
    arrays, taken, others = formats.read(FIXTURES / f'torch_training_{kind}.pth')
    assert (taken, others) == ('state_dict', ())
    assert list(arrays) == ['0.weight', '0.bias', '1.weight', '1.bias', '1.running_mean', '1.running_var']
    np.testing.assert_allclose(arrays['0.weight'].ravel(), np.sin(2 + np.arange(54)), rtol=2e-5)


def test_collections_beside_weights(tmp_path):
    """Also a defaultdict, whose factory is only named, and a frozenset."""
    rest = {'a': collections.defaultdict(set, {1: 2}), 'b': collections.Counter('aab'), 'c': frozenset({1}), 'd': {(1, 2): {3}}}
    opcodes = pickle.dumps(rest, 2)[2:-1] + string('w') + tensor('0', 6, (6,), (1,)) + b's'
    assert list(formats.read(archive(tmp_path / 'w.pth', opcodes, [malformed.NUMBERS])).arrays) == ['w']


def test_which_weights_of_a_checkpoint_are_taken(tmp_path):
    """Averaged ones before others, at the top or within a generator's; --key takes any other place."""

    def opcodes(tree):  # a number i is a tensor of the one number i
        one = lambda v: opcodes(v) if isinstance(v, dict) else tensor('0', 6, (1,), (1,), offset=v)
        return b'}' + b''.join(string(name) + one(value) + b's' for name, value in tree.items())

    def taken(tree, key=''):
        found = formats.read(archive(tmp_path / 'w.pth', opcodes(tree), [malformed.NUMBERS]), key)
        return found.taken, found.arrays['w'].tolist(), found.others

    for averaged in ('params_ema', 'ema_state_dict', 'model_ema'):
        tree = {'params': {'w': 0}, averaged: {'w': 1}, 'optimizer': {'w': 2}}
        assert taken(tree) == (averaged, [1], ('params',))
        assert taken(tree, 'params')[:2] == ('params', [0]) and taken(tree, 'optimizer')[:2] == ('optimizer', [2])
    for wrapper in ('net', 'G', 'generator', 'state_dict'):
        assert taken({'D': {'w': 0}, wrapper: {'w': 1}})[:2] == (wrapper, [1])
    tree = {'generator': {'state_dict': {'netG.w': 0}, 'ema_state_dict': {'module.w': 1}}}
    assert taken(tree) == ('generator.ema_state_dict', [1], ('generator.state_dict',))
    assert taken(tree, 'generator.state_dict')[1] == [0]
    with pytest.raises(ValueError, match="it has no 'weights', only generator.ema_state_dict, generator.state_dict: choose"):
        taken(tree, 'weights')


@pytest.mark.parametrize('protocol', [0, 1, 2, 3, 4, 5])
def test_all_protocols_mean_what_they_mean_to_python(protocol):
    shared = ['a', 1, -70_000, 2**70, 1.5, True, None, b'\0\xff', 'ü', (), (1,), (1, 2), (1, 2, 3, 4)]
    tree = {'list': shared, 'again': shared, 'deep': {'x': [{}, [[]]]}, 3: (shared, {2.5: 'y'})}
    blob = pickle.dumps(tree, protocol) + pickle.dumps('next', protocol)
    file, find = io.BytesIO(blob), lambda module, name: lambda text, encoding: text.encode('latin1')
    assert pickles.load(file, find, None) == tree and pickles.load(file, find, None) == 'next'


def test_bounds_are_checked_before_memory_is_taken(tmp_path):
    """The sum of all tensors, in every format, against the size of the file and --max_gib."""
    ones = np.ones((512, 512), np.float32)
    np.savez(tmp_path / 'w.npz', a=ones, b=ones)
    (tmp_path / 'w.safetensors').write_bytes(malformed.safetensors.save({'a': ones, 'b': ones}))
    malformed.keras(tmp_path / 'w.h5', lambda group, _: group.create_dataset('kernel:0', data=np.ones(2**19, np.float32)))
    malformed.archive(tmp_path / 'w.pth', malformed.named({'w': tensor('0', 2**19, (2**19,), (1,))}), blob=bytes(2**21))
    for kind in ('npz', 'safetensors', 'h5', 'pth'):
        gib = 2 / 1024
        assert formats.read(tmp_path / f'w.{kind}', max_gib=gib).arrays
        with pytest.raises(ValueError, match=r'its tensors take 0.00 GiB, more than --max_gib=.*: give a larger --max_gib'):
            formats.read(tmp_path / f'w.{kind}', max_gib=gib * 0.9)
    budget = bounds.Budget(10_000_000)
    for _ in range(10):
        budget.take((16_000_000,), 2)  # half precision, which becomes float32
    with pytest.raises(ValueError, match=r'its tensors take 0.640 GB, over 64 times the 10,000,000 bytes of the file'):
        budget.take((1,), 8)


def test_what_hdf5_files_refer_to_is_not_read(tmp_path):
    """External storage, virtual data sets, soft and external links, also of whole layers: their numbers never get into weights."""
    for name in ('external', 'virtual', 'soft link', 'external link', 'link to nothing', 'filter'):
        malformed.keras(tmp_path / name, malformed.FILLS[name])
        with pytest.raises(ValueError, match=r'cannot read .*(not read|not followed|foreign filter 32015): save it with model'):
            formats.read(tmp_path / name)
    with h5py.File(tmp_path / 'layer', 'w') as file:
        file.attrs['layer_names'] = [b'a']
        file['a'] = h5py.ExternalLink(str(tmp_path / 'soft link'), 'a')
    with pytest.raises(ValueError, match="cannot read .*: 'a' in it is a link to another place or file, which is not followed"):
        formats.read(tmp_path / 'layer')
    with h5py.File(tmp_path / 'whole', 'w') as file:
        file['model_weights'] = h5py.ExternalLink(str(tmp_path / 'soft link'), '/')
    with pytest.raises(ValueError, match="'model_weights' in it is a link"):
        formats.read(tmp_path / 'whole')
    chunked = lambda group, _: group.create_dataset('kernel:0', data=np.arange(6, dtype='f4'), compression='gzip', shuffle=True)
    malformed.keras(tmp_path / 'chunked', chunked)
    assert formats.read(tmp_path / 'chunked').arrays['a/kernel'].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.skipif(sys.platform != 'linux', reason='the limit is that of a process')
@pytest.mark.parametrize('fault', ['while True: pass', 'import os; os.kill(os.getpid(), 11)'])
def test_a_file_on_which_hdf5_hangs_or_dies_is_refused(tmp_path, monkeypatch, fault):
    malformed.keras(tmp_path / 'w.h5', malformed.FILLS['empty'])
    monkeypatch.setattr(keras, 'PROGRAM', keras.PROGRAM.replace('int(sys.argv[2]),', '1,').replace('keras.read(', f'{fault}\n#'))
    with pytest.raises(ValueError, match='the HDF5 library dies of it or does not end on it, it is damaged: copy'):
        formats.read(tmp_path / 'w.h5')


def test_empty_weights_and_members_that_are_no_arrays_are_named(tmp_path):
    for name, line in [
        ('empty', r'w is empty, its shape is \(0, 3, 3, 3\): use another checkpoint'),
        ('no array', "its member 'w.npy' is no array: write it again, with np.savez alone"),
    ]:
        with malformed.zipfile.ZipFile(tmp_path / 'w.npz', 'w') as file:
            file.writestr('w.npy', malformed.MEMBERS[name])
        with pytest.raises(ValueError, match=line):
            formats.read(tmp_path / 'w.npz')
    np.savez(tmp_path / 'w.npz', w=np.ones(2))
    with malformed.zipfile.ZipFile(tmp_path / 'w.npz', 'a') as file:
        file.writestr('README.txt', 'hello')
    with pytest.raises(ValueError, match="its member 'README.txt' is no array"):
        formats.read(pathlib.Path(tmp_path) / 'w.npz')
