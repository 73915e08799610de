"""What came after FAKD, in one frame: DUKD, contrastive distillation (CSD, DCKD), PISR, and output distillation before them.

    python -m kdsr.main --config=experiments/after_fakd.py                     # demo: DUKD, shipped teacher, embedded photographs
    python -m kdsr.main --config=experiments/after_fakd.py:demo,contrastive
    python -m kdsr.main --config=experiments/after_fakd.py:paper,rcan --config.teacher=EXPORT --config.data.path=DIV2K
    python -m kdsr.study --config=experiments/after_fakd.py --benchmarks=Set5,Set14,B100 --out=runs/after
    python -m kdsr.main --config=experiments/after_fakd.py:smoke               # half a minute

Techniques: `dukd` (default), `contrastive` (negatives of the student's history, as DCKD has them), `csd` (bicubic ones), `pisr` (no
large teacher: two stages), `output`, `wavelet` (output and MTKD's wavelet term), `fakd`, `alone`, and `fakd_wavelet`, FAKD and the
wavelet term together. `paper` is DUKD as released, with its two updates a batch, one draw of cells for a batch and its inverse.
"""

from kdsr import recipes

AXES = {
    'technique': ('dukd', 'alone', 'output', 'wavelet', 'fakd', 'fakd_wavelet', 'contrastive', 'csd', 'pisr'),
    'model': ('edsr', 'rcan'),
}
FEATURES = {'network': 'vgg16', 'taps': '0.03125*relu1_1+0.0625*relu2_1+0.125*relu3_1+0.25*relu4_1+relu5_1'}


def dukd(**values):
    """DUKD's block: one update a batch, cells of each example, the right inverse."""
    return {
        'name': 'dukd',
        'w_truth': 1.0,
        'w_teacher': 1.0,
        'zoom_in': 1,
        'zoom_out': True,
        'probability': 0.3,
        'cells': 'example',
        'inverse': 'reversed',
        'updates': 'one',
    } | values


def contrastive(**values):
    """The contrastive method's block, with DCKD's weights."""
    return {
        'name': 'contrastive',
        'w_truth': 1.0,
        'w_teacher': 1.0,
        'w_changed': 1.0,
        'probability': 0.5,
        'w_contrast': 0.1,
        'features': FEATURES,
        'negatives': 'history',
        'count': 4,
        'history': {'every': 1000, 'share': 0.9},
    } | values


def output(**values):
    """Output distillation's block: truth and teacher weigh the same, as in papers' tables."""
    return {
        'name': 'output',
        'pixel': 'l1',
        'w_pixel': 1.0,
        'pixel_range': 1.0,
        'w_truth': 1.0,
    } | values


def fakd():
    """FAKD's block, with affinities of weight 10."""
    return {
        'name': 'fakd',
        'alpha': 0.5,
        'w_affinity': 10.0,
        'transforms': 'spatial',
        'taps': '',
        'adapter': False,
        'pool': 1,
        'pool_type': 'max',
        'eps': 1e-8,
        'pixel_range': 255.0,
    }


def method(technique):
    """The block of a method with one stage."""
    return {
        'dukd': dukd(),
        'contrastive': contrastive(history={'every': 100, 'share': 0.9}),  # 1000 steps have no 1000-step history
        'csd': contrastive(w_changed=0.0, w_contrast=200 / 255, negatives='bicubic', count=10),  # its 200 belong to 0..255
        'output': output(),
        'wavelet': output(w_wavelet=1.0, levels=1),
        'fakd': fakd(),
        'fakd_wavelet': {
            'name': 'together',
            'one': fakd(),
            'w_one': 2 / 255,  # truth and teacher weigh 1 each, on 0..1, as in `wavelet`
            'other': {'name': 'output', 'w_pixel': 0.0, 'w_truth': 0.0, 'pixel_range': 1.0, 'w_wavelet': 1.0, 'levels': 1},
            'w_other': 1.0,
        },
        'alone': {'name': 'supervised', 'loss': 'l1', 'sharpen': False},
    }[technique]


def with_method(config, technique):
    """`config` with the technique's method; PISR takes half of the steps for its teacher, and no other."""
    if technique != 'pisr':
        config.method = method(technique)
        return config
    half = config.steps // 2
    student = {
        'name': 'pisr',
        'role': 'student',
        'encoder': 'stage:teacher/encoder',
        'tap': '',
        'law': 'laplace',
        'w_information': 1e-6,
    }
    teacher = recipes.block(
        name='teacher',
        export='latest',  # validation shows it LR, which it never sees
        steps=half,
        student_init='',
        teacher='',
        method={'name': 'pisr', 'role': 'teacher', 'w_imitation': 1e-4},
    )
    config.method, config.teacher, config.steps = student, 'stage:teacher/student', config.steps - half
    config.student_init = 'stage:teacher/student'
    config.stages = (teacher, recipes.block(name='student'))
    return config


def demo(technique='dukd'):
    """EDSR 4x16 learns from the shipped edsr_x4 on the embedded photographs."""
    config = recipes.base(
        student=recipes.model('edsr', blocks=4, features=16),
        teacher='edsr_x4',
        patch=24,
        batch_size=8,
        steps=200,
        log_every=20,
        eval_every=100,
        save_every=100,
        optimizer=recipes.adam(2e-3, schedule='cosine', final_rate=0.01, warmup=20, clip=10.0),
    )
    return with_method(config, technique)


def study(technique='dukd'):
    """What the table compares: EDSR 8x32 learns from the shipped edsr_x4 on train_images, 1000 updates."""
    config = recipes.base(
        student=recipes.model('edsr', blocks=8, features=32),
        teacher='edsr_x4',
        data=recipes.train_images(),
        patch=24,
        batch_size=4,
        steps=1000,
        log_every=50,
        eval_every=500,
        save_every=500,
        optimizer=recipes.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=100),
    )
    return with_method(config, technique)


def paper(model='edsr'):
    """DUKD at x4 as released: EDSR 32x256 -> 32x64 or RCAN 10x20 -> 10x6 on DIV2K; --config.teacher=EXPORT is the teacher."""
    released = {'cells': 'batch', 'inverse': 'same', 'updates': 'two'}
    students = {
        'edsr': recipes.model('edsr', blocks=32, features=64, res_scale=0.1),
        'rcan': recipes.model('rcan', groups=10, blocks=6),
    }
    methods = {
        'edsr': dukd(w_truth=5.0, **released),
        'rcan': dukd(zoom_out=False, probability=0.0, **released),
    }
    return recipes.base(
        student=students[model],
        teacher=f'teachers/{model}_x4',
        method=methods[model],
        data=recipes.folder('DIV2K', images='1-800'),
        patch=48,
        batch_size=16,
        steps=250_000,
        ema_decay=0.999,
        log_every=100,
        eval_every=5000,
        save_every=5000,
        # the rate falls at batches 100,000 and 200,000, of two updates each
        optimizer=recipes.adam(1e-4, b2=0.99, schedule='step', decay=0.1, milestones=(200_000, 400_000)),
    )


def smoke(technique='dukd'):
    """`demo` with six steps of a tiny student in each stage: shows that everything works."""
    config = demo(technique)
    config.student = recipes.model('edsr', blocks=3, features=8)
    recipes.shorten(config)
    if technique in ('contrastive', 'csd'):
        config.method.features = {'network': 'vgg16', 'taps': 'relu2_1'}  # a quarter of the compilation
    for stage in config.get('stages', ()):
        if 'steps' in stage:
            stage.steps = 6
    return config


RECIPES = (demo, study, paper, smoke)

STUDY = recipes.Study(
    recipe='study',
    arms={name: (name, {}) for name in AXES['technique']},
    against='alone',
    metrics=('psnr_y', 'ssim_y'),
)
