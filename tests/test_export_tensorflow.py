"""Exports by TensorFlow, where the extra `tflite` is installed: SavedModel, TFLite in three precisions, calibration."""

import json
import subprocess
import sys

import exporting
import numpy as np
import pytest
import tiny
from shell import command

from kdsr import export, models
from kdsr.export import program

WHY = "needs the extra: pip install '.[tflite]'"
pytest.importorskip('tensorflow', reason=WHY)
interpreter = pytest.importorskip('ai_edge_litert.interpreter', reason=WHY)

SMALL = {'size': (24, 32)}


def run(said, folder, lr, *barred):
    """What the lines of a card make of `lr` in a process that cannot import `barred`."""
    np.save(folder / 'lr.npy', lr)
    lines = [f'import sys; sys.modules[{name!r}] = None' for name in barred]
    lines += ['import numpy', "lr = numpy.load('lr.npy')", *said['read'], "numpy.save('sr.npy', sr)"]
    subprocess.run([sys.executable, '-c', '\n'.join(lines)], cwd=folder, check=True, timeout=200)
    return np.load(folder / 'sr.npy')


def test_savedmodel_with_the_originals_signature_and_a_free_one(tmp_path):
    source = exporting.network(tmp_path / 'net', 'rrdb_student')
    (said,), failures = export.run(source, ['savedmodel'], tmp_path, name='net')
    assert failures == [] and said == json.loads((tmp_path / 'net_savedmodel.json').read_text())
    assert said['input']['serving_default']['shape'] == [None, 180, 320, 3]
    assert said['output']['serving_default']['shape'] == [None, 720, 1280, 3]
    assert said['input']['dynamic']['shape'] == [None, None, None, 3] and said['input']['dynamic']['range'] == [0, 255]
    tried = [(check['signature'], check['input']) for check in said['checks']]
    assert tried == [
        ('serving_default', [2, 180, 320, 3]), ('dynamic', [1, 180, 320, 3]), ('dynamic', [2, 121, 161, 3])
    ]  # fmt: skip
    assert max(check['max'] for check in said['checks']) < 3e-6 and 'tensorflow' in ' '.join(said['versions'])
    lr = np.float32(np.random.default_rng(0).uniform(0, 255, (3, 11, 14, 3)))
    expected = 255 * np.asarray(models.load(source)(lr / 255))
    np.testing.assert_allclose(run(said, tmp_path, lr, 'kdsr', 'jax'), expected, atol=255e-6)


def test_savedmodel_holds_the_weights_once(tmp_path):
    """Two signatures, one set of variables."""
    source = exporting.network(tmp_path / 'net', 'edsr', features=24)
    (said,), _ = export.run(source, ['savedmodel'], tmp_path, **SMALL, name='net', white=1)
    assert said['input']['serving_default']['range'] == [0, 1]
    weights = 4 * models.load(source).card['parameters']
    variables = (tmp_path / 'net_savedmodel' / 'variables').glob('variables.data*')
    assert weights < sum(file.stat().st_size for file in variables) < 1.1 * weights + 20_000
    assert (tmp_path / 'net_savedmodel' / 'saved_model.pb').stat().st_size < weights + 100_000


@pytest.mark.parametrize(
    'name', ['edsr', 'msrresnet', 'rcan', 'rdn', 'rrdb', 'rrdb_gsoc', 'rrdb_student', 'srresnet', 'srvgg', 'vdsr']
)
def test_tflite_of_every_network(tmp_path, name):
    source = exporting.network(tmp_path / name, name)
    options = export.Options(precisions=('float32', 'float16'))
    (full, half), failures = export.run(source, ['tflite'], tmp_path, **SMALL, name='net', options=options)
    s = models.load(source).scale
    c = models.load(source).module.channels
    assert not failures and full['output']['shape'] == [1, 24 * s, 32 * s, c] and full['input']['dtype'] == 'float32'
    assert full['checks'][0]['max'] < 5e-6 and half['checks'][0]['max'] < 5e-3 and half['bytes'] < full['bytes']


def test_tflite_of_a_network_that_asks_for_its_size(tmp_path):
    source, options = exporting.network(tmp_path / 'san', 'san'), export.Options(precisions=('float32',))
    (said,), failures = export.run(source, ['tflite'], tmp_path, **SMALL, options=options)
    assert not failures and said['checks'][0]['max'] < 3e-5
    cards, ((what, reason),) = export.run(source, ['savedmodel'], tmp_path, **SMALL)
    assert cards == [] and what == 'san_x2_savedmodel' and reason.endswith('try --nodynamic)')
    (said,), _ = export.run(source, ['savedmodel'], tmp_path, **SMALL, dynamic=False)
    assert list(said['input']) == ['serving_default'] and said['input']['serving_default']['shape'] == [1, 24, 32, 3]


def test_tflite_of_the_originals_size_runs_alone(tmp_path):
    source = exporting.network(tmp_path / 'net', 'rrdb_student')
    options = export.Options(precisions=('float32',))
    (said,), _ = export.run(source, ['tflite'], tmp_path, options=options, name='net', white=255)
    assert said['file'] == 'net_float32.tflite' and said['input']['range'] == [0, 255]
    assert said['input']['shape'] == [1, 180, 320, 3] and said['output']['shape'] == [1, 720, 1280, 3]
    assert said['milliseconds']['median'] > 0 and said['milliseconds']['runs'] >= 1
    lr = tiny.picture(180, 320, 5)[None].astype(np.float32)
    expected = 255 * np.asarray(models.load(source)(lr / 255))
    np.testing.assert_allclose(run(said, tmp_path, lr, 'kdsr', 'jax', 'tensorflow'), expected, atol=255e-6)


def test_int8_of_the_shipped_network(tmp_path, data_dir):
    """Calibrated by Set14; what it loses on Set5 is little, and is what its card says."""
    options = export.Options(
        ('int8',), calibration=str(data_dir / 'benchmarks/Set14'), benchmarks=(str(data_dir / 'benchmarks/Set5'),)
    )
    (said,), failures = export.run('edsr_x4', ['tflite'], tmp_path, size=(48, 64), options=options)
    assert not failures and said['calibration'] == {'from': options.calibration, 'pictures': 14}
    values = said['psnr_y']['Set5/x4']
    assert values['pictures'] == 5 and values['drop'] == values['float32'] - values['int8']
    assert abs(values['float32'] - 31.1056) < 0.02  # kdsr.evaluate on whole pictures; these are seen in windows
    assert -0.05 < values['drop'] < 0.6
    assert said['bytes'] < 0.35 * 4 * models.load('edsr_x4').card['parameters']


def test_bytes_in_and_out(tmp_path):
    """A byte is a pixel value on both sides: no one needs to know the scales."""
    source, folder = (
        exporting.network(tmp_path / 'net', 'srvgg'),
        tiny.folder(tmp_path / 'pictures', count=3, height=128, width=160),
    )
    flags = [f'--calibration={folder}', '--to=tflite', '--tflite=int8', '--int8_io=uint8', '--size=24x32', '--name=net']
    run = command('kdsr.export', source, *flags, f'--out={tmp_path}')
    assert 'pictures/x4' in run.stderr and 'dB' in run.stderr and run.stdout.startswith('1 written')
    said = json.loads((tmp_path / 'net_int8.tflite.json').read_text())
    for side in (said['input'], said['output']):
        assert side['dtype'] == 'uint8' and side['zero_point'] == 0 and abs(255 * side['scale'] - 1) < 1e-6
    assert said['calibration'] == {'from': str(folder), 'pictures': 3} and said['checks'][0]['mean'] < 0.01
    model = interpreter.Interpreter(str(tmp_path / 'net_int8.tflite'))
    model.allocate_tensors()
    lr = tiny.picture(24, 32, 9)[None]
    model.set_tensor(model.get_input_details()[0]['index'], lr)
    model.invoke()
    sr = model.get_tensor(model.get_output_details()[0]['index'])
    expected = np.clip(np.asarray(models.load(source)(lr / np.float32(255))), 0, 1) * 255
    assert np.abs(sr - expected).mean() < 2 and sr.dtype == np.uint8


def test_int8_needs_colours_and_pictures(tmp_path):
    grey = exporting.network(tmp_path / 'srvgg', 'srvgg', channels=1)
    cards, ((what, reason),) = export.run(grey, ['tflite'], tmp_path / 'out', **SMALL)
    assert [card['input']['shape'] for card in cards] == [[1, 24, 32, 1]] * 2
    assert cards[0]['input']['colours'].startswith('Y of BT.601')
    assert what == 'srvgg_x4_int8.tflite' and 'RGB pictures, the network takes 1' in reason
    options = export.Options(('int8',), calibration=str(tmp_path / 'nowhere'))
    _, ((_, reason),) = export.run(exporting.network(tmp_path / 'net', 'srvgg'), ['tflite'], tmp_path, **SMALL, options=options)
    assert "no folder '" in reason and 'nowhere' in reason


def test_files_that_are_off_are_removed(tmp_path, monkeypatch):
    source, forward = exporting.network(tmp_path / 'srvgg', 'srvgg'), program.Program.forward
    monkeypatch.setattr(
        program.Program, 'forward', lambda self, *a, **k: lambda weights, lr: 1.3 * forward(self, *a, **k)(weights, lr) + 0.2
    )
    cards, failures = export.run(source, ['savedmodel', 'tflite'], tmp_path / 'out', **SMALL)
    assert cards == [] and list((tmp_path / 'out').iterdir()) == []
    assert [what for what, _ in failures] == [
        f'srvgg_x4_{end}' for end in ('savedmodel', 'float32.tflite', 'float16.tflite', 'int8.tflite')
    ]
    assert all('away from JAX, more than' in reason for _, reason in failures)
