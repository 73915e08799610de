"""Data-free distillation (Zhang et al., CVPR 2021): a student without a single training image.

    python -m kdsr.main --config=experiments/data_free.py                            # demo: `vdsr_y` into the quarter student
    python -m kdsr.main --config=experiments/data_free.py:noise                      # uniform noise instead of a generator
    python -m kdsr.main --config=experiments/data_free.py:paper,half --config.teacher=EXPORT
    python -m kdsr.main --config=experiments/data_free.py:released,half --config.teacher=EXPORT
    python -m kdsr.main --config=experiments/data_free.py:data_kd                    # baselines with real images: data, data_kd
    python -m kdsr.main --config=experiments/data_free.py:smoke

`half`, `quarter` (default): students of 32 and 16 features. `dirac`, `random`: new blocks of either kind; `whole`: all from the
start. Short runs differ from `paper` and `released` where those did not train: a tail of zeros, new blocks that change nothing,
reconstruction with weight 30 (with 1 the images turned to noise) or, from the weaker `vdsr_y`, 10 and slow generators (else they
turned grey).

The paper's rates and lengths are not known here: those of `paper` are this project's, with the released rhythm (50 student steps to
a round, 120 rounds to an epoch, rates that fall to a tenth every 10 epochs). In all, `paper` and `released` differ in

    field                            paper      released
    steps                            4800       9600
    optimizer.name                   adam       sgd
    optimizer.learning_rate          0.001      0.1
    optimizer.momentum               0.0        0.9
    optimizer.weight_decay           0.0        0.0001
    optimizer.clip                   1.0        0.4
    method.optimizer.learning_rate   0.0001     1e-05
    method.loss                      l1         l2
    method.reduction                 mean       sum
    method.rounding                  none       hard
    method.border                    symmetric  replicate
    method.undrawn                   frozen     coast
    method.warmup                    120        0
    method.growth.events             18         1

and `released` from the published code in what is exported: here the last weights, there the best by PSNR on Set5 at x2.
"""

from kdsr import recipes

AXES = {
    'images': ('generator', 'noise', 'data', 'data_kd'),
    'size': ('quarter', 'half'),
    'growth': ('dirac', 'random', 'whole'),
}
FEATURES = {'quarter': 16, 'half': 32}
EPOCH = 120  # rounds; a round is one step of a generator after 50 of the student


def real(images):
    """Whether the student is trained on real images: then a step is one of the student, not a round."""
    return images in ('data', 'data_kd')


def teacher(images, export):
    """The export that the student learns from, none where it learns the truth."""
    return '' if images == 'data' else export


def method(images, student_steps, growth, **values):
    """The method's block; `student_steps` of a round."""
    block = {
        'name': 'data_free',
        'images': 'data' if real(images) else images,
        'target': 'truth' if images == 'data' else 'teacher',
        'scales': '2,3,4',
        'size': 48,
        'student_steps': 1 if real(images) else student_steps,
        'latent': 256,
        'w_adversarial': 1.0,
        'growth': growth,
    }
    return block | values


def grown(growth, every, renew):
    """The block of growth; `every` so many steps there is a new block, until there are all 18."""
    return {
        'events': 1 if growth == 'whole' else 18,
        'every': every,
        'new_block': 'random' if growth == 'whole' else growth,  # of a whole student there are none
        'renew': renew,
    }


# What the paper says of the losses, and what the released code does
PAPER = {'loss': 'l1', 'reduction': 'mean', 'rounding': 'none', 'border': 'symmetric', 'undrawn': 'frozen'}
RELEASED = {'loss': 'l2', 'reduction': 'sum', 'rounding': 'hard', 'border': 'replicate', 'undrawn': 'coast'}


def demo(images='generator', size='quarter', growth='dirac'):
    """The quarter student of the shipped vdsr_y, 500 student steps: five to a round."""
    k = 1 if real(images) else 5
    return recipes.base(
        scale=2,
        student=recipes.model('vdsr', features=FEATURES[size], tail_init='zeros'),
        teacher=teacher(images, 'vdsr_y'),
        method=method(
            images,
            student_steps=5,
            **PAPER,
            w_reconstruction=10.0,
            warmup=5,  # on L_R alone: against a student that knows nothing L_GEN would be 20 to 40 times as strong
            growth=grown(growth, every=20 // k, renew=False),
            optimizer=recipes.adam(1e-4, b1=0.5),
        ),
        data=recipes.embedded(colour='y', training=real(images), validation_images=2),
        patch=24,
        batch_size=8,
        steps=500 // k,
        log_every=25 // k,
        eval_every=250 // k,
        save_every=100 // k,
        export='latest',  # the best by validation would be chosen by real images
        optimizer=recipes.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=20, clip=1.0),
    )


def study(images='generator', growth='dirac'):
    """What the README compares: half students of teachers/vdsr, the converted official weights; real images are train_images."""
    config = demo(images, 'half', growth)
    config.teacher = teacher(images, 'teachers/vdsr')
    config.data = recipes.train_images(colour='y', training=real(images), validation_images=4)
    config.batch_size = 16
    config.method.w_reconstruction = 30.0
    config.method.optimizer.learning_rate = 1e-3
    return config


def study_released(images='generator'):
    """`study` with the losses and the optimiser of the released code, from a whole student."""
    config = study(images, 'whole')
    config.method.update(RELEASED)
    config.method.w_reconstruction = 1.0
    config.method.warmup = 0
    config.optimizer = recipes.adam(
        0.1,
        name='sgd',
        momentum=0.9,
        weight_decay=1e-4,
        schedule='cosine',
        final_rate=0.01,
        clip=0.4,
    )
    return config


def shipped():
    """How the demo's teacher vdsr_y was made: supervised, on train_images."""
    config = study('data')
    config.export_dtype = 'float16'
    config.batch_size = 8
    config.steps = 2000
    config.method.growth.every = 40
    return config


def paper(images='generator', size='quarter', growth='random'):
    """The paper's form: L1 means, no rounding, a student that grows from 1 to 18 random blocks; --config.teacher=EXPORT."""
    k = 1 if real(images) else 50
    return recipes.base(
        scale=2,
        student=recipes.model('vdsr', features=FEATURES[size], tail_init='fan_out'),
        teacher=teacher(images, 'vdsr_y'),
        method=method(
            images,
            student_steps=50,
            **PAPER,
            w_reconstruction=1.0,
            warmup=EPOCH,
            growth=grown(growth, every=EPOCH * 50 // k, renew=True),
            optimizer=recipes.adam(1e-4, schedule='step', decay=0.1, milestones=(10 * EPOCH, 20 * EPOCH, 30 * EPOCH)),
        ),
        data=recipes.embedded(colour='y', training=real(images), validation_images=2),
        patch=24,
        batch_size=128,
        steps=40 * EPOCH * 50 // k,
        log_every=500 // k,
        eval_every=EPOCH * 50 // k,
        save_every=EPOCH * 50 // k,
        export='latest',
        # milestones count the student's steps
        optimizer=recipes.adam(1e-3, schedule='step', decay=0.1, milestones=(500 * EPOCH, 1000 * EPOCH, 1500 * EPOCH), clip=1.0),
    )


def released(images='generator', size='quarter'):
    """All values of the published command and what its code does: squared errors, summed, rounding, a whole student."""
    k = 1 if real(images) else 50
    tens = range(10, 80, 10)  # epochs
    return recipes.base(
        scale=2,
        student=recipes.model('vdsr', features=FEATURES[size], tail_init='fan_out'),
        teacher=teacher(images, 'vdsr_y'),
        method=method(
            images,
            student_steps=50,
            **RELEASED,
            w_reconstruction=1.0,
            warmup=0,
            growth=grown('whole', every=EPOCH * 50 // k, renew=True),
            optimizer=recipes.adam(1e-5, schedule='step', decay=0.1, milestones=tuple(n * EPOCH for n in tens)),
        ),
        data=recipes.embedded(colour='y', training=real(images), validation_images=2),
        patch=24,
        batch_size=128,
        steps=80 * EPOCH * 50 // k,
        log_every=500 // k,
        eval_every=EPOCH * 50 // k,
        save_every=EPOCH * 50 // k,
        export='latest',
        optimizer=recipes.adam(
            0.1,
            name='sgd',
            momentum=0.9,
            weight_decay=1e-4,
            schedule='step',
            decay=0.1,
            milestones=tuple(n * EPOCH * 50 for n in tens),
            clip=0.4,
        ),
    )


def tiny(config):
    """`config` with four steps of a tiny student on small images."""
    config.student = recipes.model('vdsr', features=4, blocks=3)
    config.steps = 4
    config.batch_size = 4
    config.log_every = 2
    config.eval_every = 4
    config.save_every = 2
    config.data.validation_images = 1
    config.patch = 8 if config.data.training else 24
    config.method.student_steps = min(2, config.method.student_steps)
    config.method.scales = '2'  # a third of the compilation
    config.method.size = 16
    config.method.growth.events = min(3, config.method.growth.events)
    config.method.growth.every = 1
    return config


def smoke(images='generator', growth='dirac'):
    """`demo`, tiny: shows that everything works."""
    return tiny(demo(images, growth=growth))


def smoke_paper(images='generator', growth='random'):
    """`paper`, tiny."""
    return tiny(paper(images, growth=growth))


def smoke_released(images='generator'):
    """`released`, tiny."""
    return tiny(released(images))


RECIPES = (demo, study, study_released, shipped, paper, released, smoke, smoke_paper, smoke_released)

STUDY = recipes.Study(
    recipe='study',
    arms={
        'noise': ('noise', {}),
        'generator': ('generator', {}),
        'random': ('random', {}),
        'whole': ('whole', {}),
        'released': ('study_released', {}),
        'data_kd': ('data_kd', {}),
        'data': ('data', {}),
        'unbalanced': ('generator', {'method.w_reconstruction': 1.0}),
    },
    default=('noise', 'generator', 'random', 'whole', 'released', 'data_kd'),
    against='noise',
    metrics=('psnr_y', 'ssim_y'),
    protocol='dfsr',
)
