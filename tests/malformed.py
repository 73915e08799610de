"""150 weight files that are damaged, hostile or of nobody's network, always the same ones.

As a program it converts those of a folder and prints a line of JSON for each, then the peak memory in kB, its own and that of
processes that it started:
    python tests/malformed.py FOLDER EVERY_NTH
"""

import json
import os
import pathlib
import pickle
import re
import resource
import struct
import sys
import zipfile
import zlib

import h5py
import numpy as np
from safetensors import numpy as safetensors

PICKLES = {  # opcodes after the protocol, before the end; {0} is a call that leaves the file 'ran'
    'system': b'cposix\nsystem\n(X\x09\0\0\0touch ranstR',
    'eval': b"c__builtin__\neval\n(X\x0e\0\0\0open('ran','w')tR",
    'exec': b"cbuiltins\nexec\n(X\x0e\0\0\0open('ran','w')tR",
    'import': b'c__builtin__\n__import__\n(X\x02\0\0\0ostR',
    'popen': b'csubprocess\nPopen\n(X\x09\0\0\0touch rantR',
    'getattr': b'c__builtin__\ngetattr\n(ccollections\nOrderedDict\nX\x08\0\0\0fromkeystR',
    'numpy load': b'cnumpy\nload\n(X\x03\0\0\0rantR',
    'torch load': b'ctorch\nload\n(X\x03\0\0\0rantR',
    'hub': b'ctorch.hub\nload\n(X\x03\0\0\0rantR',
    'model': b'ctorch.nn.modules.conv\nConv2d\n)\x81}b',
    'instance': b'(iposix\nsystem\n',
    'object': b'(cposix\nsystem\nX\x09\0\0\0touch ranto',
    'stack global': b'\x8c\x05posix\x8c\x06system\x93(X\x09\0\0\0touch rantR',
    'extension': b'\x82\x01',
    'set attribute': b'ctorch._utils\n_rebuild_tensor_v2\n}X\x08\0\0\0__code__K\x01sb)R',
    'named method': b'ccollections\nOrderedDict.fromkeys\n)R',
    'deep tuple': b')' + b'\x85' * 100_000,
    'deep list': b']' * 50_000 + b'a' * 49_999,
    'deep dictionary': b'}K\x01' * 20_000 + b'}' + b's' * 20_000,
    'tuple of tuples': b')' + b'2\x86' * 60,
    'key for ever': b'})' + b'2\x86' * 60 + b'K\x01s',
    'pairs for ever': b'ccollections\nOrderedDict\n(](' + b')' + b'2\x86' * 60 + b'K\x01\x86etR',
    'list in itself': b']q\x00h\x00a',
    'growing': b']q\x00(' + b'h\x00' * 1000 + b'e' + b'(h\x00h\x00e' * 1000,
    'memo': b'K\x01r\xff\xff\xff\xff',
    'text of 2^63': b'\x8d' + struct.pack('<q', 2**63 - 1),
    'number of 2^31': b'\x8b' + struct.pack('<i', 2**31 - 1),
    'long number': b'}\x8b' + struct.pack('<i', 100_000) + b'\x7f' * 100_000 + b'q\x00' + b'K\x01s' + b'h\x00K\x01s' * 2000,
    'marks': b'(' * 100_000,
    'no mark': b'te',
    'nothing': b'',
    'half a name': b'X\x02\0\0\0\xff\xff',
    'number': b'K\x07',
    'odd key': b'}K\x07K\x07s',
    'twice': b'}' + b'0}' * 100,
    'persistent': b'X\x01\0\0\0aQ',
    'persistent 2': b'(X\x07\0\0\0storageK\x01K\x01K\x01K\x01tQ',
}


def string(text):
    return b'X' + struct.pack('<I', len(text.encode())) + text.encode()


def tensor(count, size, strides, offset=0, key='0'):
    """Opcodes of a float32 tensor, a view of the storage `key` of `count` numbers."""
    numbers = lambda values: b'(' + b''.join(b'\x8a\x08' + struct.pack('<q', v) for v in values) + b't'
    storage = b'(' + string('storage') + b'ctorch\nFloatStorage\n' + string(key) + string('cpu') + numbers([count])[1:-1] + b'tQ'
    return (
        b'ctorch._utils\n_rebuild_tensor_v2\n(' + storage + numbers([offset])[1:-1] + numbers(size) + numbers(strides) + b'\x89}tR'
    )


def named(tensors):
    return b'}' + b''.join(string(name) + opcodes + b's' for name, opcodes in tensors.items())


TENSORS = {
    'views': {f'w{i}': tensor(750_000, (750_000,), (1,)) for i in range(3000)},
    'one number': {'w': tensor(1, (2**20, 2**20), (0, 0))},
    'beyond': {'w': tensor(6, (7,), (1,))},
    'before': {'w': tensor(6, (2,), (1,), -1)},
    'backwards': {'w': tensor(6, (2,), (-1,), 3)},
    'negative': {'w': tensor(6, (-2, -3), (3, 1))},
    'storage of 2^60': {'w': tensor(2**60, (6,), (1,))},
    'no storage': {'w': tensor(6, (6,), (1,), key='9')},
    'outside': {'w': tensor(6, (6,), (1,), key='../../data.pkl')},
    'empty kernel': {'conv_first.weight': tensor(6, (0, 3, 3, 3), (27, 9, 3, 1)), 'conv_first.bias': tensor(6, (0,), (1,))},
    'many dimensions': {'w': tensor(6, (1,) * 70, (1,) * 70)},
    'odd name': {'a\nb': tensor(6, (6,), (1,))},
    'long name': {'a' * 100_000: tensor(6, (6,), (1,))},
    'rank': {'head.0.weight': tensor(6, (6,), (1,)), 'body.0.body.0.weight': tensor(6, (1, 2, 3), (6, 3, 1))},
    'scalar': {'conv_first.weight': tensor(6, (), ())},
    'many': {f'w{i}': tensor(6, (), ()) for i in range(12_000)},
    'expanded': {f'w{i}': tensor(6, (300_000,), (0,)) for i in range(30)},
}


NUMBERS = np.arange(6, dtype='<f4').tobytes()


def archive(path, opcodes, compression=zipfile.ZIP_STORED, blob=NUMBERS):
    with zipfile.ZipFile(path, 'w', compression) as file:
        file.writestr('archive/data.pkl', b'\x80\x02' + opcodes + b'.')
        file.writestr('archive/data/0', blob)


def stream(path, opcodes):
    head = [pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True})]
    path.write_bytes(b''.join(head) + b'\x80\x02' + opcodes + b'.' + pickle.dumps(['0'], 2) + struct.pack('<q', 6) + b'\0' * 24)


def npy(shape, text="'<f4'", data=b'', version=1, more=''):
    header = f"{{'descr': {text}, 'fortran_order': False, 'shape': {shape}, {more}}}".encode()
    return b'\x93NUMPY' + bytes([version, 0]) + struct.pack('<H' if version == 1 else '<I', len(header)) + header + data


MEMBERS = {
    'declared': npy((2**40,)),
    'overflow': npy((2**62, 2**62)),
    'negative': npy((-5,)),
    'no shape': npy('None'),
    'empty': npy((0, 3, 3, 3)),
    'no array': b'hello',
    'nothing': b'',
    'objects': npy((1,), "'|O'", pickle.dumps([1])),
    'call': npy((1,), "'|O'", b'\x80\x02' + PICKLES['system'] + b'.'),
    'fields': npy((1,), "[('a', '<f4')]", b'\0' * 4),
    'code': npy("__import__('os').system('touch ran')"),
    'nested': npy('(' * 3000 + ')' * 3000),
    'version 9': npy((1,), data=b'\0' * 4, version=9),
    'type': npy((1,), "'<q9'"),
    'short': npy((100,), data=b'\0' * 4),
    'not finite': npy((1,), data=b'\0\0\xc0\x7f'),
}
HEADERS = {
    'no json': b'{',
    'number': b'{"w":3}',
    'nested': b'{"w":' + b'[' * 50_000 + b']' * 50_000 + b'}',
    'beyond': b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}',
    'shape': b'{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,24]}}',
    'backwards': b'{"w":{"dtype":"F32","shape":[6],"data_offsets":[24,0]}}',
    'overlap': b'{"v":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},"w":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}',
    'hole': b'{"w":{"dtype":"F32","shape":[3],"data_offsets":[12,24]}}',
    'type': b'{"w":{"dtype":"F7","shape":[6],"data_offsets":[0,24]}}',
    'whole numbers': b'{"w":{"dtype":"I32","shape":[6],"data_offsets":[0,24]}}',
    'empty': b'{"w":{"dtype":"F32","shape":[0,6],"data_offsets":[0,0]},"v":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}',
    'twice': b'{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"w":{"dtype":"F32","shape":[3],"data_offsets":[12,24]}}',
    'negative': b'{"w":{"dtype":"F32","shape":[-6],"data_offsets":[0,24]}}',
}


def keras(path, fill):
    """A Keras file of one layer 'a', whose weight 'a/kernel:0' is what `fill(group, folder)` makes."""
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [b'a']
        group = file.create_group('a')
        group.attrs['weight_names'] = [b'kernel:0']
        fill(group, path.parent)


def external(group, folder):
    (folder / 'secret.txt').write_bytes(np.full(6, 7, '<f4').tobytes())
    group.create_dataset('kernel:0', (6,), '<f4', external=[(str(folder / 'secret.txt'), 0, 24)])


def virtual(group, folder):
    with h5py.File(folder / 'secret.h5', 'w') as file:
        file['w'] = np.full(6, 7, '<f4')
    layout = h5py.VirtualLayout((6,), '<f4')
    layout[:] = h5py.VirtualSource(str(folder / 'secret.h5'), 'w', (6,))
    group.create_virtual_dataset('kernel:0', layout)


def linked(link):
    def fill(group, folder):
        group['other'] = np.ones(6, '<f4')
        group['kernel:0'] = link(folder)

    return fill


def foreign_filter(group, _):
    kept = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    kept.set_chunk((6,))
    kept.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((6,))
    h5py.h5d.create(group.id, b'kernel:0', h5py.h5t.IEEE_F32LE, space, kept)


FILLS = {
    'external': external,
    'virtual': virtual,
    'soft link': linked(lambda folder: h5py.SoftLink('/a/other')),
    'soft link to itself': linked(lambda folder: h5py.SoftLink('/a/kernel:0')),
    'link to nothing': linked(lambda folder: h5py.SoftLink('/b')),
    'external link': linked(lambda folder: h5py.ExternalLink(str(folder / 'secret.h5'), 'w')),
    'group': lambda group, _: group.create_group('kernel:0'),
    'type': lambda group, _: group.__setitem__('kernel:0', np.dtype('f4')),
    'nothing': lambda group, _: None,
    'text': lambda group, _: group.__setitem__('kernel:0', 'hello'),
    'compound': lambda group, _: group.__setitem__('kernel:0', np.zeros(2, [('a', 'f4')])),
    'never written': lambda group, _: group.create_dataset('kernel:0', (2_250_000_000,), '<f4'),
    'chunks': lambda group, _: group.create_dataset('kernel:0', (2**31,), '<f4', chunks=(2**20,), fillvalue=1),
    'one chunk': lambda group, _: group.create_dataset('kernel:0', (2**28,), '<f8', chunks=(2**28,), maxshape=(None,)),
    'empty': lambda group, _: group.create_dataset('kernel:0', (0, 3, 3, 3), '<f4'),
    'filter': foreign_filter,
    'deep': lambda group, _: group.attrs.__setitem__('weight_names', [b'/'.join([b'x'] * 1000)]),
    'numbers for names': lambda group, _: group.attrs.__setitem__('weight_names', np.arange(3)),
    'a million names': lambda group, _: group.attrs.__setitem__('weight_names', np.zeros(30_000, 'S1')),
}


def bombs(folder):
    """Files of zeros that are a thousand times larger when they are read; only in the whole set, they take seconds to write."""
    zeros = np.zeros(400_000_000, np.float32)
    np.savez_compressed(folder / 'npz bomb', w=zeros)
    archive(folder / 'pth bomb', named({'w': tensor(zeros.size, (zeros.size,), (1,))}), zipfile.ZIP_DEFLATED, zeros.tobytes())
    archive(folder / 'pth description', b'}' + b'0}' * 250_000_000, zipfile.ZIP_DEFLATED)
    layer = lambda name, outputs=1: {f'{name}.weight': np.ones((outputs, 1, 3, 3), 'f4'), f'{name}.bias': np.ones(outputs, 'f4')}
    ends = layer('conv_first') | layer('conv_after_body') | layer('upsample.0', 4) | layer('conv_last')
    blocks = [layer(f'body.{i}.conv{k}') for i in range(740) for k in (1, 2)]
    (folder / 'many blocks').write_bytes(safetensors.save({k: v for part in [ends, *blocks] for k, v in part.items()}))


def make(folder, everything=False):
    """Writes the files into `folder`."""
    for name, opcodes in PICKLES.items():
        archive(folder / f'zip {name}', opcodes)
    for name, opcodes in list(PICKLES.items())[::3]:
        stream(folder / f'stream {name}', opcodes)
    for name, tensors in TENSORS.items():
        blob = {} if name != 'views' else {'compression': zipfile.ZIP_DEFLATED, 'blob': np.zeros(750_000, '<f4').tobytes()}
        archive(folder / f'tensors {name}', named(tensors), **blob)
    for name, member in MEMBERS.items():
        with zipfile.ZipFile(folder / f'npz {name}', 'w') as file:
            file.writestr('w.npy', member)
    with zipfile.ZipFile(folder / 'npz lzma', 'w', zipfile.ZIP_LZMA) as file:
        file.writestr('w.npy', npy((6,), data=b'\0' * 24))
    for name, header in HEADERS.items():
        (folder / f'safetensors {name}').write_bytes(struct.pack('<Q', len(header)) + header + b'\0' * 24)
    (folder / 'safetensors length').write_bytes(struct.pack('<Q', 2**26) + b'{' * 100)
    for name, fill in FILLS.items():
        keras(folder / f'h5 {name}', fill)
    damaged(folder, np.random.default_rng(0))
    if everything:
        bombs(folder)


def damaged(folder, rng):
    """Whole files of each kind with bytes changed, and cut."""
    arrays = {'conv_first.weight': rng.random((4, 3, 3, 3), np.float32), 'conv_first.bias': rng.random(4, np.float32)}
    np.savez(folder / 'whole.npz', **arrays)
    (folder / 'whole.safetensors').write_bytes(safetensors.save(arrays))
    archive(folder / 'whole.pth', named({'w': tensor(6, (6,), (1,))}))
    keras(folder / 'whole.h5', lambda group, _: group.create_dataset('kernel:0', data=arrays['conv_first.weight'], compression=1))
    for whole in sorted(folder.glob('whole.*')):
        blob = whole.read_bytes()
        for i in range(7):
            at = int(rng.integers(len(blob)))
            cut = blob[:at] if i == 0 else blob[:at] + rng.bytes(8) + blob[at + 8 :]
            (folder / f'damaged {whole.suffix} {i}').write_bytes(cut)
        whole.unlink()
    (folder / 'zipped text').write_bytes(b'PK\x03\x04' + zlib.compress(b'hello' * 100))


def main(folder, every):
    """Converts the files and tells, for each: its name, the seconds of computing it took, the line it ended with."""
    from kdsr import convert

    folder = pathlib.Path(folder)
    os.chdir(folder)  # where a call that ran would leave its file
    for path in sorted(p for p in folder.iterdir() if not p.name.startswith('secret'))[:: int(every)]:
        began, line = sum(os.times()[:4]), 'converted'  # computing, also of child processes: other work on this machine is not ours
        try:
            convert.convert(path, '', folder.parent / 'out' / path.name)
        except (ValueError, OSError) as e:  # what a command prints in one line; anything else ends this program
            line = str(e)
        print(json.dumps([path.name, sum(os.times()[:4]) - began, line]), flush=True)
    own = re.search(r'VmHWM:\s+(\d+) kB', pathlib.Path('/proc/self/status').read_text())[1]
    print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


if __name__ == '__main__':
    main(*sys.argv[1:])
