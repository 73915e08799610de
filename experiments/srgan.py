"""SRGAN (Ledig et al., CVPR 2017): a generator pretrained by mean squared error, then trained against a discriminator.

    python -m kdsr.main --config=experiments/srgan.py                        # 32x8 on the embedded photographs
    python -m kdsr.main --config=experiments/srgan.py:shipped                # how srgan_x4 was made
    python -m kdsr.main --config=experiments/srgan.py:paper --config.data.path=DIV2K
    python -m kdsr.main --config=experiments/srgan.py:smoke                  # half a minute

`content_only` trains the second stage by the content loss alone (the "G" teacher of SRGAN lightening).
"""

from kdsr import recipes

AXES = {
    'loss': ('adversarial', 'content_only'),
    'scale': ('x4', 'x2'),
}


def method(loss, w_pixel, content, discriminator):
    """The second stage's method block."""
    return {
        'name': 'gan',
        'pixel': 'l2',
        'w_pixel': w_pixel,
        'pixel_range': 255.0,
        'content': content,
        'adversarial': 'vanilla',
        'w_adv': 0.0 if loss == 'content_only' else 1e-3,
        'discriminator': discriminator,
    }


def content():
    """VGG16 on torchvision's weights; on 32 patches of BSDS500 a SRResNet's distance is 0.48, which the weight brings to 0.2."""
    return {'network': 'vgg16', 'tap': 'relu5_3', 'norm': 'l2', 'weight': 0.4}


def paper_content():
    """A converted Keras VGG19 with the constants of the literature."""
    return {'network': 'teachers/vgg19', 'tap': 'relu5_4', 'norm': 'l2', 'weight': 1 / 12.75**2}


def pretraining(steps, optimizer, **values):
    """The stage that trains the generator by mean squared error."""
    return recipes.block(
        name='pretrain',
        student_init='',
        teacher='',
        export='best',
        lpips='',
        method={'name': 'supervised', 'loss': 'l2'},
        steps=steps,
        optimizer=optimizer,
        **values,
    )


def brief_pretraining():
    """The pretraining of what a CPU can train."""
    optimizer = recipes.adam(1e-3, eps=1e-7, schedule='cosine', final_rate=0.01, warmup=50, clip=10.0)
    return pretraining(2400, optimizer, patch=24, eval_every=600, save_every=200)


def demo_pretraining():
    """The pretraining of the demos."""
    optimizer = recipes.adam(1e-3, eps=1e-7, schedule='cosine', final_rate=0.01, warmup=50)
    return pretraining(1500, optimizer, patch=16, eval_every=500, save_every=500)


def demo(loss='adversarial', scale='x4'):
    """SRResNet 32x8 on the embedded photographs: 1500 steps of pretraining, 150 adversarial ones."""
    return recipes.base(
        scale=int(scale[1:]),
        student=recipes.model('srresnet', features=32, blocks=8),
        student_init='stage:pretrain/student',
        # without the pixel term colours drift long before so short a training gains anything
        method=method(loss, w_pixel=1e-3, content=content(), discriminator={'features': 32, 'hidden': 256}),
        patch=12,
        batch_size=8,
        steps=150,
        log_every=25,
        eval_every=150,
        save_every=150,
        export='latest',  # PSNR does not choose a GAN
        lpips='alex',
        optimizer=recipes.adam(1e-4, eps=1e-7),
        stages=(demo_pretraining(), recipes.block(name=loss)),
    )


def shipped():
    """How the shipped srgan_x4 was made: `demo`'s network on train_images."""
    config = demo()
    config.data = recipes.train_images()
    config.export_dtype = 'float16'
    config.patch = 16
    config.steps = 300
    config.log_every = 50
    config.eval_every = 300
    config.save_every = 100
    config.stages = (brief_pretraining(), recipes.block(name='adversarial'))
    return config


def paper(loss='adversarial', scale='x4'):
    """SRResNet 64x16 on DIV2K, Keras' VGG19 at teachers/vgg19, HR patches of 96: 1,000,000 and 200,000 steps."""
    return recipes.base(
        scale=int(scale[1:]),
        student=recipes.model('srresnet', features=64, blocks=16),
        student_init='stage:pretrain/student',
        method=method(loss, w_pixel=0.0, content=paper_content(), discriminator={'features': 64, 'hidden': 1024}),
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
        stages=(pretraining(1_000_000, recipes.adam(1e-4, eps=1e-7)), recipes.block(name=loss)),
    )


def smoke(loss='adversarial', scale='x4'):
    """`demo` with six steps of a tiny network in each stage: shows that everything works."""
    config = demo(loss, scale)
    config.student = recipes.model('srresnet', features=8, blocks=2)
    config.method.content.tap = 'relu1_2'  # a quarter of the compilation
    config.method.discriminator = {'features': 4, 'hidden': 16}
    config.lpips = ''
    recipes.shorten(config)
    config.stages[0].steps = 6
    return config


RECIPES = (demo, shipped, paper, smoke)
