"""One exported file (or folder): written under a temporary name, run, compared, renamed, and described in a card beside it."""

import hashlib
import importlib
import importlib.metadata
import json
import platform
from collections.abc import Callable
from typing import NamedTuple

from kdsr.paths import expanded, remove, written

PACKAGES = ('kdsr', 'jax', 'jaxlib', 'flax', 'numpy')


class Job(NamedTuple):
    """file: its name below --out. tolerance: what `checks` may differ from JAX, of white; on their 'max' or their 'mean'.

    make(path) writes `path`, runs it, and returns what its card says: `checks` (each as of `program.difference`), `input`,
    `output`, `read` (lines of code) and whatever else is worth knowing. packages: those whose versions matter.
    """

    file: str
    make: Callable
    packages: tuple[str, ...]
    tolerance: float
    gate: str = 'max'


def finish(job, out, model, overwrite=False):
    """Makes the file and its card in the folder `out` and returns the card. `model` is the card of the network.

    Raises FileExistsError where a file of another network is there and not to be replaced, ValueError where the file is further
    from JAX than the tolerance (then nothing is left), and what `make` raises.
    """
    out = expanded(out)
    out.mkdir(parents=True, exist_ok=True)
    target, card_file = out / job.file, out / f'{job.file}.json'
    if not overwrite:
        refuse_others(target, card_file, model)
    with written(target, several=True) as part:
        said = job.make(part)
        worst = [check[job.gate] for check in said['checks']]
        if not all(value <= job.tolerance for value in worst):  # so written, NaN fails
            raise ValueError(f'it is {max(worst):.2g} ({job.gate}) away from JAX, more than {job.tolerance:g}: not kept')
        card = {
            'file': job.file,
            'bytes': size(part),
            'sha256': digest(part),
            **said,
            'tolerance': {job.gate: job.tolerance},
            'versions': {**versions((*PACKAGES, *job.packages)), 'python': platform.python_version()},
            'model': model,
        }
        # The old card goes first: a kill between leaves no card that speaks of another file.
        card_file.unlink(missing_ok=True)
        remove(target)
    write(card_file, card)
    return card


def refuse_others(target, card_file, model):
    """FileExistsError where `target` is there and its card does not say that it is of the network that the card `model` is of."""
    if not target.exists():
        return
    network = lambda card: [card.get(key) for key in ('model', 'args', 'sha256')]
    try:
        theirs = json.loads(card_file.read_text())['model']
        if network(theirs) == json.loads(json.dumps(network(model))):
            return
        what = f'of another network ({theirs["model"]}, sha256 {theirs["sha256"][:8]} and not {model["sha256"][:8]})'
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        what = 'has no card that says of which network it is'
    raise FileExistsError(f'{target} is there and {what}: choose another --name or --out, or --overwrite to replace it')


def write(path, card):
    """Writes a card; it appears whole or not at all."""
    with written(path) as part:
        part.write_text(json.dumps(card, indent=2) + '\n')


def contents(path):
    """The file itself, or the files of a folder, sorted."""
    return sorted(p for p in path.rglob('*') if p.is_file()) if path.is_dir() else [path]


def size(path):
    """Bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in contents(path))


def digest(path):
    """sha256 of a file, or of the files of a folder in the order of their names."""
    total = hashlib.sha256()
    for file in contents(path):
        total.update(file.read_bytes())
    return total.hexdigest()


def versions(packages):
    """{package: version} of those that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def need(module, remedy):
    """The imported module; ModuleNotFoundError, with the remedy, where it or what it needs is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as e:
        missing = e.name if isinstance(e, ModuleNotFoundError) and e.name else module
        raise ModuleNotFoundError(f'{missing} is not installed: {remedy}') from e


def signature(name, shape, white, layout='NHWC', dtype='float32', **more):
    """What a card says of an input or output; a size that is free is None or its name."""
    channels = shape[layout.index('C')]
    kinds = {3: 'RGB', 1: 'Y of BT.601: 16/255 of white is black, 235/255 is white'}
    colours = {'colours': kinds[channels]} if channels in kinds else {}
    return {'name': name, 'shape': list(shape), 'dtype': dtype, 'layout': layout, **colours, 'range': [0, white], **more}
