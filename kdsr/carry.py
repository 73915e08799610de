"""What a stage takes over from the one before it: networks with their optimisers and averages, as its last step left them."""

import pathlib

import jax

from kdsr import checkpoints, optim, parallel, writers


def over(before, names, state):
    """`state` with the nets `names` as the last checkpoint of the stage in the folder `before` has them.

    Parameters, other collections, optimiser state and averages go over; only a learning rate's schedule begins anew, since its
    length is that of the stage. An average that the stage before did not keep begins as the parameters that went over.

    Args:
      before: pathlib.Path. names: of nets that both stages train. state: this stage's placed first TrainState.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: a stage does not train one of the nets, or as another model or by another optimiser; all checkpoints are damaged.
    """
    if unknown := [name for name in names if name not in state.nets]:
        raise ValueError(f"config.carry: this stage trains no network '{unknown[0]}' (networks: {', '.join(state.nets)})")
    folder = pathlib.Path(before) / 'resume'
    if not folder.is_dir():
        raise FileNotFoundError(f'config.carry needs {folder}, which was deleted: train the stage before again')
    saved = checkpoints.Checkpoints(folder)
    try:
        averaged = [name for name in names if name in state.ema and saved.has('ema', name)]
        wanted = state._replace(nets={k: state.nets[k] for k in names}, ema={k: state.ema[k] for k in averaged})
        step, found = saved.part(wanted)
    finally:
        saved.close()
    writers.say(f'{", ".join(names)} with optimiser as step {step} of {pathlib.Path(before).name} left them')
    nets = {name: net._replace(opt=scheduled_anew(net.opt, state.nets[name].opt)) for name, net in found.nets.items()}
    without = [name for name in names if name in state.ema and name not in averaged]
    begun = {name: jax.tree.map(lambda x: x.copy(), nets[name].params) for name in without}
    return state._replace(nets={**state.nets, **nets}, ema={**state.ema, **found.ema, **parallel.place(begun)})


def scheduled_anew(opt, first):
    """The optimiser state `opt` with the schedules of `first`."""
    pick = lambda node, new: new if optim.is_schedule(node) else node
    return jax.tree.map(pick, opt, first, is_leaf=optim.is_schedule)
