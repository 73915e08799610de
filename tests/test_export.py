"""Exports that need nothing but kdsr's own packages: StableHLO, weights for PyTorch, what goes wrong, and the cards."""

import json
import re
import subprocess
import sys

import exporting
import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors
from shell import command, only_line

from kdsr import convert, export, models
from kdsr.data.sources import embedded
from kdsr.export import calibration, jobs, program, torch_layout
from kdsr.foreign import formats
from kdsr.models import exports, layers

SMALL = {'size': (24, 32)}


def card(path):
    return json.loads((path.parent / f'{path.name}.json').read_text())


@pytest.mark.parametrize('name', ['edsr', 'msrresnet', 'rcan', 'rrdb_student', 'srresnet', 'srvgg'])
def test_stablehlo_takes_pictures_of_any_size(tmp_path, name):
    source, file = exporting.network(tmp_path / name, name), f'{name}_x{exporting.NETWORKS[name].get("scale", 4)}.stablehlo'
    cards, failures = export.run(source, ['stablehlo'], tmp_path / 'out', **SMALL)
    assert failures == [] and cards == [card(tmp_path / 'out' / file)]
    assert [check['input'] for check in cards[0]['checks']] == [[1, 24, 32, 3], [2, 17, 17, 3], [1, 24, 32, 3]]
    assert max(check['max'] for check in cards[0]['checks']) < 2e-6
    s = models.load(source).scale
    assert cards[0]['input']['shape'] == ['b', 'h', 'w', 3] and cards[0]['output']['shape'] == ['b', f'{s}*h', f'{s}*w', 3]
    assert cards[0]['platforms'] == ['cpu', 'cuda', 'tpu']


def test_stablehlo_runs_without_kdsr(tmp_path):
    source = exporting.network(tmp_path / 'net', 'rrdb_student')
    (said,), _ = export.run(source, ['stablehlo'], tmp_path, **SMALL, name='net', white=255)
    assert said['input']['range'] == [0, 255]
    lr = np.float32(np.random.default_rng(0).uniform(0, 255, (3, 9, 13, 3)))
    np.save(tmp_path / 'lr.npy', lr)
    program = ["import sys; sys.modules['kdsr'] = None", 'import numpy', "lr = numpy.load('lr.npy')", *said['read']]
    program.append("numpy.save('sr.npy', sr)")
    subprocess.run([sys.executable, '-c', '\n'.join(program)], cwd=tmp_path, check=True, timeout=100)
    expected = 255 * np.asarray(models.load(source)(lr / 255))
    np.testing.assert_allclose(np.load(tmp_path / 'sr.npy'), expected, atol=255e-6)


def test_networks_that_ask_for_their_size_are_told_a_way(tmp_path):
    source = exporting.network(tmp_path / 'san', 'san')
    _, ((what, reason),) = export.run(source, ['stablehlo'], tmp_path / 'out', **SMALL)
    assert what == 'san_x2.stablehlo' and reason.endswith('try --nodynamic)') and len(reason) < 400
    assert list((tmp_path / 'out').iterdir()) == []
    (said,), _ = export.run(source, ['stablehlo'], tmp_path / 'out', **SMALL, dynamic=False)
    assert said['input']['shape'] == [1, 24, 32, 3] and said['output']['shape'] == [1, 48, 64, 3]
    assert said['checks'][0]['max'] < 1e-5


def test_what_is_written_has_one_operation_for_each_convolution():
    """Programs traced on CPU hold its own forms: nine shifted products for a depthwise convolution, a matmul for few outputs."""
    net = models.build('rrdb_student', features=8)
    lr = jax.ShapeDtypeStruct((1, 16, 16, 3), np.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), lr)
    made = program.Program(exports.upscaler(net, variables), 'net')
    count = lambda fn: str(jax.make_jaxpr(fn)(variables, lr)).count('conv_general_dilated[')
    assert count(made.forward()) == 9  # head, 3 blocks of 2, the upsampler's, tail
    assert count(lambda v, x: net.apply(v, x)[0]) < 9 and layers.on_cpu()


@pytest.mark.parametrize('name, white, clip', [('edsr', 1, False), ('edsr', 255, True)])
def test_range_of_pixels(tmp_path, name, white, clip):
    made = program.Program(models.load(exporting.network(tmp_path / name, name, scale=2)), name)
    lr, sr = made.example((1, 16, 24, 3))
    assert 0 <= lr.min() < 0.1 and 0.4 < lr.max() <= 1 and lr.std() > 0.05  # a photograph
    found = np.asarray(made.fixed(white, clip)(lr * np.float32(white)))
    np.testing.assert_allclose(found, np.clip(white * sr, 0, white) if clip else white * sr, atol=1e-5 * white)


# The names of the published files, in the shapes of the networks of `exporting`: BasicSR's EDSR and RRDBNet, Real-ESRGAN's
# SRVGGNetCompact, RCAN's original code (yulunzhang/RCAN), EDSR-PyTorch's RDN.
PUBLISHED = {
    'edsr': """conv_first.weight 8 3 3 3; conv_first.bias 8; body.0.conv1.weight 8 8 3 3; body.1.conv2.bias 8;
        conv_after_body.weight 8 8 3 3; upsample.0.weight 32 8 3 3; upsample.2.bias 32; conv_last.weight 3 8 3 3""",
    'rcan': """sub_mean.weight 3 3 1 1; sub_mean.bias 3; add_mean.bias 3; head.0.weight 8 3 3 3;
        body.0.body.0.body.0.weight 8 8 3 3; body.1.body.1.body.2.bias 8; body.0.body.0.body.3.conv_du.0.weight 4 8 1 1;
        body.0.body.1.body.3.conv_du.2.bias 8;
        body.1.body.2.weight 8 8 3 3; body.2.weight 8 8 3 3; tail.0.0.weight 32 8 3 3; tail.1.weight 3 8 3 3""",
    'rdn': """SFENet1.weight 8 3 3 3; SFENet2.bias 8; RDBs.0.convs.1.conv.0.weight 4 12 3 3; RDBs.1.LFF.weight 8 16 1 1;
        GFF.0.weight 8 16 1 1; GFF.1.weight 8 8 3 3; UPNet.0.weight 36 8 3 3; UPNet.2.weight 3 4 3 3""",
    'rrdb': """conv_first.weight 8 3 3 3; body.0.rdb1.conv1.weight 4 8 3 3; body.0.rdb2.conv4.weight 4 20 3 3;
        body.0.rdb3.conv5.weight 8 24 3 3; body.0.rdb3.conv5.bias 8; conv_body.bias 8; conv_up1.weight 8 8 3 3;
        conv_up2.bias 8; conv_hr.weight 8 8 3 3; conv_last.weight 3 8 3 3""",
    'srvgg': """body.0.weight 8 3 3 3; body.1.weight 8; body.2.weight 8 8 3 3; body.3.weight 8; body.5.weight 8;
        body.6.weight 48 8 3 3; body.6.bias 48""",
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_weights_for_pytorch_come_back_bit_for_bit(tmp_path, name):
    source = exporting.network(tmp_path / name, name, seed=3)
    (said,), failures = export.run(source, ['torch'], tmp_path / 'out', **SMALL)
    assert not failures and said['checks'][0]['max'] == 0
    file = tmp_path / 'out' / said['file']
    tensors = safetensors.load_file(file)
    for line in PUBLISHED[name].split(';'):
        key, *shape = line.split()
        assert tensors[key].shape == tuple(map(int, shape)), key
    assert all(array.dtype == np.float32 for array in tensors.values()) and said['tensors'] == len(tensors)
    convert.convert(file, name, tmp_path / 'back')
    ours, theirs = (exports.flatten(exports.read(path)[1]) for path in (source, tmp_path / 'back'))
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in ours)
    had, has = (models.load(path).module for path in (source, tmp_path / 'back'))
    assert had == has


@pytest.mark.parametrize('scale, inputs', [(2, 12), (1, 48)])
def test_real_esrgans_smaller_scales_come_back(tmp_path, scale, inputs):
    """At x2 and x1 the first convolution reads squares of pixels: PyTorch's order of channels there is another as well."""
    source = exporting.network(tmp_path / 'net', 'rrdb', scale=scale)
    (said,), _ = export.run(source, ['torch'], tmp_path, **SMALL, name='net')
    assert safetensors.load_file(tmp_path / 'net.safetensors')['conv_first.weight'].shape == (8, inputs, 3, 3)
    assert said['checks'][0]['max'] == 0


def test_an_edsr_without_a_tail_comes_back(tmp_path):
    """PyTorch's PixelShuffle reads channel c*r*r + dy*r + dx as pixel (dy, dx) of colour c, the house (dy*r + dx)*3 + c."""
    source = exporting.network(tmp_path / 'net', 'edsr', direct=True)
    (said,), _ = export.run(source, ['torch'], tmp_path, **SMALL, name='net')
    tensors, (_, variables) = safetensors.load_file(tmp_path / 'net.safetensors'), exports.read(source)
    assert 'conv_last.weight' not in tensors and said['checks'][0]['max'] == 0
    kernel = variables['params']['up']['conv1']['kernel']
    for c, dy, dx in ((0, 0, 1), (1, 2, 3), (2, 3, 0)):
        ours, theirs = kernel[..., (4 * dy + dx) * 3 + c], tensors['upsample.0.weight'][16 * c + 4 * dy + dx]
        assert np.array_equal(ours.transpose(2, 0, 1), theirs)


def test_safetensors_that_begin_with_the_byte_of_a_pickle(tmp_path):
    """A safetensors file begins with the length of its header; 0x80, in every 32nd file, is how a pickle begins."""
    begun = set()
    for pad in range(0, 300, 8):
        path = tmp_path / f'{pad}.safetensors'
        path.write_bytes(safetensors.save({'a': np.ones((2, 3), np.float32)}, {'pad': 'x' * pad}))
        begun.add(path.read_bytes()[0])
        assert np.array_equal(formats.read(path).arrays['a'], np.ones((2, 3)))
    assert 0x80 in begun


def test_what_a_pytorch_file_cannot_hold_is_said(tmp_path):
    source = exporting.network(tmp_path / 'net', 'edsr', res_scale=0.5)
    (said,), _ = export.run(source, ['torch'], tmp_path, **SMALL, name='net')
    assert said['not in the file'] == {'res_scale': 0.5, 'rgb_range': 255.0}
    (line,) = said['read']
    assert line == 'python -m kdsr.convert net.safetensors --model=edsr --out=EXPORT --arg res_scale=0.5'


@pytest.mark.parametrize('name', ['rrdb_gsoc', 'rrdb_student', 'san', 'srresnet'])
def test_networks_that_pytorchs_tools_do_not_know(tmp_path, name):
    source = exporting.network(tmp_path / name, name)
    cards, failures = export.run(source, ['torch'], tmp_path, **SMALL)
    assert cards == []
    assert failures == [('torch', f'no PyTorch tool has a layout for a {name}; there is one for edsr, rcan, rdn, rrdb, srvgg')]
    assert set(PUBLISHED) == set(torch_layout.FAMILIES)


def test_a_file_that_is_off_is_removed_and_the_rest_is_written(tmp_path, monkeypatch):
    """A weight that changed on its way: the program is 1e-3 and more off."""
    source, out = exporting.network(tmp_path / 'edsr', 'edsr'), tmp_path / 'out'
    forward = program.Program.forward
    change = lambda how: lambda self, *a, **k: lambda weights, lr: how(forward(self, *a, **k)(weights, lr))
    with monkeypatch.context() as patch:
        patch.setattr(program.Program, 'forward', change(lambda sr: sr + 1e-3))
        cards, ((what, reason),) = export.run(source, ['stablehlo', 'torch'], out, **SMALL)
    assert what == 'edsr_x4.stablehlo' and re.fullmatch(r'it is 0.001 \(max\) away from JAX, more than 0.0001: not kept', reason)
    assert sorted(p.name for p in out.iterdir()) == ['edsr_x4.safetensors', 'edsr_x4.safetensors.json']
    with monkeypatch.context() as patch:
        patch.setattr(program.Program, 'forward', change(lambda sr: sr * np.nan))
        assert 'it is nan (max) away' in export.run(source, ['stablehlo'], out, **SMALL)[1][0][1]
    monkeypatch.setattr(program.Program, 'forward', change(lambda sr: sr[:, 1:]))
    assert 'it makes (1, 95, 128, 3) of (1, 24, 32, 3)' in export.run(source, ['stablehlo'], out, **SMALL)[1][0][1]
    assert len(list(out.iterdir())) == 2


def test_files_are_replaced_whole_and_their_cards_describe_them(tmp_path):
    job = lambda text: jobs.Job('a.bin', lambda path: path.write_text(text) and {'checks': [{'max': 0.0}]}, ('numpy', 'none'), 1e-4)
    (tmp_path / 'a.bin').write_text('old')
    with pytest.raises(FileExistsError, match='a.bin is there and has no card .*: choose another --name or --out, or --overwrite'):
        jobs.finish(job('new'), tmp_path, {'model': 'edsr'})
    assert (tmp_path / 'a.bin').read_text() == 'old' and [p.name for p in tmp_path.iterdir()] == ['a.bin']
    said = jobs.finish(job('new'), tmp_path, {'model': 'edsr'}, overwrite=True)
    assert (tmp_path / 'a.bin').read_text() == 'new' and said == card(tmp_path / 'a.bin')
    assert said['bytes'] == 3 and said['sha256'] == '11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437'
    assert {'jax', 'jaxlib', 'flax', 'numpy', 'python'} <= set(said['versions']) and 'none' not in said['versions']
    assert said['versions']['jax'] == jax.__version__ and said['model'] == {'model': 'edsr'}

    def interrupted(path):
        path.mkdir()
        (path / 'half').write_text('')
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.finish(jobs.Job('a.bin', interrupted, (), 1e-4), tmp_path, {}, overwrite=True)
    assert (tmp_path / 'a.bin').read_text() == 'new' and sorted(p.name for p in tmp_path.iterdir()) == ['a.bin', 'a.bin.json']


def test_a_file_of_another_network_is_not_replaced(tmp_path):
    first, second = (exporting.network(tmp_path / name / 'net', 'edsr', seed) for seed, name in enumerate('ab'))
    out, write = tmp_path / 'out', lambda source, **options: export.run(source, ['torch'], tmp_path / 'out', **SMALL, **options)
    assert len(write(first)[0]) == len(write(first)[0]) == 1  # its own file it replaces
    files = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(files) == {'net_x4.safetensors', 'net_x4.safetensors.json'}
    cards, ((what, reason),) = write(second)
    assert cards == [] and what == 'net_x4.safetensors'
    assert re.search(r'net_x4.safetensors is there and of another network \(edsr, sha256 \w{8} and not \w{8}\): choose', reason)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files
    assert write(second, name='other')[1] == [] and (out / 'net_x4.safetensors').read_bytes() == files['net_x4.safetensors']
    (said,), failures = write(second, overwrite=True)
    assert not failures and said['model']['sha256'] == card(out / 'net_x4.safetensors')['model']['sha256']
    assert (out / 'net_x4.safetensors').read_bytes() == (out / 'other.safetensors').read_bytes() != files['net_x4.safetensors']
    assert write(first)[0] == []  # a network may be back, its file is another's now


def test_files_are_named_after_the_run_or_export(tmp_path, monkeypatch):
    for path in ('runs/one/export/student', 'runs/two/export/student', 'runs/two/export/student_ema', 'teachers/my net (2)'):
        exporting.network(tmp_path / path, 'edsr')
    exporting.network(tmp_path / 'small_x3', 'rdn')
    label = lambda path: export.label(tmp_path / path, 3 if 'x3' in path else 4)
    assert label('runs/one') == label('runs/one/export/student') == 'one_x4'
    assert label('runs/two') == label('runs/two/export/student_ema') == 'two_x4'  # averaged weights stand for the run
    assert label('runs/two/export/student') == 'two_student_x4'
    assert label('teachers/my net (2)') == 'my_net_2__x4' and label('small_x3') == 'small_x3'
    exporting.network(tmp_path / 'runs/three/distil/export/student', 'edsr')
    assert label('runs/three/distil') == 'distil_x4'
    (tmp_path / 'runs/three/stages.json').write_text('{}')
    assert label('runs/three') == 'three_x4'
    assert label('runs/three/distil') == label('runs/three/distil/export/student') == 'three_distil_x4'
    monkeypatch.chdir(tmp_path / 'runs' / 'one')
    assert (
        export.label('.', 4) == 'one_x4'
        and export.label('edsr_x4', 4) == 'edsr_x4'
        and export.label('light_x4', 2) == 'light_x4_x2'
    )


def test_long_names(tmp_path):
    source = exporting.network(tmp_path / 'net', 'edsr')
    (said,), _ = export.run(source, ['torch'], tmp_path / 'out', **SMALL, name='a' * 200)
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [said['file'], said['file'] + '.json']
    with pytest.raises(ValueError, match='is longer than 200 bytes: give a shorter --name'):
        export.run(source, ['torch'], tmp_path / 'out', **SMALL, name='é' * 101)


def test_windows_of_one_size_cover_pictures_of_any():
    """A network that shifts nothing gives the enlarged picture, whatever the windows; each has the size that it asked for."""
    sizes = []

    def nearest(lr):
        sizes.append(lr.shape)
        return lr.repeat(2, 1).repeat(2, 2)

    rng = np.random.default_rng(0)
    for height, width in [(5, 7), (16, 24), (17, 23), (61, 90), (5, 90)]:
        lr = rng.random((1, height, width, 3), np.float32)
        np.testing.assert_array_equal(calibration.anywhere(nearest, (16, 24), 2)(lr), lr.repeat(2, 1).repeat(2, 2))
    assert set(sizes) == {(1, 16, 24, 3)}


def test_pictures_to_calibrate_by(tmp_path):
    made = program.Program(models.load(exporting.network(tmp_path / 'net', 'srvgg')), 'net')
    examples, sets = calibration.sets(export.Options(), made, '--tflite')
    assert list(sets) == ['embedded'] and sets['embedded'] is examples and len(examples) == len(embedded())
    pictures = calibration.inputs(examples, (32, 48))
    assert {picture.shape for picture in pictures} == {(1, 32, 48, 3)} and len(pictures) == len(examples)
    assert (pictures[0].min(), pictures[0].max()) == (0, 1) and all(0 <= p.min() and p.max() <= 1 for p in pictures)
    middle = examples[1].lr[examples[1].lr.shape[0] // 2 - 16 :][:32] / np.float32(255)
    assert np.array_equal(pictures[1][0], middle[:, (middle.shape[1] - 48) // 2 :][:, :48])
    with pytest.raises(FileNotFoundError, match="no folder '.*nowhere'"):
        calibration.sets(export.Options(calibration=str(tmp_path / 'nowhere')), made, '--tflite')


def test_the_command(tmp_path):
    source = exporting.network(tmp_path / 'net', 'srvgg')
    flags = [f'--out={tmp_path / "out"}', '--size=24x32', '--name=small']
    run = command('kdsr.export', source, '--to=torch,stablehlo', *flags)
    assert run.stdout == f'2 written to {tmp_path / "out"}, 0 failed\n' and 'equal to JAX' in run.stderr
    assert sorted(p.name for p in (tmp_path / 'out').glob('*.json')) == ['small.safetensors.json', 'small.stablehlo.json']
    student = exporting.network(tmp_path / 'student', 'rrdb_student')
    run = command('kdsr.export', student, '--to=torch,stablehlo', *flags, '--overwrite', code=1)
    assert run.stdout.startswith('1 written to') and 'failed: torch: no PyTorch tool' in run.stderr


def test_errors_on_one_line(tmp_path):
    source, out = exporting.network(tmp_path / 'net', 'edsr'), f'--out={tmp_path / "out"}'
    error = lambda *args: only_line(command('kdsr.export', *args, out, code=1))
    assert "unknown format 'tensorflow'" in error(source, '--to=tensorflow')
    assert '--size=180 is no ROWSxCOLUMNS' in error(source, '--to=torch', '--size=180')
    assert 'no model at nowhere' in error('nowhere', '--to=torch')
    with pytest.raises(ValueError, match="unknown format 'tflit', did you mean 'tflite'"):
        export.run(source, ['tflit'], tmp_path)
    with pytest.raises(ValueError, match="unknown TFLite precision 'float8', did you mean 'float32'"):
        export.run(source, ['torch'], tmp_path, options=export.Options(precisions=('float8',)))
    with pytest.raises(ValueError, match='size 4x8 is too small'):
        export.run(source, ['torch'], tmp_path, size=(4, 8))
    with pytest.raises(ValueError, match="the name 'a/b' has characters"):
        export.run(source, ['torch'], tmp_path, name='a/b')
    with pytest.raises(ValueError, match='no format is asked for'):
        export.run(source, [], tmp_path)


@pytest.mark.parametrize('channels', [3, 1])
def test_without_the_embedded_photographs_files_are_compared_all_the_same(monkeypatch, channels):
    def missing():
        raise FileNotFoundError('no photographs')

    monkeypatch.setattr(program.sources, 'embedded', missing)
    images = program.photographs(2, 21, 35, channels)
    assert images.shape == (2, 21, 35, channels) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0.1 and (images[0] != images[1]).any()


@pytest.mark.parametrize(
    'form, module, remedy',
    [
        ('savedmodel', 'tensorflow', r'tensorflow is not installed: `pip install tensorflow\S* ai-edge-litert` brings it'),
        ('tflite', 'tensorflow', r'tensorflow is not installed: `pip install tensorflow\S* ai-edge-litert` brings it'),
        ('onnx', 'jax2onnx', 'jax2onnx is not installed: `pip install jax2onnx onnxruntime` brings it, in an environment'),
        ('stablehlo', 'flatbuffers', 'flatbuffers is not installed: `pip install flatbuffers` brings it'),
    ],
)
def test_missing_packages_are_named_as_an_index_has_them(tmp_path, monkeypatch, form, module, remedy):
    monkeypatch.setitem(sys.modules, module, None)
    cards, ((what, reason),) = export.run(exporting.network(tmp_path / 'net', 'edsr'), [form], tmp_path / 'out', **SMALL)
    assert cards == [] and what == form and re.match(remedy, reason)
