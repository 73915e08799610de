"""NIQE: golden values of BasicSR and MATLAB, laws, what has no score; pictures without HR; the column of commands and reports."""

import io
import json
import queue

import numpy as np
import pytest
import tiny
from PIL import Image
from scipy import ndimage
from shell import command

import kdsr
from kdsr import evaluate, metrics, niqe, recipes, report, study
from kdsr.data import benchmarks, images, sources

# calculate_niqe(cv2.imread(file), crop_border=4, input_order='HWC', convert_to='y') of BasicSR 1.4.2 (commit 8d56e3a, torch 2.13.0,
# numpy 2.4.6, scipy 1.17.1, OpenCV 5.0.0): with its own niqe_pris_params.npz, and with mean 0 and unit covariance in their place.
GOLDEN = {
    'Set14/baboon': (5.989246, 4.989525),
    'Set14/bridge': (2.521185, 6.283928),
    'Set14/comic': (4.332514, 6.298574),
    'Set14/foreman': (5.98886, 3.400603),
    'Set14/zebra': (3.268572, 3.927341),
    'B100/101085': (2.852746, 5.829025),
    'B100/148026': (2.718635, 4.338563),
    'B100/21077': (2.628019, 4.600869),
    'B100/299086': (3.369202, 4.134552),
    'B100/45096': (4.175205, 3.874944),
}
# 11 % of its pixels equal their surroundings. BasicSR counts them as above or below by what float32 left of the difference: with
# the window's sums in float64 it is 5.8e-3 away from itself. Here they are neither.
FLAT = {'B100/45096': 2e-3}
UNIT = np.zeros(36), np.eye(36)


@pytest.fixture(autouse=True)
def nothing_kept():
    niqe.photographs.cache_clear()
    yield
    niqe.photographs.cache_clear()


@pytest.fixture(scope='module')
def photos():
    """(those of training, those held out), uint8, of the embedded photographs."""
    return tuple([part.read(i)[0] for i in range(len(part))] for part in sources.split(sources.embedded()))


@pytest.fixture(scope='module')
def fitted(photos):
    """(mean, covariance) of photographs' features, of the embedded ones: what the file of a package holds of others."""
    found = np.concatenate([niqe.features(luminance(image)) for image in photos[0]])
    found = found[np.isfinite(found).all(1)]
    return found.mean(0), np.cov(found, rowvar=False)


@pytest.fixture
def package(tmp_path, monkeypatch, fitted):
    """A folder with a package that cannot be imported, with the file in it."""
    file = tmp_path / 'packages' / niqe.PACKAGE / niqe.FILE
    file.parent.mkdir(parents=True)
    (tmp_path / 'packages' / niqe.PACKAGE / '__init__.py').write_text("raise ImportError('found, and not imported')\n")
    np.savez(file, **dict(zip(niqe.NAMES, (fitted[0][None], fitted[1]), strict=True)))
    monkeypatch.syspath_prepend(tmp_path / 'packages')
    return tmp_path / 'packages'


def luminance(image):
    return np.round(metrics.rgb_to_y(image)[..., 0])


def photographs():
    try:
        return niqe.photographs()
    except FileNotFoundError as e:
        pytest.skip(str(e))


def picture(data_dir, name):
    room, name = name.split('/')
    return images.read_rgb(next((data_dir / 'benchmarks' / room / 'HR').glob(f'{name}.*')))


# golden values


@pytest.mark.parametrize('name', GOLDEN)
def test_equals_basicsr(data_dir, name):
    """The features alone: with mean 0 and unit covariance no package is needed."""
    y = luminance(metrics.shave(picture(data_dir, name), 4))
    assert niqe.niqe(y, UNIT) == pytest.approx(GOLDEN[name][1], rel=2e-4)


@pytest.mark.parametrize('name', GOLDEN)
def test_equals_basicsr_with_its_parameters(data_dir, name):
    score = niqe.niqe(luminance(metrics.shave(picture(data_dir, name), 4)), photographs())
    assert score == pytest.approx(GOLDEN[name][0], rel=FLAT.get(name, 1e-3))


def test_equals_the_authors_code_in_matlab(data_dir):
    """BasicSR's docstring: MATLAB R2021a on its baboon.png, which is Set14's without the last 8 columns."""
    assert niqe.niqe(luminance(picture(data_dir, 'Set14/baboon')[:, :-8]), photographs()) == pytest.approx(5.72957338, rel=1e-6)


# laws


def blurred(image):
    return ndimage.gaussian_filter(image, (1.5, 1.5, 0))


def noisy(image):
    return np.uint8(np.clip(image + np.random.default_rng(0).normal(0, 15, image.shape), 0, 255))


def compressed(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'JPEG', quality=15)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize('of', ['embedded', 'package'])
@pytest.mark.parametrize('damaged', [blurred, noisy, compressed])
def test_damage_raises_it(photos, fitted, damaged, of):
    parameters = fitted if of == 'embedded' else photographs()
    for image in photos[1]:
        assert niqe.niqe(luminance(damaged(image)), parameters) > 1.3 * niqe.niqe(luminance(image), parameters) > 2


def test_grey_and_its_rgb_copy_are_one(package, photos):
    grey, column = photos[1][0][:200, :230, 1:2] / 255, niqe.column()
    value = column(np.repeat(grey, 3, 2), 4)
    y = metrics.rgb_to_y(grey)
    assert value == niqe.niqe(np.round(metrics.shave(y, 4)[..., 0]), niqe.photographs())
    assert column(np.round(y) / 255, 4) == value  # of protocols for Y, which give Y / 255


def test_photographs_alone_are_like_photographs(fitted, photos):
    """A model of one's own blocks is nearer than that of others; what is beyond whole blocks does not count."""
    y = luminance(photos[1][1])  # 400x600: 4x6 blocks of 384x576 pixels
    own = niqe.features(y)
    assert own.shape == (24, 36) and np.isfinite(own).all()
    assert niqe.niqe(y, (own.mean(0), np.cov(own, rowvar=False))) < 1e-6 < 2 < niqe.niqe(y, fitted)
    assert niqe.niqe(y[:384, :576], fitted) == niqe.niqe(y, fitted)


@pytest.mark.parametrize('shape', [0.5, 1.0, 2.0])
def test_asymmetric_fits_find_what_was_drawn(shape):
    """x = sign * width * gamma^(1 / shape): 1 is Laplace's distribution, 2 Gauss'. Sides are drawn as often as they are wide."""
    rng, left, right = np.random.default_rng(0), 1.0, 2.0
    size = rng.gamma(1 / shape, size=(1, 1000, 1000)) ** (1 / shape)
    x = size * np.where(rng.random(size.shape) < left / (left + right), -left, right)
    np.testing.assert_allclose(np.ravel(niqe.asymmetric(x)), [shape, left, right], rtol=0.05)


# what has no score


@pytest.mark.parametrize('size', [(191, 300), (300, 191), (90, 90)])
def test_small_pictures_are_refused(size):
    with pytest.raises(ValueError, match=f'at least 192x192 pixels, got shape .{size[0]}, {size[1]}'):
        niqe.niqe(np.zeros(size), UNIT)


def test_pictures_of_one_colour_are_refused(photos):
    y = luminance(photos[1][1])[:192, :288].copy()
    with pytest.raises(ValueError, match='two blocks of 96x96 pixels that are not of one colour, the picture has 0'):
        niqe.niqe(np.full((200, 300), 77.0), UNIT)
    y[:, 85:] = 200.0  # nothing is left of the second and third column of blocks
    assert np.isfinite(niqe.niqe(y, UNIT)) and np.isfinite(niqe.features(y)).all(1).sum() == 2
    y[85:] = 200.0
    with pytest.raises(ValueError, match='the picture has 1$'):
        niqe.niqe(y, UNIT)


def test_a_column_leaves_out_what_has_no_score_and_hides_no_broken_network(package, photos, caplog):
    rows = [
        (n, benchmarks.lowered(hr, 2), hr) for n, hr in (('a', photos[1][0][:200, :200]), ('b', np.full((200, 200, 3), 9, 'u1')))
    ]
    blind = {'niqe': niqe.column()}
    found = evaluate.score(evaluate.bicubic(2), rows, 2, blind=blind)
    assert found['niqe'] == found['images']['a']['niqe'] > 2 and 'niqe' not in found['images']['b']
    assert 'left out of the mean of NIQE: NIQE needs two blocks' in caplog.text and 'teacher_niqe' not in evaluate.FORMATS
    assert np.isnan(evaluate.score(lambda lr: evaluate.bicubic(2)(lr) * np.nan, rows[:1], 2, blind=blind)['niqe'])
    kept = evaluate.scorable(
        [benchmarks.Example(*rows[0]), benchmarks.Example('c', *(x[:-8, :-8] for x in rows[0][1:]))], 2, 'Set', with_niqe=True
    )
    assert [e.name for e in kept] == ['a'] and 'smaller than 196x196 and left out: c' in caplog.text


def test_parameters_come_from_a_file_and_errors_say_what_to_install(package, fitted, monkeypatch):
    for found, wanted in zip(niqe.photographs(), fitted, strict=True):
        np.testing.assert_array_equal(found, wanted)
    niqe.photographs.cache_clear()
    (package / niqe.PACKAGE / niqe.FILE).write_bytes(b'PK no archive')
    with pytest.raises(ValueError, match='npz cannot be read .*: run `pip install --force-reinstall --no-deps mmagic`'):
        niqe.photographs()
    (package / niqe.PACKAGE / niqe.FILE).unlink()
    with pytest.raises(FileNotFoundError, match='mmagic has no file .*: run `pip install --force-reinstall --no-deps mmagic`'):
        niqe.photographs()
    monkeypatch.setattr(niqe, 'PACKAGE', 'mmagic_elsewhere')
    with pytest.raises(FileNotFoundError, match='which is not installed: run `pip install --no-deps mmagic_elsewhere` .1.4 MB'):
        niqe.photographs()


# pictures without HR


def saved(folder, photos, side=100):
    folder.mkdir(parents=True)
    for i, image in enumerate(photos[1]):
        Image.fromarray(image[:side, :side]).save(folder / f'{i}.png')
    return folder


def test_pictures_without_hr_have_niqe_alone(package, photos, tmp_path):
    folder = saved(tmp_path / 'real', photos)
    (row,) = kdsr.evaluate('bicubic', f'{folder}@lr', scale=2, niqe=True, say=None)
    assert (row['set'], row['scale'], list(row['images'])) == ('real@lr', 2, ['0', '1'])
    large = [evaluate.bicubic(2)(np.float32(image[None, :100, :100]) / np.float32(255))[0] for image in photos[1]]
    wanted = [niqe.column()(image, 2) for image in large]
    assert [v for v in row['images'].values()] == [{'niqe': value} for value in wanted] and row['niqe'] == np.mean(wanted)
    assert set(row) == {'set', 'scale', 'niqe', 'images'}


def test_what_is_said_of_pictures_without_hr_that_cannot_be_scored(package, photos, tmp_path):
    folder, run = (
        saved(tmp_path / 'real', photos, 97),
        lambda name='real@lr', **o: evaluate.run('bicubic', [f'{tmp_path / name}'], scale=[2], **o),
    )
    for options, words in (
        ({}, "real@lr' has no HR, and no column asked for does without: add --niqe"),
        ({'lpips_by': 'alex'}, 'add --niqe'),
        ({'with_niqe': True, 'protocol': 'dfsr'}, "real@lr' has no HR, and --protocol=dfsr makes LR of HR"),
        ({'with_niqe': True}, 'none of the 2 images in real@lr has both sides of 196 pixels'),
    ):
        with pytest.raises(ValueError, match=words):
            run(**options)
    with pytest.raises(FileNotFoundError, match="no folder '.*nowhere'"):
        run('nowhere@lr', with_niqe=True)
    folder.rename(tmp_path / 'HR')
    with pytest.raises(ValueError, match="has the layout of a benchmark: name '.*/HR@lr'"):
        evaluate.run('bicubic', [f'{tmp_path}@lr'], scale=[2], with_niqe=True)
    with pytest.raises(ValueError, match='has no HR, and here is nothing that can be measured without'):
        benchmarks.sets([f'{tmp_path}/HR@lr'], 2)


def test_networks_of_one_size_take_the_middle():
    examples = benchmarks.Examples([benchmarks.Example('a', tiny.picture(10, 12, 0), None)])
    (cut,) = benchmarks.middle(examples, (4, 6), 2)
    assert cut.hr is None
    np.testing.assert_array_equal(cut.lr, examples[0].lr[3:7, 3:9])


# commands


@pytest.mark.slow
def test_the_command_and_the_report_show_the_column(package, photos, tmp_path):
    folder, file = saved(tmp_path / 'set', photos, 240), tmp_path / 'b.json'
    tiny.teacher(tmp_path / 'net')
    flags = [f'--model={tmp_path / "net"}', f'--data={folder},{folder}@lr', '--niqe', f'--json={file}']
    run = command('kdsr.evaluate', *flags, cwd=package)
    found = json.loads(file.read_text())
    assert list(found) == ['set/x2', 'set@lr/x2'] and found['set/x2']['evaluation']['niqe'] is True
    assert list(found['set/x2']) == ['evaluation', 'psnr_y', 'ssim_y', 'psnr_rgb', 'niqe', 'images']
    assert list(found['set@lr/x2']) == ['evaluation', 'niqe', 'images'] and f'{found["set@lr/x2"]["niqe"]:.3f} ' in run.stdout
    assert 'protocol y8, NIQE' in run.stdout
    text, _ = report.report([file], tmp_path / 'out', images=0)
    assert f'{found["set/x2"]["niqe"]:.3f}' in text and 'set@lr/x2 niqe' in text and 'niqe: lower is better' in text


def test_a_study_that_compares_by_it_asks_for_it(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(study, 'called', lambda module, *line, **_: lines.append((module, *line)))
    for metrics_of in (('psnr_y', 'niqe'), ('psnr_y',)):
        arms, core = {'a': study.Arm('a', f'{tiny.EXPERIMENTS}/fakd.py:smoke', {})}, queue.Queue()
        core.put(None)
        (tmp_path / metrics_of[-1] / 'a_0').mkdir(parents=True)
        plan = study.Plan(tmp_path / metrics_of[-1], recipes.Study({}, '', '', metrics=metrics_of), arms, [0], [], 'set', {})
        assert study.run(plan, 'a', 0, core) == ''
    assert ['--niqe' in line for line in lines if line[0] == 'kdsr.evaluate'] == [True, False]


def test_a_teachers_pictures_have_it_too(package, photos):
    examples = benchmarks.Examples([benchmarks.Example('a', benchmarks.lowered(photos[1][0], 4), photos[1][0])])
    examples.teacher = {'a': blurred(photos[1][0])}
    found = evaluate.results({'bicubic': evaluate.bicubic(4)}, {'Set': examples}, 4, blind={'niqe': niqe.column()})
    assert found['teacher']['Set/x4']['niqe'] == niqe.column()(examples.teacher['a'] / 255, 4)
    assert found['bicubic']['Set/x4']['niqe'] > 3 and 'teacher_niqe' not in found['bicubic']['Set/x4']
