"""What a person sees of a run: progress lines with an ETA, metrics.jsonl, TensorBoard, tables."""

import hashlib
import json
import math
import os
import pathlib
import re
import time

import numpy as np
import tensorboardX

from kdsr import compiled
from kdsr.console import duration, say
from kdsr.paths import written

NOUNS = {'evaluate': 'validation', 'save': 'save'}


def table(rows, columns):
    """Markdown table of dicts; missing values stay blank, floats get the column's format (`{column: format}`)."""
    text = [[format(r[c], f) if r.get(c) is not None else '' for c, f in columns.items()] for r in rows]
    widths = [max(len(c), *(len(t[i]) for t in text)) if text else len(c) for i, c in enumerate(columns)]
    line = lambda cells: '| ' + ' | '.join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + ' |'
    return '\n'.join([line(columns), '|' + '|'.join('-' * (w + 2) for w in widths) + '|', *map(line, text)])


def narrow(rows, columns, width=100):
    """`table` in pieces below each other, none wider than `width` characters where that is possible; each has the first column."""
    first, *rest = columns
    pieces = [[first]]
    for column in rest:
        wider = {c: columns[c] for c in [*pieces[-1], column]}
        if len(pieces[-1]) > 1 and len(table(rows, wider).partition('\n')[0]) > width:
            pieces.append([first])
        pieces[-1].append(column)
    return '\n\n'.join(table(rows, {c: columns[c] for c in piece}) for piece in pieces)


def replace(path, text):
    """Writes a whole text file: a kill or a full disk at any moment leaves the old one or the new one, never half."""
    with written(path) as part, part.open('w') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def repair(path, step):
    """Cuts metrics.jsonl back to `step`: the torn last line of a kill, and lines of steps that will be run again.

    A damaged line of a step that will not is left out, and said.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return
    *whole, torn = path.read_bytes().split(b'\n')
    if (began := re.match(rb'\{"step": (\d+)\D', torn)) and int(began[1]) <= step:
        say(f'{path} line {len(whole) + 1} is cut short and left out: {torn[:60]!r}')
    kept = []
    for number, line in enumerate(whole, 1):
        found = _step(line)
        if found is None:
            say(f'{path} line {number} is damaged and left out: {line[:60]!r}')
        elif found <= step:
            kept.append(line.decode())
    replace(path, ''.join(line + '\n' for line in kept))


def _step(line):
    """The step of a line of metrics.jsonl (bytes), None where it is damaged."""
    try:
        step = json.loads(line)['step']
    except (ValueError, KeyError, TypeError):  # ValueError: no JSON, or no UTF-8
        return None
    return step if isinstance(step, int) else None


class Writer:
    """metrics.jsonl and TensorBoard events of one run, continued after `step`. With `active=False` it writes nothing.

    wandb: project of Weights & Biases that is told the same, '' none; name, config: what the run is called there and made of.
    """

    def __init__(self, folder, step, *, active=True, wandb='', name='', config=None):
        self.file = self.board = self.wandb = None
        if not active:
            return
        path = pathlib.Path(folder) / 'metrics.jsonl'
        repair(path, step)
        self.file = path.open('a', buffering=1)
        # purge_step hides events that a killed run wrote after its last checkpoint
        self.board = tensorboardX.SummaryWriter(str(pathlib.Path(folder) / 'tensorboard'), purge_step=step + 1 if step else None)
        self.wandb = told(wandb, folder, name, config) if wandb else None

    def scalars(self, step, values, timing=None):
        """`values` go to both files; `timing` to TensorBoard only, so that metrics.jsonl is reproducible byte for byte."""
        if not self.file:
            return
        self.file.write(json.dumps({'step': step, **values}) + '\n')
        for name, value in {**values, **(timing or {})}.items():
            self.board.add_scalar(name, value, step)
        if self.wandb:
            self.wandb.log({**values, **(timing or {})}, step=step)

    def image(self, step, name, image):
        """`image` `[H, W, 3]` in [0, 1] to TensorBoard."""
        if self.board:
            self.board.add_image(name, np.clip(image, 0, 1), step, dataformats='HWC')

    def close(self):
        """Flushes and closes both files."""
        if self.file:
            self.file.close()
            self.board.close()
        if self.wandb:
            self.wandb.finish()


def told(project, folder, name, config):
    """The run of Weights & Biases that belongs to `folder`: the same one after a resume."""
    try:
        import wandb
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError(f"config.wandb='{project}': pip install wandb, or leave the field out ({e})") from e
    own = hashlib.sha256(str(pathlib.Path(folder).resolve()).encode()).hexdigest()[:12]
    return wandb.init(project=project, name=name, config=config, dir=str(folder), id=own, resume='allow')


class Progress:
    """Means of metrics between log lines, speed, the share of time spent waiting for data, and the ETA.

    The ETA is that of the last step with its evaluation and save; the scoring after it is not in it. It is the sum of three
    costs, each the number that is left times what one took lately: steps, evaluations every `eval_every` steps (0: none but the
    last), saves every `save_every` and with each evaluation. Compilation enters none of them. What this process has not seen yet
    is in no checkpoint either, which would then differ from that of a run without a break: the line counts it in words.
    """

    def __init__(self, start, total, batch_size, log, eval_every=0, save_every=0):
        self.total, self.batch_size, self.every = total, batch_size, {'evaluate': eval_every, 'save': save_every}
        self.sums, self.count = dict(log.get('sums', {})), log.get('count', 0)
        self.rates = {}  # of the last step: a schedule's mean is never used; in no checkpoint, since a step comes before a line
        self.began = self.mark = time.perf_counter()
        self.marked, self.waited, self.all_waited, self.paused = start, 0.0, 0.0, 0.0
        self.recent = (0.0, 0.0)  # seconds and steps, older ones count less
        self.took = {'evaluate': [], 'save': []}

    def state(self):
        """JSON-able: what a checkpoint keeps so that the next log line is the same after a resume."""
        return {'sums': self.sums, 'count': self.count}

    def add(self, metrics):
        """Adds one step's host metrics."""
        for k, v in metrics.items():
            if k.startswith('learning_rate/'):
                self.rates[k] = v
            else:
                self.sums[k] = self.sums.get(k, 0.0) + v
        self.count += 1

    def wait(self, seconds):
        """Adds time that the loop stood waiting for the next batch."""
        self.waited += seconds
        self.all_waited += seconds

    def pause(self, seconds, kind, compiling=0.0):
        """Leaves `seconds` out of the speed.

        kind: 'evaluate', 'save', 'once' for what does not come again, or 'compile' for the first step, which is left out as a
        whole. compiling: how many of the seconds went into compilation, which does not come again either.
        """
        self.paused += seconds
        self.mark += seconds
        if kind == 'compile':
            self.marked += 1
            self.waited = self.all_waited = 0.0
        elif kind in self.took:
            self.took[kind].append(max(seconds - compiling, 0.0))

    def timed(self, kind, fn, *args):
        """`fn(*args)`, its time a pause of this kind."""
        began, before = time.perf_counter(), compiled.seconds()
        result = fn(*args)
        self.pause(time.perf_counter() - began, kind, compiled.seconds() - before)
        return result

    def left(self, step):
        """{kind: how many come from `step` on}, those of `step` itself among them."""
        due = {k: set(range(-(-step // n) * n, self.total + 1, n)) if n else set() for k, n in self.every.items()}
        evaluated = due['evaluate'] | {self.total}
        return {'evaluate': len(evaluated), 'save': len(evaluated | due['save'])}

    def eta(self, step):
        """In words, before the evaluation and the save of `step`."""
        seconds, steps = self.recent
        left, unknown = (self.total - step) * seconds / max(steps, 1e-9), []
        for kind, count in self.left(step).items():
            # The first one also sets things up, so that it counts until there is another; older ones may be of another load.
            seen = self.took[kind][1:][-8:] or self.took[kind]
            left += count * sum(seen) / max(len(seen), 1)
            unknown += [] if seen else [f'{count} {NOUNS[kind]}{"s" * (count > 1)}']
        known = [duration(left)] if steps or step == self.total else []
        return ' and '.join(known + [', '.join(unknown)] * bool(unknown)) if known else 'unknown yet'

    def line(self, step):
        """(means, timing, text) since the last call; among the means the learning rates of the last step.

        There is no timing where the only step since then was the first one, which compiles.
        """
        now = time.perf_counter()
        means = {k: v / self.count for k, v in self.sums.items()} | self.rates
        seconds, steps = max(now - self.mark, 1e-9), step - self.marked
        parts = '  '.join(f'{k} {v:.4g}' for k, v in means.items() if not k.startswith(('grad_norm/', 'loss/', 'learning_rate/')))
        text, timing = f'step {step}/{self.total}  {parts}  | ', {}
        if steps > 0:
            rate, wait = steps * self.batch_size / seconds, self.waited / seconds
            timing = {'speed/images_per_s': rate, 'speed/data_wait': wait}
            text += f'{rate:.1f} images/s, data wait {100 * wait:.1f} %, '
            # A tenth of the run later they count for a third: long enough for a mean, short enough to follow a busier machine.
            kept = math.exp(-10 * steps / self.total)
            self.recent = tuple(kept * old + new for old, new in zip(self.recent, (seconds, steps), strict=True))
        text += f'ETA {self.eta(step)}'
        self.sums, self.count, self.mark, self.marked, self.waited = {}, 0, now, step, 0.0
        return means, timing, text

    def data_wait(self):
        """Share of the training time so far that was spent waiting for data."""
        return self.all_waited / max(time.perf_counter() - self.began - self.paused, 1e-9)
