# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train a small super-resolution network on a TPU
#
# FAKD (He et al., 2020): a student learns from photographs, from a large teacher's images and from the affinities of its features.
# The same cells run on a TPU, on GPUs and on a CPU. In Colab choose *Runtime → Change runtime type → TPU* first.
#
# Cells are run from top to bottom. The first one holds all that you may want to change.

# %%
import os

SMOKE = bool(os.environ.get('KDSR_SMOKE'))  # six steps of a tiny network: shows that everything works
SOURCE = '/content/kdsr'  # a folder of kdsr: clone it there, or upload it
RUNS = os.environ.get('KDSR_RUNS', 'runs')  # on Drive: '/content/drive/MyDrive/kdsr', after the cell that mounts it
PER_CORE = 1 if SMOKE else 16  # patches of a step on each core
STEPS = 6 if SMOKE else 4000

# %% [markdown]
# ## Install
# A kernel that has kdsr already installs nothing. jax stays as it is: kdsr takes what Colab has.

# %%
import importlib.util

if importlib.util.find_spec('kdsr') is None:
    # %pip install -q {SOURCE}[photos]
    pass
if RUNS.startswith('/content/drive'):
    from google.colab import drive

    drive.mount('/content/drive')

# %%
import jax
import matplotlib.pyplot as plt
from IPython.display import Image, display

import kdsr

cores = jax.device_count()
print(f'jax {jax.__version__}, {cores} x {jax.devices()[0].device_kind}')

# %% [markdown]
# ## A recipe, changed for these devices
# `kdsr.config` gives a recipe of `experiments/`; any field can be changed. Networks compute in bfloat16, while weights, losses and
# statistics stay float32.

# %%
config = kdsr.config('fakd:smoke' if SMOKE else 'fakd:demo', steps=STEPS, batch_size=PER_CORE * cores)
config.dtype = 'bfloat16'
config.log_every = max(STEPS // 50, 1)
config.eval_every = config.save_every = max(STEPS // 4, 1)
folder = f'{RUNS}/{config.name}'
print(config.method)

# %% [markdown]
# ## Train, and stop it
# The figure grows while the run goes on. *Interrupt* (■) saves the run and ends the cell. Here the cell interrupts itself half-way,
# to show that nothing is lost.

# %%
import signal

losses, handle = {}, display(plt.figure(), display_id=True)
plt.close()


def watch(step, steps, metrics, stop=None):
    """Draws the losses as they come."""
    for name in ('l1', 'teacher_l1', 'spatial'):
        losses.setdefault(name, []).append((step, metrics[name]))
    if step % config.log_every == 0 or step == steps:
        figure, axes = plt.subplots(1, len(losses), figsize=(12, 2.5), layout='constrained')
        for ax, (name, points) in zip(axes, losses.items(), strict=True):
            ax.plot(*zip(*points, strict=True))
            ax.set(title=name, xlabel=f'step, of {steps}')
        handle.update(figure)
        plt.close(figure)
    if step == stop:
        signal.raise_signal(signal.SIGINT)  # what the button does


try:
    kdsr.train(config, folder, progress=lambda *now: watch(*now, stop=STEPS // 2))
except KeyboardInterrupt as stopped:
    print('stopped:', stopped)

# %% [markdown]
# ## Go on
# The same call goes on from the last step; its weights are those of a run that nothing interrupted, bit for bit.

# %%
results = kdsr.train(config, folder, progress=watch)

# %% [markdown]
# ## What did it learn?
# Validation pictures as bicubic, student, teacher and truth show them, and the scores on photographs that nobody trained on.

# %%
import pathlib

display(Image(str(sorted(pathlib.Path(folder, 'samples').glob('step_*.png'))[-1])))
for network in ('bicubic', 'student', 'teacher'):
    scores = results[network]['validation/x4']
    cost = results['cost'].get(network)
    print(f'{network:8} {scores["psnr_y"]:.3f} dB, SSIM {scores["ssim_y"]:.4f}', f'{cost["ms"]:.1f} ms' if cost else '')

# %% [markdown]
# ## Use it
# A trained network is a function of images; `kdsr.upscale` takes images and files of any size. The run stays in its folder, on
# Drive if `RUNS` says so; `python -m kdsr.report`, `evaluate` and `export` read it.

# %%
import numpy as np

photo = np.tile(np.linspace(0, 255, 40, dtype=np.uint8)[:, None, None], (1, 40, 3))
print(photo.shape, '->', kdsr.upscale(photo, model=folder).shape)
