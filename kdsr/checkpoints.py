"""Resume: the whole TrainState in Orbax checkpoints; the latest and the best by validation PSNR are kept."""

import pathlib

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from kdsr import parallel

METRIC = 'psnr_y'

# Orbax warns at every save without a score, which for us is a checkpoint between two evaluations.
logging.get_absl_logger().addFilter(lambda record: 'Requested `tracked_metric`' not in record.getMessage())


class Checkpoints:
    """Asynchronous checkpoints under `folder`; the data position needs no file, it follows from the step.

    A save writes to a temporary name and renames, so a kill or a full disk at any moment leaves the older checkpoints whole.
    """

    def __init__(self, folder):
        score = lambda metrics: metrics[METRIC]
        # best_fn as well as BestN: without it the manager forgets the best at every restart. No max_to_keep: with best_fn it
        # would delete the newest checkpoint.
        policy = AnyPreservationPolicy([LatestN(n=1), BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False)])
        options = ocp.CheckpointManagerOptions(preservation_policy=policy, best_fn=score, best_mode='max')
        self.folder = pathlib.Path(folder).absolute()
        self.manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, step, state, log, score=None):
        """Saves `state` (and `log`, a JSON-able dict) as `step`, in the background. `score`: validation PSNR, or None."""
        if self.manager.latest_step() == step:
            return
        items = ocp.args.Composite(state=ocp.args.StandardSave(parallel.to_global(state)), log=ocp.args.JsonSave(log))
        self.manager.save(step, args=items, metrics=None if score is None else {METRIC: score}, force=True)

    def restore(self, like, *, best=False):
        """(step, state, log) of the latest (or best) checkpoint, or None. `like`: a placed state of the same shapes.

        A checkpoint of 8 devices opens on 1 and the reverse: arrays go where those of `like` are.
        """
        step = self.manager.best_step() if best else self.manager.latest_step()
        if step is None:
            return None
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), parallel.to_global(like))
        items = ocp.args.Composite(state=ocp.args.StandardRestore(target), log=ocp.args.JsonRestore())
        try:
            found = self.manager.restore(step, args=items)
        except (ValueError, KeyError) as e:
            raise ValueError(
                f'the checkpoint {self.folder}/{step} does not fit this config (another model, optimiser or EMA setting?): '
                f'use another --workdir, or the config it was made with. Orbax says: {str(e).splitlines()[0][:300]}'
            ) from e
        return step, parallel.to_local(found['state']), found['log']

    def close(self):
        """Waits for saves under way, then closes."""
        self.manager.wait_until_finished()
        self.manager.close()
