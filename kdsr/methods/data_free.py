"""Data-free distillation: generators invent the images by which a teacher teaches a student, which grows block by block.

Zhang et al., Data-Free Knowledge Distillation For Image Super-Resolution, CVPR 2021. With T teacher, S student, G_s the generator
of LR images of scale s, R_s bicubic reduction, D a distance (L1, mean), z ~ N(0, 1):

    student     L_KD  = D(T(G_s(z)), S(G_s(z)))                                        k steps
    generator   L_GEN = -log(1 + L_KD),   L_R = D(R_s(T(G_s(z))), G_s(z)),             1 step: L_GEN + w_R L_R

A scale is drawn for each of these steps. Networks that refine an enlarged image (VDSR) are given clip(U_s(G_s(z))), U_s bicubic
enlargement; others (EDSR, SRResNet) the LR image itself. The released code rounds what U_s and R_s make to 8 bits: then L_GEN has
no gradient in the generator, and that of L_R passes by its first term. It also takes squared errors, summed (`rounding`, `loss`,
`reduction`), and clamps bicubic at the border (`border`). Its student steps follow G as well, at a cost and to no effect.

The rate of every G_s follows the rounds (steps of the loop), whether s is drawn or not. A G_s that is not drawn in a round waits
as it is ('frozen'), its Adam's own count with the moments: the bias correction 1 - b^n belongs to moments that have taken n
gradients, and with the count of rounds the first steps of a G_s that is drawn late would be too short. The released code calls all
three Adams each round, with zero gradients for those that are not drawn: their momentum moves them ('coast').
"""

import functools
import math

import jax
import jax.numpy as jnp

from kdsr import models, optim, steps
from kdsr.data import resize
from kdsr.methods import gan
from kdsr.methods.growth import Growth
from kdsr.models.bicubic import enlarge, reduce
from kdsr.models.image_generator import ImageGenerator
from kdsr.types import Method

IMAGES = {name: name for name in ('generator', 'noise', 'data')}
TARGETS = {name: name for name in ('teacher', 'truth')}
REDUCTIONS = {'mean': jnp.mean, 'sum': jnp.sum}
LOSSES = {'l1': jnp.abs, 'l2': jnp.square}
UNDRAWN = {name: name for name in ('frozen', 'coast')}
BORDERS = {name: name for name in resize.BORDERS}
ROUNDINGS = {
    'none': lambda x: x,
    'hard': lambda x: jnp.round(255 * x) / 255,  # no gradient
    'straight_through': lambda x: x + jax.lax.stop_gradient(jnp.round(255 * x) / 255 - x),
}

DEFAULTS = {
    'images': 'generator',
    'target': 'teacher',
    'scales': '',
    'size': 48,
    'student_steps': 5,
    'latent': 256,
    'loss': 'l1',
    'reduction': 'mean',
    'rounding': 'none',
    'border': 'symmetric',
    'w_adversarial': 1.0,
    'w_reconstruction': 10.0,
    'warmup': 5,
    'growth': {'events': 1, 'every': 0, 'new_block': 'random', 'renew': True},
    'optimizer': {**optim.DEFAULTS, 'b1': 0.5},
    'undrawn': 'frozen',
}
RANGES = {name: (1, math.inf) for name in ('size', 'student_steps', 'latent', 'growth.events')}
RANGES |= {name: (0, math.inf) for name in ('warmup', 'growth.every')}


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    images, real = cfg.method.images, cfg.method.images == 'data'
    names = () if images == 'generator' else ('latent', 'w_adversarial', 'w_reconstruction', 'warmup', 'optimizer', 'undrawn')
    found = {f'method.{name}': f"method.images='{images}' trains no generator" for name in names}
    found |= {'method.size': 'images of data have config.patch times config.scale'} if real else {}
    return found if real else found | {'patch': f"method.images='{images}' makes images of method.size"}


def parsed_scales(text, scale):
    """'2,3,4' -> (2, 3, 4); '' -> (scale,). ValueError for anything else."""
    try:
        scales = tuple(int(s) for s in text.split(',')) if text else (scale,)
    except ValueError:
        scales = ()
    if not scales or min(scales) < 1 or len(set(scales)) < len(scales):
        raise ValueError(f"config.method.scales='{text}' must be different whole numbers, e.g. '2,3,4'")
    return scales


def make(cfg):
    """Method of a config with `student`, `teacher` (an export) and the block `method`:

    images: 'generator'; 'noise', uniform; or 'data', the batches' HR images reduced (the baselines). target: 'teacher', or 'truth'
    for images of data. scales: those drawn from, as '2,3,4', or '' for `cfg.scale`. size: side of the HR images that are made.
    student_steps: k, 1 for data. latent: length of z. loss: 'l1' or 'l2'. reduction: 'mean' or 'sum' over the batch. rounding:
    'none', 'hard', 'straight_through'. border: bicubic's, 'symmetric' or 'replicate'. w_adversarial, w_reconstruction: weights of
    the generator's loss; the first counts from step `warmup` on. growth: {'events', 'every', 'new_block', 'renew'} as in
    kdsr.methods.growth. optimizer: the generators', whose schedule counts steps of the loop; `cfg.optimizer` is the student's,
    whose schedule counts student steps. undrawn: what a generator does while another scale is drawn, 'frozen' or 'coast'.

    A step of the loop is k student steps of `cfg.batch_size` images, and one of the generator.

    Raises ValueError for values that are none of these, sizes that the scales do not divide into equal HR images, and networks
    that cannot do what is asked: several scales or growth without `refine`.
    """
    m = cfg.method
    images, target = gan.chosen('images', m.images, IMAGES), gan.chosen('target', m.target, TARGETS)
    size_of, round_ = gan.chosen('loss', m.loss, LOSSES), gan.chosen('rounding', m.rounding, ROUNDINGS)
    reduction = gan.chosen('reduction', m.reduction, REDUCTIONS)
    border = gan.chosen('border', m.border, BORDERS)
    undrawn = gan.chosen('undrawn', m.undrawn, UNDRAWN)
    student = models.build_block(cfg.student, cfg)
    teacher = models.teacher(cfg) if target == 'teacher' else None
    scales = parsed_scales(m.scales, cfg.scale)
    size = cfg.patch * cfg.scale if images == 'data' else m.size
    check(m, student, teacher, scales, images, target, size)
    refines, k = hasattr(student, 'refine'), m.student_steps
    growth = Growth(**m.growth, blocks=student.blocks if refines else 1)
    generators = {
        f'generator_x{s}': ImageGenerator(m.size // s, m.latent, student.channels, dtype=cfg.dtype)
        for s in (scales if images == 'generator' else ())
    }
    optimisers = {'student': optim.make(cfg.optimizer, k * cfg.steps)}
    optimisers |= {name: optim.make(m.optimizer, cfg.steps) for name in generators}
    unit = lambda x: round_(jnp.clip(x, 0, 1))

    def total(x, ctx):
        """`reduction` over the batch of all devices, as this device's share: its mean over devices is the whole."""
        whole = reduction(x)
        return whole * jax.lax.psum(1, ctx.axis) if m.reduction == 'sum' and ctx.axis else whole

    def given(lr, s):
        return unit(enlarge(lr, s, border)) if refines else lr

    def run(net, variables, x, active=None):
        return net.apply(variables, x, active=active, method='refine')[0] if refines else net.apply(variables, x)[0]

    def drawn(params, ctx):
        """LR images of a scale drawn for this step: (what networks are given, LR at the corner of a frame, number of the scale)."""
        index = jax.random.randint(ctx.key, (), 0, len(scales))
        keys, side = ctx.example_keys(), size // min(scales)

        def invent(s):
            if images == 'data':
                return unit(reduce(ctx.batch.hr, s, border))
            if images == 'noise':
                shape = (m.size // s, m.size // s, student.channels)
                return jax.vmap(lambda key: jax.random.uniform(key, shape))(keys)
            z = jax.vmap(lambda key: jax.random.normal(key, (m.latent,)))(keys)
            return generators[f'generator_x{s}'].apply({'params': params[f'generator_x{s}']}, z)

        def branch(s):
            lr = invent(s)
            more = side - lr.shape[1]
            return given(lr, s), jnp.pad(lr, ((0, 0), (0, more), (0, more), (0, 0)))

        return *jax.lax.switch(index, [functools.partial(branch, s) for s in scales]), index

    def student_losses(params, ctx):
        x, _, _ = drawn(ctx.frozen['generators'], ctx)
        aim = run(teacher.module, ctx.frozen['teacher'], x) if teacher else ctx.batch.hr
        sr = run(student, {'params': params['student']}, x, ctx.frozen['active'])
        loss = total(size_of(aim - sr), ctx)
        return {'student': loss}, ({}, {'distil': loss})

    def generator_losses(params, ctx):
        x, frame, index = drawn(params, ctx)
        t = run(teacher.module, ctx.frozen['teacher'], x)
        s = run(student, {'params': ctx.frozen['student']}, x, ctx.frozen['active'])

        def away(scale):
            side = m.size // scale
            return total(size_of(unit(reduce(t, scale, border)) - frame[:, :side, :side]), ctx)

        adversarial = -jnp.log1p(ctx.mean(total(size_of(t - s), ctx)))
        reconstruction = jax.lax.switch(index, [functools.partial(away, scale) for scale in scales])
        loss = jnp.where(ctx.step < m.warmup, 0.0, m.w_adversarial) * adversarial + m.w_reconstruction * reconstruction
        return dict.fromkeys(generators, loss), ({}, {'adversarial': adversarial, 'reconstruction': reconstruction})

    teach = steps.players(student_losses, {'student': optimisers['student']}, ema_decay=cfg.ema_decay)
    invent = steps.players(generator_losses, {name: optimisers[name] for name in generators})

    def step(state, frozen, batch, axis=None):
        keys, active = jax.random.split(state.key), growth.active(state.step)
        params = {name: state.nets[name].params for name in generators}
        known = {'teacher': frozen.get('teacher'), 'generators': params, 'active': active if growth.grows else None}

        def one(carried, i):
            net, ema = carried
            alone = state._replace(step=k * state.step + i, key=keys[0], nets={'student': net}, ema=ema)
            moved, metrics = teach(alone, known, batch, axis)
            return (growth.kept(net, moved.nets['student'], active), moved.ema), metrics

        fresh = growth.renewed(state.nets['student'], state.step, optimisers['student'])
        (student_net, ema), metrics = jax.lax.scan(one, (fresh, state.ema), jnp.arange(k))
        rate = metrics['learning_rate/student'][-1]
        metrics, nets = {k: v.mean(0) for k, v in metrics.items()} | {'learning_rate/student': rate}, {'student': student_net}
        if generators:
            rest = state._replace(key=keys[1], nets={name: state.nets[name] for name in generators}, ema={})
            moved, more = invent(rest, {**known, 'student': student_net.params}, batch, axis)
            index = jax.random.randint(jax.random.fold_in(keys[1], state.step), (), 0, len(scales))
            accumulate = m.optimizer.get('accumulate', 1)
            updates = (state.step + 1) // accumulate - state.step // accumulate
            for i, name in enumerate(generators):
                moves = (index == i) | (undrawn == 'coast')
                nets[name] = after_round(moves, moved.nets[name], state.nets[name], updates)
            one_of = lambda what: more[f'{what}/generator_x{scales[0]}']
            norm = sum(more[f'grad_norm/{name}'] for name in generators)  # two of them are 0
            metrics |= {k: v for k, v in more.items() if '/' not in k or k.startswith('learning_rate/')}
            metrics |= {'loss/generator': one_of('loss'), 'grad_norm/generator': norm}
        return state._replace(step=state.step + 1, nets=nets, ema=ema), metrics

    def init(key, batch):
        lr = jnp.zeros((1, 16, 16, student.channels))
        nets = {'student': growth.begun(models.start(student, cfg, key, lr))}
        for i, (name, net) in enumerate(generators.items(), 1):
            nets[name] = models.init(net, jax.random.fold_in(key, i), jnp.zeros((1, m.latent)))
        return steps.create(key, nets, optimisers, ('student',) if cfg.ema_decay else ())

    def samples(state):
        """Eight images of each generator, always of the same z: {'x2': `[8, h, w, C]`, ...}."""
        z = jax.random.normal(jax.random.key(0), (8, m.latent))
        draw = lambda name: generators[name].apply({'params': state.nets[name].params}, z)
        return {name.removeprefix('generator_'): draw(name) for name in generators}

    frozen = {'teacher': teacher.variables} if teacher else {}
    return Method(lambda: frozen, init, step, samples if generators else None, k)


def after_round(moves, new, old, updates):
    """The net `new` if `moves`, else `old`; its schedule is `old`'s gone on by `updates` either way."""

    def pick(a, b):
        return b._replace(count=b.count + updates) if optim.is_schedule(b) else jnp.where(moves, a, b)

    return jax.tree.map(pick, new, old, is_leaf=optim.is_schedule)


def check(m, student, teacher, scales, images, target, size):
    """Raises ValueError for what `make` says."""
    if target == 'truth' and images != 'data':
        raise ValueError(f"config.method.target='truth' needs images='data': there is no truth beside {images}")
    if images == 'data' and m.student_steps != 1:
        raise ValueError(f'config.method.student_steps={m.student_steps}: with images of data each batch is one step, use 1')
    if images == 'data' and any(size % s for s in scales):
        raise ValueError(f'config.patch times config.scale, {size}, is no multiple of the scales {m.scales}: use 24 and 2')
    if images != 'data' and (size % 4 or any(size % (4 * s if images == 'generator' else s) for s in scales)):
        raise ValueError(
            f'config.method.size={size} is no multiple of 4 times the scales {m.scales}: HR images would differ in size; use 48'
        )
    for net, what in ((student, 'student'), *([(teacher.module, 'teacher')] if teacher else [])):
        if not hasattr(net, 'refine') and scales != (net.scale,):
            raise ValueError(f'the {what} is a x{net.scale} network: config.method.scales must be {net.scale}, not {m.scales}')
    if teacher and (hasattr(teacher.module, 'refine') != hasattr(student, 'refine') or teacher.module.channels != student.channels):
        raise ValueError('teacher and student must take the same images: both as VDSR (enlarged Y), or both LR images')
    if m.growth.events > 1 and not hasattr(student, 'refine'):
        raise ValueError(f'config.method.growth.events={m.growth.events}: only VDSR grows; use 1')
