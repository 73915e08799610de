"""Trains: `python -m kdsr.main --config=experiments/fakd.py`, with everything else in the config.

python -m kdsr.main --config=experiments/fakd.py:paper,x4 --workdir=runs/fakd_x4 --config.batch_size=8
"""

import os
import pathlib

from absl import flags

CONFIG = flags.DEFINE_string('config', None, 'config file and its argument: FILE.py[:word,word]')
SET = flags.DEFINE_multi_string('set', [], 'FIELD=VALUE, a field of the config; --config.FIELD=VALUE is the same')
WORKDIR = flags.DEFINE_string(
    'workdir', None, 'where the run lives; the same command goes on with it (default: runs/<config.name>)'
)
COORDINATOR = flags.DEFINE_string('coordinator', None, 'host:port of process 0, with several processes')
PROCESSES = flags.DEFINE_integer('processes', 1, 'number of processes, with --coordinator; TPU pods and SLURM: 0 finds out')
PROCESS = flags.DEFINE_integer('process', 0, 'index of this process, with --coordinator')
flags.mark_flag_as_required('config')


def main(_):
    """Starts jax, then runs the config's stages."""
    if PROCESSES.value != 1:
        distributed(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    from kdsr import settings, stages, writers

    config, overrides = settings.read(CONFIG.value, SET.value)
    workdir = pathlib.Path(WORKDIR.value or pathlib.Path('runs') / config.name)
    writers.say(f'{config.name} in {workdir}')
    settings.say_smoke(CONFIG.value, config)
    stages.run(config, workdir, overrides)
    settings.say_smoke(CONFIG.value, config)


def distributed(coordinator, processes, process):
    """Joins the other processes, before jax starts. `processes` 0: jax finds all three itself (TPU pods, SLURM)."""
    import jax

    from kdsr import compiled

    # jit(pmap) cannot be used with many processes, so the CPU option can only travel in XLA_FLAGS.
    os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {compiled.CPU_FLAG}'.strip()
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    if processes:
        jax.distributed.initialize(coordinator, processes, process)
    else:
        jax.distributed.initialize()


if __name__ == '__main__':
    from kdsr import commands

    commands.run(main)
