"""Real-ESRGAN's discriminator and spectral normalisation: PyTorch's numbers, the vectors' rules, the games, a training.

On several devices it is trained by test_parallel.
"""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from arrays import quick, size
from flax import traverse_util
from jax import lax

from kdsr import cost, critics, methods, models, recipes, stages, steps
from kdsr.models import discriminator_unet, exports, layers, spectral
from kdsr.types import Batch, Ctx

NORMED = [f'conv{i}' for i in range(1, 9)]


def wave(shape, seed):
    """Numbers in [-0.5, 0.5) that any program can make again."""
    return (np.sin(np.arange(np.prod(shape)) * 12.9898 + seed * 78.233) * 43758.5453 % 1 - 0.5).reshape(shape)


def given(features):
    """(params, spectral vectors) made of `wave`, float64."""
    shapes = models.shapes(discriminator_unet.Discriminator(features=features))
    params, vectors = {}, {}
    for i, (name, layer) in enumerate(sorted(shapes['params'].items())):
        params[name] = {'kernel': wave(layer['kernel'].shape, i)}
        if 'bias' in layer:
            params[name]['bias'] = wave(layer['bias'].shape, i + 20)
        else:
            u, v = (wave(shapes['spectral'][name][k].shape, i + offset) for k, offset in (('u', 40), ('v', 60)))
            vectors[name] = {'u': u / np.linalg.norm(u), 'v': v / np.linalg.norm(v)}
    return params, {'spectral': vectors}


def seen(logits):
    """What is compared of two maps of 16x24."""
    return [logits.mean(), logits.std(), logits[0, 0, 0, 0], logits[1, 15, 23, 0], logits[1, 7, 5, 0]]


def dot(array):
    """A gradient as one number, in the order of the house's layout."""
    return (array * np.cos(np.arange(array.size)).reshape(array.shape)).sum()


# Of a twin written for this test with PyTorch 2.13.0, in float64: torch.nn.Conv2d (stride 2 with kernel 4 and padding 1),
# torch.nn.utils.spectral_norm and interpolate(scale_factor=2, mode='bilinear', align_corners=False), with the numbers of `given(2)`
# in PyTorch's layout. In training mode it sees an image, then its half; the loss is mean(sin(first)) + mean(cos(second)); last it
# sees the image in evaluation.
FIRST = [0.4705643433767617, 0.02681946595875972, 0.4552335427009217, 0.4799499105221311, 0.46819149067012183]
SECOND = [0.47522260009082223, 0.005084901070631985, 0.4642015902498736, 0.47533204670071244, 0.47467787546312257]
EVALUATED = [0.47108843164018177, 0.024953689057569457, 0.45559532259797575, 0.4796244762556752, 0.46797321509212236]
LOSS, IMAGE = 1.3424063741125787, 0.0002600896561245989
KERNELS = [
    -0.0004520333852880386, 0.0006845686890179064, -0.0012690844839596852, 6.351609317983685e-05, 5.350996659919164e-05,
    -4.685250377603272e-05, -0.0003790520788406369, 0.004508223101741746, 0.0035212822073536518, -0.01028416605652611,
]  # fmt: skip
VECTORS = [  # u[0] and v[1] of each layer at the end
    (-0.2322951234863945, -0.0855457916624107), (0.09901705164605842, -0.13299762444472882),
    (0.007485525956496697, -0.16794737814490712), (0.3166536134374217, 0.010434402106803593),
    (-0.34261495395593317, 0.1827011885850791), (0.6792847181760439, -0.3431622323847701),
    (-0.4646717947046732, -0.11820494597672843), (0.20069386667101424, 0.10325346961970638),
]  # fmt: skip


@pytest.mark.slow
def test_equals_pytorch_in_training_and_evaluation():
    """Logits, gradients (that of sigma takes the vectors as constants), vectors after two calls: the layout of v is ours."""
    net = discriminator_unet.Discriminator(features=2, dtype='float64')
    with jax.enable_x64(True):
        (params, start), image = jax.tree.map(jnp.asarray, given(2)), jnp.asarray(0.5 + 0.5 * wave((2, 16, 24, 3), 80))

        def loss(params, image):
            (first, _), moved = models.train_apply(net, params, start, image)
            (second, _), moved = models.train_apply(net, params, moved, 0.5 * image)
            return jnp.sin(first).mean() + jnp.cos(second).mean(), (first, second, moved)

        (value, (first, second, moved)), grads = quick(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, image)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-8)
        close([seen(first), seen(second)], [FIRST, SECOND])
        close(value, LOSS)
        close([dot(grads[0][f'conv{i}']['kernel']) for i in range(10)], KERNELS)
        close(dot(grads[1]), IMAGE)
        close([(moved['spectral'][k]['u'][0], moved['spectral'][k]['v'][1]) for k in NORMED], VECTORS)
        logits, _ = quick(net.apply)({'params': params, **moved}, image)
        close(seen(logits), EVALUATED)
        # a kernel over its sigma knows no scale: no gradient along the kernel itself
        for k in NORMED:
            along, across = (grads[0][k]['kernel'] * params[k]['kernel']).sum(), jnp.abs(grads[0][k]['kernel']).max()
            assert abs(along) < 1e-12 and across > 1e-6


@pytest.mark.parametrize(('features', 'count'), [(64, 4_376_897), (32, 1_094_817), (16, 274_001), (8, 68_649)])
def test_counts_and_cost(features, count):
    """The multiply-adds are those of strided convolutions: cells of 2x2 pixels cost none."""
    net = models.build('discriminator_unet', features=features)
    shapes = models.shapes(net)
    assert cost.parameters(shapes) == count and size(shapes['spectral']) == 279 * features
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    counted = cost.macs(lambda v, x: net.apply(v, x)[0], shapes, image)
    pixels = 256 * (27 + 9) * features + 256 * 96 * features**2  # first and last; 3 x 8 down, 3 x 18 up, 2 x 9 at the end
    assert sum(counted.values()) == pixels + 1068 * features**2 + 23 * features  # and sigma of each kernel


@pytest.fixture(scope='module')
def fresh():
    """A narrow discriminator, its first variables, images and its call in training."""
    net = discriminator_unet.Discriminator(size=16, features=4)
    image = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3))
    call = quick(functools.partial(models.train_apply, net))
    return net, quick(net.init)(jax.random.key(0), image), image, call


def spectral_of(variables):
    return {k: v for k, v in variables.items() if k != 'params'}


def test_taps_and_sizes(fresh):
    net, variables, image, _ = fresh
    assert models.example(net)[0].shape == (1, 16, 16, 3)
    wide = jax.eval_shape(net.apply, variables, jnp.zeros((3, 24, 40, 3)))[0]  # of any size, whatever the field says
    assert (wide.shape, wide.dtype) == ((3, 24, 40, 1), jnp.float32)
    sides, widths = (16, 8, 4, 2, 4, 8, 16, 16, 16), (4, 8, 16, 32, 16, 8, 4, 4, 4)
    assert models.taps(net) == {f'conv{i}': (1, s, s, c) for i, (s, c) in enumerate(zip(sides, widths, strict=True))}
    with pytest.raises(ValueError, match='sides that are multiples of 8, got 16x20: choose others'):
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 16, 20, 3)))


def test_first_vectors_and_kernels(fresh):
    """Vectors: a normal direction of length 1; kernels PyTorch's uniform law; a first look moves nothing."""
    net, variables, image, _ = fresh
    again = quick(functools.partial(net.init, train=True))(jax.random.key(0), image)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    vectors = traverse_util.flatten_dict(variables['spectral'], sep='/')
    for name, vector in vectors.items():
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6), name
    v = np.sqrt(288) * vectors['conv4/v']  # 9 * 32 numbers, all but independent
    assert abs(v.mean()) < 0.2 and np.mean(v**4) == pytest.approx(3, abs=0.9)
    assert len({float(vector[0]) for vector in vectors.values()}) == 16  # each drawn by a key of its own
    bound, kernel = (16 * 8) ** -0.5, variables['params']['conv2']['kernel']
    assert 0.98 * bound < np.abs(kernel).max() <= bound


def test_a_call_is_one_iteration(fresh):
    """Of every layer, from the vectors that are there; the images have no part in it."""
    _, variables, image, call = fresh
    start = spectral_of(variables)
    _, moved = call(variables['params'], start, image)
    for k in NORMED:
        matrix = np.float64(variables['params'][k]['kernel']).reshape(-1, start['spectral'][k]['u'].size)
        v = matrix @ np.float64(start['spectral'][k]['u'])
        u = (v / np.linalg.norm(v)) @ matrix
        np.testing.assert_allclose(moved['spectral'][k]['v'], v / np.linalg.norm(v), atol=1e-6)
        np.testing.assert_allclose(moved['spectral'][k]['u'], u / np.linalg.norm(u), atol=1e-6)
    # what makes devices with different images agree without a word
    jax.tree.map(np.testing.assert_array_equal, call(variables['params'], start, 1 - image)[1], moved)


def test_vectors_find_the_largest_singular_values(fresh):
    """Within 1 % after 30 calls, where the first singular value is 1.2 times the second or more.

    Those of fresh kernels lie closer together: after 30 calls their sigma is 0.995 of it on average, and at times 0.93.
    """
    _, variables, image, call = fresh
    params, largest = {k: dict(layer) for k, layer in variables['params'].items()}, {}
    for k in NORMED:
        kernel = np.float64(params[k]['kernel'])
        left, values, right = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), full_matrices=False)
        largest[k] = values[0] = 1.2 * values[0]
        params[k]['kernel'] = jnp.float32((left * values @ right).reshape(kernel.shape))
    moved = spectral_of(variables)
    for _ in range(30):
        _, moved = call(params, moved, image)
    for k in NORMED:
        u, v = (np.float64(moved['spectral'][k][name]) for name in ('u', 'v'))
        assert 0.99 < v @ np.float64(params[k]['kernel']).reshape(v.size, u.size) @ u / largest[k] < 1 + 1e-5, k


def test_evaluation_moves_nothing(fresh):
    net, variables, image, _ = fresh
    apply = quick(functools.partial(net.apply, mutable=['spectral']))
    (logits, _), moved = apply(variables, image)
    jax.tree.map(np.testing.assert_array_equal, moved, spectral_of(variables))
    np.testing.assert_array_equal(apply(variables, image)[0][0], logits)


@pytest.mark.parametrize('shape', [(2, 5, 7, 3), (1, 1, 4, 2)])
def test_enlargement_is_bilinear(shape):
    x = jax.random.normal(jax.random.key(0), shape)
    want = jax.image.resize(x, (shape[0], 2 * shape[1], 2 * shape[2], shape[3]), 'bilinear')
    np.testing.assert_allclose(discriminator_unet.doubled(x), want, atol=1e-6)


@pytest.mark.parametrize(('k', 'stride'), [(4, 2), (3, 1), (2, 2), (6, 2)])
def test_strides_by_the_house_convolution(k, stride):
    """Values and both gradients as lax's own."""
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], (2, 8, 12, 5)), jax.random.normal(keys[1], (k, k, 5, 6))
    pad = ((k - stride) // 2,) * 2
    theirs = lambda x, kernel: lax.conv_general_dilated(x, kernel, (stride, stride), (pad, pad), dimension_numbers=layers.NHWC)
    weight = jax.random.normal(keys[2], theirs(x, kernel).shape)
    both = (lambda x, kernel: spectral.strided(x, kernel, stride)), theirs
    found = [quick(jax.value_and_grad(lambda *a, f=f: (f(*a) * weight).sum(), (0, 1)))(x, kernel) for f in both]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max()), *found)


def test_bfloat16_keeps_vectors_and_logits_in_float32(fresh):
    net, variables, image, _ = fresh
    run = functools.partial(models.train_apply, net.clone(dtype='bfloat16'))
    (logits, taps), moved = jax.eval_shape(run, variables['params'], spectral_of(variables), image)
    assert {leaf.dtype for leaf in jax.tree.leaves((logits, moved))} == {jnp.dtype('float32')}
    assert {leaf.dtype for leaf in jax.tree.leaves(taps)} == {jnp.dtype('bfloat16')}


@pytest.mark.parametrize('game', critics.GAMES)
def test_games_take_maps(game):
    """As many verdicts in any form: the same two numbers, and gradients of the map's form."""
    real, fake = jax.random.normal(jax.random.key(0), (2, 2, 4, 6, 1))
    ctx, play = types.SimpleNamespace(mean=lambda x: x), critics.GAMES[game]
    np.testing.assert_allclose(play(real, fake, ctx), play(real.ravel(), fake.ravel(), ctx), rtol=1e-6)
    assert all(value.shape == () for value in [*play(real, fake, ctx), *critics.verdicts(real, fake, ctx).values()])
    assert jax.grad(lambda fake: play(real, fake, ctx)[1])(fake).any()


# ---- a training


def config(room, **values):
    """Two steps of adversarial training against the U-Net, without a content term."""
    found = tiny.unet(room, steps=2, **values)
    found.log_every = found.eval_every = found.save_every = 2
    found.export, found.student, found.optimizer.learning_rate = 'latest', recipes.model('edsr', blocks=1, features=4), 0.1
    return found


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    return tiny.room(tmp_path_factory.mktemp('unet'))


@pytest.fixture(scope='module')
def whole(room):
    """The folder of a run of two steps."""
    stages.run(config(room), room / 'whole')
    return room / 'whole' / 'export'


@pytest.mark.slow
def test_it_trains_and_its_export_is_a_critic_again(whole, room):
    """Frozen, it judges images and stays; by disc_init another run begins with it, vectors included."""
    net, variables, card = models.network(whole / 'disc')
    assert (card['model'], net.size, net.features, card['steps']) == ('discriminator_unet', 32, 4, 2)
    image = jax.random.uniform(jax.random.key(0), (2, 32, 32, 3))
    value, gradient = quick(jax.value_and_grad(lambda x: jax.nn.softplus(-net.apply(variables, x)[0]).mean()))(image)
    assert np.isfinite(value) and np.isfinite(gradient).all() and gradient.any()
    cfg = config(room)
    cfg.method.disc_init = str(whole / 'disc')
    begun = methods.make(cfg).init(jax.random.key(1)).nets['disc']
    jax.tree.map(np.testing.assert_array_equal, {'params': begun.params, **begun.vars}, exports.read(whole / 'disc')[1])
    assert set(begun.vars) == {'spectral'}


@pytest.mark.slow
def test_each_loss_moves_its_own_network(tmp_path, monkeypatch):
    """Two steps; the discriminator's is the gradient of its own loss, though the generator's looks through it."""
    captured, original = {}, steps.players

    def keep(losses, optimisers, **options):
        captured.update(losses=losses)
        return original(losses, optimisers, **options)

    monkeypatch.setattr(steps, 'players', keep)
    rng, cfg = np.random.default_rng(0), config(tmp_path)
    batch = Batch(rng.random((2, 8, 8, 3), np.float32), rng.random((2, 16, 16, 3), np.float32))
    method = methods.make(cfg)
    state, step = quick(method.init)(jax.random.key(0)), quick(method.step)
    after, metrics = step(state, method.frozen, batch)
    again, _ = step(after, method.frozen, batch)
    np.testing.assert_allclose(metrics['loss/student'], metrics['l1'] + 0.1 * metrics['adversarial'], rtol=1e-5)

    ctx = Ctx(batch, method.frozen, {k: n.vars for k, n in state.nets.items()}, state.key, state.step)
    params, rate = {k: n.params for k, n in state.nets.items()}, cfg.optimizer.learning_rate
    own = quick(jax.grad(lambda disc: captured['losses']({**params, 'disc': disc}, ctx)[0]['disc']))(params['disc'])
    stepped = jax.tree.map(lambda old, gradient: old - rate * gradient, params['disc'], own)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.nets['disc'].params, stepped)
    for name, net in again.nets.items():
        apart = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), net.params, params[name])
        assert all(0 < x < 1 for x in jax.tree.leaves(apart)), name
    for k in NORMED:  # one iteration for the real images and one for the generated
        u, matrix = state.nets['disc'].vars['spectral'][k]['u'], params['disc'][k]['kernel']
        for _ in range(2):
            u, _ = spectral.iterated(matrix.reshape(-1, u.size), u)
        np.testing.assert_allclose(after.nets['disc'].vars['spectral'][k]['u'], u, atol=1e-6)
