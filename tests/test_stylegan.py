"""StyleGAN2's layers against lax, its discriminator against PyTorch, R1 under cond, published counts and costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import quick
from flax import traverse_util
from gcfsr_weights import discriminator, numbers, wave
from jax import lax

from kdsr import cost, critics, models, recipes
from kdsr.foreign import discriminator_stylegan as foreign
from kdsr.losses import adversarial
from kdsr.models import layers, stylegan

# Of tests/torch_gcfsr.py (PyTorch 2.13.0, float64), which equals the released code to 1e-14: the discriminator for 16x16 at 1/128
# of the widths with the weights of `numbers`, on two images of `wave`; R1 of images in [0, 1]; gradients of R1 in the weights, in
# the order of the state dict, times cos(0), cos(1), ... in PyTorch's layout. Biases have none: between the kinks of its
# activations the network is linear.
LOGITS = [0.2742406955391153, 0.3288347148578221]
R1 = 0.005571110656569385
GRADIENTS = {
    'conv_body.0.0': -0.0006398455908810221, 'conv_body.1.conv1.0': -0.0007091898411953275,
    'conv_body.1.conv2.1': 0.0008005206597560752, 'conv_body.1.skip.1': 0.0021466631407390034,
    'conv_body.2.conv1.0': 0.0007247380337198695, 'conv_body.2.conv2.1': 0.00011071015092162023,
    'conv_body.2.skip.1': 0.0021016813961060345, 'final_conv.0': 0.0008917495447986665,
    'final_linear.0': -0.00029341644845254583, 'final_linear.1': -0.025253962705491493,
}  # fmt: skip
FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def filtered(x, pad, gain=1, stride=1, zeros=0):
    """The filter by lax's convolution of every channel, on an image with `zeros` between its pixels."""
    kernel = jnp.tile(jnp.asarray(gain * FILTER, x.dtype)[..., None, None], (1, 1, 1, x.shape[-1]))
    options = {'lhs_dilation': (zeros + 1,) * 2, 'feature_group_count': x.shape[-1], 'dimension_numbers': layers.NHWC}
    return lax.conv_general_dilated(x, kernel, (stride, stride), (pad, pad), **options)


def test_filters_and_strides_equal_lax():
    rng = np.random.default_rng(0)
    x, odd = (jnp.asarray(rng.random((2, *size, 3)), jnp.float32) for size in ((6, 8), (7, 9)))
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, 5)), jnp.float32)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6 * float(jnp.abs(b).max()))
    close(stylegan.blurred(x, (2, 2)), filtered(x, (2, 2)))
    close(stylegan.blurred(x, (1, 1), stride=2), filtered(x, (1, 1), stride=2))
    close(stylegan.enlarged(x), filtered(x, (2, 2), 4, zeros=1))  # after the last pixel no zero is needed: 2, not 1
    options = {'dimension_numbers': layers.NHWC}
    close(stylegan.halved(odd, kernel), lax.conv_general_dilated(odd, kernel, (2, 2), 'VALID', **options))
    transposed = lax.conv_general_dilated(x, kernel[::-1, ::-1], (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2), **options)
    close(stylegan.doubled(x, kernel), jnp.pad(transposed, ((0, 0), (0, 1), (0, 1), (0, 0))))


def test_a_modulated_convolution_has_a_kernel_of_length_1_for_each_example():
    """By its definition: one convolution per example, whose kernels' squares sum to 1 for each output."""
    rng = np.random.default_rng(1)
    x, style = rng.normal(size=(2, 5, 6, 3)).astype(np.float32), rng.normal(size=(2, 4)).astype(np.float32)
    module = stylegan.ModConv(7)
    params = quick(module.init)(jax.random.key(0), x, style)['params']
    s = style @ params['modulation']['kernel'] / 2 + params['modulation']['bias']
    for image, own, got in zip(x, s, quick(module.apply)({'params': params}, x, style), strict=True):
        kernel = params['kernel'] * own[:, None]
        kernel /= jnp.sqrt(jnp.square(kernel).sum((0, 1, 2)))
        want = lax.conv_general_dilated(image[None], kernel, (1, 1), 'SAME', dimension_numbers=layers.NHWC)
        np.testing.assert_allclose(got, want[0], atol=2e-6)


def test_layers_begin_with_weights_of_variance_1_that_keep_the_size_of_what_they_read():
    x = jax.random.normal(jax.random.key(0), (4, 16, 16, 64))
    params = (layer := stylegan.EqualConv(64, use_bias=False)).init(jax.random.key(1), x)['params']
    np.testing.assert_allclose(params['kernel'].std(), 1, atol=0.02)
    y = layer.apply({'params': params}, x)[:, 1:-1, 1:-1]
    np.testing.assert_allclose(jnp.square(y).mean(), 1.04, atol=0.05)  # (1 + 0.2^2) / 2, times 2


def test_an_example_draws_its_own_noise():
    keys = jax.random.split(jax.random.key(0), 3)
    maps = stylegan.noise_map(keys, 4, (8, 6))
    np.testing.assert_array_equal(stylegan.noise_map(keys[1:2], 4, (8, 6))[0], maps[1])
    assert maps.shape == (3, 8, 6, 1) and not np.isclose(maps, stylegan.noise_map(keys, 5, (8, 6))).any()


def test_the_discriminator_equals_pytorch_and_its_r1_too_inside_cond():
    """float64: logits, R1 at its 16th step, its second-order gradients; at other steps nothing."""
    with jax.enable_x64(True):
        converted = foreign.convert(numbers(discriminator(16, 1 / 128), np.float64))
        net = models.build('discriminator_stylegan', **converted.args, dtype='float64')
        variables = traverse_util.unflatten_dict(jax.tree.map(jnp.asarray, converted.variables), sep='/')
        images = jnp.asarray(0.5 + wave((2, 32, 32, 3), 90))[:, :16, :16]
        assert {k: v.shape for k, v in traverse_util.flatten_dict(models.shapes(net), sep='/').items()} == {
            k: v.shape for k, v in converted.variables.items()
        }

        def penalty(variables, step):
            critic = lambda x: net.apply(variables, x)[0]
            return lax.cond(step % 16 == 0, lambda: adversarial.r1(critic, images), lambda: jnp.zeros(()))

        lazy = quick(jax.value_and_grad(penalty))
        value, grads = lazy(variables, 16)
        cosines = {k: np.cos(np.arange(np.prod(s))).reshape(s) for k, s in discriminator(16, 1 / 128).items()}
        grads, found = traverse_util.flatten_dict(grads, sep='/'), foreign.convert(cosines).variables
        dots = [float((grads[k] * v).sum()) for k, v in found.items() if k.endswith('kernel')]
        np.testing.assert_allclose(quick(net.apply)(variables, images)[0], LOGITS, rtol=1e-9)
        np.testing.assert_allclose(value, R1, rtol=1e-9)
        np.testing.assert_allclose(dots, list(GRADIENTS.values()), rtol=1e-7)
        assert not any(grads[k].any() for k in found if k.endswith('bias'))
        value, grads = lazy(variables, 17)
        assert value == 0 and not any(leaf.any() for leaf in jax.tree.leaves(grads))


D = [  # size, narrow, parameters, multiply-adds as a multiple of 1e6: GCFSR's code, and what was counted on its layers
    (1024, 1.0, 29_007_905, None),
    (1024, 0.5, 7_253_777, None),
    (1024, 0.25, 1_814_345, None),
    (1024, 0.125, 454_037, None),
    (512, 1.0, 28_978_241, None),
    (512, 0.5, 7_246_369, None),
    (512, 0.25, 1_812_497, None),
    (512, 0.125, 453_577, None),
    (64, 1 / 8, 414_657, 257.7),
    (64, 1 / 16, 103_905, 64.6),
    (64, 1 / 32, 26_097, 16.3),
    (64, 1 / 64, 6_585, 4.1),
]


@pytest.mark.parametrize(('size', 'narrow', 'count', 'macs'), D)
def test_counts_of_the_discriminator(size, narrow, count, macs):
    net = models.build('discriminator_stylegan', size=size, narrow=narrow)
    shapes, (image,) = models.shapes(net), models.example(net)
    assert cost.parameters(shapes) == count
    if macs:
        counted = cost.macs(lambda v, x: net.apply(v, x)[0], shapes, image)
        np.testing.assert_allclose(sum(counted.values()) / 1e6, macs, atol=0.05)


def test_the_discriminator_by_its_name_in_a_config():
    cfg = recipes.base()
    cfg.patch, cfg.scale, cfg.method = 8, 4, {'name': 'gan', 'discriminator': {'name': 'stylegan', 'narrow': 1 / 64}}
    disc = critics.critic(cfg)
    assert (disc.name, disc.args) == ('discriminator_stylegan', {'size': 32, 'narrow': 1 / 64})
    assert models.taps(disc.module) == {
        'image32': (1, 32, 32, 8), 'block16': (1, 16, 16, 8), 'block8': (1, 8, 8, 8), 'block4': (1, 4, 4, 8), 'last': (1, 4, 4, 8),
        'dense': (1, 8),
    }  # fmt: skip


def test_what_the_discriminator_cannot_be_is_named():
    for args, line in [
        ({'size': 96}, '96 px is no size of it: use 8, 16, 32, 64, 128, 256, 512 or 1024'),
        ({'size': 1024, 'narrow': 1 / 32}, 'narrow=0.03125 leaves 1 channels at 1024 px: it must leave 2'),
    ]:
        with pytest.raises(ValueError, match=line):
            models.shapes(models.build('discriminator_stylegan', **args))
    net = models.build('discriminator_stylegan', size=8, narrow=1 / 64)
    with pytest.raises(ValueError, match='takes images of 8x8x3, got 8x16x3'):
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 16, 3)))
    arrays = numbers({**discriminator(8, 1 / 64), 'final_conv.0.weight': (8, 9, 3, 3)})
    with pytest.raises(ValueError, match='it reads the deviations of a minibatch'):
        foreign.convert(arrays)
