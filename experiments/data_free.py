"""Data-free distillation (Zhang et al., CVPR 2021): a student without a single training image.

    python -m kdsr.main --config=experiments/data_free.py                            # demo: `vdsr_y` into the quarter student
    python -m kdsr.main --config=experiments/data_free.py:noise                      # uniform noise instead of a generator
    python -m kdsr.main --config=experiments/data_free.py:paper,half --config.teacher=EXPORT
    python -m kdsr.main --config=experiments/data_free.py:released,half --config.teacher=EXPORT
    python -m kdsr.main --config=experiments/data_free.py:data_kd                    # baselines with real images: data, data_kd
    python -m kdsr.main --config=experiments/data_free.py:smoke

`half`, `quarter` (default): students of 32 and 16 features. `paper`: the paper's form, L1 means, no rounding, a student that grows
from 1 to 18 blocks; `whole`: all blocks from the start. `released`: all values of the published command: squared errors, summed,
rounding, no growth. `dirac`: new blocks change nothing. `study`: the runs of benchmarks/study.py, half students of `teachers/vdsr`
(the converted official weights), short enough for a CPU; real images are train_images. `shipped`: how the demo's teacher was made.
"""

from kdsr import config as kdsr

EPOCH = 120  # generator steps, each after 50 of the student


def get_config(arg=None):
    """See the module's docstring; `arg` e.g. 'paper,half' or 'noise,smoke'."""
    options = {'images': ('generator', 'noise', 'data', 'data_kd'), 'size': ('quarter', 'half')}
    words = ('paper', 'released', 'whole', 'dirac', 'study', 'shipped', 'smoke')
    chosen = kdsr.parse_arg(arg, options | dict.fromkeys(words, False))
    if chosen['shipped']:
        chosen |= {'images': 'data', 'study': True}
    real, study = chosen['images'].startswith('data'), chosen['study']
    grown = chosen['paper'] and not (real or chosen['whole'])
    config = kdsr.base(
        name='data_free_' + ('_'.join((arg or 'demo').split(','))),
        scale=2,
        student=kdsr.model('vdsr', features=32 if study or chosen['size'] == 'half' else 16, tail_init='zeros'),
        teacher='' if chosen['images'] == 'data' else 'vdsr_y',
        patch=24,
        batch_size=8,
        steps=80,
        log_every=5,
        eval_every=40,
        save_every=20,
        export='latest',  # the best by validation would be chosen by real images
        data=kdsr.embedded(colour='y', training=real, validation_images=4),
        optimizer=kdsr.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=20, clip=1.0),
    )
    config.method = {
        'name': 'data_free',
        'images': 'data' if real else chosen['images'],
        'target': 'truth' if chosen['images'] == 'data' else 'teacher',
        'scales': '2,3,4',
        'size': 48,
        'student_steps': 1 if real else 5,
        'latent': 256,
        'loss': 'l1',
        'reduction': 'mean',
        'rounding': 'none',
        'w_adversarial': 1.0,
        'w_reconstruction': 1.0,
        'warmup': 5,  # on L_R alone: against a student that knows nothing L_GEN would be 20 to 40 times as strong
        'growth': {'events': 18 if grown else 1, 'every': EPOCH, 'new_block': 'random', 'renew': True},
        'optimizer': kdsr.adam(1e-3, b1=0.5),
    }
    if chosen['dirac']:
        config.method.growth.new_block = 'dirac'
    if real:
        config.steps, config.log_every, config.eval_every, config.save_every = 400, 50, 200, 100
    if chosen['paper'] or chosen['released']:
        k, epochs = (1 if real else 50), (80 if chosen['released'] else 40)
        config.batch_size, config.steps = 128, epochs * EPOCH * 50 // k
        config.student.args.tail_init = 'fan_out'
        config.method.student_steps, config.method.warmup = k, EPOCH
        config.log_every, config.eval_every, config.save_every = 10, EPOCH, EPOCH
        tenths = [10 * EPOCH * n for n in range(1, epochs // 10)]
        stepped = lambda rate, k=1, **values: kdsr.adam(
            rate, schedule='step', milestones=tuple(k * n for n in tenths), decay=0.1, **values
        )
        config.method.optimizer, config.optimizer = stepped(1e-4), stepped(1e-3, 50, clip=1.0)
    if chosen['released']:
        config.method.update({'loss': 'l2', 'reduction': 'sum', 'rounding': 'hard', 'warmup': 0})
        config.method.optimizer.learning_rate = 1e-5
        config.optimizer.update({'name': 'sgd', 'learning_rate': 0.1, 'momentum': 0.9, 'weight_decay': 1e-4, 'clip': 0.4})
    if study:
        brief(config, real, chosen)
    if chosen['shipped']:
        config.export_dtype, config.steps, config.batch_size = 'float16', 2000, 8
        config.method.growth.every = 40
    if chosen['smoke']:
        config.student, config.steps, config.batch_size = kdsr.model('vdsr', features=4, blocks=3), 4, 4
        config.log_every, config.eval_every, config.save_every = 2, 4, 2
        config.data.validation_images = 1
        config.method.student_steps = min(2, config.method.student_steps)
        config.method.growth.update({'events': min(3, config.method.growth.events), 'every': 1})
    return config


def brief(config, real, chosen):
    """500 student steps of 16 images, ten for one of a generator, rates that fit, and a chain that grows without a jump."""
    k = 1 if real else 10
    config.teacher = config.teacher and 'teachers/vdsr'
    config.batch_size, config.steps = 16, 500 // k
    config.log_every, config.eval_every, config.save_every = 10 if real else 1, 250 // k, 50 // k
    config.data = kdsr.train_images(colour='y', training=real, validation_images=4)
    config.student.args.tail_init = 'zeros'
    config.method.student_steps, config.method.warmup = k, 0 if chosen['released'] else 5
    config.method.optimizer = kdsr.adam(1e-3, b1=0.5)
    events = 1 if chosen['released'] or chosen['whole'] else 18
    new_block = 'random' if chosen['paper'] and not chosen['dirac'] else 'dirac'
    config.method.growth.update({'events': events, 'every': 20 // k, 'new_block': new_block, 'renew': False})
    if chosen['released']:
        config.optimizer.update({'schedule': 'cosine', 'final_rate': 0.01})
    else:
        config.optimizer = kdsr.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=20, clip=1.0)
