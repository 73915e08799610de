"""Weight files of other projects: {name: array} from .npz, .safetensors, Keras' .h5 and PyTorch's .pth or .pt."""

import json
import re
import zipfile

import ml_dtypes
import numpy as np
import safetensors

from kdsr.foreign import Unreadable, Weights, bounds, keras, pytorch
from kdsr.paths import expanded

FORMATS = '.npz, .safetensors, .h5 (Keras), .pth or .pt (PyTorch)'
DTYPES = {'F64': 'float64', 'F32': 'float32', 'F16': 'float16', 'BF16': ml_dtypes.bfloat16}
MOST = 3_000  # tensors; the largest networks here have 1,700


def read(path, key='', max_gib=bounds.MAX_GIB):
    """Reads a file by what it holds, whatever it is called.

    Args:
      path: the file.
      key: which of several networks in it, such as 'params' or 'generator'; '' takes averaged weights first.
      max_gib: memory that its tensors may take, in GiB.

    Returns: Weights with float32 arrays, in the file's order. Whole numbers (counters) are left out, and so is a prefix that
    all names share and that is a wrapper's.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: another format, a damaged file, a pickle that is more than weights, more numbers than such a file can hold, a
        weight that is empty or not finite.
    """
    path = expanded(path)
    if not path.is_file():
        raise FileNotFoundError(f'no weights at {path}: give a file, {FORMATS}')
    try:
        found = _by_content(path, key, bounds.Budget(path.stat().st_size, max_gib))
    except Unreadable as e:
        raise ValueError(f'cannot read {path}: {e}') from e
    except PermissionError:
        raise
    except Exception as e:  # damaged pickles and archives raise nearly anything
        raise ValueError(f'cannot read {path}, it is damaged ({type(e).__name__}: {e}): copy or download it again') from e
    arrays = {k: np.asarray(v, np.float32) for k, v in found.arrays.items()}
    if not arrays:
        raise ValueError(f'{path} holds no weights')
    for name, array in arrays.items():
        if not name.isprintable() or len(name) > 500:
            raise ValueError(f'{path}: {ascii(name)[:80]} is no name of a weight: is it another file?')
        if array.size == 0:
            raise ValueError(f'{path}: {name} is empty, its shape is {array.shape}: use another checkpoint')
        if not np.isfinite(array).all():
            raise ValueError(f'{path}: {name} has values that are not finite: use another checkpoint')
    try:
        taken = chosen(found._replace(arrays=arrays), key)
    except Unreadable as e:
        raise ValueError(f'{path}: {e}') from e
    if len(taken.arrays) > MOST:
        raise ValueError(f'{path} holds {len(taken.arrays):,} tensors, more than any network here: is it another file?')
    return taken


def chosen(found, key=''):
    """`found` without the wrappers in its names: those that all share go, and of several networks one is taken.

    'generator.head.weight' beside 'discriminator.head.weight' gives 'head.weight'. `key` is the one to take, unless it has been
    taken already; '' is the first of `pytorch.NETWORKS`. Unreadable, with what there is, where there is no such one.
    """
    arrays, taken, others = found
    key = '' if key and key == taken else key
    while True:
        heads = list(dict.fromkeys(re.split('[./]', name, maxsplit=1)[0] for name in arrays))
        inside = lambda head, names: [n for n in names if n.startswith((f'{head}.', f'{head}/'))]
        if key and not inside(key, arrays):
            there = ', '.join([taken or 'the whole', *others, *(h for h in heads[:8] if len(heads) > 1)])
            raise Unreadable(f'it has no {key!r}, only {there}: choose another --key')
        shared = [w for w in pytorch.WRAPPERS if len(inside(w, arrays)) == len(arrays)]
        head = key or next((w for w in [*shared, *pytorch.NETWORKS] if inside(w, arrays)), None)
        if head is None:
            return Weights(arrays, taken, others)
        kept = inside(head, arrays)
        if len(kept) < len(arrays):
            taken = f'{taken}.{head}'.lstrip('.')
            others = (*others, *(h for h in heads if h != head))
        arrays, key = {name[len(head) + 1 :]: arrays[name] for name in kept}, ''


def _by_content(path, key, budget):
    with path.open('rb') as file:
        head = file.read(16)
        if head.startswith(b'\x89HDF'):
            keras.tried(path, budget)
            return Weights(keras.read(path, budget))
        if zipfile.is_zipfile(file):
            archive = zipfile.ZipFile(file)
            if any(name.endswith('.npy') for name in archive.namelist()):
                return Weights(_npz(archive, budget))
            return pytorch.read(file, key, budget)
        # before pickles, whose first byte may be that of this format's first number, the length of its description
        if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') < 2**27:
            file.seek(0)
            return Weights(_safetensors(file, budget))
        if head.startswith(b'\x80'):
            return pytorch.read(file, key, budget)
    if head.startswith(b'PK'):
        raise Unreadable('it is a zip archive without an end: copy or download it again')
    raise Unreadable(f'it begins with {head!r}, which is none of {FORMATS}')


def _npz(archive, budget):
    wanted = []
    for name in archive.namelist():
        with bounds.member(archive, name) as file:
            if file.read(6) != b'\x93NUMPY':
                raise Unreadable(f'its member {ascii(name)} is no array: write it again, with np.savez alone')
            file.seek(0)
            header = {1: np.lib.format.read_array_header_1_0}.get(
                np.lib.format.read_magic(file)[0], np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = header(file)
        if dtype.hasobject:
            raise Unreadable(f'its member {ascii(name)} has Python objects (allow_pickle=False): save numbers alone')
        if dtype.kind == 'f':
            budget.take(shape, dtype.itemsize)
            wanted.append(name)
    arrays = {}
    for name in wanted:
        with bounds.member(archive, name) as file:
            arrays[name.removesuffix('.npy')] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def _safetensors(file, budget):
    described = json.loads(file.read(int.from_bytes(file.read(8), 'little')))
    for tensor in described.values():
        if tensor.get('dtype') in DTYPES:
            budget.take(tensor['shape'], np.dtype(DTYPES[tensor['dtype']]).itemsize)
    file.seek(0)
    tensors = safetensors.deserialize(file.read())
    array = lambda t: np.frombuffer(t['data'], DTYPES[t['dtype']]).reshape(t['shape'])
    return {name: array(t) for name, t in tensors if t['dtype'] in DTYPES}
