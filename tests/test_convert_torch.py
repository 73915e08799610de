"""PyTorch's SRResNets and ESRGAN's of 2018 -> exports, which weights of a file are taken, and whose a file is."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors
from shell import command
from state_dicts import FAKD, IMAGE, SHIFT

from kdsr import convert, models
from kdsr.foreign import formats, names
from kdsr.models import rrdb

# Layers in the order of the state dicts: name, outputs, inputs, kernel size (0 inputs: a batch norm, 1 output: a PReLU's slope; a
# minus: no bias); # counts from the number before the brace.
LAYERS = {
    'leftthomas': """block1.0 4 3 9; block1.1 1; 2{block#.conv1 4 4 3; block#.bn1 4 0; block#.prelu 1; block#.conv2 4 4 3;
        block#.bn2 4 0;} block4.0 4 4 3; block4.1 4 0; block5.0.conv 16 4 3; block5.0.prelu 1; block5.1.conv 16 4 3;
        block5.1.prelu 1; block5.2 3 4 9""",
    'Lornatang': """conv1.0 4 3 9; conv1.1 1; 0{trunk.#.rcb.0 4 4 -3; trunk.#.rcb.1 4 0; trunk.#.rcb.2 1; trunk.#.rcb.3 4 4 -3;
        trunk.#.rcb.4 4 0;} conv2.0 4 4 -3; conv2.1 4 0; upsampling.0.upsample_block.0 16 4 3; upsampling.0.upsample_block.2 1;
        upsampling.1.upsample_block.0 16 4 3; upsampling.1.upsample_block.2 1; conv3 3 4 9""",
    'sgrvinod': """conv_block1.conv_block.0 4 3 9; conv_block1.conv_block.1 1; 0{residual_blocks.#.conv_block1.conv_block.0 4 4 3;
        residual_blocks.#.conv_block1.conv_block.1 4 0; residual_blocks.#.conv_block1.conv_block.2 1;
        residual_blocks.#.conv_block2.conv_block.0 4 4 3; residual_blocks.#.conv_block2.conv_block.1 4 0;}
        conv_block2.conv_block.0 4 4 3; conv_block2.conv_block.1 4 0; subpixel_convolutional_blocks.0.conv 16 4 3;
        subpixel_convolutional_blocks.0.prelu 1; subpixel_convolutional_blocks.1.conv 16 4 3;
        subpixel_convolutional_blocks.1.prelu 1; conv_block3.conv_block.0 3 4 9""",
    **{
        f'BasicSR x{scale}': 'conv_first 4 3 3; 0{body.#.conv1 4 4 3; body.#.conv2 4 4 3;}' + ups + 'conv_hr 4 4 3; conv_last 3 4 3'
        for scale, ups in [(2, 'upconv1 16 4 3;'), (3, 'upconv1 36 4 3;'), (4, 'upconv1 16 4 3; upconv2 16 4 3;')]
    },
    **{
        f'ESRGAN x{scale}': 'model.0 4 3 3; 1{'
        + ''.join(f'model.1.sub.0.RDB#.conv{k}.0 {2 if k < 5 else 4} {2 + 2 * k} 3;' for k in range(1, 6))
        + '} model.1.sub.1 4 4 3;'
        + ''.join(f'model.{n} {3 if n == 4 + 3 * ups else 4} 4 3;' for n in (*range(3, 2 + 3 * ups, 3), 2 + 3 * ups, 4 + 3 * ups))
        for scale, ups in [(1, 0), (2, 1), (4, 2), (8, 3)]
    },
}
# mean, standard deviation and pixel (3, 4) of image 1 of the output: the same networks written in PyTorch, float64
SRGAN = {'scale': 4, 'features': 4, 'blocks': 2, 'channels': 3}
ESRGAN = {'features': 4, 'blocks': 1, 'growth': 2, 'channels': 3}
GOLDEN = {
    'leftthomas': ({**SRGAN, 'tanh': True, 'imagenet': False, 'eps': 1e-5}, (0.495306365, 0.038806291, 0.473245557, 0.472080602)),
    'Lornatang': ({**SRGAN, 'tanh': False, 'imagenet': False, 'eps': 1e-5}, (0.066173871, 0.115832563, 0.047758413, 0.103900077)),
    'sgrvinod': ({**SRGAN, 'tanh': True, 'imagenet': True, 'eps': 1e-5}, (0.496561793, 0.048688821, 0.4719975, 0.472844347)),
    'BasicSR x2': ({**SRGAN, 'scale': 2}, (0.579980445, 6.865306049, 1.397275949, 0.979134097)),
    'BasicSR x3': ({**SRGAN, 'scale': 3}, (0.581161127, 2.912308018, 0.821958308, 0.583048603)),
    'BasicSR x4': (SRGAN, (0.603549723, 6.067423856, 4.984771929, 5.05064738)),
    'ESRGAN x1': ({'scale': 1, **ESRGAN, 'folds': False}, (0.028894729, 1.904333406, 0.648358011, 0.996423725)),
    'ESRGAN x2': ({'scale': 2, **ESRGAN, 'folds': False}, (-0.108901825, 3.087353235, -3.277888226, -3.119878553)),
    'ESRGAN x4': ({'scale': 4, **ESRGAN}, (-0.105239881, 2.7363899, -4.289733888, -4.522299303)),
    'ESRGAN x8': ({'scale': 8, **ESRGAN, 'folds': False}, (0.058757844, 3.396432949, 8.05372686, 7.893944653)),
}


def tensors(text):
    """A state dict of these layers, its tensor number p made of sin(1 + p + 0.7 i) as in test_convert; variances 1 + 5 times it."""
    repeat = lambda m: ''.join(m[2].replace('#', str(int(m[1]) + i)) for i in range(3 if 'RDB' in m[2] else 2))
    shapes = {}
    for layer in re.sub(r'(\d)\{([^}]*)\}', repeat, text, flags=re.S).strip('; ').split(';'):
        name, out, *rest = layer.split()
        out, (inputs, k) = int(out), [*map(int, rest), 0, 0][:2] if rest else (None, None)
        if inputs:
            shapes |= {f'{name}.weight': (out, inputs, abs(k), abs(k))} | ({f'{name}.bias': (out,)} if k > 0 else {})
        else:
            leaves = ('weight', 'bias', 'running_mean', 'running_var') if inputs == 0 else ('weight',)
            shapes |= {f'{name}.{leaf}': (out,) for leaf in leaves}
    wave = lambda p, shape: np.sin(1 + p + 0.7 * np.arange(np.prod(shape))).reshape(shape)
    scale = lambda shape: np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.1
    found = {name: wave(p, shape) * scale(shape) for p, (name, shape) in enumerate(shapes.items())}
    return {name: np.float32(1 + 5 * array if name.endswith('var') else array) for name, array in found.items()}


def saved(path, arrays):
    path.write_bytes(safetensors.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
    return path


@pytest.mark.parametrize('name', GOLDEN)
def test_pytorchs_networks_are_found_by_their_names_and_equal_their_code(tmp_path, name):
    args, (mean, std, *pixel) = GOLDEN[name]
    made = convert.convert(saved(tmp_path / 'w.pth', tensors(LAYERS[name])), '', tmp_path / 'out')
    family = 'rrdb' if 'ESRGAN' in name else 'msrresnet' if 'BasicSR' in name else 'srresnet'
    assert (made.card['model'], made.card['args'], made.found) == (family, args, True)
    assert made.assumed == (('tanh', 'imagenet', 'eps') if family == 'srresnet' else ('scale',) if name == 'ESRGAN x2' else ())
    sr = np.asarray(models.load(tmp_path / 'out')(IMAGE))
    assert sr.shape == (2, 5 * args['scale'], 6 * args['scale'], 3)
    np.testing.assert_allclose([sr.mean(), sr.std(ddof=1), *sr[1, 3, 4, :2]], [mean, std, *pixel], atol=3e-6 * std)


@pytest.mark.parametrize('scale', [1, 8])
def test_the_radius_of_networks_that_do_not_fold(scale):
    """A pixel further away than `radius` changes nothing."""
    net, rng = models.build('rrdb', scale=scale, features=2, blocks=1, growth=1, folds=False), np.random.default_rng(0)
    lr, r = rng.random((1, 3, 24, 3), np.float32), rrdb.radius(scale=scale, blocks=1, folds=False)
    shapes = jax.eval_shape(net.init, jax.random.key(0), lr)
    variables = jax.tree.map(lambda s: np.float32(rng.normal(size=s.shape)), shapes)
    enlarge = jax.jit(lambda lr: net.apply(variables, lr)[0])
    changed = np.asarray(enlarge(lr) != enlarge(lr + np.eye(24, dtype=np.float32)[None, :1, :, None])).any((0, 1, 3))
    assert r == 19 and changed.any() and not changed[scale * (r + 1) :].any()


def test_basicsrs_network_has_its_published_size_and_its_radius():
    """Head 28*64, 32 convolutions of 577*64, two of 577*256, one more of 577*64, tail 577*3: 1,517,571."""
    shapes = jax.eval_shape(models.build('msrresnet').init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    assert sum(s.size for s in jax.tree.leaves(shapes)) == 1_517_571
    net, rng = models.build('msrresnet', features=2, blocks=1), np.random.default_rng(0)
    lr = rng.random((1, 3, 20, 3), np.float32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), lr)
    variables = jax.tree.map(lambda s: np.float32(rng.normal(size=s.shape)), shapes)
    enlarge = jax.jit(lambda lr: net.apply(variables, lr))
    (sr, taps), (other, _) = enlarge(lr), enlarge(lr + np.eye(20, dtype=np.float32)[None, :1, :, None])
    changed = np.asarray(sr != other).any((0, 1, 3))
    assert models.radius(net) == 6 and changed.any() and not changed[4 * 7 :].any()
    assert {name: t.shape for name, t in taps.items()} == dict.fromkeys(('head', 'block1'), (1, 3, 20, 2))


def test_other_names_of_basicsrs_network_and_the_wrong_model(tmp_path):
    plain = tensors(LAYERS['BasicSR x4'])
    known, *_ = convert.convert(saved(tmp_path / 'w', plain), 'srresnet', tmp_path / 'a')  # it is called so as well
    assert known['model'] == 'msrresnet'
    older = (
        {'body': 'recon_trunk', 'conv_hr': 'HRconv'},
        {'body': 'trunk_net', r'upconv(\d)': r'upsample\1.upsample_conv'},
    )
    for i, pairs in enumerate(older):
        other = plain
        for old, new in pairs.items():
            other = {re.sub(f'^{old}', new, key): array for key, array in other.items()}
        other = {f'generator.{key}': array for key, array in other.items()}
        assert convert.convert(saved(tmp_path / 'w', other), '', tmp_path / f'b{i}').card['sha256'] == known['sha256']
    for model in ('edsr', 'rrdb', 'vgg'):
        with pytest.raises(ValueError, match=r'; this looks like SRResNet of BasicSR \(MSRResNet\): --model=msrresnet$'):
            convert.convert(tmp_path / 'w', model, tmp_path / 'c')
    unknown = {'residual.0.in1.weight': np.ones(4, np.float32)}
    for model in ('', 'srresnet'):
        with pytest.raises(ValueError, match="this looks like twtygqyy's SRResNet, which has instance norm.*: there is no such"):
            convert.convert(saved(tmp_path / 'w', unknown), model, tmp_path / 'c')
    with pytest.raises(
        ValueError,
        match=r'is of no model that is known here, it begins with a \(4,\); give --model, one of.*; as a teacher .* kdsr.teach',
    ):
        convert.convert(saved(tmp_path / 'w', {'a': np.ones(4, np.float32)}), '', tmp_path / 'c')


@pytest.mark.parametrize('name', FAKD)
def test_the_model_may_be_left_out(tmp_path, name):
    np.savez(tmp_path / 'w.npz', **FAKD[name])
    assert convert.convert(tmp_path / 'w.npz', '', tmp_path / 'out').card['model'] == name


@pytest.mark.parametrize('kind', [np.float16, 'bfloat16'])
@pytest.mark.parametrize('scale', [255, 1])
def test_the_range_of_colours_in_half_precision_files(kind, scale):
    """In bfloat16 -114.444, -111.4605 and -103.02 are -114.5, -111.5 and -103: a range of 255.1."""
    half = lambda array: np.asarray(jnp.asarray(array, kind), np.float32)
    shift = half(SHIFT['sub_mean.bias'] / 255 * scale)
    assert names.colour_range({'sub_mean.bias': shift}) == {'rgb_range': scale}
    with pytest.raises(ValueError, match='its colour shift'):
        names.colour_range({'sub_mean.bias': shift * np.float32([1, 1, 1.05])})


def test_averaged_weights_are_taken_and_said(tmp_path):
    """In all formats by the names' first parts: 'params_ema.head.weight' beside 'params.head.weight'."""
    arrays = {'head': np.float32([1, 2])}
    take = lambda key='', **networks: formats.chosen(
        formats.Weights({f'{n}.{k}': v + i for i, n in enumerate(networks.values()) for k, v in arrays.items()}), key
    )
    for averaged in ('params_ema', 'ema_state_dict', 'model_ema', 'generator_ema'):
        found = take(a='params', b=averaged)
        assert (found.taken, found.others) == (averaged, ('params',)) and found.arrays['head'].tolist() == [2, 3]
        assert take('params', a='params', b=averaged).arrays['head'].tolist() == [1, 2]
    for wrapper in ('net', 'G', 'generator', 'netG', 'module'):
        assert list(take(a=wrapper).arrays) == ['head'] and take(a=wrapper)[1:] == ('', ())
    assert take(a='discriminator', b='generator').others == ('discriminator',)
    with pytest.raises(ValueError, match="it has no 'weights', only the whole, params, params_ema: choose another --key"):
        take('weights', a='params', b='params_ema')


def test_the_command_says_what_it_found_and_took(tmp_path):
    weights = tensors(LAYERS['BasicSR x2'])
    both = {f'params.{k}': v for k, v in weights.items()} | {f'params_ema.{k}': v / 2 for k, v in weights.items()}
    file = saved(tmp_path / 'w.safetensors', both)
    said = command('kdsr.convert', file, f'--out={tmp_path / "a"}').stdout
    assert '(params_ema of it) -> ' in said and 'not taken: params; --key takes another' in said
    assert 'by its names and shapes it is SRResNet of BasicSR (MSRResNet): --model=msrresnet' in said
    with pytest.raises(ValueError, match=r'more than --max_gib=1e-06'):
        convert.convert(file, '', tmp_path / 'b', max_gib=1e-6)
    plain, *_ = convert.convert(file, 'srresnet', tmp_path / 'c', key='params')
    other, *_ = convert.convert(saved(tmp_path / 'plain', weights), 'srresnet', tmp_path / 'd')
    assert plain['sha256'] == other['sha256']
