"""The step builder's laws: who moves whom, averaging, accumulation; optimiser blocks; learning rates in the logs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from tensorboardX.proto import event_pb2

from kdsr import optim, recipes, steps, writers
from kdsr.types import Batch

BATCH = Batch(jnp.arange(4.0).reshape(4, 1, 1, 1), jnp.ones((4, 1, 1, 1)))


def scalar_net(value):
    return {'params': {'w': jnp.asarray(value)}}


def test_a_loss_moves_its_own_network_only():
    def losses(params, ctx):
        g, d = params['g']['w'], params['d']['w']
        return {'g': g * d, 'd': 5 * g + d**2}, ({}, {})

    rules = {'g': optax.sgd(1.0), 'd': optax.sgd(1.0)}
    state = steps.create(jax.random.key(0), {'g': scalar_net(2.0), 'd': scalar_net(3.0)}, rules)
    after, metrics = jax.jit(steps.players(losses, rules))(state, {}, BATCH)
    # d(g d)/dg = 3 and not 3 + 5; d(5g + d^2)/dd = 6 and not 6 + 2
    assert float(after.nets['g'].params['w']) == 2.0 - 3.0
    assert float(after.nets['d'].params['w']) == 3.0 - 6.0
    assert float(metrics['grad_norm/d']) == 6.0 and float(metrics['loss/g']) == 6.0


def test_networks_with_the_same_loss_share_one_backward_pass():
    def losses(params, ctx):
        loss = jnp.sum(jnp.sin(params['student']['w'] * params['adapt']['w'] * ctx.batch.lr))
        return {'student': loss, 'adapt': loss}, ({}, {})

    rules = {'student': optax.sgd(1.0), 'adapt': optax.sgd(1.0)}
    state = steps.create(jax.random.key(0), {'student': scalar_net(0.5), 'adapt': scalar_net(0.25)}, rules)
    step = steps.players(losses, rules)
    after, _ = step(state, {}, BATCH)
    x = np.arange(4.0)
    expected = np.sum(np.cos(0.125 * x) * x)
    np.testing.assert_allclose(0.5 - float(after.nets['student'].params['w']), 0.25 * expected, rtol=1e-6)
    np.testing.assert_allclose(0.25 - float(after.nets['adapt'].params['w']), 0.5 * expected, rtol=1e-6)
    assert str(jax.make_jaxpr(step)(state, {}, BATCH)).count(' cos ') == 1


def test_missing_loss_is_named():
    step = steps.players(lambda p, c: ({}, ({}, {})), {'g': optax.sgd(1.0)})
    state = steps.create(jax.random.key(0), {'g': scalar_net(2.0)}, {'g': optax.sgd(1.0)})
    with pytest.raises(ValueError, match=r"losses for \[\], the state trains \['g'\]"):
        step(state, {}, BATCH)


def quadratic(params, ctx):
    loss = jnp.mean((params['s']['w'] * ctx.batch.lr - ctx.batch.hr) ** 2)
    return {'s': loss}, ({}, {'l2': loss})


def run(block, batches, ema_decay=0.0, steps_total=4):
    rules = {'s': optim.make(block, steps_total)}
    state = steps.create(jax.random.key(0), {'s': scalar_net(0.3)}, rules, ('s',) if ema_decay else ())
    step = jax.jit(steps.players(quadratic, rules, ema_decay=ema_decay))
    for batch in batches:
        state, _ = step(state, {}, batch)
    return state


def test_accumulated_halves_equal_one_batch():
    halves = [jax.tree.map(lambda x, i=i: x[2 * i : 2 * i + 2], BATCH) for i in range(2)]
    whole = run(recipes.adam(0.01, name='sgd'), [BATCH])
    split = run(recipes.adam(0.01, name='sgd', accumulate=2), halves)
    np.testing.assert_allclose(split.nets['s'].params['w'], whole.nets['s'].params['w'], rtol=1e-6)


def test_average_moves_on_updates_only():
    whole = run(recipes.adam(0.01, name='sgd'), [BATCH], ema_decay=0.9)
    twice = run(recipes.adam(0.01, name='sgd', accumulate=2), [BATCH, BATCH], ema_decay=0.9)
    w = float(whole.nets['s'].params['w'])
    np.testing.assert_allclose(whole.ema['s']['w'], 0.9 * 0.3 + 0.1 * w, rtol=1e-6)
    np.testing.assert_allclose(twice.ema['s']['w'], whole.ema['s']['w'], rtol=1e-6)


def test_clip_bounds_the_update():
    state = run(recipes.adam(1.0, name='sgd', clip=0.5), [BATCH])
    np.testing.assert_allclose(abs(0.3 - float(state.nets['s'].params['w'])), 0.5, rtol=1e-6)


def test_schedules():
    rate = optim.schedule(recipes.adam(1e-3, schedule='cosine', warmup=10, final_rate=0.1), 110)
    np.testing.assert_allclose([rate(0), rate(5), rate(10), rate(60), rate(110)], [0, 5e-4, 1e-3, 5.5e-4, 1e-4], rtol=1e-5)
    # 200 epochs of 1000 batches, halved at the start of the 150th (FAKD)
    rate = optim.schedule(recipes.adam(1e-4, schedule='step', milestones=(149_000,)), 200_000)
    np.testing.assert_allclose([rate(148_999), rate(149_001)], [1e-4, 5e-5], rtol=1e-6)


@pytest.mark.parametrize('field', ['name', 'schedule'])
def test_unknown_optimiser_words(field):
    with pytest.raises(ValueError, match=f"config.optimizer.{field}='adm' is none of"):
        optim.make(recipes.adam(1e-3, **{field: 'adm'}), 10)


def test_draws_are_per_global_example():
    from kdsr.types import Ctx

    keys = lambda b, axis=None: jax.random.key_data(Ctx(b, {}, {}, jax.random.key(3), 0, axis).example_keys())
    whole = keys(BATCH)
    halves = jax.vmap(lambda b: keys(b, 'd'), axis_name='d')(jax.tree.map(lambda x: x.reshape(2, 2, 1, 1, 1), BATCH))
    np.testing.assert_array_equal(halves.reshape(whole.shape), whole)


@pytest.mark.parametrize('accumulate', [1, 3])
@pytest.mark.parametrize('values', [{'clip': 1.0}, {'name': 'sgd', 'momentum': 0.9, 'weight_decay': 0.1}, {'name': 'adamw'}])
def test_the_logged_rate_is_that_of_the_update_and_changes_no_weight(values, accumulate):
    block = recipes.adam(1e-2, schedule='cosine', warmup=2, accumulate=accumulate, **values)
    rule, plain = optim.make(block, 12 * accumulate), optim.make(block, 12 * accumulate)
    rules, silent = {'s': rule}, {'s': optax.GradientTransformation(plain.init, plain.update)}
    state = told = steps.create(jax.random.key(0), {'s': scalar_net(0.3)}, rules)
    step, quiet = jax.jit(steps.players(quadratic, rules)), jax.jit(steps.players(quadratic, silent))
    expected = optim.schedule(block, 12)
    for i in range(4 * accumulate):
        told, metrics = step(told, {}, BATCH)
        state, without = quiet(state, {}, BATCH)
        np.testing.assert_allclose(metrics['learning_rate/s'], expected(i // accumulate), rtol=1e-6)
        assert set(metrics) - set(without) == {'learning_rate/s'}
        assert float(told.nets['s'].params['w']) == float(state.nets['s'].params['w'])


def test_every_player_has_a_rate_of_its_own():
    losses = lambda params, ctx: ({k: v['w'] ** 2 for k, v in params.items()}, ({}, {}))
    rules = {'g': optim.make(recipes.adam(1e-2), 4), 'd': optim.make(recipes.adam(3e-4, schedule='step', milestones=(1,)), 4)}
    state, rates = steps.create(jax.random.key(0), {'g': scalar_net(2.0), 'd': scalar_net(3.0)}, rules), []
    for _ in range(2):
        state, metrics = jax.jit(steps.players(losses, rules))(state, {}, BATCH)
        rates.append([float(metrics[f'learning_rate/{k}']) for k in 'gd'])
    np.testing.assert_allclose(rates, [[1e-2, 3e-4], [1e-2, 1.5e-4]], rtol=1e-6)


def test_a_line_has_the_last_rate_and_the_means_of_the_rest_also_after_a_resume():
    whole = writers.Progress(0, 4, 8, {})
    line = lambda progress, step: progress.line(step)[::2]
    for rate, loss in ((0.4, 1.0), (0.3, 2.0)):
        whole.add({'l1': loss, 'learning_rate/student': rate})
    resumed = writers.Progress(2, 4, 8, json.loads(json.dumps(whole.state())))
    for progress in (whole, resumed):
        progress.add({'l1': 6.0, 'learning_rate/student': 0.2})
    values, text = line(whole, 3)
    assert values == resumed.line(3)[0] == {'l1': 3.0, 'learning_rate/student': 0.2} and 'rate' not in text


def test_the_rate_is_in_both_logs(tmp_path):
    writer = writers.Writer(tmp_path, 0)
    writer.scalars(2, {'l1': 3.0, 'learning_rate/student': 0.25})
    writer.close()
    assert json.loads((tmp_path / 'metrics.jsonl').read_text()) == {'step': 2, 'l1': 3.0, 'learning_rate/student': 0.25}
    (events,) = (tmp_path / 'tensorboard').iterdir()
    data, at, found = events.read_bytes(), 0, {}
    while at < len(data):  # a record: 8 bytes of length, 4 of checksum, the event, 4 of checksum
        length = int.from_bytes(data[at : at + 8], 'little')
        event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
        found |= {value.tag: (event.step, value.simple_value) for value in event.summary.value}
        at += length + 16
    assert found == {'l1': (2, 3.0), 'learning_rate/student': (2, 0.25)}


def online(stop):
    """FLOPs of a step of a student and a teacher that trains beside it, whose image the student learns through a fixed network."""
    student, teacher, look = (nn.Conv(width, (3, 3)) for width in (3, 3, 8))
    x, key = jnp.zeros((2, 16, 16, 3)), jax.random.key(0)
    fixed = look.init(key, x)
    rules = {name: optax.sgd(1e-2) for name in ('student', 'teacher')}
    state = steps.create(key, {'student': student.init(key, x), 'teacher': teacher.init(key, x)}, rules)

    def losses(params, ctx):
        ours = student.apply({'params': params['student']}, ctx.batch.lr)
        theirs = teacher.apply({'params': params['teacher']}, ctx.batch.lr)
        aim = jax.lax.stop_gradient(theirs) if stop else theirs
        distil = jnp.abs(jnp.sin(look.apply(fixed, ours)) - jnp.sin(look.apply(fixed, aim))).mean()
        return {'student': distil, 'teacher': jnp.square(theirs - ctx.batch.hr).mean()}, ({}, {})

    lowered = jax.jit(steps.players(losses, rules)).lower(state, {}, Batch(x, x))
    return lowered.compile().cost_analysis()['flops']


def test_a_network_that_is_anothers_target_costs_no_backward_pass():
    """Nothing says stop_gradient, and the step costs what it would cost if something did."""
    assert online(stop=False) == online(stop=True) > 5e5
