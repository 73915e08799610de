"""Data parallelism: one step, jitted and pmapped over all devices of one process or many.

With jax >= 0.8 `jax.pmap` is jit + shard_map, so with `in_axes=None, out_axes=None` the state has no device axis: it is the same
plain pytree on 1 device, on 8, and in a checkpoint.
"""

import functools

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kdsr import compiled

AXIS = 'data'


def pmapped(step):
    """`step(state, frozen, batch, axis=)` over all devices; the state is donated, batch leaves are `[local_devices, b, ...]`.

    Gradients and metrics are averaged inside the step, over the axis it is given. Returns a function of (state, frozen, batch).
    """
    mapped = jax.pmap(
        functools.partial(step, axis=AXIS),
        axis_name=AXIS,
        in_axes=(None, None, 0),
        out_axes=None,
        donate_argnums=0,
    )
    # Under an outer jit, pmap builds its mesh from the LOCAL devices: with many processes each would silently train a model
    # of its own. And with several CPU devices the one-core library is already used up by the devices.
    # Before 0.8 pmap was no jit and does not run inside one; the second step compiles again there (from the cache), since the
    # state's key comes back with pmap's own placement.
    alone = jax.process_count() == 1 and jax.local_device_count() == 1
    if not alone or not compiled.options() or jax.__version_info__ < (0, 8):
        return mapped
    return compiled.jit(mapped, donate_argnums=0)


def place(tree):
    """Copies `tree` to all local devices, once. Unplaced trees would be sent again at every step, without a word."""
    mesh = Mesh(np.array(jax.local_devices()), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shard(batch):
    """`[B, ...]` of this process to `[local_devices, B / local_devices, ...]`, in example order."""
    n = jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape(n, x.shape[0] // n, *x.shape[1:]), batch)


def check_batch_size(batch_size):
    """ValueError where `batch_size` does not divide over all devices."""
    if batch_size % jax.device_count():
        raise ValueError(f'config.batch_size={batch_size} does not divide over {jax.device_count()} devices: choose a multiple')


def _global_mesh():
    # pmap's own order of devices
    return Mesh(np.array([d for p in range(jax.process_count()) for d in jax.local_devices(p)]), (AXIS,))


def to_global(tree):
    """Host-local pmap results as global arrays, which is what Orbax saves; with one process `place(tree)`."""
    if jax.process_count() == 1:
        # Before 0.8 pmap returns a placement of its own, into which Orbax cannot restore; later ones are placed already.
        return place(tree)
    return multihost_utils.host_local_array_to_global_array(tree, _global_mesh(), PartitionSpec())


def to_local(tree):
    """The inverse of `to_global`."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.global_array_to_host_local_array(tree, _global_mesh(), PartitionSpec())


def stop_requested(step, flagged):
    """Whether to stop after `step`: this process' flag, or with many processes what all of them agree on."""
    if jax.process_count() == 1:
        return flagged
    return multihost_utils.reached_preemption_sync_point(step)


def meet(name):
    """Waits until all processes are here. Nothing with one process."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def is_main():
    """Whether this process writes logs, pictures and results."""
    return jax.process_index() == 0
