"""Exports by jax2onnx, where the extra `onnx` is installed."""

import subprocess
import sys

import exporting
import numpy as np
import pytest
import tiny
from shell import command

from kdsr import export, models
from kdsr.export import program

for package in ('jax2onnx', 'onnx', 'onnxruntime'):
    pytest.importorskip(package, reason="needs the extra, in an environment of its own: pip install '.[onnx]'")

SMALL = {'size': (24, 32)}


@pytest.mark.parametrize(
    'name', ['edsr', 'msrresnet', 'rcan', 'rdn', 'rrdb', 'rrdb_gsoc', 'rrdb_student', 'srresnet', 'srvgg', 'vdsr']
)
def test_onnx_takes_pictures_of_any_size(tmp_path, name):
    source = exporting.network(tmp_path / name, name)
    (said,), failures = export.run(source, ['onnx'], tmp_path, **SMALL, name='net')
    s, c = models.load(source).scale, models.load(source).module.channels
    assert failures == [] and said['file'] == 'net.onnx' and said['opset'] == 17
    assert said['input']['shape'] == ['batch', c, 'height', 'width'] and said['input']['layout'] == 'NCHW'
    assert said['output']['shape'][:2] == ['batch', c] and said['output']['shape'][2:] == [f'{s}*height', f'{s}*width']
    assert [check['input'] for check in said['checks']] == [[1, 24, 32, c], [2, 17, 17, c]]
    assert max(check['max'] for check in said['checks']) < 5e-6
    assert {'jax2onnx', 'onnx', 'onnxruntime'} <= set(said['versions'])


def test_onnx_runs_alone(tmp_path):
    source = exporting.network(tmp_path / 'net', 'rrdb_student')
    (said,), _ = export.run(source, ['onnx'], tmp_path, **SMALL, name='net', white=255)
    lr = np.float32([tiny.picture(19, 45, seed) for seed in range(3)])
    np.save(tmp_path / 'lr.npy', lr.transpose(0, 3, 1, 2))
    lines = ["import sys; sys.modules['kdsr'] = sys.modules['jax'] = None", 'import numpy', "lr = numpy.load('lr.npy')"]
    lines += [*said['read'], "numpy.save('sr.npy', sr)"]
    subprocess.run([sys.executable, '-c', '\n'.join(lines)], cwd=tmp_path, check=True, timeout=100)
    expected = 255 * np.asarray(models.load(source)(lr / 255)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(np.load(tmp_path / 'sr.npy'), expected, atol=255e-6)


@pytest.mark.parametrize('white', [1, 255])
def test_int8_is_close_and_says_what_it_costs(tmp_path, white):
    source = exporting.network(tmp_path / 'net', 'srvgg', blocks=3)
    options = export.Options(onnx=('float32', 'int8'))
    said, failures = export.run(source, ['onnx'], tmp_path, **SMALL, name='net', white=white, options=options)
    assert failures == [] and [card['file'] for card in said] == ['net.onnx', 'net_int8.onnx']
    assert said[1]['checks'][0]['mean'] < 0.02 and said[1]['calibration'] == {'from': 'embedded photographs', 'pictures': 11}
    (cost,) = said[1]['psnr_y'].values()
    assert cost['drop'] == cost['float32'] - cost['int8'] and abs(cost['drop']) < 1
    assert said[1]['input'] == said[0]['input'], 'of any size, float32 in and out'
    import onnx

    graph = onnx.load(tmp_path / 'net_int8.onnx').graph
    stored = {one.name: one.data_type for one in graph.initializer}
    kernels = [node for node in graph.node if node.op_type == 'DequantizeLinear' and node.input[0] in stored]
    assert sum(stored[node.input[0]] == onnx.TensorProto.INT8 for node in kernels) >= 5, 'the kernels of five convolutions'


def test_networks_that_ask_for_their_size(tmp_path):
    source = exporting.network(tmp_path / 'san', 'san')
    run = command('kdsr.export', source, '--to=onnx', f'--out={tmp_path / "out"}', '--size=24x32', code=1)
    assert 'failed: san_x2.onnx: ' in run.stderr and 'try --nodynamic)' in run.stderr
    run = command('kdsr.export', source, '--to=onnx', f'--out={tmp_path / "out"}', '--size=24x32', '--nodynamic')
    assert run.stdout.startswith('1 written') and (tmp_path / 'out' / 'san_x2.onnx').is_file()


def test_a_file_that_is_off_is_removed(tmp_path, monkeypatch):
    source, forward = exporting.network(tmp_path / 'srvgg', 'srvgg'), program.Program.forward
    monkeypatch.setattr(program.Program, 'forward', lambda self, *a: lambda weights, lr: forward(self, *a)(weights, lr) + 1e-3)
    cards, ((what, reason),) = export.run(source, ['onnx'], tmp_path / 'out', **SMALL)
    assert cards == [] and what == 'srvgg_x4.onnx' and 'it is 0.001 (max) away' in reason
    assert list((tmp_path / 'out').iterdir()) == []
