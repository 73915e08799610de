"""Data-free distillation: who moves whom, what rounding cuts off, how a student grows, what its losses are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from flax import linen as nn

from kdsr import compiled, methods, models, optim, recipes
from kdsr import config as configs
from kdsr.data.resize import imresize
from kdsr.growth import Growth
from kdsr.methods import data_free
from kdsr.models import exports, image_generator
from kdsr.types import Batch, Net

BATCH = Batch(*np.zeros((2, 4, 1, 1, 1), np.float32))


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """A small untrained VDSR; its detail is strong enough to be told from a student's."""
    net, path = models.build('vdsr', scale=2, features=6, blocks=3), tmp_path_factory.mktemp('teacher')
    variables = models.init(net, jax.random.key(5), np.zeros((1, 16, 16, 1), np.float32))
    exports.save(path, name='vdsr', args={'scale': 2, 'features': 6, 'blocks': 3}, variables=variables, scales=[2, 3, 4])
    return str(path)


def config(teacher, **values):
    """SGD without momentum everywhere: a net that moved had a gradient."""
    cfg = recipes.base(
        scale=2, batch_size=4, steps=4, student=recipes.model('vdsr', features=4, blocks=3), teacher=teacher,
        optimizer=recipes.adam(1e-2, name='sgd'), data=recipes.embedded(colour='y', training=False),
    )  # fmt: skip
    cfg.method = {
        'name': 'data_free', 'images': 'generator', 'target': 'teacher', 'scales': '2,3,4', 'size': 48, 'student_steps': 2,
        'latent': 8, 'loss': 'l1', 'reduction': 'mean', 'rounding': 'none', 'w_adversarial': 1.0, 'w_reconstruction': 1.0,
        'warmup': 0, 'growth': {'events': 1, 'every': 0, 'new_block': 'random'}, 'optimizer': recipes.adam(1e-2, name='sgd'),
    }  # fmt: skip
    cfg.method.update(values)
    return cfg


def run(cfg, steps=1, batch=BATCH):
    """(first state, [(state, metrics) after each step])."""
    method = methods.make(cfg)
    state = first = method.init(jax.random.key(cfg.seed))
    step, found = compiled.jit(method.step), []
    for _ in range(steps):
        state, metrics = step(state, method.frozen, batch)
        found.append((state, jax.device_get(metrics)))
    return first, found


def moved(before, after):
    """{net: furthest that any of its parameters moved}."""
    far = lambda name: jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), before.nets[name].params, after.nets[name].params)
    return {name: max(jax.tree.leaves(far(name))) for name in before.nets}


@pytest.mark.parametrize('rounding, follows', [('none', True), ('straight_through', True), ('hard', False)])
def test_rounding_cuts_the_adversarial_gradient(teacher, rounding, follows):
    """The law of the paper's own code: with its rounding -log(1 + L_KD) has no gradient in the generator, exactly."""
    cfg = config(teacher, rounding=rounding, w_reconstruction=0.0, scales='2', size=16, student_steps=1)
    before, [(after, metrics)] = run(cfg)
    assert metrics['adversarial'] < 0 and (metrics['grad_norm/generator'] > 0) == follows
    assert (moved(before, after)['generator_x2'] > 0) == follows and moved(before, after)['student'] > 0


def test_reconstruction_reaches_the_generator_in_spite_of_rounding(teacher):
    before, [(after, _)] = run(config(teacher, rounding='hard', w_adversarial=0.0, scales='3', size=24, student_steps=1))
    assert moved(before, after)['generator_x3'] > 0


@pytest.mark.slow
def test_one_generator_moves_in_a_step_and_momentum_does_not_move_the_others(teacher):
    """Adam's momentum: after a step of its own each net would go on without a gradient."""
    state, found = run(config(teacher, optimizer=recipes.adam(1e-3)), steps=6)
    drawn = set()
    for after, metrics in found:
        far = moved(state, after)
        ((name, _),) = [(k, v) for k, v in far.items() if k != 'student' and v > 0]
        others = [k for k in far if k not in ('student', name)]
        for other in others:
            waited = data_free.after_round(False, state.nets[other], state.nets[other], 1)  # all but the schedule
            jax.tree.map(np.testing.assert_array_equal, waited, after.nets[other])
        assert far['student'] > 0 and metrics['grad_norm/generator'] > 0
        drawn.add(name)
        state = after
    assert len(drawn) > 1 and int(state.step) == 6


def example(latent, **_):
    """What TinyGenerator takes."""
    return (jax.ShapeDtypeStruct((1, latent), jnp.float32),)


class TinyGenerator(nn.Module):
    """An image generator that compiles at once."""

    size: int
    latent: int
    channels: int
    dtype: str

    @nn.compact
    def __call__(self, z):
        return nn.sigmoid(nn.Dense(self.size**2 * self.channels)(z)).reshape(-1, self.size, self.size, self.channels), {}


def stepped(peak, round_):
    """The schedule of `rounds`, by hand: x 0.1 in rounds 2, 4 and 6."""
    return peak * 0.1 ** sum(round_ >= m for m in (2, 4, 6))


def rounds(teacher, monkeypatch, count=8, **values):
    """(state before, state after, the generator drawn) of each round: three tiny generators, Adam, a rate that falls by tenths."""
    monkeypatch.setattr(image_generator, 'Network', TinyGenerator)
    falling = recipes.adam(1e-2, schedule='step', milestones=(2, 4, 6), decay=0.1)
    cfg = config(teacher, student_steps=1, optimizer=falling, **values)
    cfg.student.args.blocks, cfg.seed = 1, 1
    before, found = run(cfg, steps=count)
    keys = jax.random.split(before.key)
    draw = lambda n: int(jax.random.randint(jax.random.fold_in(keys[1], n), (), 0, 3))
    after = [state for state, _ in found]
    return [
        (a.nets, b.nets, f'generator_x{draw(n) + 2}') for n, (a, b) in enumerate(zip([before, *after[:-1]], after, strict=True))
    ]


def moments(net):
    """(Adam's own count, mu, nu) of a net."""
    (adam,) = [s for s in net.opt if isinstance(s, optax.ScaleByAdamState)]
    return int(adam.count), adam.mu, adam.nu


def adam_step(old, mu, nu, count, rate):
    """Kingma & Ba, algorithm 1, in float64: the parameters after update `count` (from 1) that left the moments `mu`, `nu`."""
    one = lambda p, m, v: p - rate * (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8)
    return jax.tree.map(lambda *x: one(*map(np.float64, x)), old.params, mu, nu)


def far_less_than(rate):
    """A closeness for parameters that moved by about `rate`; a wrong rate would be off by a factor of 10."""
    return {'rtol': 0, 'atol': 1e-2 * rate + 1e-7}


def test_a_frozen_generator_waits_but_its_rate_goes_on(teacher, monkeypatch):
    """The rate in round n is schedule(n), whatever was drawn; what waits is the same to the last bit, with its moments."""
    drawn = dict.fromkeys(('generator_x2', 'generator_x3', 'generator_x4'), 0)
    for n, (before, after, picked) in enumerate(rounds(teacher, monkeypatch)):
        drawn[picked] += 1
        for name in drawn:
            count, mu, nu = moments(after[name])
            assert count == drawn[name], 'bias correction counts the gradients that the moments have taken'
            (schedule,) = [s for s in after[name].opt if isinstance(s, optax.ScaleByScheduleState)]
            assert int(schedule.count) == n + 1
            if name == picked:
                rate, expected = stepped(1e-2, n), adam_step(before[name], mu, nu, count, stepped(1e-2, n))
                close = lambda a, b, rate=rate: np.testing.assert_allclose(a, b, **far_less_than(rate))
                jax.tree.map(close, after[name].params, expected)
            else:
                jax.tree.map(np.testing.assert_array_equal, after[name].params, before[name].params)
                jax.tree.map(np.testing.assert_array_equal, (count, mu, nu), moments(before[name]))
    assert min(drawn.values()) > 0 and max(drawn.values()) < 8


def test_a_coasting_generator_takes_gradients_of_zero(teacher, monkeypatch):
    """As in the released code: all three Adams step in every round."""
    began = set()
    for n, (before, after, picked) in enumerate(rounds(teacher, monkeypatch, undrawn='coast')):
        rate = stepped(1e-2, n)
        for name in ('generator_x2', 'generator_x3', 'generator_x4'):
            count, mu, nu = moments(after[name])
            assert count == n + 1
            if name != picked:
                _, old_mu, old_nu = moments(before[name])
                decay = lambda b: lambda x, b=b: np.float64(x) * b  # b x + (1 - b) 0
                mu, nu = jax.tree.map(decay(0.9), old_mu), jax.tree.map(decay(0.999), old_nu)
                close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6)
                jax.tree.map(close, moments(after[name])[1:], (mu, nu))
            close = lambda a, b, rate=rate: np.testing.assert_allclose(a, b, **far_less_than(rate))
            jax.tree.map(close, after[name].params, adam_step(before[name], mu, nu, count, rate))
            moved_ = any(
                (a != b).any() for a, b in zip(*map(jax.tree.leaves, (before[name].params, after[name].params)), strict=True)
            )
            assert moved_ == (name in began or name == picked)
        began.add(picked)
    assert len(began) > 1


def test_under_accumulation_the_rate_follows_the_rounds_too():
    """Two draws make an update, whenever they come; its rate is that of half of the rounds so far."""
    block = recipes.adam(1.0, name='sgd', schedule='step', milestones=(1, 2, 3), decay=0.1, clip=100.0, accumulate=2)
    rule, params = optim.make(block, 20), {'w': jnp.ones(3)}
    net, fell = Net(params, {}, rule.init(params)), {}
    for n in range(10):
        updates, opt = rule.update({'w': jnp.ones(3)}, net.opt, net.params)
        new = Net(optax.apply_updates(net.params, updates), {}, opt)
        after = data_free.after_round(n in (1, 4, 5, 8), new, net, (n + 1) // 2 - n // 2)
        if (after.params['w'] != net.params['w']).any():
            fell[n] = float(net.params['w'][0] - after.params['w'][0])
        net = after
    np.testing.assert_allclose([fell.pop(4), fell.pop(8)], [0.01, 0.001], rtol=1e-4)
    assert fell == {}


@pytest.mark.parametrize('words, decays', [('released', 7), ('paper', 3), ('released,half', 7)])
def test_the_generators_rate_decays_in_the_length_of_the_published_recipes(words, decays):
    """A tenth every 10 epochs of 120 rounds: 7 times in 80 epochs, 3 times in 40."""
    cfg = tiny.experiment('data_free', words)
    rate = np.asarray(jax.vmap(optim.schedule(cfg.method.optimizer, cfg.steps))(jnp.arange(cfg.steps)))
    (fell,) = np.nonzero(np.diff(rate) < 0)
    assert (fell + 1).tolist() == [1200 * n for n in range(1, decays + 1)]
    np.testing.assert_allclose(rate[-1], cfg.method.optimizer.learning_rate * 0.1**decays, rtol=1e-5)


def test_images_have_the_sizes_of_their_scales(teacher):
    made = {}
    for name, net in methods.make(config(teacher)).nets.items():
        if draw := models.pictures(net.module):
            made[name] = jax.eval_shape(functools.partial(draw, net.module), models.shapes(net.module)).shape
    assert made == {'generator_x2': (8, 24, 24, 1), 'generator_x3': (8, 16, 16, 1), 'generator_x4': (8, 12, 12, 1)}


@pytest.mark.parametrize('loss, reduction, border', [('l1', 'mean', 'symmetric'), ('l2', 'sum', 'replicate')])
def test_loss_of_images_of_data_is_that_of_resized_images(teacher, loss, reduction, border):
    """L_KD by hand: HR reduced and enlarged by `kdsr.data.resize`, an implementation of its own."""
    hr = np.stack([tiny.picture(48, 48, i)[..., :1] for i in range(3)]) / np.float32(255)
    cfg = config(teacher, images='data', student_steps=1, scales='3', loss=loss, reduction=reduction, border=border)
    before, [(_, metrics)] = run(cfg, batch=Batch(hr, hr))
    resized = functools.partial(imresize, border=border)
    enlarged = np.stack([resized(np.clip(resized(np.float64(x), 1 / 3), 0, 1), 3) for x in hr]).clip(0, 1)
    net, variables = models.build('vdsr', features=4, blocks=3), {'params': before.nets['student'].params}
    off = models.load(teacher).module.apply(models.load(teacher).variables, np.float32(enlarged), method='refine')[0]
    off = np.float64(off - net.apply(variables, np.float32(enlarged), method='refine')[0])
    expected = {'l1': np.abs(off).mean(), 'l2': np.square(off).sum()}[loss]
    np.testing.assert_allclose(metrics['distil'], expected, rtol=1e-4)
    assert set(before.nets) == {'student'} and 'adversarial' not in metrics


def test_adversarial_loss_is_minus_the_logarithm_and_warms_up(teacher):
    cfg = config(teacher, warmup=1, w_reconstruction=0.5, scales='4', size=32)
    cfg.optimizer.update({'schedule': 'step', 'milestones': (3,)})
    _, found = run(cfg, steps=2)
    # of the student's two steps the last is told: numbers 1 and 3
    rates = [(m['learning_rate/student'], m['learning_rate/generator_x4']) for _, m in found]
    np.testing.assert_allclose(rates, [(0.01, 0.01), (0.005, 0.01)], rtol=1e-6)
    for (_, m), weight in zip(found, (0.0, 1.0), strict=True):
        np.testing.assert_allclose(m['loss/generator'], weight * m['adversarial'] + 0.5 * m['reconstruction'], rtol=1e-6)


def test_noise_and_truth(teacher):
    before, [(after, _)] = run(config(teacher, images='noise', student_steps=1))
    assert set(before.nets) == {'student'} and moved(before, after)['student'] > 0
    hr = np.stack([tiny.picture(48, 48, i)[..., :1] for i in range(3)]) / np.float32(255)
    cfg = config('', images='data', target='truth', student_steps=1)
    assert methods.make(cfg).frozen == {}
    before, [(after, _)] = run(cfg, batch=Batch(hr, hr))
    assert moved(before, after)['student'] > 0


@pytest.mark.parametrize(
    'events, counts', [(18, range(1, 19)), (9, range(2, 19, 2)), (6, range(3, 19, 3)), (3, (6, 12, 18)), (1, (18,))]
)
def test_blocks_after_the_kth_event_are_18_k_by_n(events, counts):
    growth = Growth(events=events, every=5, blocks=18)
    assert [int(growth.active(5 * k)) for k in range(events)] == list(counts)
    assert int(growth.active(4)) == counts[0] and int(growth.active(5 * events + 100)) == 18


def test_blocks_to_come_keep_their_first_values_through_weight_decay(teacher):
    growing = {'events': 3, 'every': 2, 'new_block': 'random'}
    cfg = config(teacher, images='noise', scales='2', size=16, student_steps=1, growth=growing)
    cfg.optimizer = recipes.adam(1e-2, name='sgd', momentum=0.9, weight_decay=0.1, schedule='step', milestones=(1,))
    state, found = run(cfg, steps=5)
    # each event renews the optimiser, its schedule included
    np.testing.assert_allclose([m['learning_rate/student'] for _, m in found], [0.01, 0.005, 0.01, 0.005, 0.01], rtol=1e-6)
    first = state.nets['student'].params
    for (after, _), active in zip(found, (1, 1, 2, 2, 3), strict=True):
        now = after.nets['student'].params
        for i in range(1, 4):
            same = jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), now[f'block{i}'], first[f'block{i}']))
            assert same == (i > active), (i, active)


def test_an_event_renews_the_optimiser_and_leaves_every_weight():
    growth, optimiser = Growth(events=3, every=2, blocks=3), optim.make(recipes.adam(1e-2), 10)
    params = {name: {'kernel': jnp.full((3, 3, 1, 1), 2.0)} for name in ('head', 'block1', 'block2', 'block3', 'tail')}
    used = jax.tree.map(lambda x: x + 1, optimiser.init(params))
    for step, event in enumerate((False, False, True, False, True, False)):
        after = growth.renewed(Net(params, {}, used), step, optimiser)
        jax.tree.map(np.testing.assert_array_equal, after.params, params)
        jax.tree.map(np.testing.assert_array_equal, after.opt, optimiser.init(params) if event else used)
        assert growth._replace(renew=False).renewed(Net(params, {}, used), step, optimiser).opt is used


def test_a_dirac_block_changes_nothing(teacher):
    cfg = config(teacher, growth={'events': 3, 'every': 2, 'new_block': 'dirac'})
    state = methods.make(cfg).init(jax.random.key(0))
    net, x = models.build('vdsr', features=4, blocks=3), jnp.asarray(np.random.default_rng(0).random((1, 12, 12, 1), np.float32))
    images = [net.apply({'params': state.nets['student'].params}, x, active=k, method='refine')[0] for k in (1, 2, 3)]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


@pytest.mark.slow
def test_a_rgb_teacher_of_one_scale(tmp_path):
    """EDSR reads the LR image itself, in colours."""
    path = tiny.teacher(tmp_path / 'edsr')
    cfg = config(str(path), scales='2', size=16, student_steps=1)
    cfg.student = recipes.model('edsr', blocks=1, features=4)
    before, [(after, metrics)] = run(cfg)
    assert min(moved(before, after).values()) > 0 and metrics['reconstruction'] > 0
    draw = functools.partial(image_generator.pictures, methods.make(cfg).nets['generator_x2'].module)
    assert jax.eval_shape(draw, {'params': after.nets['generator_x2'].params}).shape == (8, 8, 8, 3)


def test_presets():
    """The values of the published command and the paper's form: facts sheet of DFSR, A.2.1 and A.3."""
    paper, released = tiny.experiment('data_free', 'paper,half'), tiny.experiment('data_free', 'released,half')
    assert (released.steps, released.steps * released.method.student_steps, released.batch_size) == (9600, 480_000, 128)
    sgd = {
        'name': 'sgd',
        'learning_rate': 0.1,
        'momentum': 0.9,
        'weight_decay': 1e-4,
        'clip': 0.4,
        'schedule': 'step',
        'decay': 0.1,
    }
    assert {k: released.optimizer[k] for k in sgd} == sgd and released.optimizer.milestones[0] == 60_000
    assert released.method.optimizer.learning_rate == 1e-5 and released.method.optimizer.milestones[0] == 1200
    said = lambda c: (c.method.loss, c.method.reduction, c.method.rounding, c.method.w_reconstruction, c.method.growth.events)
    assert said(released) == ('l2', 'sum', 'hard', 1.0, 1) and said(paper) == ('l1', 'mean', 'none', 1.0, 18)
    assert (released.method.undrawn, released.method.border) == ('coast', 'replicate')
    assert (paper.method.undrawn, paper.method.border) == ('frozen', 'symmetric')
    assert paper.method.growth.new_block == 'random' and paper.student.args.to_dict() == {'features': 32, 'tail_init': 'fan_out'}


def test_the_docstring_names_every_difference_of_paper_and_released():
    paper, released = (configs.flat(tiny.experiment('data_free', word).to_dict()) for word in ('paper', 'released'))
    # milestones: of both every 10 epochs to the end, see above
    differ = {k: (str(v), str(released[k])) for k, v in paper.items() if v != released[k]}
    differ = {k: v for k, v in differ.items() if k != 'name' and not k.endswith('milestones')}
    assert paper.keys() == released.keys()
    assert {field: tuple(values.split()) for field, values in tiny.table('data_free').items()} == differ


@pytest.mark.parametrize(
    'values, message',
    [
        ({'images': 'noises'}, "config.method.images='noises' is unknown, did you mean 'noise'"),
        ({'target': 'truth'}, "target='truth' needs images='data'"),
        ({'images': 'data'}, 'with images of data each batch is one step'),
        ({'undrawn': 'frosen'}, "config.method.undrawn='frosen' is unknown, did you mean 'frozen'"),
        ({'border': 'reflect'}, "config.method.border='reflect' is unknown"),
        ({'size': 41}, 'config.method.size=41 is no multiple of 4 times the scales 2,3,4'),
        ({'growth': {'events': 4, 'every': 1, 'new_block': 'random'}}, '4 events, one in 1 steps, do not grow 3 blocks'),
        ({'growth': {'events': 2, 'every': 1, 'new_block': 'zero'}}, "new_block='zero' is none of random, dirac"),
    ],
)
def test_errors_name_the_field(teacher, values, message):
    with pytest.raises(ValueError) as error:
        methods.make(config(teacher, **values)).init(jax.random.key(0))
    assert message in str(error.value)


def test_networks_that_cannot_do_it(teacher, tmp_path):
    cfg = config(str(tiny.teacher(tmp_path / 'edsr')))
    with pytest.raises(ValueError, match='the teacher is a x2 network: config.method.scales must be 2, not 2,3,4'):
        methods.make(cfg)
    cfg.method.scales = '2'
    with pytest.raises(ValueError, match='teacher and student must take the same images'):
        methods.make(cfg)
