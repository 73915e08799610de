"""Which transform of features: PSNR-Y, milliseconds per step and memory of the nine side by side?

    python -m kdsr.study --config=experiments/fakd.py --out=runs/transforms --seeds=0 --steps=300 --benchmarks=Set5,Set14 \\
        --jobs=2 --arms=alone,output,spatial,channel,instance,fsp,attention,fitnet,pooled_spatial,rbf,mmd
    python benchmarks/transforms.py --runs=runs/transforms --pin
    python benchmarks/transforms.py --balance=runs/study/alone_0            # the weights in experiments/fakd.py

Student EDSR 8x32 from the shipped teacher, batch 8, LR patches of 24. `output` is the step without a transform.
"""

import json
import pathlib

import jax
import ours
import timing
from absl import flags

from kdsr import commands, compiled, methods, models, recipes, settings, writers
from kdsr.data import pipeline, sources

RUNS = flags.DEFINE_string('runs', '', 'OUT of kdsr.study: adds the scores of RUNS/<transform>_0')
REPEATS = flags.DEFINE_integer('repeats', 7, 'timings of each transform', lower_bound=1)
PIN = flags.DEFINE_bool('pin', False, 'stay on one core')
BALANCE = flags.DEFINE_string('balance', '', 'a run without a transform: print weights for it instead')

PATCH, BATCH = 24, 8
FILE = pathlib.Path(__file__).parents[1] / 'experiments' / 'fakd.py'
EXPERIMENT = settings.executed(str(FILE))
WEIGHTS = EXPERIMENT['WEIGHTS']
HUGE = 1e6  # so large a weight that the transform's gradient is all of the gradient


def config_of(name):
    """The config of one arm of the experiment's study."""
    words, values = EXPERIMENT['STUDY'].arms[name]
    config = settings.load(f'{FILE}:{recipes.with_recipe(EXPERIMENT, words, "study")}')
    config.update_from_flattened_dict(values)
    return config


def gradient_norm(name, student, batch):
    """Length of the gradient of one unweighted transform in the parameters of `student`."""
    config = config_of(name)
    config.method.update({'alpha': 0.0, 'w_affinity': HUGE})
    method = methods.make(config)
    state = method.init(jax.random.key(0))
    nets = {**state.nets, 'student': state.nets['student']._replace(params=student)}
    _, metrics = compiled.jit(method.step)(state._replace(nets=nets), method.frozen, batch)
    return float(metrics['grad_norm/student']) / HUGE


def balance(run):
    """Prints the weight with which each transform pulls as hard as spatial affinity with weight 10."""
    student = models.load(run).variables['params']
    source, _ = sources.split(sources.open_source(config_of('spatial').data, 4))
    batch = pipeline.sample_batch(source, scale=4, patch=PATCH, batch=BATCH)
    norms = {name: gradient_norm(name, student, batch) for name in WEIGHTS}
    rows = [{'transform': k, 'gradient': v, 'weight': 10 * norms['spatial'] / v} for k, v in norms.items()]
    print(writers.table(rows, {'transform': '', 'gradient': '.3g', 'weight': '.3g'}))


def scores(name):
    """{set: PSNR-Y} of RUNS/<name>_0, {} without it."""
    file = pathlib.Path(RUNS.value) / f'{name}_0' / 'benchmarks.json'
    if not RUNS.value or not file.is_file():
        return {}
    return {k: v['psnr_y'] for k, v in json.loads(file.read_text()).items()}


def main(_):
    """Times the steps in turn and prints the table."""
    if BALANCE.value:
        balance(BALANCE.value)
        return
    timing.start(PIN.value, torch=False)
    batch, names = ours.example(BATCH, 4, PATCH), ['output', *WEIGHTS]
    candidates = [ours.of_kdsr(config_of(name), batch)[0]._replace(name=name) for name in names]
    first = {c.name: timing.seconds(c.run) for c in candidates}
    rows = timing.compare(candidates, REPEATS.value, first=first)
    sets = dict.fromkeys(k for name in names for k in scores(name))
    columns = {'transform': '', 'weight': 'g', **dict.fromkeys(sets, '.3f')}
    columns |= {'median ms': '.0f', 'min ms': '.0f', 'ratio': '.2f', 'first s': '.1f', 'growth MiB': '.0f', 'temp MiB': '.0f'}
    print(f'min of {REPEATS.value}, {timing.cores()} CPU core(s) or {jax.devices()[0].device_kind}; ratio to `output`')
    print(
        writers.table([{**r, 'transform': r['what'], 'weight': WEIGHTS.get(r['what']), **scores(r['what'])} for r in rows], columns)
    )


if __name__ == '__main__':
    commands.run(main)
