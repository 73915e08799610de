"""SDAKD and what it is compared with: whose loss moves whom, what each stage adds, which critic judges, what leaves the run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from arrays import drawn, quick

from kdsr import config as configs
from kdsr import methods, models, nets, recipes, stages, taps
from kdsr.losses import features
from kdsr.models import exports
from kdsr.types import Batch, Ctx

DONE, STEPS = {}, {}


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """Pictures, and a wide teacher with its critic."""
    path = tmp_path_factory.mktemp('sdakd')
    tiny.folder(path / 'images')
    made = {
        'teacher': ('edsr', {'scale': 2, 'blocks': 3, 'features': 12}, 16),
        'disc': ('own.critic', {'size': 32, 'features': 8}, 32),
    }
    for folder, (name, args, size) in made.items():
        variables = drawn(models.build(name, **args), np.zeros((1, size, size, 3)))
        exports.save(path / folder, name=name, args=args, variables=variables)
    return path


@pytest.fixture(scope='module')
def batch():
    rng = np.random.default_rng(0)
    return Batch(rng.random((4, 16, 16, 3), np.float32), rng.random((4, 32, 32, 3), np.float32))


def stepped(cfg, batch, steps=1):
    """(states 0 ... `steps`, metrics of every step, the method); the same config is compiled once."""
    key = configs.to_json(cfg)
    if key not in DONE:
        method = methods.make(cfg)
        states, metrics, step = [quick(method.init)(jax.random.key(0))], [], quick(method.step)
        for _ in range(steps):
            state, values = step(states[-1], method.frozen, batch)
            states, metrics = [*states, state], [*metrics, values]
        DONE[key], STEPS[key] = (states, metrics, method), step
    return DONE[key]


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def moved(states, name):
    return not equal(states[0].nets[name].params, states[-1].nets[name].params)


def test_the_third_stage_is_the_sum_and_moves_all_but_the_teacher(room, batch):
    cfg = tiny.sdakd(room)
    states, (m,), method = stepped(cfg, batch)
    assert set(states[0].nets) == {'student', 'adapt', 'disc'} and all(moved(states, name) for name in states[0].nets)
    expected = m['l1'] + cfg.method.w_features * m['features'] + cfg.method.w_adv * m['adversarial']
    np.testing.assert_allclose(m['loss/student'], expected, rtol=1e-6)
    assert set(method.frozen) == {'features', 'disc', 'teacher', 'sight'}
    assert equal(method.frozen['teacher'], exports.read(room / 'teacher')[1])
    assert {k for k in m if k.startswith('disc_')} == {f'disc_{k}' for k in ('real', 'fake', 'accuracy', 'balance')}


def test_features_are_compared_by_an_mlp_and_scaled_by_the_teachers_deviation(room, batch):
    """Of four taps, by hand from the networks' own: at the start, when an MLP makes zeros of everything, and with drawn ones."""
    cfg, rng = tiny.sdakd(room), np.random.default_rng(0)
    (state, _), (m,), method = stepped(cfg, batch)
    student, teacher = nets.student(cfg).module, models.load(cfg.teacher)
    _, ours = student.apply({'params': state.nets['student'].params}, batch.lr)
    _, theirs = teacher.module.apply(teacher.variables, batch.lr)
    names = ('block1', 'block2', 'block3', 'body')
    np.testing.assert_allclose(m['features'], np.mean([np.square(theirs[k]).mean() / np.var(theirs[k]) for k in names]), rtol=1e-4)

    mlp = jax.tree.map(lambda x: np.float32(x + 0.3 * rng.standard_normal(x.shape)), state.nets['adapt'].params)
    state = state._replace(nets=state.nets | {'adapt': state.nets['adapt']._replace(params=mlp)})
    _, m = STEPS[configs.to_json(cfg)](state, method.frozen, batch)
    values = []
    for i, name in enumerate(names, 1):
        first, second = mlp[f'tap{i}_1'], mlp[f'tap{i}']
        x = np.maximum(ours[name] @ first['kernel'][0, 0] + first['bias'], 0) @ second['kernel'][0, 0] + second['bias']
        values.append(np.square((x - theirs[name]) / np.std(theirs[name])).mean())
    np.testing.assert_allclose(m['features'], np.mean(values), rtol=1e-4)


def test_in_the_second_stage_the_student_does_not_hear_of_its_critic(room, batch):
    """It is trained as without one, bit for bit, and the critic learns."""
    warm, alone = (stepped(tiny.sdakd(room, **v), batch)[0] for v in ({'w_adv': 0.0}, {'critic': 'none'}))
    assert moved(warm, 'disc') and set(alone[0].nets) == {'student', 'adapt'}
    for name in ('student', 'adapt'):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), warm[-1].nets[name].params, alone[-1].nets[name].params
        )


def test_the_first_stage_is_the_supervised_loss_alone(room, batch):
    states, (m,), method = stepped(tiny.sdakd(room, critic='none', w_features=0.0), batch)
    assert set(states[0].nets) == {'student'} and m['loss/student'] == m['l1'] and 'teacher' not in method.frozen


@pytest.mark.parametrize('kind', ['teacher_frozen', 'teacher_tuned', pytest.param('wide', marks=pytest.mark.slow)])
def test_whose_critic_judges(kind, room, batch):
    cfg = tiny.sdakd(room, critic=kind, w_features=0.0)
    states, (m,), method = stepped(cfg, batch)
    export = exports.read(room / 'disc')[1]
    np.testing.assert_allclose(m['loss/student'], m['l1'] + cfg.method.w_adv * m['adversarial'], rtol=1e-6)
    if kind == 'teacher_frozen':
        assert set(states[0].nets) == {'student'} and equal(method.frozen['disc'], export)
        critic, student = models.network(room / 'disc')[0], nets.student(cfg).module
        fake = critic.apply(export, student.apply({'params': states[0].nets['student'].params}, batch.lr)[0])[0]
        np.testing.assert_allclose(m['adversarial'], np.logaddexp(0, -np.float64(fake)).mean(), rtol=1e-4)
    else:
        assert moved(states, 'disc') and method.nets['disc'].module.features == 8
        assert equal(states[0].nets['disc'].params, export['params']) == (kind == 'teacher_tuned')


@pytest.mark.parametrize('moving', ['student', 'disc', pytest.param('adapt', marks=pytest.mark.slow)])
def test_a_loss_moves_its_own_network_only(room, batch, moving, monkeypatch):
    """What the joint step of SGD does to a network is the gradient of its own loss in its own parameters."""
    captured, original = {}, methods.sdakd.steps.players

    def keep(losses, optimisers, **options):
        captured.update(losses=losses)
        return original(losses, optimisers, **options)

    cfg = tiny.sdakd(room)
    (state, after), _, _ = stepped(cfg, batch)
    monkeypatch.setattr(methods.sdakd.steps, 'players', keep)
    method = methods.make(cfg)
    ctx = Ctx(batch, method.frozen, {k: n.vars for k, n in state.nets.items()}, state.key, state.step)
    params = {k: n.params for k, n in state.nets.items()}
    own = quick(jax.grad(lambda p: captured['losses']({**params, moving: p}, ctx)[0][moving]))(params[moving])
    expected = jax.tree.map(lambda p, g: p - cfg.optimizer.learning_rate * g, params[moving], own)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.nets[moving].params, expected)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(own)) > 1e-4


@pytest.mark.parametrize('arm', tiny.axes('sdakd')['arm'])
def test_arms_have_as_many_steps_and_carry_what_two_stages_train(arm):
    """Of the study's recipe; who trains what is asked of the methods' own fields."""
    found = stages.planned(tiny.experiment('sdakd', f'faces64,{arm}'))
    assert sum(stage.steps for stage in found) == 480
    assert {stage.method.scales for stage in found} == {'8+4'}  # rivals see what the others see
    trains = [{'student'}, {'student'}]
    for before, now in zip([None, *found], found, strict=False):
        own = {'student'}
        if now.method.name == 'sdakd':
            own |= {'adapt'} if now.method.w_features else set()
            own |= {'disc'} if now.method.critic in ('student', 'wide', 'teacher_tuned') else set()
        trains = [trains[1], own]
        shared = trains[0] & own if before and before.method.name == now.method.name == 'sdakd' else {'student'}
        assert set(now.carry) == (shared if before else set())
    assert found[-1].method.get('critic', 'rival') == {
        **dict.fromkeys(('sdakd', 'no_features', 'no_stage1'), 'student'),
        **{'tuned': 'teacher_tuned', 'frozen': 'teacher_frozen', 'wide': 'wide', 'scratch': 'wide', 'none': 'none'},
    }.get(arm, 'rival')


def test_a_network_with_a_condition_fits_the_frame(room):
    """GCFSR of 32 px against its own critic: a step keeps every form, adapters have the widths of the teacher's at two sizes."""
    config = stages.planned(tiny.experiment('sdakd', 'smoke_faces'))[-1]
    args = {'scale': 4, 'out_size': 32, 'narrow': 1 / 32, 'full_scale': 8, 'style': 8}
    net = models.build('gcfsr', **args)
    exports.save(room / 'gcfsr', name='gcfsr', args=args, variables=drawn(net, np.zeros((1, 8, 8, 3))))
    with config.unlocked():
        config.teacher, config.method.content.weight = str(room / 'gcfsr'), 0.0
    method, hr = methods.make(config), np.zeros((4, 32, 32, 3), np.float32)
    assert method.nets['adapt'].args == {'inputs': (8, 8), 'widths': (16, 16), 'layers': 2}
    assert method.frozen['sight'].shape == (2, 32, 32) and config.method.r1.weight == 2.5
    state = jax.eval_shape(method.init, jax.random.key(0))
    after, metrics = jax.eval_shape(method.step, state, method.frozen, Batch(hr[:, ::4, ::4], hr))
    jax.tree.map(lambda a, b: np.testing.assert_equal((a.shape, a.dtype), (b.shape, b.dtype)), state, after)
    assert {'features', 'disc_r1', 'disc_balance'} <= set(metrics)


@pytest.mark.slow  # the shapes of 23 blocks take seconds
def test_default_taps_are_equally_far_apart():
    """Of RRDBNet's 23 blocks those of the fact sheet; a chain without a body ends with its last block."""
    rrdb, srvgg = models.build('rrdb', features=4, growth=2), models.build('srvgg', features=4)
    assert taps.quarters('rrdb', rrdb) == ('block6', 'block12', 'block18', 'body')
    assert taps.quarters('srvgg', srvgg) == ('block4', 'block8', 'block12', 'block16')
    pairs = taps.paired('', ('srvgg', srvgg), ('rrdb', rrdb), taps.quarters)
    assert pairs.names[0] == ('block4', 'block6') and pairs.names[3] == ('block16', 'body')


def test_scaled_features_have_no_unit():
    a, b = np.random.default_rng(1).normal(size=(2, 2, 3, 3, 4))
    with jax.enable_x64(True):
        value = features.scaled(a, b, deviation=np.std(b))
        np.testing.assert_allclose(value, np.square(a - b).mean() / np.var(b), rtol=1e-12)
        np.testing.assert_allclose(features.scaled(7 * a, 7 * b, deviation=np.std(7 * b)), value, rtol=1e-12)
    with pytest.raises(ValueError, match=r'deviation has shape \(4,\), must be a scalar'):
        features.scaled(a, b, deviation=np.ones(4))


@pytest.mark.parametrize(
    ('values', 'line'),
    [
        ({'critic': 'teacher'}, r"config.method.critic='teacher' is unknown"),
        ({'critic': 'teacher_tuned', 'teacher_disc': ''}, 'config.method.teacher_disc is empty: set the export'),
        ({'critic': 'teacher_tuned', 'teacher_disc': 'TEACHER'}, r'teacher is a edsr, no discriminator'),
        ({'critic': 'teacher_frozen', 'w_adv': 0.0}, "does nothing: use critic='none'"),
        ({'sigma': 'run'}, r"config.method.sigma='run' is unknown"),
        ({'taps': 'block9'}, r"the student \(edsr\) has no tap 'block9'"),
    ],
)
def test_what_cannot_be_meant_is_named(room, values, line):
    values = {k: str(room / 'teacher') if v == 'TEACHER' else v for k, v in values.items()}
    with pytest.raises(ValueError, match=line):
        methods.make(tiny.sdakd(room, **values))


def flat(path):
    return exports.flatten(exports.read(path)[1])


def staged(room, **values):
    """The three stages, two steps each, with everything that a stage carries; R1 in the last."""
    cfg = tiny.sdakd(room, **values)
    cfg.steps = cfg.log_every = cfg.eval_every = 2
    cfg.save_every, cfg.ema_decay, cfg.export = 1, 0.9, 'latest'
    cfg.optimizer = recipes.adam(1e-3)
    row = lambda **of: recipes.block({**cfg.method.to_dict(), **of})
    cfg.stages = (
        recipes.block(name='supervised', method=row(critic='none', w_features=0.0)),
        recipes.block(name='features', method=row(w_adv=0.0), carry=('student',)),
        recipes.block(name='adversarial', method=row(r1={'weight': 1.0, 'every': 2}), carry=('student', 'adapt', 'disc')),
    )
    return cfg


@pytest.mark.slow
def test_three_stages_go_on_after_kills_inside_them_and_between(room, tmp_path, monkeypatch):
    """Bit for bit; student and critic leave the run, adapters do not."""
    from kdsr import carry, train

    stages.run(staged(room), tmp_path / 'whole')
    take = train.take
    for stage in ('supervised', 'features', 'adversarial'):

        def killed(pending, progress, steps, stage=stage):
            if pending and pending[0] == 2 and (tmp_path / 'killed' / stage / 'config.json').exists():
                raise KeyboardInterrupt
            return take(pending, progress, steps)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(train, 'take', killed)
            stages.run(staged(room), tmp_path / 'killed')
        if stage != 'adversarial':  # at the border to the next one, before anything was carried over
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(carry, 'over', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
                stages.run(staged(room), tmp_path / 'killed')
    stages.run(staged(room), tmp_path / 'killed')
    for stage, names in (('features', ('student', 'student_ema', 'disc')), ('adversarial', ('student', 'student_ema', 'disc'))):
        assert sorted(p.name for p in (tmp_path / 'whole' / stage / 'export').iterdir()) == sorted(names)
        for name in names:
            whole, again = (flat(tmp_path / run / stage / 'export' / name) for run in ('whole', 'killed'))
            jax.tree.map(np.testing.assert_array_equal, whole, again)
    before, after = (flat(tmp_path / 'whole' / stage / 'export' / 'disc') for stage in ('features', 'adversarial'))
    assert before.keys() == after.keys() and not equal(before, after)
