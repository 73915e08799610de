"""OMGD: a student learns from the images of two teachers that are trained beside it, one wider and one deeper than itself.

Ren et al., Online Multi-Granularity Distillation for GAN Compression, ICCV 2021. With s = S(x), t_i = T_i(x), F the features at a
pair of taps, A_k a 1x1 convolution with batch norm and ReLU, and GAP the mean over positions:

    L_student = sum_i [w_ssim (1 - SSIM(s, t_i)) + w_style sum L1(Gram) + w_image L1(relu2_2) + w_tv TV(s)]
                + w_channels sum_taps mean (GAP(A_k(F_S)) - GAP(F_wide))^2
    L_i = L_sup(t_i, y) + w_adv G(D_i(y), D_i(t_i)),   L_disc_i = D(D_i(y), D_i(t_i))

The student sees no ground truth and no discriminator. Weights of the released code (w_channels there 10, 100 or 500, by task). Here
every teacher has a critic of its own; in the paper the two share their first layers. The released VGG looks at images on 0..1 as
they are, the one here at ImageNet's scale.
"""

import jax.numpy as jnp

from kdsr import critics, fields, metrics, models, nets, sights, steps
from kdsr.losses import pixel
from kdsr.taps import paired, quarters

TEACHERS = ('wide', 'deep')
NETS = (*TEACHERS, 'adapt', *(f'disc_{name}' for name in TEACHERS))  # what is trained beside the student
DEFAULTS = {
    **critics.TRUTH,
    'pixel': 'l1',
    'w_pixel': 1.0,
    'pixel_range': 1.0,
    **dict.fromkeys(TEACHERS, {}),
    'taps': '',
    'w_ssim': 10.0,
    'look': critics.LOOK,
    'w_tv': 1e-5,
    'w_channels': 100.0,
    'adversarial': 'vanilla',
    'w_adv': 0.1,
    'r1': critics.R1,
    'discriminator': {},
    **{f'{name}_optimizer': {} for name in NETS},
    'scales': '',
}
RANGES = critics.RANGES


def beside(m):
    """Names of the teachers."""
    return TEACHERS if m.deep else TEACHERS[:1]


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m = cfg.method
    names = () if m.w_channels else ('taps', 'adapt_optimizer')
    found = {f'method.{name}': f'method.w_channels={m.w_channels} leaves the channels out' for name in names}
    if not m.deep:
        names = ('deep_optimizer', 'disc_deep_optimizer')
        found |= {f'method.{name}': 'method.deep={}: there is none' for name in names}
    return found | critics.truth_unread(m) | critics.r1_unread(m)


def make(cfg):
    """Method of a config with `student` and the block `method`:

    wide, deep: fields in which the two teachers differ from the student; deep {} for none, of networks of one depth. w_pixel,
    pixel, pixel_range, content, sharpen, w_adv, adversarial, discriminator, r1: the teachers' own training, as in
    kdsr.methods.gan. w_ssim, look, w_tv: of the student's image against theirs. w_channels, taps: of the mean features against the
    wide teacher's; '' = four of each, equally far apart. scales: as in kdsr.methods.gan.
    """
    m = cfg.method
    play = fields.chosen('config.method.adversarial', m.adversarial, critics.GAMES, own=True)
    supervise, features = critics.truth(m, cfg.dtype)
    compare, viewer = critics.look(m.look, cfg.dtype)
    student, teachers = nets.student(cfg), {name: nets.beside(cfg, name) for name in beside(m)}
    disc, trained = critics.critic(cfg), {'student': student, **teachers}
    if m.w_channels:
        wide = teachers['wide']
        pairs = paired(m.taps, (student.name, student.module), (wide.name, wide.module), quarters)
        trained['adapt'] = pairs.adapter(cfg, norm=True)
    trained |= {f'disc_{name}': disc for name in teachers}
    see, sight = sights.of(cfg, student.module)

    def like(sr, tr, ctx):
        """(loss, parts) of the student's image against one teacher's."""
        loss, parts = compare(ctx.frozen['look'], sr, tr)
        parts |= {'ssim': metrics.ssim(sr, tr).mean(), 'tv': pixel.total_variation(sr)}
        return loss + m.w_ssim * (1 - parts['ssim']) + m.w_tv * parts['tv'], parts

    def losses(params, ctx):
        found, moved, parts, taps = {}, {}, {}, {}
        inputs, named = see(ctx)

        def call(name, *x, **named):
            return models.train_apply(trained[name].module, params[name], ctx.vars[name], *x, axis=ctx.axis, **named)

        (sr, taps['student']), moved['student'] = call('student', *inputs, **named)
        loss = 0.0
        for name in teachers:
            (tr, taps[name]), moved[name] = call(name, *inputs, **named)
            game = critics.played(m, play, disc, params, ctx, ctx.batch.hr, tr, f'disc_{name}')
            found[name], own = supervise(ctx, tr)
            found[name] += m.w_adv * game.fool
            found[f'disc_{name}'], moved[f'disc_{name}'] = game.against, game.moved
            distilled, seen = like(sr, tr, ctx)
            loss += distilled
            parts |= game.seen | {f'{name}_{k}': v for k, v in (own | seen).items()}
        if m.w_channels:
            (brought, _), moved['adapt'] = call('adapt', pairs.student(taps['student']))
            both = zip(brought, pairs.teacher(taps['wide']), strict=True)
            parts['channels'] = sum(jnp.square(a.mean((1, 2)) - b.mean((1, 2))).mean() for a, b in both)
            loss += m.w_channels * parts['channels']
        found |= {name: loss for name in ('student', 'adapt') if name in trained}
        return found, (moved, parts)

    return steps.method(cfg, losses, trained, {'features': features, 'look': viewer, 'sight': sight})
