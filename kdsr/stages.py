"""Runs the stages of a config in order and skips the finished ones."""

import difflib
import json
import os
import pathlib

from kdsr import config as configs
from kdsr import parallel, train, writers
from kdsr.models import exports


def run(config, workdir):
    """Trains every stage and returns the results of the last.

    A config without `stages` is one stage in `workdir` itself. Otherwise `stages` is a tuple of blocks, each with a `name` and the
    fields in which the stage differs from the config (a block such as `method` is replaced as a whole), so that an override of the
    config reaches all stages that do not set the field themselves. Each has a directory `workdir/<name>` and a fresh optimiser.
    stages.json beside them tells their order; the run's model is the student of the last (`exports.find`). A single stage is named
    like the config. Where a stage's `teacher` or `student_init` says 'stage:NAME/NET', it is the export of that earlier stage.
    """
    workdir = pathlib.Path(workdir)
    stages = [derived(config, block) for block in config.get('stages') or ({},)]
    names = [s.name for s in stages]
    if len(set(names)) < len(names):
        raise ValueError(f'config.stages: names must differ, got {", ".join(names)}')
    if len(stages) == 1:
        stages[0].name = config.name  # no stage tells itself from another: what remains is the run
    for stage in stages:
        configs.check(stage)
    stages = [resolved(stage, workdir, names[:i]) for i, stage in enumerate(stages)]
    keep_order(config.name, names if len(stages) > 1 else [], workdir)
    results = {}
    for stage in stages:
        folder = workdir / stage.name if len(stages) > 1 else workdir
        if (folder / 'results.json').exists():
            configs.require_same(stage, folder)
            writers.say(f'{folder} is finished (delete results.json or choose another --workdir to run it again)')
            results = json.loads((folder / 'results.json').read_text())
            continue
        results = train.train(stage, folder)
    return results


def keep_order(name, stages, workdir):
    """Writes stages.json, {name, stages}, for a run with `stages` ([] for none); ValueError where `workdir` holds another run."""
    _, before = exports.stages(workdir)
    single = (workdir / 'config.json').is_file()
    if before and before != stages or stages and single:
        held = ' and '.join([*['one without stages'] * single, *[f'one with the stages {", ".join(before)}'] * bool(before)])
        now = f'with the stages {", ".join(stages)}' if stages else 'without stages'
        raise ValueError(f'{workdir} holds another run ({held}), and this one is {now}: choose another --workdir')
    if stages and parallel.is_main():
        workdir.mkdir(parents=True, exist_ok=True)
        temporary = workdir / 'stages.json.tmp'
        temporary.write_text(json.dumps({'name': name, 'stages': stages}) + '\n')
        os.replace(temporary, workdir / 'stages.json')


def derived(config, block):
    """The config of one stage: `config` with the fields of `block` instead of its own."""
    stage = config.copy_and_resolve_references()
    with stage.unlocked():
        if 'stages' in stage:
            del stage.stages
        known = {*stage, 'student', 'teacher', 'method'}
        for field, value in block.items():
            if field not in known:
                near = difflib.get_close_matches(field, known, 1)
                hint = f", did you mean '{near[0]}'?" if near else ''
                raise ValueError(f"config.stages: field '{field}' of stage '{block.get('name', '')}' is unknown{hint}")
            stage[field] = value
    return stage


def resolved(stage, workdir, finished):
    """`stage` with 'stage:NAME/NET' in `teacher` and `student_init` replaced by the export directory of an earlier stage."""
    found = {k: stage.get(k) or '' for k in ('teacher', 'student_init')}
    found = {k: v for k, v in found.items() if v.startswith('stage:')}
    if not found:
        return stage
    stage = stage.copy_and_resolve_references()
    for field, value in found.items():
        name, _, net = value.removeprefix('stage:').partition('/')
        if name not in finished:
            raise ValueError(
                f"config.{field}='{value}': no earlier stage is called '{name}' (earlier: {', '.join(finished) or 'none'})"
            )
        stage[field] = str(workdir / name / 'export' / (net or 'student'))
    return stage
