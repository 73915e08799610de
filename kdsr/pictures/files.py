"""Which files are meant, what each result is called, and that no two results and no result and picture are one file."""

import collections
import glob
import os
import pathlib
import tempfile
import unicodedata
from typing import NamedTuple

from kdsr.paths import expanded
from kdsr.pictures.reading import written_here
from kdsr.pictures.writing import EXTENSIONS

# Files of a folder that count as pictures; a file that is named is read whatever it is called.
SUFFIXES = (*EXTENSIONS, '.bmp', '.gif', '.ppm', '.pgm', '.pbm', '.pnm', '.tga', '.jp2', '.avif')


class Job(NamedTuple):
    """One picture: read `source`, write `target` in the format `form`."""

    source: pathlib.Path
    target: pathlib.Path
    form: str


class Plan(NamedTuple):
    """jobs: in the order of the command line. notes: what a person should know of what is left out, one line each."""

    jobs: list[Job]
    notes: list[str]


class _Found(NamedTuple):
    """A picture. folder: below `out`, where its result goes. named: by its name or a pattern, not by the folder it is in."""

    source: pathlib.Path
    folder: pathlib.Path
    named: bool


def plan(inputs, out, *, suffix, form=None, recursive=False):
    """The Plan of a command line.

    Each name in a folder is a picture with a result of its own, also where several (links) lead to the same bytes; one that is
    given twice, be it as `a.png` and as `./a.png`, is one job. A result that an earlier run left among the pictures of a folder
    is no picture.

    Args:
      inputs: files, folders (the pictures in them, hidden ones left out), or patterns such as 'photos/*.png'.
      out: folder of the results; those of subfolders go to subfolders.
      suffix: added to the names, e.g. '_x4'.
      form: 'png', 'jpg', 'webp' or 'tiff'; None keeps what the name says, png for any other (GIF, BMP, ...).
      recursive: also the pictures in all folders below.

    Raises:
      FileNotFoundError: a folder without pictures, a pattern that nothing matches, or no input at all.
      NotADirectoryError: `out` is a file.
      ValueError: two pictures would have one result, or a result would replace a picture that is to be read.
      PermissionError: a folder that may not be read.
    """
    out = expanded(out)
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f'--out={out} is a file: name a folder')
    if '/' in suffix or os.sep in suffix:
        raise ValueError(f'--suffix={suffix} is added to the names of files and cannot hold a {os.sep}')
    if not inputs:
        raise FileNotFoundError('no picture is named: give files, folders or patterns')
    found, notes, again = {}, [], 0
    for text in inputs:
        pictures, said = _found(text, recursive, out)
        notes += said
        for picture in pictures:
            known = found.setdefault(_entry(picture.source), picture)
            again += known is not picture
    if again:
        notes.append(f'{again} named more than once: each has one result')
    jobs = [Job(source, out / folder / _named(source, suffix, form), _form(source, form)) for source, folder, _ in found.values()]
    earlier = _earlier(found, jobs) if suffix else []
    if earlier:
        notes.append('left out, results of an earlier run: ' + _few([job.source for job in earlier]))
    gone = set(earlier)
    jobs = [job for job in jobs if job not in gone]
    _refuse_clashes(jobs, out, form)
    return Plan(jobs, notes)


def _named(source, suffix, form):
    kind = EXTENSIONS.get(source.suffix.lower())
    return source.stem + suffix + (source.suffix.lower() if kind and form in (None, kind) else f'.{form or "png"}')


def _form(source, form):
    return form or EXTENSIONS.get(source.suffix.lower(), 'png')


def _earlier(found, jobs):
    """The jobs of pictures that a run wrote as results of others of these, in whatever format."""
    results = {_entry(job.target.with_suffix('')) for job in jobs}
    like = [job for job, picture in zip(jobs, found.values(), strict=True) if not picture.named]
    return [job for job in like if _entry(job.source.with_suffix('')) in results and written_here(job.source)]


def _refuse_clashes(jobs, out, form):
    sources, targets = {}, {}
    for job in jobs:
        sources |= {_entry(job.source): job, os.path.realpath(job.source): job}  # the name, and what it is a link to
    names = {*sources, *(_entry(job.target) for job in jobs)}
    alike = len({_folded(name) for name in names}) < len(names) and _ignores_case(out)
    key = _folded if alike else str
    sources = {key(name): job for name, job in sources.items()}
    for job in jobs:
        other = targets.setdefault(key(_entry(job.target)), job)
        if other is not job:
            kinds = form and _named(other.source, '', None) != _named(job.source, '', None)
            raise ValueError(
                f'{other.source} and {job.source} would both be written to {job.target}: rename one, '
                f'{"leave out --format, " if kinds else ""}or upscale them in two runs with an --out each'
            )
    for name, job in targets.items():
        if name in sources:
            raise ValueError(f'{job.target} is the result of {job.source} and itself to be read: choose another --out or --suffix')


def _found(text, recursive, out):
    """([_Found], notes) of one word of the command line, sorted."""
    path = expanded(text)
    if path.is_dir():
        return _folder(text, path, recursive, out)
    if path.exists() or not glob.has_magic(str(path)):
        return [_Found(path, pathlib.Path(), True)], []  # a missing file is named when its turn comes
    matches = [pathlib.Path(p) for p in sorted(glob.glob(str(path), recursive=True))]
    files = [_Found(p, pathlib.Path(), True) for p in matches if not p.is_dir()]
    if not files:
        raise FileNotFoundError(f'{text}: no file has such a name')
    folders = [p for p in matches if p.is_dir()]
    return files, [f'{text}: left out, folders: {_few(folders)}'] if folders and '**' not in str(path) else []


def _folder(text, path, recursive, out):
    files, folders = _entries(path, recursive)
    wanted = lambda p: p.suffix.lower() in SUFFIXES and (p.is_file() or not p.exists())  # a broken link is named in its turn
    pictures, notes = [p for p in files if wanted(p)], []
    if not pictures:
        raise FileNotFoundError(f'{text}: no pictures in this folder' + ('' if recursive else ' (--recursive looks below it)'))
    if others := collections.Counter(p.suffix.lower() or p.name for p in files if not wanted(p)):
        notes.append(f'{text}: left out, not called as pictures are: {_few(f"{n} {kind}" for kind, n in others.items())}')
    if folders := [p for p in folders if os.path.realpath(p) != os.path.realpath(out)]:
        notes.append(f'{text}: left out, folders below (--recursive reads them): {_few(p.name for p in folders)}')
    return [_Found(p, p.parent.relative_to(path), False) for p in pictures], notes


def _entries(folder, recursive, above=()):
    """(files, folders not entered) of a folder, without hidden ones; links to folders are entered, but not in circles."""
    files, folders, above = [], [], (*above, os.path.realpath(folder))
    for path in sorted(p for p in folder.iterdir() if not p.name.startswith('.')):
        if not path.is_dir():
            files.append(path)
        elif not recursive:
            folders.append(path)
        elif os.path.realpath(path) not in above:
            files += _entries(path, recursive, above)[0]
    return files, folders


def _entry(path):
    """The one name of a file: what leads to its folder is looked up, what the file itself may be a link to is not."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def _folded(name):
    return unicodedata.normalize('NFC', name).casefold()


def _ignores_case(folder):
    """Whether `A` and `a` are one file in `folder`, or in the one above it that exists."""
    folder = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
    try:
        with tempfile.NamedTemporaryFile(prefix='.kdsr', dir=folder) as file:
            return os.path.exists(os.path.join(folder, os.path.basename(file.name).upper()))
    except OSError:
        return False  # then nothing can be written either


def _few(names):
    names = list(map(str, names))
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')
