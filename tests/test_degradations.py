"""Degradations: kernels, resizes, sharpening and JPEG equal Real-ESRGAN's own; draws have its probabilities; a pure function.

The numbers below were printed by basicsr (github.com/XPixelGroup/BasicSR, commit 8d56e3a: data/degradations.py,
utils/img_process_util.py, utils/diffjpeg.py) and by torch 2.13.0's `interpolate`, in single precision but for the kernels.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from kdsr.data import degradations, distortions, jpeg, kernels, sharpening
from kdsr.data.degradations import PRESETS, degrade, draw, generator, settings
from kdsr.data.kernels import Kernel
from kdsr.data.resize import imresize

PLACES = (0, 0, 0), (1, 30, 31), (2, 71, 79), (0, 40, 10)
COARSE = ((0, 0, 0), (1, 2, 3), (2, -1, -1), (0, 1, -2))


def steep(height, width):
    """float32 `[3, height, width]`, jumping."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(37 * y * y + 11 * x * y + 5 * x + c * 91) % 256 for c in range(3)]).astype(np.float32)


def smooth(height=72, width=80):
    """float32 `[3, height, width]`, whole grey levels: waves and an edge."""
    y, x = np.mgrid[:height, :width].astype(float)
    wave = lambda c: 60 * np.sin(x / (5 + c)) * np.cos(y / 7) + 60 * np.tanh((x - y) / 3 + c)
    return np.stack([np.rint(127 + wave(c)) for c in range(3)]).astype(np.float32)


def photo(height=420, width=440):
    """uint8 `[height, width, 3]`."""
    return distortions.picture(smooth(height, width))


def at(image, places):
    return [float(image[place]) for place in places]


# kernels


# Kernel -> its values at [3, 3], [2, 4], [0, 1], [5, 6], and the sum of its squares
KERNELS = {
    Kernel('iso', 7, (1.3, 1.3)): (0.0952743205, 0.052722607, 0.00203522519, 0.00203522519, 0.0481869914),
    Kernel('aniso', 7, (2.1, 0.6), 0.7): (0.130885627, 0.00829045707, 0.00824250818, 0.0243681954, 0.0677316462),
    Kernel('generalized_iso', 7, (1.3, 1.3), 0, 0.7): (0.0672923824, 0.0383396708, 0.00836076239, 0.00836076239, 0.0300893702),
    Kernel('generalized_aniso', 7, (2.1, 0.6), 0.7, 2.5): (0.235239293, 0, 0, 7.42736112e-06, 0.169807215),
    Kernel('plateau_iso', 7, (1.3, 1.3), 0, 1.0): (0.0812732061, 0.0372226879, 0.00935001486, 0.00935001486, 0.0317413806),
    Kernel('plateau_aniso', 7, (2.1, 0.6), 0.7, 1.6): (0.15398994, 0.00940212231, 0.00937250391, 0.0193468052, 0.0722607504),
    Kernel('sinc', 7, cutoff=2.1): (0.396299618, 0.0934689478, 0.0159743672, 0.0159743672, 0.410606586),
}


@pytest.mark.parametrize('kernel', KERNELS, ids=lambda k: k.family)
def test_kernels_equal_the_original(kernel):
    found = kernels.values(kernel)
    assert found.shape == (7, 7) and abs(found.sum() - 1) < 1e-12
    got = [*at(found, ((3, 3), (2, 4), (0, 1), (5, 6))), (found**2).sum()]
    np.testing.assert_allclose(got, KERNELS[kernel], atol=1e-6)
    np.testing.assert_allclose(got[0], KERNELS[kernel][0], rtol=1e-6)


def test_every_drawn_kernel_sums_to_1_and_equals_itself_turned_by_half():
    rng = np.random.default_rng(0)
    for _ in range(300):
        found = kernels.values(kernels.drawn(rng, PRESETS['realesrgan']['first']))
        assert abs(found.sum() - 1) < 1e-9
        np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-12)


FILTERED = {
    Kernel('aniso', 7, (2.1, 0.6), 0.7): (143.30637, 200.40166, 236.22968, 109.5921, 137.083632),
    Kernel('sinc', 13, cutoff=2.1): (128.13486, 204.74608, 231.53622, 113.94423, 137.037777),
}


@pytest.mark.parametrize('kernel', FILTERED, ids=lambda k: k.family)
def test_blur_equals_the_original(kernel):
    found = kernels.blurred(smooth(), kernels.values(kernel))
    np.testing.assert_allclose([*at(found, PLACES), found.mean(dtype=float)], FILTERED[kernel], rtol=3e-6)


@pytest.mark.parametrize('shape', [(40, 33), (5, 9), (100, 16)])
@pytest.mark.parametrize('sigma', [(2.0, 2.0), (2.0, 0.7)])
def test_separable_and_transformed_blurs_equal_the_sum(shape, sigma):
    image, kernel = steep(*shape), kernels.values(Kernel('aniso', 21, sigma, 0.4))
    padded = np.pad(image.astype(float), ((0, 0), (10, 10), (10, 10)), 'reflect')
    windows = np.lib.stride_tricks.sliding_window_view(padded, (21, 21), (1, 2))
    np.testing.assert_allclose(kernels.blurred(image, kernel), np.einsum('chwij,ij->chw', windows, kernel), atol=1e-3)


# resizes of steep(7, 9): mode, factor or size -> the new size, values at four places, the mean
RESIZED = {
    ('area', 1.37): ((9, 12), 0.0, 98.5, 34.0, 97.25, 121.098765),
    ('area', 0.61): ((4, 5), 23.75, 119.88889, 137.75, 78.666664, 122.046296),
    ('area', (5, 13)): ((5, 13), 18.5, 98.0, 42.5, 125.75, 122.051282),
    ('area', (16, 4)): ((16, 4), 5.0, 140.33333, 133.66667, 25.0, 121.645834),
    ('bilinear', 1.37): ((9, 12), 0.0, 121.11896, 58.949986, 104.71339, 121.148849),
    ('bilinear', 0.61): ((4, 5), 14.550321, 147.30226, 232.64571, 36.999397, 120.295217),
    ('bilinear', (5, 13)): ((5, 13), 7.3999996, 241.07693, 37.400005, 118.63078, 120.982249),
    ('bilinear', (16, 4)): ((16, 4), 3.125, 141.01172, 149.625, 40.214844, 121.003906),
    ('bicubic', 1.37): ((9, 12), -3.119261, 120.04971, 52.356251, 113.81557, 121.164045),
    ('bicubic', 0.61): ((4, 5), 7.2303181, 171.04599, 266.87885, 38.705967, 120.27347),
    ('bicubic', (5, 13)): ((5, 13), 3.2968168, 252.51981, 18.878843, 127.38789, 121.079417),
    ('bicubic', (16, 4)): ((16, 4), -2.0180295, 141.48026, 157.64771, 39.726624, 120.823184),
}


@pytest.mark.parametrize('mode, to', RESIZED)
def test_resizes_equal_the_original(mode, to):
    size, *want = RESIZED[mode, to]
    found = distortions.resized(steep(7, 9), size, mode, to if isinstance(to, float) else None)
    assert found.shape == (3, *size) and found.dtype == np.float32
    got = [*at(found, COARSE), found.mean(dtype=float)]
    np.testing.assert_allclose(np.array(got) / 255, np.array(want) / 255, atol=1e-5)


def test_a_resize_to_the_same_size_changes_nothing():
    for mode in distortions.MODES:
        assert np.array_equal(distortions.resized(smooth(), (72, 80), mode), smooth())


# sharpening and JPEG


def test_sharpening_equals_the_original():
    want = (0.46485767, 0.88562804, 0.92885077, 0.49129868, 0.537247104)
    host = sharpening.sharpened(smooth()) / 255
    device = np.asarray(sharpening.sharpened_batch(smooth()[None].transpose(0, 2, 3, 1) / 255))[0].transpose(2, 0, 1)
    for found in (host, device):
        np.testing.assert_allclose([*at(found, PLACES), found.mean(dtype=float)], want, atol=1e-5)
    np.testing.assert_allclose(host, device, atol=1e-5)


def test_sharpening_leaves_flat_and_faint_images_and_has_a_sigma_of_8():
    assert sharpening.SIGMA == pytest.approx(8)
    faint = 100 + 4 * np.sign(np.sin(np.arange(60, dtype=np.float32)))[None, :, None] * np.ones((3, 1, 50), np.float32)
    for image in (np.full((3, 60, 50), 77, np.float32), faint):
        np.testing.assert_allclose(sharpening.sharpened(image), image, atol=1e-3)


CODED = {
    30.0: (123.6032, 193.22235, 223.10255, 117.24931, 136.936842),
    62.5: (117.6559, 204.12047, 221.45976, 111.65825, 137.104468),
    95.0: (126.8074, 205.49936, 234.81476, 110.99274, 137.043969),
}


@pytest.mark.parametrize('quality', CODED)
def test_jpeg_by_formula_equals_the_original(quality):
    found = jpeg.by_formula(smooth(), quality)
    np.testing.assert_allclose([*at(found, PLACES), found.mean(dtype=float)], CODED[quality], atol=1e-3)


@pytest.mark.parametrize('quality', CODED)
def test_both_jpegs_lose_as_much(quality):
    """They round by other tables, so that they differ by about what each loses."""
    image = smooth(400, 400)
    one, other = jpeg.by_formula(image, quality), jpeg.by_file(image, quality)
    lost = [np.abs(found - image).mean() for found in (one, other)]
    assert abs(lost[0] - lost[1]) < 1.5 and min(lost) > 0.5
    assert np.abs(one - other).mean() < max(lost)


# noise


def test_gaussian_noise_has_its_sigma():
    grey = np.full((3, 200, 200), 128, np.float32)
    colour = distortions.with_gaussian_noise(grey, 10.0, False, np.random.default_rng(0)) - grey
    same = distortions.with_gaussian_noise(grey, 10.0, True, np.random.default_rng(0)) - grey
    assert colour.std() == pytest.approx(10, rel=0.02) and same.std() == pytest.approx(10, rel=0.02)
    assert (same[0] == same[1]).all() and abs(np.corrcoef(colour[0].ravel(), colour[1].ravel())[0, 1]) < 0.02


def test_poisson_noise_has_the_variance_of_counts():
    """A half is 200, the other 50: two values, so that white is 2 counts; of 256 values it is 256."""
    image = np.full((3, 300, 300), 200, np.float32)
    image[:, :150] = 50
    for value, counts in ((200, 2), (50, 2), (255, 256), (10, 256)):
        table = distortions._poisson(counts)[value * distortions.QUANTILES :][: distortions.QUANTILES]
        assert table.mean() == pytest.approx(0, abs=1.5e-2 * 255 / np.sqrt(counts))
        assert table.var() == pytest.approx(value * 255 / counts, rel=0.01)
    found = distortions.with_poisson_noise(image, 0.3, False, np.random.default_rng(0))
    steps = np.unique(np.round((found[:, 150:] - 200) / 0.3 + 200, 3))
    np.testing.assert_allclose(steps[:3], (0, 127.5, 255), atol=1e-2)
    same = distortions.with_poisson_noise(image, 0.3, True, np.random.default_rng(0)) - image
    np.testing.assert_allclose(same[0], same[2], atol=1e-4)


# draws


@pytest.fixture(scope='module')
def drawn():
    rng = np.random.default_rng(5)
    return [draw(PRESETS['realesrgan'], rng) for _ in range(10000)]


def agree(words, shares):
    """That the words come with these shares, by a chi-square test at 0.1 %."""
    assert set(words) == {name for name, share in shares.items() if share}
    shares = {name: share for name, share in shares.items() if share}
    if len(shares) == 1:
        return
    counts, total = [sum(word == name for word in words) for name in shares], sum(shares.values())
    assert scipy.stats.chisquare(counts, [len(words) * share / total for share in shares.values()]).pvalue > 1e-3, counts


def uniform(values, least, most):
    """That the values are equally spread, by a Kolmogorov-Smirnov test at 0.1 %."""
    assert scipy.stats.kstest(values, 'uniform', (least, most - least)).pvalue > 1e-3


FAMILIES = {
    'sinc': 0.1,
    'iso': 0.9 * 0.45,
    'aniso': 0.9 * 0.25,
    'generalized_iso': 0.9 * 0.12,
    'generalized_aniso': 0.9 * 0.03,
    'plateau_iso': 0.9 * 0.12,
    'plateau_aniso': 0.9 * 0.03,
}
SIZES = {size: 1 / 8 for size in range(7, 22, 2)}
MODES = {'area': 1, 'bilinear': 1, 'bicubic': 1}


@pytest.mark.parametrize(
    'part, blur, sigma, up, down, ratio, gaussian, poisson, coded',
    [
        ('first', 1.0, (0.2, 3), 0.2, 0.7, (0.15, 1.5), (1, 30), (0.05, 3), True),
        ('second', 0.8, (0.2, 1.5), 0.3, 0.4, (0.3, 1.2), (1, 25), (0.05, 2.5), False),
    ],
)
def test_orders_are_drawn_as_published(drawn, part, blur, sigma, up, down, ratio, gaussian, poisson, coded):
    orders = [getattr(d, part) for d in drawn]
    found = [o.kernel for o in orders if o.kernel]
    agree([o.kernel is not None for o in orders], {True: blur, False: 1 - blur})
    agree([k.family for k in found], FAMILIES)
    agree([k.size for k in found], SIZES)
    agree(
        ['up' if o.ratio > 1 else 'down' if o.ratio < 1 else 'keep' for o in orders],
        {'up': up, 'down': down, 'keep': 1 - up - down},
    )
    agree([o.mode for o in orders], MODES)
    agree([o.noise for o in orders], {'gaussian': 1, 'poisson': 1})
    agree([o.grey for o in orders], {True: 0.4, False: 0.6})
    uniform([o.ratio for o in orders if o.ratio > 1], 1, ratio[1])
    uniform([o.ratio for o in orders if o.ratio < 1], ratio[0], 1)
    uniform([o.amount for o in orders if o.noise == 'gaussian'], *gaussian)
    uniform([o.amount for o in orders if o.noise == 'poisson'], *poisson)
    uniform([k.sigma[0] for k in found if k.family != 'sinc'], *sigma)
    uniform([k.sigma[1] for k in found if 'aniso' in k.family], *sigma)
    uniform([k.angle for k in found if 'aniso' in k.family], -np.pi, np.pi)
    uniform([k.cutoff for k in found if k.family == 'sinc' and k.size < 13], np.pi / 3, np.pi)
    uniform([k.cutoff for k in found if k.family == 'sinc' and k.size >= 13], np.pi / 5, np.pi)
    assert all(k.sigma[0] == k.sigma[1] for k in found if k.family.endswith('iso') and 'aniso' not in k.family)
    betas = [k.beta for k in found if k.family.startswith('generalized')]
    agree([beta > 1 for beta in betas], {True: 1, False: 1})
    uniform([beta for beta in betas if beta < 1], 0.5, 1)
    uniform([beta for beta in betas if beta > 1], 1, 4)
    agree([k.beta == 1 for k in found if k.family.startswith('plateau')], {True: 1, False: 1})
    uniform([k.beta for k in found if k.family.startswith('plateau') and k.beta > 1], 1, 2)
    assert all((o.quality is not None) == coded for o in orders)
    if coded:
        uniform([o.quality for o in orders], 30, 95)


def test_the_end_is_drawn_as_published(drawn):
    found = [d.last for d in drawn]
    agree([e.kernel is not None for e in found], {True: 0.8, False: 0.2})
    agree([e.kernel.size for e in found if e.kernel], SIZES)
    agree([e.mode for e in found], MODES)
    agree([e.jpeg_last for e in found], {True: 1, False: 1})
    uniform([e.kernel.cutoff for e in found if e.kernel], np.pi / 3, np.pi)
    uniform([e.quality for e in found], 30, 95)


# examples


@pytest.mark.parametrize('preset', PRESETS)
def test_an_example_is_a_pure_function_of_seed_and_number(preset):
    chosen, image = settings(preset=preset), photo()
    make = lambda number, seed=3: degrade(image, chosen, seed, number, 32)
    before = [make(number) for number in range(4)]
    with ThreadPoolExecutor(2) as pool:
        after = list(pool.map(make, reversed(range(4))))[::-1]
    for (lr, hr), (lr2, hr2) in zip(before, after, strict=True):
        assert lr.dtype == hr.dtype == np.uint8 and lr.shape == (32, 32, 3) and hr.shape == (128, 128, 3)
        assert lr.tobytes() == lr2.tobytes() and hr.tobytes() == hr2.tobytes()
    assert len({lr.tobytes() for lr, _ in [*before, make(0, seed=4)]}) == 5
    np.testing.assert_array_equal(image, photo())


def test_bicubic_is_matlabs_of_the_crop():
    for number in range(4):
        lr, hr = degrade(photo(), settings(preset='bicubic'), 0, number, 24)
        np.testing.assert_array_equal(lr[2:-2, 2:-2], imresize(hr, 1 / 4, round_between=True)[2:-2, 2:-2])


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_lr_lies_where_hr_does(scale):
    """However degraded, it resembles the mean of its HR pixels more than when shifted by a pixel."""
    chosen = settings({'scale': scale, 'first': {'down': 0.0}})
    error = lambda a, b: np.abs(a - b)[1:-1, 1:-1].mean()
    here, beside = 0.0, np.zeros(4)
    for number in range(6):
        lr, hr = (image.astype(float) for image in degrade(photo(300, 290), chosen, 1, number, 40))
        mean = hr.reshape(40, scale, 40, scale, 3).mean((1, 3))
        here += error(lr, mean)
        beside += [error(np.roll(lr, by, axis), mean) for by in (-1, 1) for axis in (0, 1)]
    assert (here < beside).all()


def test_a_small_image_is_mirrored_beyond_its_borders():
    small = photo(100, 150)
    _, hr = degrade(small, settings(), 0, 1, 64)
    whole = np.pad(small, ((0, 300), (0, 250), (0, 0)), 'reflect')
    windows = np.lib.stride_tricks.sliding_window_view(whole, (256, 256), (0, 1))[::4, ::4]
    assert any(np.array_equal(window.transpose(1, 2, 0), hr) for row in windows for window in row)


def test_settings_name_the_field_that_is_wrong():
    assert settings({'first': {'families': {'iso': 1.0}}})['first']['families']['aniso'] == 0.25
    assert PRESETS['realesrgan']['first']['families']['iso'] == 0.45
    for block, message in (
        ({'first': {'sigam': (1, 2)}}, "config.data.degradation.first.sigam is unknown, did you mean 'sigma'"),
        ({'second': {'grey': 1.5}}, r'second.grey=1.5 must be in \[0.0, 1.0\]'),
        ({'first': {'sigma': (2, 1)}}, r'first.sigma=\(2, 1\) must be \(least, most\)'),
        ({'first': {'sigma': (0, 1)}}, r'first.sigma=\(0, 1\) must be at least 0.01'),
        ({'last': {'kernel_size': (6, 21)}}, 'last.kernel_size=.* must be odd'),
        ({'last': {'modes': ('cubic',)}}, "last.modes='cubic' is unknown, did you mean 'bicubic'"),
        ({'first': {'up': 0.5}}, 'first: up and down'),
        ({'codec': 'pillow'}, "codec='pillow' is unknown"),
        ({'draws': 'bach'}, "draws='bach' is unknown, did you mean 'batch'"),
        ({'pool': 576}, "pool=576 mixes batches .* leave it out, or set config.data.degradation.draws='batch'"),
    ):
        with pytest.raises(ValueError, match=message):
            settings(block)
    with pytest.raises(ValueError, match="preset='realesrgn' is unknown, did you mean 'realesrgan'"):
        settings(preset='realesrgn')


def test_a_batch_shares_what_the_released_code_draws_once():
    """As released: sizes, modes, kinds of noise and the order of the end once; kernels and amounts for each example."""
    chosen = settings({'draws': 'batch'})
    batch = [draw(chosen, generator(0, number), np.random.default_rng(9)) for number in range(400)]
    rounds = lambda d: [(o.kernel is None, o.ratio, o.mode, o.noise) for o in (d.first, d.second)]
    assert len({(*rounds(d), d.last.mode, d.last.jpeg_last, d.place[2:]) for d in batch}) == 1
    for own in (lambda d: d.first.kernel, lambda d: d.first.amount, lambda d: d.first.quality, lambda d: d.second.amount):
        assert len({own(d) for d in batch}) == 400
    assert len({d.place[:2] for d in batch}) == len({d.last.quality for d in batch}) == 400
    agree([d.first.grey for d in batch], {True: 0.4, False: 0.6})
    agree([d.last.kernel is None for d in batch], {True: 0.2, False: 0.8})
    alone = [draw(chosen, generator(0, number), np.random.default_rng(number)) for number in range(2000)]
    agree([d.second.kernel is None for d in alone], {True: 0.2, False: 0.8})
    agree([d.second.noise for d in alone], {'gaussian': 1, 'poisson': 1})
    uniform([d.second.ratio for d in alone if d.second.ratio < 1], 0.3, 1)


def test_only_draws_of_a_batch_know_their_batch():
    image, own, shared = photo(), settings(), settings({'draws': 'batch'})
    for _ in range(2):
        lr, hr = degrade(image, own, 1, 5, 16, batch=3)
        np.testing.assert_array_equal(lr, degrade(image, own, 1, 5, 16)[0])
        np.testing.assert_array_equal(lr, degrade(image, shared, 1, 5, 16)[0])
        assert (degrade(image, shared, 1, 5, 16, batch=3)[0] != degrade(image, shared, 1, 5, 16, batch=4)[0]).any()


def test_captions_tell_what_was_drawn():
    text = degradations.caption(draw(settings(), generator(0, 0)))
    assert text.count('\n') == 2 and ' q' in text
    assert degradations.caption(draw(settings(preset='bicubic'), generator(0, 0))) == '-\n-\nmatlab'


def test_command(tmp_path):
    Image.fromarray(photo(410, 410)).save(tmp_path / 'photo.png')
    command = [sys.executable, '-m', 'kdsr.data.degradations', tmp_path / 'photo.png', f'--out={tmp_path}/sheet.png']
    done = subprocess.run([*command, '--preset=mild'], capture_output=True, text=True)
    assert done.returncode == 0 and '16 degradations' in done.stdout, done.stderr
    assert Image.open(tmp_path / 'sheet.png').size[0] > 1000
    wrong = subprocess.run([*command, '--preset=wild'], capture_output=True, text=True)
    assert wrong.returncode == 1 and 'Traceback' not in wrong.stderr
