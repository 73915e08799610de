"""Compressed ESRGAN (captain-pool, GSOC 2019): a student of a few thousand weights learns a large generator's image.

    python -m kdsr.main --config=experiments/compressed_esrgan.py                    # demo: comparative, from the shipped EDSR
    python -m kdsr.main --config=experiments/compressed_esrgan.py:warm               # comparative first, then adversarial
    python -m kdsr.main --config=experiments/compressed_esrgan.py:paper,adversarial --config.teacher=EXPORT --config.data.path=DIV2K
    python -m kdsr.main --config=experiments/compressed_esrgan.py:offline,compact    # by images that the teacher made before
    python -m kdsr.main --config=experiments/compressed_esrgan.py:smoke              # half a minute

Students: `corrected` (default; 33,358 weights, pixel shuffle, no grid), `released` (7,393 weights, as the code had it), `readme`
(11,233, as its README had it), `compact` (SRVGGNetCompact 16x32), `light` (EDSR 7x64 without work at the size of the output).
`balanced`: the same three weights on images of 0..1, where all terms count.

`paper` has the released weights, clipped images, batches of 32 and LR patches of 128; comparative 200,000 steps with Adam at 1e-3,
halved at 20,000, 50,000 and 90,000; adversarial, from random weights unless `warm`, 400,000 steps with 5e-5 for both players,
halved at 50,000, 100,000 and 200,000. It differs from the released code in

    field                    here      released
    optimizer.eps            1e-08     1e-07, Keras' default, of both players
    data.augment             dihedral  none
    method.content.network   vgg16     Keras' VGG19
    method.content.tap       conv5_3   conv5_4, before its activation as here
    export                   best      the last weights
    seed                     0         10

and in this: torchvision's features differ less than those of Keras, by a factor near 80 after the activation
(kdsr.critics.content), so the content term weighs less. The critic starts anew, there as the teacher's (`method.disc_init`); it
reads -1..1, there 0..255 less ImageNet's mean, in BGR; its batch norm trains, there it keeps its initial statistics. Losses are
means, there divided by 32 once more, which Adam hides. Patches lie anywhere, there every 40 LR pixels; 32 of the 800 pictures are
for validation. The student is `corrected`, there `released`; the teacher is yours, there `rrdb_gsoc` of 11 blocks x 32 features
after its adversarial phase.
"""

from kdsr import recipes

AXES = {
    'mode': ('comparative', 'adversarial', 'warm'),
    'student': ('corrected', 'released', 'readme', 'compact', 'light'),
    'terms': ('published', 'balanced'),
}
STUDENTS = {
    'corrected': recipes.model('rrdb_student'),
    'released': recipes.model('rrdb_student', released=True),
    'readme': recipes.model('rrdb_student', released=True, rdbs=2),
    'compact': recipes.model('srvgg', features=32, blocks=16),
    'light': recipes.model('edsr', blocks=7, direct=True),
}
# The compressed students work on 0..255: with the rates of a network on 0..1 they would need thousands of steps to get there.
RATES = {'corrected': 2e-2, 'released': 2e-2, 'readme': 2e-2, 'compact': 1e-3, 'light': 1e-3}


def method(mode, terms, features):
    """The method's block, with the released weights; `features` of the discriminator."""
    comparative = mode == 'comparative'
    return {
        'name': 'compressed_esrgan',
        'mode': 'comparative' if comparative else 'adversarial',
        'clip': False,  # no gradient where a student begins outside of 0..255: after 250 steps `released` was at 15 dB, not 25
        'pixel_range': {'published': 255.0, 'balanced': 1.0}[terms],
        'w_pixel': 1.0 if comparative else 1 - 1e-4,
        'w_adv': 1e-4,
        'adversarial': 'relativistic',
        'content': {'network': 'vgg16', 'tap': 'conv5_3', 'norm': 'l2', 'weight': 0.05},
        'discriminator': {'name': 'esrgan', 'features': features},
        'disc_init': '',
        'disc_optimizer': recipes.adam(1e-4),
    }


def brief(student):
    """The optimiser of short runs."""
    return recipes.adam(RATES[student], schedule='cosine', final_rate=0.01, warmup=50, clip=10.0)


def halved(learning_rate, *milestones):
    """Adam whose rate halves at each milestone."""
    return recipes.adam(learning_rate, schedule='step', milestones=milestones)


def warmed(config, mode, terms, **values):
    """`config`, where the mode is `warm` as the second stage of two; `values` are those of the first, comparative one."""
    if mode == 'warm':
        first = method('comparative', terms, config.method.discriminator.features)
        first['clip'] = config.method.clip
        second = recipes.block(name='adversarial', student_init='stage:comparative/student')
        config.stages = (recipes.block(name='comparative', method=first, **values), second)
    return config


def demo(mode='comparative', student='corrected', terms='published'):
    """33,358 weights learn from the shipped edsr_x4 on the embedded photographs."""
    config = recipes.base(
        student=STUDENTS[student],
        teacher='edsr_x4',
        method=method(mode, terms, features=16),
        patch=24,
        batch_size=8,
        steps=600 if mode == 'comparative' else 150,
        log_every=25,
        eval_every=150,
        save_every=150,
        optimizer=recipes.adam(5e-5) if mode == 'warm' else brief(student),
    )
    return warmed(config, mode, terms, steps=600, optimizer=brief(student))


def study(mode='comparative', student='corrected', terms='published'):
    """What the README compares: from `teachers/rrdb23` (a converted RRDBNet-23) on train_images, 250 steps."""
    config = recipes.base(
        student=STUDENTS[student],
        teacher='teachers/rrdb23',
        method=method(mode, terms, features=16),
        data=recipes.train_images(validation_images=2),
        patch=24,
        batch_size=4,
        steps=80 if mode == 'warm' else 250,
        log_every=25,
        eval_every=250,
        save_every=250,
        optimizer=recipes.adam(5e-5) if mode == 'warm' else brief(student),
    )
    return warmed(config, mode, terms, steps=170, optimizer=brief(student))


def offline(student='corrected'):
    """L1 to a teacher's images of train_images, which kdsr.teach wrote to runs/offline."""
    parts = ('BSDS500_test200', 'BSDS500_train200', 'T91', 'photos_hires')
    return recipes.base(
        student=STUDENTS[student],
        method={'name': 'supervised', 'loss': 'l1'},
        data=recipes.folder(','.join(f'runs/offline/{part}_teacher' for part in parts)),
        patch=24,
        batch_size=8,
        steps=9000,
        log_every=100,
        eval_every=1000,
        save_every=1000,
        optimizer=brief(student),
    )


def shipped():
    """How the shipped light_x4 was made: `offline` with another length, on larger patches."""
    config = offline('light')
    config.export_dtype = 'float16'
    config.patch = 32
    config.steps = 5000
    return config


def paper(mode='comparative', student='corrected', terms='published'):
    """The released recipe on DIV2K, with the differences above; --config.teacher=EXPORT is the teacher."""
    comparative = halved(1e-3, 20_000, 50_000, 90_000)
    adversarial = halved(5e-5, 50_000, 100_000, 200_000)
    config = recipes.base(
        student=STUDENTS[student],
        teacher='edsr_x4',
        method=method(mode, terms, features=64),
        data=recipes.folder('DIV2K', images='1-800'),
        patch=128,
        batch_size=32,
        steps=200_000 if mode == 'comparative' else 400_000,
        log_every=100,
        eval_every=2000,
        save_every=2000,
        optimizer=comparative if mode == 'comparative' else adversarial,
    )
    config.method.clip = True
    config.method.disc_optimizer = adversarial
    return warmed(config, mode, terms, steps=200_000, optimizer=comparative)


def smoke(mode='comparative', student='corrected', terms='published'):
    """`demo` with six steps in each stage: shows that everything works."""
    config = demo(mode, student, terms)
    for block in (config, *config.get('stages', ())):
        if 'method' in block:
            block.method.content.tap = 'conv2_2'  # a quarter of the compilation
            block.method.discriminator = {'name': 'esrgan', 'features': 4}
        if 'steps' in block:
            block.steps = 6
    recipes.shorten(config)
    return config


RECIPES = (demo, study, offline, shipped, paper, smoke)

STUDY = recipes.Study(
    recipe='study',
    arms={
        'released': ('comparative,released', {}),
        'readme': ('comparative,readme', {}),
        'corrected': ('comparative,corrected', {}),
        'compact': ('comparative,compact', {}),
        'released-gan': ('adversarial,released', {}),
        'readme-gan': ('adversarial,readme', {}),
        'corrected-gan': ('adversarial,corrected', {}),
        'compact-gan': ('adversarial,compact', {}),
        'compact-balanced': ('adversarial,compact,balanced', {}),
        'compact-offline': ('offline,compact', {}),
    },
    default=(
        'released',
        'readme',
        'corrected',
        'compact',
        'released-gan',
        'readme-gan',
        'corrected-gan',
        'compact-gan',
        'compact-balanced',
    ),
    against='released',
    metrics=('psnr_y', 'ssim_y', 'lpips'),
    lpips='alex',
)
