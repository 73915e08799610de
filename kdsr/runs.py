"""Reads run directories and groups those that differ in nothing but the seed."""

import json
import pathlib
from typing import NamedTuple

from kdsr import config as configs

# What two seeds of one experiment may differ in besides the seed: nothing that changes weights or metrics.
IGNORED = ('seed', 'data.cache_dir', 'data.threads', *configs.CHANGEABLE)


class Run(NamedTuple):
    """One run directory.

    config: its fields, {'data.path': 'x'}. results: results.json, None while the run is unfinished. lines: those of metrics.jsonl.
    """

    folder: pathlib.Path
    config: dict
    results: dict | None
    lines: list

    def curve(self, name):
        """{step: value} of a metric, e.g. 'val/psnr_y'."""
        return {line['step']: line[name] for line in self.lines if name in line}


class Group(NamedTuple):
    """Runs of one experiment, sorted by seed. label: name and all fields that tell it from the others; short: for pictures."""

    label: str
    short: str
    runs: list

    @property
    def finished(self):
        return [run for run in self.runs if run.results]


def find(path, depth=3):
    """The run directories that `path` means, by name: itself, or those inside it (a folder of runs, a run of several stages)."""
    path = pathlib.Path(path)
    if (path / 'config.json').is_file():
        return [path]
    if not depth or not path.is_dir():
        return []
    return [run for child in sorted(path.iterdir()) for run in find(child, depth - 1)]


def collect(paths):
    """The runs below `paths`, each once.

    Raises FileNotFoundError for a path without any, ValueError for no paths or a damaged file.
    """
    if not paths:
        raise ValueError('no RUN given: name run directories or folders of them, e.g. python -m kdsr.report runs --out=report')
    folders = {}
    for path in paths:
        found = find(path)
        if not found:
            raise FileNotFoundError(
                f'no run at {path}: expected a directory with config.json and results.json or metrics.jsonl '
                f'(what kdsr.main leaves in its --workdir), or a folder of such directories'
            )
        folders |= {folder.resolve(): folder for folder in found if folder.resolve() not in folders}
    return [read(folder) for folder in folders.values()]


def read(folder):
    """The Run in `folder`; ValueError naming a file that is damaged or not of kdsr."""
    folder = pathlib.Path(folder)
    config, results, metrics = (folder / name for name in ('config.json', 'results.json', 'metrics.jsonl'))
    fields = _parsed(config.read_text(), config)
    missing = [k for k in ('name', 'seed', 'scale', 'steps') if not isinstance(fields, dict) or k not in fields]
    if missing:
        raise ValueError(f'{config} is not the config of a run: it has no field {", ".join(missing)}; leave {folder} out')
    # a run that is going on, or was killed, may end in half a line
    lines = metrics.read_text().split('\n')[:-1] if metrics.is_file() else []
    return Run(
        folder,
        configs.flat(fields),
        _parsed(results.read_text(), results) if results.is_file() else None,
        [_parsed(line, f'{metrics} line {i}') for i, line in enumerate(lines, 1)],
    )


def _parsed(text, where):
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        raise ValueError(f'{where} is damaged ({e}): delete the file, or leave this run out') from e


def teacher_name(run):
    """config.teacher; of a run beside this one (an earlier stage) without the directory, which tells where and not what."""
    parts = pathlib.PurePath(run.config.get('teacher') or '').parts
    folder = run.folder.resolve().parent
    beside = parts[-2:-1] == ('export',) and parts[-4:-3] == (folder.name,) and (folder / parts[-3] / 'config.json').is_file()
    return '/'.join(parts[-3:]) if beside else str(run.config.get('teacher') or '')


def teacher_path(run):
    """Where the teacher is now, also after the directory of a run and its earlier stages was moved."""
    name = teacher_name(run)
    return name if name == run.config['teacher'] else run.folder.resolve().parent / name


def compared(run):
    """The config fields by which runs are told apart."""
    fields = {k: v for k, v in run.config.items() if k not in IGNORED}
    return fields | {'teacher': teacher_name(run)} if 'teacher' in fields else fields


def grouped(runs):
    """Groups of `runs` that differ in nothing but the seed (and IGNORED), in the order in which they come.

    Raises ValueError if two of a group have the same seed: they would count as two samples.
    """
    found = {}
    for run in runs:
        seeds = found.setdefault(json.dumps(compared(run), sort_keys=True), {})
        seed = run.config['seed']
        if seed in seeds:
            raise ValueError(
                f'{seeds[seed].folder} and {run.folder} have the same config and the same seed {seed}: give one of them'
            )
        seeds[seed] = run
    members = [[seeds[s] for s in sorted(seeds)] for seeds in found.values()]
    return [Group(*names, runs) for names, runs in zip(labels([m[0] for m in members]), members, strict=True)]


def labels(runs):
    """(label, short label) of each run: its name and exactly the fields in which the `runs` differ.

    The short label is the name where names differ, else the name and the last parts of the fields' names.
    """
    fields, names = [compared(run) for run in runs], [run.config['name'] for run in runs]
    keys = sorted({k for f in fields for k in f})
    keys = [k for k in keys if len({json.dumps(f[k]) if k in f else '' for f in fields}) > 1]
    last = [k.rpartition('.')[2] for k in keys]
    brief = {k: s if last.count(s) == 1 else k for k, s in zip(keys, last, strict=True)}
    text = lambda name, f, key: ' '.join([name, *(f'{key(k)}={_show(f[k])}' for k in keys if k in f)])
    full = [text(n, f, str) for n, f in zip(names, fields, strict=True)]
    short = names if len(set(names)) == len(names) else [text(n, f, brief.get) for n, f in zip(names, fields, strict=True)]
    return list(zip(full, short, strict=True))


def _show(value):
    return f'{value:g}' if isinstance(value, float) else str(value) or "''"
