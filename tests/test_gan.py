"""Adversarial training and SRGAN lightening: who moves whom, what each technique adds, what stays frozen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from kdsr import methods, models, nets, steps
from kdsr.methods import srgan_kd
from kdsr.models import exports
from kdsr.types import Batch, Ctx

DONE = {}


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """A teacher and a perceptual network."""
    path = tmp_path_factory.mktemp('gan')
    tiny.teacher(path / 'teacher')
    tiny.perceptual(path / 'vgg')
    return path


@pytest.fixture(scope='module')
def batch():
    rng = np.random.default_rng(0)
    return Batch(rng.random((4, 16, 16, 3), np.float32), rng.random((4, 32, 32, 3), np.float32))


def trained(config, batch, steps=2):
    """(states 0 ... `steps`, metrics of every step, frozen) of a few steps of SGD; the same config is compiled once."""
    key = config.to_json()
    if key not in DONE:
        method = methods.make(config)
        states, metrics, frozen, step = [method.init(jax.random.key(0))], [], method.frozen, jax.jit(method.step)
        for _ in range(steps):
            state, values = step(states[-1], frozen, batch)
            states, metrics = [*states, state], [*metrics, values]
        DONE[key] = states, metrics, frozen
    return DONE[key]


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def closest(a, b):
    return max(float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize(
    ('technique', 'nets'),
    [
        pytest.param('none', {'student', 'disc'}, marks=pytest.mark.slow),
        pytest.param('gan2g', {'student'}, marks=pytest.mark.slow),
        pytest.param('gan2g_al', {'student', 'disc'}, marks=pytest.mark.slow),
        pytest.param('gan2gan', {'student', 'disc', 'disc_teacher'}, marks=pytest.mark.slow),
    ],
)
def test_each_technique_trains_its_players(room, batch, technique, nets):
    (first, *_, last), (metrics, _), frozen = trained(tiny.gan(room, technique), batch)
    assert set(last.nets) == nets
    for name in nets:
        assert not equal(first.nets[name].params, last.nets[name].params)
        assert not equal(first.nets[name].vars['batch_stats'], last.nets[name].vars['batch_stats'])
    assert ('distil' in metrics) == (technique != 'none')
    assert {k for k in metrics if k.startswith('fool_')} == {f'fool_{k}' for k in nets - {'student'}}
    assert ('teacher' in frozen) == (technique != 'none')


def test_g2g_al_is_gan2g_al_with_another_teacher():
    assert srgan_kd.TECHNIQUES['g2g_al'] == srgan_kd.TECHNIQUES['gan2g_al']


def test_losses_are_the_papers_sums(room, batch):
    config = tiny.gan(room, 'gan2gan')
    (state, *_), (m, _), _ = trained(config, batch)
    w = config.method
    expected = m['content'] + w.w_pixel * m['distil'] + w.w_adv * m['fool_disc'] + w.w_adv_teacher * m['fool_disc_teacher']
    np.testing.assert_allclose(m['loss/student'], expected, rtol=1e-6)
    # the squared distance to the teacher's image is on 0..255
    net, student = nets.student(config).module, state.nets['student']
    (sr, _), _ = models.train_apply(net, student.params, student.vars, batch.lr)
    teacher = models.load(config.teacher)
    np.testing.assert_allclose(m['distil'], 255**2 * jnp.square(sr - teacher(batch.lr)).mean(), rtol=1e-4)


def test_the_baseline_with_a_pixel_term_has_the_squared_distance_to_the_truth(room, batch):
    config = tiny.gan(room, 'gan2g')
    config.method.technique, config.method.w_truth = 'none', 1e-3
    (state, *_), (m, _), _ = trained(config, batch)
    np.testing.assert_allclose(m['loss/student'], m['content'] + 1e-3 * m['truth'] + 0.1 * m['fool_disc'], rtol=1e-6)
    student = state.nets['student']
    (sr, _), _ = models.train_apply(nets.student(config).module, student.params, student.vars, batch.lr)
    np.testing.assert_allclose(m['truth'], 255**2 * jnp.square(sr - batch.hr).mean(), rtol=1e-4)


@pytest.mark.parametrize('moved', ['student', 'disc'])
def test_a_loss_moves_its_own_network_only(room, batch, moved, monkeypatch):
    """What the joint step does to `moved` is the gradient of its own loss in its own parameters, and nothing else."""
    config, captured, original = tiny.gan(room, 'gan2g_al'), {}, steps.players

    def keep(losses, optimisers, **options):
        captured.update(losses=losses, optimisers=optimisers)
        return original(losses, optimisers, **options)

    monkeypatch.setattr(steps, 'players', keep)
    method, (state, joint, _) = methods.make(config), trained(config, batch)[0]
    ctx = Ctx(batch, method.frozen, {k: n.vars for k, n in state.nets.items()}, state.key, state.step)

    def own(params):
        return captured['losses']({k: n.params for k, n in state.nets.items()} | {moved: params}, ctx)[0][moved]

    gradient = jax.jit(jax.grad(own))(state.nets[moved].params)
    updates, _ = captured['optimisers'][moved].update(gradient, state.nets[moved].opt, state.nets[moved].params)
    alone = jax.tree.map(jnp.add, state.nets[moved].params, updates)
    assert closest(alone, joint.nets[moved].params) < 1e-6
    assert closest(alone, state.nets[moved].params) > 1e-7


def test_as_coded_the_second_critic_never_reaches_the_student(room, batch):
    config = tiny.gan(room, 'gan2gan')
    config.method.w_adv_teacher = 0.0
    as_coded, plain = trained(config, batch)[0][-1], trained(tiny.gan(room, 'gan2g_al'), batch)[0][-1]
    assert closest(as_coded.nets['student'], plain.nets['student']) < 1e-6
    meant = trained(tiny.gan(room, 'gan2gan'), batch)[0][-1]
    assert closest(meant.nets['student'].params, plain.nets['student'].params) > 1e-6


def test_frozen_networks_are_bitwise_unchanged(room, batch):
    frozen = trained(tiny.gan(room, 'gan2g_al'), batch)[2]
    assert equal(frozen, methods.make(tiny.gan(room, 'gan2g_al')).frozen)
    assert set(frozen) == {'teacher', 'features'}


@pytest.mark.parametrize('kind', ['hinge', 'relativistic'])
def test_supervised_gan_training(room, batch, kind):
    config = tiny.gan(room)
    content = config.method.content.to_dict()
    config.method = {
        'name': 'gan', 'pixel': 'l1', 'w_pixel': 1e-2, 'pixel_range': 255.0, 'content': content, 'adversarial': kind,
        'w_adv': 5e-3, 'discriminator': {'features': 4, 'hidden': 16},
    }  # fmt: skip
    (first, *_, last), (m, _), _ = trained(config, batch)
    np.testing.assert_allclose(m['loss/student'], m['content'] + 1e-2 * m['l1'] + 5e-3 * m['adversarial'], rtol=1e-6)
    assert not equal(first.nets['disc'].params, last.nets['disc'].params)


def test_content_alone_needs_no_discriminator(room, batch):
    config = tiny.gan(room)
    content = config.method.content.to_dict()
    config.method = {
        'name': 'gan', 'pixel': 'l1', 'w_pixel': 0.0, 'pixel_range': 255.0, 'content': content, 'adversarial': 'vanilla',
        'w_adv': 0.0, 'discriminator': {'features': 4, 'hidden': 16},
    }  # fmt: skip
    states, (m, _), _ = trained(config, batch)
    assert set(states[-1].nets) == {'student'} and m['loss/student'] == m['content']


def test_misspelt_values_are_named(room):
    for field, value, meant in (('technique', 'gan2gun', 'gan2gan'), ('adversarial', 'hing', 'hinge')):
        config = tiny.gan(room)
        config.method[field] = value
        with pytest.raises(ValueError, match=f"config.method.{field}='{value}' is unknown, did you mean '{meant}'"):
            methods.make(config)


def test_a_student_starts_from_given_weights(room, batch):
    first = methods.make(tiny.gan(room)).init(jax.random.key(3)).nets['student']
    args = {'scale': 2, 'blocks': 2, 'features': 8}
    exports.save(room / 'start', name='srresnet', args=args, variables={'params': first.params, **first.vars})
    given = methods.make(tiny.gan(room, student_init=str(room / 'start'))).init(jax.random.key(0)).nets['student']
    assert equal(given.params, first.params) and equal(given.vars, first.vars)
    with pytest.raises(ValueError, match='do not fit: missing batch_stats/block1/bn1/mean'):
        methods.make(tiny.gan(room, student_init=str(room / 'teacher'))).init(jax.random.key(0))
