"""SRGAN lightening (Lee & Park 2021): a small SRGAN generator learns from a large one, in four ways.

    python -m kdsr.main --config=experiments/srgan_kd.py                     # demo: GAN2G+AL, embedded photographs
    python -m kdsr.main --config=experiments/srgan_kd.py:gan2g               # or g2g_al, gan2gan, baseline, baseline_pixel
    python -m kdsr.main --config=experiments/srgan_kd.py:gan2g_al,two_stage  # distil first, adversarial learning after
    python -m kdsr.main --config=experiments/srgan_kd.py:gan2gan --config.method.w_adv_teacher=0.0   # as the paper's code did it
    python -m kdsr.main --config=experiments/srgan_kd.py:paper,g2g_al --config.data.path=DIV2K
    python -m kdsr.main --config=experiments/srgan_kd.py:smoke               # half a minute

The demo has shipped teachers. `paper` and the studies expect exports that kdsr.convert made: `teachers/srgan` (adversarially
trained) and `teachers/srresnet` (not; for g2g_al). The runs of a study start from one student, which `pretrain` (or `pretrain_cpu`)
makes.
"""

import pathlib
import runpy

from kdsr import recipes

srgan = runpy.run_path(str(pathlib.Path(__file__).with_name('srgan.py')))

AXES = {
    'technique': ('gan2g_al', 'gan2g', 'g2g_al', 'gan2gan', 'baseline', 'baseline_pixel'),
    'order': ('one_stage', 'two_stage'),
}
BASELINES = {'baseline': 0.0, 'baseline_pixel': 1e-3}  # weight of the squared distance to the ground truth


def teacher(technique, adversarial, pretrained):
    """The export that a technique learns from: only g2g_al takes the one that was not trained adversarially."""
    return {**dict.fromkeys(BASELINES, ''), 'g2g_al': pretrained}.get(technique, adversarial)


def method(technique, content, discriminator):
    """The method's block."""
    return {
        'name': 'srgan_kd',
        'technique': 'none' if technique in BASELINES else technique,
        'pixel_range': 255.0,
        'w_pixel': 1e-3,
        'w_truth': BASELINES.get(technique, 0.0),
        'w_adv': 1e-3,
        'w_adv_teacher': 1e-3,
        'adversarial': 'vanilla',
        'content': content,
        'discriminator': discriminator,
    }


def stages(config, order, before):
    """`before`, then the technique; `two_stage`: its distillation (gan2g) alone before its adversarial learning."""
    if order == 'one_stage':
        return (*before, recipes.block(name='distil'))
    distillation = recipes.block(**{**config.method.to_dict(), 'technique': 'gan2g'})
    return (
        *before,
        recipes.block(name='distil', method=distillation),
        recipes.block(name='adversarial', student_init='stage:distil/student'),
    )


def demo(technique='gan2g_al', order='one_stage'):
    """SRResNet 16x4 learns from the shipped srgan_x4 on the embedded photographs, after 1500 steps of pretraining."""
    config = recipes.base(
        student=recipes.model('srresnet', features=16, blocks=4),
        student_init='stage:pretrain/student',
        teacher=teacher(technique, adversarial='srgan_x4', pretrained='edsr_x4'),
        method=method(technique, content=srgan['content'](), discriminator={'features': 32, 'hidden': 256}),
        patch=12,
        batch_size=8,
        steps=150,
        log_every=25,
        eval_every=150,
        save_every=150,
        export='latest',  # PSNR does not choose a GAN
        lpips='alex',
        optimizer=recipes.adam(1e-4, eps=1e-7),
    )
    config.stages = stages(config, order, before=[srgan['demo_pretraining']()])
    return config


def study(technique='gan2g_al', order='one_stage'):
    """SRResNet 32x8 from `pretrain`'s export on train_images, 5000 steps: for a GPU."""
    config = recipes.base(
        student=recipes.model('srresnet', features=32, blocks=8),
        student_init='runs/srgan_kd_pretrain',
        teacher=teacher(technique, adversarial='teachers/srgan', pretrained='teachers/srresnet'),
        method=method(technique, content=srgan['content'](), discriminator={'features': 64, 'hidden': 1024}),
        data=recipes.train_images(),
        patch=24,
        batch_size=8,
        steps=5000,
        log_every=100,
        eval_every=5000,
        save_every=5000,
        export='latest',
        lpips='alex',
        optimizer=recipes.adam(1e-4, eps=1e-7),
    )
    config.stages = stages(config, order, before=[])
    return config


def study_cpu(technique='gan2g_al', order='one_stage'):
    """`study` from `pretrain_cpu`'s export, short enough for a CPU: what the README compares."""
    config = study(technique, order)
    config.student_init = 'runs/srgan_kd_pretrain_cpu'
    config.method.discriminator = {'features': 32, 'hidden': 256}
    config.patch = 16
    config.steps = 600
    config.eval_every = 600
    config.save_every = 200
    config.log_every = 50
    config.stages = stages(config, order, before=[])
    return config


def pretrain():
    """The student that the runs of `study` start from, 20,000 steps by mean squared error."""
    return recipes.base(
        student=recipes.model('srresnet', features=32, blocks=8),
        method={'name': 'supervised', 'loss': 'l2'},
        data=recipes.train_images(),
        patch=24,
        batch_size=8,
        steps=20_000,
        log_every=100,
        eval_every=2000,
        save_every=500,
        optimizer=recipes.adam(1e-3, eps=1e-7, schedule='cosine', final_rate=0.01, warmup=50),
    )


def pretrain_cpu():
    """The student that the runs of `study_cpu` start from, 2400 steps."""
    config = pretrain()
    config.steps = 2400
    config.log_every = 50
    config.eval_every = 600
    config.save_every = 200
    config.optimizer.clip = 10.0
    return config


def paper(technique='gan2g_al', order='one_stage'):
    """SRResNet 32x8 learns on DIV2K: 1,000,000 steps of pretraining, 200,000 of the technique."""
    config = recipes.base(
        student=recipes.model('srresnet', features=32, blocks=8),
        student_init='stage:pretrain/student',
        teacher=teacher(technique, adversarial='teachers/srgan', pretrained='teachers/srresnet'),
        method=method(technique, content=srgan['paper_content'](), discriminator={'features': 64, 'hidden': 1024}),
        data=recipes.folder('DIV2K', images='1-800'),
        patch=24,
        batch_size=16,
        steps=200_000,
        log_every=100,
        eval_every=5000,
        save_every=5000,
        export='latest',
        lpips='alex',
        optimizer=recipes.adam(1e-4, eps=1e-7, schedule='step', milestones=(100_000,), decay=0.1),
    )
    config.stages = stages(config, order, before=[srgan['pretraining'](1_000_000, recipes.adam(1e-4, eps=1e-7))])
    return config


def smoke(technique='gan2g_al', order='one_stage'):
    """Six steps of a tiny student from random weights: shows that everything works."""
    config = demo(technique, order)
    config.student = recipes.model('srresnet', features=8, blocks=2)
    config.student_init = ''
    config.method.content.tap = 'relu1_2'  # a quarter of the compilation
    config.method.discriminator = {'features': 4, 'hidden': 16}
    config.lpips = ''
    recipes.shorten(config)
    config.stages = stages(config, order, before=[])
    return config


RECIPES = (demo, study, study_cpu, pretrain, pretrain_cpu, paper, smoke)

STUDY = recipes.Study(
    recipe='study_cpu',
    arms={name: (name, {}) for name in ('baseline', 'baseline_pixel', 'gan2g', 'gan2g_al', 'g2g_al', 'gan2gan')},
    against='baseline',
    metrics=('psnr_y', 'ssim_y', 'lpips'),
    lpips='alex',
)
