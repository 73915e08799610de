"""Weight files of other projects: {name: array} from .npz, .safetensors, Keras' .h5 and PyTorch's .pth or .pt."""

import pathlib
import zipfile

import ml_dtypes
import numpy as np
import safetensors

from kdsr.foreign import Unreadable, keras, pytorch

FORMATS = '.npz, .safetensors, .h5 (Keras), .pth or .pt (PyTorch)'
DTYPES = {'F64': 'float64', 'F32': 'float32', 'F16': 'float16', 'BF16': ml_dtypes.bfloat16}
PREFIXES = ('module.', '_orig_mod.', 'model.')  # of nn.DataParallel, torch.compile, Lightning


def read(path):
    """Reads a file by what it holds, whatever it is called.

    Returns: ({name: array} with float32 arrays, in the file's order, and the wrapper, such as 'params_ema', that a
    checkpoint held them in, or ''). Whole numbers (counters) are left out, and so is a prefix that all names share.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: another format, a damaged file, a pickle that is more than weights, a weight that is not finite.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no weights at {path}: give a file, {FORMATS}')
    try:
        arrays, wrapper = _by_content(path)
    except Unreadable as e:
        raise ValueError(f'cannot read {path}: {e}') from e
    except PermissionError:
        raise
    except Exception as e:  # damaged pickles and archives raise nearly anything
        raise ValueError(f'cannot read {path}, it is damaged ({type(e).__name__}: {e}): copy or download it again') from e
    arrays = {k: np.asarray(v, np.float32) for k, v in arrays.items() if v.dtype.kind == 'f' or v.dtype == ml_dtypes.bfloat16}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f'{path}: {name} has values that are not finite: use another checkpoint')
    if not arrays:
        raise ValueError(f'{path} holds no weights')
    return without_prefix(arrays), wrapper


def without_prefix(arrays):
    """`arrays` without the prefixes of `PREFIXES` that all names share."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in arrays):
            return without_prefix({name.removeprefix(prefix): array for name, array in arrays.items()})
    return arrays


def _by_content(path):
    with path.open('rb') as file:
        head = file.read(16)
        if head.startswith(b'\x89HDF'):
            return keras.read(path), ''
        if zipfile.is_zipfile(file):
            if any(name.endswith('.npy') for name in zipfile.ZipFile(file).namelist()):
                return _npz(path), ''
            return pytorch.read(file)
        # before pickles, whose first byte may be that of this format's first number, the length of its description
        if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') < 2**27:
            file.seek(0)
            return _safetensors(file.read()), ''
        if head.startswith(b'\x80'):
            return pytorch.read(file)
    if head.startswith(b'PK'):
        raise Unreadable('it is a zip archive without an end: copy or download it again')
    raise Unreadable(f'it begins with {head!r}, which is none of {FORMATS}')


def _npz(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _safetensors(blob):
    tensors = safetensors.deserialize(blob)
    array = lambda t: np.frombuffer(t['data'], DTYPES[t['dtype']]).reshape(t['shape'])
    return {name: array(t) for name, t in tensors if t['dtype'] in DTYPES}
