"""DUKD, contrastive distillation, PISR, wavelets and several teachers: what each step computes, against the released codes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from kdsr import compiled, consistency, history, methods, models, nets, parallel, recipes, stages
from kdsr.losses import contrastive, wavelet
from kdsr.models import bicubic, exports, privileged_encoder
from kdsr.types import Batch, Ctx


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """Training pictures, teachers and a perceptual network."""
    made = tiny.room(tmp_path_factory.mktemp('after'))
    tiny.teacher(made / 'other', seed=5)
    return made


@pytest.fixture(scope='module')
def batch():
    rng = np.random.default_rng(0)
    return Batch(rng.random((4, 16, 16, 3), np.float32), rng.random((4, 32, 32, 3), np.float32))


def stepped(cfg, batch, steps=1):
    """(state before, state after, metrics of the last step)"""
    method = methods.make(cfg)
    first = state = method.init(jax.random.key(0))
    step = compiled.jit(method.step)
    for _ in range(steps):
        state, metrics = step(state, method.frozen, batch)
    return first, state, metrics


l1 = lambda a, b: np.abs(np.float64(a) - np.float64(b)).mean()


def context(cfg, state, batch):
    return Ctx(batch, {}, {}, jax.random.fold_in(state.key, 0), jnp.int32(0))


# DUKD


def networks(cfg, state):
    """(student, teacher) as functions of images."""
    student = nets.student(cfg).module
    return lambda x: student.apply({'params': state.nets['student'].params}, x)[0], models.load(cfg.teacher)


def test_dukd_is_the_sum_of_the_papers_terms(room, batch):
    cfg = tiny.after_fakd(room, 'dukd', w_truth=5.0, zoom_in=2)
    state, _, metrics = stepped(cfg, batch)
    student, teacher = networks(cfg, state)
    clean, which = consistency.cells(context(cfg, state, batch), 2, 2, 0.3)
    small = bicubic.reduce(batch.lr, 2)
    zoom_in = l1(consistency.restored(student(consistency.changed(clean, which)), which), teacher(clean))
    first = 5 * l1(student(batch.lr), batch.hr) + l1(student(batch.lr), teacher(batch.lr))
    zoom_out = 5 * l1(student(small), batch.lr) + l1(student(small), teacher(small))
    np.testing.assert_allclose(metrics['loss/student'], first + zoom_in + zoom_out, rtol=1e-4)
    np.testing.assert_allclose([metrics['zoom_in'], metrics['zoom_out']], [zoom_in, zoom_out], rtol=1e-4)


def test_cells_are_pieces_of_the_truth_and_another_device_draws_the_same(batch):
    state = functools.partial(Ctx, frozen={}, vars={}, key=jax.random.key(3), step=jnp.int32(0))
    clean, which = consistency.cells(state(batch), 2, 3, 0.5)
    pieces = np.asarray(batch.hr).reshape(4, 2, 16, 2, 16, 3).transpose(0, 1, 3, 2, 4, 5).reshape(4, 4, 16, 16, 3)
    chosen = [[next(k for k in range(4) if np.array_equal(clean[4 * n + i], pieces[i, k])) for n in range(3)] for i in range(4)]
    assert all(len(set(one)) == 3 for one in chosen) and len({tuple(one) for one in chosen}) > 1 and which.shape == (12, 4)
    shared, _ = consistency.cells(state(batch), 2, 1, 0.5, shared=True)
    same = [next(k for k in range(4) if np.array_equal(shared[i], pieces[i, k])) for i in range(4)]
    assert len(set(same)) == 1
    halves = jax.vmap(lambda b: consistency.cells(state(b, axis='i'), 2, 1, 0.5)[0], axis_name='i')(
        Batch(batch.lr.reshape(2, 2, 16, 16, 3), batch.hr.reshape(2, 2, 32, 32, 3))
    )
    np.testing.assert_array_equal(halves.reshape(4, 16, 16, 3), clean[:4])


def test_the_released_step_takes_two_updates_with_a_stale_gradient(room, batch):
    cfg = tiny.after_fakd(room, 'dukd', updates='two')
    cfg.optimizer, cfg.ema_decay = recipes.adam(1e-2), 0.5
    state, after, _ = stepped(cfg, batch)
    student, teacher, rule = nets.student(cfg).module, models.load(cfg.teacher), optax.adam(1e-2)
    clean, which = consistency.cells(context(cfg, state, batch), 2, 1, 0.3)
    small, lr, hr = bicubic.reduce(batch.lr, 2), jnp.asarray(batch.lr), jnp.asarray(batch.hr)
    made = lambda p, x: student.apply({'params': p}, x)[0]
    mean = lambda a, b: jnp.abs(a - b).mean()
    first = lambda p: mean(made(p, lr), hr) + mean(made(p, lr), teacher(lr))

    def second(p):
        turned = consistency.restored(made(p, consistency.changed(clean, which)), which)
        return mean(turned, teacher(clean)) + mean(made(p, small), lr) + mean(made(p, small), teacher(small))

    before = state.nets['student'].params
    one = jax.grad(first)(before)
    updates, opt = rule.update(one, rule.init(before), before)
    middle = optax.apply_updates(before, updates)
    both = jax.tree.map(jnp.add, one, jax.grad(second)(middle))
    last = optax.apply_updates(middle, rule.update(both, opt, middle)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), after.nets['student'].params, last)
    average = jax.tree.map(lambda a, b: (a + b) / 2, before, last)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), after.ema['student'], average)


def test_what_dukd_cannot_do_is_one_line(room):
    for fields, reason in (({'zoom_in': 5}, 'an HR patch has 4 cells'), ({'cells': 'pixel'}, "cells='pixel'")):
        with pytest.raises(ValueError, match=reason):
            methods.make(tiny.after_fakd(room, 'dukd', **fields))
    cfg = tiny.after_fakd(room, 'dukd')
    cfg.patch = 15
    with pytest.raises(ValueError, match='config.patch=15 must be a multiple of 2'):
        methods.make(cfg)


# Contrastive


def compared(room, **values):
    return tiny.after_fakd(room, 'contrastive', features={'network': str(room / 'vgg'), 'taps': '2*relu1_2'}, **values)


def test_csd_compares_with_bicubic_images_of_the_batch(room, batch):
    cfg = compared(room, negatives='bicubic', count=3, w_changed=0.0, w_contrast=7.0)
    state, _, metrics = stepped(cfg, batch)
    student, teacher = networks(cfg, state)
    vgg, variables = models.perceptual.load(str(room / 'vgg'), taps=('relu1_2',))
    seen = functools.partial(vgg.apply, variables)
    worse = seen(bicubic.enlarge(batch.lr[:3], 2))['relu1_2']
    sr, tr = student(batch.lr), teacher(batch.lr)
    expected = contrastive.ratio(seen(sr), seen(tr), [{'relu1_2': worse[i : i + 1]} for i in range(3)], weights={'relu1_2': 2.0})
    np.testing.assert_allclose(metrics['contrast'], expected, rtol=1e-3)
    total = l1(sr, batch.hr) + l1(sr, tr) + 7 * expected
    np.testing.assert_allclose(metrics['loss/student'], total, rtol=1e-3)


def test_the_history_is_renewed_when_it_is_due_and_only_then(room, batch):
    cfg = compared(room, history={'every': 2, 'share': 0.9})
    cfg.ema_decay = 0.5
    first, one, _ = stepped(cfg, batch)
    _, two, metrics = stepped(cfg, batch, steps=2)
    jax.tree.map(np.testing.assert_array_equal, one.ema['history'], first.nets['student'].params)
    expected = jax.tree.map(lambda old, new: 0.1 * old + 0.9 * new, first.nets['student'].params, two.ema['student'])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), two.ema['history'], expected)
    assert {'truth', 'teacher', 'changed', 'contrast'} <= set(metrics)


def test_noisy_copies_are_within_range_and_grey_for_half(batch):
    grey = np.full((400, 8, 8, 3), 0.5, np.float32)
    (noisy,) = history.noisy(Ctx(Batch(grey, grey), {}, {}, jax.random.key(0), jnp.int32(0)), 1)
    off = np.asarray(noisy) - 0.5
    same = (np.ptp(off, -1).max((1, 2)) < 1e-6).mean()
    assert 0.4 < same < 0.6 and 0 <= noisy.min() and noisy.max() <= 1
    assert 12 / 255 < np.sqrt((off**2).mean()) < 20 / 255, 'deviations between 1 and 30 of 255: 17.6 in the square mean'


# PISR


def test_the_encoder_is_the_published_one():
    shapes = models.shapes(models.build('privileged_encoder', scale=2, channels=1))
    assert sum(np.prod(x.shape) for x in jax.tree.leaves(shapes['params'])) == 86_084
    shapes = models.shapes(models.build('privileged_estimator', width=56))
    assert sum(np.prod(x.shape) for x in jax.tree.leaves(shapes['params'])) == 12_770
    with jax.enable_x64(True):
        x, kernel = np.sin(np.arange(36.0)).reshape(1, 6, 6, 1), np.sin(0.1 * np.arange(25)).reshape(5, 5, 1, 1)
        found = privileged_encoder.strided(jnp.asarray(x), jnp.asarray(kernel), 2)
    np.testing.assert_allclose(found[0, 0, :, 0], [3.5544435500, 3.1993936230, -0.3405329269], atol=1e-9)


@pytest.mark.parametrize('s', [1, 2, 3, 4, 8])
def test_the_strided_convolution_is_jaxs(s):
    rng = np.random.default_rng(0)
    x, kernel = rng.random((2, 4 * s, 5 * s, 3), np.float32), rng.random((5, 5, 3, 2), np.float32)
    expected = jax.lax.conv_general_dilated(x, kernel, (s, s), ((2, 2), (2, 2)), dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    np.testing.assert_allclose(privileged_encoder.strided(x, kernel, s), expected[:, :4, :5], rtol=1e-4)


def test_pisr_in_two_stages_leaves_the_student_and_the_encoder(room, tmp_path):
    cfg = tiny.pisr(room)
    stages.run(cfg, tmp_path)
    assert sorted(p.name for p in (tmp_path / 'teacher/export').iterdir()) == ['encoder', 'student']
    assert [p.name for p in (tmp_path / 'student/export').iterdir()] == ['student']
    assert exports.read(tmp_path / 'teacher/export/encoder')[0]['model'] == 'privileged_encoder'


def test_pisr_without_an_encoder_says_so(room):
    with pytest.raises(ValueError, match='config.method.encoder: it is empty: set the encoder of the first stage'):
        cfg = tiny.after_fakd(room, 'pisr', role='student')
        cfg.student = recipes.model('edsr', blocks=3, features=12)
        methods.make(cfg)


# Output distillation with more


def test_the_wavelet_term_is_added(room, batch):
    cfg = tiny.after_fakd(room, 'output', w_truth=0.0, w_wavelet=0.3, levels=2, pixel_range=255.0)
    state, _, metrics = stepped(cfg, batch)
    student, teacher = networks(cfg, state)
    expected = wavelet.haar_l1(255 * student(batch.lr), 255 * teacher(batch.lr), levels=2)
    np.testing.assert_allclose(metrics['wavelet'], expected, rtol=1e-4)
    np.testing.assert_allclose(metrics['loss/student'], metrics['l1'] + 0.3 * expected, rtol=1e-4)


@pytest.mark.parametrize('joined', ['mean', 'best'])
def test_several_teachers_are_one(room, batch, joined):
    cfg = tiny.after_fakd(room, 'output', w_truth=0.0, teachers=str(room / 'other'), joined=joined)
    state, _, metrics = stepped(cfg, batch)
    student, teacher = networks(cfg, state)
    images = np.stack([teacher(batch.lr), models.load(room / 'other')(batch.lr)])
    away = np.abs(images - batch.hr).sum(-1, keepdims=True)
    expected = images.mean(0) if joined == 'mean' else np.where(away[0] <= away[1], images[0], images[1])
    np.testing.assert_allclose(metrics['l1'], l1(student(batch.lr), expected), rtol=1e-4)
    with pytest.raises(FileNotFoundError, match='config.method.teachers'):
        methods.make(tiny.after_fakd(room, 'output', teachers='nowhere'))


# All of them


@pytest.mark.slow
@pytest.mark.parametrize('name', [*(name for name in tiny.AFTER_FAKD if 'pisr' not in name), 'two stages'])
def test_stopped_and_gone_on_with_equals_uninterrupted(room, tmp_path, name, monkeypatch):
    """Also in the middle of PISR's second stage: bit for bit, with the slow copy of the student and the averaged weights."""
    cfg = tiny.pisr(room) if name == 'two stages' else tiny.CONFIGS[name](room)
    cfg.ema_decay, cfg.steps = 0.9, 6
    stages.run(cfg, tmp_path / 'whole')
    asked = []  # once per step, of all stages
    monkeypatch.setattr(
        parallel, 'stop_requested', lambda step, flagged: asked.append(step) or len(asked) == (9 if 'stages' in cfg else 3)
    )
    with pytest.raises(SystemExit, match='143'):
        stages.run(cfg, tmp_path / 'halves')
    stages.run(cfg, tmp_path / 'halves')
    files = [p.relative_to(tmp_path / 'whole') for p in (tmp_path / 'whole').rglob('weights.safetensors')]
    files += [p.relative_to(tmp_path / 'whole') for p in (tmp_path / 'whole').rglob('metrics.jsonl')]
    assert len(files) >= 3
    for file in files:
        assert (tmp_path / 'whole' / file).read_bytes() == (tmp_path / 'halves' / file).read_bytes(), file


# Two methods at once


def test_two_methods_together_are_the_weighted_sum_of_their_losses(room, batch):
    """And the same update of the student as by that sum: plain SGD adds updates as it adds losses."""
    weights = {'w_one': 1 / 255, 'w_other': 0.5}
    joined = tiny.together(room, **weights)
    alone = [tiny.config(room / 'images', room / 'teacher') for _ in weights]
    for cfg, part in zip(alone, ('one', 'other'), strict=True):
        cfg.method = joined.method[part].to_dict()
    for cfg in (joined, *alone):
        cfg.optimizer = recipes.adam(1.0, name='sgd', momentum=0.0)  # updates far above float32's rounding
    state, after, metrics = stepped(joined, batch)
    (_, one, first), (_, other, second) = (stepped(cfg, batch) for cfg in alone)
    np.testing.assert_allclose(metrics['loss/student'], first['loss/student'] / 255 + 0.5 * second['loss/student'], rtol=1e-6)
    np.testing.assert_allclose(metrics['one/spatial'], first['spatial'], rtol=1e-6)
    moved = lambda new: jax.tree.map(lambda a, b: np.float64(a) - b, new.nets['student'].params, state.nets['student'].params)
    expected = jax.tree.map(lambda a, b: a / 255 + 0.5 * b, moved(one), moved(other))
    largest = max(np.abs(x).max() for x in jax.tree.leaves(expected))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * largest), moved(after), expected)
    assert len(methods.make(joined).frozen) == 1  # the teacher of both is one


def test_what_cannot_go_together_is_named(room):
    adapter = {**tiny.METHOD, 'adapter': True}
    for fields, said in (
        ({'other': {'name': 'dukd', 'updates': 'two'}}, "method.other: 'dukd' of these fields has a step of its own"),
        ({'one': {'name': 'contrastive'}}, "method.one: 'contrastive' of these fields has a step of its own"),
        ({'one': adapter, 'other': adapter}, "method.other: both methods train a network called 'adapt'"),
        ({'other': {'zoom_in': 1}}, 'method.other.name is missing'),
        ({'other': {'name': 'dukd', 'zoom_inn': 1}}, 'method.other.zoom_inn is unknown'),
    ):
        with pytest.raises(ValueError, match=said):
            methods.make(tiny.together(room, **fields))
    unread = methods.unread(tiny.together(room, other={'name': 'dukd', 'zoom_in': 0}))
    assert unread['method.other.cells'] == 'method.zoom_in=0 leaves zoom-in out'
