"""Supervised training of any network: how teachers are made.

    python -m kdsr.main --config=experiments/teacher.py                     # EDSR 8x32 on the embedded photographs
    python -m kdsr.main --config=experiments/teacher.py:shipped             # the shipped edsr_x4: 90 CPU minutes on train_images
    python -m kdsr.main --config=experiments/teacher.py:strong              # the same network and images, for a GPU
    python -m kdsr.main --config=experiments/teacher.py:paper,rcan,x2 --config.data.path=DIV2K
    python -m kdsr.main --config=experiments/teacher.py:smoke               # 20 seconds

`paper` is the recipe of EDSR-baseline and FAKD (L1, Adam 1e-4, patches of 48, batch 16) on DIV2K 1-800 with the published sizes.
"""

from kdsr import config as kdsr


def get_config(arg=None):
    """See the module's docstring; `arg` e.g. 'shipped' or 'paper,san,x3'."""
    chosen = kdsr.parse_arg(
        arg,
        {
            'model': ('edsr', 'rcan', 'san', 'rdn'),
            'scale': ('x4', 'x2', 'x3', 'x8'),
            'shipped': False,
            'strong': False,
            'paper': False,
            'smoke': False,
        },
    )
    name, scale = chosen['model'], int(chosen['scale'][1:])
    small = {
        'edsr': {'blocks': 8, 'features': 32},
        'rcan': {'groups': 4, 'blocks': 2, 'features': 32, 'reduction': 8},
        'san': {'groups': 3, 'blocks': 2, 'features': 32, 'reduction': 8},
        'rdn': {'blocks': 4, 'layers': 4, 'features': 32, 'growth': 16},
    }
    config = kdsr.base(
        name=f'teacher_{name}_x{scale}',
        scale=scale,
        student=kdsr.model(name, **({} if chosen['paper'] else small[name])),
        patch=32,
        steps=2000,
        optimizer=kdsr.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=100, clip=10.0),
    )
    config.method = {'name': 'supervised', 'loss': 'l1'}
    if chosen['shipped'] or chosen['strong']:
        config.student = kdsr.model('edsr', blocks=16, features=64)
        config.data, config.export_dtype, config.log_every = kdsr.train_images(), 'float16', 100
        config.batch_size, config.patch, config.steps = 8, 28, 5000
        config.eval_every = config.save_every = 1000
        config.optimizer = kdsr.adam(8e-4, schedule='cosine', final_rate=0.01, warmup=200, clip=10.0)
    if chosen['strong']:
        config.batch_size, config.patch, config.steps, config.dtype = 16, 48, 120_000, 'bfloat16'
        config.eval_every = config.save_every = 5000
        config.optimizer = kdsr.adam(4e-4, schedule='cosine', final_rate=0.01, warmup=1000, clip=10.0)
    if chosen['paper']:
        config.patch, config.steps, config.log_every = 48, 300_000, 100
        config.eval_every = config.save_every = 2000
        config.optimizer = kdsr.adam(1e-4, schedule='step', milestones=(200_000,))
        config.data = kdsr.folder('DIV2K', images='1-800')
    if chosen['smoke']:
        kdsr.smoke(config)
    return config
