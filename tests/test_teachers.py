"""Teachers of any kind: what is recognised of them, and the one line where they are none."""

import functools
import json
import re

import numpy as np
import pytest
import tiny
from PIL import Image

from kdsr import models, teachers
from kdsr.data.resize import imresize
from kdsr.models.bicubic import enlarge
from kdsr.teachers import made, programs, trying
from kdsr.teachers.teacher import fitted, of_luma, tiles

RIPPLE = 0.01  # of white


def program(axes='nchw', colour='rgb', white=1.0, given=None, dtype='float32', shape=None, multiple=1, scale=2, break_=None):
    """A Program that enlarges and adds `RIPPLE`: as a network's biases, it is small in the right range and large in a wrong one."""
    free = {'nchw': (None, 3, None, None), 'nhwc': (None, None, None, 3)}[axes]

    def run(x):
        assert x.dtype == np.dtype(dtype)
        x = x.astype(np.float32).transpose(0, 2, 3, 1) if axes == 'nchw' else x.astype(np.float32)
        if x.shape[1] % multiple or x.shape[2] % multiple:
            raise RuntimeError('Got: 53 Expected: 56\nat node Concat_7')
        unit = np.clip((x + 1) / 2 if white == -1 else x / white, 0, 1)  # what is not in the range is cut off
        if colour == 'bgr':
            unit = np.clip(unit - np.float32([0, 0, 0.06]) * (unit[..., :1] > unit[..., 2:]), 0, 1)  # wrong where red comes first
        y = np.asarray(enlarge(unit, scale)) + RIPPLE * np.sin(np.arange(scale * unit.shape[2]))[:, None]
        out = white if given is None else given
        y = break_(y) if break_ else y
        y = 2 * y - 1 if out == -1 else y * out
        return y.transpose(0, 3, 1, 2) if axes == 'nchw' else y

    return trying.Program(run, shape or free, np.dtype(dtype))


CASES = {
    'NCHW, 0..1, RGB, float32, taken for RGB, BGR would do as well (--layout=bgr)': {},
    'NHWC, 0..255, RGB, float32, taken for RGB, BGR would do as well (--layout=bgr)': {'axes': 'nhwc', 'white': 255.0},
    'NCHW, 0..1 -> -1..1, RGB, float32, taken for RGB, BGR would do as well (--layout=bgr)': {'given': -1},
    'NHWC, 0..255, RGB, uint8, taken for RGB, BGR would do as well (--layout=bgr)': {
        'axes': 'nhwc',
        'white': 255.0,
        'dtype': 'uint8',
    },
    'NCHW, 0..1, BGR, float32': {'colour': 'bgr'},
    'NCHW, 0..1, RGB, float32, taken for RGB, BGR would do as well (--layout=bgr), multiples of 8': {'multiple': 8},
    'NCHW, 0..1, RGB, float32, taken for RGB, BGR would do as well (--layout=bgr), 40x32 alone': {'shape': (1, 3, 40, 32)},
}


@pytest.mark.parametrize('said', CASES)
def test_layouts_are_found_and_the_function_is_the_programs(said):
    fn, scale, details, sides = trying.recognised(program(**CASES[said]))
    assert ', '.join(details) == said and scale == 2
    x = trying.sample(30, 26)
    away = np.s_[:, 8:-16, 8:-16]  # what is mirrored has another border
    np.testing.assert_allclose(fn(x)[away], np.asarray(enlarge(x, 2))[away], atol=0.013)
    assert sides == ({'side': 32, 'overlap': 8} if 'alone' in said else {'side': 256})


def test_fixed_sizes_and_multiples_are_mirrored_and_cut():
    fn = fitted(lambda x: np.repeat(np.repeat(x, 2, 1), 2, 2), 2, exact=(5, 6))
    x = np.random.default_rng(0).random((1, 3, 4, 3))
    np.testing.assert_array_equal(fn(x), np.repeat(np.repeat(x, 2, 1), 2, 2))
    seen = []
    fitted(lambda x: seen.append(x) or x, 1, multiple=4)(x)
    assert seen[0].shape == (1, 4, 4, 3)
    np.testing.assert_array_equal(seen[0][:, 3], x[:, 2])
    with pytest.raises(ValueError, match='8x40 alone, too small'):
        tiles(exact=(8, 40))


def test_a_programs_picture_of_a_large_picture_is_made_of_tiles():
    fn, scale, details, sides = trying.recognised(program(shape=(1, 3, 48, 48)))
    lr = tiny.picture(90, 70, 0)
    teacher = teachers.Teacher('x', 'ONNX', scale, fn, **sides)
    sr = np.concatenate(list(teacher.blocks('lr', lr)))
    whole = np.asarray(enlarge(np.float32(lr[None]) / 255, 2))[0]
    inside = np.s_[40:-40, 40:-40]
    assert sr.shape == (180, 140, 3) and np.abs(sr[inside] - 255 * whole[inside].clip(0, 1)).max() <= 255 * RIPPLE + 1


@pytest.mark.parametrize(
    'given, words, reason',
    [
        ({'shape': (1, 4, None, None)}, '', 'neither 1 nor 3 channels'),
        ({'shape': (None, 3)}, '', 'its input has 2 axes'),
        ({'break_': lambda y: y * np.nan}, '', 'gives NaN or infinity'),
        ({'break_': lambda y: y[:, :-3]}, '', 'no enlargement by a whole number'),
        ({'break_': lambda y: 0 * y}, '', 'no layout gives a picture like the one that goes in'),
        ({'break_': lambda y: y[..., :2]}, '', 'gives 2 channels for 3'),
        ({'multiple': 100}, '', 'cannot be run on a picture.*at node Concat_7'),
        ({}, 'nhcw', "no 'nhcw': --layout takes words such as"),
        ({}, 'nhwc', 'does not fit its input'),
    ],
)
def test_what_is_no_teacher_is_one_line(given, words, reason):
    with pytest.raises(ValueError, match=reason) as e:
        trying.recognised(program(**given), words)
    assert '\n' not in str(e.value)


def test_layouts_that_cannot_be_told_apart_are_asked_for():
    """A network that makes a picture of 0..1 and a nearly as good one of 0..255: the user knows."""

    def run(x):
        y = np.repeat(np.repeat(x, 2, 2), 2, 3)
        return y + 0.02 if x.max() < 2 else np.clip(y + 5.6 * np.sin(np.arange(y.shape[-1])), 0, 255)

    one = trying.Program(run, (None, 3, None, None), np.dtype('float32'))
    with pytest.raises(ValueError, match='NCHW, 0..1, RGB .* and NCHW, 0..255, RGB .* both give a picture: --layout takes'):
        trying.recognised(one)
    assert trying.recognised(one, 'rgb,255')[2][0] == 'NCHW, 0..255, RGB'


def test_luma_goes_through_and_colours_are_enlarged():
    x = trying.sample(16, 16)
    y = of_luma(lambda plane: np.asarray(enlarge(plane, 2)), 2)(x)
    np.testing.assert_allclose(y, np.asarray(enlarge(x, 2)), atol=1e-5)


def test_integers_of_tflite_stand_for_numbers():
    details = {'quantization': (0.5, -3), 'dtype': np.int8}
    assert programs.stored(np.float32([0, 1, 1000]), details).tolist() == [-3, -1, 127]
    assert programs.meant(np.int8([-3, -1]), details).tolist() == [0, 1]


def test_kdsrs_own_networks(tmp_path):
    teacher = teachers.opened(tiny.teacher(tmp_path / 'net'))
    assert re.fullmatch(r'.*net: edsr x2, 0..1, RGB, [\d,]+ parameters', str(teacher)) and teacher.scale == 2
    x = trying.sample(20, 20)
    np.testing.assert_array_equal(teacher.fn(x), models.load(tmp_path / 'net')(x))
    y = teachers.opened(tiny.luminance(tmp_path / 'vdsr'), scale=3)
    assert y.scale == 3 and ', Y, ' in str(y)
    for path, options, reason in (
        (tmp_path / 'net', {'scale': 3}, 'x2 model, not one for x3'),
        (tmp_path / 'nothing', {}, 'a teacher is an export, run or shipped model of kdsr, a PyTorch file'),
        (tmp_path / 'net', {'layout': 'nchw'}, 'is for .onnx, .tflite and SavedModel'),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=reason):
            teachers.opened(path, **options)


def test_weights_of_a_network_that_kdsr_has(tmp_path):
    """A file as PyTorch's projects write it, without PyTorch."""
    import kdsr

    tiny.teacher(tmp_path / 'net')
    (card,) = kdsr.export(tmp_path / 'net', 'torch', tmp_path, say=None)
    teacher = teachers.opened(tmp_path / card['file'])
    assert teacher.what == 'edsr' and teacher.scale == 2
    x = trying.sample(20, 20)
    np.testing.assert_allclose(teacher.fn(x), models.load(tmp_path / 'net')(x), atol=1e-5)


def test_files_that_nobody_knows_are_one_line(tmp_path):
    np.savez(tmp_path / 'weights.npz', odd=np.ones(3, np.float32))
    with pytest.raises((ValueError, ModuleNotFoundError), match=r"weights.npz' is no network of kdsr's own|neither kdsr"):
        teachers.opened(tmp_path / 'weights.npz')
    (tmp_path / 'bad.onnx').write_bytes(b'nothing')
    with pytest.raises((ValueError, ModuleNotFoundError), match='bad.onnx. (cannot be opened as ONNX|is ONNX, which .* runs)'):
        teachers.opened(tmp_path / 'bad.onnx')


# a folder of a teacher's pictures


def test_a_folder_of_a_teachers_pictures(tmp_path):
    given = {}
    for name in ('cat', 'cat_2', 'dog'):
        given[name] = functools.partial(tiny.picture, 20, 24, len(name))
    (tmp_path / 'sr').mkdir()
    large = {name: np.uint8(np.clip(imresize(np.float64(read()), 3), 0, 255)) for name, read in given.items()}
    for name, file in (('cat', 'cat_x3.png'), ('cat_2', 'cat_2.png'), ('dog', 'dog-out.png')):
        Image.fromarray(large[name]).save(tmp_path / 'sr' / file)
    found = made.paired('service', tmp_path / 'sr', given)
    assert found.scale == 3 and {k: v.name for k, v in found.pairs.items()} == {
        'cat': 'cat_x3.png',
        'cat_2': 'cat_2.png',
        'dog': 'dog-out.png',
    }
    (block,) = found.blocks('dog', given['dog']()[2:10, 4:9], (2, 4))
    np.testing.assert_array_equal(block, large['dog'][6:30, 12:27])
    with pytest.raises(OSError, match='has no picture of it'):
        list(found.blocks('bird', given['dog']()))
    Image.fromarray(large['cat'][:-1]).save(tmp_path / 'sr' / 'cat_x3.png')
    with pytest.raises(ValueError, match='no enlargement by a whole number'):
        made.paired('service', tmp_path / 'sr', given)
    with pytest.raises(ValueError, match='no picture there has the name'):
        made.paired('service', tmp_path / 'sr', {'bird': None})


def test_the_card_says_what_was_recognised(tmp_path):
    from kdsr.teachers import taught

    card = taught.described(teachers.opened(tiny.teacher(tmp_path / 'net')), 'photos', taught.Options(patches=2))
    assert json.loads(json.dumps(card)) == card
    assert card['scale'] == 2 and card['squares'] == 2 and card['truth'] == 'truth' and len(card['sha256']) == 64
