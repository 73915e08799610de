"""Compressed ESRGAN (captain-pool, GSOC 2019): a student of a few thousand weights learns a large generator's image.

    python -m kdsr.main --config=experiments/compressed_esrgan.py                    # demo: comparative, from the shipped EDSR
    python -m kdsr.main --config=experiments/compressed_esrgan.py:adversarial,warm   # comparative first, then adversarial
    python -m kdsr.main --config=experiments/compressed_esrgan.py:adversarial,paper --config.teacher=EXPORT --config.data.path=DIV2K
    python -m kdsr.main --config=experiments/compressed_esrgan.py:offline,compact    # by images that the teacher made before
    python -m kdsr.main --config=experiments/compressed_esrgan.py:smoke              # half a minute

Students: `corrected` (default; 33,358 weights, pixel shuffle, no grid), `released` (7,393 weights, as the code had it), `readme`
(11,233, as its README had it), `compact` (SRVGGNetCompact 16x32), `light` (EDSR 7x64 without work at the size of the output).
`paper`: the released recipe, see below. `balanced`: the same three weights
on images of 0..1, where all terms count. `warm` begins with the comparative mode. `study`: the runs that benchmarks/study.py
compares, from `teachers/rrdb23` (a converted RRDBNet-23) on train_images. `offline`: L1 to a teacher's images of train_images,
which benchmarks/teacher_images.py wrote to runs/offline; `shipped`: how the shipped `light_x4` was made by it.

`paper` has the released weights, clipped images, batches of 32 and LR patches of 128; comparative 200,000 steps with Adam at 1e-3,
halved at 20,000, 50,000 and 90,000; adversarial, from random weights unless `warm`, 400,000 steps with 5e-5 for both players,
halved at 50,000, 100,000 and 200,000. It differs from the released code in

    field                    here     released
    optimizer.eps            1e-08    1e-07, Keras' default, of both players
    data.augment             True     False
    method.content.network   vgg16    Keras' VGG19
    method.content.tap       conv5_3  conv5_4, before its activation as here
    export                   best     the last weights
    seed                     0        10

and in this: torchvision's features differ less than those of Keras, by a factor near 80 after the activation (kdsr.methods.gan),
so the content term weighs less. The critic starts anew, there as the teacher's (`method.disc_init`); it reads -1..1, there 0..255
less ImageNet's mean, in BGR; its batch norm trains, there it keeps its initial statistics. Losses are means, there divided by 32
once more, which Adam hides. Patches lie anywhere, there every 40 LR pixels; 32 of the 800 pictures are for validation. The student
is `corrected`, there `released`; the teacher is yours, there `rrdb_gsoc` of 11 blocks x 32 features after its adversarial phase.
"""

from kdsr import config as kdsr

STUDENTS = {
    'corrected': kdsr.model('rrdb_student'),
    'released': kdsr.model('rrdb_student', released=True),
    'readme': kdsr.model('rrdb_student', released=True, rdbs=2),
    'compact': kdsr.model('srvgg', features=32, blocks=16),
    'light': kdsr.model('edsr', blocks=7, direct=True),
}


def method(mode, balanced):
    """The method block of a mode, with the released weights."""
    adversarial = mode == 'adversarial'
    return {
        'name': 'compressed_esrgan',
        'mode': mode,
        'clip': False,  # no gradient where a student begins outside of 0..255: after 250 steps `released` was at 15 dB, not 25
        'pixel_range': 1.0 if balanced else 255.0,
        'w_pixel': 1 - 1e-4 if adversarial else 1.0,
        'w_adv': 1e-4,
        'adversarial': 'relativistic',
        'content': {'network': 'vgg16', 'tap': 'conv5_3', 'norm': 'l2', 'weight': 0.05},
        'discriminator': {'name': 'esrgan', 'features': 16},
        'disc_init': '',
        'disc_optimizer': kdsr.adam(1e-4),
    }


def get_config(arg=None):
    """See the module's docstring; `arg` e.g. 'adversarial,warm' or 'comparative,paper'."""
    options = {'mode': ('comparative', 'adversarial'), 'student': tuple(STUDENTS)}
    chosen = kdsr.parse_arg(
        arg, options | dict.fromkeys(('balanced', 'warm', 'study', 'offline', 'shipped', 'paper', 'smoke'), False)
    )
    adversarial = chosen['mode'] == 'adversarial'
    # The compressed students work on 0..255: with the rates of a network on 0..1 they would need thousands of steps to get there.
    rate = 1e-3 if chosen['student'] in ('compact', 'light') or chosen['shipped'] else 2e-2
    brief = kdsr.adam(rate, schedule='cosine', final_rate=0.01, warmup=50, clip=10.0)
    config = kdsr.base(
        name=f'compressed_{chosen["mode"]}_{chosen["student"]}',
        student=STUDENTS[chosen['student']],
        teacher='edsr_x4',
        patch=24,
        batch_size=8,
        steps=150 if adversarial else 600,
        log_every=25,
        eval_every=150,
        save_every=150,
        optimizer=kdsr.adam(5e-5) if adversarial and chosen['warm'] else brief,
    )
    config.method = method(chosen['mode'], chosen['balanced'])
    before = {'name': 'comparative', 'steps': 600, 'method': method('comparative', chosen['balanced'])}
    before['optimizer'] = brief
    if chosen['study']:
        config.teacher, config.data = 'teachers/rrdb23', kdsr.train_images(validation_images=2)
        config.batch_size, config.steps, before['steps'] = 4, 250, 170
        config.eval_every = config.save_every = 250
        if adversarial and chosen['warm']:
            config.steps = 80
    if chosen['offline'] or chosen['shipped']:
        parts = (f'runs/offline/{part}_teacher' for part in ('BSDS500_test200', 'BSDS500_train200', 'T91', 'photos_hires'))
        config.data, config.teacher = kdsr.folder(','.join(parts)), ''
        config.method, adversarial = {'name': 'supervised', 'loss': 'l1'}, False
        config.steps, config.log_every, config.eval_every, config.save_every = 9000, 100, 1000, 1000
    if chosen['shipped']:
        config.student, config.export_dtype, config.patch, config.steps = STUDENTS['light'], 'float16', 32, 5000
    if chosen['paper']:
        halved = lambda rate, *at: kdsr.adam(rate, schedule='step', milestones=at)
        config.data, config.batch_size, config.patch = kdsr.folder('DIV2K', images='1-800'), 32, 128
        config.log_every, config.eval_every, config.save_every = 100, 2000, 2000
        if 'mode' in config.method:
            config.method.update({'discriminator': {'name': 'esrgan', 'features': 64}, 'clip': True})
        before['method']['clip'] = True
        before |= {'steps': 200_000, 'optimizer': halved(1e-3, 20_000, 50_000, 90_000)}
        config.steps, config.optimizer = before['steps'], before['optimizer']
        if adversarial:
            config.steps, config.optimizer = 400_000, halved(5e-5, 50_000, 100_000, 200_000)
            config.method.disc_optimizer = config.optimizer
    if chosen['smoke']:
        kdsr.smoke(config)
        config.student, before['steps'] = STUDENTS[chosen['student']], config.steps
        if 'mode' in config.method:
            config.method.content['tap'] = 'conv2_2'  # a quarter of the compilation
            config.method.discriminator = {'name': 'esrgan', 'features': 4}
    if adversarial and chosen['warm']:
        config.stages = (kdsr.block(before), kdsr.block({'name': 'adversarial', 'student_init': 'stage:comparative/student'}))
    return config
