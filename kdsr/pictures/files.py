"""Which files are meant, and what each result is called."""

import glob
import os
import pathlib
from typing import NamedTuple

from kdsr.paths import expanded
from kdsr.pictures.writing import EXTENSIONS

# Files of a folder that count as pictures; a file that is named is read whatever it is called.
SUFFIXES = (*EXTENSIONS, '.bmp', '.gif', '.ppm', '.pgm', '.pbm', '.pnm', '.tga', '.jp2', '.avif')


class Job(NamedTuple):
    """One picture: read `source`, write `target` in the format `form`."""

    source: pathlib.Path
    target: pathlib.Path
    form: str


def plan(inputs, out, *, suffix, form=None, recursive=False):
    """The jobs of a command line, in its order; a file that is named twice is one job.

    Args:
      inputs: files, folders (the pictures in them, hidden ones left out), or patterns such as 'photos/*.png'.
      out: folder of the results; those of subfolders go to subfolders.
      suffix: added to the names, e.g. '_x4'.
      form: 'png', 'jpg', 'webp' or 'tiff'; None keeps what the name says, png for any other (GIF, BMP, ...).
      recursive: also the pictures in all folders below.

    Raises:
      FileNotFoundError: a folder without pictures, a pattern that nothing matches, or no input at all.
      ValueError: two pictures would have one name, or a result would replace a picture that is to be read.
    """
    out = pathlib.Path(out)
    if not inputs:
        raise FileNotFoundError('no picture is named: give files, folders or patterns')
    jobs, sources = {}, {}
    for text in inputs:
        for source, folder in _found(text, recursive, out, suffix):
            kind = EXTENSIONS.get(source.suffix.lower())
            extension = source.suffix.lower() if kind and form in (None, kind) else f'.{form or "png"}'
            target = out / folder / (source.stem + suffix + extension)
            job = Job(source, target, form or kind or 'png')
            known = sources.setdefault(_identity(source), job)
            other = jobs.setdefault(_identity(target), known)
            if known is job and other is not job:
                raise ValueError(
                    f'{other.source} and {source} would both be written to {target}: rename one, or choose another --out'
                )
    for name, job in jobs.items():
        if name in sources:
            raise ValueError(f'{job.target} is the result of {job.source} and itself to be read: choose another --out or --suffix')
    return list(jobs.values())


def _found(text, recursive, out, suffix):
    """[(file, folder below `out` that its result goes to)] of one word of the command line, sorted."""
    path = expanded(text)
    if path.is_dir():
        entries = sorted(path.rglob('*') if recursive else path.iterdir())
        wanted = lambda p: p.suffix.lower() in SUFFIXES and not any(part.startswith('.') for part in p.relative_to(path).parts)
        # results of an earlier run, where they lie among the pictures
        ours = lambda p: p.stem.endswith(suffix) and _identity(p).startswith(_identity(out) + os.sep)
        files = [(p, p.parent.relative_to(path)) for p in entries if wanted(p) and p.is_file() and not (suffix and ours(p))]
        if not files:
            raise FileNotFoundError(f'{text}: no pictures in this folder' + ('' if recursive else ' (--recursive looks below it)'))
        return files
    if path.exists() or not glob.has_magic(str(path)):
        return [(path, pathlib.Path())]  # a missing file is named when its turn comes
    files = [pathlib.Path(p) for p in sorted(glob.glob(str(path), recursive=True))]
    files = [(p, pathlib.Path()) for p in files if p.is_file()]
    if not files:
        raise FileNotFoundError(f'{text}: no file has such a name')
    return files


def _identity(path):
    return os.path.realpath(path)
