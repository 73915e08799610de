"""Sub-images in ArrayRecord: the record's format, writing and random access.

A record is four uint32 (H, W, h, w; h = w = 0 without LR), the raw HR pixels, the raw LR pixels. Raw and not PNG:
training reads whole records at random, and one of 480x480 takes 0.9 ms this way but 6 ms as PNG, longer than cropping
and downscaling together. ArrayRecord's own zstd (one record per group, or a read would unpack its neighbours too)
still takes a third off the size.
"""

import functools
import importlib
import sys

import numpy as np

FILE = 'images.array_record'
OPTIONS = 'group_size:1,zstd:3'


def pack(hr, lr=None):
    """Bytes of one record: uint8 `[H, W, 3]` and `[h, w, 3]` or None."""
    sizes = np.array([*hr.shape[:2], *(lr.shape[:2] if lr is not None else (0, 0))], '<u4')
    return sizes.tobytes() + hr.tobytes() + (lr.tobytes() if lr is not None else b'')


def unpack(record):
    """(hr, lr or None) of one record: read-only views of its bytes."""
    H, W, h, w = (int(n) for n in np.frombuffer(record, '<u4', 4))
    hr, lr = np.split(np.frombuffer(record, np.uint8, offset=16), [H * W * 3])
    return hr.reshape(H, W, 3), lr.reshape(h, w, 3) if h else None


def writer(folder):
    """ArrayRecord writer of `folder`: `.write(pack(...))`, `.close()`."""
    return _package('array_record_module').ArrayRecordWriter(str(folder / FILE), OPTIONS)


def reader(folder):
    """`read(i) -> (hr, lr or None)` of the sub-images in `folder`; safe from many threads, and for pickle."""
    records = _package('array_record_data_source').ArrayRecordDataSource([str(folder / FILE)])
    return functools.partial(_read, records)


def _read(records, i):
    return unpack(records[i])


def _package(module):
    try:
        return importlib.import_module(f'array_record.python.{module}')
    except ModuleNotFoundError as e:
        cure = 'it has no Windows version' if sys.platform == 'win32' else '`pip install array_record`'
        raise ModuleNotFoundError(f"array_record is missing ({cure}); data source 'folder' works without it") from e
