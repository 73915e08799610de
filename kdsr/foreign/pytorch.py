"""PyTorch checkpoints (.pth, .pt) read without PyTorch, and without running anything that is pickled in them."""

import io
import math
import re
import zipfile
from typing import NamedTuple

import ml_dtypes
import numpy as np

from kdsr.foreign import Unreadable, Weights, bounds, pickles

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of a file of PyTorch < 1.6
STORAGES = {
    'DoubleStorage': 'float64',
    'FloatStorage': 'float32',
    'HalfStorage': 'float16',
    'BFloat16Storage': ml_dtypes.bfloat16,
    'ComplexDoubleStorage': 'complex128',
    'ComplexFloatStorage': 'complex64',
    'LongStorage': 'int64',
    'IntStorage': 'int32',
    'ShortStorage': 'int16',
    'CharStorage': 'int8',
    'ByteStorage': 'uint8',
    'BoolStorage': 'bool',
    'QInt32Storage': 'int32',
    'QInt8Storage': 'int8',
    'QUInt8Storage': 'uint8',
    'QUInt4x2Storage': 'uint8',
    'QUInt2x4Storage': 'uint8',
    'UntypedStorage': 'uint8',
    'TypedStorage': 'uint8',
}
# Where a checkpoint holds more than one network's weights; averaged ones first: they are what papers test.
AVERAGED = (
    *('params_ema', 'ema_state_dict', 'state_dict_ema', 'model_ema', 'ema_model', 'generator_ema', 'netG_ema', 'net_g_ema'),
    *('G_ema', 'ema'),
)
NETWORKS = (*AVERAGED, 'params', 'state_dict', 'model_state_dict', 'generator', 'netG', 'net_g', 'G')
WRAPPERS = (*NETWORKS, 'model', 'net', 'module', '_orig_mod')  # the last of Lightning, DataParallel and torch.compile
REMEDY = "save the weights alone with PyTorch: torch.save(model.state_dict(), 'weights.pth')"
# What torch.load(weights_only=True) knows besides tensors, storages and dicts, and numpy's values; none of it is made.
OPAQUE = {
    'builtins': r'set|frozenset|complex|bytearray',
    '__builtin__': r'set|frozenset|complex|bytearray',
    'numpy': r'dtype|ndarray',
    'numpy.core.multiarray': r'_reconstruct|scalar',
    'numpy._core.multiarray': r'_reconstruct|scalar',
    'torch': r'device|Tensor|\w+Tensor|(per_tensor|per_channel)_\w+|(b?float|q?u?int|complex|bits)\d\w*|bool',
    'torch.cuda': r'\w+Tensor',
    'torch.sparse': r'\w+Tensor',
    'torch.cuda.sparse': r'\w+Tensor',
    'torch.nn.parameter': r'Parameter|Buffer',
    'torch.serialization': r'_get_layout',
    'torch._utils': r'_rebuild_(sparse_tensor|meta_tensor_no_storage|nested_tensor|tensor_v3|wrapper_subclass|qtensor)'
    r'|_rebuild_device_tensor_from_(cpu_tensor|numpy)',
}


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


def stand_in(module, name):
    """What a pickle gets for a global name: ours, never the thing itself. Unreadable for all but a few names."""
    if module in ('torch', 'torch.cuda', 'torch.storage') and name in STORAGES:
        return name
    if module == 'collections' and name in ('OrderedDict', 'Counter', 'defaultdict'):
        return dict
    if module == 'torch._utils' and name in ('_rebuild_tensor', '_rebuild_tensor_v2'):
        return lambda storage, offset, size, strides, *_: Tensor(storage, offset, size, strides)
    if module == 'torch._utils' and name in ('_rebuild_parameter', '_rebuild_parameter_with_state'):
        return lambda tensor, *_: tensor
    if (module, name) == ('torch._tensor', '_rebuild_from_type_v2'):
        return lambda function, kind, arguments, state: function.value(*arguments)
    if (module, name) == ('torch', 'Size'):
        return lambda size=(): tuple(size)
    if (module, name) == ('_codecs', 'encode'):  # how protocol 2 writes bytes
        return lambda text, encoding: text.encode('latin1')
    if re.fullmatch(OPAQUE.get(module, '(?!)'), name):
        return lambda *_: pickles.Opaque()
    raise Unreadable(f'it would run {f"{module}.{name}"[:80]}, which is no part of plain weights: {REMEDY}')


def unpickled(file):
    """(value of the next pickle of a file, {storage key: dtype of the storages in it})."""
    dtypes = {}

    def storage(pid):
        kind, name, key, _, size, *views = pid
        name = name.value if isinstance(name, pickles.Named) else name
        if kind != 'storage' or not isinstance(name, str) or name not in STORAGES:
            raise Unreadable(f'its storages are of an unknown kind: {REMEDY}')
        dtypes[str(key)] = np.dtype(STORAGES[name])
        _, offset, size = views[0] if views and views[0] else (key, 0, size)  # PyTorch < 1.6 may cut a storage
        return Storage(dtypes[str(key)], str(key), int(size), int(offset))

    return pickles.load(file, stand_in, storage), dtypes


def read(file, key, budget):
    """Weights of an open binary file, see `formats.read`. `taken` is the wrapper that they were in, `others` the rest of these.

    Both formats of `torch.save`: the zip archive, and the stream of pickles of PyTorch < 1.6. Raises Unreadable, which names
    what a pickle would run; and nearly anything for a damaged file.
    """
    tree, load = _archive(file, budget) if zipfile.is_zipfile(file) else _stream(file)
    weights, taken, others = state_dict(tree, key)
    weights = {name: t for name, t in weights.items() if t.storage.dtype.kind == 'f' or t.storage.dtype == ml_dtypes.bfloat16}
    needed = budget.again()
    for storage in dict.fromkeys(t.storage for t in weights.values()):
        needed.take((storage.size,), storage.dtype.itemsize)
    for tensor in weights.values():
        budget.take(tensor.size, tensor.storage.dtype.itemsize)
    storages, arrays = {}, {}
    for name, tensor in weights.items():
        if tensor.storage not in storages:
            storages[tensor.storage] = load(tensor.storage)
        arrays[name] = view(storages[tensor.storage], tensor)
    return Weights(arrays, taken, others)


def state_dict(tree, key=''):
    """({name: Tensor}, where they were: 'params_ema', '' for the top, ..., names of the other places that can be taken).

    `key` is the place to take, where it is one of the file's; '' takes the first of `WRAPPERS`.
    """
    if not isinstance(tree, dict):
        raise Unreadable(f'what it holds is of type {type(tree).__name__}, not weights by name: {REMEDY}')
    found = branches(tree)
    if key in found and key:
        return found[key], key, ()
    known = [place for place in found if place and all(part in WRAPPERS for part in place.split('.'))]
    known.sort(key=lambda place: (min(WRAPPERS.index(part) for part in place.split('.')), len(place)))
    taken = known[0] if known else ''
    if not found.get(taken):
        keys = ', '.join(ascii(k)[1:-1] if isinstance(k, str) else type(k).__name__ for k in list(tree)[:6])
        raise Unreadable(f'it holds no weights by name, only {keys or "nothing"}: {REMEDY}')
    return found[taken], taken, tuple(known[1:])


def branches(tree, deepest=4):
    """{'generator.params': {name: Tensor}, ...} of all dicts within `tree` that hold tensors; '' is `tree` itself."""
    found, level, seen = {}, {'': tree}, set()
    for _ in range(deepest):
        below = {}
        for place, branch in level.items():
            if id(branch) not in seen:
                seen.add(id(branch))
                if tensors := {str(k): v for k, v in branch.items() if isinstance(v, Tensor)}:
                    found[place] = tensors
                below |= {f'{place}.{k}'.lstrip('.'): v for k, v in branch.items() if isinstance(k, str) and isinstance(v, dict)}
        level = below
    return found


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


def _archive(file, budget):
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    found = [n for n in names if n.rpartition('/')[2] == 'data.pkl']
    if len(found) != 1:
        raise Unreadable('it is a zip archive without the data.pkl of PyTorch')
    root = found[0].removesuffix('data.pkl')
    big = f'{root}byteorder' in names and bounds.member(archive, f'{root}byteorder').read(3) == b'big'

    def load(storage):
        with bounds.member(archive, f'{root}data/{storage.key}') as data:
            data.seek(storage.offset * storage.dtype.itemsize)
            flat = np.frombuffer(data.read(storage.size * storage.dtype.itemsize), storage.dtype, storage.size)
        return flat.byteswap() if big else flat

    budget.again().take((archive.getinfo(found[0]).file_size // 4,), 4)
    with bounds.member(archive, found[0]) as description:
        return unpickled(io.BytesIO(description.read()))[0], load


def _stream(file):
    file.seek(0)
    if unpickled(file)[0] != MAGIC or unpickled(file)[0] != PROTOCOL:
        raise Unreadable(f'it is a pickle, but none that torch.save wrote: {REMEDY}')
    order = 'little' if unpickled(file)[0]['little_endian'] else 'big'
    tree, dtypes = unpickled(file)
    places = {}
    for key in unpickled(file)[0]:  # the storages follow, each after its number of elements
        count = int.from_bytes(file.read(8), order)
        places[key] = file.tell()
        file.seek(count * dtypes[key].itemsize, 1)

    def load(storage):
        file.seek(places[storage.key] + storage.offset * storage.dtype.itemsize)
        flat = np.frombuffer(file.read(storage.size * storage.dtype.itemsize), storage.dtype, storage.size)
        return flat if order == 'little' else flat.byteswap()

    return tree, load
