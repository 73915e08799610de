"""Runs the stages of a config in order and skips the finished ones."""

import functools
import json
import pathlib

from kdsr import config as configs
from kdsr import fields, methods, parallel, rescore, settings, train, writers
from kdsr.models import exports


def run(config, workdir, overrides=()):
    """Trains every stage and returns the results of the last.

    A config without `stages` is one stage in `workdir` itself. Otherwise `stages` is a tuple of blocks, each with a `name` and the
    fields in which the stage differs from the config (a block such as `method` is replaced as a whole), so that an override of the
    config reaches all stages that do not set the field themselves. Each has a directory `workdir/<name>` and a fresh optimiser, but
    for the networks that its `carry` names: those go on as the stage before left them (kdsr.carry).
    stages.json beside them tells their order; the run's model is the student of the last (`exports.find`). A single stage is named
    like the config. Where a stage's `teacher` or `student_init` says 'stage:NAME/NET', it is the export of that earlier stage.

    Raises ValueError before anything is trained for a field whose value cannot be meant, and for `overrides`, paths of fields that
    were set on the command line, that no stage reads.
    """
    workdir = pathlib.Path(workdir)
    stages = planned(config, overrides)
    names = [s.name for s in stages]
    stages = [resolved(stage, workdir, names[:i]) for i, stage in enumerate(stages)]
    keep_order(config.name, names if len(stages) > 1 else [], workdir)
    folders = [workdir / name if len(stages) > 1 else workdir for name in names]
    before = [read_results(folder) for folder in folders]
    check_order(stages, folders, before)
    results = {}
    for i, (stage, folder, found) in enumerate(zip(stages, folders, before, strict=True)):
        results = found and finished(stage, folder, found) or train.train(stage, folder, folders[i - 1] if i else None)
        parallel.meet(f'after {stage.name}')  # the next one may read what the first process exported
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
        writers.replace(workdir / 'stages.json', json.dumps({'name': name, 'stages': stages}) + '\n')


def finished(stage, folder, results):
    """The `results` of a stage with nothing left to train, with those of benchmarks asked for since; None where there is."""
    changed = configs.require_same(stage, folder, methods.defaults(stage.method.name))
    if results['steps'] < stage.steps:
        writers.say(f'{folder} was finished at step {results["steps"]} and goes on to step {stage.steps}')
        return None
    if new := rescore.missing(stage, results):
        writers.say(f'{folder} is finished; scoring it on {", ".join(new)}')
        return rescore.add(stage, folder, results)
    vain = [k for k in changed if k not in ('name', 'benchmarks', 'steps')]
    hint = f'; {", ".join(vain)} would change nothing any more' if vain else ''
    writers.say(f'{folder} is finished (delete results.json or choose another --workdir to run it again){hint}')
    return results


def read_results(folder):
    """results.json; None where there is none, or one that is damaged and can be made again from the checkpoints."""
    path = folder / 'results.json'
    if not path.exists():
        return None
    try:
        results = json.loads(path.read_bytes())
        if not results['student'] or not isinstance(results['steps'], int):
            raise ValueError('no student')
    except (ValueError, KeyError, TypeError) as e:
        if not (folder / 'resume').is_dir():
            raise ValueError(f'{path} is damaged ({e}) and {folder} has no checkpoints: delete it to train this run again') from e
        writers.say(f'{path} is damaged ({e}): making it again from the last checkpoint')
        return None
    return results


def check_order(stages, folders, before):
    """ValueError where a stage would go on to more steps after a later one has begun from its export."""
    for i, (stage, folder, results) in enumerate(zip(stages, folders, before, strict=True)):
        later = [f for s, f in zip(stages[i + 1 :], folders[i + 1 :], strict=True) if begun_from(s, f, folder)]
        later += [f for s, f in zip(stages[i + 1 : i + 2], folders[i + 1 : i + 2], strict=True) if s.carry and begun(f)]
        if later and results and results['steps'] < stage.steps:
            raise ValueError(
                f'{folder} is finished at step {results["steps"]} and {later[0]} has begun from its export, '
                f'so that it cannot go on to step {stage.steps}: delete {later[0]}, or choose another --workdir'
            )


def begun_from(stage, folder, earlier):
    """Whether `stage` has begun in `folder` and takes networks of the stage in `earlier`."""
    taken = [pathlib.Path(value) for value in configs.flat(stage.to_dict()).values() if isinstance(value, str)]
    return begun(folder) and any(earlier in path.parents for path in taken)


def begun(folder):
    """Whether a stage has begun in `folder`."""
    return (folder / 'config.json').exists()


def planned(config, overrides=()):
    """The configs of the stages, complete; ValueError as `run`."""
    blocks = config.get('stages') or ({},)
    if not all(hasattr(block, 'items') for block in blocks):
        raise ValueError('config.stages must be a tuple of blocks, each with a name: kdsr.recipes.block')
    stages = [derived(config, block) for block in blocks]
    if len(stages) == 1 and 'name' in config:
        stages[0].name = config.name  # no stage tells itself from another: what remains is the run
    for stage in stages:
        configs.check(stage)
    names = [s.name for s in stages]
    if len(set(names)) < len(names):
        raise ValueError(f'config.stages: names must differ, got {", ".join(names)}')
    if stages[0].carry:
        raise ValueError(f'config.carry={stages[0].carry}: the stage {names[0]} has none before it to carry networks over from')
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
    """`stage` with every 'stage:NAME/NET' replaced by the export directory of an earlier stage; without /NET it is the student."""
    found = {k: v for k, v in configs.flat(stage.to_dict()).items() if isinstance(v, str) and v.startswith('stage:')}
    if not found:
        return stage
    stage = stage.copy_and_resolve_references()
    for field, value in found.items():
        name, _, net = value.removeprefix('stage:').partition('/')
        if name not in finished:
            raise ValueError(
                f"config.{field}='{value}': no earlier stage is called '{name}' (earlier: {', '.join(finished) or 'none'})"
            )
        *parents, last = field.split('.')
        functools.reduce(getattr, parents, stage)[last] = str(workdir / name / 'export' / (net or 'student'))
    return stage
