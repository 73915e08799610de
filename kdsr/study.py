"""Arms of one experiment, several seeds each, equal budgets: what does a method gain, and what does it cost?

    python -m kdsr.study --config=experiments/fakd.py --out=runs/study --jobs=2                     # the file's own arms
    python -m kdsr.study --config=experiments/fakd.py --arms=alone,output,fsp --seeds=0,1,2 --equal=seconds --out=runs/equal
    python -m kdsr.study --config=experiments/teacher.py:demo,x2 --arms=edsr,rcan,rdn --steps=300 --out=runs/networks
    python -m kdsr.study --config=experiments/fakd.py --out=runs/study --print                      # the tables of what is there

An arm is one of the file's STUDY (FILE:help names them), or words of the file joined by '+'. OUT/<arm>_<seed> is its run, as
kdsr.main leaves it: finished runs are kept, interrupted ones go on, and with --jobs=N each has a core of its own. --equal: all arms
have the steps of their recipes (`steps`), or as many as cost in all what the reference arm's do, in `seconds` of a step measured
here or in `flops`; lengths that a recipe counts in steps, such as milestones, stay. OUT/study.md keeps the tables.
"""

import concurrent.futures
import json
import os
import pathlib
import queue
import subprocess
import sys
from typing import NamedTuple

from absl import flags

from kdsr import commands, console, evaluate, frechet, gains, recipes, settings, stages, writers
from kdsr.paths import expanded


class Arm(NamedTuple):
    """One arm. config: its FILE.py:words. values: {field: value} besides."""

    name: str
    config: str
    values: dict


class Plan(NamedTuple):
    """What is to be run.

    out: folder. common: fields that all arms set, 'patch=24'. steps: {arm: of each stage}, none where they are as the recipe says.
    """

    out: pathlib.Path
    study: recipes.Study
    arms: dict
    seeds: list
    common: list
    benchmarks: str
    steps: dict

    def overrides(self, arm):
        """The fields that an arm sets, 'method.alpha=0.5'."""
        name, config, values = self.arms[arm]
        staged = 'stages' in settings.load(config)
        steps = [f'stages.{i}.steps={n}' if staged else f'steps={n}' for i, n in enumerate(self.steps.get(name, ()))]
        return [*self.common, *(f'{k}={v}' for k, v in values.items()), *steps]


def planned(flag):
    """The Plan of the command's flags; ValueError where an arm is no run of the file."""
    path, _, words = flag.config.partition(':')
    found = settings.executed(path)
    if 'RECIPES' not in found:
        raise ValueError(f'{path} has no RECIPES: a study compares the arms of a file that has (kdsr.recipes)')
    study = found.get('STUDY', recipes.Study({}, '', ''))
    names = flag.arms or list(study.default or study.arms)
    if not names:
        raise ValueError(f"{path} has no STUDY: name the arms, words of the file joined by '+', e.g. --arms=edsr,rcan")
    arms, one_of = {}, [*recipes.owners(found.get('AXES', {})), *(r.__name__ for r in found['RECIPES'])]
    for name in names:
        if name not in study.arms and not set(name.split('+')) <= set(one_of):
            listed = f"the file's arms {', '.join(study.arms)}" if study.arms else 'an arm of the file, which has no STUDY'
            raise ValueError(f"--arms: '{name}' is none of {listed}, nor words of it joined by '+' ({', '.join(one_of)})")
        own, values = study.arms.get(name, (name.replace('+', ','), {}))
        own = ','.join(filter(None, [words, own]))
        arms[name] = Arm(name, f'{path}:{recipes.with_recipe(found, own, study.recipe)}', values)
    study = study._replace(against=flag.against or (study.against if study.against in arms else names[0]))
    if study.against not in arms:
        raise ValueError(f"--against='{study.against}' is none of the arms {', '.join(arms)}")
    common = [text.removeprefix('--config.') for text in flag.set] + [f'steps={flag.steps}'] * bool(flag.steps)
    plan = Plan(expanded(flag.out), study, arms, flag.seeds, common, ','.join(flag.benchmarks), {})
    for name in arms:
        stages.planned(*settings.read(arms[name].config, plan.overrides(name)))
    return plan


def keep(plan, equal):
    """Writes OUT/study.json; ValueError where OUT holds a study of other fields."""
    file = plan.out / 'study.json'
    facts = {'equal': equal, 'common': plan.common, 'against': plan.study.against}
    before = json.loads(file.read_text()) if file.is_file() else {}
    held = before.get('arms', {})
    arms = {name: [arm.config, json.loads(json.dumps(arm.values))] for name, arm in plan.arms.items()}
    pairs = [(k, before.get(k), v) for k, v in facts.items()] + [(k, held.get(k), v) for k, v in arms.items()]
    for what, was, now in pairs:
        if before and was not in (None, now):
            raise ValueError(f'{plan.out} holds another study: {what} was {was!r} and is now {now!r}; choose another --out')
    writers.replace(file, json.dumps({**facts, 'arms': held | arms}, indent=1) + '\n')


def called(module, *arguments, log, core=None):
    """Runs `python -m module` on one core (any where it is None), what it says into `log`; ValueError where it fails."""
    pin = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
    with log.open('a') as file:
        done = subprocess.run([sys.executable, '-m', module, *arguments], stdout=file, stderr=file, preexec_fn=pin)
    if done.returncode:
        lines = [line for line in log.read_text(errors='replace').splitlines() if line.startswith('error: ')]
        raise ValueError(f'{log.stem} ended with exit status {done.returncode}: {lines[-1][7:] if lines else "see"} ({log})')


def cost(plan, arm, core):
    """Rows of kdsr.budget for one arm, as measured once and kept in OUT/<arm>.cost.json."""
    file = plan.out / f'{arm}.cost.json'
    if not file.is_file():
        line = [f'--config={plan.arms[arm].config}', *(f'--set={text}' for text in plan.overrides(arm)), f'--json={file}']
        called('kdsr.budget', *line, log=file.with_suffix('.log'), core=core)
    return json.loads(file.read_text())['stages']


def costs(plan, core, measure):
    """({arm: rows of its cost}, sentences about those that could not be measured); measure: whether those not known are."""
    found, failed, show = {}, [], console.progress('costs')
    wanted = [arm for arm in plan.arms if measure or (plan.out / f'{arm}.cost.json').is_file()]
    for i, arm in enumerate(wanted, 1):
        try:
            found[arm] = cost(plan, arm, core)
        except ValueError as e:
            failed.append(str(e))
        show(i, len(wanted))
    return found, failed


def run(plan, arm, seed, cores):
    """Trains and scores one arm and seed on a core out of the queue `cores`; returns a sentence about what failed, or ''."""
    folder, log = plan.out / f'{arm}_{seed}', plan.out / f'{arm}_{seed}.log'
    fields = [f'--set={text}' for text in [*plan.overrides(arm), f'seed={seed}']]
    core = cores.get()
    try:
        called('kdsr.main', f'--config={plan.arms[arm].config}', f'--workdir={folder}', *fields, log=log, core=core)
        lpips = [f'--lpips={plan.study.lpips}'] if plan.study.lpips else []
        line = [f'--model={folder}', f'--data={plan.benchmarks}', f'--protocol={plan.study.protocol}', *lpips]
        line += ['--niqe'] * ('niqe' in plan.study.metrics)
        distances = [name for name in frechet.BUILT_IN if f'fd_{name}' in plan.study.metrics]
        line += [f'--fd={",".join(distances)}'] * bool(distances)
        scored, of = folder / 'benchmarks.json', folder / 'benchmarks.txt'  # of the student alone: all runs share the teacher
        if plan.benchmarks and not (scored.is_file() and of.is_file() and of.read_text() == plan.benchmarks):
            called('kdsr.evaluate', *line, f'--json={scored}', log=log, core=core)
            writers.replace(of, plan.benchmarks)
    except ValueError as e:
        return str(e)
    finally:
        cores.put(core)
    return ''


def trained(plan, jobs, cores):
    """Runs all `jobs`, (arm, seed), and returns sentences about those that failed."""
    failed, show = [], console.progress('runs')
    with concurrent.futures.ThreadPoolExecutor(max(cores.qsize(), 1)) as pool:
        waiting = [pool.submit(run, plan, *job, cores) for job in jobs]
        try:
            for done, future in enumerate(concurrent.futures.as_completed(waiting), 1):
                failed += filter(None, [future.result()])
                show(done, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def scores(plan):
    """{arm: {seed: {set: {metric: value}}}} of the runs that are there, on the benchmarks or else the validation images."""
    found = {}
    for arm in plan.arms:
        for folder in sorted(plan.out.glob(f'{arm}_*/')):
            seed = folder.name.removeprefix(f'{arm}_')
            file = folder / ('benchmarks.json' if plan.benchmarks else 'results.json')
            if seed.isdigit() and file.is_file():
                sets = json.loads(file.read_text())
                sets = sets if plan.benchmarks else sets['student']
                # of a folder of a teacher's pictures: how near the student comes to those
                own = lambda v: v | {k.removeprefix(evaluate.TEACHER): x for k, x in v.items() if k.startswith(evaluate.TEACHER)}
                found.setdefault(arm, {})[seed] = {name: own(v) for name, v in sets.items()}
    return found


def table(rows):
    """Markdown in pieces that fit a terminal."""
    columns = dict.fromkeys(dict.fromkeys(k for row in rows for k in row), '')
    return writers.narrow([{k: str(v) for k, v in row.items()} for row in rows], columns)


def cost_rows(plan, found):
    """Rows of the table of costs; what differs between the stages of an arm is joined by '+'."""
    joined, rows = lambda values, f: '+'.join(format(v, f) for v in values), []
    for arm, stages_of in found.items():
        steps = plan.steps.get(arm) or [stage['steps'] for stage in stages_of]
        total = lambda field, of=stages_of, steps=steps: sum(stage[field] * n for stage, n in zip(of, steps, strict=True)) / 1e3
        row = {'arm': arm, 'steps': joined(steps, ','), 'parameters': f'{stages_of[-1]["parameters"]:,}'}
        row |= {
            'GFLOP/step': joined((s['gflop'] for s in stages_of), '.3g'),
            'ms/step': joined((s['ms'] for s in stages_of), '.4g'),
        }
        rows.append(row | {'TFLOP': f'{total("gflop"):.3g}', 'seconds': f'{total("ms"):,.0f}'})
    return rows


def report(plan, found):
    """The tables as Markdown; found: {arm: rows of its cost}."""
    scored, parts, against = scores(plan), [], plan.study.against
    for metric in plan.study.metrics if scored else ():
        shown, differences = gains.tables(scored, metric, against, evaluate.FORMATS[metric])
        parts += [f'{metric}: mean ± sample standard deviation over seeds', table(shown)]
        sets = [item for by_seed in scored.values() for found_of in by_seed.values() for item in found_of.items()]
        numbers = {name: f'{v[f"{metric}_n"]:,} in {name}' for name, v in sets if f'{metric}_n' in v}
        parts += [f'pictures that {metric} is of: {", ".join(numbers.values())}'] if numbers else []
        if differences:
            parts += [f'{metric}: mean gain over `{against}` with the same seeds', table(differences), *gains.notes(differences)]
    if found:
        about = 'cost: steps (of each stage), parameters of the student, a step, and the whole training without compilation'
        parts += [about, table(cost_rows(plan, found))]
    return '\n\n'.join(parts)


def main(_):
    """Runs what is missing and prints the tables."""
    flag = flags.FLAGS
    plan, runs = planned(flag), not flag['print'].value
    plan.out.mkdir(parents=True, exist_ok=True)
    keep(plan, flag.equal)
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') and flag.jobs > 1 else [None]
    cores = queue.Queue()
    for i in range(flag.jobs):
        cores.put(usable[i % len(usable)])
    found, failed = costs(plan, usable[0], measure=runs and (flag.costs or flag.equal != 'steps'))
    if flag.equal != 'steps' and plan.study.against in found:
        plan = plan._replace(steps=gains.equal_steps(found, plan.study.against, flag.equal))
    able = [arm for arm in plan.arms if flag.equal == 'steps' or arm in plan.steps]
    failed += trained(plan, [(arm, seed) for seed in plan.seeds for arm in able] if runs else [], cores)
    text = report(plan, found)
    writers.replace(plan.out / 'study.md', text + '\n')
    print(text)
    if failed:
        raise ValueError(f'{len(failed)} failed, the others are in the tables: ' + '; '.join(failed))


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_string('config', None, 'experiment file, and words that all arms share: FILE.py[:word,word]', required=True)
    flags.DEFINE_list('arms', [], "arms of the file's STUDY, or words of the file joined by '+' (default: the study's)")
    flags.DEFINE_list('seeds', ['0', '1', '2'], 'seeds, comma-separated')
    flags.DEFINE_enum('equal', 'steps', ['steps', 'seconds', 'flops'], 'what all arms may spend as much of as the reference')
    flags.DEFINE_string('against', '', "reference arm (default: the study's, or the first)")
    flags.DEFINE_integer('steps', 0, "config.steps of all arms; 0: the recipe's", lower_bound=0)
    flags.DEFINE_list('benchmarks', [], 'benchmark folders that the students are scored on (default: the validation images)')
    flags.DEFINE_integer('jobs', 1, 'runs side by side, each on a core of its own where there are several', lower_bound=1)
    flags.DEFINE_multi_string('set', [], 'FIELD=VALUE of all arms; --config.FIELD=VALUE is the same')
    flags.DEFINE_string('out', None, 'folder of the runs: OUT/<arm>_<seed>', required=True)
    flags.DEFINE_bool('costs', True, 'measure first what a step of each arm costs, where OUT does not know it; --equal needs it')
    flags.DEFINE_bool('print', False, 'run nothing, print the tables of what is there')


if __name__ == '__main__':
    define_flags()
    commands.run(main)
