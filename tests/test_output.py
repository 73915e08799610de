"""Output distillation: what it compares and who sees what; a teacher that is a folder of its pictures, by any method that can."""

import functools

import jax
import numpy as np
import pytest
import tiny

from kdsr import compiled, methods, models, nets, recipes, settings, stages
from kdsr.data import imitated, pipeline, sources
from kdsr.models import exports, perceptual
from kdsr.teachers import taught
from kdsr.teachers.teacher import Teacher
from kdsr.types import Batch

TWICE = Teacher('twice', 'repeats pixels', 2, lambda x: np.repeat(np.repeat(x, 2, 1), 2, 2))
CRITIC = {'features': 4, 'hidden': 16}


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """Training pictures, a teacher and a perceptual network."""
    return tiny.room(tmp_path_factory.mktemp('output'))


@pytest.fixture(scope='module')
def batch():
    rng = np.random.default_rng(0)
    return Batch(rng.random((4, 16, 16, 3), np.float32), rng.random((4, 32, 32, 3), np.float32))


def config(room, **method):
    """A x2 run; fields of the method's block that differ."""
    found = tiny.config(room / 'images', room / 'teacher', student=recipes.model('srvgg', features=6, blocks=1))
    found.method = {'name': 'output', 'content': {'network': str(room / 'vgg'), 'tap': 'relu1_2', 'weight': 0.0}, **method}
    return found


def stepped(cfg, *batches):
    """(state before, [(state after a step, its metrics)] by each of the batches)"""
    method = methods.make(cfg)
    state, step = method.init(jax.random.key(0)), compiled.jit(method.step)
    return state, [step(state, method.frozen, batch) for batch in batches]


def same(a, b, net='student'):
    return all(np.array_equal(x, y) for x, y in zip(*(jax.tree.leaves(s.nets[net].params) for s in (a, b)), strict=True))


def test_it_is_the_weighted_sum_of_two_distances(room, batch):
    cfg = config(room, w_pixel=0.7, w_truth=0.2, pixel_range=255.0)
    state, [(_, metrics)] = stepped(cfg, batch)
    sr = np.asarray(nets.student(cfg).module.apply({'params': state.nets['student'].params}, batch.lr)[0])
    tr = np.asarray(models.load(cfg.teacher)(batch.lr))
    theirs, truth = (255 * np.abs(sr - image).mean() for image in (tr, batch.hr))
    np.testing.assert_allclose([metrics['l1'], metrics['truth']], [theirs, truth], rtol=1e-4)
    np.testing.assert_allclose(metrics['loss/student'], 0.7 * theirs + 0.2 * truth, rtol=1e-4)


def test_without_w_truth_nobody_reads_the_ground_truth(room, batch):
    _, [(after, _), (other, _)] = stepped(config(room, w_truth=0.0), batch, batch._replace(hr=1 - batch.hr))
    assert set(after.nets) == {'student'} and same(after, other)


def test_the_critic_sees_the_teachers_picture_and_never_the_truth(room, batch):
    cfg = config(room, w_truth=0.0, w_adv=0.1, discriminator=CRITIC)
    cfg.teacher = 'taught'
    first = batch._replace(extra={'teacher': batch.hr})
    _, [(after, _), (unseen, _), (seen, _)] = stepped(
        cfg, first, first._replace(hr=1 - batch.hr), first._replace(extra={'teacher': 1 - batch.hr})
    )
    assert set(after.nets) == {'student', 'disc'}
    assert same(after, unseen) and same(after, unseen, 'disc') and not same(after, seen, 'disc')


def test_content_compares_features_with_the_teachers(room, batch):
    cfg = config(room, w_pixel=0.0, w_truth=0.0)
    cfg.method['content']['weight'] = 0.3
    cfg.teacher = 'taught'
    state, [(_, metrics)] = stepped(cfg, batch._replace(extra={'teacher': batch.hr}))
    sr = nets.student(cfg).module.apply({'params': state.nets['student'].params}, batch.lr)[0]
    vgg, variables = perceptual.load(str(room / 'vgg'), taps=('relu1_2',))
    found = [np.asarray(vgg.apply(variables, image)['relu1_2']) for image in (sr, batch.hr)]
    np.testing.assert_allclose(metrics['loss/student'], 0.3 * np.square(found[0] - found[1]).mean(), rtol=1e-3)


def compressed(room):
    found = config(room)
    found.method = {'name': 'compressed_esrgan', 'mode': 'comparative', 'clip': True}
    return found


PICTURES = {'output': config, 'compressed_esrgan': compressed, 'srgan_kd': functools.partial(tiny.gan, technique='gan2g')}


@pytest.mark.parametrize('name', PICTURES)
def test_the_teachers_pictures_teach_what_the_teacher_in_the_step_does(room, batch, name):
    cfg = PICTURES[name](room)
    _, [(asked, _)] = stepped(cfg, batch)
    theirs = np.asarray(models.load(cfg.teacher)(batch.lr))
    cfg.teacher = 'taught'
    _, [(shown, _)] = stepped(cfg, batch._replace(extra={'teacher': theirs}))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), asked.nets, shown.nets)
    assert not jax.tree.leaves(methods.make(cfg).frozen['teacher']), 'no network is kept'


def test_a_method_that_needs_the_network_says_so(room):
    cfg = tiny.config(room / 'images', 'taught')
    with pytest.raises(ValueError, match="pictures alone, method 'fakd' needs the network"):
        methods.make(cfg)


@pytest.fixture(scope='module')
def pictures(room):
    """What TWICE made of the training pictures, with the truth."""
    taught.make(TWICE, str(room / 'images'), room / 'taught', taught.Options())
    return room / 'taught'


@pytest.mark.parametrize('workers', [0, 1])
def test_a_batch_holds_lr_truth_and_picture_of_one_place(pictures, tmp_path, workers):
    source = sources.folder(str(pictures), scale=2, cache_dir=str(tmp_path))
    three = imitated.imitated(source, 2, str(tmp_path))
    batches = pipeline.train_batches(three, scale=2, patch=16, batch=4, seed=3, workers=workers)
    for lr, hr, extra in (next(batches) for _ in range(2)):
        np.testing.assert_array_equal(extra['teacher'], TWICE.fn(lr))
        assert 0.01 < np.abs(hr - extra['teacher']).mean() < 0.2, 'the truth, of the same place'
    batches.close()


def test_where_the_truth_is_unknown_the_picture_stands_for_it(room, tmp_path, caplog):
    taught.make(TWICE, str(room / 'images'), tmp_path / 'taught', taught.Options(truth=False))
    source = sources.folder(str(tmp_path / 'taught'), scale=2, cache_dir=str(tmp_path))
    truth, _, picture = imitated.imitated(source, 2, str(tmp_path)).read(1)
    assert np.array_equal(truth, picture) and 'of 6 of 6 images the truth is unknown' in caplog.text


def test_what_is_not_taught_is_refused_with_the_remedy(room, pictures, tmp_path):
    plain = sources.folder(str(room / 'images'), scale=2, cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match='python -m kdsr.teach TEACHER makes them'):
        imitated.imitated(plain, 2, str(tmp_path))
    other = sources.folder(str(pictures), scale=4, cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match="has no LR of scale 4: set config.scale to the teacher's"):
        imitated.imitated(other, 4, str(tmp_path))
    cfg = config(room)
    cfg.teacher, cfg.data.path, cfg.data.degradation = 'taught', str(pictures), {'preset': 'jpeg'}
    with pytest.raises(ValueError, match="other LR than config.teacher='taught' has pictures of"):
        stages.run(cfg, tmp_path / 'run')


def test_a_run_by_pictures_alone(pictures, room, tmp_path):
    cfg = config(room)
    cfg.teacher, cfg.data.path = 'taught', str(pictures)
    found = stages.run(cfg, tmp_path / 'run')
    assert set(found['cost']) == {'student'}, 'no network is the teacher'
    assert {'psnr_y', 'teacher_psnr_y'} <= set(found['student']['validation/x2']) and 'psnr_y' in found['teacher']['validation/x2']
    assert exports.read(tmp_path / 'run')[0]['model'] == 'srvgg'


@pytest.mark.parametrize('scale', [1, 2, 3, 8])
def test_the_recipe_has_a_student_of_every_scale(scale):
    found = settings.read(f'{tiny.EXPERIMENTS / "distil.py"}:taught', [f'scale={scale}'])[0]
    for words in tiny.axes('distil')['student']:
        block = settings.read(f'{tiny.EXPERIMENTS / "distil.py"}:taught,{words}', [])[0].student
        net = models.build(block.name, scale=scale, **block.args)
        out = jax.eval_shape(
            lambda x, net=net: net.init_with_output(jax.random.key(0), x)[0][0], np.zeros((1, 8, 8, 3), np.float32)
        )
        assert out.shape == (1, 8 * scale, 8 * scale, 3)
    assert found.scale == scale
