"""Losses and changes of the methods after FAKD, in float64, against the released codes of DUKD, CSD, DCKD, MTKD and PISR run aside.

Their values are those of PyTorch 2 on the CPU; sin and cos below make the same images and features, NCHW there.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdsr import consistency
from kdsr.data.resize import imresize
from kdsr.losses import contrastive, information, wavelet
from kdsr.models import bicubic

wave = lambda shape, f=1.0, off=0.0, fn=np.sin: fn(np.arange(np.prod(shape)) * f + off).reshape(shape).transpose(0, 2, 3, 1)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


LEVELS = ((2, 4, 1.0), (3, 4, 0.5), (4, 2, 0.7), (5, 2, 0.3), (6, 1, 1.1))  # channels, side, frequency
WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
features = lambda count, off: [jnp.asarray(wave((count, c, n, n), f, off)) for c, n, f in LEVELS]
CSD = {'negatives': [[x[i : i + 1] for x in features(3, 1.0)] for i in range(3)], 'weights': list(WEIGHTS)}


def test_the_ratio_is_csds():
    student, teacher = features(2, 0.3), features(2, 0.0)
    np.testing.assert_allclose(contrastive.ratio(student, teacher, **CSD), 0.1828423185, rtol=1e-8)
    alone = [
        contrastive.ratio([s], [t], [[n[i]] for n in CSD['negatives']])
        for i, (s, t) in enumerate(zip(student, teacher, strict=True))
    ]
    expected = [0.1096576688, 0.1146364161, 0.0946127856, 0.1831117521, 0.1146462042]
    np.testing.assert_allclose(alone, expected, rtol=1e-7)
    gradient = jax.grad(lambda s: contrastive.ratio(s, teacher, **CSD))(student)
    np.testing.assert_allclose(gradient[0][0, 0, :4, 0], [0.0003710270, 0.0001873395, -0.0003710270, -0.0003710270], atol=1e-10)
    np.testing.assert_allclose(gradient[4][0, 0, 0, :4], [0.0675754270, 0.0329878374, -0.0675754270, -0.0675754270], atol=1e-9)


def test_the_ratio_is_dckds():
    negatives = [features(2, off) for off in (1.0, 1.5, 2.0)]
    found = contrastive.ratio(features(2, 0.3), features(2, 0.0), negatives, weights=list(WEIGHTS))
    np.testing.assert_allclose(found, 0.1307093525, rtol=1e-8)


def test_laws_of_the_ratio():
    student, teacher = features(2, 0.3), features(2, 0.0)
    assert contrastive.ratio(student, student, **CSD) == 0
    with pytest.raises(ValueError, match='there are no negatives'):
        contrastive.ratio(student, teacher, [])
    with pytest.raises(ValueError, match='differ'):
        contrastive.ratio(student, teacher, [[x[:, :1] for x in teacher]])


def test_haar_bands_are_those_of_mtkd():
    low, high = wavelet.haar(wave((2, 3, 8, 8)))
    np.testing.assert_allclose(low[0, :2, :2, 0], [[1.1214738583, -0.2467969413], [-1.1436154603, 0.5589121709]], atol=1e-10)
    np.testing.assert_allclose(high[0, 0, 0, :, 0], [-0.2800028735, -0.1321156117, -0.7093553731], atol=1e-10)
    image = wave((2, 3, 8, 8), 0.7, 0.2)
    np.testing.assert_allclose(sum((np.square(x)).sum() for x in wavelet.haar(image)), np.square(image).sum(), rtol=1e-12)


@pytest.mark.parametrize(('levels', 'expected'), [(1, 0.3849615987), (2, 0.4206484682), (3, 0.4432266862)])
def test_the_wavelet_loss_is_mtkds(levels, expected):
    a, b = wave((2, 3, 8, 8)), wave((2, 3, 8, 8), off=0.3)
    np.testing.assert_allclose(wavelet.haar_l1(a, b, levels=levels), expected, rtol=1e-8)
    assert wavelet.haar_l1(a, a, levels=levels) == 0
    with pytest.raises(ValueError, match='even sides'):
        wavelet.haar_l1(a, b, levels=4)


@pytest.mark.parametrize(('law', 'expected'), [('laplace', 1.7996881254), ('gaussian', 3.1982840480)])
def test_information_is_pisrs(law, expected):
    teacher, mean = wave((2, 3, 2, 2), fn=np.cos), wave((2, 3, 2, 2), off=0.1, fn=np.cos)
    spread = np.log1p(np.exp(wave((2, 3, 2, 2), 0.5)))
    found = information.negative_log_likelihood(teacher, mean, spread, law=law)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    with pytest.raises(ValueError, match='must be equal'):
        information.negative_log_likelihood(teacher, mean[:1], spread)


def test_changes_are_dukds():
    image = wave((2, 1, 3, 3))
    row = lambda *names: consistency.changed(jnp.asarray(image), jnp.asarray([[n in names for n in 'ihvt']] * 2))[0, 0, :, 0]
    for names, expected in {
        'i': [1.0000000000, 0.1585290152, 0.0907025732],
        'h': [-0.2794154982, 0.6569865987, 0.9893582466],
        'v': [0.9092974268, 0.8414709848, 0.0000000000],
        't': [0.0000000000, 0.1411200081, -0.2794154982],
        'ht': [-0.2794154982, 0.1411200081, 0.0000000000],
    }.items():
        np.testing.assert_allclose(row(*names), expected, atol=1e-10)


def test_the_released_inverse_fails_exactly_where_one_mirror_meets_a_transpose():
    every = np.array([[bool(n >> i & 1) for i in range(4)] for n in range(16)])
    images = jnp.asarray(np.random.default_rng(0).random((16, 5, 5, 2)))
    turned = consistency.changed(images, jnp.asarray(every))
    np.testing.assert_allclose(consistency.restored(turned, jnp.asarray(every)), images, atol=1e-15)
    off = np.abs(consistency.restored(turned, jnp.asarray(every), 'same') - images).max((1, 2, 3)) > 1e-9
    assert [''.join(n for n, on in zip('ihvt', which, strict=True) if on) for which in every[off]] == ['ht', 'iht', 'vt', 'ivt']


def test_changes_come_as_often_as_asked_and_by_the_example():
    keys = jax.random.split(jax.random.key(0), 4000)
    which = np.asarray(consistency.drawn(keys, 0.3))
    np.testing.assert_allclose(which.mean(0), 0.3, atol=4 * (0.21 / 4000) ** 0.5)
    np.testing.assert_array_equal(consistency.drawn(keys[100:110], 0.3), which[100:110])


def test_zoom_out_is_matlabs_reduction():
    x = ((np.sin(np.arange(64)) + 1) / 2).reshape(1, 8, 8, 1)
    half, quarter = (np.asarray(bicubic.reduce(jnp.asarray(x), s))[0, ..., 0] for s in (2, 4))
    np.testing.assert_allclose(half[0], [0.7279605865, 0.4573228359, 0.3100623488, 0.6997048855], atol=2e-7)  # float32 there
    np.testing.assert_allclose(half[3], [0.3237318099, 0.7085810304, 0.5044714808, 0.2845682502], atol=2e-7)
    np.testing.assert_allclose(quarter, [[0.5287502408, 0.5055560470], [0.5001861453, 0.4685258567]], atol=2e-7)
    np.testing.assert_allclose(half, imresize(x[0], 1 / 2)[..., 0], atol=1e-12)
