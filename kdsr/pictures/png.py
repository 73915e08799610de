"""PNG, written row by row."""

import struct
import zlib

import numpy as np

from kdsr.pictures.picture import WRITER

KINDS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type
AVERAGE = 3  # the filter: a byte less the mean of those to the left and above
PIECE = 2**20  # bytes of an IDAT chunk, about


def write(file, blocks, shape, dtype, icc=b''):
    """Writes bands of rows as they come, `blocks` of `dtype` (uint8 or uint16), to a binary file.

    One filter and the fastest deflate: on upscaled photographs 2 % larger than with Pillow's defaults, in a tenth of the time.

    Args:
      shape: (rows, columns, channels) of them all.

    References: PNG specification, third edition, W3C 2025, sections 9.2 (filters) and 11.3.2.3 (iCCP).
    """
    rows, columns, channels = shape
    depth = 8 * np.dtype(dtype).itemsize
    file.write(b'\x89PNG\r\n\x1a\n')
    _chunk(file, b'IHDR', struct.pack('>IIBBBBB', columns, rows, depth, KINDS[channels], 0, 0, 0))
    if icc:
        _chunk(file, b'iCCP', b'ICC profile\0\0' + zlib.compress(icc))
    _chunk(file, b'tEXt', b'Software\0' + WRITER.encode())
    deflate, above, waiting = zlib.compressobj(1), None, bytearray()
    for block in blocks:
        raw = block.astype(np.dtype(dtype).newbyteorder('>')).view(np.uint8).reshape(len(block), -1)
        above = np.zeros_like(raw[0]) if above is None else above
        for y in range(0, len(raw), 16):
            part = raw[y : y + 16]
            waiting += deflate.compress(_filtered(part, above, channels * depth // 8).tobytes())
            above = part[-1]
            if len(waiting) >= PIECE:
                _chunk(file, b'IDAT', waiting)
                waiting = bytearray()
    _chunk(file, b'IDAT', waiting + deflate.flush())
    _chunk(file, b'IEND', b'')


def _filtered(raw, above, pixel):
    """Rows of bytes `[n, m]` -> `[n, 1 + m]`: the filter's number and its differences; `pixel` bytes make one pixel."""
    left = np.zeros(raw.shape, np.uint16)
    left[:, pixel:] = raw[:, :-pixel]
    up = np.concatenate([above[None], raw[:-1]])
    out = np.full((len(raw), 1 + raw.shape[1]), AVERAGE, np.uint8)
    out[:, 1:] = raw - ((left + up) >> 1).astype(np.uint8)
    return out


def _chunk(file, name, data):
    file.write(struct.pack('>I', len(data)) + name)
    file.write(data)
    file.write(struct.pack('>I', zlib.crc32(data, zlib.crc32(name))))
