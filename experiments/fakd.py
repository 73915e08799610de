"""FAKD: feature-affinity distillation (He et al., ICIP 2020) of any teacher into any student.

    python -m kdsr.main --config=experiments/fakd.py                         # demo: shipped teacher, embedded photographs
    python -m kdsr.main --config=experiments/fakd.py:baseline                # the same run without a teacher
    python -m kdsr.main --config=experiments/fakd.py:output                  # the same run with the teacher's image alone
    python -m kdsr.main --config=experiments/fakd.py:paper,rcan,x4 --config.teacher=EXPORT --config.data.path=DIV2K
    python -m kdsr.main --config=experiments/fakd.py --config.method.transforms=10*spatial+2*attention
    python -m kdsr.main --config=experiments/fakd.py:smoke                   # 20 seconds

`paper`: RCAN 10x20 -> 10x6, SAN 20x10 -> 6x10 or EDSR 32x256 -> 16x64, 200,000 steps on DIV2K; EXPORT: a teacher in kdsr's format.
`study`: the runs that the README compares (benchmarks/study.py): EDSR 8x32 from the shipped teacher on train_images, 1000 steps.
`head` (default): w_affinity 10 as in the repository's head; `2020`: what its code applied in 2020, w_affinity 1 with eps 1e-7.
Transforms: spatial, channel, instance, fsp, attention, fitnet, pooled_spatial, rbf, mmd, and any weighted sum of them.
"""

from kdsr import config as kdsr

STUDENTS = {'edsr': {'blocks': 16, 'features': 64}, 'rcan': {'groups': 10, 'blocks': 6}, 'san': {'groups': 6, 'blocks': 10}}


def get_config(arg=None):
    """See the module's docstring; `arg` e.g. 'paper,rcan,x4' or 'baseline,smoke'."""
    chosen = kdsr.parse_arg(
        arg,
        {
            'model': ('edsr', 'rcan', 'san'),
            'scale': ('x4', 'x2', 'x3', 'x8'),
            'weights': ('head', '2020'),
            'paper': False,
            'study': False,
            'baseline': False,
            'output': False,
            'smoke': False,
        },
    )
    name, scale = chosen['model'], int(chosen['scale'][1:])
    config = kdsr.base(
        name='_'.join(filter(None, (arg or '').replace('=', '').split(','))) or 'demo',
        scale=scale,
        student=kdsr.model('edsr', blocks=4, features=16),
        teacher='edsr_x4',
        patch=24,
        batch_size=8,
        steps=700,
        log_every=50,
        eval_every=350,
        save_every=350,
        optimizer=kdsr.adam(2e-3, schedule='cosine', final_rate=0.01, warmup=50, clip=10.0),
    )
    config.name = f'fakd_{config.name}'
    config.method = {
        'name': 'fakd',
        'alpha': 0.5,
        'w_affinity': 10.0,
        'transforms': 'spatial',
        'taps': '',  # 'student:teacher,...'; '' = the paper's three of each network
        'adapter': False,
        'pool': 1,
        'pool_type': 'max',
        'eps': 1e-8,
        'pixel_range': 255.0,  # the published weights belong to pixel terms on 0..255
    }
    if chosen['weights'] == '2020':
        config.method.w_affinity, config.method.eps = 1.0, 1e-7
    if chosen['baseline']:
        config.method.alpha, config.method.w_affinity = 0.0, 0.0
    if chosen['output']:
        config.method.w_affinity = 0.0
    if chosen['study']:
        config.student, config.data = kdsr.model('edsr', blocks=8, features=32), kdsr.train_images()
        config.steps, config.eval_every, config.save_every = 1000, 500, 500
        config.optimizer = kdsr.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=100)
    if chosen['paper']:
        config.student = kdsr.model(name, **STUDENTS[name])
        config.teacher = f'teachers/{name}_x{scale}'
        config.batch_size, config.patch, config.steps, config.log_every = 16, 48, 200_000, 100
        config.eval_every = config.save_every = 1000
        # 200 "epochs" of 1000 batches; the rate halves at the start of the 150th
        config.optimizer = kdsr.adam(1e-4, schedule='step', milestones=(149_000,))
        config.data = kdsr.folder('DIV2K', images='1-800')
    if chosen['smoke']:
        kdsr.smoke(config)
    return config
