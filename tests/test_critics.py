"""Critics: the gradient penalty and its factor, lazy and on several devices, what the logs say, the two baselines' players."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from arrays import drawn, quick

from kdsr import critics, methods, models, nets, recipes
from kdsr.losses import adversarial, perceptual, pixel
from kdsr.methods import dcd
from kdsr.models import exports, vgg
from kdsr.types import Batch, Ctx

RNG = np.random.default_rng(0)


@pytest.fixture(scope='module')
def game():
    """(block with R1, a small critic as a network to train, its params, real and generated images)."""
    net = models.build('own.critic', size=8)
    real, fake = np.float32(RNG.random((2, 4, 8, 8, 3)))
    cfg = recipes.block({'r1': {'weight': 10.0, 'every': 4}})
    disc = nets.trained('own.critic', {'size': 8}, recipes.base(), 'here')
    return cfg, disc, drawn(net, real[:1])['params'], real, fake


def test_lazy_r1_has_half_its_weight_in_the_mean(game):
    """In every fourth step four times as heavy: 10/2 * 4 * E|gradient|^2, as GCFSR's 80 is 10/2 * 16."""
    cfg, disc, params, real, fake = game

    def losses(step, weight):
        m = recipes.block({'r1': {**cfg.r1.to_dict(), 'weight': weight}})
        ctx = Ctx(Batch(fake, real), {}, {'disc': {}}, jax.random.key(0), step)
        found = critics.played(m, critics.GAMES['vanilla'], disc, {'disc': params}, ctx, real, fake)
        return found.against, found.seen.get('disc_r1')

    run = quick(losses, static_argnums=1)
    plain, none = run(0, 0.0)
    expected = adversarial.r1(lambda x: disc.module.apply({'params': params}, x)[0].mean((1, 2, 3)), real)
    assert none is None and expected > 1e-6
    for step in range(5):
        against, seen = run(step, 10.0)
        due = step % 4 == 0
        np.testing.assert_allclose(against - plain, 5 * 4 * expected * due, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(seen, 4 * expected * due, rtol=1e-4)


def test_what_the_logs_say_by_hand(game):
    """Logits of two real and four generated images."""
    real, fake = np.float32([2, -1]), np.float32([-3, 1, -1, -2])
    ctx = Ctx(None, {}, {}, None, 0)
    told = critics.verdicts(jnp.asarray(real), jnp.asarray(fake), ctx)
    sigmoid = lambda z: 1 / (1 + np.exp(-np.float64(z)))
    bce = lambda z, label: -np.log(sigmoid(z) if label else 1 - sigmoid(z)).mean()
    wanted = {'real': sigmoid(real).mean(), 'fake': sigmoid(fake).mean(), 'accuracy': (1 / 2 + 3 / 4) / 2}
    wanted |= {'balance': abs(bce(fake, 1) - bce(fake, 0))}
    assert told.keys() == {f'disc_{k}' for k in wanted}
    for name, value in wanted.items():
        np.testing.assert_allclose(told[f'disc_{name}'], value, rtol=1e-6)


def test_style_and_variation_by_hand():
    a, b = RNG.normal(size=(2, 2, 3, 4, 5))
    gram = lambda x: np.stack([f.reshape(-1, 5).T @ f.reshape(-1, 5) for f in x]) / (3 * 4 * 5)
    with jax.enable_x64(True):
        np.testing.assert_allclose(perceptual.style({'x': a}, {'x': b}), np.abs(gram(a) - gram(b)).mean(), rtol=1e-12)
        # two devices equal one: it is a mean over the batch, though a sum over pixels
        np.testing.assert_allclose(pixel.total_variation(a), np.mean([pixel.total_variation(x[None]) for x in a]), rtol=1e-12)
        ramp = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 5, 1))[None]
        assert pixel.total_variation(ramp) == 15  # three steps of 1 in each of five columns


# ---- the two baselines


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """A teacher, its critic and a perceptual network, drawn at once: models.init would draw array by array."""
    path, lr, hr = tmp_path_factory.mktemp('baselines'), np.zeros((1, 16, 16, 3)), np.zeros((1, 32, 32, 3))
    args = {'teacher': ('edsr', {'scale': 2, 'blocks': 3, 'features': 12}, lr)}
    args |= {'disc': ('own.critic', {'size': 32, 'features': 8}, hr), 'vgg': ('vgg', {'depth': 16, 'taps': ['relu1_2']}, hr)}
    for folder, (name, values, example) in args.items():
        net = vgg.VGG(16, ('relu1_2',)) if name == 'vgg' else models.build(name, **values)
        exports.save(path / folder, name=name, args=values, variables=drawn(net, example))
    return path


@pytest.fixture(scope='module')
def batch():
    return Batch(RNG.random((2, 16, 16, 3), np.float32), RNG.random((2, 32, 32, 3), np.float32))


def config(room, name, **values):
    found = tiny.config(room / 'images', room / 'teacher', student=recipes.model('edsr', blocks=1, features=4))
    look = {'network': str(room / 'vgg'), 'taps': 'relu1_2', 'tap': 'relu1_2', 'style': 100.0, 'image': 10.0}
    found.method = {
        'name': name, 'content': {'weight': 0.0}, 'look': look, 'taps': 'block1,body',
        'discriminator': {'name': 'own.critic', 'features': 4}, 'wide': {'features': 6}, **values,
    }  # fmt: skip
    return found


def stepped(cfg, batch):
    method = methods.make(cfg)
    state = quick(method.init)(jax.random.key(0))
    step = quick(method.step)
    return method, state, *step(state, method.frozen, batch), step(state, method.frozen, batch._replace(hr=1 - batch.hr))


def apart(before, after, name):
    pairs = zip(*(jax.tree.leaves(s.nets[name].params) for s in (before, after)), strict=True)
    return max(float(jnp.abs(a - b).max()) for a, b in pairs)


@pytest.mark.parametrize(
    ('name', 'values', 'trained'),
    [
        ('dcd', {'form': 'collaborative'}, ['student', 'teacher', 'disc', 'adapt']),
        ('dcd', {'form': 'fixed'}, ['student', 'adapt']),
        ('omgd', {'deep': {'blocks': 2}}, ['student', 'wide', 'deep', 'adapt', 'disc_wide', 'disc_deep']),
        ('omgd', {'w_channels': 0.0}, ['student', 'wide', 'disc_wide']),
    ],
)
def test_who_plays(room, batch, name, values, trained):
    """And a step keeps every form of its state; adapters stay at home."""
    values |= {'teacher_disc': str(room / 'disc')} if name == 'dcd' else {}
    method = methods.make(config(room, name, **values))
    assert list(method.nets) == trained and [n for n in trained if not method.nets[n].exported] == ['adapt'] * ('adapt' in trained)
    state = jax.eval_shape(method.init, jax.random.key(0))
    after, _ = jax.eval_shape(method.step, state, method.frozen, batch)
    jax.tree.map(lambda a, b: np.testing.assert_equal((a.shape, a.dtype), (b.shape, b.dtype)), state, after)


def test_a_critic_of_one_size_is_shown_features_of_its_size(room, batch):
    """SRGAN's has dense layers; that of convolutions alone sees them as they are."""
    cfg = config(room, 'dcd', discriminator={'features': 4, 'hidden': 8})
    method = methods.make(cfg)
    critic = method.nets['disc'].module
    assert not dcd.takes(critic, batch.lr) and dcd.takes(critic, batch.hr)
    assert dcd.takes(models.build('own.critic', size=32), batch.lr)
    _, metrics = jax.eval_shape(method.step, jax.eval_shape(method.init, jax.random.key(0)), method.frozen, batch)
    assert metrics['dcd'].shape == ()


@pytest.mark.slow
@pytest.mark.parametrize('form', ['collaborative', 'fixed'])
def test_dcd_is_the_papers_sum(room, batch, form):
    cfg = config(room, 'dcd', form=form, teacher_disc=str(room / 'disc'))
    method, before, after, m, _ = stepped(cfg, batch)
    w = cfg.method
    expected = 100 * m['style'] + 10 * m['look'] + m['dcd'] + 0.1 * m['adversarial']
    np.testing.assert_allclose(m['loss/student'], expected, rtol=1e-5)
    beside = {'teacher', 'disc'} if form == 'collaborative' else set()
    assert set(before.nets) == {'student', 'adapt'} | beside and 'discriminator' in w
    assert all(apart(before, after, name) > 0 for name in before.nets)
    assert [name for name, net in method.nets.items() if net.exported] == [n for n in method.nets if n != 'adapt']
    assert m['dcd'] > 0 and ('lift' in method.frozen)


@pytest.mark.slow
def test_omgd_gives_its_student_no_truth_and_no_critic(room, batch):
    cfg = config(room, 'omgd', deep={'blocks': 2})
    method, before, after, m, (other, n) = stepped(cfg, batch)
    assert list(method.nets) == ['student', 'wide', 'deep', 'adapt', 'disc_wide', 'disc_deep']
    like = lambda t: 100 * m[f'{t}_style'] + 10 * m[f'{t}_look'] + 10 * (1 - m[f'{t}_ssim']) + 1e-5 * m[f'{t}_tv']
    np.testing.assert_allclose(m['loss/student'], like('wide') + like('deep') + 100 * m['channels'], rtol=1e-5)
    assert all(apart(before, after, name) > 0 for name in before.nets)
    for name in ('student', 'adapt'):  # another truth changes teachers and critics, not them
        assert apart(after, other, name) == 0 and apart(before, after, name) > 0
    assert apart(after, other, 'wide') > 0 and m['loss/student'] == n['loss/student']


def test_a_teacher_without_fields_of_its_own_is_twice_as_wide(room, capsys):
    cfg = config(room, 'omgd', wide={})
    teacher, student = nets.beside(cfg, 'wide').module, nets.student(cfg).module
    assert teacher.features == 2 * student.features and 'config.method.wide is empty' in capsys.readouterr().err
