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

from kdsr import critics, fields, models, nets, steps
from kdsr.losses import pixel

# technique -> the critics that it trains besides the student. GAN2G+AL and G2G+AL differ in the teacher that they are given.
TECHNIQUES = {
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
    'w_truth': 0.0,
    'adversarial': 'vanilla',
    'content': critics.CONTENT,
    'discriminator': {},
    **dict.fromkeys(('disc_optimizer', 'disc_teacher_optimizer'), {}),
}
RANGES = {'pixel_range': fields.ABOVE_0}


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m = cfg.method
    judges, found = fields.chosen('config.method.technique', m.technique, TECHNIQUES), critics.content_unread(m)
    names = {'w_pixel'} if m.technique == 'none' else set()
    names |= {'pixel_range'} if m.technique == 'none' and not m.w_truth else set()
    if 'disc_teacher' not in judges:
        names |= {'w_adv_teacher', 'disc_teacher_optimizer'}
    if not judges:
        names |= {'w_adv', 'adversarial', 'discriminator', 'disc_optimizer'}
    return found | {f'method.{name}': f"method.technique='{m.technique}' does not read it" for name in names}


def make(cfg):
    """Method of a config with `student`, `teacher` (an export, or 'taught') and the block `method`:

    technique: 'gan2g', 'gan2g_al', 'g2g_al', 'gan2gan', or 'none' for the baseline. w_pixel: weight of the squared distance to the
    teacher's image on 0..`pixel_range`, w_truth: to the ground truth (the paper has none: a baseline without it has no pixel term,
    and its colours drift). w_adv, w_adv_teacher: weights of the two critics' verdicts. content, adversarial,
    discriminator, disc_optimizer, disc_teacher_optimizer: as in kdsr.methods.gan. Critics are fresh: the paper's code never loads
    the teacher's.
    """
    m = cfg.method
    judges = fields.chosen('config.method.technique', m.technique, TECHNIQUES)
    play = fields.chosen('config.method.adversarial', m.adversarial, critics.GAMES)
    student, disc = nets.student(cfg), critics.critic(cfg)
    draw, teacher = nets.teacher_image(cfg) if m.technique != 'none' else (None, {})
    perceive, features = critics.content(m.content, cfg.dtype)
    weights = {'disc': m.w_adv, 'disc_teacher': m.w_adv_teacher}

    def losses(params, ctx):
        lr, hr, axis = ctx.batch.lr, ctx.batch.hr, ctx.axis
        (sr, _), moved = models.train_apply(student.module, params['student'], ctx.vars['student'], lr, axis=axis)
        parts, moved, genuine = {'content': perceive(ctx.frozen['features'], sr, hr)}, {'student': moved}, {'disc': hr}
        found = {'student': parts['content']}
        if draw:
            genuine['disc_teacher'] = draw(ctx)
            parts['distil'] = pixel.l2(m.pixel_range * sr, m.pixel_range * genuine['disc_teacher'])
            found['student'] += m.w_pixel * parts['distil']
        if m.w_truth:
            parts['truth'] = pixel.l2(m.pixel_range * sr, m.pixel_range * hr)
            found['student'] += m.w_truth * parts['truth']
        for name in judges:
            game = critics.played(m, play, disc, params, ctx, genuine[name], sr, name)
            parts[f'fool_{name}'], found[name], moved[name] = game.fool, game.against, game.moved
            found['student'] += weights[name] * game.fool
            parts |= game.seen
        return found, (moved, parts)

    frozen = {'features': features} | ({'teacher': teacher} if draw else {})
    return steps.method(cfg, losses, {'student': student, **dict.fromkeys(judges, disc)}, frozen)
