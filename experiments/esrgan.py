"""ESRGAN (Wang et al., ECCV Workshops 2018): L1 first, then perceptual + relativistic + L1.

    python -m kdsr.main --config=experiments/esrgan.py                       # a small one on the embedded photographs
    python -m kdsr.main --config=experiments/esrgan.py:paper --config.data.path=DIV2K,Flickr2K
    python -m kdsr.main --config=experiments/esrgan.py:gsoc --config.data.path=DIV2K    # 11x32, transposed convolutions
    python -m kdsr.main --config=experiments/esrgan.py:smoke                 # half a minute

The blend of both networks that the paper shows, 0.8 of the adversarially trained weights and 0.2 of the first stage's:

    python -m kdsr.blend runs/esrgan_demo/adversarial runs/esrgan_demo/psnr --share=0.8 --out=EXPORT

Weights of the terms are those for images on 0..1; the content distance is that of VGG16's conv5_3 before its activation.
"""

from kdsr import recipes


def method(features):
    """The second stage's method block; `features` of the discriminator."""
    return {
        'name': 'gan',
        'pixel': 'l1',
        'w_pixel': 1e-2,
        'pixel_range': 1.0,
        'content': {'network': 'vgg16', 'tap': 'conv5_3', 'norm': 'l1', 'weight': 1.0},
        'adversarial': 'relativistic',
        'w_adv': 5e-3,
        'discriminator': {'name': 'esrgan', 'features': features},
    }


def psnr(steps, optimizer, **values):
    """The first stage's block."""
    return recipes.block(
        name='psnr',
        student_init='',
        export='best',
        lpips='',
        method={'name': 'supervised', 'loss': 'l1'},
        steps=steps,
        optimizer=optimizer,
        **values,
    )


def halved(learning_rate, *milestones):
    """Adam whose rate halves at each milestone."""
    return recipes.adam(learning_rate, b2=0.99, schedule='step', milestones=milestones)


def demo():
    """RRDBNet 2x32 on the embedded photographs, 400 and 100 steps."""
    brief = recipes.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=50, clip=10.0)
    return recipes.base(
        student=recipes.model('rrdb', features=32, blocks=2, growth=16),
        student_init='stage:psnr/student',
        method=method(features=16),
        patch=16,
        batch_size=4,
        steps=100,
        log_every=20,
        eval_every=100,
        save_every=100,
        export='latest',  # PSNR does not choose a GAN
        lpips='alex',
        optimizer=recipes.adam(1e-4, b2=0.99),
        stages=(psnr(400, brief), recipes.block(name='adversarial')),
    )


def paper():
    """RRDBNet 23x64 on DIV2K, HR patches of 128: 1,000,000 and 400,000 steps, averaged weights."""
    first = halved(2e-4, 200_000, 400_000, 600_000, 800_000)
    return recipes.base(
        student=recipes.model('rrdb'),
        student_init='stage:psnr/student',
        method=method(features=64),
        data=recipes.folder('DIV2K', images='1-800'),
        patch=32,
        batch_size=16,
        steps=400_000,
        ema_decay=0.999,
        log_every=100,
        eval_every=5000,
        save_every=5000,
        export='latest',
        lpips='alex',
        optimizer=halved(1e-4, 50_000, 100_000, 200_000, 300_000),
        stages=(psnr(1_000_000, first, ema_decay=0.999), recipes.block(name='adversarial')),
    )


def gsoc():
    """captain-pool's generator of 11x32 with transposed convolutions, the teacher of compressed ESRGAN, and its schedule."""
    config = paper()
    config.student = recipes.model('rrdb_gsoc')
    config.batch_size = 32
    config.optimizer = halved(5e-5, 9000, 30_000, 50_000, 100_000, 200_000, 300_000)
    first = halved(2e-4, 200_000, 400_000)
    config.stages = (psnr(600_000, first, ema_decay=0.999), recipes.block(name='adversarial'))
    return config


def smoke():
    """`demo` with six steps of a tiny network in each stage: shows that everything works."""
    config = demo()
    config.student = recipes.model('rrdb', features=8, blocks=1, growth=4)
    config.method.content.tap = 'conv2_2'  # a quarter of the compilation
    config.method.discriminator = {'name': 'esrgan', 'features': 4}
    config.lpips = ''
    recipes.shorten(config)
    config.stages[0].steps = 6
    return config


RECIPES = (demo, paper, gsoc, smoke)
