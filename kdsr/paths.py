"""Paths: what people write, `~` and `~user`, and files that appear whole or not at all."""

import contextlib
import hashlib
import os
import pathlib
import shutil

LONGEST = 100  # bytes; names may have 255, on some encrypted disks 143


def expanded(path: str | os.PathLike) -> pathlib.Path:
    """`path` with `~` and `~user` written out. Raises ValueError where there is no such user, or nobody knows their home."""
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError:
        start = pathlib.Path(path).parts[0]
        raise ValueError(f"'{path}': there is no home directory for '{start}' here; write the path in full") from None


def beside(path, ending):
    """The hidden name beside `path`, `.NAME` and `ending`, that is renamed to `path` in the end; short where NAME is long.

    Adding to a name that the disk just takes makes one that it refuses: a long NAME is replaced by its hash.
    """
    path = pathlib.Path(path)
    name = os.fsencode(path.name)
    return path.with_name(f'.{path.name if len(name) <= LONGEST else hashlib.sha256(name).hexdigest()[:32]}{ending}')


def fresh(path):
    """`path`, expanded, for a new folder; FileExistsError where there is a file, or a folder that has files."""
    path = expanded(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"'{path}' has files: choose another --out or delete it first")
    return path


@contextlib.contextmanager
def written(path, several=False):
    """The hidden name beside `path` by which to write a file or a folder: it becomes `path` when the block ends.

    Where the block fails it is deleted. A kill or a full disk at any moment leaves the old `path` or the new one, never half; the
    next write takes the place of what a kill left. A folder replaces an empty one only. `several`: whether several processes may
    write the same path at once, each by a name of its own.
    """
    path = expanded(path)
    part = beside(path, f'.{os.getpid()}.part' if several else '.part')
    remove(part)
    try:
        yield part
        os.replace(part, path)
    finally:
        remove(part)


def remove(path):
    """Deletes a file or folder; it may be missing."""
    path = pathlib.Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
