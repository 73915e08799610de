"""What a step of a config costs, before anything is trained: parameters, GFLOP, milliseconds of each stage.

    python -m kdsr.budget --config=experiments/fakd.py
    python -m kdsr.budget --config=experiments/srgan_kd.py:gan2gan --config.batch_size=16 --json=budget.json

GFLOP: twice the multiply-adds of convolutions and matrix products in the whole step, of all networks and their gradients, over all
devices. ms: the fastest of --repeats steps here, on a batch of noise and without waiting for data.
"""

import json
import pathlib
import tempfile
import time

import jax
import numpy as np
from absl import flags

from kdsr import commands, cost, methods, nets, parallel, settings, stages, writers
from kdsr.data import pipeline
from kdsr.models import exports
from kdsr.types import Batch

COLUMNS = {'stage': '', 'steps': ',', 'parameters': ',', 'gflop': ',.2f', 'ms': ',.1f', 'total_gflop': ',.0f', 'total_s': ',.0f'}


def noise(stage):
    """A batch of the stage's sizes; the time does not depend on the picture."""
    channels, rng = pipeline.CHANNELS[stage.data.colour], np.random.default_rng(0)
    sides = (stage.patch, stage.patch * stage.scale) if stage.data.training else (1, 1)
    lr, hr = (rng.random((stage.batch_size, side, side, channels), np.float32) for side in sides)
    return Batch(lr, hr, extra={'teacher': hr} if stage.get('teacher') == nets.TAUGHT else {})


def every(planned, repeats=5):
    """`of` each stage of a run (`stages.planned`).

    Where one reads a network of an earlier stage, such as its teacher, it gets it untrained: weights do not change the cost.
    """
    with tempfile.TemporaryDirectory() as room:
        room, rows = pathlib.Path(room), []
        for i, stage in enumerate(planned):
            stage = stages.resolved(stage, room, [earlier.name for earlier in planned[:i]])
            rows.append(of(stage, repeats, room / stage.name if i + 1 < len(planned) else None))
    return rows


def of(stage, repeats=5, left=None):
    """{'stage', 'steps', 'parameters', 'gflop', 'ms', 'total_gflop', 'total_s'} of one stage that is complete and resolved.

    It starts from random weights: what a stage begins with does not change its cost. left: folder that its networks are left in,
    as a run's.
    """
    parallel.check_batch_size(stage.batch_size)
    stage = stage.copy_and_resolve_references()
    with stage.unlocked():
        stage.student_init = ''
    method, batch = methods.make(stage), noise(stage)
    state = method.init(jax.random.key(stage.seed))
    for name, net in method.nets.items():
        if left and net.exported:
            variables = {'params': state.nets[name].params, **state.nets[name].vars}
            exports.save(left / 'export' / name, name=net.name, args=net.args, variables=variables, **net.card)
    state = parallel.place(state)
    counted = cost.macs(method.step, state, method.frozen, batch)
    gflop = 2 * sum(counted.values()) / 1e9
    step, frozen, fed = parallel.pmapped(method.step), parallel.place(method.frozen), parallel.shard(batch)
    best = np.inf
    for _ in range(repeats + 1):  # the first one compiles
        began = time.perf_counter()
        state, metrics = jax.block_until_ready(step(state, frozen, fed))
        best = min(best, time.perf_counter() - began)
    found = {'stage': stage.name, 'steps': stage.steps, 'parameters': cost.parameters({'params': state.nets['student'].params})}
    return found | {'gflop': gflop, 'ms': 1e3 * best, 'total_gflop': gflop * stage.steps, 'total_s': best * stage.steps}


def main(_):
    """Runs the command."""
    flag = flags.FLAGS
    config, overrides = settings.read(flag.config, flag.set)
    rows = every(stages.planned(config, overrides), flag.repeats)
    print(writers.table(rows, COLUMNS))
    print(f'(parameters: the student; GFLOP and ms of a step, {jax.device_count()} x {jax.devices()[0].device_kind})')
    if flag.json:
        writers.replace(flag.json, json.dumps({'device': jax.devices()[0].device_kind, 'stages': rows}, indent=1) + '\n')


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_string('config', None, 'config file, a recipe of it and its words: FILE.py[:word,word]', required=True)
    flags.DEFINE_multi_string('set', [], 'FIELD=VALUE, a field of the config; --config.FIELD=VALUE is the same')
    flags.DEFINE_integer('repeats', 5, 'steps that are timed', lower_bound=1)
    flags.DEFINE_string('json', '', 'also write the figures to this file')


if __name__ == '__main__':
    define_flags()
    commands.run(main)
