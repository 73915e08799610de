"""Output distillation: the student learns the teacher's image, and the ground truth beside it; with a critic, its looks too.

With s = S(x) the student's image, t = T(x) the teacher's, y the ground truth and phi features of VGG:

    L_student = w_pixel d(s, t) + w_truth d(s, y) + w_wavelet W(s, t) + w_content d(phi(s), phi(t)) + w_adv G(D(t), D(s))
    L_disc = D(D(t), D(s))

Without the last three terms it is what papers call the baseline of distillation (e.g. He et al., FAKD, ICIP 2020, "response"); with
them, Real-ESRGAN's second stage (Wang et al., ICCVW 2021) whose ground truth is the teacher's image. The teacher's picture is all
that is read of the teacher: `config.teacher='taught'` takes it from the folder that kdsr.teach wrote. W: distance of Haar bands
(MTKD, ECCV 2024, without its network that joins teachers); several teachers are joined plainly.
"""

from kdsr import critics, fields, models, nets, steps
from kdsr.losses import pixel, wavelet

DEFAULTS = {
    **critics.TRUTH,
    'pixel': 'l1',
    'w_pixel': 1.0,
    'pixel_range': 1.0,
    'content': {**critics.CONTENT, 'weight': 0.0},
    'w_truth': 1.0,
    'w_wavelet': 0.0,
    'levels': 1,
    'teachers': '',
    'joined': 'mean',
    'w_adv': 0.0,
    'adversarial': 'vanilla',
    'discriminator': {},
    'disc_optimizer': {},
}
RANGES = {**critics.RANGES, 'levels': (1, 8)}


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m = cfg.method
    names = () if m.w_adv else ('adversarial', 'discriminator', 'disc_optimizer')
    found = {} if m.w_wavelet else {'method.levels': 'method.w_wavelet=0 leaves the wavelet term out'}
    found |= {} if m.teachers else {'method.joined': 'method.teachers is empty: there is one'}
    found |= critics.content_unread(m) | {f'method.{name}': f'method.w_adv={m.w_adv} trains without a critic' for name in names}
    if not (m.w_pixel or m.w_truth):
        names = ('method.pixel',) if m.w_wavelet else ('method.pixel', 'method.pixel_range')
        found |= dict.fromkeys(names, 'method.w_pixel and w_truth are 0: there is no pixel term')
    return found


def make(cfg):
    """Method of a config with `student`, `teacher` (an export, or 'taught') and the block `method`:

    w_pixel, w_truth: weights of the pixel term `pixel` against the teacher's image and the ground truth, both times `pixel_range`;
    w_truth 0 where the truth is unknown. w_wavelet, levels: weight and levels of W. teachers: exports beside `cfg.teacher`,
    joined by commas; joined: their images' 'mean', or at each pixel the one nearest to the truth, 'best'. content, sharpen,
    w_colour: as of `critics.truth`, against the teacher's image. w_adv, adversarial, discriminator, disc_optimizer: as in
    kdsr.methods.gan, whose real images are the teacher's; w_adv 0 trains without a critic.
    """
    m = cfg.method
    play = fields.chosen('config.method.adversarial', m.adversarial, critics.GAMES, own=True)
    distance = fields.chosen('config.method.pixel', m.pixel, pixel.KINDS, own=True)
    student, (draw, teacher) = nets.student(cfg), nets.teacher_images(cfg, m.teachers, m.joined)
    imitate, features = critics.truth(m, cfg.dtype)
    disc = critics.critic(cfg) if m.w_adv else None

    def losses(params, ctx):
        (sr, _), moved = models.train_apply(student.module, params['student'], ctx.vars['student'], ctx.batch.lr, axis=ctx.axis)
        tr, moved = draw(ctx), {'student': moved}
        loss, parts = imitate(ctx._replace(batch=ctx.batch._replace(hr=tr)), sr)
        if m.w_truth:
            parts['truth'] = distance(m.pixel_range * sr, m.pixel_range * ctx.batch.hr)
            loss += m.w_truth * parts['truth']
        if m.w_wavelet:
            parts['wavelet'] = wavelet.haar_l1(m.pixel_range * sr, m.pixel_range * tr, levels=m.levels)
            loss += m.w_wavelet * parts['wavelet']
        if not disc:
            return {'student': loss}, (moved, parts)
        game = critics.played(m, play, disc, params, ctx, tr, sr)
        parts['adversarial'], moved['disc'] = game.fool, game.moved
        return {'student': loss + m.w_adv * game.fool, 'disc': game.against}, (moved, parts | game.seen)

    trained = {'student': student} | ({'disc': disc} if disc else {})
    return steps.method(cfg, losses, trained, {'teacher': teacher, 'features': features})
