"""Bicubic enlargement and reduction inside networks, and YCbCr: equal to numpy's imresize and to MATLAB's, linear, exportable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from kdsr import metrics
from kdsr.data.resize import imresize
from kdsr.models import bicubic, colour

# both ways of enlarging, and single lines
SHAPES = [(2, 12, 7, 3), (1, 100, 97, 2), (1, 1, 120, 1), (1, 2, 1, 1)]


@pytest.mark.parametrize('border', ['symmetric', 'replicate'])
@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('shape', SHAPES)
def test_enlarge_equals_imresize(shape, scale, border):
    x = np.random.default_rng(0).random(shape)
    want = np.stack([imresize(image, scale, border=border) for image in x])
    enlarge = jax.jit(bicubic.enlarge, static_argnums=(1, 2))
    np.testing.assert_allclose(enlarge(np.float32(x), scale, border), want, atol=1e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(enlarge(x, scale, border), want, atol=1e-12)


@pytest.mark.parametrize('border', ['symmetric', 'replicate'])
@pytest.mark.parametrize('scale', [2, 3, 4])
def test_reduce_equals_imresize(scale, border):
    x = np.random.default_rng(0).random((2, 12, 108, 2))
    want = np.stack([imresize(image, 1 / scale, border=border) for image in x])
    reduce = jax.jit(bicubic.reduce, static_argnums=(1, 2))
    np.testing.assert_allclose(reduce(np.float32(x), scale, border), want, atol=1e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(reduce(x, scale, border), want, atol=1e-12)
    with pytest.raises(ValueError, match=f'cannot reduce 13x12 by {scale}: the sides must be multiples'):
        bicubic.reduce(jnp.zeros((1, 13, 12, 1)), scale)


@pytest.mark.parametrize('fn, side', [(bicubic.enlarge, 8), (bicubic.enlarge, 100), (bicubic.reduce, 8)])
def test_an_unknown_border_is_named(fn, side):
    with pytest.raises(ValueError, match="border 'reflect' is not one of symmetric, replicate"):
        fn(jnp.zeros((1, side, side, 1)), 2, 'reflect')


@pytest.mark.parametrize('fn', [bicubic.enlarge, bicubic.reduce])
@pytest.mark.parametrize('side', [12, 108])
def test_gradients_are_the_adjoint(fn, side):
    """<A x, y> = <x, A' y>, A' y being the gradient of <A x, y> anywhere."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.normal(size=(2, 12, side, 2)))
        y = jnp.asarray(rng.normal(size=jax.eval_shape(lambda x: fn(x, 3), x).shape))
        gradient = jax.jit(jax.grad(lambda x: (fn(x, 3) * y).sum()))
        transposed = gradient(jnp.zeros_like(x))
        np.testing.assert_allclose((fn(x, 3) * y).sum(), (x * transposed).sum(), rtol=1e-12)
        np.testing.assert_allclose(transposed, gradient(x), atol=1e-12)


def test_enlarge_at_free_sizes():
    shape = export.symbolic_shape('b, h, w, 1')
    enlarge = export.export(jax.jit(lambda x: bicubic.enlarge(x, 3)))(jax.ShapeDtypeStruct(shape, np.float32))
    assert str(enlarge.out_avals[0].shape) == '(b, 3*h, 3*w, 1)'
    x = np.random.default_rng(0).random((2, 5, 1, 1), np.float32)
    np.testing.assert_allclose(enlarge.call(x), bicubic.enlarge(x, 3), atol=1e-6)


def test_colours():
    """MATLAB's rgb2ycbcr: white (235, 128, 128), red (81.481, 90.203, 240), blue (40.966, 240, 109.786), of 255."""
    white, red, blue = colour.rgb_to_ycbcr(jnp.asarray([[1.0, 1, 1], [1, 0, 0], [0, 0, 1]])) * 255
    np.testing.assert_allclose(white, [235, 128, 128], atol=1e-4)
    np.testing.assert_allclose(red, [81.481, 90.203, 240], atol=1e-4)
    np.testing.assert_allclose(blue, [40.966, 240, 109.786], atol=1e-4)
    image = np.random.default_rng(0).random((4, 5, 3), np.float32)
    planes = colour.rgb_to_ycbcr(image)
    np.testing.assert_allclose(255 * planes[..., :1], metrics.rgb_to_y(image), atol=1e-4)
    np.testing.assert_allclose(colour.ycbcr_to_rgb(planes), image, atol=1e-6)
