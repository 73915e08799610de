"""A small student for deployment, from any upscaler: of the pictures that `kdsr.teach` had the upscaler make.

    python -m kdsr.teach net.pth --data=photos --out=taught
    python -m kdsr.main --config=experiments/distil.py:taught,light --config.data.path=taught --workdir=runs/light
    python -m kdsr.export runs/light --to=tflite,ncnn --out=files

    python -m kdsr.main --config=experiments/distil.py                  # demo: from the shipped edsr_x4, embedded photographs
    python -m kdsr.main --config=experiments/distil.py:smoke            # half a minute

Words choose the student by what it may cost, and the losses by what the teacher is good at:

    tiny, small, light, large    about 10, 60, 200 and 600 thousand weights (of x4)
    fidelity                     L1 to the teacher's picture and to the truth: teachers trained for PSNR
    looks                        L1, features and a critic as large as the student, all of the teacher's picture: GANs

Set --config.scale to the teacher's where it is not 4 (1: a teacher that restores), and --config.method.w_truth=0 where the truth is
unknown.
"""

from kdsr import recipes

AXES = {'student': ('tiny', 'small', 'light', 'large'), 'aim': ('fidelity', 'looks')}
STUDENTS = {
    'tiny': recipes.model('edsr', features=12, blocks=1, direct=True),
    'small': recipes.model('srvgg', features=32, blocks=5),
    'light': recipes.model('edsr', features=48, blocks=4, direct=True),
    'large': recipes.model('edsr', features=64, blocks=7, direct=True),
}
CRITICS = {'tiny': 4, 'small': 8, 'light': 16, 'large': 24}  # features of the U-Net that has about as many weights
VGG16 = '0.1*conv1_2+0.1*conv2_2+conv3_3+conv4_3+conv5_3'


def fidelity():
    """The method's block that stays near to teacher and truth."""
    return {
        'name': 'output',
        'pixel': 'l1',
        'w_pixel': 1.0,
        'pixel_range': 1.0,
        'w_truth': 0.5,
    }


def looks(features):
    """The method's block that looks as the teacher does, by Real-ESRGAN's losses; `features` of the discriminator."""
    return {
        'name': 'output',
        'pixel': 'l1',
        'w_pixel': 1.0,
        'pixel_range': 1.0,
        'w_truth': 0.0,
        'w_colour': 1.0,
        'content': {'network': 'vgg16', 'tap': VGG16, 'norm': 'l1', 'weight': 1.0},
        'w_adv': 0.1,
        'adversarial': 'vanilla',
        'discriminator': {'name': 'unet', 'features': features},
    }


def staged(config, student, aim):
    """`config`, of which two thirds are by L1 alone where the aim is `looks`: they make the student's colours and edges."""
    if aim == 'looks':
        first = recipes.block(name='l1', method=fidelity() | {'w_truth': 0.0}, export='best', steps=2 * config.steps // 3)
        second = recipes.block(
            name='looks',
            student_init='stage:l1/student',
            steps=config.steps - first.steps,
            optimizer=recipes.adam(2e-4, b2=0.99, schedule='cosine', final_rate=0.1, warmup=25),  # as photo_x4's
        )
        config.method, config.stages = looks(CRITICS[student]), (first, second)
        config.export = 'latest'  # PSNR does not choose a GAN
    return config


def taught(student='light', aim='fidelity'):
    """From the folder that kdsr.teach wrote, --config.data.path=taught; averaged weights."""
    config = recipes.base(
        student=STUDENTS[student],
        teacher='taught',
        method=fidelity(),
        data=recipes.folder('taught'),
        patch=32,
        batch_size=16,
        steps=20_000,
        ema_decay=0.999,
        log_every=100,
        eval_every=1000,
        save_every=1000,
        optimizer=recipes.adam(1e-3, b2=0.99, schedule='cosine', final_rate=0.01, warmup=100, clip=10.0),
    )
    return staged(config, student, aim)


def demo(student='small', aim='fidelity'):
    """From the shipped edsr_x4, which is asked at every step, on the embedded photographs."""
    config = taught(student, 'fidelity')
    config.teacher = 'edsr_x4'
    config.data = recipes.embedded()
    config.patch = 24
    config.steps = 600
    config.ema_decay = 0.0
    config.log_every = 50
    config.eval_every = config.save_every = 200
    return staged(config, student, aim)


def smoke(student='tiny', aim='fidelity'):
    """`demo` with six steps in each stage: shows that everything works."""
    config = demo(student, aim)
    recipes.shorten(config)
    for stage in config.get('stages', ()):
        stage.steps = 6
    if aim == 'looks':
        config.method.content.tap = 'conv2_2'  # a quarter of the compilation
    return config


RECIPES = (demo, taught, smoke)
