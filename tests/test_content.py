"""The content term of adversarial methods: several features before their activations, of VGG16 and of a converted VGG19."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import quick

from kdsr import critics, recipes
from kdsr.losses import pixel
from kdsr.models import exports, perceptual, vgg


def content(**fields):
    return recipes.block({'norm': 'l1', 'weight': 1.0, **fields})


def test_content_of_five_features_of_vgg16():
    taps = {'conv1_2': 0.1, 'conv2_2': 0.1, 'conv3_3': 1.0, 'conv4_3': 1.0, 'conv5_3': 1.0}
    distance, variables = critics.content(content(network='vgg16', tap='0.1*conv1_2 + 0.1*conv2_2+conv3_3+conv4_3+conv5_3'))
    a, b = jax.random.uniform(jax.random.key(0), (2, 1, 16, 16, 3))
    net, weights = perceptual.load('vgg16', tuple(taps))
    want = sum(w * pixel.l1(net.apply(weights, a)[k], net.apply(weights, b)[k]) for k, w in taps.items())
    np.testing.assert_allclose(quick(distance)(variables, a, b), want, rtol=1e-4)
    assert all(float(net.apply(weights, a)[k].min()) < 0 for k in taps)  # before the activation


def test_content_of_a_vgg19(tmp_path):
    """By the export of a converted one; where there is none, a line names the field and the way to it."""
    rng = np.random.default_rng(0)
    taps = ('conv1_2', 'conv2_2', 'conv3_4', 'conv4_4', 'conv5_4')
    shapes = jax.eval_shape(vgg.VGG(depth=19, taps=taps).init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    variables = jax.tree.map(lambda s: rng.normal(0, np.sqrt(2 / max(1, np.prod(s.shape[:-1]))), s.shape).astype('f4'), shapes)
    exports.save(tmp_path / 'vgg19', name='vgg', args={'depth': 19}, variables=variables, dtype='float16')
    block = content(network=str(tmp_path / 'vgg19'), tap='0.1*conv1_2+0.1*conv2_2+conv3_4+conv4_4+conv5_4')
    distance, read = critics.content(block)
    a, b = jax.random.uniform(jax.random.key(0), (2, 1, 16, 16, 3))
    found = quick(jax.value_and_grad(lambda a: distance(read, a, b)))(a)
    assert found[0] > 0 and found[1].any() and set(read['params']) == {f'conv{s}_{k}' for s, k in vgg.layers(19)}
    missing = content(network=str(tmp_path / 'none'), tap='conv5_4')
    with pytest.raises(FileNotFoundError, match=r'^config.method.content: no perceptual .*kdsr.convert vgg19.pth --model=vgg') as e:
        critics.content(missing)
    assert '\n' not in str(e.value)
    with pytest.raises(ValueError, match='config.method.content: VGG16 has no tap .conv5_4., did you mean'):
        critics.content(content(network='vgg16', tap='conv5_4'))
