"""Real-ESRGAN (Wang et al., ICCVW 2021): photographs as bad as found ones, by L1 first (Real-ESRNet), then against a U-Net.

    python -m kdsr.main --config=experiments/realesrgan.py                   # demo: the shipped photo_x4 goes on
    python -m kdsr.main --config=experiments/realesrgan.py:paper --config.data.path=DF2K --config.student_init=EXPORT
    python -m kdsr.main --config=experiments/realesrgan.py:paper,srvgg --config.data.path=DF2K
    python -m kdsr.main --config=experiments/realesrgan.py:shipped           # photo_x4, by a large network's pictures
    python -m kdsr.main --config=experiments/realesrgan.py:smoke             # half a minute

LR is made by twice blur, resize, noise and JPEG (`python -m kdsr.data.degradations PHOTO --out=sheet.png` shows it); L1 and the
content distance look at sharpened targets, the discriminator at plain ones. In `paper`, EXPORT of an ESRGAN is what the first stage
starts from, and teachers/vgg19 is torchvision's VGG19, converted. It differs from the released code in

    field                here     released
    data                 one      several scaled copies of each picture, cut into pieces of 400x400
    draws of resizes     each     one for a batch, mixed by a pool of pairs: degradation.draws=batch, degradation.pool=576
    steps of a player    joint    the generator's first, the discriminator's after it on the same images

where draws and pool are set as --config.data.degradation.draws=batch; both go together. On a GPU --config.data.workers=8 has
processes make LR, 32 to 43 images a second and core.
"""

from kdsr import recipes

AXES = {'network': ('rrdb', 'srvgg')}
NETWORKS = {
    'rrdb': recipes.model('rrdb'),
    'srvgg': recipes.model('srvgg', features=64, blocks=32),
}
VGG19 = '0.1*conv1_2+0.1*conv2_2+conv3_4+conv4_4+conv5_4'
VGG16 = '0.1*conv1_2+0.1*conv2_2+conv3_3+conv4_3+conv5_3'


def method(content, features):
    """The second stage's method block; `features` of the discriminator."""
    return {
        'name': 'gan',
        'pixel': 'l1',
        'w_pixel': 1.0,
        'pixel_range': 1.0,
        'content': content,
        'adversarial': 'vanilla',
        'w_adv': 0.1,
        'discriminator': {'name': 'unet', 'features': features},
        'sharpen': True,
    }


def esrnet(steps, optimizer, **values):
    """The first stage's block."""
    return recipes.block(
        name='esrnet',
        export='best',
        lpips='',
        method={'name': 'supervised', 'loss': 'l1', 'sharpen': True},
        steps=steps,
        optimizer=optimizer,
        **values,
    )


def demo():
    """The shipped photo_x4 goes on with the embedded photographs: 120 steps of L1, 60 against a discriminator."""
    return recipes.base(
        student=recipes.model('srvgg', features=64, blocks=16),
        method=method({'network': 'vgg16', 'tap': VGG16, 'norm': 'l1', 'weight': 1.0}, features=16),
        student_init='stage:esrnet/student',
        data=recipes.embedded(augment='mirror', degradation={'preset': 'realesrgan'}),
        patch=32,
        batch_size=4,
        steps=60,
        log_every=20,
        eval_every=60,
        save_every=60,
        export='latest',  # PSNR does not choose a GAN
        lpips='alex',
        optimizer=recipes.adam(1e-4, b2=0.99),
        stages=(
            esrnet(120, recipes.adam(2e-4, b2=0.99), student_init='photo_x4'),
            recipes.block(name='gan'),
        ),
    )


def paper(network='rrdb'):
    """The published losses, rates and lengths: 1,000,000 steps of L1, 400,000 against the discriminator, averaged weights."""
    return recipes.base(
        student=NETWORKS[network],
        method=method({'network': 'teachers/vgg19', 'tap': VGG19, 'norm': 'l1', 'weight': 1.0}, features=64),
        student_init='stage:esrnet/student',
        data=recipes.folder('DF2K', augment='mirror', degradation={'preset': 'realesrgan'}),
        patch=64,
        batch_size=48,
        steps=400_000,
        ema_decay=0.999,
        log_every=100,
        eval_every=5000,
        save_every=5000,
        export='latest',
        lpips='alex',
        optimizer=recipes.adam(1e-4, b2=0.99),
        stages=(
            esrnet(1_000_000, recipes.adam(2e-4, b2=0.99), student_init=''),
            recipes.block(name='gan'),
        ),
    )


def photographs(name, after, steps, rate, w_colour, ema_decay):
    """A last stage's block: of the photographs themselves, whose detail is finer, with twice the weight on features."""
    features = {'network': 'vgg16', 'tap': VGG16, 'norm': 'l1', 'weight': 2.0}
    return recipes.block(
        name=name,
        method=method(features, features=16) | {'sharpen': False, 'w_pixel': 0.3, 'w_colour': w_colour},
        student_init=f'stage:{after}/student_ema',
        data=recipes.folder(
            'photos_hires@2,BSDS500_train200,BSDS500_test200',
            validation_images=8,
            augment='mirror',
            degradation={'preset': 'realesrgan'},
        ),
        ema_decay=ema_decay,
        steps=steps,
        optimizer=recipes.adam(rate, b2=0.99, schedule='cosine', final_rate=0.1, warmup=max(5, steps // 14)),
    )


def shipped():
    """The photo_x4 of this package: by a large network's pictures of degraded photographs, in runs/taught, then by photographs."""
    judged = method({'network': 'vgg16', 'tap': VGG16, 'norm': 'l1', 'weight': 1.0}, features=16) | {'sharpen': False}
    return recipes.base(
        student=recipes.model('srvgg', features=64, blocks=16),
        method=judged | {'w_colour': 1.0},
        student_init='stage:l1/student',
        data=recipes.folder('runs/taught/photos_teacher,runs/taught/bsds_teacher', validation_images=8),
        patch=32,
        batch_size=8,
        steps=1000,
        ema_decay=0.995,
        log_every=25,
        eval_every=300,
        save_every=100,
        export='latest',
        export_dtype='float16',
        optimizer=recipes.adam(2e-4, b2=0.99, schedule='cosine', final_rate=0.1, warmup=25),
        stages=(
            recipes.block(
                name='l1',
                export='best',
                method={'name': 'supervised', 'loss': 'l1'},
                student_init='teachers/animevideo',
                batch_size=16,
                steps=1500,
                optimizer=recipes.adam(4e-4, b2=0.99, schedule='cosine', final_rate=0.1, warmup=50),
            ),
            recipes.block(name='gan'),
            # what is shipped is 0.7 of the last student and 0.3 of that of `gan`: kdsr.blend
            photographs('photographs', 'gan', steps=350, rate=2e-4, w_colour=10.0, ema_decay=0.99),
            photographs('colours', 'photographs', steps=60, rate=1e-4, w_colour=100.0, ema_decay=0.95),
        ),
    )


def smoke():
    """`demo` with six steps of a tiny network in each stage: shows that everything works."""
    config = demo()
    config.student = recipes.model('srvgg', features=8, blocks=2)
    config.method.content.tap = 'conv2_2'  # a quarter of the compilation
    config.method.discriminator = {'name': 'unet', 'features': 4}
    config.lpips = ''
    recipes.shorten(config)
    config.stages[0].steps = 6
    config.stages[0].student_init = ''
    return config


RECIPES = (demo, paper, shipped, smoke)
