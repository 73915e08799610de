"""FAKD: feature-affinity distillation (He et al., ICIP 2020) of any teacher into any student.

    python -m kdsr.main --config=experiments/fakd.py                         # demo: shipped teacher, embedded photographs
    python -m kdsr.main --config=experiments/fakd.py:baseline                # the same run without a teacher
    python -m kdsr.main --config=experiments/fakd.py:output                  # the same run with the teacher's image alone
    python -m kdsr.main --config=experiments/fakd.py:paper,rcan,x4 --config.teacher=EXPORT --config.data.path=DIV2K
    python -m kdsr.main --config=experiments/fakd.py --config.method.transforms=10*spatial+2*attention
    python -m kdsr.main --config=experiments/fakd.py:smoke                   # 20 seconds

`head` (default): w_affinity 10 as in the repository's head; `2020`: what its code applied in 2020, w_affinity 1 with eps 1e-7.
Transforms: spatial, channel, instance, fsp, attention, fitnet, pooled_spatial, rbf, mmd, and any weighted sum of them.
"""

from kdsr import recipes

AXES = {
    'technique': ('affinity', 'output', 'baseline'),
    'weights': ('head', '2020'),
    'model': ('edsr', 'rcan', 'san'),
    'scale': ('x4', 'x2', 'x3', 'x8'),
}


def method(technique, weights):
    """The method's block."""
    return {
        'name': 'fakd',
        'alpha': 0.0 if technique == 'baseline' else 0.5,
        'w_affinity': {'head': 10.0, '2020': 1.0}[weights] if technique == 'affinity' else 0.0,
        'transforms': 'spatial',
        'taps': '',  # 'student:teacher,...'; '' = the paper's three of each network
        'adapter': False,
        'pool': 1,
        'pool_type': 'max',
        'eps': {'head': 1e-8, '2020': 1e-7}[weights],
        'pixel_range': 255.0,  # the published weights belong to pixel terms on 0..255
    }


def demo(technique='affinity', weights='head'):
    """EDSR 4x16 learns from the shipped edsr_x4 on the embedded photographs."""
    return recipes.base(
        student=recipes.model('edsr', blocks=4, features=16),
        teacher='edsr_x4',
        method=method(technique, weights),
        patch=24,
        batch_size=8,
        steps=700,
        log_every=50,
        eval_every=350,
        save_every=350,
        optimizer=recipes.adam(2e-3, schedule='cosine', final_rate=0.01, warmup=50, clip=10.0),
    )


def study(technique='affinity', weights='head'):
    """What the README compares: EDSR 8x32 learns from the shipped edsr_x4 on train_images, 1000 steps."""
    return recipes.base(
        student=recipes.model('edsr', blocks=8, features=32),
        teacher='edsr_x4',
        method=method(technique, weights),
        data=recipes.train_images(),
        patch=24,
        batch_size=8,
        steps=1000,
        log_every=50,
        eval_every=500,
        save_every=500,
        optimizer=recipes.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=100),
    )


# teachers of the published sizes; their students
STUDENTS = {
    'edsr': {'blocks': 16, 'features': 64},  # of 32x256
    'rcan': {'groups': 10, 'blocks': 6},  # of 10x20
    'san': {'groups': 6, 'blocks': 10},  # of 20x10
}


def paper(model='edsr', scale='x4', technique='affinity', weights='head'):
    """RCAN 10x20 -> 10x6, SAN 20x10 -> 6x10 or EDSR 32x256 -> 16x64 on DIV2K; --config.teacher=EXPORT is the teacher."""
    return recipes.base(
        scale=int(scale[1:]),
        student=recipes.model(model, **STUDENTS[model]),
        teacher=f'teachers/{model}_{scale}',
        method=method(technique, weights),
        data=recipes.folder('DIV2K', images='1-800'),
        patch=48,
        batch_size=16,
        steps=200_000,  # 200 "epochs" of 1000 batches
        log_every=100,
        eval_every=1000,
        save_every=1000,
        # the rate halves at the start of the 150th "epoch"
        optimizer=recipes.adam(1e-4, schedule='step', milestones=(149_000,)),
    )


def smoke(technique='affinity', weights='head'):
    """`demo` with six steps of a tiny student: shows that everything works."""
    config = demo(technique, weights)
    config.student = recipes.model('edsr', blocks=3, features=8)
    recipes.shorten(config)
    return config


RECIPES = (demo, study, paper, smoke)

# Weights with which each transform's gradient in the student is as long as that of 10*spatial, as
# `benchmarks/transforms.py --balance` measured it on a student that had trained alone.
WEIGHTS = {
    'spatial': 10.0,
    'channel': 9.0,
    'instance': 9.0,
    'fsp': 0.06,
    'attention': 120.0,
    'fitnet': 0.5,
    'pooled_spatial': 12.0,
    'rbf': 3200.0,
    'mmd': 0.44,
}
COMPARE_CHANNELS = ('channel', 'fsp', 'fitnet')  # the student is narrower: it needs an adapter


def alone(transform):
    """The fields of one transform alone."""
    values = {'method.w_affinity': WEIGHTS[transform], 'method.transforms': transform}
    if transform in COMPARE_CHANNELS:
        values['method.adapter'] = True
    if transform == 'pooled_spatial':
        values['method.pool'] = 2
    return values


STUDY = recipes.Study(
    recipe='study',
    arms={
        'alone': ('baseline', {}),
        'output': ('output', {}),
        'fakd10': ('affinity', {}),
        'fakd1': ('affinity', {'method.w_affinity': 1.0}),
        **{name: ('affinity', alone(name)) for name in WEIGHTS},
    },
    default=('alone', 'output', 'fakd10', 'fakd1'),
    against='alone',
)
