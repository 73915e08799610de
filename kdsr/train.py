"""The loop: data, method, restore, step, log, evaluate, save, for every method."""

import contextlib
import pathlib
import signal
import time

import jax
import numpy as np
from absl import logging
from clu import parameter_overview

from kdsr import carry, checkpoints, console, lock, methods, named, parallel, peers, writers
from kdsr import config as configs
from kdsr.data import pipeline
from kdsr.outcome import Outcome


def train(config, workdir, before=None):
    """Trains (or goes on training) one stage in `workdir` and returns its results. before: folder of the stage before, if any.

    Files: config.json, metrics.jsonl, tensorboard/, resume/, samples/*.png, export/<net>/, results.json.
    """
    workdir = pathlib.Path(workdir)
    changed = configs.require_same(config, workdir, methods.defaults(config.method.name))
    for field, (old, new) in changed.items():
        writers.say(f'going on with {field}={new!r} (was {old!r})')
    parallel.check_batch_size(config.batch_size)
    method = methods.make(config)
    outcome = Outcome(config, workdir, method.nets)
    with contextlib.ExitStack() as closing:  # also on an error: a save under way is finished first
        if parallel.is_main():
            closing.enter_context(lock.held(workdir))
        saved = checkpoints.Checkpoints(workdir / 'resume', config.data.validation_images)
        closing.callback(saved.close)
        closing.push(peers.leave_if_lost)
        state, facts = loop(config, workdir, method, outcome, saved, closing, before)
        if config.export == 'best':
            _, state = saved.restore_best(state)
    return outcome.finish(state, facts)


def loop(config, workdir, method, outcome, saved, closing, before):
    """Restores, trains to `config.steps` and returns (state, facts for results.json); SystemExit after a signal."""
    frozen = parallel.place(method.frozen)
    state = parallel.place(method.init(jax.random.key(config.seed)))
    for name, net in state.nets.items():
        logging.info('%s\n%s', name, parameter_overview.get_parameter_overview(net.params, include_stats=False))
    found = saved.restore(state)
    if config.carry and not found:
        state = carry.over(before, config.carry, state)
    start, state, log = found or (0, state, {})
    if found:
        writers.say(f'resumed at step {start} from {workdir}')
        if config.export == 'best':
            saved.judge_again(state, outcome.psnr_y)
    if parallel.is_main():
        writers.replace(workdir / 'config.json', configs.to_json(config))
    board = {'wandb': config.get('wandb', ''), 'name': config.name, 'config': config.to_dict()}
    writer = writers.Writer(workdir, start, active=parallel.is_main(), **board)
    closing.callback(writer.close)
    progress = writers.Progress(start, config.steps, config.batch_size, log, config.eval_every, config.save_every)
    batches = pipeline.train_batches(
        outcome.training, scale=config.scale, patch=config.patch, batch=config.batch_size, seed=config.seed, start=start,
        process_index=jax.process_index(), process_count=jax.process_count(), degradation=outcome.degradation,
        augment=config.data.augment, colour=config.data.colour, threads=config.data.threads, workers=config.data.workers,
    )  # fmt: skip
    closing.callback(batches.close)
    step_fn = parallel.pmapped(method.step)
    stop = Stop()
    closing.callback(stop.restore)
    pending = None
    if start < config.steps:
        writers.say('compiling the step: up to a minute on a CPU, seconds where it is in the cache')
    for step in range(start + 1, config.steps + 1):
        began = time.perf_counter()
        batch = parallel.shard(next(batches))
        progress.wait(time.perf_counter() - began)
        state, metrics = step_fn(state, frozen, batch)
        if step == start + 1:
            jax.block_until_ready(metrics)
            progress.pause(time.perf_counter() - began, 'compile')
            writers.say(f'first step after {time.perf_counter() - began:.1f} s (compilation)')
        # Read one step late: the device is never idle, and a bad step is still caught before anything is saved.
        take(pending, progress, config.steps)
        pending = (step, metrics)
        stopping = parallel.stop_requested(step, bool(stop.signals))
        ends = step == config.steps or stopping
        evaluates, saves = step % config.eval_every == 0 or step == config.steps, step % config.save_every == 0 or ends
        if step % config.log_every and not evaluates and not saves:
            continue
        take(pending, progress, config.steps)
        pending = None
        if step % config.log_every == 0 or step == config.steps:
            means, timing, text = progress.line(step)
            writer.scalars(step, means, timing)
            writers.say(text)
        score = None
        if evaluates:
            progress.timed('once', outcome.stills)
            score = progress.timed('evaluate', outcome.evaluate, state, step, writer)
        if evaluates or saves:
            progress.timed('save', saved.save, step, state, progress.state(), score)
        if stopping and step < config.steps:
            writers.say(f'stopped at step {step}; the same command goes on from here')
            raise SystemExit(128 + (stop.signals or [signal.SIGTERM])[0])
    return state, {'data_wait': progress.data_wait(), 'steps': config.steps}


def take(pending, progress, steps):
    """Reads a finished step's metrics to the host; FloatingPointError naming step and parts if one is not finite."""
    if pending is None:
        return
    step, metrics = pending
    values = {k: float(v) for k, v in jax.device_get(metrics).items()}
    parts_first = sorted(values, key=lambda k: ('/' in k, k.startswith('grad_norm/')))
    bad = [f'{k} = {values[k]}' for k in parts_first if not np.isfinite(values[k])]
    if bad:
        raise FloatingPointError(
            f'step {step}: {", ".join(bad)}. Nothing of this step was saved; the last checkpoint is intact. '
            f'Try a lower learning rate, config.optimizer.clip=1.0, or float32'
        )
    progress.add(values)
    console.step(step, steps, values)


class Stop:
    """Remembers SIGTERM and SIGINT, so that the loop can save and leave. With many processes jax itself listens for SIGTERM."""

    def __init__(self):
        self.signals, self.before = [], {}
        if jax.process_count() == 1:
            for s in (signal.SIGTERM, signal.SIGINT):
                try:
                    self.before[s] = signal.signal(s, self.note)
                except ValueError:  # not in the main thread (a notebook, a test): leave signals alone
                    return

    def note(self, number, _):
        if self.signals:  # the second one means it
            self.restore()
            raise KeyboardInterrupt
        self.signals.append(signal.Signals(number))

    def restore(self):
        for s, handler in self.before.items():
            signal.signal(s, handler)


named.function_too(__name__)
