"""Weights for PyTorch's tools, loaded by one of them: spandrel (the extra `torch`), which chaiNNer and others use."""

import exporting
import numpy as np
import pytest

from kdsr import export, models
from kdsr.export import program

torch = pytest.importorskip('torch', reason="needs the extra: pip install '.[torch]'")
spandrel = pytest.importorskip('spandrel', reason="needs the extra: pip install '.[torch]'")

KNOWN = {'rcan': 'RCAN', 'rrdb': 'ESRGAN', 'srvgg': 'Compact'}
FIELDS = {'rrdb': {'growth': 32}}  # the only one it looks for


@pytest.mark.parametrize('name', KNOWN)
def test_spandrel_recognises_it_and_makes_the_same_image(tmp_path, name):
    source = exporting.network(tmp_path / name, name, **FIELDS.get(name, {}))
    (said,), failures = export.run(source, ['torch'], tmp_path, size=(24, 32), name='net')
    assert failures == [] and 'spandrel' in said['tools']
    loaded, network = spandrel.ModelLoader('cpu').load_from_file(tmp_path / 'net.safetensors').eval(), models.load(source)
    assert (loaded.architecture.id, loaded.scale, loaded.input_channels) == (KNOWN[name], network.scale, 3)
    lr = program.photographs(2, 24, 32, 3)
    with torch.no_grad():
        found = loaded.model(torch.tensor(lr.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, network(lr), atol=3e-5)
