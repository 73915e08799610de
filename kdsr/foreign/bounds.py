"""How much a file may ask for: checked by what it declares, before anything is read into memory."""

import math
import zipfile

from kdsr.foreign import Unreadable

RATIO = 64  # memory for a byte of the file: half precision becomes float32, zeros compress well; bombs begin at hundreds
LEAST = 2**20  # bytes that every file may ask for
MAX_GIB = 8.0
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others allocate before they read


class Budget:
    """Bytes of memory that a file of `size` bytes may still declare."""

    def __init__(self, size, max_gib=MAX_GIB):
        self.size, self.max_gib, self.declared = size, max_gib, 0

    def again(self):
        """A new one for the same file."""
        return Budget(self.size, self.max_gib)

    def take(self, shape, itemsize):
        """Counts a tensor, which will be float32 at least. Unreadable where the sum of all is too much."""
        self.declared += math.prod(shape) * max(itemsize, 4)
        if self.declared > max(RATIO * self.size, LEAST):
            raise Unreadable(
                f'its tensors take {self.declared / 1e9:,.3f} GB, over {RATIO} times the {self.size:,} bytes of the file: it is '
                'damaged or made to fill the memory; use another file'
            )
        if self.declared > self.max_gib * 2**30:
            raise Unreadable(
                f'its tensors take {self.declared / 2**30:,.2f} GiB, more than --max_gib={self.max_gib:g}: give a larger --max_gib '
                'if the memory is there'
            )


def member(archive, name):
    """An open member of a ZipFile. Unreadable where its compression is none that weights are written with."""
    info = archive.getinfo(name)
    if info.compress_type not in COMPRESSIONS:
        raise Unreadable(f'its member {ascii(name)} is compressed by method {info.compress_type}: zip it again with deflate')
    return archive.open(info)
