"""Contrastive distillation: output distillation, and nearer in features to the teacher's image than to worse ones.

Wang et al., CSD, IJCAI 2021, and Zhou et al., DCKD, AAAI 2025. With s = S(x), t = T(x), y the truth, C the ratio of distances of
`losses.contrastive` in VGG's features, A a random change (kdsr.consistency):

    L = w_truth |s - y| + w_teacher |s - t| + w_changed |s - A^-1(T(A(x)))| + w_contrast C(s, t, negatives)

negatives 'bicubic': bicubic enlargements of the batch's first `count` LR images, for all images, as CSD has them. 'history': what a
slow copy of the student makes of x and of `count` noisy x (DCKD). Of DCKD two things are left out: its features are those of a
VQGAN's encoder, and it has a term between distributions over that VQGAN's codes. CSD's student is the first channels of its
teacher, trained with it; here they are two networks.
"""

import jax

from kdsr import consistency, fields, history, models, nets, steps
from kdsr.losses import contrastive, pixel
from kdsr.models import bicubic, perceptual

DEFAULTS = {
    'w_truth': 1.0,
    'w_teacher': 1.0,
    'w_changed': 1.0,
    'probability': 0.5,
    'w_contrast': 0.1,
    'features': {'network': 'vgg16', 'taps': '0.03125*relu1_1+0.0625*relu2_1+0.125*relu3_1+0.25*relu4_1+relu5_1'},
    'negatives': 'history',
    'count': 4,
    'history': history.DEFAULTS,
}
RANGES = {'probability': (0, 1), 'count': (0, 64), **history.RANGES}


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m, found = cfg.method, {}
    if not m.w_changed:
        found['method.probability'] = 'method.w_changed=0.0 leaves the changed images out'
    if not m.w_contrast:
        names = ('features.network', 'features.taps', 'negatives', 'count')
        found |= {f'method.{name}': 'method.w_contrast=0.0 leaves the contrast out' for name in names}
    if not m.w_contrast or m.negatives != 'history':
        found |= {f'method.history.{name}': "only method.negatives='history' reads it" for name in history.DEFAULTS}
    return found


def make(cfg):
    """Method of a config with `student`, `teacher` (an export) and the block `method`:

    w_truth, w_teacher, w_changed, w_contrast: weights (DCKD: 1, 1, 1 and 0.1; CSD, of images in 0..255: 1, 0, 0 and 200).
    probability: of each change of A. features: {network, taps}, a VGG as of `critics.content` and weighted features. negatives,
    count: see above (DCKD: 4 noisy ones; CSD: 10). history: {every, share}, as of kdsr.history.
    """
    m = cfg.method
    fields.chosen('config.method.negatives', m.negatives, ('history', 'bicubic'))
    weights = fields.weighted('config.method.features.taps', m.features.taps)
    if m.negatives == 'bicubic' and not m.count:
        raise ValueError("config.method.count=0: method.negatives='bicubic' needs at least one image")
    student, teacher = nets.student(cfg), nets.teacher(cfg)
    try:
        of = lambda: perceptual.load(m.features.network, taps=tuple(weights), dtype=cfg.dtype)
        vgg, variables = of() if m.w_contrast else (None, {})
    except (FileNotFoundError, ValueError) as e:
        raise type(e)(f'config.method.features: {e}') from e
    slow = bool(m.w_contrast) and m.negatives == 'history'

    def contrast(ctx, sr, tr):
        seen = lambda images: vgg.apply(ctx.frozen['features'], images)
        if slow:
            old = lambda x: student.module.apply({'params': ctx.frozen['history'], **ctx.vars['student']}, x)[0]
            negatives = [seen(old(x)) for x in (ctx.batch.lr, *history.noisy(ctx, m.count))]
        else:
            worse = seen(bicubic.enlarge(ctx.gather(ctx.batch.lr)[: m.count], cfg.scale))
            negatives = [jax.tree.map(lambda x, i=i: x[i : i + 1], worse) for i in range(len(jax.tree.leaves(worse)[0]))]
        return contrastive.ratio(seen(sr), seen(tr), jax.lax.stop_gradient(negatives), weights=weights, mean=ctx.mean)

    def losses(params, ctx):
        taught = lambda x: teacher.module.apply(ctx.frozen['teacher'], x)[0]
        (sr, _), moved = models.train_apply(student.module, params['student'], ctx.vars['student'], ctx.batch.lr, axis=ctx.axis)
        tr, parts = taught(ctx.batch.lr), {}
        parts['truth'], parts['teacher'] = pixel.l1(sr, ctx.batch.hr), pixel.l1(sr, tr)
        loss = m.w_truth * parts['truth'] + m.w_teacher * parts['teacher']
        if m.w_changed:
            which = consistency.drawn(ctx.example_keys(), m.probability)
            again = consistency.restored(taught(consistency.changed(ctx.batch.lr, which)), which)
            parts['changed'] = pixel.l1(sr, again)
            loss += m.w_changed * parts['changed']
        if m.w_contrast:
            parts['contrast'] = contrast(ctx, sr, tr)
            loss += m.w_contrast * parts['contrast']
        return {'student': loss}, ({'student': moved}, parts)

    frozen = {'teacher': teacher.variables, 'features': variables}
    method = steps.method(cfg, losses, {'student': student}, frozen)
    return history.remembering(method, m.history) if slow else method
