"""Data-free distillation (Zhang et al., CVPR 2021): a student without a single training image.

    python -m kdsr.main --config=experiments/data_free.py                            # demo: `vdsr_y` into the quarter student
    python -m kdsr.main --config=experiments/data_free.py:noise                      # uniform noise instead of a generator
    python -m kdsr.main --config=experiments/data_free.py:paper,half --config.teacher=EXPORT
    python -m kdsr.main --config=experiments/data_free.py:released,half --config.teacher=EXPORT
    python -m kdsr.main --config=experiments/data_free.py:data_kd                    # baselines with real images: data, data_kd
    python -m kdsr.main --config=experiments/data_free.py:smoke

`half`, `quarter` (default): students of 32 and 16 features. `paper`: the paper's form, L1 means, no rounding, a student that grows
from 1 to 18 random blocks, reconstruction with weight 1. `released`: all values of the published command and what its code does:
squared errors, summed, rounding, a clamped border, coasting generators, no growth. Short runs differ where that did not train: a
tail of zeros, new blocks that change nothing, reconstruction with weight 30 (with 1 the images turned to noise) or, from the weaker
`vdsr_y`, 10 and slow generators (else they turned grey).
`dirac`, `random`: new blocks of either kind; `whole`: all from the start.
`study`: the runs of benchmarks/study.py, half students of `teachers/vdsr` (the converted official weights), short enough for a
CPU; real images are train_images. `shipped`: how the demo's teacher was made.

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

from kdsr import config as kdsr

EPOCH = 120  # generator steps, each after 50 of the student


def get_config(arg=None):
    """See the module's docstring; `arg` e.g. 'paper,half' or 'noise,smoke'."""
    options = {'images': ('generator', 'noise', 'data', 'data_kd'), 'size': ('quarter', 'half')}
    words = ('paper', 'released', 'whole', 'dirac', 'random', 'study', 'shipped', 'smoke')
    chosen = kdsr.parse_arg(arg, options | dict.fromkeys(words, False))
    if chosen['shipped']:
        chosen |= {'images': 'data', 'study': True}
    real, study = chosen['images'].startswith('data'), chosen['study']
    k = 1 if real else 5
    config = kdsr.base(
        name='data_free_' + '_'.join((arg or 'demo').split(',')),
        scale=2,
        student=kdsr.model('vdsr', features=32 if study or chosen['size'] == 'half' else 16, tail_init='zeros'),
        teacher='' if chosen['images'] == 'data' else 'teachers/vdsr' if study else 'vdsr_y',
        patch=24,
        batch_size=16 if study else 8,
        steps=500 // k,
        log_every=25 // k,
        eval_every=250 // k,
        save_every=100 // k,
        export='latest',  # the best by validation would be chosen by real images
        data=(kdsr.train_images if study else kdsr.embedded)(colour='y', training=real, validation_images=4 if study else 2),
        optimizer=kdsr.adam(1e-3, schedule='cosine', final_rate=0.01, warmup=20, clip=1.0),
    )
    config.method = {
        'name': 'data_free',
        'images': 'data' if real else chosen['images'],
        'target': 'truth' if chosen['images'] == 'data' else 'teacher',
        'scales': '2,3,4',
        'size': 48,
        'student_steps': k,
        'latent': 256,
        'loss': 'l1',
        'reduction': 'mean',
        'rounding': 'none',
        'border': 'symmetric',
        'undrawn': 'frozen',
        'w_adversarial': 1.0,
        'w_reconstruction': 30.0 if study else 10.0,
        'warmup': 5,  # on L_R alone: against a student that knows nothing L_GEN would be 20 to 40 times as strong
        'growth': {'events': 18, 'every': 20 // k, 'new_block': 'dirac', 'renew': False},
        'optimizer': kdsr.adam(1e-3 if study else 1e-4, b1=0.5),
    }
    if chosen['paper'] and not study:
        published(config, real, epochs=40, rate=1e-4)
        config.method.w_reconstruction = 1.0
    if chosen['released']:
        config.method.update({'loss': 'l2', 'reduction': 'sum', 'rounding': 'hard', 'w_reconstruction': 1.0})
        config.method.update({'border': 'replicate', 'undrawn': 'coast'})
        config.optimizer.update(
            {'name': 'sgd', 'learning_rate': 0.1, 'momentum': 0.9, 'weight_decay': 1e-4, 'clip': 0.4, 'warmup': 0}
        )
        if not study:
            published(config, real, epochs=80, rate=1e-5)
        config.method.warmup = 0
    if chosen['paper'] or chosen['released'] or chosen['random']:
        config.method.growth.new_block = 'dirac' if chosen['dirac'] else 'random'
    if chosen['released'] or chosen['whole']:
        config.method.growth.events = 1
    if chosen['shipped']:
        config.export_dtype, config.steps, config.batch_size = 'float16', 2000, 8
        config.method.growth.every = 40
    if chosen['smoke']:
        config.student, config.steps, config.batch_size = kdsr.model('vdsr', features=4, blocks=3), 4, 4
        config.log_every, config.eval_every, config.save_every = 2, 4, 2
        config.data.validation_images, config.patch = 1, 8 if real else config.patch
        config.method.update({'student_steps': min(2, k), 'scales': '2', 'size': 16})  # a third of the compilation
        config.method.growth.update({'events': min(3, config.method.growth.events), 'every': 1})
    return config


def published(config, real, epochs, rate):
    """The budget and the schedules of the published recipe; `rate` is the generators'."""
    k = 1 if real else 50
    config.batch_size, config.steps, config.student.args.tail_init = 128, epochs * EPOCH * 50 // k, 'fan_out'
    config.log_every, config.eval_every, config.save_every = 500 // k, EPOCH * 50 // k, EPOCH * 50 // k
    tenths = [10 * EPOCH * n for n in range(1, epochs // 10)]
    stepped = lambda k: {'schedule': 'step', 'milestones': tuple(k * n for n in tenths), 'decay': 0.1, 'warmup': 0}
    config.optimizer.update(stepped(50))
    config.method.update({'student_steps': k, 'warmup': EPOCH, 'optimizer': kdsr.adam(rate, **stepped(1))})
    config.method.growth.update({'every': EPOCH * 50 // k, 'renew': True})
