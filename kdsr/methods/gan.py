"""Adversarial training of a generator against the ground truth: SRGAN, and ESRGAN with its own terms.

Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017:

    L_student = w_pixel d(S(x), y) + w_content mean (phi(S(x)) - phi(y))^2 + w_adv G(D(y), D(S(x))),   L_disc = D(D(y), D(S(x)))
"""

from kdsr import critics, fields, models, nets, steps
from kdsr.data import sharpening
from kdsr.losses import pixel

DEFAULTS = {
    'pixel': 'l2',
    'w_pixel': 1e-3,
    'pixel_range': 255.0,
    'content': critics.CONTENT,
    'adversarial': 'vanilla',
    'w_adv': 1e-3,
    'discriminator': {},
    'disc_init': '',
    'disc_optimizer': {},
    'sharpen': False,
    'w_colour': 0.0,
}
RANGES = {'pixel_range': fields.ABOVE_0}


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m = cfg.method
    found = critics.content_unread(m)
    if not m.w_pixel:
        found |= dict.fromkeys(('method.pixel', 'method.pixel_range'), f'method.w_pixel={m.w_pixel} leaves the pixel term out')
    if not m.w_adv:
        names = ('adversarial', 'discriminator', 'disc_init', 'disc_optimizer')
        found |= {f'method.{name}': f'method.w_adv={m.w_adv} trains without a critic' for name in names}
    return found


def make(cfg):
    """Method of a config with `student` and the block `method`:

    w_pixel, pixel: weight and kind ('l1', 'l2', 'charbonnier') of the pixel term, pixel_range: scale of its images. content,
    discriminator: see kdsr.critics. w_adv, adversarial: weight and kind ('vanilla', 'lsgan', 'hinge', 'relativistic') of the game;
    w_adv 0 trains without a critic. disc_init: export that the critic starts from, '' for a new one. disc_optimizer: its optimiser
    block, {} for `cfg.optimizer`. sharpen: pixel and content terms look at the sharpened HR image, the critic at the plain one, as
    Real-ESRGAN has it. w_colour: weight of how far the mean of a patch's channels moves from LR's, since the other terms let
    colours drift (xinntao/Real-ESRGAN#745).
    """
    m = cfg.method
    pixels = fields.chosen('config.method.pixel', m.pixel, pixel.KINDS, own=True)
    play = fields.chosen('config.method.adversarial', m.adversarial, critics.GAMES)
    perceive, features = critics.content(m.content)
    student = nets.student(cfg)
    disc = critics.critic(cfg, m.disc_init) if m.w_adv else None

    def losses(params, ctx):
        hr, axis = ctx.batch.hr, ctx.axis
        (sr, _), moved = models.train_apply(student.module, params['student'], ctx.vars['student'], ctx.batch.lr, axis=axis)
        aim = sharpening.sharpened_batch(hr) if m.sharpen else hr
        parts = {'content': perceive(ctx.frozen['features'], sr, aim), m.pixel: pixels(m.pixel_range * sr, m.pixel_range * aim)}
        loss, moved = parts['content'] + m.w_pixel * parts[m.pixel], {'student': moved}
        if m.w_colour:
            parts['colour'] = pixel.l1(sr.mean((1, 2)), ctx.batch.lr.mean((1, 2)))
            loss += m.w_colour * parts['colour']
        if not disc:
            return {'student': loss}, (moved, parts)
        real, fake, moved['disc'] = critics.judged(disc.module, params['disc'], ctx.vars['disc'], hr, sr, axis)
        parts['adversarial'], against = play(real, fake, ctx)
        found = {'student': loss + m.w_adv * parts['adversarial'], 'disc': against}
        return found, (moved, parts | critics.verdicts(real, fake))

    trained = {'student': student} | ({'disc': disc} if disc else {})
    return steps.method(cfg, losses, trained, {'features': features})
