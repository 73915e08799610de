"""Resume: the whole TrainState in Orbax checkpoints with checksums; the latest two and the best by validation PSNR are kept."""

import json
import pathlib
import shutil
import sys
import zlib
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, LatestN, PreservationPolicy

from kdsr import parallel, writers

# Reasons that lie outside the checkpoint: another try may succeed, so that nothing may be given up for them.
OUTSIDE = (PermissionError, MemoryError, jax.errors.JaxRuntimeError)


class Damaged(Exception):
    """A checkpoint that does not hold what was saved; the reason in words."""


class Best(NamedTuple):
    """The best checkpoint so far. score: its validation PSNR, on `images` images."""

    step: int
    score: float
    images: int


class Keep(PreservationPolicy):
    """Keeps the best of `checkpoints`. Orbax' own BestN reads a file of every step when it opens, and fails on a damaged one."""

    def __init__(self, checkpoints):
        self.checkpoints = checkpoints

    def should_preserve(self, checkpoints, *, context):
        best = self.checkpoints.best
        return [best is not None and c.step == best.step for c in checkpoints]


class Checkpoints:
    """Asynchronous checkpoints under `folder`; the data position needs no file, it follows from the step.

    A save writes to a temporary name and renames, so a kill or a full disk at any moment leaves the older checkpoints whole. Each
    holds a table of its arrays with a checksum of every one; what does not agree with it at restore is damaged, and the one before
    it is taken. `images`: how many validation images the scores are means of.
    """

    def __init__(self, folder, images=0):
        self.folder, self.images, self.best = pathlib.Path(folder).absolute(), images, None
        policy = AnyPreservationPolicy([LatestN(n=2), Keep(self)])
        self.manager = ocp.CheckpointManager(self.folder, options=ocp.CheckpointManagerOptions(preservation_policy=policy))

    def save(self, step, state, log, score=None):
        """Saves `state` (and `log`, a JSON-able dict) as `step`, in the background. `score`: validation PSNR, or None."""
        if self.manager.latest_step() == step:
            return
        if score is not None and not np.isnan(score) and (self.best is None or score >= self.best.score):
            self.best = Best(step, score, self.images)
        # A copy: the loop goes on adding to its log while this is written.
        record = json.loads(json.dumps({'log': log, 'score': score, 'best': self.best, 'arrays': arrays(state)}))
        record['checksum'] = checksum(record)
        items = ocp.args.Composite(state=ocp.args.StandardSave(parallel.to_global(state)), log=ocp.args.JsonSave(record))
        self.manager.save(step, args=items, force=True)

    def restore(self, like):
        """(step, state, log) of the last whole checkpoint, or None where there is none. `like`: a placed state of the same shapes.

        A checkpoint of 8 devices opens on 1 and the reverse: arrays go where those of `like` are. Later, damaged checkpoints are
        named in a line and renamed to STEP.damaged.

        Raises ValueError for a checkpoint of another model, and where all are damaged.
        """
        damaged = {}
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                record = self._record(step)
                state = self._state(step, like, record)
            except Damaged as e:
                damaged[step] = str(e)
                continue
            self._set_aside(damaged, step)
            self.best = Best(*record['best']) if record['best'] else None
            return step, state, record['log']
        if damaged:
            raise ValueError(
                f'no checkpoint in {self.folder} is whole ({"; ".join(f"{k}: {v}" for k, v in damaged.items())}): '
                f'delete {self.folder} to train from the start'
            )
        return None

    def restore_best(self, like):
        """(step, state) of the checkpoint with the best score; where it is damaged, that of the best other one, and says so."""
        scores = {}
        for step in self.manager.all_steps():
            try:
                scores[step] = self._record(step)['score']
            except Damaged:
                continue
        others = sorted(scores, key=lambda s: (-np.inf if scores[s] is None else scores[s], s), reverse=True)
        first = [self.best.step] if self.best else []
        damaged = {}
        for step in dict.fromkeys([*first, *others]):
            try:
                state = self._state(step, like, self._record(step))
            except Damaged as e:
                damaged[step] = str(e)
                continue
            for bad, why in damaged.items():
                writers.say(f'the best checkpoint, step {bad}, is damaged ({why}); taking step {step}, the best of the others')
            return step, state
        raise ValueError(f'no checkpoint in {self.folder} is whole: {"; ".join(f"{k}: {v}" for k, v in damaged.items())}')

    def has(self, kind, name):
        """Whether the latest readable checkpoint holds the net `name` among its 'nets' or 'ema'."""
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                return any(path.startswith(f".{kind}['{name}']") for path in self._record(step)['arrays'] or ())
            except Damaged:
                continue
        return False

    def part(self, like):
        """(step, state) of the last whole checkpoint, only the nets and averages that the placed state `like` has.

        Raises FileNotFoundError where there is none, ValueError where all are damaged or hold no such nets.
        """
        damaged = {}
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                state = self._state(step, like, self._record(step), partial=True)
            except Damaged as e:
                damaged[step] = str(e)
                continue
            for bad, why in damaged.items():
                writers.say(f'step {bad} in {self.folder} is damaged ({why}); taking step {step}')
            return step, state
        if damaged:
            raise ValueError(f'no checkpoint in {self.folder} is whole: {"; ".join(f"{k}: {v}" for k, v in damaged.items())}')
        raise FileNotFoundError(f'{self.folder} has no checkpoint')

    def judge_again(self, like, score):
        """Scores the best anew, by `score(state)`, where that was on another number of images: scores would not compare."""
        if self.best and self.best.images != self.images:
            step, state = self.restore_best(like)
            self.best = Best(step, score(state), self.images)
            writers.say(f'the best checkpoint, step {step}, on {self.images} validation images: psnr_y {self.best.score:.4g}')

    def close(self):
        """Waits for saves under way, then closes."""
        self.manager.wait_until_finished()
        self.manager.close()

    def _record(self, step):
        """The JSON part of a checkpoint: log, score, best and table of arrays. Damaged where its checksum differs."""
        try:
            record = self.manager.restore(step, args=ocp.args.Composite(log=ocp.args.JsonRestore()))['log']
        except OUTSIDE:
            raise
        except Exception as e:
            raise Damaged(f'its log cannot be read: {brief(e)}') from e
        if isinstance(record, dict) and record.keys() <= {'sums', 'count'}:  # saved before there were checksums
            scores = {s: self.manager.metrics(s) for s in self.manager.all_steps()}
            best = max(((m['psnr_y'], s) for s, m in scores.items() if m), default=None)
            mine = (scores.get(step) or {}).get('psnr_y')
            return {'log': record, 'score': mine, 'best': best and [best[1], best[0], self.images], 'arrays': None}
        if not isinstance(record, dict) or record.pop('checksum', None) != checksum(record):
            raise Damaged('the checksum of its log differs')
        return record

    def _state(self, step, like, record, partial=False):
        """The TrainState of a checkpoint, where `like` is. ValueError for another model, Damaged where a checksum differs.

        `partial`: only what `like` has; the checkpoint may hold more.
        """
        saved, here = record['arrays'], kinds(like)
        compared = here if partial else {**(saved or {}), **here}
        if saved is not None and (other := [k for k in compared if saved.get(k, [''])[0] != here.get(k, '')]):
            there, now = saved.get(other[0], ['absent'])[0], here.get(other[0], 'absent')
            raise ValueError(
                f'the checkpoint {self.folder}/{step} does not fit this config (another model, optimiser or EMA setting): '
                f'{other[0]} is {there} there and {now} here; use another --workdir, or the config it was made with'
            )
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), parallel.to_global(like))
        try:
            wanted = ocp.args.StandardRestore(target)
            if partial:
                places = ocp.checkpoint_utils.construct_restore_args(target)
                wanted = ocp.args.PyTreeRestore(target, restore_args=places, partial_restore=True)
            found = self.manager.restore(step, args=ocp.args.Composite(state=wanted))['state']
        except OUTSIDE:
            raise
        except Exception as e:
            silence_late_answers()
            other = '' if saved else ' (or it is of another model, optimiser or EMA setting)'
            raise Damaged(f'its arrays cannot be read{other}: {brief(e)}') from e
        state = parallel.to_local(found)
        if saved is not None and (differ := [k for k, v in arrays(state).items() if v != saved[k]]):
            raise Damaged(f'the checksum of {differ[0]} differs' + (f', and {len(differ) - 1} more' if len(differ) > 1 else ''))
        return state

    def _set_aside(self, damaged, step):
        """Renames `damaged` {step: reason}, so that these steps can be saved again, and says from where the run goes on."""
        if not damaged:
            return
        if parallel.is_main():
            for bad, why in damaged.items():
                aside = self.folder / f'{bad}.damaged'
                shutil.rmtree(aside, ignore_errors=True)
                (self.folder / str(bad)).rename(aside)
                writers.say(f'step {bad} is damaged ({why}); going on from {step}  (kept as {aside})')
        parallel.meet('damaged checkpoints are set aside')
        self.manager.reload()


def silence_late_answers():
    """Keeps what other reads of a damaged checkpoint answer, after the first has failed, from the console: a traceback for each."""
    before = sys.excepthook
    late = lambda error: isinstance(error, RuntimeError) and str(error) == 'Event loop is closed'
    sys.excepthook = lambda kind, error, trace: None if late(error) else before(kind, error, trace)


def kinds(state):
    """{path of an array: its dtype and shape in words}."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return {jax.tree_util.keystr(path): f'{x.dtype}{list(x.shape)}' for path, x in leaves}


def arrays(state):
    """{path of an array: [dtype and shape in words, CRC-32 of its values]}."""
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    return {path: [kind, crc(x)] for (path, kind), (_, x) in zip(kinds(state).items(), leaves, strict=True)}


def crc(x):
    """CRC-32 of an array's bytes, of a typed key's data."""
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    return zlib.crc32(np.ascontiguousarray(x).reshape(-1).view(np.uint8))


def checksum(record):
    """CRC-32 of a JSON-able dict."""
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())


def brief(error):
    """The first line of an exception, at most 100 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:100]
