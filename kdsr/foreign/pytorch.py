"""PyTorch checkpoints (.pth, .pt) read without PyTorch, and without running anything that is pickled in them."""

import collections
import io
import math
import pickle
import pickletools
import zipfile
from typing import NamedTuple

import ml_dtypes
import numpy as np

from kdsr.foreign import Unreadable

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of a file of PyTorch < 1.6
STORAGES = {
    'DoubleStorage': 'float64',
    'FloatStorage': 'float32',
    'HalfStorage': 'float16',
    'BFloat16Storage': ml_dtypes.bfloat16,
    'LongStorage': 'int64',
    'IntStorage': 'int32',
    'ShortStorage': 'int16',
    'CharStorage': 'int8',
    'ByteStorage': 'uint8',
    'BoolStorage': 'bool',
}
# Where a checkpoint holds more than weights; averaged weights first: they are what papers test.
WRAPPERS = ('params_ema', 'params', 'state_dict', 'model_state_dict', 'model')
REMEDY = "save the weights alone with PyTorch: torch.save(model.state_dict(), 'weights.pth')"


class Storage(NamedTuple):
    """Numbers somewhere in the file, which tensors view."""

    dtype: np.dtype
    key: str
    size: int
    offset: int = 0


class Tensor(NamedTuple):
    """A view of a storage, as the pickle describes it, in elements. Nothing is read yet."""

    storage: Storage
    offset: int
    size: tuple
    strides: tuple


class Opaque:
    """Stands where numpy arrays and scalars are pickled (logs, best scores); it keeps nothing."""

    def __setstate__(self, state):
        pass


def stand_in(module, name):
    """What a pickle gets for a global name: ours, never the thing itself. Unreadable for all but a few names.

    Functions are made anew on each call, since a pickle can set attributes on what it is given.
    """
    if module == 'torch' and name in STORAGES:
        return name
    if (module, name) == ('collections', 'OrderedDict'):
        return lambda *a: collections.OrderedDict(*a)
    if module == 'torch._utils' and name in ('_rebuild_tensor', '_rebuild_tensor_v2'):
        return lambda storage, offset, size, strides, *_: Tensor(storage, offset, size, strides)
    if module == 'torch._utils' and name in ('_rebuild_parameter', '_rebuild_parameter_with_state'):
        return lambda tensor, *_: tensor
    if module in ('numpy.core.multiarray', 'numpy._core.multiarray') and name in ('_reconstruct', 'scalar'):
        return lambda *_: Opaque()
    if module == 'numpy' and name in ('dtype', 'ndarray'):
        return lambda *_: Opaque()
    if (module, name) == ('_codecs', 'encode'):  # how protocol 2 writes bytes
        return lambda text, encoding: text.encode('latin1')
    raise Unreadable(f'it would run {module}.{name}, which is no part of plain weights: {REMEDY}')


class Unpickler(pickle.Unpickler):
    """Makes containers, numbers, strings and `Tensor`s, nothing else. `dtypes`: those of the storages met so far, by key."""

    def __init__(self, file):
        """Takes one pickle from a BytesIO.

        It is looked through before: the number of a memo slot is taken on trust, and may ask for 64 GB.
        """
        start = file.tell()
        memo = [arg for opcode, arg, _ in pickletools.genops(file) if opcode.name in ('PUT', 'BINPUT', 'LONG_BINPUT')]
        end = file.tell()
        if max(memo, default=0) > end - start:
            raise pickle.UnpicklingError(f'memo slot {max(memo)} in {end - start} bytes')
        super().__init__(io.BytesIO(file.getbuffer()[start:end]), encoding='utf-8')
        self.dtypes = {}

    def find_class(self, module, name):
        return stand_in(module, name)

    def persistent_load(self, pid):
        kind, storage, key, _, size, *views = pid
        if kind != 'storage' or storage not in STORAGES:
            raise Unreadable(f'its storages are of the unknown kind {kind!r} {storage!r}: {REMEDY}')
        self.dtypes[key] = np.dtype(STORAGES[storage])
        _, offset, size = views[0] if views and views[0] else (key, 0, size)  # PyTorch < 1.6 may cut a storage
        return Storage(self.dtypes[key], key, size, offset)


def read(file):
    """Weights of an open binary file: ({name: array}, name of the wrapper they were taken from or '').

    Both formats of `torch.save`: the zip archive, and the stream of pickles of PyTorch < 1.6. Raises Unreadable, which names
    what a pickle tried to run; and nearly anything for a damaged file.
    """
    tree, load = _archive(file) if zipfile.is_zipfile(file) else _stream(file)
    weights, taken = state_dict(tree)
    storages, arrays = {}, {}
    for name, tensor in weights.items():
        if tensor.storage not in storages:
            storages[tensor.storage] = load(tensor.storage)
        arrays[name] = view(storages[tensor.storage], tensor)
    return arrays, taken


def state_dict(tree):
    """({name: Tensor}, wrapper) within what a checkpoint holds; the wrapper is '' where the weights are all there is."""
    if not isinstance(tree, dict):
        raise Unreadable(f'what it holds is of type {type(tree).__name__}, not weights by name: {REMEDY}')
    branches = {'': tree} | {w: tree[w] for w in WRAPPERS if isinstance(tree.get(w), dict)}
    weights = {w: {str(k): v for k, v in branch.items() if isinstance(v, Tensor)} for w, branch in branches.items()}
    wrapper = next((w for w in WRAPPERS if weights.get(w)), '')
    if not weights[wrapper]:
        keys = ', '.join(str(k) for k in list(tree)[:6])
        raise Unreadable(f'it holds no weights by name, only {keys or "nothing"}: {REMEDY}')
    return weights[wrapper], wrapper


def view(flat, tensor):
    """The values of a Tensor, copied out of its storage `flat`. ValueError where it reaches beyond the storage."""
    size, strides = tuple(tensor.size), tuple(tensor.strides)
    last = tensor.offset + sum((n - 1) * s for n, s in zip(size, strides, strict=True))
    within = min((tensor.offset, *size, *strides)) >= 0 and last < len(flat) and math.prod(size) <= len(flat)
    if 0 in size:
        return np.zeros(size, flat.dtype)
    if not within:
        raise Unreadable(f'a tensor of shape {size} reaches beyond its {len(flat)} numbers')
    strides = [s * flat.itemsize for s in strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], size, strides).copy()


def _archive(file):
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    pickles = [n for n in names if n.rpartition('/')[2] == 'data.pkl']
    if len(pickles) != 1:
        raise Unreadable('it is a zip archive without the data.pkl of PyTorch')
    root = pickles[0].removesuffix('data.pkl')
    big = f'{root}byteorder' in names and archive.read(f'{root}byteorder') == b'big'

    def load(storage):
        with archive.open(f'{root}data/{storage.key}') as data:
            flat = np.frombuffer(data.read(storage.size * storage.dtype.itemsize), storage.dtype, storage.size)
        return flat.byteswap() if big else flat

    return Unpickler(io.BytesIO(archive.read(pickles[0]))).load(), load


def _stream(file):
    file.seek(0)
    file = io.BytesIO(file.read())
    if Unpickler(file).load() != MAGIC or Unpickler(file).load() != PROTOCOL:
        raise Unreadable(f'it is a pickle, but none that torch.save wrote: {REMEDY}')
    little = Unpickler(file).load()['little_endian']
    unpickler = Unpickler(file)
    tree, places = unpickler.load(), {}
    for key in Unpickler(file).load():  # the storages follow, each after its number of elements
        count = int.from_bytes(file.read(8), 'little' if little else 'big')
        places[key] = file.tell()
        file.seek(count * unpickler.dtypes[key].itemsize, 1)

    def load(storage):
        file.seek(places[storage.key] + storage.offset * storage.dtype.itemsize)
        flat = np.frombuffer(file.read(storage.size * storage.dtype.itemsize), storage.dtype, storage.size)
        return flat if little else flat.byteswap()

    return tree, load
