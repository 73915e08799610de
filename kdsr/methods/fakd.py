"""FAKD: the student learns from the ground truth, the teacher's image, and affinities of the teacher's features.

He et al., FAKD: Feature-Affinity based Knowledge Distillation for Efficient Image Super-Resolution, ICIP 2020:

    L = (1 - alpha) mean|S(x) - y| + alpha mean|S(x) - T(x)| + sum_types w_type sum_taps mean|A_S - A_T|
"""

import difflib
import functools
import math

import jax
import jax.numpy as jnp

from kdsr import fields, models, optim, steps
from kdsr.losses import affinity, features, pixel
from kdsr.models.adapter import Adapter
from kdsr.types import Method

EQUAL_CHANNELS = ('channel', 'fsp', 'fitnet')
DEFAULTS = {
    'alpha': 0.5,
    'w_affinity': 10.0,
    'transforms': 'spatial',
    'taps': '',
    'adapter': False,
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
        names = ('transforms', 'taps', 'adapter', *READERS)
        return {f'method.{name}': f'method.w_affinity={m.w_affinity} leaves all transforms out' for name in names}
    used = parse_transforms(m.transforms, transforms(m))
    others = {name: readers for name, readers in READERS.items() if not set(readers) & set(used)}
    return {f'method.{k}': f"only {', '.join(v)} read it, method.transforms='{m.transforms}' has none" for k, v in others.items()}


def parse_transforms(text, known):
    """'10*spatial+2*attention' -> {'spatial': 10.0, 'attention': 2.0}; '' -> {}."""
    weights = {}
    for term in filter(None, text.replace(' ', '').split('+')):
        weight, star, name = term.rpartition('*')
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f", did you mean '{near[0]}'?" if near else ''
            raise ValueError(f"config.method.transforms: '{name}' is unknown{hint} (transforms: {', '.join(known)})")
        try:
            weights[name] = float(weight) if star else 1.0
        except ValueError:
            raise ValueError(f"config.method.transforms: '{weight}' in '{term}' is no number") from None
    return weights


def parse_taps(text, student, teacher):
    """'block1:block5,body' -> ((student tap, teacher tap), ...); '' -> the paper's three taps of each network.

    student, teacher: (model name, its arguments, the names of its taps).
    """
    if text:
        pairs = [tuple(p.strip() for p in (pair.split(':') * 2)[:2]) for pair in text.split(',')]
    else:
        ours, theirs = (models.module(name).fakd_taps(**args) for name, args, _ in (student, teacher))
        pairs = list(zip(ours, theirs, strict=True))
    for i, (who, (name, _, taps)) in enumerate((('student', student), ('teacher', teacher))):
        for pair in pairs:
            if pair[i] not in taps:
                near = difflib.get_close_matches(pair[i], taps, 1)
                hint = f", did you mean '{near[0]}'?" if near else ''
                raise ValueError(f"config.method.taps: the {who} ({name}) has no tap '{pair[i]}'{hint} (taps: {', '.join(taps)})")
    return tuple(pairs)


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
    adapter: 1x1 convolutions that bring student taps to the teacher's width, trained with the student. pool, pool_type, eps:
    of the transforms. pixel_range: scale of the pixel terms.
    """
    m = cfg.method
    student, teacher = models.build_block(cfg.student, cfg), models.teacher(cfg)
    if m.pool_type not in ('max', 'avg'):
        raise ValueError(f"config.method.pool_type='{m.pool_type}' must be 'max' or 'avg'")
    distances = transforms(m)
    weights = parse_transforms(m.transforms, distances) if m.w_affinity else {}
    ours = (cfg.student.name, dict(cfg.student.args), models.taps(student))
    theirs = (teacher.card['model'], teacher.card['args'], models.taps(teacher.module))
    pairs = parse_taps(m.taps, ours, theirs) if weights else ()
    widths = [(ours[2][s][-1], theirs[2][t][-1]) for s, t in pairs]
    if not m.adapter:
        _check_widths(weights, pairs, widths)
    if 'fsp' in weights and len(pairs) < 2:
        raise ValueError("config.method.transforms: 'fsp' compares consecutive taps, config.method.taps must name two or more")
    adapter = Adapter(tuple(w for _, w in widths)) if m.adapter and pairs else None
    names = ('student', 'adapt') if adapter else ('student',)
    optimisers = {name: optim.make(cfg.optimizer, cfg.steps) for name in names}
    ema = ('student',) if cfg.ema_decay else ()

    def losses(params, ctx):
        (sr, ours), variables = models.train_apply(student, params['student'], ctx.vars['student'], ctx.batch.lr, ctx.axis)
        teacher_sr, theirs = teacher.module.apply(ctx.frozen['teacher'], ctx.batch.lr)
        ours, theirs = [ours[s] for s, _ in pairs], [theirs[t] for _, t in pairs]
        if adapter:
            ours = adapter.apply({'params': params['adapt']}, ours)
        # the B x B matrix of `instance` couples the whole batch, not one device's share
        coupled = {'instance': lambda s, t: affinity.instance(ctx.gather(s), ctx.gather(t))}
        loss, parts = objective(
            sr, ctx.batch.hr, teacher_sr, ours, theirs,
            alpha=m.alpha, w_affinity=m.w_affinity, weights=weights, distances=distances | coupled, pixel_range=m.pixel_range,
        )  # fmt: skip
        return {name: loss for name in names}, ({'student': variables}, parts)

    def init(key, batch):
        nets = {'student': models.start(student, cfg, key, batch.lr[:1, :16, :16])}
        if adapter:
            examples = [jnp.zeros((1, 16, 16, w)) for w, _ in widths]
            nets['adapt'] = models.init(adapter, jax.random.fold_in(key, 1), examples)
        return steps.create(key, nets, optimisers, ema)

    step = steps.players(losses, optimisers, ema_decay=cfg.ema_decay)
    return Method(lambda: {'teacher': teacher.variables}, init, step)


def _check_widths(weights, pairs, widths):
    for name in (n for n in weights if n in EQUAL_CHANNELS):
        for (s, t), (ours, theirs) in zip(pairs, widths, strict=True):
            if ours != theirs:
                raise ValueError(
                    f"transform '{name}' compares channel by channel, but student tap '{s}' has {ours} and teacher tap '{t}' "
                    f'has {theirs}: set config.method.adapter=True, or use spatial, pooled_spatial, attention, instance, rbf or mmd'
                )
