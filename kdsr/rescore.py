"""Scores a finished run on more benchmarks, by what it exported, and adds them to its results.json."""

import functools
import json

from kdsr import console, evaluate, lock, models, parallel, writers
from kdsr.data import benchmarks
from kdsr.outcome import scores_table


def missing(config, results):
    """The folders of `config.benchmarks` that `results` have no scores of."""
    folders = filter(None, config.benchmarks.split(','))
    return [f for f in folders if f'{benchmarks.set_name(f)}/x{config.scale}' not in results['student']]


def add(config, folder, results):
    """Returns `results` with the scores of all their networks on the benchmarks that are missing; writes results.json."""
    sets = benchmarks.sets(missing(config, results), config.scale)
    sets = {k: evaluate.scorable(v, config.scale, k, lpips=config.lpips) for k, v in sets.items()}
    averaged = folder / 'export' / 'student_ema'
    student = averaged if averaged.is_dir() else folder / 'export' / 'student'
    load = {
        'bicubic': lambda: evaluate.bicubic(config.scale),
        'student': lambda: models.load(student, dtype=config.dtype, scale=config.scale),
        'teacher': lambda: models.load(config.teacher, dtype=config.dtype, scale=config.scale),
    }
    extra = {'lpips': evaluate.lpips(config.lpips)} if config.get('lpips') else {}
    networks = {k: make() for k, make in load.items() if k in results}
    sets = evaluate.fitting(sets, config.scale, networks.values())
    found = evaluate.results(networks, sets, config.scale, extra=extra, progress=functools.partial(console.progress, brief=True))
    results = {**results, **{k: {**results.get(k, {}), **v} for k, v in found.items()}}
    if parallel.is_main():
        with lock.held(folder):
            writers.replace(folder / 'results.json', json.dumps(results, indent=1) + '\n')
        console.show('\n' + scores_table(found))
    return results
