"""SRGAN lightening (Lee & Park 2021): a small SRGAN generator learns from a large one, in four ways.

    python -m kdsr.main --config=experiments/srgan_kd.py                     # demo: GAN2G+AL, embedded photographs
    python -m kdsr.main --config=experiments/srgan_kd.py:gan2g               # or gan2g_al, g2g_al, gan2gan, baseline
    python -m kdsr.main --config=experiments/srgan_kd.py:gan2g_al,two_stage  # distil first, adversarial learning after
    python -m kdsr.main --config=experiments/srgan_kd.py:gan2gan --config.method.w_adv_teacher=0.0   # as the paper's code did it
    python -m kdsr.main --config=experiments/srgan_kd.py:g2g_al,paper --config.data.path=DIV2K
    python -m kdsr.main --config=experiments/srgan_kd.py:smoke               # half a minute

The demo has shipped teachers. `paper` and `study` expect exports that kdsr.convert made: `teachers/srgan` (adversarially trained)
and `teachers/srresnet` (not; for g2g_al). `study`: the runs that benchmarks/study.py compares, all from one student that
`pretrain,study` made (--config.student_init); `cpu`: their budget without a GPU.
"""

import pathlib
import runpy

from kdsr import config as kdsr

srgan = runpy.run_path(str(pathlib.Path(__file__).with_name('srgan.py')))


def get_config(arg=None):
    """See the module's docstring; `arg` e.g. 'g2g_al,paper' or 'baseline,smoke'."""
    options = {'technique': ('gan2g_al', 'gan2g', 'g2g_al', 'gan2gan', 'baseline', 'pretrain')}
    options |= dict.fromkeys(('two_stage', 'study', 'cpu', 'paper', 'smoke'), False)
    chosen = kdsr.parse_arg(arg, options)
    technique = {'baseline': 'none', 'pretrain': 'none'}.get(chosen['technique'], chosen['technique'])
    large = chosen['study'] or chosen['paper']
    teachers = ('teachers/srgan', 'teachers/srresnet') if large else ('srgan_x4', 'edsr_x4')
    config = kdsr.base(
        name=f'srgan_{chosen["technique"]}',
        student=kdsr.model('srresnet', features=32, blocks=8) if large else kdsr.model('srresnet', features=16, blocks=4),
        student_init='stage:pretrain/student',
        teacher='' if technique == 'none' else teachers[technique == 'g2g_al'],
        patch=12,
        batch_size=8,
        steps=150,
        log_every=25,
        eval_every=150,
        save_every=150,
        export='latest',  # PSNR does not choose a GAN
        lpips='alex',
        optimizer=kdsr.adam(1e-4, eps=1e-7),
    )
    config.method = {
        'name': 'srgan_kd',
        'technique': technique,
        'pixel_range': 255.0,
        'w_pixel': 1e-3,
        'w_adv': 1e-3,
        'w_adv_teacher': 1e-3,
        'adversarial': 'vanilla',
        'content': srgan['perceptual'](chosen['paper']),
        'discriminator': {'features': 64, 'hidden': 1024} if large else {'features': 32, 'hidden': 256},
    }
    cosine = kdsr.adam(1e-3, eps=1e-7, schedule='cosine', final_rate=0.01, warmup=50)
    before = srgan['pretraining'](1500, cosine, patch=16, eval_every=500, save_every=500)
    if large:
        config.patch, config.log_every, config.data = 24, 100, kdsr.train_images()
        config.eval_every = config.save_every = config.steps = 5000
        before |= {'steps': 20_000, 'patch': 24, 'eval_every': 2000}
    if chosen['cpu']:
        config.patch, config.steps, config.log_every, config.eval_every, config.save_every = 16, 600, 50, 600, 200
        config.method.discriminator, before = {'features': 32, 'hidden': 256}, srgan['brief_pretraining']()
    if chosen['paper']:
        config.batch_size, config.steps, config.data = 16, 200_000, kdsr.folder('DIV2K', images='1-800')
        config.optimizer = kdsr.adam(1e-4, eps=1e-7, schedule='step', milestones=(100_000,), decay=0.1)
        before = srgan['pretraining'](1_000_000, kdsr.adam(1e-4, eps=1e-7))
    if chosen['smoke']:
        kdsr.smoke(config)
        config.student, before['steps'] = kdsr.model('srresnet', features=8, blocks=2), config.steps
        config.method.content['tap'] = 'relu1_2'  # a quarter of the compilation
        config.method.discriminator, config.lpips = {'features': 4, 'hidden': 16}, ''
    stages = [before, {'name': 'distil'}]
    if chosen['two_stage']:
        stages[1]['method'] = {**config.method.to_dict(), 'technique': 'gan2g'}
        stages.append({'name': 'adversarial', 'student_init': 'stage:distil/student'})
    if chosen['technique'] == 'pretrain':
        stages = [before]
    elif chosen['smoke']:  # from random weights: the first stage is half of the seconds
        stages, config.student_init = [stages[-1] | {'student_init': ''}], ''
    elif chosen['study']:
        stages, config.student_init = stages[1:], 'runs/srgan_pretrain'
    config.stages = tuple(map(kdsr.block, stages))
    return config
