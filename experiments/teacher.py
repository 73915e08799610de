"""Supervised training of any network: how teachers are made.

python -m kdsr.main --config=experiments/teacher.py                     # EDSR 8x32 on the embedded photographs
python -m kdsr.main --config=experiments/teacher.py:demo,rcan           # the same with another network
python -m kdsr.main --config=experiments/teacher.py:shipped             # the shipped edsr_x4: 90 CPU minutes on train_images
python -m kdsr.main --config=experiments/teacher.py:strong              # the same network and images, for a GPU
python -m kdsr.main --config=experiments/teacher.py:paper,rcan,x2 --config.data.path=DIV2K
python -m kdsr.main --config=experiments/teacher.py:smoke               # 20 seconds
"""

from kdsr import recipes

AXES = {
    'model': ('edsr', 'rcan', 'san', 'rdn'),
    'scale': ('x4', 'x2', 'x3', 'x8'),
}
SMALL = {
    'edsr': {'blocks': 8, 'features': 32},
    'rcan': {'groups': 4, 'blocks': 2, 'features': 32, 'reduction': 8},
    'san': {'groups': 3, 'blocks': 2, 'features': 32, 'reduction': 8},
    'rdn': {'blocks': 4, 'layers': 4, 'features': 32, 'growth': 16},
}
TINY = {
    'edsr': {'blocks': 3, 'features': 8},
    'rcan': {'groups': 2, 'blocks': 1, 'features': 8, 'reduction': 4},
    'san': {'groups': 2, 'blocks': 1, 'features': 8, 'reduction': 4},
    'rdn': {'blocks': 2, 'layers': 2, 'features': 8, 'growth': 4},
}


def demo(model='edsr', scale='x4'):
    """A small network on the embedded photographs."""
    return recipes.base(
        scale=int(scale[1:]),
        student=recipes.model(model, **SMALL[model]),
        method={'name': 'supervised', 'loss': 'l1'},
        patch=32,
        batch_size=16,
        steps=2000,
        optimizer=recipes.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=100, clip=10.0),
    )


def shipped():
    """How the shipped edsr_x4 was made: EDSR 16x64 on train_images, 90 CPU minutes."""
    return recipes.base(
        student=recipes.model('edsr', blocks=16, features=64),
        method={'name': 'supervised', 'loss': 'l1'},
        data=recipes.train_images(),
        patch=28,
        batch_size=8,
        steps=5000,
        log_every=100,
        eval_every=1000,
        save_every=1000,
        export_dtype='float16',
        optimizer=recipes.adam(8e-4, schedule='cosine', final_rate=0.01, warmup=200, clip=10.0),
    )


def strong():
    """The network and the images of `shipped`, as long as a GPU allows."""
    config = shipped()
    config.patch = 48
    config.batch_size = 16
    config.steps = 120_000
    config.dtype = 'bfloat16'
    config.eval_every = 5000
    config.save_every = 5000
    config.optimizer = recipes.adam(4e-4, schedule='cosine', final_rate=0.01, warmup=1000, clip=10.0)
    return config


def paper(model='edsr', scale='x4'):
    """EDSR-baseline's and FAKD's training on DIV2K 1-800, networks of the published sizes."""
    return recipes.base(
        scale=int(scale[1:]),
        student=recipes.model(model),
        method={'name': 'supervised', 'loss': 'l1'},
        data=recipes.folder('DIV2K', images='1-800'),
        patch=48,
        batch_size=16,
        steps=300_000,
        log_every=100,
        eval_every=2000,
        save_every=2000,
        optimizer=recipes.adam(1e-4, schedule='step', milestones=(200_000,)),
    )


def smoke(model='edsr', scale='x4'):
    """`demo` with six steps of a tiny network: shows that everything works."""
    config = demo(model, scale)
    config.student = recipes.model(model, **TINY[model])
    recipes.shorten(config)
    return config


RECIPES = (demo, shipped, strong, paper, smoke)
