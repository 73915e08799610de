"""The one step builder: from `losses(params, ctx)` to a step that trains every network by its own loss."""

import jax
import jax.numpy as jnp
import optax

from kdsr.optim import Rule
from kdsr.types import Ctx, Net, TrainState


def create(key, nets, optimisers, ema=()):
    """Initial TrainState.

    Args:
      key: typed PRNG key, the base key of the run.
      nets: name -> flax variables (`{'params': ..., **other collections}`).
      optimisers: name -> optax transformation, for every name in `nets`.
      ema: names of the networks whose params are averaged.
    """
    built = {}
    for name, variables in nets.items():
        others = {k: v for k, v in variables.items() if k != 'params'}
        built[name] = Net(variables['params'], others, optimisers[name].init(variables['params']))
    # A copy: the same array in two places of a donated state is an error.
    averaged = {name: jax.tree.map(jnp.copy, built[name].params) for name in ema}
    return TrainState(jnp.zeros((), jnp.int32), key, built, averaged)


def players(losses, optimisers, *, ema_decay=0.0):
    """Builds `step(state, frozen, batch, axis=None) -> (state, metrics)`.

    The law: the loss named k moves the network named k and no other. One forward pass (one `jax.vjp`) serves all players and each
    pulls its own gradient. Networks that return the very same scalar object (a student and its adapter) share one pull.
    Gradients, metrics and other collections are averaged over `axis` here and nowhere else.

    Args:
      losses: `losses(params, ctx) -> ({net: scalar}, (vars, parts))`, pure. `params`: net -> params. `vars`: net -> new collections
        (nets left out keep theirs). `parts`: name -> scalar for the logs.
      optimisers: net -> optax transformation.
      ema_decay: decay of the averages in `state.ema`, which move once per optimiser update.

    Metrics: the parts, `loss/<net>` and `grad_norm/<net>`, and `learning_rate/<net>` of a kdsr.optim.Rule. A non-finite loss shows
    in its own two; since 0 x NaN is NaN it may also spoil the other players' gradients, so a loop should stop at the first.
    """

    def step(state, frozen, batch, axis=None):
        nets = state.nets
        key = jax.random.fold_in(state.key, state.step)
        ctx = Ctx(batch, frozen, {k: n.vars for k, n in nets.items()}, key, state.step, axis)
        groups = {}

        def forward(params):
            values, aux = losses(params, ctx)
            if set(values) != set(nets):
                raise ValueError(f'losses() returned losses for {sorted(values)}, the state trains {sorted(nets)}')
            groups.clear()
            groups.update({k: min(j for j in values if values[j] is v) for k, v in values.items()})
            return values, aux

        values, pull, (new_vars, parts) = jax.vjp(forward, {k: n.params for k, n in nets.items()}, has_aux=True)
        average = (lambda tree: jax.lax.pmean(tree, axis)) if axis else (lambda tree: tree)
        pulled = {}
        for leader in set(groups.values()):
            seed = {k: jnp.ones_like(v) if k == leader else jnp.zeros_like(v) for k, v in values.items()}
            pulled[leader] = pull(seed)[0]

        rates = {f'learning_rate/{k}': r.rate(nets[k].opt) for k, r in optimisers.items() if isinstance(r, Rule)}
        updated, ema = {}, dict(state.ema)
        metrics = dict(parts)
        for name, net in nets.items():
            grads = average(pulled[groups[name]][name])
            updates, opt = optimisers[name].update(grads, net.opt, net.params)
            params = optax.apply_updates(net.params, updates)
            updated[name] = Net(params, average(new_vars[name]) if name in new_vars else net.vars, opt)
            metrics[f'loss/{name}'] = values[name]
            metrics[f'grad_norm/{name}'] = optax.global_norm(grads)
            if name in ema:
                moved = optax.incremental_update(params, ema[name], 1.0 - ema_decay)
                # Under gradient accumulation only a real update counts.
                real = opt.mini_step == 0 if isinstance(opt, optax.MultiStepsState) else True
                ema[name] = jax.tree.map(lambda new, old, real=real: jnp.where(real, new, old), moved, ema[name])
        return TrainState(state.step + 1, state.key, updated, ema), {**average(metrics), **rates}

    return step
