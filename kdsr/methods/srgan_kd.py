"""SRGAN lightening: a small SRGAN generator learns from a large one, in the four ways of the paper.

Lee & Park, A Study of Lightening SRGAN Using Knowledge Distillation, Journal of Korea Multimedia Society 24(12), 2021. With
s = S(x) the student's image, t = T(x) the teacher's, y the ground truth, C = content distance of VGG features:

    GAN2G      T an adversarially trained generator:   C(y, s) + w_pixel |t - s|^2
    GAN2G+AL   the same T, and adversarial learning:   ... + w_adv G(D(s)),          D: y real, s fake
    G2G+AL     as GAN2G+AL, T trained without a discriminator
    GAN2GAN    as GAN2G+AL, and a second critic:       ... + w_adv_teacher G(D'(s)), D': t real, s fake

Student and critics move at once, from one forward pass, as in the paper's code. There the verdict of D' never reached the student
(w_adv_teacher = 0), which makes GAN2GAN equal to GAN2G+AL; the default is what was evidently meant.
"""

import jax

from kdsr import models, optim, steps
from kdsr.losses import pixel
from kdsr.methods import gan
from kdsr.types import Method

# technique -> the critics that it trains besides the student. GAN2G+AL and G2G+AL differ in the teacher that they are given.
CRITICS = {
    'none': ('disc',),  # no distillation: SRGAN's own objective
    'gan2g': (),
    'gan2g_al': ('disc',),
    'g2g_al': ('disc',),
    'gan2gan': ('disc', 'disc_teacher'),
}


DEFAULTS = {
    'technique': 'gan2g_al',
    'pixel_range': 255.0,
    **dict.fromkeys(('w_pixel', 'w_adv', 'w_adv_teacher'), 1e-3),
    'adversarial': 'vanilla',
    'content': gan.CONTENT,
    'discriminator': {},
}
RANGES = gan.RANGES


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m = cfg.method
    critics, found = gan.chosen('technique', m.technique, CRITICS), gan.content_unread(m)
    names = {'w_pixel', 'pixel_range'} if m.technique == 'none' else set()
    if 'disc_teacher' not in critics:
        names |= {'w_adv_teacher'}
    if not critics:
        names |= {'w_adv', 'adversarial', 'discriminator'}
    return found | {f'method.{name}': f"method.technique='{m.technique}' does not read it" for name in names}


def make(cfg):
    """Method of a config with `student`, `teacher` (an export) and the block `method`:

    technique: 'gan2g', 'gan2g_al', 'g2g_al', 'gan2gan', or 'none' for the baseline. w_pixel: weight of the squared distance to the
    teacher's image on 0..`pixel_range`. w_adv, w_adv_teacher: weights of the two critics' verdicts. content, adversarial,
    discriminator: as in kdsr.methods.gan.
    """
    m = cfg.method
    critics, play = gan.chosen('technique', m.technique, CRITICS), gan.chosen('adversarial', m.adversarial, gan.ADVERSARIAL)
    student = models.build_block(cfg.student, cfg)
    teacher = models.teacher(cfg) if m.technique != 'none' else None
    perceive, features = gan.content(m.content)
    disc = gan.critic(cfg)
    names = ('student', *critics)
    optimisers = {name: optim.make(cfg.optimizer, cfg.steps) for name in names}
    ema = ('student',) if cfg.ema_decay else ()
    weights = {'disc': m.w_adv, 'disc_teacher': m.w_adv_teacher}

    def losses(params, ctx):
        lr, hr, axis = ctx.batch.lr, ctx.batch.hr, ctx.axis
        (sr, _), student_vars = models.train_apply(student, params['student'], ctx.vars['student'], lr, axis)
        parts, variables = {'content': perceive(ctx.frozen['features'], sr, hr)}, {'student': student_vars}
        found = {'student': parts['content']}
        genuine = {'disc': hr}
        if teacher:
            genuine['disc_teacher'] = teacher.module.apply(ctx.frozen['teacher'], lr)[0]
            parts['distil'] = pixel.l2(m.pixel_range * sr, m.pixel_range * genuine['disc_teacher'])
            found['student'] += m.w_pixel * parts['distil']
        for name in critics:
            real, fake, variables[name] = gan.judged(disc, params[name], ctx.vars[name], genuine[name], sr, axis)
            parts[f'fool_{name}'], found[name] = play(real, fake, ctx)
            found['student'] += weights[name] * parts[f'fool_{name}']
            parts |= gan.verdicts(real, fake, name)
        return found, (variables, parts)

    def init(key, batch):
        nets = {'student': models.start(student, cfg, key, batch.lr[:1, :16, :16])}
        for i, name in enumerate(critics, 1):  # fresh ones: the paper's code never loads the teacher's
            nets[name] = models.init(disc, jax.random.fold_in(key, i), batch.hr[:1])
        return steps.create(key, nets, optimisers, ema)

    frozen = {'features': features} | ({'teacher': teacher.variables} if teacher else {})
    return Method(lambda: frozen, init, steps.players(losses, optimisers, ema_decay=cfg.ema_decay))
