"""FAKD: the composite loss against the original code's values, and what a config can say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from kdsr import fields, methods, models, nets, recipes
from kdsr.methods import fakd
from kdsr.models import exports
from kdsr.types import Batch

NINE = ('spatial', 'channel', 'instance', 'fsp', 'attention', 'fitnet', 'pooled_spatial', 'rbf', 'mmd')


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    return tiny.teacher(tmp_path_factory.mktemp('fakd') / 'teacher')


@pytest.mark.parametrize(('x64', 'tolerance'), [(True, 1e-9), (False, 1e-5)])
def test_composite_equals_the_original_code(x64, tolerance):
    # values of the original PyTorch code in float64: alpha 0.5, '10*SA+2*AT', images on 0..255, three taps
    with jax.enable_x64(x64):
        nhwc = lambda values, shape: jnp.asarray(values.reshape(shape).transpose(0, 2, 3, 1))
        i, j = np.arange(2 * 3 * 8 * 8), np.arange(2 * 4 * 3 * 5)
        sr, tr, hr = (nhwc(127 + 100 * np.sin(0.11 * i + shift), (2, 3, 8, 8)) / 255 for shift in (0, 0.1, 0.3))
        ours = [nhwc(np.sin(1 + 0.7 * j + k), (2, 4, 3, 5)) for k in range(3)]
        theirs = [nhwc(np.cos(0.3 * j + k), (2, 4, 3, 5)) for k in range(3)]
        block = recipes.model('edsr')
        block.update(tiny.METHOD)
        distances = fakd.transforms(block)
        weights = fields.weighted('transforms', '10*spatial+2*attention', distances)
        total, parts = fakd.objective(
            sr, hr, tr, ours, theirs, alpha=0.5, w_affinity=1.0, weights=weights, distances=distances, pixel_range=255.0
        )
        found = [parts['l1'], parts['teacher_l1'], 10 * parts['spatial'], 2 * parts['attention'], total]
        expected = [19.0349263273, 6.3869737705, 25.0999141194, 0.2848396680, 38.0957038364]
        np.testing.assert_allclose(np.array(found), expected, rtol=tolerance, atol=1e-10)


def batch():
    rng = np.random.default_rng(0)
    return Batch(rng.random((4, 16, 16, 3), np.float32), rng.random((4, 32, 32, 3), np.float32))


def one_step(config):
    method = methods.make(config)
    state = method.init(jax.random.key(0))
    return state, *jax.jit(method.step)(state, method.frozen, batch())


def changed(before, after):
    return [
        k
        for k in before
        if not all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (before[k].params, after[k].params)), strict=True))
    ]


def test_all_nine_transforms_and_their_adapters_train(tmp_path, teacher):
    config = tiny.config(tmp_path, teacher)
    config.method.update(transforms='+'.join(NINE), adapter=True, pool=2)
    before, after, metrics = one_step(config)
    assert set(NINE) <= metrics.keys() and all(np.isfinite(v) and v > 0 for v in metrics.values())
    assert changed(before.nets, after.nets) == ['student', 'adapt']
    assert after.nets['adapt'].params['tap1']['kernel'].shape == (1, 1, 8, 12)
    weighted = 0.5 * (metrics['l1'] + metrics['teacher_l1']) + 10 * sum(metrics[k] for k in NINE)
    np.testing.assert_allclose(metrics['loss/student'], weighted, rtol=1e-6)


def test_different_widths_without_an_adapter_are_refused(tmp_path, teacher):
    config = tiny.config(tmp_path, teacher)
    config.method.transforms = 'channel'
    with pytest.raises(
        ValueError, match="student tap 'block1' has 8 and teacher tap 'block1' has 12: set config.method.adapter=True"
    ):
        methods.make(config)


def test_baseline_does_not_depend_on_the_teacher(tmp_path, teacher):
    other = tiny.teacher(tmp_path / 'other', seed=9)
    after = []
    for path in (teacher, other):
        config = tiny.config(tmp_path, path)
        config.method.update(alpha=0.0, w_affinity=0.0)
        after.append(one_step(config)[1].nets['student'].params)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), *after)))


def test_bfloat16_computes_close_to_float32_and_keeps_float32_weights(tmp_path, teacher):
    found = []
    for dtype in ('float32', 'bfloat16'):
        state, after, metrics = one_step(tiny.config(tmp_path, teacher, dtype=dtype))
        assert {x.dtype for x in jax.tree.leaves(after.nets['student'].params)} == {jnp.dtype('float32')}
        assert all(v.dtype == jnp.float32 for v in metrics.values())
        found.append(metrics['loss/student'])
    assert found[0] != found[1] and abs(found[1] / found[0] - 1) < 0.02


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('transforms', '10*spacial', "'spacial' is unknown, did you mean 'spatial'"),
        ('transforms', 'ten*spatial', "'ten' in 'ten\\*spatial' is no number"),
        ('taps', 'block1:block11', r"the teacher \(edsr\) has no tap 'block11', did you mean 'block1'"),
        ('taps', 'blok1', r"the student \(edsr\) has no tap 'blok1', did you mean 'block1'"),
        ('name', 'fadk', "config.method.name='fadk' is unknown, did you mean 'fakd'"),
    ],
)
def test_misspelt_words_are_named(tmp_path, teacher, field, value, message):
    config = tiny.config(tmp_path, teacher)
    config.method[field] = value
    with pytest.raises(ValueError, match=message):
        methods.make(config)


def test_teacher_of_another_scale_is_refused(tmp_path, teacher):
    with pytest.raises(ValueError, match='is a x2 model, config.scale is 4'):
        methods.make(tiny.config(tmp_path, teacher, scale=4))


def test_missing_teacher_names_the_path_and_the_shipped_models(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no model at .*nowhere: expected a folder with model.json.*edsr_x4'):
        methods.make(tiny.config(tmp_path, tmp_path / 'nowhere'))


@pytest.mark.parametrize(('arg', 'weight', 'eps'), [('paper', 10.0, 1e-8), ('paper,2020', 1.0, 1e-7)])
def test_presets_of_the_affinity_weight(arg, weight, eps):
    config = tiny.experiment('fakd', arg)
    assert (config.method.w_affinity, config.method.eps, config.method.pixel_range) == (weight, eps, 255.0)


@pytest.mark.parametrize(
    ('name', 'scale', 'parameters', 'taps'),
    [  # trainable parameters of the published students; the taps of the original code
        ('rcan', 4, 5_171_315, ('group3', 'group7', 'body')),
        ('san', 2, 4_811_852, ('group2', 'group4', 'body')),
        ('edsr', 8, 1_665_283, ('block5', 'block10', 'body')),
    ],
)
def test_paper_recipes(name, scale, parameters, taps):
    config = tiny.experiment('fakd', f'paper,{name},x{scale}')
    student = nets.student(config).module
    shapes = jax.eval_shape(student.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == parameters
    assert models.module(name).fakd_taps(**config.student.args) == taps
    assert (config.steps, config.batch_size, config.patch) == (200_000, 16, 48)


def test_experiment_words_are_checked():
    with pytest.raises(ValueError, match="'papr' is unknown, did you mean 'paper'"):
        tiny.experiment('fakd', 'papr')


def test_export_round_trip_and_mismatch(tmp_path, teacher):
    fn = models.load(teacher)
    lr = np.random.default_rng(0).random((1, 9, 11, 3), np.float32)
    args = {'scale': 2, 'blocks': 3, 'features': 12}
    exports.save(tmp_path / 'half', name='edsr', args=args, variables=fn.variables, dtype='float16')
    # half precision keeps 11 bits of each weight
    np.testing.assert_allclose(models.load(tmp_path / 'half')(lr), fn(lr), atol=2e-3)
    exports.save(tmp_path / 'wrong', name='edsr', args={**args, 'blocks': 4}, variables=fn.variables)
    with pytest.raises(ValueError, match=r'do not fit: missing params/block4/conv1/bias \(12,\); missing'):
        models.load(tmp_path / 'wrong')
    blob = (teacher / 'weights.safetensors').read_bytes()
    (tmp_path / 'half' / 'weights.safetensors').write_bytes(blob[:-4] + b'oops')
    with pytest.raises(ValueError, match='is not the file its model.json describes'):
        models.load(tmp_path / 'half')


@pytest.mark.parametrize('name', ['edsr', 'rcan', 'san', 'rdn'])
@pytest.mark.parametrize('recipe', ['demo', 'paper', 'smoke'])
def test_teacher_recipes_build_their_networks(name, recipe):
    config = tiny.experiment('teacher', f'{recipe},{name},x2')
    assert config.student.name == name
    assert models.taps(nets.student(config).module).keys() >= {'head', 'body'}
    assert config.scale == 2 and config.method.name == 'supervised'
