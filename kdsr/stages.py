"""Runs the stages of a config in order and skips the finished ones."""

import json
import pathlib

from kdsr import config as configs
from kdsr import train, writers


def run(config, workdir):
    """Trains every stage and returns the results of the last.

    A config without `stages` is one stage in `workdir` itself. Otherwise `stages` is a tuple of configs, each with a `name`,
    a directory `workdir/<name>` and a fresh optimiser. Where a stage's teacher says 'stage:NAME/NET', it is the export of
    that earlier stage.
    """
    workdir = pathlib.Path(workdir)
    stages = config.get('stages') or (config,)
    names = [s.name for s in stages]
    if len(set(names)) < len(names):
        raise ValueError(f'config.stages: names must differ, got {", ".join(names)}')
    for stage in stages:
        configs.check(stage)
    results = {}
    for i, stage in enumerate(stages):
        folder = workdir / stage.name if len(stages) > 1 else workdir
        stage = resolved(stage, workdir, names[:i])
        if (folder / 'results.json').exists():
            configs.require_same(stage, folder)
            writers.say(f'{folder} is finished (delete results.json or choose another --workdir to run it again)')
            results = json.loads((folder / 'results.json').read_text())
            continue
        results = train.train(stage, folder)
    return results


def resolved(stage, workdir, finished):
    """`stage` with 'stage:NAME/NET' replaced by the export directory of an earlier stage."""
    teacher = stage.get('teacher', '')
    if not teacher.startswith('stage:'):
        return stage
    name, _, net = teacher.removeprefix('stage:').partition('/')
    if name not in finished:
        raise ValueError(
            f"config.teacher='{teacher}': no earlier stage is called '{name}' (earlier: {', '.join(finished) or 'none'})"
        )
    stage = stage.copy_and_resolve_references()
    stage.teacher = str(workdir / name / 'export' / (net or 'student'))
    return stage
