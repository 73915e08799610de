"""Every network of a run is a citizen: a method and a network of one's own, exports of all players, carrying over, blending."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from kdsr import blend, carry, checkpoints, cost, export, methods, models, recipes, stages, train, upscale
from kdsr.models import exports


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """Training pictures and a teacher."""
    return tiny.room(tmp_path_factory.mktemp('players'))


def config(room, **values):
    """A x2 run of the throw-away method of tests/own, a few steps of Adam."""
    found = tiny.config(room / 'images', room / 'teacher', optimizer=recipes.adam(1e-3), export='latest')
    found.student, found.ema_decay = recipes.model('own.net', features=6), 0.9
    found.method = {
        'name': 'own.method',
        'discriminator': {'features': 4, 'hidden': 8},
        'disc_optimizer': recipes.adam(1e-4, b1=0.5),
    }
    found.update(values)
    return found


def flat(path):
    return exports.flatten(exports.read(path)[1])


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def die_at(monkeypatch, step):
    """Lets the loop end as a killed process does: nothing more is saved."""
    take = train.take

    def killed(pending, progress, steps):
        if pending and pending[0] == step:
            raise KeyboardInterrupt
        return take(pending, progress, steps)

    monkeypatch.setattr(train, 'take', killed)


@pytest.fixture(scope='module')
def whole(room):
    """An uninterrupted run."""
    stages.run(config(room), room / 'whole')
    return room / 'whole'


def test_a_throw_away_method_is_short_and_leaves_all_its_networks(whole, room):
    lines = (pathlib.Path(__file__).parent / 'own' / 'method.py').read_text().splitlines()
    assert len(lines) < 60
    assert sorted(p.name for p in (whole / 'export').iterdir()) == ['disc', 'student', 'student_ema']
    for name, model in (('student', 'own.net'), ('student_ema', 'own.net'), ('disc', 'discriminator_srgan')):
        net, variables, card = models.network(whole / 'export' / name)
        assert (card['model'], card['network'], card['steps']) == (model, name.removesuffix('_ema'), 4)
        outputs, taps = net.apply(variables, *(jnp.zeros(x.shape, x.dtype) for x in models.example(net)))
        assert np.isfinite(outputs).all() and models.taps(net) == {k: v.shape for k, v in taps.items()}
    assert flat(whole / 'export' / 'student')['counters/calls'] == 4  # whatever moves in training moves, not batch norm alone
    assert 'scores' in exports.read(whole)[0] and any(k.startswith('batch_stats/') for k in flat(whole / 'export' / 'disc'))


def test_it_goes_on_after_a_kill_as_if_there_had_been_none(whole, room, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        die_at(patch, 4)
        stages.run(config(room), tmp_path)
    assert not (tmp_path / 'export').exists() and (tmp_path / 'resume' / '2').is_dir()
    stages.run(config(room), tmp_path)
    for name in ('disc', 'student', 'student_ema'):
        equal(flat(tmp_path / 'export' / name), flat(whole / 'export' / name))


def test_its_discriminator_begins_another_run(whole, room):
    cfg = config(room)
    cfg.method.disc_init = str(whole / 'export' / 'disc')
    begun = methods.make(cfg).init(jax.random.key(1)).nets['disc']
    equal({'params': begun.params, **begun.vars}, exports.read(whole / 'export' / 'disc')[1])
    cfg.method.discriminator.features = 5
    with pytest.raises(ValueError, match=r'the weights of .*disc do not fit: batch_stats/bn2/mean is \(4,\), the model has \(5,\)'):
        methods.make(cfg).init(jax.random.key(1))


def test_each_network_has_the_optimiser_of_its_own(whole):
    rates = [line for line in map(json.loads, (whole / 'metrics.jsonl').read_text().splitlines()) if 'learning_rate/disc' in line][
        0
    ]
    assert [rates[f'learning_rate/{name}'] for name in ('student', 'adapt', 'disc')] == pytest.approx([1e-3, 1e-3, 1e-4])


def test_a_network_of_one_size_is_counted_exported_and_refused(whole, tmp_path):
    network = models.load(whole)
    assert models.only_size(network.module) == (16, 16) and cost.summary(network)['lr_shape'] == [1, 16, 16, 3]
    assert network(np.zeros((1, 16, 16, 3), np.float32)).shape == (1, 32, 32, 3)
    cards, failures = export.run(whole, ['stablehlo'], tmp_path / 'files')
    assert not failures and cards[0]['checks'][0]['input'] == [1, 16, 16, 3]
    with pytest.raises(ValueError, match=r'own.net\) enlarges images of 16x16 alone'):
        upscale.run([str(whole / 'samples')], tmp_path / 'large', model=whole)


def test_a_student_of_another_size_than_the_patches_is_refused(room, tmp_path):
    with pytest.raises(ValueError, match=r'own.net takes images of 16x16, config.patch is 12: they must be equal'):
        stages.run(config(room, patch=12), tmp_path)


def carrying(room, **second):
    """A run of two stages; the second goes on with the student and the critic of the first."""
    cfg = config(room)
    cfg.optimizer = recipes.adam(1e-3, schedule='cosine')
    block = {'name': 'second', 'carry': ('student', 'disc'), **second}
    cfg.stages = (recipes.block({'name': 'first'}), recipes.block(block))
    return cfg


@pytest.fixture(scope='module')
def carried(room):
    """An uninterrupted run of two stages."""
    stages.run(carrying(room), room / 'carried')
    return room / 'carried'


def last(folder, like):
    """The state of the last checkpoint in a stage's folder."""
    saved = checkpoints.Checkpoints(folder / 'resume')
    try:
        return saved.restore(like)[1]
    finally:
        saved.close()


def test_what_a_stage_carries_is_what_the_one_before_left(carried, room):
    """Parameters, collections, moments and averages, bit for bit; a schedule begins anew, and the adapter is a fresh one."""
    (_, cfg) = stages.planned(carrying(room))
    fresh = methods.make(cfg).init(jax.random.key(cfg.seed))
    before, begun = last(carried / 'first', fresh), carry.over(carried / 'first', cfg.carry, fresh)
    for name in ('student', 'disc'):
        equal(begun.nets[name][:2], before.nets[name][:2])
        counts = {jax.tree_util.keystr(k): v for k, v in jax.tree_util.tree_leaves_with_path(begun.nets[name].opt)}
        assert {k: int(v) for k, v in counts.items() if k.endswith('count')} == {'[0].count': 4, '[1].count': 0}
        equal(begun.nets[name].opt[0], before.nets[name].opt[0])
    equal(begun.ema, before.ema)
    equal(begun.nets['adapt'], fresh.nets['adapt'])
    assert int(begun.step) == 0


def test_a_kill_at_the_border_of_two_stages_changes_nothing(carried, room, tmp_path, monkeypatch):
    """Before the second stage has saved anything, and after."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(carry, 'over', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        stages.run(carrying(room), tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        die_at(patch, 4)
        stages.run(carrying(room), tmp_path)
    stages.run(carrying(room), tmp_path)
    for name in ('disc', 'student', 'student_ema'):
        equal(flat(tmp_path / 'second' / 'export' / name), flat(carried / 'second' / 'export' / name))


@pytest.mark.parametrize(
    'names, line',
    [
        (('student', 'critic'), r"this stage trains no network 'critic' \(networks: student, adapt, disc\)"),
        (('student',), r'config.carry needs .*resume, which was deleted'),
    ],
)
def test_what_cannot_be_carried_is_named(names, line, room, tmp_path):
    state = methods.make(config(room)).init(jax.random.key(0))
    with pytest.raises((ValueError, FileNotFoundError), match=line):
        carry.over(tmp_path, names, state)


def test_the_first_stage_has_nothing_to_carry(room):
    with pytest.raises(ValueError, match=r'the stage first has none before it'):
        cfg = carrying(room)
        cfg.stages[0].carry = ('student',)
        stages.planned(cfg)


def test_a_stage_is_not_trained_longer_under_one_that_took_its_networks(carried, room):
    cfg = carrying(room)
    cfg.optimizer = recipes.adam(1e-3)
    cfg.steps = 6
    found = [{'steps': 4, 'student': {'x': 1}}, {'steps': 4, 'student': {'x': 1}}]
    with pytest.raises(ValueError, match='has begun from its export'):
        stages.check_order(stages.planned(cfg), [carried / 'first', carried / 'second'], found)


def test_a_blend_lies_between_two_networks(room, tmp_path):
    """ESRGAN's network interpolation: 0.8 of one and 0.2 of the other."""
    other = tiny.teacher(tmp_path / 'other', seed=5)
    card = blend.blend(room / 'teacher', other, 0.8, tmp_path / 'blended')
    first, second, mixed = map(flat, (room / 'teacher', other, tmp_path / 'blended'))
    for key, value in mixed.items():
        np.testing.assert_allclose(value, 0.8 * first[key] + 0.2 * second[key], atol=1e-7)
    assert [source['share'] for source in card['blend']] == [0.8, pytest.approx(0.2)]
    assert models.load(tmp_path / 'blended').scale == 2
    with pytest.raises(FileExistsError, match='has files'):
        blend.blend(room / 'teacher', other, 0.8, tmp_path / 'blended')
    with pytest.raises(ValueError, match='only networks of equal form'):
        blend.blend(room / 'teacher', tiny.teacher(tmp_path / 'wide', features=8), 0.5, tmp_path / 'no')
    with pytest.raises(ValueError, match=r'--share=1.5 must be in \[0, 1\]'):
        blend.blend(room / 'teacher', other, 1.5, tmp_path / 'no')
