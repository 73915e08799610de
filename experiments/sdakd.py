"""SDAKD (after Kaparinos & Mezaris 2025): narrow students in three stages, the last against a critic as narrow as they are.

    python -m kdsr.main --config=experiments/sdakd.py                        # demo: the shipped srgan_x4 teaches a quarter of it
    python -m kdsr.main --config=experiments/sdakd.py:wide                   # or another arm, see below
    python -m kdsr.main --config=experiments/sdakd.py:teacher --config.data.path=DF2K       # Real-ESRGAN's pair: RRDBNet, U-Net
    python -m kdsr.main --config=experiments/sdakd.py:paper,eighth --config.data.path=DF2K
    python -m kdsr.main --config=experiments/gcfsr.py:faces64 --config.data.path=FACES64/train              # GCFSR's pair
    python -m kdsr.study --config=experiments/sdakd.py --arms=sdakd,wide,none --set=data.path=FACES64/train --out=runs/sdakd
    python -m kdsr.main --config=experiments/sdakd.py:smoke                  # a minute; smoke_faces: GCFSR

Arms: `sdakd`; the same three stages with another critic, `tuned` (the teacher's, which goes on learning), `frozen` (the teacher's
as it is), `wide` (a new one of the teacher's size) or `none`; `no_features`, `no_stage1`; and what else there is: `scratch` (no
teacher and no stages, against a wide critic), `dcd`, `dcd_fixed`, `omgd`. All have as many steps. The stages are the paper's, the
numbers this project's.

`paper` takes teachers/x4plus (RealESRGAN_x4plus, converted); its `tuned`, `frozen` and `dcd_fixed` also
runs/sdakd_teacher/export/disc, which `teacher` makes: a discriminator to that teacher.
"""

import pathlib
import runpy

from kdsr import recipes

gcfsr = runpy.run_path(str(pathlib.Path(__file__).with_name('gcfsr.py')))
realesrgan = runpy.run_path(str(pathlib.Path(__file__).with_name('realesrgan.py')))

AXES = {
    'arm': ('sdakd', 'tuned', 'frozen', 'wide', 'none', 'no_features', 'no_stage1', 'scratch', 'dcd', 'dcd_fixed', 'omgd'),
    'fraction': ('quarter', 'half', 'eighth'),
}
PARTS = {'half': 2, 'quarter': 4, 'eighth': 8}  # of the teacher's channels

# The table of stages: share of the steps, whether features are compared, whether there is a critic, whether the student hears it.
STAGES = {
    'supervised': {'share': 0.25, 'features': False, 'critic': False, 'heard': False},
    'features': {'share': 0.25, 'features': True, 'critic': True, 'heard': False},
    'adversarial': {'share': 0.5, 'features': True, 'critic': True, 'heard': True},
}
CRITICS = {'tuned': 'teacher_tuned', 'frozen': 'teacher_frozen', 'wide': 'wide', 'none': 'none', 'scratch': 'wide'}


def table(arm):
    """The stages of an arm, {name: row}, as `STAGES`."""
    rows = {name: dict(row) for name, row in STAGES.items()}
    if arm == 'no_stage1':
        rows = {'features': {**rows['features'], 'share': 0.5}, 'adversarial': rows['adversarial']}
    if arm == 'scratch':
        rows = {'adversarial': {**rows['adversarial'], 'share': 1.0}}
    if arm in ('no_features', 'scratch'):
        rows = {name: {**row, 'features': False} for name, row in rows.items()}
    if arm in ('dcd', 'dcd_fixed', 'omgd'):
        rows = {'supervised': rows['supervised'], 'distil': {'share': 0.75}}
    return rows


def method(base, row, arm):
    """The block of one stage. base: that of SDAKD's third stage."""
    if 'critic' not in row:
        return rival(base, arm)
    kind = CRITICS.get(arm, 'student') if row['critic'] else 'none'
    if kind == 'teacher_frozen' and not row['heard']:
        kind = 'none'  # it has nothing to learn
    changes = {'critic': kind, 'w_features': base['w_features'] if row['features'] else 0.0}
    return {**base, **changes, 'w_adv': base['w_adv'] if row['heard'] else 0.0}


# Image against image, in OMGD and DCD: textures at `taps`, features at `tap`.
LOOK = {
    'network': 'vgg16',
    'taps': 'relu1_2+relu2_2+relu3_3+relu4_3',
    'tap': 'relu2_2',
    'style': 1e4,
    'image': 10.0,
}
OMGD = {
    'name': 'omgd',
    'look': LOOK,
    'w_ssim': 10.0,
    'w_tv': 1e-5,
    'w_channels': 100.0,
}
DCD = {
    'name': 'dcd',
    'look': LOOK,
    'w_dcd': 1.0,
}


def rival(base, arm):
    """The block of DCD or OMGD with the terms, the game and the teacher's critic of `base`."""
    shared = ('pixel', 'w_pixel', 'pixel_range', 'content', 'sharpen', 'taps', 'adversarial', 'w_adv', 'r1', 'scales')
    block = {k: base[k] for k in shared if k in base} | {'discriminator': base['wide']}
    rule, beside = base.get('disc_optimizer', {}), base['rivals']
    if arm == 'omgd':
        rules = {f'disc_{name}_optimizer': rule for name in ('wide', 'deep') if beside[name]}
        return {**block, **OMGD, **rules, 'wide': beside['wide'], 'deep': beside['deep']}
    if arm == 'dcd':
        return {**block, **DCD, 'form': 'collaborative', 'wide': beside['wide'], 'disc_optimizer': rule}
    return {**block, **DCD, 'form': 'fixed', 'teacher_disc': base['teacher_disc']}


def carried(before, now):
    """Which networks go over between two methods' blocks: those that both train."""
    if not before:
        return ()
    trains = lambda m, net: {
        'student': True,
        'adapt': m.get('w_features', 0.0) > 0,
        'disc': m.get('critic') in ('student', 'wide', 'teacher_tuned'),
    }[net]
    return tuple(net for net in ('student', 'adapt', 'disc') if trains(before, net) and trains(now, net))


def stages(arm, base, steps, optimizers=()):
    """The blocks of an arm's stages. steps: of all together. optimizers: (stage, block) where one has its own, clipped or not as
    the others are, since its state is carried over.
    """
    found, before, own = [], None, dict(optimizers)
    for name, row in table(arm).items():
        now = method(base, row, arm)
        values = {'optimizer': own[name]} if name in own else {}
        values |= {'student_init': ''} if before is None else {}
        values |= {'steps': round(steps * row['share']), 'carry': carried(before, now)}
        found.append(recipes.block(name=name, method=alone(now), **values))
        before = now
    return tuple(found)


def alone(block):
    """`block` without what its rivals read."""
    return {k: v for k, v in block.items() if k != 'rivals'}


def base(content, **values):
    """SDAKD's block in its third stage, with what the rivals read beside it."""
    return {
        'name': 'sdakd',
        'pixel': 'l1',
        'w_pixel': 1.0,
        'pixel_range': 1.0,
        'content': content,
        'w_features': 1.0,
        'taps': '',
        'sigma': 'batch',
        'adversarial': 'vanilla',
        **values,
    }


def demo(arm='sdakd', fraction='quarter'):
    """SRResNet of a quarter of srgan_x4's channels learns from it on the embedded photographs, 2400 steps."""
    features = 32 // PARTS[fraction]
    rows = base(
        {'weight': 0.0},  # VGG would cost more than all networks together
        w_adv=3e-3,
        w_features=0.05,
        discriminator={'name': 'srgan', 'features': features, 'hidden': 8 * features},
        wide={'name': 'srgan', 'features': 32, 'hidden': 256},
        teacher_disc='',  # srgan_x4's was not shipped: an export for `tuned`, `frozen` and `dcd_fixed`
        rivals={'wide': {'features': 32}, 'deep': {'blocks': 16}},
    )
    return recipes.base(
        student=recipes.model('srresnet', features=features, blocks=8),
        teacher='srgan_x4',
        method=alone(rows),
        patch=12,
        batch_size=8,
        log_every=100,
        eval_every=600,
        save_every=600,
        export='latest',  # PSNR does not choose a GAN
        lpips='alex',
        optimizer=recipes.adam(1e-3, clip=10.0),
        stages=stages(arm, rows, 2400, [('supervised', recipes.adam(2e-3, warmup=50, clip=10.0))]),
    )


def paper(arm='sdakd', fraction='quarter'):
    """Real-ESRGAN: RRDBNet of a half, a quarter or an eighth of the channels, 400,000 steps, its losses, rates and averages."""
    config, part = realesrgan['paper'](), PARTS[fraction]
    rows = base(
        config.method.content.to_dict(),
        sharpen=True,
        w_adv=config.method.w_adv,
        discriminator={'name': 'unet', 'features': 64 // part},
        wide={'name': 'unet', 'features': 64},
        teacher_disc='runs/sdakd_teacher/export/disc',
        rivals={'wide': {'features': 64, 'growth': 32}, 'deep': {'blocks': 46}},
    )
    config.student = recipes.model('rrdb', features=64 // part, growth=32 // part, blocks=23)
    config.student_init = ''
    config.teacher = 'teachers/x4plus'
    config.method = alone(rows)
    config.stages = stages(arm, rows, 400_000, [('supervised', recipes.adam(2e-4, b2=0.99))])
    return config


def photos_l1(fraction='quarter'):
    """The students of `photos`, by L1 alone first: 1500 steps on degraded train_images."""
    config, part = realesrgan['paper'](), PARTS[fraction]
    config.name = f'sdakd_photos_l1_{fraction}'
    config.student = recipes.model('rrdb', features=64 // part, growth=32 // part, blocks=23)
    config.student_init = ''
    config.method = {'name': 'supervised', 'loss': 'l1', 'sharpen': True}
    config.data = recipes.train_images(augment='mirror', degradation={'preset': 'realesrgan'})
    config.patch = 16
    config.batch_size = 8
    config.steps = 1500
    config.ema_decay = 0.98
    config.log_every = config.save_every = 100
    config.eval_every = 500
    config.lpips = ''
    config.optimizer = recipes.adam(1e-3, clip=1.0, schedule='cosine', warmup=50)
    del config.stages
    return config


def photos(arm='sdakd', fraction='quarter'):
    """`paper` made small: 400 steps on train_images from the run of `photos_l1`; not the arms with the teacher's own critic."""
    config, part = photos_l1(fraction), PARTS[fraction]
    config.name = recipes.UNNAMED
    rows = base(
        {'network': 'vgg16', 'tap': realesrgan['VGG16'], 'norm': 'l1', 'weight': 1.0},
        sharpen=True,
        w_adv=0.1,
        discriminator={'name': 'unet', 'features': 64 // part},
        wide={'name': 'unet', 'features': 64},
        teacher_disc='',
        rivals={'wide': {'features': 64, 'growth': 32}, 'deep': {'blocks': 46}},
    )
    config.student_init = f'runs/sdakd_photos_l1_{fraction}'
    config.teacher = 'teachers/x4plus'
    config.method = alone(rows)
    config.batch_size = 4
    config.log_every = 20
    config.eval_every = config.save_every = 100
    config.optimizer = recipes.adam(4e-4, b2=0.99)
    config.stages = stages(arm, rows, 400)
    config.stages[0].student_init = config.student_init
    return config


def teacher():
    """RealESRGAN_x4plus goes on against a new U-Net, 20,000 steps at a tenth of the rate: leaves the pair of export/disc."""
    config = realesrgan['paper']()
    config.name = 'sdakd_teacher'
    config.student_init = 'teachers/x4plus'
    config.steps = 20_000
    config.optimizer = recipes.adam(1e-5, b2=0.99)
    config.method = {**config.method.to_dict(), 'disc_optimizer': recipes.adam(1e-4, b2=0.99)}
    del config.stages
    return config


def faces64(arm='sdakd', fraction='quarter'):
    """GCFSR of 64 px, 32, 16 or 8 of the teacher's 64 channels, 480 steps; the teacher is `experiments/gcfsr.py:faces64`'s run."""
    config = gcfsr['faces64']()
    config.name = recipes.UNNAMED
    narrow = config.student.args.narrow
    rows = base(
        {'weight': 0.0},
        pixel_range=2.0,
        w_features=0.1,
        w_adv=config.method.w_adv,
        r1=config.method.r1.to_dict(),
        scales=config.method.scales,
        discriminator={'name': 'stylegan', 'narrow': narrow / PARTS[fraction]},
        wide={'name': 'stylegan', 'narrow': narrow},
        teacher_disc='runs/gcfsr_faces64/export/disc',
        disc_optimizer=config.method.disc_optimizer.to_dict(),
        rivals={'wide': {'narrow': narrow}, 'deep': {}},
    )
    config.student.args.narrow = narrow / PARTS[fraction]
    config.teacher = 'runs/gcfsr_faces64'
    config.method = alone(rows)
    config.student_init = ''
    config.ema_decay = 0.98
    config.eval_every = config.save_every = 480
    config.log_every = 25
    config.stages = stages(arm, rows, 480, [('supervised', gcfsr['QUICK'])])
    return config


def smoke_faces(arm='sdakd', fraction='quarter'):
    """`smoke` of a GCFSR of 32 px."""
    config, pair = faces64(arm, fraction), gcfsr['smoke']()
    rows = {**config.method.to_dict(), 'w_adv': 0.01, 'w_features': 1.0, 'teacher_disc': 'stage:teacher/disc'}
    rows |= {'scales': pair.method.scales, 'r1': pair.method.r1.to_dict(), 'wide': pair.method.discriminator.to_dict()}
    rows |= {'discriminator': rows['wide'], 'rivals': {'wide': {'narrow': 0.03125}, 'deep': {}}}
    config.scale, config.teacher, config.data, config.lpips = pair.scale, 'stage:teacher/student', pair.data, ''
    config.student = pair.student
    recipes.shorten(config)
    config.patch = pair.patch
    block = recipes.block(name='teacher', teacher='', method=pair.method)
    config.stages = (block, *stages(arm, rows, 24))
    return config


def smoke(arm='sdakd', fraction='quarter'):
    """Six steps of tiny networks in each stage, the first of which makes their teacher: shows that everything works."""
    rows = base(
        {'network': 'vgg16', 'tap': 'conv1_2', 'norm': 'l1', 'weight': 1.0},
        sharpen=True,
        w_adv=0.1,
        discriminator={'name': 'unet', 'features': 32 // PARTS[fraction] // 4},
        wide={'name': 'unet', 'features': 8},
        teacher_disc='stage:teacher/disc',
        rivals={'wide': {'features': 16}, 'deep': {'blocks': 8}},
    )
    config = recipes.base(
        student=recipes.model('srvgg', features=32 // PARTS[fraction], blocks=4),
        teacher='stage:teacher/student',
        method=alone(rows),
        data=recipes.embedded(augment='mirror'),
        ema_decay=0.9,
        export='latest',
        optimizer=recipes.adam(1e-4, b2=0.99),
    )
    recipes.shorten(config)
    gan = {**realesrgan['method'](rows['content'], 8)}
    pair = recipes.block(name='teacher', student=recipes.model('srvgg', features=32, blocks=4), teacher='', method=gan)
    config.stages = (pair, *stages(arm, rows, 24))
    return config


RECIPES = (demo, paper, photos, photos_l1, teacher, faces64, smoke, smoke_faces)

STUDY = recipes.Study(
    recipe='faces64',
    arms={arm: (arm, {}) for arm in AXES['arm']} | {f'{arm}_eighth': (f'{arm},eighth', {}) for arm in ('sdakd', 'wide', 'none')},
    against='sdakd',
    metrics=('psnr_y', 'lpips'),
    lpips='alex',
)
