"""Converted SRGAN weights on real pictures: scores of the generators, verdicts of the discriminator."""

import jax
import numpy as np
import pytest

from kdsr import convert, evaluate, models
from kdsr.data import benchmarks
from kdsr.models import discriminator_srgan, exports


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'golden'),
    [('srresnet_x4_krasserm', {'psnr_y': 32.017}), ('srgan_generator_x4_krasserm', {'psnr_y': 29.187, 'lpips': 0.0880})],
)
def test_scores_on_set5(tmp_path, data_dir, name, golden):
    """PSNR-Y and LPIPS (alex) of the same weights in PyTorch, by the lpips package."""
    convert.convert(data_dir / 'weights' / f'{name}.npz', 'srresnet', tmp_path / 'out')
    examples = benchmarks.read(data_dir / 'benchmarks' / 'Set5', 4)
    extra = {'lpips': evaluate.lpips('alex')} if 'lpips' in golden else {}
    found = evaluate.score(models.load(tmp_path / 'out'), examples, 4, extra=extra)
    assert found['psnr_y'] == pytest.approx(golden['psnr_y'], abs=0.005)
    if 'lpips' in golden:
        assert found['lpips'] == pytest.approx(golden['lpips'], abs=0.0005)


@pytest.mark.slow
def test_the_discriminator_tells_photographs_from_generated_ones(tmp_path, data_dir, keras_weights):
    """64 patches of Set14, batch statistics, real and generated ones apart: above 0.6 and below 0.1."""
    convert.convert(keras_weights / 'gan_discriminator.h5', 'discriminator_srgan', tmp_path / 'd')
    convert.convert(keras_weights / 'gan_generator.h5', 'srresnet', tmp_path / 'g')
    card, variables = exports.read(tmp_path / 'd')
    judge = discriminator_srgan.Discriminator(**card['args'])
    rng, pairs = np.random.default_rng(0), benchmarks.read(data_dir / 'benchmarks' / 'Set14', 4)
    real, small = np.empty((64, 96, 96, 3), np.float32), np.empty((64, 24, 24, 3), np.float32)
    for i in range(64):
        _, lr, hr = pairs[i % len(pairs)]
        y, x = rng.integers(lr.shape[0] - 23), rng.integers(lr.shape[1] - 23)
        small[i], real[i] = lr[y : y + 24, x : x + 24], hr[4 * y : 4 * y + 96, 4 * x : 4 * x + 96]
    fake = np.clip(models.load(tmp_path / 'g')(small / 255), 0, 1)
    logits = jax.jit(lambda image: judge.apply(variables, image, train=True, mutable=['batch_stats'])[0][0])
    probability = lambda image: float(jax.nn.sigmoid(logits(image)).mean())
    assert probability(real / 255) > 0.6
    assert probability(fake) < 0.1
