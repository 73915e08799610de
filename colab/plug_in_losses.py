# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Distillation losses in your own JAX code
#
# A training loop of plain flax and optax, with a student and a teacher of its own. Three lines bring kdsr's affinity and perceptual
# losses into it. They are pure functions of arrays and need jax and numpy alone; nothing else of kdsr is imported by the losses.

# %%
import os

SMOKE = bool(os.environ.get('KDSR_SMOKE'))
SOURCE = '/content/kdsr'  # a folder of kdsr: clone it there, or upload it
STEPS, BATCH, SIDE = (4, 2, 16) if SMOKE else (300, 8, 32)

# %%
import importlib.util

if importlib.util.find_spec('kdsr') is None:
    # %pip install -q {SOURCE}[photos]
    pass

# %% [markdown]
# ## Somebody's loop
# Two small networks that return an image and their features, photographs, Adam.

# %%
import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from skimage import data


class Net(nn.Module):
    """Enlarges twice; returns the image and its features."""

    features: int

    @nn.compact
    def __call__(self, x):
        y = nn.relu(nn.Conv(self.features, (3, 3))(x))
        taps = y = nn.relu(nn.Conv(self.features, (3, 3))(y))
        b, h, w, _ = x.shape
        y = nn.Conv(12, (3, 3))(y).reshape(b, h, w, 2, 2, 3)
        return y.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, 3), taps


photos = [np.float32(image()) / 255 for image in (data.chelsea, data.coffee, data.astronaut)]


def batch(rng):
    """HR patches and their 2x2 means."""
    cut = lambda p, y, x: p[y : y + 2 * SIDE, x : x + 2 * SIDE]
    hr = np.stack([cut(p, rng.integers(p.shape[0] - 2 * SIDE), rng.integers(p.shape[1] - 2 * SIDE)) for p in
                   (photos[i] for i in rng.integers(len(photos), size=BATCH))])  # fmt: skip
    return hr.reshape(BATCH, SIDE, 2, SIDE, 2, 3).mean((2, 4)), hr


def train(net, loss, seed=0):
    """Weights and losses after STEPS steps."""
    rng, optimiser = np.random.default_rng(seed), optax.adam(1e-3)
    params = net.init(jax.random.key(seed), jnp.zeros((1, SIDE, SIDE, 3)))
    state, told = optimiser.init(params), []

    @jax.jit
    def step(params, state, lr, hr):
        value, grads = jax.value_and_grad(loss)(params, lr, hr)
        updates, state = optimiser.update(grads, state)
        return optax.apply_updates(params, updates), state, value

    for _ in range(STEPS):
        params, state, value = step(params, state, *batch(rng))
        told.append(float(value))
    return params, told


teacher = Net(32)
taught, curve = train(teacher, lambda p, lr, hr: jnp.abs(teacher.apply(p, lr)[0] - hr).mean())
print(f'the teacher: {curve[0]:.4f} -> {curve[-1]:.4f}')

# %% [markdown]
# ## Three lines
# The import, the affinity of features (widths of student and teacher may differ), and the distance in VGG16's features. Its weights
# come with kdsr's dependencies: nothing is downloaded.

# %%
from kdsr.losses import affinity, perceptual
from kdsr.models import perceptual as features

vgg, weights = features.load('vgg16', taps=('relu1_2',) if SMOKE else ('relu2_2',))
student = Net(8)


def loss(params, lr, hr):
    """The loop's own L1, and what kdsr adds."""
    (sr, taps), (_, theirs) = student.apply(params, lr), teacher.apply(taught, lr)
    value = jnp.abs(sr - hr).mean()
    value += 0.1 * affinity.spatial(taps, jax.lax.stop_gradient(theirs))
    value += 0.01 * perceptual.distance(vgg.apply(weights, sr), vgg.apply(weights, hr))
    return value


params, curve = train(student, loss)
plain, alone = train(student, lambda p, lr, hr: jnp.abs(student.apply(p, lr)[0] - hr).mean())
figure, ax = plt.subplots(figsize=(8, 3), layout='constrained')
ax.plot(curve, label='L1 + affinity + perceptual')
ax.plot(alone, label='L1 alone')
ax.set(xlabel='step', ylabel='the loss that is trained', yscale='log')
ax.legend()
plt.show()

# %% [markdown]
# ## Is the gradient right?
# The derivative of the affinity along a random direction, by its gradient and by central differences, in float64.

# %%
with jax.enable_x64(True) if hasattr(jax, 'enable_x64') else jax.experimental.enable_x64():
    rng = np.random.default_rng(0)
    a, b, d = (jnp.asarray(rng.normal(size=(1, 6, 5, 4))) for _ in range(3))
    fn = lambda x: affinity.spatial(x, b)
    exact = float(jnp.vdot(jax.grad(fn)(a), d))
    numeric = float((fn(a + 1e-5 * d) - fn(a - 1e-5 * d)) / 2e-5)
print(f'{exact:.10f} {numeric:.10f}')
assert abs(exact - numeric) < 1e-7 * max(1, abs(exact))

# %% [markdown]
# ## What it does not cost
# An affinity compares every place with every other: the obvious code holds an N x N matrix. kdsr's goes through blocks of rows, and
# the compiler says what each needs besides its arguments, value and gradient together.


# %%
def naive(student, teacher):
    """The whole matrices at once."""
    flat = lambda x: (x / jnp.linalg.norm(x, axis=-1, keepdims=True)).reshape(len(x), -1, x.shape[-1])
    matrix = lambda x: jnp.einsum('bnc,bmc->bnm', flat(x), flat(x))
    return jnp.abs(matrix(student) - matrix(teacher)).mean()


def temporary(fn, side):
    """MiB that value and gradient of `fn` need for features [1, side, side, 64]."""
    shape = jax.ShapeDtypeStruct((1, side, side, 64), jnp.float32)
    compiled = jax.jit(jax.value_and_grad(fn)).lower(shape, shape).compile()
    return compiled.memory_analysis().temp_size_in_bytes / 2**20


sides = (16, 24) if SMOKE else (24, 48, 72, 96)
needs = {name: [temporary(fn, side) for side in sides] for name, fn in (('naive', naive), ('kdsr', affinity.spatial))}
x = jax.random.normal(jax.random.key(0), (2, 1, 12, 12, 8))
np.testing.assert_allclose(naive(*x), affinity.spatial(*x), rtol=1e-5)
figure, ax = plt.subplots(figsize=(8, 3), layout='constrained')
for name, values in needs.items():
    ax.plot(sides, values, 'o-', label=name)
ax.set(xlabel='side of the features, pixels', ylabel='temporary memory, MiB', yscale='log')
ax.legend()
plt.show()
print(needs)
