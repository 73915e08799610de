"""Adversarial training of a generator against the ground truth: SRGAN, and ESRGAN with its own terms.

Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017:

    L_student = w_pixel d(S(x), y) + w_content mean (phi(S(x)) - phi(y))^2 + w_adv G(D(y), D(S(x))),   L_disc = D(D(y), D(S(x)))
"""

from kdsr import critics, fields, models, nets, sights, steps

DEFAULTS = {
    **critics.TRUTH,
    'adversarial': 'vanilla',
    'w_adv': 1e-3,
    'discriminator': {},
    'disc_init': '',
    'disc_optimizer': {},
    'r1': critics.R1,
    'scales': '',
}
RANGES = critics.RANGES


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m = cfg.method
    if m.w_adv:
        return critics.truth_unread(m) | critics.r1_unread(m)
    names = ('adversarial', 'discriminator', 'disc_init', 'disc_optimizer', 'r1')
    return critics.truth_unread(m) | {f'method.{name}': f'method.w_adv={m.w_adv} trains without a critic' for name in names}


def make(cfg):
    """Method of a config with `student` and the block `method`:

    w_pixel, pixel: weight and kind ('l1', 'l2', 'charbonnier') of the pixel term, pixel_range: scale of its images. content,
    discriminator: see kdsr.critics. w_adv, adversarial: weight and kind ('vanilla', 'lsgan', 'hinge', 'relativistic') of the game;
    w_adv 0 trains without a critic. disc_init: export that the critic starts from, '' for a new one. disc_optimizer: its optimiser
    block, {} for `cfg.optimizer`. r1: weight of the critic's gradient penalty and every how many steps it is computed. sharpen:
    pixel and content terms look at the sharpened HR image, the critic at the plain one, as Real-ESRGAN has it. w_colour: see
    `critics.truth`. scales: drawn for each image, of networks that take enlarged ones (kdsr.sights); '' for those that take LR.
    """
    m = cfg.method
    play = fields.chosen('config.method.adversarial', m.adversarial, critics.GAMES, own=True)
    supervise, features = critics.truth(m, cfg.dtype)
    student = nets.student(cfg)
    disc = critics.critic(cfg, m.disc_init) if m.w_adv else None
    see, sight = sights.of(cfg, student.module)

    def losses(params, ctx):
        inputs, named = see(ctx)
        (sr, _), moved = models.train_apply(student.module, params['student'], ctx.vars['student'], *inputs, axis=ctx.axis, **named)
        (loss, parts), moved = supervise(ctx, sr), {'student': moved}
        if not disc:
            return {'student': loss}, (moved, parts)
        game = critics.played(m, play, disc, params, ctx, ctx.batch.hr, sr)
        parts['adversarial'], moved['disc'] = game.fool, game.moved
        return {'student': loss + m.w_adv * game.fool, 'disc': game.against}, (moved, parts | game.seen)

    trained = {'student': student} | ({'disc': disc} if disc else {})
    return steps.method(cfg, losses, trained, {'features': features, 'sight': sight})
