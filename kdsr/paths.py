"""Paths as people write them: `~` and `~user`."""

import os
import pathlib


def expanded(path: str | os.PathLike) -> pathlib.Path:
    """`path` with `~` and `~user` written out. Raises ValueError where there is no such user, or nobody knows their home."""
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError:
        start = pathlib.Path(path).parts[0]
        raise ValueError(f"'{path}': there is no home directory for '{start}' here; write the path in full") from None
