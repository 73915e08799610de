"""Compressed ESRGAN: a student of a few thousand weights learns the image that a large ESRGAN makes.

The distillation of captain-pool's GSOC (2019, E3_Distill_ESRGAN), in its two modes. With s = S(x) the student's image, t = T(x) the
teacher's, both clipped to their range, y the ground truth and C the content distance of VGG features:

    comparative   w_pixel |t - s|^2
    adversarial   w_pixel |t - s|^2 + C(y, s) + w_adv G(D(t), D(s)),   D: t real, s fake, relativistic; it never sees y

Weights for images on 0..255, as released: 1 in the comparative mode; 1 - 1e-4, 0.05 (Caffe's VGG19, conv5_4) and 1e-4 in the
adversarial one, whose squared error of order 100 leaves the other two terms next to nothing. For images on 0..1 (`pixel_range` 1)
the same three numbers weigh all terms alike.
"""

import jax
import jax.numpy as jnp

from kdsr import models, optim, steps
from kdsr.losses import pixel
from kdsr.methods import gan
from kdsr.models import exports
from kdsr.types import Method

MODES = {'comparative': ('student',), 'adversarial': ('student', 'disc')}  # mode -> the nets that it trains


DEFAULTS = {
    'mode': 'comparative',
    'clip': False,
    'pixel_range': 255.0,
    'w_pixel': 1.0,
    'w_adv': 1e-4,
    'adversarial': 'relativistic',
    'content': {'network': 'vgg16', 'tap': 'conv5_3', 'norm': 'l2', 'weight': 0.05},
    'discriminator': {},
    'disc_init': '',
    'disc_optimizer': optim.DEFAULTS,
}
RANGES = gan.RANGES


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    if cfg.method.mode == 'adversarial':
        return gan.content_unread(cfg.method)
    names = ('w_adv', 'adversarial', 'content', 'discriminator', 'disc_init', 'disc_optimizer')
    return {f'method.{name}': f"method.mode='{cfg.method.mode}' trains without a critic" for name in names}


def make(cfg):
    """Method of a config with `student`, `teacher` (an export) and the block `method`:

    mode: 'comparative' or 'adversarial'. w_pixel, pixel_range: weight of the squared distance and scale of its images. clip:
    whether both images are clipped first, as in the released code (no gradient where the student leaves the range). w_adv,
    adversarial, content, discriminator: as in kdsr.methods.gan. disc_init: export of the teacher's discriminator to start from,
    '' for a new one. disc_optimizer: its optimiser block, if it is to have another than `cfg.optimizer`.
    """
    m = cfg.method
    names = gan.chosen('mode', m.mode, MODES)
    play = gan.chosen('adversarial', m.adversarial, gan.ADVERSARIAL)
    student, teacher = models.build_block(cfg.student, cfg), models.teacher(cfg)
    disc = gan.critic(cfg) if 'disc' in names else None
    perceive, features = gan.content(m.content) if disc else (None, {})
    optimisers = {name: optim.make(m.get(f'{name}_optimizer') or cfg.optimizer, cfg.steps) for name in names}
    ema = ('student',) if cfg.ema_decay else ()
    clipped = (lambda image: jnp.clip(image, 0, 1)) if m.clip else lambda image: image

    def losses(params, ctx):
        lr, hr, axis = ctx.batch.lr, ctx.batch.hr, ctx.axis
        (sr, _), student_vars = models.train_apply(student, params['student'], ctx.vars['student'], lr, axis)
        sr, tr = clipped(sr), clipped(teacher.module.apply(ctx.frozen['teacher'], lr)[0])
        parts, variables = {'distil': pixel.l2(m.pixel_range * sr, m.pixel_range * tr)}, {'student': student_vars}
        found = {'student': m.w_pixel * parts['distil']}
        if disc:
            real, fake, variables['disc'] = gan.judged(disc, params['disc'], ctx.vars['disc'], tr, sr, axis)
            parts['content'] = perceive(ctx.frozen['features'], sr, hr)
            parts['adversarial'], found['disc'] = play(real, fake, ctx)
            found['student'] += parts['content'] + m.w_adv * parts['adversarial']
            parts |= gan.verdicts(real, fake)
        return found, (variables, parts)

    def init(key, batch):
        nets = {'student': models.start(student, cfg, key, batch.lr[:1, :16, :16])}
        if disc:
            nets['disc'] = models.init(disc, jax.random.fold_in(key, 1), batch.hr[:1])
            if m.disc_init:
                _, loaded = exports.read(m.disc_init)
                exports.check(loaded, nets['disc'], m.disc_init)
                nets['disc'] = jax.tree.map(jnp.asarray, loaded)
        return steps.create(key, nets, optimisers, ema)

    frozen = {'teacher': teacher.variables, 'features': features}
    return Method(lambda: frozen, init, steps.players(losses, optimisers, ema_decay=cfg.ema_decay))
