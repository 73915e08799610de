"""The central types: what travels between data, methods, the step and the loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Batch(NamedTuple):
    """Training images, float32 in [0, 1], NHWC.

    lr: `[B, h, w, C]` low resolution ("lr" never means learning rate here).
    hr: `[B, s*h, s*w, C]` high resolution.
    extra: what one family of methods needs besides, e.g. a condition or global example ids.
    """

    lr: jax.Array
    hr: jax.Array
    extra: dict[str, jax.Array] = {}


class Net(NamedTuple):
    """One trained network = what one optimiser owns.

    params: trainable parameters. vars: other flax collections (batch_stats, ...), or {}. opt: optimiser state.
    """

    params: Any
    vars: Any
    opt: Any


class TrainState(NamedTuple):
    """All that is checkpointed, and nothing else.

    step: int32 scalar, batches seen. key: typed base key, never consumed (draws fold the step into it).
    nets: name -> Net. ema: name -> averaged params, {} without EMA.
    """

    step: jax.Array
    key: jax.Array
    nets: dict[str, Net]
    ema: dict[str, Any]


class Ctx(NamedTuple):
    """All that a loss may read besides the trained parameters.

    batch: this device's share of the batch. frozen: teachers and the like. vars: net name -> its collections.
    key: this step's key, equal on all devices. step: int32 scalar. axis: name of the device axis, None outside pmap.
    """

    batch: Batch
    frozen: Any
    vars: dict[str, Any]
    key: jax.Array
    step: jax.Array
    axis: str | None = None

    def mean(self, x):
        """Mean of `x` over devices: for whatever couples the examples of a batch."""
        return jax.lax.pmean(x, self.axis) if self.axis else x

    def gather(self, x):
        """`[b, ...]` of every device joined to the global `[B, ...]`, in example order."""
        return jax.lax.all_gather(x, self.axis, tiled=True) if self.axis else x

    def example_keys(self):
        """One key per GLOBAL example, `[b]`: 1 and 8 devices draw the same."""
        b = self.batch.lr.shape[0]
        first = jax.lax.axis_index(self.axis) * b if self.axis else 0
        return jax.vmap(lambda i: jax.random.fold_in(self.key, i))(first + jax.numpy.arange(b))


class Trained(NamedTuple):
    """A network that a method trains.

    module: linen module. name, args: what `models.build(name, **args)` makes it by, kept in its card. init: the export that it
    starts from, '' for random weights. exported: whether the run leaves it as export/<net>/. card: more facts for its card.
    """

    module: Any
    name: str
    args: dict[str, Any]
    init: str = ''
    exported: bool = True
    card: dict[str, Any] = {}


class Method(NamedTuple):
    """A distillation method (STYLE: an algorithm = a NamedTuple of pure functions).

    nets: name -> Trained, the student first. frozen: name -> variables of networks that are read and never trained.
    init(key) -> TrainState.
    step(state, frozen, batch, axis=None) -> (TrainState, {name: scalar}); pure, jittable, pmappable.
    losses: as of `steps.players`, where the step is nothing but an update by them; else None.
    """

    nets: dict[str, Trained]
    frozen: dict[str, Any]
    init: Callable[[jax.Array], TrainState]
    step: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    losses: Callable[..., Any] | None = None
