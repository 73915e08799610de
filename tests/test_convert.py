"""Foreign weights -> exports: the networks' outputs, sizes read off shapes, the command and its one-line errors."""

import json
import os
import re

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors
from shell import command, only_line
from state_dicts import FAKD, IMAGE, SHIFT

from kdsr import convert, models
from kdsr.foreign import edsr, names, rcan
from kdsr.models import layers

# what the file's shapes say; mean, standard deviation and pixel (3, 4) of image 1 of the output: FAKD's PyTorch code, float64
ATTENTION = {'groups': 2, 'blocks': 1, 'reduction': 2, 'channels': 3, 'rgb_range': 255.0}
PLAIN = {'channels': 3, 'rgb_range': 255.0}
GOLDEN = {
    'edsr': (
        {'scale': 4, 'features': 4, 'blocks': 3, 'res_scale': 1.0, **PLAIN},
        (1.8204909420, 56.3218587142, 35.2948927, 36.46613354, 37.45316865),
    ),
    'rcan': (
        {'scale': 2, 'features': 4, **ATTENTION},
        (0.2852756942, 11.2588839610, 1.19698907, 1.60016285, 1.97675264),
    ),
    'san': (
        {'scale': 3, 'features': 8, **ATTENTION},
        (1.4862812948, 16.2734529209, -22.07958115, -21.70487435, -20.9514636),
    ),
    'rdn': (
        {'scale': 4, 'features': 4, 'blocks': 2, 'layers': 2, 'growth': 3, **PLAIN},
        (0.1848945550, 3.9326668251, 3.64812037, 3.60871447, 3.55994432),
    ),
}


def renamed(tensors, *pairs):
    """`tensors` with parts of their names replaced, one pair (pattern, replacement) after the other."""
    for old, new in pairs:
        tensors = {re.sub(old, new, name): array for name, array in tensors.items()}
    return tensors


ORIGINAL = {
    'edsr': [('^body1.0', 'body.0'), ('^body2.0', 'body.1'), ('^body3.0', 'body.2'), ('^body3.1', 'body.3')],
    'rcan': [('body_group', 'body.'), ('body_tail', 'body.2')],
}
ENDS = [(r'head\.0', 'conv_first'), (r'tail\.0', 'upsample'), (r'tail\.1', 'conv_last')]
BLOCKS = {
    'edsr': [(r'^body\.3', 'conv_after_body'), (r'\.body\.0', '.conv1'), (r'\.body\.2', '.conv2')],
    'rcan': [(r'\.body\.0\.body', '.residual_group.0.rcab'), (r'\.body\.1', '.conv'), (r'^body\.2', 'conv_after_body')],
}
ATTENTION_NAMES = [(r'conv_du\.0', 'attention.1'), (r'conv_du\.2', 'attention.3')]
BASICSR = {name: [*ORIGINAL[name], *BLOCKS[name], *ATTENTION_NAMES, *ENDS] for name in BLOCKS}


@pytest.mark.parametrize(
    ('name', 'source', 'pairs'),
    [
        *((name, 'FAKD', []) for name in GOLDEN),
        *((name, 'original', pairs) for name, pairs in ORIGINAL.items()),
        *((name, 'BasicSR', pairs) for name, pairs in BASICSR.items()),
    ],
)
def test_converted_networks_equal_the_original_code(tmp_path, name, source, pairs):
    shift = SHIFT if name in ('edsr', 'rcan', 'san') and source != 'BasicSR' else {}
    file = tmp_path / 'weights.pth'
    file.write_bytes(safetensors.save(renamed({**shift, **FAKD[name]}, *pairs)))
    card, wrapper, assumed, *_ = convert.convert(file, name, tmp_path / 'export')
    args, (mean, std, *pixel) = GOLDEN[name]
    assert card['args'] == args and wrapper == ''
    assert assumed == (*(['res_scale'] if name == 'edsr' else []), *([] if shift else ['rgb_range']))
    assert card['source']['file'] == 'weights.pth' and len(card['source']['sha256']) == 64
    sr = np.asarray(models.load(tmp_path / 'export')(IMAGE))
    scale = args['scale']
    assert sr.shape == (2, 5 * scale, 6 * scale, 3)
    error = (2e-4 if name == 'san' else 2e-6) * std  # SAN takes roots of matrices
    np.testing.assert_allclose([sr.mean(), sr.std(ddof=1), *sr[1, 3, 4]], [mean, std, *pixel], atol=error)


def test_what_a_file_cannot_tell_is_assumed_as_published_and_named(tmp_path):
    """EDSR of 256 features has res_scale 0.1 (Lim et al., section 4.1); the range of colours stands in the fixed shift."""
    wide = {
        k: np.broadcast_to(np.float32(0), [256 if n == 4 else 1024 if n == 16 else n for n in v.shape])
        for k, v in FAKD['edsr'].items()
    }
    assert edsr.convert(wide).args == {**GOLDEN['edsr'][0], 'features': 256, 'res_scale': 0.1}
    small = {**SHIFT, 'sub_mean.bias': SHIFT['sub_mean.bias'] / 255}
    assert edsr.convert({**small, **FAKD['edsr']}).args['rgb_range'] == 1.0
    with pytest.raises(ValueError, match=r'its colour shift \(114.444, 111.46\d, 0.000\) is not that of DIV2K'):
        rcan.convert({**FAKD['rcan'], 'sub_mean.bias': SHIFT['sub_mean.bias'] * np.float32([1, 1, 0])})
    np.savez(tmp_path / 'w.npz', **FAKD['edsr'])
    card, _, assumed, *_ = convert.convert(tmp_path / 'w.npz', 'edsr', tmp_path / 'out', args={'res_scale': 0.5, 'rgb_range': 1})
    assert assumed == () and card['args']['res_scale'] == 0.5 and card['args']['rgb_range'] == 1


def test_shuffled_channels_are_those_of_pytorchs_pixel_shuffle():
    """torch.nn.PixelShuffle: output (c, r y + dy, r x + dx) is input channel c r^2 + dy r + dx."""
    features, r = 3, 2
    bias = np.arange(12.0)
    found, scale = names.shuffled({'params/up/conv1/bias': bias}, features)
    plane = np.asarray(layers.pixel_shuffle(jnp.asarray(found['params/up/conv1/bias'])[None, None, None], r))[0]
    assert scale == 2 and all(plane[y, x, c] == 4 * c + 2 * y + x for y in (0, 1) for x in (0, 1) for c in range(3))
    with pytest.raises(ValueError, match='makes 12 channels, which no pixel shuffle brings to 4'):
        names.shuffled({'params/up/conv1/bias': bias}, 4)


@pytest.mark.parametrize(
    ('name', 'change', 'options', 'line'),
    [
        ('edsr', lambda t: t.pop('tail.1.bias'), {}, r'as edsr\(scale=4, .*\) do not fit: missing params/tail/bias \(3,\)$'),
        ('edsr', lambda t: t.update(extra=t['head.0.bias']), {}, r'do not fit: unexpected extra \(4,\)$'),
        ('edsr', lambda t: None, {'args': {'blocks': 2}}, r'unexpected params/block3/conv1/kernel \(3, 3, 4, 4\); unexpected'),
        ('edsr', lambda t: None, {'args': {'features': 5}}, r'conv1/kernel is \(3, 3, 4, 4\), the model has \(3, 3, 5, 5\);'),
        ('edsr', lambda t: None, {'args': {'feature': 4}}, "edsr has no field 'feature', did you mean 'features'"),
        ('rcan', lambda t: None, {'model': 'edsr'}, r'nothing in it is block1: is it another model\? It begins with body_group0'),
        ('rcan', lambda t: None, {'model': 'vgg'}, 'it has 0 convolutions of a VGG, VGG16 has 13 and VGG19 16'),
        ('rcan', lambda t: None, {'model': 'srresnet'}, 'layer 1 of the file is .* the model has head with a kernel'),
        ('rdn', lambda t: t.pop('SFENet1.weight'), {}, 'as rdn: no convolution in it is params/head1/kernel: is it another'),
        ('san', lambda t: t.update({'body.0.weight': t['gamma']}), {}, r'unexpected body.0.weight \(1,\)'),
        ('edsr', lambda t: t.update({'body.2.bias': t['head.0.bias']}), {}, 'are both params/body/bias: the file holds more than'),
        (
            'edsr',
            lambda t: t.update({'tail.1.bias': t['tail.1.bias'] + 1e5}),
            {'dtype': 'float16'},
            'tail/bias of .* beyond float16',
        ),
        ('edsr', lambda t: None, {'model': 'edrs'}, "no conversion for a model 'edrs', did you mean 'edsr'\\?; models: disc"),
        ('edsr', lambda t: None, {'model': 'names'}, "no conversion for a model 'names'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, name, change, options, line):
    weights = dict(FAKD[name])
    change(weights)
    np.savez(tmp_path / 'w.npz', **weights)
    with pytest.raises(ValueError, match=line) as error:
        convert.convert(**{'source': tmp_path / 'w.npz', 'model': name, 'out': tmp_path / 'out', **options})
    assert '\n' not in str(error.value) and os.listdir(tmp_path) == ['w.npz']


def test_an_export_is_not_written_over(tmp_path):
    np.savez(tmp_path / 'w.npz', **FAKD['edsr'])
    (tmp_path / 'out').mkdir()  # an empty folder is fine
    card, *_ = convert.convert(tmp_path / 'w.npz', 'edsr', tmp_path / 'out', dtype='float16')
    assert card['dtype'] == 'float16' and sorted(os.listdir(tmp_path / 'out')) == ['model.json', 'weights.safetensors']
    before = (tmp_path / 'out' / 'model.json').read_bytes()
    with pytest.raises(FileExistsError, match="out' has files: choose another --out or delete it first"):
        convert.convert(tmp_path / 'w.npz', 'edsr', tmp_path / 'out')
    assert (tmp_path / 'out' / 'model.json').read_bytes() == before and len(os.listdir(tmp_path)) == 2


def test_the_command(tmp_path):
    np.savez(tmp_path / 'w.npz', **FAKD['edsr'])
    args = ('kdsr.convert', tmp_path / 'w.npz', '--model=edsr', f'--out={tmp_path / "out"}', '--arg', 'res_scale=0.5')
    run = command(*args)
    assert 'edsr, 2,443 parameters, float32' in run.stdout and 'scale=4, features=4' in run.stdout
    assert 'not in the file, taken as published: rgb_range=255.0; --arg key=value sets another value' in run.stdout
    assert json.loads((tmp_path / 'out' / 'model.json').read_text())['args']['res_scale'] == 0.5
    assert 'has files: choose another --out' in only_line(command(*args, code=1))
    line = only_line(command(*args[:-1], 'res_scale', 'blocks=3', code=1))
    assert f'give one SOURCE file, not 2 ({tmp_path / "w.npz"} blocks=3): repeat --arg for each key=value' in line


def test_arguments_as_they_are_typed():
    assert convert.pairs(['scale=4', 'res_scale=1e-1', 'weights=caffe']) == {'scale': 4, 'res_scale': 0.1, 'weights': 'caffe'}
    for text in ('scale', '=4', '4=4'):
        with pytest.raises(ValueError, match=f'--arg {text} is no key=value: write e.g. --arg scale=4'):
            convert.pairs([text])
