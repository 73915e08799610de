"""Keras' and torchvision's weights -> exports: SRResNet, the SRGAN discriminator and VGG, up to real files' golden outputs."""

import re

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdsr import convert, foreign, models
from kdsr.models import discriminator_srgan, exports, perceptual, srresnet, vgg

# SRResNet's layers with weights, in the order of its graph: house name, Keras' kind, variables
BLOCK = [
    ('conv1', 'conv2d'),
    ('bn1', 'batch_normalization'),
    ('prelu', 'p_re_lu'),
    ('conv2', 'conv2d'),
    ('bn2', 'batch_normalization'),
]
CHAIN = [
    *(('head', 'conv2d'), ('head_prelu', 'p_re_lu')),
    *((f'block{i}/{name}', kind) for i in (1, 2) for name, kind in BLOCK),
    *(('body', 'conv2d'), ('body_bn', 'batch_normalization'), ('up/conv1', 'conv2d'), ('up/prelu1', 'p_re_lu'), ('tail', 'conv2d')),
]
VARIABLES = {
    'conv2d': ('kernel', 'bias'),
    'dense': ('kernel', 'bias'),
    'p_re_lu': ('alpha',),
    'batch_normalization': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
}
STATISTICS = {'moving_mean': 'mean', 'moving_variance': 'var'}


def keras_file(path, flat, chain, first=8):
    """Writes a file as Keras 2 does: layers called conv2d_8, conv2d_9, conv2d_10, ..., groups in the alphabet's order."""
    with h5py.File(path, 'w') as file:
        order, number = ['input_1', 'lambda'], dict.fromkeys(VARIABLES, first)
        for name, kind in chain:
            order.append(f'{kind}_{number[kind]}')
            number[kind] += 1
            group = file.create_group(order[-1])
            weights = [f'{order[-1]}/{v}:0' for v in VARIABLES[kind]]
            group.attrs['weight_names'] = [w.encode() for w in weights]
            for weight, v in zip(weights, VARIABLES[kind], strict=True):
                array = flat[f'batch_stats/{name}/{STATISTICS[v]}' if v in STATISTICS else f'params/{name}/{v}']
                group[weight] = array[None, None] if v == 'alpha' else array
        for name in order[:2]:
            file.create_group(name).attrs['weight_names'] = np.array([], 'S1')
        file.attrs['layer_names'] = [name.encode() for name in order]
    return path


def random_variables(module, example):
    """Flat variables of these shapes, all different."""
    shapes = exports.flatten(jax.eval_shape(module.init, jax.random.key(0), example))
    rng = np.random.default_rng(0)
    return {k: rng.random(v.shape, np.float32) for k, v in sorted(shapes.items())}


def test_srresnet_from_keras_and_from_npz(tmp_path):
    """Both give the very weights that were stored; conv2d_10 comes after conv2d_9, unlike in the alphabet."""
    args = {'scale': 2, 'features': 4, 'blocks': 2, 'channels': 3}
    flat = random_variables(srresnet.SRResNet(**args), jnp.zeros((1, 8, 8, 3)))
    places = {'head': 'conv_in', 'head_prelu': 'prelu_in', 'body': 'conv_mid', 'body_bn': 'bn_mid', 'tail': 'conv_out'}
    places |= {f'block{i + 1}/{part}': f'block{i:02}/{part}' for i in (0, 1) for part, _ in BLOCK}
    places |= {'up/conv1': 'up0/conv', 'up/prelu1': 'up0/prelu'}
    split = {key: re.fullmatch('[^/]+/(.+)/(.+)', key).groups() for key in flat}
    np.savez(tmp_path / 'w.npz', **{f'{places[split[k][0]]}/{split[k][1]}': v for k, v in flat.items()})
    keras_file(tmp_path / 'w.h5', flat, CHAIN)
    for kind in ('npz', 'h5'):
        card, *_ = convert.convert(tmp_path / f'w.{kind}', 'srresnet', tmp_path / kind)
        assert card['args'] == args
        stored = exports.flatten(exports.read(tmp_path / kind)[1])
        assert stored.keys() == flat.keys()
        jax.tree.map(np.testing.assert_array_equal, stored, flat)


def test_a_keras_file_of_another_order_is_told_by_its_layers(tmp_path):
    flat = random_variables(srresnet.SRResNet(scale=2, features=4, blocks=2), jnp.zeros((1, 8, 8, 3)))
    for chain, line in [
        (
            [*CHAIN[:2], CHAIN[3], CHAIN[2], *CHAIN[4:]],
            r"layer 3 of the file is 'batch_normalization_8' \(gamma, .*has block1/conv1 with a k",
        ),
        (CHAIN[:-1], 'layer 17 of the file is none, the model has tail with a kernel'),
    ]:
        with pytest.raises(ValueError, match=line):
            convert.convert(keras_file(tmp_path / 'w.h5', flat, chain), 'srresnet', tmp_path / 'out')


def test_discriminator_from_keras(tmp_path):
    chain = [('conv1', 'conv2d')]
    chain += [(f'{name}{i}', kind) for i in range(2, 9) for name, kind in (('conv', 'conv2d'), ('bn', 'batch_normalization'))]
    flat = random_variables(discriminator_srgan.Discriminator(16), jnp.zeros((1, 16, 16, 3)))
    keras_file(tmp_path / 'd.h5', flat, [*chain, ('dense1', 'dense'), ('dense2', 'dense')])
    card, *_ = convert.convert(tmp_path / 'd.h5', 'discriminator_srgan', tmp_path / 'd')
    assert card['args'] == {'size': 16}
    jax.tree.map(np.testing.assert_array_equal, exports.flatten(exports.read(tmp_path / 'd')[1]), flat)
    with pytest.raises(ValueError, match="discriminator_srgan: size must be int, got '16'"):
        convert.convert(tmp_path / 'd.h5', 'discriminator_srgan', tmp_path / 'e', args={'size': '16'})


# where torchvision's VGGs have convolutions in `features`: between them lie activations and poolings
FEATURES = {
    16: (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    19: (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}


@pytest.mark.parametrize('depth', [16, 19])
def test_vgg_from_torchvision_and_keras(depth):
    convolutions = [f'conv{s}_{k}' for s, k in vgg.layers(depth)]
    module, example = foreign.model('vgg').network({'depth': depth})
    shapes = exports.flatten(jax.eval_shape(module.init, jax.random.key(0), example))
    marked = lambda i, shape: np.broadcast_to(np.float32(i), shape)  # takes no memory
    torchs, keras = {}, {}
    for i, (number, name) in enumerate(zip(FEATURES[depth], convolutions, strict=True)):
        *k, inputs, outputs = shapes[f'params/{name}/kernel'].shape
        torchs[f'features.{number}.weight'], torchs[f'features.{number}.bias'] = (
            marked(i, (outputs, inputs, *k)),
            marked(i, (outputs,)),
        )
        layer = f'block{name[4]}_conv{name[-1]}'  # weights as the files of fchollet's deep-learning-models name them
        keras[f'{layer}/{layer}_W_1'], keras[f'{layer}/{layer}_b_1'] = marked(i, (*k, inputs, outputs)), marked(i, (outputs,))
    dense = {'classifier.0.weight': marked(0, (4096, 25088)), 'classifier.0.bias': marked(0, (4096,))}
    for source, weights in [({**torchs, **dense}, 'torchvision'), (keras, 'caffe')]:
        args, variables, assumed = foreign.model('vgg').convert(source)
        assert args == {'depth': depth, 'weights': weights} and assumed == ('weights',)
        exports.check(variables, shapes, 'a VGG')
        assert [int(variables[f'params/{name}/kernel'].flat[0]) for name in convolutions] == list(range(len(convolutions)))
    with pytest.raises(ValueError, match='a VGG with batch normalisation'):
        foreign.model('vgg').convert({**torchs, 'features.1.weight': marked(0, (64,))})


def test_converted_vgg16_is_a_perceptual_network(tmp_path, data_dir):
    """Features of the converted file equal PyTorch's golden ones to 1e-3 in relative L2 norm (its weights are float16)."""
    file = data_dir / 'weights' / 'lpips_vgg16_imagenet_fp16.npz'
    card, _, assumed, *_ = convert.convert(file, 'vgg', tmp_path / 'vgg16', dtype='float16')
    assert card['args'] == {'depth': 16, 'weights': 'torchvision'} and assumed == ('weights',)
    module, variables = perceptual.load(tmp_path / 'vgg16', ('conv5_3',))
    golden = np.load(data_dir / 'weights' / 'parity' / 'vgg16_imagenet_fp32.npz')
    found = jax.jit(module.apply)(variables, golden['rgb_uint8'][None] / np.float32(255))['conv5_3'][0]
    assert np.linalg.norm(found - golden['conv5_3_preact']) < 1e-3 * np.linalg.norm(golden['conv5_3_preact'])


@pytest.mark.parametrize('name', ['srresnet_x4_krasserm', 'srgan_generator_x4_krasserm'])
def test_converted_generators_equal_the_golden_output(tmp_path, data_dir, name):
    """PyTorch's float32 output on a 24x24 crop, to 1e-4."""
    card, *_ = convert.convert(data_dir / 'weights' / f'{name}.npz', 'srresnet', tmp_path / 'out')
    assert card['parameters'] == 1_550_659 and card['args']['blocks'] == 16
    golden = np.load(data_dir / 'weights' / 'parity' / f'{name}.npz')
    sr = models.load(tmp_path / 'out')(golden['lr_uint8'][None] / np.float32(255))
    np.testing.assert_allclose(sr[0], golden['sr_float01'], atol=1e-4)


def test_the_packages_own_files(tmp_path, data_dir, keras_weights):
    """The .h5 files and the staged .npz give byte-equal exports; the discriminator has 23,565,505 parameters."""
    for h5, npz in [('pre_generator', 'srresnet_x4_krasserm'), ('gan_generator', 'srgan_generator_x4_krasserm')]:
        straight, *_ = convert.convert(keras_weights / f'{h5}.h5', 'srresnet', tmp_path / h5)
        staged, *_ = convert.convert(data_dir / 'weights' / f'{npz}.npz', 'srresnet', tmp_path / npz)
        assert straight['sha256'] == staged['sha256']
    card, *_ = convert.convert(keras_weights / 'gan_discriminator.h5', 'discriminator_srgan', tmp_path / 'd')
    assert card['parameters'] == 23_565_505 and card['args'] == {'size': 96}
