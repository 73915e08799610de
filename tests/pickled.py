"""Files of PyTorch's format, written opcode by opcode."""

import pathlib
import struct
import zipfile

FIXTURES = pathlib.Path(__file__).parent / 'fixtures'


def string(text):
    return b'X' + struct.pack('<I', len(text)) + text.encode()


def tensor(key, numbers, size, strides, offset=0, storage='FloatStorage'):
    """Opcodes of one tensor, as PyTorch writes them."""
    numbers_of = lambda values: b'(' + b''.join(b'J' + struct.pack('<i', v) for v in values) + b't'
    pid = (
        b'('
        + string('storage')
        + f'ctorch\n{storage}\n'.encode()
        + string(key)
        + string('cpu')
        + b'J%bt' % struct.pack('<i', numbers)
    )
    view = b'Q' + b'J' + struct.pack('<i', offset) + numbers_of(size) + numbers_of(strides)
    return b'ctorch._utils\n_rebuild_tensor_v2\n(' + pid + view + b'\x89ccollections\nOrderedDict\n)RtR'


def archive(path, opcodes, blobs=()):
    """A zip file as `torch.save` writes it, with any pickle and storages."""
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('archive/data.pkl', b'\x80\x02' + opcodes + b'.')
        for i, blob in enumerate(blobs):
            file.writestr(f'archive/data/{i}', blob)
    return path
