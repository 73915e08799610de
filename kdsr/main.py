"""Trains: `python -m kdsr.main --config=experiments/fakd.py`, with everything else in the config.

python -m kdsr.main --config=experiments/fakd.py:help                # its recipes and what they let one choose
python -m kdsr.main --config=experiments/fakd.py:paper --help        # the same, and every field of that recipe
python -m kdsr.main --config=experiments/fakd.py:paper,rcan,x2 --workdir=runs/fakd_x2 --config.batch_size=8
"""

import pathlib

from absl import flags

from kdsr import peers

CONFIG = flags.DEFINE_string(
    'config', None, 'config file, a recipe of it and its words: FILE.py[:word,word]; FILE.py:help lists them'
)
SET = flags.DEFINE_multi_string('set', [], 'FIELD=VALUE, a field of the config; --config.FIELD=VALUE is the same')
WORKDIR = flags.DEFINE_string(
    'workdir', None, 'where the run lives; the same command goes on with it (default: runs/<config.name>)'
)
COORDINATOR = flags.DEFINE_string('coordinator', None, 'host:port of process 0, with several processes')
PROCESSES = flags.DEFINE_integer('processes', 1, 'number of processes, with --coordinator; TPU pods and SLURM: 0 finds out')
PROCESS = flags.DEFINE_integer('process', 0, 'index of this process, with --coordinator')
PEER_TIMEOUT = flags.DEFINE_integer(
    'peer_timeout', 100, 'seconds without an answer after which another process counts as lost and this one ends', lower_bound=1
)
flags.mark_flag_as_required('config')


def main(_):
    """Starts jax, then runs the config's stages."""
    peers.check(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    if PROCESSES.value == 1:
        return run()
    peers.join(COORDINATOR.value, PROCESSES.value, PROCESS.value, PEER_TIMEOUT.value)
    with peers.together():
        run()


def run():
    """Runs the config in its directory."""
    from kdsr import paths, settings, stages, writers

    if text := settings.described(CONFIG.value):
        print(text)
        return
    config, overrides = settings.read(CONFIG.value, SET.value)
    workdir = paths.expanded(WORKDIR.value or pathlib.Path('runs') / config.name)
    writers.say(f'{config.name} in {workdir}')
    settings.say_smoke(CONFIG.value, config)
    stages.run(config, workdir, overrides)
    settings.say_smoke(CONFIG.value, config)


if __name__ == '__main__':
    from kdsr import commands, manual

    commands.run(main, helped=manual.of_config)
