"""Compressed ESRGAN: a student of a few thousand weights learns the image that a large ESRGAN makes.

The distillation of captain-pool's GSOC (2019, E3_Distill_ESRGAN), in its two modes. With s = S(x) the student's image, t = T(x) the
teacher's, both clipped to their range, y the ground truth and C the content distance of VGG features:

    comparative   w_pixel |t - s|^2
    adversarial   w_pixel |t - s|^2 + C(y, s) + w_adv G(D(t), D(s)),   D: t real, s fake, relativistic; it never sees y

Weights for images on 0..255, as released: 1 in the comparative mode; 1 - 1e-4, 0.05 (Caffe's VGG19, conv5_4) and 1e-4 in the
adversarial one, whose squared error of order 100 leaves the other two terms next to nothing. For images on 0..1 (`pixel_range` 1)
the same three numbers weigh all terms alike.
"""

import jax.numpy as jnp

from kdsr import critics, fields, models, nets, optim, steps
from kdsr.losses import pixel

MODES = {'comparative': False, 'adversarial': True}  # mode -> whether a critic takes part
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
RANGES = {'pixel_range': fields.ABOVE_0}


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    if cfg.method.mode == 'adversarial':
        return critics.content_unread(cfg.method)
    names = ('w_adv', 'adversarial', 'content', 'discriminator', 'disc_init', 'disc_optimizer')
    return {f'method.{name}': f"method.mode='{cfg.method.mode}' trains without a critic" for name in names}


def make(cfg):
    """Method of a config with `student`, `teacher` (an export, or 'taught') and the block `method`:

    mode: 'comparative' or 'adversarial'. w_pixel, pixel_range: weight of the squared distance and scale of its images. clip:
    whether both images are clipped first, as in the released code (no gradient where the student leaves the range). w_adv,
    adversarial, content, discriminator, disc_init (the teacher's critic), disc_optimizer: as in kdsr.methods.gan.
    """
    m = cfg.method
    adversarial = fields.chosen('config.method.mode', m.mode, MODES)
    play = fields.chosen('config.method.adversarial', m.adversarial, critics.GAMES)
    student, (draw, teacher) = nets.student(cfg), nets.teacher_image(cfg)
    disc = critics.critic(cfg, m.disc_init) if adversarial else None
    perceive, features = critics.content(m.content, cfg.dtype) if adversarial else (None, {})
    clipped = (lambda image: jnp.clip(image, 0, 1)) if m.clip else lambda image: image

    def losses(params, ctx):
        lr, hr, axis = ctx.batch.lr, ctx.batch.hr, ctx.axis
        (sr, _), moved = models.train_apply(student.module, params['student'], ctx.vars['student'], lr, axis=axis)
        sr, tr = clipped(sr), clipped(draw(ctx))
        parts, moved = {'distil': pixel.l2(m.pixel_range * sr, m.pixel_range * tr)}, {'student': moved}
        found = {'student': m.w_pixel * parts['distil']}
        if disc:
            game = critics.played(m, play, disc, params, ctx, tr, sr)
            parts['content'] = perceive(ctx.frozen['features'], sr, hr)
            parts['adversarial'], found['disc'], moved['disc'] = game.fool, game.against, game.moved
            found['student'] += parts['content'] + m.w_adv * game.fool
            parts |= game.seen
        return found, (moved, parts)

    trained = {'student': student} | ({'disc': disc} if disc else {})
    return steps.method(cfg, losses, trained, {'teacher': teacher, 'features': features})
