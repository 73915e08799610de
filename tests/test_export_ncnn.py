"""Exports by pnnx, where the extra `ncnn` is installed: free sizes, few layers, 16-bit weights, what cannot be written."""

import subprocess
import sys

import exporting
import numpy as np
import pytest
import tiny

from kdsr import export, models
from kdsr.export import program, torch_graph

torch = pytest.importorskip('torch', reason="needs the extra: pip install '.[ncnn]'")
for package in ('pnnx', 'ncnn'):
    pytest.importorskip(package, reason="needs the extra: pip install '.[ncnn]'")

SMALL = {'size': (24, 32)}
CONVERTED = ['edsr', 'rdn', 'rrdb', 'rrdb_gsoc', 'rrdb_student', 'srresnet', 'srvgg']


@pytest.mark.parametrize('name', CONVERTED)
def test_ncnn_takes_pictures_of_any_size(tmp_path, name):
    source = exporting.network(tmp_path / name, name)
    said, failures = export.run(source, ['ncnn'], tmp_path, **SMALL, name='net')
    assert failures == [] and [card['file'] for card in said] == ['net_float32_ncnn', 'net_float16_ncnn']
    assert sorted(p.name for p in (tmp_path / 'net_float32_ncnn').iterdir()) == ['net.bin', 'net.param']
    s = models.load(source).scale
    assert said[0]['input'] | {'range': 0} == said[0]['input'] | {'name': 'data', 'shape': [3, 'height', 'width'], 'range': 0}
    assert said[0]['output']['shape'] == [3, f'{s}*height', f'{s}*width'] and said[0]['output']['name'] == 'output'
    for card, most in zip(said, (5e-6, 2e-3), strict=True):
        assert [check['input'] for check in card['checks']] == [[1, 24, 32, 3], [2, 17, 17, 3]]
        assert max(check['max'] for check in card['checks']) < most
    assert said[1]['bytes'] < 0.65 * said[0]['bytes']


@pytest.mark.parametrize(
    ('name', 'layers'),
    [
        ('srvgg', {'Input': 1, 'Split': 1, 'Convolution': 4, 'PReLU': 3, 'PixelShuffle': 1, 'Interp': 1, 'BinaryOp': 1}),
        # its tail of two steps; colours leave 0..1 by a factor and a term, and come back by a factor
        ('edsr', {'Input': 1, 'Split': 3, 'Convolution': 9, 'ReLU': 0, 'PixelShuffle': 2, 'MemoryData': 1, 'BinaryOp': 6}),
        # batch norm is in the convolutions
        ('srresnet', {'Input': 1, 'Split': 3, 'Convolution': 7, 'PReLU': 4, 'PixelShuffle': 2, 'TanH': 1, 'BinaryOp': 4}),
    ],
)
def test_nothing_is_computed_that_need_not_be(tmp_path, name, layers):
    (said, _), _ = export.run(exporting.network(tmp_path / name, name), ['ncnn'], tmp_path, **SMALL)
    for layer, most in layers.items():
        assert said['layers'].get(layer, 0) <= most, (layer, said['layers'])
    assert not set(said['layers']) - set(layers)


def test_the_lines_of_the_card_run_alone(tmp_path):
    source = exporting.network(tmp_path / 'net', 'srvgg')
    (said, _), _ = export.run(source, ['ncnn'], tmp_path, **SMALL, name='net', white=255)
    lr = np.float32(tiny.picture(19, 45, 1))
    np.save(tmp_path / 'lr.npy', lr.transpose(2, 0, 1))
    lines = ["import sys; sys.modules['kdsr'] = sys.modules['torch'] = None", 'import numpy', "lr = numpy.load('../lr.npy')"]
    lines += [*said['read'], "numpy.save('../sr.npy', sr)"]
    subprocess.run([sys.executable, '-c', '\n'.join(lines)], cwd=tmp_path / said['file'], check=True, timeout=100)
    expected = 255 * np.asarray(models.load(source)(lr[None] / 255))[0].transpose(2, 0, 1)
    np.testing.assert_allclose(np.load(tmp_path / 'sr.npy'), expected, atol=0.5)  # ncnn computes in 16 bits where it can


@pytest.mark.parametrize('name', ['rcan', 'vdsr'])
def test_what_would_fix_the_size_is_refused(tmp_path, name):
    cards, failures = export.run(exporting.network(tmp_path / name, name), ['ncnn'], tmp_path / 'out', **SMALL)
    assert cards == [] and len(failures) == 2
    assert all('has no counterpart in files of free size: use --to=onnx or --to=tflite' in reason for _, reason in failures)
    assert not any((tmp_path / 'out').iterdir())


@pytest.mark.parametrize('name', CONVERTED)
def test_the_graph_of_pytorch_is_the_network(tmp_path, name):
    network = models.load(exporting.network(tmp_path / name, name))
    lr = program.photographs(2, 20, 36, 3)
    found = torch_graph.function(network.module, network.variables)(torch.tensor(lr.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(found.numpy().transpose(0, 2, 3, 1), network(lr), atol=2e-6)


def test_a_file_that_is_off_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(program.Program, 'weights', property(lambda self: tiny_shift(self.network.variables)))
    cards, failures = export.run(exporting.network(tmp_path / 'srvgg', 'srvgg'), ['ncnn'], tmp_path / 'out', **SMALL)
    assert 'away from JAX, more than 0.0001: not kept' in failures[0][1] and not (tmp_path / 'out/srvgg_x4_float32_ncnn').exists()


def tiny_shift(variables):
    import jax

    return jax.tree.map(lambda x: np.asarray(x) + np.float32(1e-3), variables)
