"""Readers of foreign weight files: values, what is refused, damaged files; nothing that is pickled ever runs."""

import io
import os
import pathlib
import pickle
import struct

import h5py
import ml_dtypes
import numpy as np
import pytest
from pickled import FIXTURES, archive, string, tensor
from safetensors import numpy as safetensors

from kdsr.foreign import Weights, formats, pickles, pytorch


def one_tensor(path, *args, **kwargs):
    return archive(path, b'}' + string('w') + tensor('0', *args, **kwargs) + b's', [np.arange(6, dtype='<f4').tobytes()])


@pytest.mark.parametrize('name', ['torch_zip', 'torch_stream'])
def test_files_of_torch_save(name):
    """Both formats, written by PyTorch 2.13 from sin(2 + i): transposed, half, bfloat16, two views of one storage, a Parameter.

    The averaged weights are taken; beside them lie an epoch, numpy values, an optimiser and an integer counter.
    """
    arrays, wrapper, _ = formats.read(FIXTURES / f'{name}.pth')
    wave = np.sin(2 + np.arange(6, dtype=np.float32))
    assert wrapper == 'params_ema' and {a.dtype for a in arrays.values()} == {np.dtype('float32')}
    assert list(arrays) == ['head.weight', 'head.bias', 'tail.weight', 'a', 'b', 'scale']  # without 'module.'
    close = lambda name, value, error: np.testing.assert_allclose(arrays[name], value, rtol=error)
    close('head.weight', wave.reshape(3, 2).T, 1e-6)
    close('head.bias', wave[:2], 2**-11)
    close('tail.weight', wave[:4].reshape(2, 2), 2**-8)
    close('a', wave[:2], 1e-6)
    close('b', wave[2:], 1e-6)
    close('scale', 2.0, 0)


def test_the_storage_views_of_old_files(tmp_path):
    """PyTorch before 1.6 could store a tensor's storage as a part, (key, offset, size), of another one."""
    dumps = lambda value: pickle.dumps(value, 2)
    opcodes = tensor('9', 6, (2,), (1,)).replace(b'J\x06\0\0\0tQ', b'J\x06\0\0\0(' + string('8') + b'K\x03K\x02ttQ')
    head = [dumps(pytorch.MAGIC), dumps(1001), dumps({'little_endian': True}), b'\x80\x02}' + string('w') + opcodes + b's.']
    blob = b''.join([*head, dumps(['9']), struct.pack('<q', 6), np.arange(6, dtype='<f4').tobytes()])
    (tmp_path / 'old.pth').write_bytes(blob)
    np.testing.assert_array_equal(formats.read(tmp_path / 'old.pth')[0]['w'], [3, 4])


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ('function', 'args', 'name'),
    [
        (os.system, ('touch ran',), 'posix.system'),
        (eval, ("open('ran', 'w')",), '__builtin__.eval'),
        (getattr, ({}, 'get'), '__builtin__.getattr'),
        (np.load, ('ran',), 'numpy.load'),
    ],
)
def test_pickled_calls_are_named_and_do_not_run(tmp_path, monkeypatch, function, args, name):
    monkeypatch.chdir(tmp_path)
    blob = pickle.dumps({'params': Calls(function, *args)}, 2)
    archive('zip.pth', blob[2:-1])
    pathlib.Path('stream.pth').write_bytes(blob)
    pathlib.Path('deep.pth').write_bytes(pickle.dumps(pytorch.MAGIC, 2) + pickle.dumps(1001, 2) + blob)
    for file in ('zip.pth', 'stream.pth', 'deep.pth'):
        with pytest.raises(ValueError, match=rf'cannot read {file}: it would run {name}, .*torch.save\(model.state_dict\(\)'):
            formats.read(file)
    assert not pathlib.Path('ran').exists()


def test_what_a_pickle_gets_is_never_the_thing_itself():
    """Nor does it keep the attributes that a pickle sets (BUILD)."""
    assert pytorch.stand_in('numpy', 'ndarray') is not np.ndarray
    assert isinstance(pytorch.stand_in('numpy.core.multiarray', 'scalar')('dtype', b''), pickles.Opaque)
    built = b'\x80\x02ccollections\nOrderedDict\n)R}' + string('items') + b'K\x01sb.'
    assert pickles.load(io.BytesIO(built), pytorch.stand_in, None) == {}
    for module, name in [('torch', 'load'), ('collections', 'namedtuple'), ('numpy', 'fromfile'), ('torch._utils', 'eval')]:
        with pytest.raises(ValueError, match=f'{module}.{name}'):
            pytorch.stand_in(module, name)


@pytest.mark.parametrize(
    ('view', 'what'),
    [
        ((6, (2, 3), (3, 1)), None),
        ((6, (3, 2), (1, 3)), None),
        ((6, (2, 3), (4, 1)), 'reaches beyond its 6 numbers'),
        ((6, (2,), (1,), 5), 'reaches beyond'),
        ((6, (2,), (1,), -1), 'reaches beyond'),
        ((6, (2,), (-1,), 3), 'reaches beyond'),
        ((6, (1 << 20, 1 << 20), (0, 0)), 'its tensors take 4,398'),  # 4 TiB from one number
        ((7, (7,), (1,)), 'damaged'),
    ],
)
def test_tensors_stay_within_their_storage(tmp_path, view, what):
    path = one_tensor(tmp_path / 'w.pth', *view)
    if what:
        with pytest.raises(ValueError, match=what):
            formats.read(path)
    else:
        _, size, strides = view
        expected = np.arange(6.0).reshape(2, 3) if strides == (3, 1) else np.arange(6.0).reshape(2, 3).T
        np.testing.assert_array_equal(formats.read(path)[0]['w'], expected)
        assert formats.read(path)[0]['w'].shape == size


@pytest.mark.parametrize(
    ('opcodes', 'what'),
    [
        (b'}' + string('model') + b'}' + string('name') + string('edsr') + b'ss', 'it holds no weights by name, only model'),
        (b'K\x03', 'what it holds is of type int, not weights by name: save the weights alone'),
        (b'}' + string('epoch') + b'K\x03s', 'it holds no weights by name, only epoch'),
        (b'}' + string('w') + tensor('0', 1, (1,), (1,), storage='ComplexStorage') + b's', 'would run torch.ComplexStorage'),
        (b'}' + string('w') + tensor('0', 6, (6,), (1,), storage='LongStorage') + b's', 'holds no weights'),
    ],
)
def test_checkpoints_without_weights(tmp_path, opcodes, what):
    with pytest.raises(ValueError, match=what):
        formats.read(archive(tmp_path / 'w.pth', opcodes, [np.arange(6, dtype='<f4').tobytes()]))


def samples(folder):
    """A small file of each format, all with the arrays a = 0, 1, 2 and b/kernel = ones."""
    arrays = {'a': np.arange(3, dtype=np.float32), 'b/kernel': np.ones((2, 2), np.float32)}
    np.savez(folder / 'w.npz', **arrays)
    (folder / 'w.safetensors').write_bytes(safetensors.save(arrays))
    with h5py.File(folder / 'w.h5', 'w') as file:
        file.attrs['layer_names'] = [b'b', b'empty', b'a']
        for layer, weight, array in [('b', 'b/b/kernel:0', arrays['b/kernel']), ('a', 'a:0', arrays['a'])]:
            file.create_group(layer).attrs['weight_names'] = [weight.encode()]
            file[layer][weight] = array
        file.create_group('empty').attrs['weight_names'] = np.array([], 'S1')
    opcodes = string('a') + tensor('0', 3, (3,), (1,)) + b's' + string('b/kernel') + tensor('1', 4, (2, 2), (2, 1)) + b's'
    archive(folder / 'w.pth', b'}' + opcodes, [v.tobytes() for v in arrays.values()])
    return {'npz': 2, 'safetensors': 2, 'h5': 2, 'pth': 2}


@pytest.mark.parametrize('kind', ['npz', 'safetensors', 'h5', 'pth'])
def test_formats_are_known_by_content(tmp_path, kind):
    samples(tmp_path)
    file = (tmp_path / f'w.{kind}').rename(tmp_path / 'weights.bin')
    arrays, wrapper, _ = formats.read(file)
    assert wrapper == '' and set(arrays) == {'a/a' if kind == 'h5' else 'a', 'b/kernel'}
    np.testing.assert_array_equal(arrays['b/kernel'], np.ones((2, 2)))
    if kind == 'h5':
        assert list(arrays) == ['b/kernel', 'a/a']  # the network's order, not the alphabet's


def test_half_precisions_become_float32(tmp_path):
    values = np.array([1.5, -3.0], np.float32)
    np.savez(tmp_path / 'w.npz', half=values.astype(np.float16), double=values.astype(float), steps=np.arange(2), name='edsr')
    arrays, *_ = formats.read(tmp_path / 'w.npz')
    assert {k: (v.dtype.name, v.tolist()) for k, v in arrays.items()} == {k: ('float32', [1.5, -3]) for k in ('half', 'double')}
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    blob = struct.pack('<Q', len(header)) + header + values.astype(ml_dtypes.bfloat16).tobytes()
    (tmp_path / 'w.safetensors').write_bytes(blob)
    np.testing.assert_array_equal(formats.read(tmp_path / 'w.safetensors')[0]['w'], values)


def test_prefixes_that_all_names_share_are_left_out():
    names = lambda *keys: list(formats.chosen(Weights(dict.fromkeys(keys))).arrays)
    assert names('module._orig_mod.a', 'module._orig_mod.b') == ['a', 'b']
    assert names('module.a', 'b') == ['module.a', 'b'] and names('model.a') == ['a']


def test_refusals_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no weights at .*gone.pth: give a file, .npz, .safetensors'):
        formats.read(tmp_path / 'gone.pth')
    (tmp_path / 'page.pth').write_bytes(b'<!DOCTYPE html><html>not found</html>')
    with pytest.raises(ValueError, match=r"begins with b'<!DOCTYPE html><', which is none of .npz"):
        formats.read(tmp_path / 'page.pth')
    np.savez(tmp_path / 'nan.npz', w=np.array([1, np.nan]))
    with pytest.raises(ValueError, match='w has values that are not finite'):
        formats.read(tmp_path / 'nan.npz')
    np.savez(tmp_path / 'objects.npz', w=np.array([Calls(os.system, 'true')]))
    with pytest.raises(ValueError, match='cannot read .*objects.npz.*allow_pickle=False'):
        formats.read(tmp_path / 'objects.npz')
    with h5py.File(tmp_path / 'new.h5', 'w') as file:
        file['layers/conv2d/vars/0'] = np.ones(2)
    with pytest.raises(ValueError, match="it has no 'layer_names', the order of its layers: save it with model.save_weights"):
        formats.read(tmp_path / 'new.h5')


@pytest.mark.parametrize('kind', ['npz', 'safetensors', 'h5', 'pth', 'stream'])
def test_damaged_files_are_one_line(tmp_path, kind):
    """Cut at 25 lengths, and with 8 random bytes changed at 60 places: read, or refused with a ValueError of one line.

    An .h5 is only cut: on one of 600 files with changed bytes the HDF5 library itself looks for an attribute for ever.
    """
    samples(tmp_path)
    blob = (FIXTURES / 'torch_stream.pth' if kind == 'stream' else tmp_path / f'w.{kind}').read_bytes()
    rng, broken = np.random.default_rng(0), [blob[:n] for n in np.linspace(0, len(blob) - 1, 25).astype(int)]
    for _ in range(60 if kind != 'h5' else 0):
        at = int(rng.integers(len(blob)))
        broken.append(blob[:at] + rng.bytes(8) + blob[at + 8 :])
    refused = 0
    for i, data in enumerate(broken):
        file = tmp_path / f'{i}.bin'
        file.write_bytes(data)
        try:
            formats.read(file)
        except ValueError as e:
            refused += 1
            assert str(file) in str(e) and '\n' not in str(e)
    assert refused >= 25


def test_a_pickle_cannot_ask_for_memory(tmp_path):
    """Memo slot 2^32 - 1 is one of a dictionary, not of a table of 64 GB; a string of 2^63 bytes is more than there is."""
    for opcode, line in [
        (b'K\x01r\xff\xff\xff\xff', 'no weights by name, only w'),
        (b'\x8e' + struct.pack('<q', 2**63 - 1), 'damaged'),
        (b'\x96' + struct.pack('<q', 2**40), 'damaged'),
    ]:
        with pytest.raises(ValueError, match=line):
            formats.read(archive(tmp_path / 'w.pth', b'}' + string('w') + opcode + b's'))
