"""What a step shows its networks: scales drawn for each image, MATLAB's bicubic there and back, on any number of devices."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from kdsr import recipes, sights
from kdsr.data.resize import imresize
from kdsr.types import Batch, Ctx

NET = types.SimpleNamespace(refine=None, full_scale=8)
HR = np.stack([np.float32(tiny.picture(32, 32, seed)) / 255 for seed in range(4)])


def seen(text, batch=HR, repeat=1, axis=None, net=NET):
    """What a batch of pictures, `repeat` times as many, is shown as."""
    cfg = recipes.block({'patch': 8, 'scale': 4, 'method': {'scales': text}})
    see, arrays = sights.of(cfg, net)
    hr = jnp.asarray(np.concatenate([batch] * repeat))
    ctx = lambda part: Ctx(Batch(part[:, ::4, ::4], part), {'sight': arrays}, {}, jax.random.key(3), 0, axis)
    if not axis:
        return see(ctx(hr))
    halves = hr.reshape(2, len(hr) // 2, *hr.shape[1:])
    images, condition, keys = jax.vmap(lambda part: see(ctx(part))[0], axis_name=axis)(halves)
    return (images.reshape(hr.shape), condition.reshape(-1), keys.reshape(-1)), {}


@pytest.mark.parametrize('scale', [2, 8])
def test_an_image_is_reduced_and_enlarged_by_bicubic(scale):
    (images, condition, keys), named = seen(str(scale))
    assert named == {'method': 'refine'} and keys.shape == (4,)
    np.testing.assert_array_equal(condition, scale / 8)
    for got, hr in zip(images, np.float64(HR), strict=True):
        want = np.round(255 * np.clip(imresize(imresize(hr, 1 / scale), scale), 0, 1)) / 255
        np.testing.assert_allclose(got, want, atol=1.01 / 255)  # a tie may round to either side
        assert np.mean(np.abs(got - want) > 1e-6) < 1e-3


def test_scales_are_drawn_by_their_weights():
    """GCFSR's list of 512 px, as 4:2:2:1 at a quarter of the sizes; 900 draws, within four deviations."""
    (_, condition, keys), _ = seen('4*8+2*4+2*2+1', repeat=225)
    scales, count = np.unique(np.asarray(8 * condition), return_counts=True)
    chances = np.array([1, 2, 2, 4]) / 9
    np.testing.assert_array_equal(scales, [1, 2, 4, 8])
    assert (np.abs(count - 900 * chances) < 4 * np.sqrt(900 * chances * (1 - chances))).all()
    assert len(np.unique(jax.random.key_data(keys), axis=0)) == 900


def test_two_devices_are_shown_what_one_is():
    (one, _), (two, _) = seen('8+4+2'), seen('8+4+2', axis='data')
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    np.testing.assert_array_equal(*(jax.random.key_data(x[2]) for x in (one, two)))


def test_without_scales_it_is_the_lr_of_the_batch():
    ((lr,), named), cfg = seen('', net=object()), recipes.block({'patch': 8, 'scale': 4, 'method': {'scales': ''}})
    np.testing.assert_array_equal(lr, HR[:, ::4, ::4])
    assert named == {} and sights.of(cfg)[1] == {}


@pytest.mark.parametrize(
    ('text', 'net', 'line'),
    [
        ('8', object(), "config.method.scales='8': object enlarges LR images of one scale"),
        ('8+3', NET, "config.method.scales: '3' in '8\\+3' must divide the 32 pixels"),
        ('8+0*4', NET, "'4' in '8\\+0\\*4' must divide the 32 pixels of HR patches, and weigh more than 0"),
        ('x', NET, "'x' in 'x' must divide"),
    ],
)
def test_what_cannot_be_shown_is_named(text, net, line):
    with pytest.raises(ValueError, match=line):
        seen(text, net=net)
