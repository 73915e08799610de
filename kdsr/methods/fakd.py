"""FAKD: the student learns from the ground truth, the teacher's image, and affinities of the teacher's features.

He et al., FAKD: Feature-Affinity based Knowledge Distillation for Efficient Image Super-Resolution, ICIP 2020:

    L = (1 - alpha) mean|S(x) - y| + alpha mean|S(x) - T(x)| + sum_types w_type sum_taps mean|A_S - A_T|
"""

import functools
import math

from kdsr import fields, models, nets, steps
from kdsr.losses import affinity, features, pixel
from kdsr.taps import Pairs, paired

EQUAL_CHANNELS = ('channel', 'fsp', 'fitnet')
DEFAULTS = {
    'alpha': 0.5,
    'w_affinity': 10.0,
    'transforms': 'spatial',
    'taps': '',
    'adapter': False,
    'adapt_optimizer': {},
    'pool': 1,
    'pool_type': 'max',
    'eps': 1e-8,
    'pixel_range': 255.0,
}
RANGES = {'alpha': (0, 1), 'pool': (1, math.inf), 'eps': fields.ABOVE_0, 'pixel_range': fields.ABOVE_0}
READERS = {
    'eps': ('spatial', 'channel', 'pooled_spatial'),
    **dict.fromkeys(('pool', 'pool_type'), ('pooled_spatial', 'rbf', 'mmd')),
}


def transforms(cfg):
    """name -> loss(student_tap, teacher_tap); fsp takes pairs of taps."""
    pool = {'pool': cfg.pool, 'pool_type': cfg.pool_type}
    return {
        'spatial': functools.partial(affinity.spatial, eps=cfg.eps),
        'channel': functools.partial(affinity.channel, eps=cfg.eps),
        'instance': affinity.instance,
        'fsp': features.fsp,
        'attention': features.attention,
        'fitnet': features.fitnet,
        'pooled_spatial': functools.partial(affinity.pooled_spatial, eps=cfg.eps, **pool),
        'rbf': functools.partial(affinity.rbf, **pool),
        'mmd': functools.partial(affinity.mmd, **pool),
    }


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m = cfg.method
    if not m.w_affinity:
        names = ('transforms', 'taps', 'adapter', 'adapt_optimizer', *READERS)
        return {f'method.{name}': f'method.w_affinity={m.w_affinity} leaves all transforms out' for name in names}
    used = fields.weighted('config.method.transforms', m.transforms, transforms(m))
    others = {name: readers for name, readers in READERS.items() if not set(readers) & set(used)}
    found = {f'method.{k}': f"only {', '.join(v)} read it, method.transforms='{m.transforms}' has none" for k, v in others.items()}
    return found | ({} if m.adapter else {'method.adapt_optimizer': 'method.adapter=False: there is none'})


def objective(sr, hr, teacher_sr, student_taps, teacher_taps, *, alpha, w_affinity, weights, distances, pixel_range):
    """The weighted sum of the paper and its named parts.

    Args:
      sr, hr, teacher_sr: images in [0, 1]; `pixel_range` (255) brings their L1 to the scale the weights were published for.
      student_taps, teacher_taps: lists of features `[B, h, w, C]`, in order.
      weights, distances: transform -> its own weight, transform -> loss function.
    """
    parts = {'l1': pixel_range * pixel.l1(sr, hr)}
    total = (1 - alpha) * parts['l1']
    if alpha:  # else nobody needs the teacher's image, and the compiler drops what makes it
        parts['teacher_l1'] = pixel_range * pixel.l1(sr, teacher_sr)
        total = total + alpha * parts['teacher_l1']
    for name, weight in weights.items():
        inputs = [student_taps, teacher_taps]
        if name == 'fsp':  # the flow between consecutive taps
            inputs = [list(zip(t, t[1:], strict=False)) for t in inputs]
        parts[name] = sum(distances[name](s, t) for s, t in zip(*inputs, strict=True))
        total = total + w_affinity * weight * parts[name]
    return total, parts


def make(cfg):
    """Method of a config with `student`, `teacher` (an export) and the block `method`:

    alpha: share of the teacher's image. transforms: '10*spatial+2*attention', any sum of the nine. w_affinity: factor of that sum
    (10 = the repository's head, 1 = what its code applied in 2020, with eps 1e-7). taps: 'student:teacher,...', '' = the paper's.
    adapter: 1x1 convolutions that bring student taps to the teacher's width, trained with the student, by adapt_optimizer ({} for
    `cfg.optimizer`). pool, pool_type, eps: of the transforms. pixel_range: scale of the pixel terms.
    """
    m = cfg.method
    student, teacher = nets.student(cfg), nets.teacher(cfg)
    fields.chosen('config.method.pool_type', m.pool_type, ('max', 'avg'))
    distances = transforms(m)
    weights = fields.weighted('config.method.transforms', m.transforms, distances) if m.w_affinity else {}
    pairs = Pairs()
    if weights:
        pairs = paired(m.taps, (student.name, student.module), (teacher.card['model'], teacher.module))
    if not m.adapter:
        for name in (n for n in weights if n in EQUAL_CHANNELS):
            pairs.require_equal(f"transform '{name}'")
    if 'fsp' in weights and len(pairs.names) < 2:
        raise ValueError("config.method.transforms: 'fsp' compares consecutive taps, config.method.taps must name two or more")
    adapter = pairs.adapter(cfg) if m.adapter and pairs.names else None
    trained = {'student': student} | ({'adapt': adapter} if adapter else {})

    def losses(params, ctx):
        (sr, ours), moved = models.train_apply(student.module, params['student'], ctx.vars['student'], ctx.batch.lr, axis=ctx.axis)
        teacher_sr, theirs = teacher.module.apply(ctx.frozen['teacher'], ctx.batch.lr)
        ours, theirs = pairs.student(ours), pairs.teacher(theirs)
        if adapter:
            ours, _ = adapter.module.apply({'params': params['adapt']}, ours)
        # the B x B matrix of `instance` couples the whole batch, not one device's share
        coupled = {'instance': lambda s, t: affinity.instance(ctx.gather(s), ctx.gather(t))}
        loss, parts = objective(
            sr, ctx.batch.hr, teacher_sr, ours, theirs,
            alpha=m.alpha, w_affinity=m.w_affinity, weights=weights, distances=distances | coupled, pixel_range=m.pixel_range,
        )  # fmt: skip
        return dict.fromkeys(trained, loss), ({'student': moved}, parts)

    return steps.method(cfg, losses, trained, {'teacher': teacher.variables})
