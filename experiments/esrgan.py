"""ESRGAN (Wang et al., ECCV Workshops 2018): L1 first, then perceptual + relativistic + L1, then a blend of both networks.

    python -m kdsr.main --config=experiments/esrgan.py                       # a small one on the embedded photographs
    python -m kdsr.main --config=experiments/esrgan.py:paper --config.data.path=DIV2K,Flickr2K
    python -m kdsr.main --config=experiments/esrgan.py:gsoc --config.data.path=DIV2K    # 11x32, transposed convolutions
    python -m kdsr.main --config=experiments/esrgan.py:smoke                 # half a minute

export/student holds the adversarially trained weights, export/student_blended 0.8 of them and 0.2 of the first stage's. Weights of
the terms are those for images on 0..1; the content distance is that of VGG16's conv5_3 before its activation.
"""

from kdsr import config as kdsr


def get_config(arg=None):
    """See the module's docstring; `arg` e.g. 'paper' or 'gsoc,smoke'."""
    chosen = kdsr.parse_arg(arg, {'paper': False, 'gsoc': False, 'smoke': False})
    config = kdsr.base(
        name='esrgan',
        student=kdsr.model('rrdb', features=32, blocks=2, growth=16),
        student_init='stage:psnr/student',
        patch=16,
        batch_size=4,
        steps=100,
        log_every=20,
        eval_every=100,
        save_every=100,
        export='latest',  # PSNR does not choose a GAN
        lpips='alex',
        optimizer=kdsr.adam(1e-4, b2=0.99),
    )
    config.method = {
        'name': 'gan',
        'pixel': 'l1',
        'w_pixel': 1e-2,
        'pixel_range': 1.0,
        'content': {'network': 'vgg16', 'tap': 'conv5_3', 'norm': 'l1', 'weight': 1.0},
        'adversarial': 'relativistic',
        'w_adv': 5e-3,
        'discriminator': {'name': 'esrgan', 'features': 16},
    }
    before = {'name': 'psnr', 'student_init': '', 'export': 'best', 'lpips': '', 'steps': 400}
    before |= {'method': {'name': 'supervised', 'loss': 'l1'}}
    before['optimizer'] = kdsr.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=50, clip=10.0)
    if chosen['paper'] or chosen['gsoc']:
        config.data, config.batch_size, config.patch, config.steps = kdsr.folder('DIV2K', images='1-800'), 16, 32, 400_000
        config.log_every, config.eval_every, config.save_every = 100, 5000, 5000
        config.method.discriminator, config.ema_decay = {'name': 'esrgan', 'features': 64}, 0.999
        halved = lambda rate, *at: kdsr.adam(rate, b2=0.99, schedule='step', milestones=at)
        config.optimizer = halved(1e-4, 50_000, 100_000, 200_000, 300_000)
        before |= {'steps': 1_000_000, 'ema_decay': 0.999, 'optimizer': halved(2e-4, 200_000, 400_000, 600_000, 800_000)}
        config.student = kdsr.model('rrdb_gsoc') if chosen['gsoc'] else kdsr.model('rrdb')
    if chosen['gsoc']:
        config.batch_size, before['steps'] = 32, 600_000
        config.optimizer = halved(5e-5, 9000, 30_000, 50_000, 100_000, 200_000, 300_000)
        before['optimizer'] = halved(2e-4, 200_000, 400_000)
    if chosen['smoke']:
        kdsr.smoke(config)
        config.student, config.lpips = kdsr.model('rrdb', features=8, blocks=1, growth=4), ''
        config.method.content['tap'] = 'conv2_2'  # a quarter of the compilation
        config.method.discriminator, before['steps'] = {'name': 'esrgan', 'features': 4}, config.steps
    config.stages = (kdsr.block(before), kdsr.block({'name': 'adversarial'}))
    return config
