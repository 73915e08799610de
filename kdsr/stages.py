"""Runs the stages of a config in order and skips the finished ones."""

import json
import pathlib

from kdsr import config as configs
from kdsr import fields, methods, settings, train, writers


def run(config, workdir, overrides=()):
    """Trains every stage and returns the results of the last.

    A config without `stages` is one stage in `workdir` itself. Otherwise `stages` is a tuple of blocks, each with a `name` and the
    fields in which the stage differs from the config (a block such as `method` is replaced as a whole), so that an override of the
    config reaches all stages that do not set the field themselves. Each has a directory `workdir/<name>` and a fresh optimiser.
    Where a stage's `teacher` or `student_init` says 'stage:NAME/NET', it is the export of that earlier stage.

    Raises ValueError before anything is trained for a field whose value cannot be meant, and for `overrides`, paths of fields that
    were set on the command line, that no stage reads.
    """
    workdir = pathlib.Path(workdir)
    stages = planned(config, overrides)
    names = [s.name for s in stages]
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


def planned(config, overrides=()):
    """The configs of the stages, complete; ValueError as `run`."""
    blocks = config.get('stages') or ({},)
    if not all(hasattr(block, 'items') for block in blocks):
        raise ValueError('config.stages must be a tuple of blocks, each with a name: kdsr.config.block')
    stages = [derived(config, block) for block in blocks]
    for stage in stages:
        configs.check(stage)
    names = [s.name for s in stages]
    if len(set(names)) < len(names):
        raise ValueError(f'config.stages: names must differ, got {", ".join(names)}')
    stages = [methods.complete(stage) for stage in stages]
    settings.require_read(overrides, blocks, stages)
    return stages


def derived(config, block):
    """The config of one stage: `config` with the fields of `block` instead of its own."""
    stage = config.copy_and_resolve_references()
    with stage.unlocked():
        if 'stages' in stage:
            del stage.stages
        known = {*stage, 'student', 'teacher', 'method'}
        for field, value in block.items():
            if field not in known:
                hint = fields.meant(field, known)
                raise ValueError(f"config.stages: field '{field}' of stage '{block.get('name', '')}' is unknown{hint}")
            stage[field] = value
    return configs.complete(stage)


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
