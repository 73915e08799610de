"""SRGAN (Ledig et al., CVPR 2017): a generator pretrained by mean squared error, then trained against a discriminator.

    python -m kdsr.main --config=experiments/srgan.py                        # 32x8 on the embedded photographs
    python -m kdsr.main --config=experiments/srgan.py:shipped                # how srgan_x4 was made
    python -m kdsr.main --config=experiments/srgan.py:paper --config.data.path=DIV2K
    python -m kdsr.main --config=experiments/srgan.py:smoke                  # half a minute

`content_only` trains the second stage by the content loss alone (the "G" teacher of SRGAN lightening). `paper`: 64x16, HR patches
of 96, batch 16, 1,000,000 and 200,000 steps, Keras' VGG19 at teachers/vgg19.
"""

from kdsr import config as kdsr


def pretraining(steps, optimizer, **values):
    """Block of the stage that trains the generator by mean squared error."""
    block = {'name': 'pretrain', 'student_init': '', 'teacher': '', 'export': 'best', 'lpips': ''}
    return block | {'method': {'name': 'supervised', 'loss': 'l2'}, 'steps': steps, 'optimizer': optimizer} | values


def brief_pretraining():
    """The pretraining that the shipped teacher and the CPU's comparison of the techniques start from."""
    optimizer = kdsr.adam(1e-3, eps=1e-7, schedule='cosine', final_rate=0.01, warmup=50, clip=10.0)
    return pretraining(2400, optimizer, patch=24, eval_every=600, save_every=200)


def perceptual(paper=False):
    """Content block: VGG16 on torchvision's weights; `paper`: a converted Keras VGG19 with the constants of the literature."""
    if paper:
        return {'network': 'teachers/vgg19', 'tap': 'relu5_4', 'norm': 'l2', 'weight': 1 / 12.75**2}
    # HR against a SRResNet's image gives 0.48 on 32 patches of BSDS500: the weight brings it to 0.2
    return {'network': 'vgg16', 'tap': 'relu5_3', 'norm': 'l2', 'weight': 0.4}


def get_config(arg=None):
    """See the module's docstring; `arg` e.g. 'shipped' or 'paper,content_only'."""
    options = {'scale': ('x4', 'x2'), 'shipped': False, 'content_only': False, 'paper': False, 'smoke': False}
    chosen = kdsr.parse_arg(arg, options)
    config = kdsr.base(
        name='srgan',
        scale=int(chosen['scale'][1:]),
        student=kdsr.model('srresnet', features=32, blocks=8),
        student_init='stage:pretrain/student',
        patch=12,
        batch_size=8,
        steps=150,
        log_every=25,
        eval_every=150,
        save_every=150,
        export='latest',  # PSNR does not choose a GAN
        lpips='alex',
        optimizer=kdsr.adam(1e-4, eps=1e-7),
    )
    config.method = {
        'name': 'gan',
        'pixel': 'l2',
        'w_pixel': 0.0 if chosen['paper'] else 1e-3,  # without it colours drift long before so short a training gains anything
        'pixel_range': 255.0,
        'content': perceptual(chosen['paper']),
        'adversarial': 'vanilla',
        'w_adv': 0.0 if chosen['content_only'] else 1e-3,
        'discriminator': {'features': 32, 'hidden': 256},
    }
    cosine = kdsr.adam(1e-3, eps=1e-7, schedule='cosine', final_rate=0.01, warmup=50)
    before = pretraining(1500, cosine, patch=16, eval_every=500, save_every=500)
    if chosen['shipped']:
        config.name, config.data, config.export_dtype, before = 'srgan_shipped', kdsr.train_images(), 'float16', brief_pretraining()
        config.patch, config.steps, config.log_every, config.eval_every, config.save_every = 16, 300, 50, 300, 100
    if chosen['paper']:
        config.student = kdsr.model('srresnet', features=64, blocks=16)
        config.data, config.batch_size, config.patch = kdsr.folder('DIV2K', images='1-800'), 16, 24
        config.log_every, config.eval_every, config.save_every, config.steps = 100, 5000, 5000, 200_000
        config.optimizer = kdsr.adam(1e-4, eps=1e-7, schedule='step', milestones=(100_000,), decay=0.1)
        config.method.discriminator = {'features': 64, 'hidden': 1024}
        before = pretraining(1_000_000, kdsr.adam(1e-4, eps=1e-7))
    if chosen['smoke']:
        kdsr.smoke(config)
        config.student = kdsr.model('srresnet', features=8, blocks=2)
        config.method.content['tap'] = 'relu1_2'  # a quarter of the compilation
        config.method.discriminator, config.lpips = {'features': 4, 'hidden': 16}, ''
        before['steps'] = config.steps
    config.stages = (kdsr.block(before), kdsr.block({'name': 'content' if chosen['content_only'] else 'adversarial'}))
    return config
