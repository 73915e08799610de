# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From your upscaler to a small one
#
# Your pictures and a slow teacher go in; a small student and a file for phones come out, with pictures beside each other. Without
# pictures or a teacher of your own the cells take photographs of scikit-image and the shipped `edsr_x4`.

# %%
import os

SMOKE = bool(os.environ.get('KDSR_SMOKE'))
SOURCE = '/content/kdsr'  # a folder of kdsr: clone it there, or upload it
PICTURES = ''  # a folder of your pictures; '' photographs of scikit-image
TEACHER = 'edsr_x4'  # a shipped model, a run, or what kdsr.convert made of your .pth: kdsr.convert net.pth --out=teachers/net
RUNS = os.environ.get('KDSR_RUNS', 'runs')
STEPS = 6 if SMOKE else 2000

# %%
import importlib.util

if importlib.util.find_spec('kdsr') is None:
    # %pip install -q {SOURCE}[photos,tflite]
    pass

# %% [markdown]
# ## The pictures
# Every 25th is kept apart to measure by, of a few the last; nothing is trained on it.

# %%
import pathlib

import matplotlib.pyplot as plt
import numpy as np

import kdsr

if not PICTURES:
    import skimage
    from PIL import Image

    PICTURES = f'{RUNS}/pictures'
    pathlib.Path(PICTURES).mkdir(parents=True, exist_ok=True)
    for name in ('astronaut', 'chelsea', 'coffee', 'motorcycle_left', 'rocket'):
        file = next(pathlib.Path(skimage.__file__).parent.glob(f'data/{name}.*'))
        Image.open(file).convert('RGB').save(f'{PICTURES}/{name}.png')
teacher = kdsr.load(TEACHER)
print(f'{TEACHER}: x{teacher.scale}, {teacher.card["parameters"]:,} parameters; {len(os.listdir(PICTURES))} pictures')

# %% [markdown]
# ## The student
# A recipe that learns from the teacher's image and its features; `python -m kdsr.main --config=fakd --help` shows every field.

# %%
config = kdsr.config('fakd:smoke' if SMOKE else 'fakd:demo', teacher=TEACHER, data__path=PICTURES, steps=STEPS, scale=teacher.scale)
config.data.source = 'folder'
config.eval_every = config.save_every = max(STEPS // 2, 1)
results = kdsr.train(config, f'{RUNS}/student')
costs = results['cost']
print(f'{costs["teacher"]["ms"] / costs["student"]["ms"]:.1f} times as fast, {costs["student"]["parameters"]:,} parameters')

# %% [markdown]
# ## Beside each other
# The middle of the held-out picture, enlarged by bicubic interpolation, the student and the teacher.

# %%
student = kdsr.load(f'{RUNS}/student')
large = np.asarray(Image.open(sorted(pathlib.Path(PICTURES).glob('*.*'))[-1]).convert('RGB'))
scale, side = teacher.scale, 48
top, left = (max(length // scale - side, 0) // 2 for length in large.shape[:2])
small = Image.fromarray(large).resize((large.shape[1] // scale, large.shape[0] // scale), Image.Resampling.BICUBIC)
cut = np.asarray(small)[top : top + side, left : left + side]
shown = {
    'bicubic': np.asarray(Image.fromarray(cut).resize((scale * cut.shape[1], scale * cut.shape[0]), Image.Resampling.BICUBIC)),
    'student': kdsr.upscale(cut, model=f'{RUNS}/student'),
    'teacher': kdsr.upscale(cut, model=TEACHER),
    'the picture': large[scale * top : scale * (top + side), scale * left : scale * (left + side)],
}
figure, axes = plt.subplots(1, len(shown), figsize=(14, 4), layout='constrained')
for ax, (name, image) in zip(axes, shown.items(), strict=True):
    ax.imshow(image)
    ax.set_title(name)
    ax.axis('off')
plt.show()

# %% [markdown]
# ## A file for phones
# TFLite where TensorFlow is installed (the extra `tflite`; a TPU runtime has none), StableHLO elsewhere. Each file is run by its
# own runtime after writing and compared with JAX.

# %%
ready = all(importlib.util.find_spec(name) for name in ('tensorflow', 'ai_edge_litert'))
options = kdsr.export.Options(precisions=('float32', 'float16'))
for card in kdsr.export(f'{RUNS}/student', 'tflite' if ready else 'stablehlo', f'{RUNS}/files', options=options, overwrite=True):
    print(card['file'], f'{card["bytes"]:,} bytes, furthest from JAX: {max(check["max"] for check in card["checks"]):.1e} of white')
