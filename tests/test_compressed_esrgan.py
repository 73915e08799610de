"""Compressed ESRGAN: what its two modes compare, who sees what; the blend of two networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from kdsr import compiled, methods, models, nets, recipes
from kdsr import config as configs
from kdsr.models import discriminator_esrgan, exports
from kdsr.types import Batch


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """Training pictures, a teacher and a perceptual network."""
    return tiny.room(tmp_path_factory.mktemp('compressed'))


@pytest.fixture(scope='module')
def batch():
    rng = np.random.default_rng(0)
    return Batch(rng.random((4, 16, 16, 3), np.float32), rng.random((4, 32, 32, 3), np.float32))


def config(room, mode, **values):
    tiny_config = tiny.config(room / 'images', room / 'teacher', student=recipes.model('rrdb_student', features=8, blocks=2))
    tiny_config.method = {
        'name': 'compressed_esrgan', 'mode': mode, 'clip': True, 'pixel_range': 255.0, 'w_pixel': 0.5, 'w_adv': 1e-2,
        'adversarial': 'relativistic', 'discriminator': {'name': 'esrgan', 'features': 4, 'hidden': 8}, 'disc_init': '',
        'content': {'network': str(room / 'vgg'), 'tap': 'relu1_2', 'norm': 'l2', 'weight': 0.1},
    }  # fmt: skip
    tiny_config.method.update(values)
    return tiny_config


@pytest.fixture(scope='module')
def first_steps(room, batch):
    """mode -> (first state, [(state after one step, its metrics)] with the ground truth and with another)."""
    found = {}
    for mode in ('comparative', 'adversarial'):
        method = methods.make(config(room, mode))
        state, step = method.init(jax.random.key(0)), compiled.jit(method.step)
        found[mode] = state, [step(state, method.frozen, batch._replace(hr=hr)) for hr in (batch.hr, 1 - batch.hr)]
    return found


def test_comparative_is_the_squared_distance_of_the_clipped_images(room, batch, first_steps):
    cfg, (state, [(after, metrics), _]) = config(room, 'comparative'), first_steps['comparative']
    assert set(after.nets) == {'student'}
    student = nets.student(cfg).module.apply({'params': state.nets['student'].params}, batch.lr)[0]
    teacher = models.load(cfg.teacher)(batch.lr)
    expected = 255**2 * np.square(np.clip(student, 0, 1) - np.clip(teacher, 0, 1)).mean()
    np.testing.assert_allclose(metrics['distil'], expected, rtol=1e-4)
    np.testing.assert_allclose(metrics['loss/student'], 0.5 * expected, rtol=1e-4)


def test_comparative_never_reads_the_ground_truth(first_steps):
    _, [(after, _), (other, _)] = first_steps['comparative']
    jax.tree.map(np.testing.assert_array_equal, after.nets['student'], other.nets['student'])


def test_adversarial_is_the_sum_and_its_critic_never_reads_the_ground_truth(first_steps):
    state, [(after, m), (other, n)] = first_steps['adversarial']
    np.testing.assert_allclose(m['loss/student'], 0.5 * m['distil'] + m['content'] + 1e-2 * m['adversarial'], rtol=1e-6)
    assert m['content'] != n['content'] and m['loss/disc'] == n['loss/disc']
    jax.tree.map(np.testing.assert_array_equal, after.nets['disc'], other.nets['disc'])
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.nets['disc'].params, after.nets['disc'].params)
    assert max(jax.tree.leaves(moved)) > 0


def test_the_critic_starts_from_given_weights(room, batch, tmp_path):
    args = {'size': 32, 'features': 4, 'hidden': 8}
    variables = models.init(discriminator_esrgan.Discriminator(**args), jax.random.key(7), batch.hr[:1])
    exports.save(tmp_path / 'd', name='discriminator_esrgan', args=args, variables=variables)
    given = methods.make(config(room, 'adversarial', disc_init=str(tmp_path / 'd'))).init(jax.random.key(0)).nets['disc']
    jax.tree.map(np.testing.assert_array_equal, given.params, variables['params'])


def test_the_docstring_of_the_paper_recipe_names_its_values():
    """What it says of this side is what the config has; the other is E3_Distill_ESRGAN's train.py and config.yaml."""
    said = {field: values.split(maxsplit=1) for field, values in tiny.table('compressed_esrgan').items()}
    released = {
        'optimizer.eps': '1e-07',
        'data.augment': 'none',
        'method.content.network': "Keras' VGG19",
        'method.content.tap': 'conv5_4',
        'export': 'the last',
        'seed': '10',
    }
    assert said.keys() == released.keys()
    for mode in ('comparative', 'adversarial'):
        config = configs.flat(tiny.experiment('compressed_esrgan', f'{mode},paper').to_dict())
        for field, there in released.items():
            assert said[field][0] == str(config[field]) and said[field][1].startswith(there) and str(config[field]) != there
    assert config['method.disc_optimizer.eps'] == config['optimizer.eps'] and config['method.disc_init'] == ''
