"""Reads run directories, and groups those that differ in nothing but the seed, and what kdsr.evaluate --json wrote."""

import json
import math
import pathlib
from typing import NamedTuple

from kdsr import config as configs
from kdsr import labels
from kdsr.models import exports
from kdsr.paths import expanded

# What two seeds of one experiment may differ in besides the seed: nothing that changes weights or metrics.
IGNORED = ('seed', 'data.cache_dir', 'data.threads', *configs.CHANGEABLE)


class Run(NamedTuple):
    """One run directory.

    config: its fields, {'data.path': 'x'}; the name of a stage is the run's, or 'run/stage' where others follow. results:
    results.json, None while the run is unfinished. lines: those of metrics.jsonl. added: scores of its student that files of
    kdsr.evaluate have besides, as of `measured`.
    """

    folder: pathlib.Path
    config: dict
    results: dict | None
    lines: list
    added: dict = {}

    def curve(self, name):
        """{step: value} of a metric, e.g. 'val/psnr_y'."""
        return {line['step']: line[name] for line in self.lines if name in line}


class Group(NamedTuple):
    """Runs of one experiment, sorted by seed. label, fields, rest: as of `labels.of`."""

    label: str
    fields: str
    rest: str
    runs: list

    @property
    def finished(self):
        return [run for run in self.runs if run.results]


class Evaluation(NamedTuple):
    """What kdsr.evaluate --json wrote. label: its row's name. model: as its --model said, '' in a file that does not tell.

    scores: as of `measured`. self_ensemble: whether they are of 8 flips and transposes.
    """

    label: str
    model: str
    scores: dict
    self_ensemble: bool


def find(path, depth=3):
    """The run directories that `path` means, by name: itself, of a run with stages the latest, or those in a folder of runs."""
    path = expanded(path)
    own = [path] if (path / 'config.json').is_file() else []
    if stages := exports.stages(path)[1]:
        return own + [path / stage for stage in stages if (path / stage / 'config.json').is_file()][-1:]
    if not depth or not path.is_dir():
        return own
    return own + [run for child in sorted(path.iterdir()) for run in find(child, 0 if own else depth - 1)]


def collect(paths):
    """The runs below `paths`, each once. One whose later stages have not begun is unfinished, unless its stage itself is named.

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
    named = {pathlib.Path(path).resolve() for path in paths}
    waits = lambda folder: folder not in named and folder.name in exports.stages(folder.parent)[1][:-1]
    return [read(shown)._replace(results=None) if waits(folder) else read(shown) for folder, shown in folders.items()]


def read(folder):
    """The Run in `folder`; ValueError naming a file that is damaged or not of kdsr."""
    folder = pathlib.Path(folder)
    config, results, metrics = (folder / name for name in ('config.json', 'results.json', 'metrics.jsonl'))
    fields = _parsed(config.read_text(), config)
    missing = [k for k in ('name', 'seed', 'scale', 'steps') if not isinstance(fields, dict) or k not in fields]
    if missing:
        raise ValueError(f'{config} is not the config of a run: it has no field {", ".join(missing)}; leave {folder} out')
    whole, stages = exports.stages(folder.resolve().parent)
    if folder.resolve().name in stages:
        fields['name'] = whole if folder.resolve().name == stages[-1] else f'{whole}/{folder.resolve().name}'
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
    first = [m[0] for m in members]
    names = labels.of([run.config['name'] for run in first], [compared(run) for run in first])
    return [Group(*texts, runs) for texts, runs in zip(names, members, strict=True)]


def evaluation(file):
    """The Evaluation in `file`, ValueError where it is damaged or something else. Older files tell nothing: y8 is meant."""
    file = pathlib.Path(file)
    found = _parsed(file.read_text(errors='replace'), file)
    sets = list(found.values()) if isinstance(found, dict) else []
    whole = lambda name, scores: isinstance(scores, dict) and 'images' in scores and name.rpartition('/x')[2].isdigit()
    if not sets or not all(whole(*item) for item in found.items()):
        raise ValueError(f'{file} is not what kdsr.evaluate --json writes; of a run, name the directory')
    facts = sets[0].get('evaluation', {})
    model, averaged = facts.get('model', ''), facts.get('self_ensemble', False)
    scores = measured(found, protocol=facts.get('protocol', 'y8'), lpips=facts.get('lpips', 'alex'))
    return Evaluation((model or file.stem) + ' +self-ensemble' * averaged, model, scores, averaged)


def measured(scores, bicubic=None, *, protocol='y8', lpips='alex'):
    """The numbers of one network, {set: {metric: value}}, with its gain over `bicubic`, which was scored alike.

    What is measured otherwise has columns of its own: 'psnr_y:dfsr' by another protocol than y8, 'lpips:vgg' by another network
    than AlexNet.
    """
    found = {}
    for name, values in scores.items():
        found[name] = {}
        for metric, value in values.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                own = (lpips, 'alex') if metric.endswith('lpips') else (protocol, 'y8')
                found[name][metric if own[0] == own[1] else f'{metric}:{own[0]}'] = value
        for metric in [m for m in found[name] if m.endswith('psnr_y')]:  # also by a prefix: compared with other images than HR
            other = (bicubic or {}).get(name, {}).get(metric, math.inf)
            if math.isfinite(other):
                found[name][metric.replace('psnr_y', 'gain_db')] = found[name][metric] - other
    return found
