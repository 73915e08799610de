"""GCFSR (He et al., CVPR 2022): faces of one size restored from any scale, by an encoder and StyleGAN2's decoder.

    python -m kdsr.main --config=experiments/gcfsr.py                        # demo: cuts of the embedded photographs
    python -m kdsr.main --config=experiments/gcfsr.py:paper_512 --config.data.path=FFHQ_512
    python -m kdsr.main --config=experiments/gcfsr.py:paper_1024 --config.data.path=FFHQ_1024
    python -m kdsr.main --config=experiments/gcfsr.py:faces64_l1 --config.data.path=FACES64/train
    python -m kdsr.main --config=experiments/gcfsr.py:faces64 --config.data.path=FACES64/train          # goes on from that run
    python -m kdsr.main --config=experiments/gcfsr.py:smoke                  # half a minute

A scale is drawn for each image; validation is at config.scale. L1 on -1..1, VGG16's conv4_3 and the game as published; R1's weight
10 belongs to images on -1..1 and is 2.5 here. Different from the released code:

    field                here     released
    steps of a player    joint    the discriminator's first, the generator's after it with fresh noise
    data                 crops    whole pictures of that size, which is the same where all have it
"""

from kdsr import recipes

LISTS = {1024: '4*64+2*32+2*16+8+4', 512: '4*32+2*16+2*8+4', 64: '8+4'}  # weight*scale
STEADY = 0.5 ** (32 / 10_000)  # of the averages, 0.997784


def network(size, full_scale, **fields):
    """The student's block; `full_scale`: the scale of the hardest images."""
    return recipes.model('gcfsr', out_size=size, full_scale=full_scale, **fields)


def method(size, content, narrow=1.0, w_adv=0.01):
    """The method's block."""
    return {
        'name': 'gan',
        'pixel': 'l1',
        'w_pixel': 1.0,
        'pixel_range': 2.0,  # white less black in -1..1
        'content': content,
        'adversarial': 'vanilla',  # the softplus of logits
        'w_adv': w_adv,
        'discriminator': {'name': 'stylegan', 'narrow': narrow},
        'disc_optimizer': recipes.adam(2e-3, b1=0.0, b2=0.99 ** (16 / 17)),
        'r1': {'weight': 2.5, 'every': 16},
        'scales': LISTS[size],
    }


def adam():
    """The generator's optimiser."""
    return recipes.adam(2e-3, b1=0.0, b2=0.99 ** (4 / 5))


def published(size, data):
    """A published training: 800,000 steps of 24 faces."""
    scale = {1024: 64, 512: 32}[size]
    content = {'network': 'vgg16', 'tap': 'conv4_3', 'norm': 'l1', 'weight': 0.01}
    return recipes.base(
        scale=scale // 2,
        student=network(size, scale),
        method=method(size, content),
        data=recipes.folder(data, augment='mirror'),
        patch=2 * size // scale,
        batch_size=24,
        steps=800_000,
        ema_decay=STEADY,
        log_every=100,
        eval_every=10_000,
        save_every=5000,
        export='latest',
        optimizer=adam(),
    )


def paper_512():
    """Faces of 512 px from x4 to x32, validated at x16."""
    return published(512, 'FFHQ_512')


def paper_1024():
    """Faces of 1024 px from x4 to x64, validated at x32."""
    return published(1024, 'FFHQ_1024')


# With the momentum that StyleGAN's Adam lacks L1 falls in 180 steps to what takes 450 without: the one is for millions of images
QUICK = recipes.adam(3e-3, b1=0.9, b2=0.99)


def faces64_l1():
    """The teacher of `experiments/sdakd.py:faces64` before the game: 64 px, 64 channels, 1500 steps of L1."""
    return recipes.base(
        scale=8,
        student=network(64, 8, narrow=0.125, style=64, noise='fixed'),
        method={
            'name': 'sdakd',
            'pixel': 'l1',
            'w_pixel': 1.0,
            'pixel_range': 2.0,
            'content': {'weight': 0.0},
            'w_features': 0.0,
            'critic': 'none',
            'scales': LISTS[64],
        },
        data=recipes.folder('faces64/train', augment='mirror'),
        patch=8,
        batch_size=8,
        steps=1500,
        ema_decay=0.99,
        log_every=20,
        eval_every=500,
        save_every=100,
        export='latest',
        lpips='alex',
        optimizer=QUICK,
    )


def faces64():
    """That teacher: the run of `faces64_l1` goes on against a discriminator, 1500 steps without the costly content term."""
    config = faces64_l1()
    config.student_init = 'runs/gcfsr_faces64_l1'
    game = method(64, {'weight': 0.0}, narrow=0.125, w_adv=0.02)
    game['disc_optimizer'].learning_rate = 3e-3
    # that of 512 px smothers a critic of 64 px and few images: after 16,000 of them it told 79 % apart, and nothing became sharp
    game['r1'] = {'weight': 0.05, 'every': 16}
    config.method = game
    config.optimizer = recipes.adam(2e-3, b1=0.5, b2=0.99)
    config.eval_every = config.save_every = 250
    return config


def demo():
    """Cuts of the embedded photographs instead of faces, 32 channels, 400 steps."""
    config = faces64_l1()
    config.student = network(64, 8, narrow=0.0625, style=64, noise='fixed')
    config.method = method(64, {'weight': 0.0}, narrow=0.0625)
    config.optimizer = adam()
    config.data = recipes.embedded(augment='mirror')
    config.steps = 400
    config.log_every = 50
    config.eval_every = config.save_every = 200
    return config


def smoke():
    """Six steps of a tiny network of 32 px: shows that everything works."""
    config = demo()
    config.scale = 4
    config.student = network(32, 8, narrow=0.015625, style=8, noise='fixed')
    config.method.discriminator = {'name': 'stylegan', 'narrow': 0.015625}
    config.method.scales = '4+2'
    config.method.r1.every = 4
    config.lpips = ''
    recipes.shorten(config)
    config.patch = 8
    return config


RECIPES = (demo, paper_512, paper_1024, faces64_l1, faces64, smoke)
