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
TEACHER = 'edsr_x4'  # a shipped model, a run, or a file: .pth (pip install spandrel), .onnx (onnxruntime), .tflite (ai-edge-litert)
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
import shutil

import matplotlib.pyplot as plt

import kdsr

if not PICTURES:
    import skimage
    from PIL import Image

    PICTURES = f'{RUNS}/pictures'
    pathlib.Path(PICTURES).mkdir(parents=True, exist_ok=True)
    for name in ('astronaut', 'chelsea', 'coffee', 'motorcycle_left', 'rocket'):
        file = next(pathlib.Path(skimage.__file__).parent.glob(f'data/{name}.*'))
        Image.open(file).convert('RGB').save(f'{PICTURES}/{name}.png')
teacher = kdsr.teachers.opened(TEACHER)
print(f'{teacher}; {len(os.listdir(PICTURES))} pictures')

# %% [markdown]
# ## The student
# The teacher enlarges every picture once; the student learns from its pictures and the truth, and the teacher rests. `small` is
# one of four sizes, `looks` instead of `fidelity` is for teachers that are GANs: `python -m kdsr.main --config=distil:help`.

# %%
kdsr.teach(TEACHER, PICTURES, f'{RUNS}/taught')
config = kdsr.config('distil:taught,small', data__path=f'{RUNS}/taught', scale=teacher.scale, steps=STEPS)
config.eval_every = config.save_every = max(STEPS // 2, 1)
if SMOKE:
    config.patch, config.batch_size, config.ema_decay = 16, 4, 0.0
results = kdsr.train(config, f'{RUNS}/student')
print(f'{results["cost"]["student"]["parameters"]:,} parameters')

# %% [markdown]
# ## Beside each other
# The held-out picture, enlarged by bicubic interpolation, the student and the teacher; `compared/index.html` has the table as well.

# %%
shutil.rmtree(f'{RUNS}/compared', ignore_errors=True)
held_out = sorted(pathlib.Path(f'{RUNS}/taught/LR_x{teacher.scale}').iterdir())[-1]
scores = kdsr.compare(held_out, [TEACHER, f'{RUNS}/student'], f'{RUNS}/compared', lpips_by='')
plt.figure(figsize=(14, 5), layout='constrained')
plt.imshow(plt.imread(f'{RUNS}/compared/sheet.png'))
plt.axis('off')
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
