"""Arms of one experiment, several seeds each, equal budgets: does distillation help, and by how much?

    python benchmarks/study.py --out=runs/study --benchmarks=Set5,Set14,B100 --jobs=2        # four arms, three seeds
    python benchmarks/study.py --out=runs/short --benchmarks=Set5 --arms=alone,spatial,fsp --seeds=0 --steps=300
    python benchmarks/study.py --out=runs/study --benchmarks=Set5 --print                    # the table of what is there

An arm is a run of `experiments/fakd.py:study` (--study=srgan, esrgan, data_free: `experiments/srgan_kd.py:study`,
`experiments/compressed_esrgan.py:study`, `experiments/data_free.py:study`). Finished runs are kept, interrupted ones go on.
With --jobs=N each has a core of its own. Arms (benchmarks/arms.py): alone (ground truth), output (+ the teacher's image), fakd10
and fakd1 (+ spatial affinity, weight 10 or 1), and the nine transforms by name, each with the weight at which it pulls as hard
as spatial affinity with weight 10; of SRGAN lightening baseline, gan2g, gan2g_al, g2g_al, gan2gan; of compressed ESRGAN a
student's name (comparative), or with `-gan` (adversarial); of data-free distillation noise, generator, random (new blocks are),
whole (no growth), released, data_kd, data, unbalanced. Folders of benchmarks/teacher_images.py among --benchmarks compare with
the teacher here, not with the truth.
"""

import concurrent.futures
import json
import os
import pathlib
import queue
import statistics
import subprocess
import sys

from absl import flags
from arms import STUDIES

from kdsr import commands, console, evaluate, writers

OUT = flags.DEFINE_string('out', None, 'folder of the runs: OUT/<arm>_<seed>', required=True)
STUDY = flags.DEFINE_enum('study', 'fakd', list(STUDIES), 'which experiment')
NAMES = flags.DEFINE_list('arms', [], "arms, comma-separated (default: the study's)")
SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'seeds, comma-separated')
STEPS = flags.DEFINE_integer('steps', 0, "budget; 0: the config's", lower_bound=0)
JOBS = flags.DEFINE_integer('jobs', 1, 'runs side by side', lower_bound=1)
WORDS = flags.DEFINE_string('words', '', 'further words for the config of all arms, e.g. smoke')
SETS = flags.DEFINE_string('benchmarks', None, 'benchmark folders, comma-separated', required=True)
SET = flags.DEFINE_multi_string('set', [], 'further override of all arms, e.g. --set=--config.dtype=bfloat16')
PRINT = flags.DEFINE_bool('print', False, 'run nothing, print the table')


def command(arm, seed):
    """The run of one arm and seed as a command line."""
    study = STUDIES[STUDY.value]
    words, values = study.arms[arm]
    overrides = [f'--config.{k}={v}' for k, v in values.items()]
    config = f'--config={",".join(filter(None, [study.config, words, WORDS.value]))}'
    steps = [f'--config.steps={STEPS.value}'] if STEPS.value else []
    common = [f'--config.seed={seed}', f'--workdir={OUT.value}/{arm}_{seed}']
    return [sys.executable, '-m', 'kdsr.main', config, *common, *steps, *SET.value, *overrides]


def run(job, cores):
    """Runs and scores `job`, (arm, seed), on a core out of the queue `cores`; its console output goes to OUT/<arm>_<seed>.log."""
    arm, seed = job
    folder = pathlib.Path(OUT.value) / f'{arm}_{seed}'
    scored = folder / 'benchmarks.json'  # of the student alone: the teacher would be scored anew in every run
    score = [sys.executable, '-m', 'kdsr.evaluate', f'--model={folder}', f'--data={SETS.value}', f'--json={scored}']
    study = STUDIES[STUDY.value]
    score += [f'--protocol={study.protocol}', *([f'--lpips={study.lpips}'] if study.lpips else [])]
    core = cores.get()
    pin = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
    try:
        for line, result in ((command(arm, seed), folder / 'results.json'), (score, scored)):
            if not result.is_file():
                with folder.with_suffix('.log').open('a') as log:
                    subprocess.run(line, stdout=log, stderr=subprocess.STDOUT, preexec_fn=pin, check=True)
    except subprocess.CalledProcessError as e:
        raise ValueError(f'{arm}, seed {seed}, ended with exit status {e.returncode}: see {folder.with_suffix(".log")}') from None
    finally:
        cores.put(core)


def rows(metric):
    """One row per arm: seeds, mean and sample standard deviation per set, mean gain over the reference arm of the same seeds."""
    study, found, f = STUDIES[STUDY.value], {}, evaluate.FORMATS[metric]
    for file in sorted(pathlib.Path(OUT.value).glob('*_*/benchmarks.json')):
        arm, _, seed = file.parent.name.rpartition('_')
        scores = json.loads(file.read_text())
        found.setdefault(arm, {})[seed] = {k: v.get(evaluate.TEACHER + metric, v.get(metric)) for k, v in scores.items()}
    table = []
    for arm in [a for a in study.arms if a in found]:
        row = {'arm': arm, 'seeds': str(len(found[arm]))}
        for name in next(iter(found[arm].values())):
            values = {seed: scores[name] for seed, scores in found[arm].items() if name in scores}
            spread = f' ± {statistics.stdev(values.values()):{f}}' if len(values) > 1 else ''
            row[name] = f'{statistics.mean(values.values()):{f}}{spread}'
            pairs = [v - found[study.against][seed][name] for seed, v in values.items() if seed in found.get(study.against, {})]
            if pairs and arm != study.against:
                row[name] += f' ({statistics.mean(pairs):+{f}})'
        table.append(row)
    return table


def main(_):
    """Runs what is missing and prints the table."""
    study = STUDIES[STUDY.value]
    names = NAMES.value or study.default
    unknown = [a for a in names if a not in study.arms]
    if unknown:
        raise ValueError(f"--arms: '{unknown[0]}' is unknown (arms: {', '.join(study.arms)})")
    jobs = [] if PRINT.value else [(arm, seed) for seed in SEEDS.value for arm in names]
    pathlib.Path(OUT.value).mkdir(parents=True, exist_ok=True)
    cores, pinned = queue.Queue(), JOBS.value > 1 and hasattr(os, 'sched_setaffinity')
    for i in range(JOBS.value):
        cores.put(sorted(os.sched_getaffinity(0))[i % len(os.sched_getaffinity(0))] if pinned else None)
    show = console.progress('runs')
    with concurrent.futures.ThreadPoolExecutor(JOBS.value) as pool:
        waiting = [pool.submit(run, job, cores) for job in jobs]
        for done, future in enumerate(concurrent.futures.as_completed(waiting), 1):
            future.result()
            show(done, len(jobs))
    for metric in study.metrics:
        table = rows(metric)
        print(f'\n{metric}, mean ± sample standard deviation (mean gain over `{study.against}` with the same seeds)')
        print(writers.table(table, dict.fromkeys(dict.fromkeys(k for row in table for k in row), '')))


if __name__ == '__main__':
    commands.run(main)
