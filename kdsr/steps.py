"""The one step builder: from `losses(params, ctx)` to a method that trains every network by its own loss."""

import functools

import jax
import jax.numpy as jnp
import optax
from jax.extend.core import jaxpr_as_fun

from kdsr import nets as networks
from kdsr import optim
from kdsr.types import Ctx, Method, Net, TrainState


def method(cfg, losses, nets, frozen=None):
    """The Method of one step for all players: what a method's `make` ends with.

    Args:
      cfg: the run's config. The net called k has the optimiser block `cfg.method.k_optimizer` where there is one, else
        `cfg.optimizer`. The student is averaged where `cfg.ema_decay` is not 0.
      losses: as of `players`.
      nets: name -> Trained, the student first.
      frozen: name -> variables of networks that are read and never trained.
    """
    rules = {name: rule(cfg, name) for name in nets}
    ema = ('student',) if cfg.ema_decay else ()
    init = functools.partial(begin, nets=nets, rules=rules, ema=ema)
    return Method(nets, frozen or {}, init, players(losses, rules, ema_decay=cfg.ema_decay), losses)


def rule(cfg, name):
    """The optimiser of the net called `name`, see `method`."""
    own = f'{name}_optimizer'
    block = cfg.method.get(own)
    return optim.make(block, cfg.steps, f'config.method.{own}') if block else optim.make(cfg.optimizer, cfg.steps)


def begin(key, nets, rules, ema=()):
    """Initial TrainState of the Trained `nets`; key, rules (name -> optimiser) and ema as of `create`."""
    return create(key, first(key, nets), rules, ema)


def first(key, nets):
    """{name: variables} that the Trained `nets` begin with: the first draws by `key` itself, number i by `fold_in(key, i)`."""
    keys = [key, *(jax.random.fold_in(key, i) for i in range(1, len(nets)))]
    return {name: networks.start(net, k) for (name, net), k in zip(nets.items(), keys, strict=True)}


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

    The law: the loss named k moves the network named k and no other, at the cost of its own derivative alone (see `gradients`).
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
        values, (new_vars, parts), found = gradients(lambda params: losses(params, ctx), {k: n.params for k, n in nets.items()})
        average = (lambda tree: jax.lax.pmean(tree, axis)) if axis else (lambda tree: tree)

        rates = {f'learning_rate/{k}': r.rate(nets[k].opt) for k, r in optimisers.items() if isinstance(r, optim.Rule)}
        updated, ema = {}, dict(state.ema)
        metrics = dict(parts)
        for name, net in nets.items():
            grads = average(found[name])
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


def consecutive(cfg, *losses):
    """A step of the student alone with an update for each of `losses` (as of `players`), on the same batch.

    Each update is by the sum of all gradients so far, each taken where its turn came: code that never clears gradients between does
    so. Averages move once. The rate counts updates, as many a step as there are losses.
    """
    rule = optim.make(cfg.optimizer, len(losses) * cfg.steps)

    def step(state, frozen, batch, axis=None):
        net, total, value, metrics = state.nets['student'], None, 0.0, {}
        ctx = Ctx(batch, frozen, {'student': net.vars}, jax.random.fold_in(state.key, state.step), state.step, axis)
        average = (lambda tree: jax.lax.pmean(tree, axis)) if axis else (lambda tree: tree)
        rate = {'learning_rate/student': rule.rate(net.opt)}
        for one in losses:
            values, (moved, parts), found = gradients(lambda params, one=one: one(params, ctx), {'student': net.params})
            gradient = average(found['student'])
            total = gradient if total is None else jax.tree.map(jnp.add, total, gradient)
            updates, opt = rule.update(total, net.opt, net.params)
            net = Net(optax.apply_updates(net.params, updates), average(moved.get('student', net.vars)), opt)
            value, metrics = value + values['student'], metrics | parts
        metrics |= {'loss/student': value, 'grad_norm/student': optax.global_norm(total)}
        ema = {name: optax.incremental_update(net.params, old, 1.0 - cfg.ema_decay) for name, old in state.ema.items()}
        return TrainState(state.step + 1, state.key, {'student': net}, ema), {**average(metrics), **rate}

    return step


def gradients(losses, params):
    """(values, aux, {net: gradient of its own loss}) of `losses(params) -> ({net: scalar}, aux)`.

    `losses` is traced once, and that program is differentiated for each player in its own parameters only: a network that is
    another's target costs no backward pass, though nothing says stop_gradient, and the compiler merges the forward passes, which
    are the same. Networks that return the very same scalar object (a student and its adapter) share one derivative.

    Raises ValueError where the losses are of other networks than the parameters.
    """
    leader = {}

    def traced(params):
        values, aux = losses(params)
        if set(values) != set(params):
            raise ValueError(f'losses() returned losses for {sorted(values)}, the state trains {sorted(params)}')
        leader.update({k: min(j for j in values if values[j] is v) for k, v in values.items()})
        return values, aux

    program, shapes = jax.make_jaxpr(traced, return_shape=True)(params)
    run, tree = jaxpr_as_fun(program), jax.tree.structure(shapes)
    again = lambda some: jax.tree.unflatten(tree, run(*jax.tree.leaves({**params, **some})))
    found = {}
    for first in sorted(set(leader.values())):
        own = {k: v for k, v in params.items() if leader[k] == first}

        def loss(own, first=first):
            values, aux = again(own)
            return values[first], (values, aux)

        (_, (values, aux)), grads = jax.value_and_grad(loss, has_aux=True)(own)
        found |= grads
    return values, aux, found
