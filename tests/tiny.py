"""Tiny configs, images and models that several tests train with."""

import pathlib

import numpy as np
from PIL import Image

from kdsr import models, recipes, settings
from kdsr.models import exports

EXPERIMENTS = pathlib.Path(__file__).resolve().parents[1] / 'experiments'
METHOD = {
    'name': 'fakd', 'alpha': 0.5, 'w_affinity': 10.0, 'transforms': 'spatial+instance', 'taps': '', 'adapter': False,
    'pool': 1, 'pool_type': 'max', 'eps': 1e-8, 'pixel_range': 255.0,
}  # fmt: skip


def experiment(name, argument=''):
    """The config of experiments/<name>.py:argument."""
    return settings.load(f'{EXPERIMENTS / name}.py:{argument}')


def axes(name):
    """{axis: its words} of experiments/<name>.py."""
    return settings.executed(str(EXPERIMENTS / f'{name}.py'))['AXES']


def table(name):
    """{field: the rest of its line} of the table in an experiment's docstring."""
    lines = (EXPERIMENTS / f'{name}.py').read_text().partition('    field ')[2].partition('\n\n')[0].splitlines()[1:]
    return dict(line.split(maxsplit=1) for line in lines)


def picture(height, width, seed):
    """A smooth colour picture, uint8 `[height, width, 3]`: waves of random direction and colour."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [
        np.sin(rng.uniform(0.02, 0.5) * x + rng.uniform(0.02, 0.5) * y + rng.uniform(0, 6))[..., None] * rng.uniform(0, 1, 3)
        for _ in range(8)
    ]
    return np.uint8(np.clip(128 + 32 * sum(waves), 0, 255))


def folder(path, count=6, height=64, width=80):
    """Writes `count` pictures below `path` and returns it."""
    path.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(picture(height, width, i)).save(path / f'{i:04}.png')
    return path


def teacher(path, seed=1, features=12):
    """Writes a small untrained x2 EDSR as an export and returns its path."""
    import jax

    args = {'scale': 2, 'blocks': 3, 'features': features}
    variables = models.init(models.build('edsr', **args), jax.random.key(seed), np.zeros((1, 16, 16, 3), np.float32))
    exports.save(path, name='edsr', args=args, variables=variables)
    return path


def luminance(path, seed=3):
    """Writes a small untrained VDSR for x2, x3 and x4 as an export and returns its path."""
    import jax

    args = {'scale': 2, 'features': 6, 'blocks': 3}
    variables = models.init(models.build('vdsr', **args), jax.random.key(seed), np.zeros((1, 16, 16, 1), np.float32))
    exports.save(path, name='vdsr', args=args, variables=variables, scales=[2, 3, 4])
    return path


def perceptual(path, seed=2):
    """Writes the first two layers of an untrained VGG16 as an export and returns its path."""
    import jax

    from kdsr.models import vgg

    args = {'depth': 16, 'taps': ['relu1_2']}
    variables = models.init(vgg.VGG(depth=16, taps=('relu1_2',)), jax.random.key(seed), np.zeros((1, 16, 16, 3), np.float32))
    exports.save(path, name='vgg', args=args, variables=variables)
    return path


def room(path):
    """Writes training pictures, teachers for RGB and Y and a perceptual network to `path`/images, /teacher, /vdsr and /vgg."""
    folder(path / 'images')
    teacher(path / 'teacher')
    luminance(path / 'vdsr')
    perceptual(path / 'vgg')
    return path


def config(images, teacher_path, **values):
    """A x2 FAKD run of a few steps; SGD, since Adam would hide a gradient that is off by a factor."""
    config = recipes.base(
        name='tiny',
        scale=2,
        patch=16,
        batch_size=8,
        steps=4,
        log_every=2,
        eval_every=2,
        save_every=2,
        student=recipes.model('edsr', blocks=3, features=8),
        teacher=str(teacher_path),
        optimizer=recipes.adam(1e-5, name='sgd', momentum=0.9),
        data=recipes.folder(str(images), cache_dir=str(images) + '_cache', threads=1),
    )
    config.method = dict(METHOD)
    config.update(values)
    return config


def gan(room, technique='gan2gan', **values):
    """A x2 run of SRGAN lightening with batch norm in the student and in both critics."""
    tiny = config(room / 'images', room / 'teacher', student=recipes.model('srresnet', blocks=2, features=8), **values)
    tiny.method = {
        'name': 'srgan_kd', 'technique': technique, 'pixel_range': 255.0, 'w_pixel': 1e-3, 'w_adv': 1e-1, 'w_adv_teacher': 1e-1,
        'adversarial': 'relativistic', 'discriminator': {'features': 4, 'hidden': 16},
        'content': {'network': str(room / 'vgg'), 'tap': 'relu1_2', 'norm': 'l2', 'weight': 0.1},
    }  # fmt: skip
    return tiny


def unet(room, **values):
    """A x2 run against a critic that judges every pixel, with spectral normalisation."""
    tiny = config(room / 'images', room / 'teacher', **values)
    tiny.method = {
        'name': 'gan', 'pixel': 'l1', 'w_pixel': 1.0, 'pixel_range': 1.0, 'adversarial': 'vanilla', 'w_adv': 0.1,
        'discriminator': {'name': 'unet', 'features': 4}, 'content': {'weight': 0.0},
    }  # fmt: skip
    return tiny


def sdakd(room, values=(), **method):
    """A x2 run of SDAKD's third stage against a critic of the student's own; `method`: fields of its block that differ."""
    found = config(room / 'images', room / 'teacher', **dict(values))
    found.optimizer = recipes.adam(1e-2, name='sgd')
    found.method = {
        'name': 'sdakd', 'content': {'weight': 0.0}, 'w_features': 0.5, 'w_adv': 0.1,
        'discriminator': {'name': 'own.critic', 'features': 4}, 'wide': {'name': 'own.critic', 'features': 8},
        'teacher_disc': str(room / 'disc'), **method,
    }  # fmt: skip
    return found


def realesrgan(room, **values):
    """The second stage of Real-ESRGAN on degraded images: sharpened targets, plain ones for the critic."""
    tiny = unet(room, **values)
    tiny.method.sharpen = True
    tiny.data.update({'augment': 'mirror', 'degradation': {'preset': 'realesrgan', 'canvas': 0}})
    return tiny


def data_free(room, **values):
    """A run without images: a student that grows in steps 8 and 16, two generators of which one moves in a step."""
    tiny = config(room / 'images', room / 'vdsr', student=recipes.model('vdsr', features=4, blocks=3), **values)
    tiny.data.update({'colour': 'y', 'training': False})
    tiny.optimizer.learning_rate = 0.1
    tiny.method = {
        'name': 'data_free', 'images': 'generator', 'target': 'teacher', 'scales': '2,4', 'size': 16, 'student_steps': 2,
        'latent': 8, 'loss': 'l1', 'reduction': 'mean', 'rounding': 'none', 'w_adversarial': 1.0, 'w_reconstruction': 1.0,
        'warmup': 1, 'growth': {'events': 3, 'every': 8, 'new_block': 'random'},
        'optimizer': recipes.adam(0.1, name='sgd', momentum=0.9),
    }  # fmt: skip
    return tiny


def after_fakd(room, name, **method):
    """A x2 run of what came after FAKD; `method`: fields of its block that differ."""
    found = config(room / 'images', room / 'teacher', student=recipes.model('srvgg', features=6, blocks=1))
    found.optimizer = recipes.adam(1e-2, name='sgd')
    features = {'features': {'network': str(room / 'vgg'), 'taps': 'relu1_2'}} if name == 'contrastive' else {}
    found.method = {'name': name, **features, **method}
    return found


def pisr(room):
    """PISR's two stages, its teacher by its own network."""
    found = after_fakd(room, 'pisr')
    del found.teacher
    teacher = {'student_init': 'stage:teacher/student', 'teacher': 'stage:teacher/student'}
    found.stages = (
        recipes.block(name='teacher', method={'name': 'pisr', 'role': 'teacher'}),
        recipes.block(name='student', method={'name': 'pisr', 'role': 'student', 'encoder': 'stage:teacher/encoder'}, **teacher),
    )
    return found


def informed(room):
    """The second stage of PISR alone, by an untrained teacher of the student's architecture and an untrained encoder, in `room`."""
    import jax

    args = {'srvgg': {'scale': 2, 'features': 6, 'blocks': 1}, 'privileged_encoder': {'scale': 2, 'channels': 3}}
    for name, fields in args.items():
        if not (room / name).exists():
            variables = models.init(models.build(name, **fields), jax.random.key(3), np.zeros((1, 16, 16, 3), np.float32))
            exports.save(room / name, name=name, args=fields, variables=variables)
    found = after_fakd(room, 'pisr', role='student', encoder=str(room / 'privileged_encoder'), w_information=1e-3)
    found.teacher = str(room / 'srvgg')
    return found


def together(room, one=None, other=None, **values):
    """A run of FAKD and DUKD at once, by default."""
    found = config(room / 'images', room / 'teacher')
    one = one or {**METHOD, 'w_affinity': 0.5}
    found.method = {'name': 'together', 'one': one, 'other': other or {'name': 'dukd', 'zoom_in': 1}, **values}
    return found


AFTER_FAKD = {
    'dukd': lambda room: after_fakd(room, 'dukd'),
    'dukd_two': lambda room: after_fakd(room, 'dukd', updates='two'),
    'contrastive': lambda room: after_fakd(room, 'contrastive', history={'every': 2, 'share': 0.9}),
    'csd': lambda room: after_fakd(room, 'contrastive', negatives='bicubic', count=3, w_changed=0.0),
    'wavelet': lambda room: after_fakd(room, 'output', w_wavelet=1.0, levels=1),
    'pisr': lambda room: after_fakd(room, 'pisr', role='teacher'),
    'pisr_student': informed,
    'together': together,
}
CONFIGS = {
    **AFTER_FAKD,
    'data_free': data_free,
    'fakd': lambda room: config(room / 'images', room / 'teacher'),
    'srgan_kd': gan,
    'gan2g_al': lambda room: gan(room, 'gan2g_al'),
    'unet': unet,
    'sdakd': lambda room: sdakd(room, r1={'weight': 1.0, 'every': 2}, discriminator={'name': 'unet', 'features': 4}),
    'realesrgan': realesrgan,
}
