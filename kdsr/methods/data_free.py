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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdsr import fields, nets, optim, steps
from kdsr.data import resize
from kdsr.growth import Growth
from kdsr.models.bicubic import enlarge, reduce
from kdsr.types import Method

IMAGES = ('generator', 'noise', 'data')
TARGETS = ('teacher', 'truth')
REDUCTIONS = {'mean': jnp.mean, 'sum': jnp.sum}
LOSSES = {'l1': jnp.abs, 'l2': jnp.square}
UNDRAWN = ('frozen', 'coast')
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


class Plan(NamedTuple):
    """The block `method` of a config, its words looked up. m: the block itself, for its numbers."""

    m: Any
    images: str
    distance: Any
    reduction: Any
    rounding: Any
    border: str
    scales: tuple
    size: int  # side of HR images, pixels
    student: Any
    teacher: Any
    generators: dict
    growth: Growth

    @property
    def refines(self):
        """Whether networks are given enlarged images."""
        return hasattr(self.student, 'refine')


def planned(cfg, student, teacher):
    """(Plan, {generator: Trained}) of a config, its student's module and its teacher's Upscaler; ValueError as of `make`."""
    m, word = cfg.method, lambda name, known: fields.chosen(f'config.method.{name}', cfg.method[name], known)
    images, scales = word('images', IMAGES), parsed_scales(m.scales, cfg.scale)
    size = cfg.patch * cfg.scale if images == 'data' else m.size
    check(m, student, teacher, scales, images, m.target, size)
    args = {'latent': m.latent, 'channels': student.channels}
    generators = {
        f'generator_x{s}': nets.trained('image_generator', {'size': m.size // s, **args}, cfg, 'config.method.size')
        for s in (scales if images == 'generator' else ())
    }
    modules = {name: net.module for name, net in generators.items()}
    growth = Growth(**m.growth, blocks=student.blocks if hasattr(student, 'refine') else 1)
    words = word('loss', LOSSES), word('reduction', REDUCTIONS), word('rounding', ROUNDINGS), word('border', tuple(resize.BORDERS))
    return Plan(m, images, *words, scales, size, student, teacher and teacher.module, modules, growth), generators


def make(cfg):
    """Method of a config with `student`, `teacher` (an export) and the block `method`:

    images: 'generator'; 'noise', uniform; or 'data', the batches' HR images reduced (the baselines). target: 'teacher', or 'truth'
    for images of data. scales: those drawn from, as '2,3,4', or '' for `cfg.scale`. size: side of the HR images that are made.
    student_steps: k, 1 for data. latent: length of z. loss: 'l1' or 'l2'. reduction: 'mean' or 'sum' over the batch. rounding:
    'none', 'hard', 'straight_through'. border: bicubic's, 'symmetric' or 'replicate'. w_adversarial, w_reconstruction: weights of
    the generator's loss; the first counts from step `warmup` on. growth: {'events', 'every', 'new_block', 'renew'} as in
    kdsr.growth. optimizer: the generators', whose schedule counts steps of the loop; `cfg.optimizer` is the student's,
    whose schedule counts student steps. undrawn: what a generator does while another scale is drawn, 'frozen' or 'coast'.

    A step of the loop is k student steps of `cfg.batch_size` images, and one of the generator.

    Raises ValueError for values that are none of these, sizes that the scales do not divide into equal HR images, and networks
    that cannot do what is asked: several scales or growth without `refine`.
    """
    m = cfg.method
    needs = fields.chosen('config.method.target', m.target, TARGETS) == 'teacher'
    fields.chosen('config.method.undrawn', m.undrawn, UNDRAWN)
    student = nets.student(cfg, **({'scales': list(parsed_scales(m.scales, cfg.scale))} if m.scales else {}))
    teacher = nets.teacher(cfg) if needs else None
    plan, generators = planned(cfg, student.module, teacher)
    trained = {'student': student, **generators}
    rules = {'student': optim.make(cfg.optimizer, m.student_steps * cfg.steps)}
    rules |= {name: optim.make(m.optimizer, cfg.steps) for name in generators}
    teach = steps.players(functools.partial(student_losses, plan), {'student': rules['student']}, ema_decay=cfg.ema_decay)
    invent = steps.players(functools.partial(generator_losses, plan), {name: rules[name] for name in generators})

    def init(key):
        variables = steps.first(key, trained)
        variables['student'] = plan.growth.begun(variables['student'])
        return steps.create(key, variables, rules, ('student',) if cfg.ema_decay else ())

    def step(state, frozen, batch, axis=None):
        keys, active = jax.random.split(state.key), plan.growth.active(state.step)
        params = {name: state.nets[name].params for name in generators}
        known = {'teacher': frozen.get('teacher'), 'generators': params, 'active': active if plan.growth.grows else None}
        fresh = plan.growth.renewed(state.nets['student'], state.step, rules['student'])
        taught = state._replace(key=keys[0], nets={'student': fresh})
        (net, ema), metrics = student_steps(plan, teach, taught, known, batch, axis)
        moved = {}
        if generators:
            rest = state._replace(key=keys[1], nets={name: state.nets[name] for name in generators}, ema={})
            moved, more = generator_step(plan, invent, rest, {**known, 'student': net.params}, batch, axis)
            metrics |= more
        return state._replace(step=state.step + 1, nets={'student': net, **moved}, ema=ema), metrics

    return Method(trained, {'teacher': teacher.variables} if teacher else {}, init, step)


def student_steps(plan, teach, state, known, batch, axis):
    """((student's net, ema), metrics) after the k student steps of one step of the loop."""
    k = plan.m.student_steps

    def one(carried, i):
        net, ema = carried
        alone = state._replace(step=k * state.step + i, nets={'student': net}, ema=ema)
        moved, metrics = teach(alone, known, batch, axis)
        return (plan.growth.kept(net, moved.nets['student'], plan.growth.active(state.step)), moved.ema), metrics

    after, metrics = jax.lax.scan(one, (state.nets['student'], state.ema), jnp.arange(k))
    rate = metrics['learning_rate/student'][-1]
    return after, {name: v.mean(0) for name, v in metrics.items()} | {'learning_rate/student': rate}


def generator_step(plan, invent, state, known, batch, axis):
    """({generator: net}, metrics) after one step of the generator whose scale is drawn; the others wait, or coast."""
    moved, found = invent(state, known, batch, axis)
    index = jax.random.randint(jax.random.fold_in(state.key, state.step), (), 0, len(plan.scales))
    accumulate = plan.m.optimizer.get('accumulate', 1)
    updates = (state.step + 1) // accumulate - state.step // accumulate
    after = {}
    for i, name in enumerate(plan.generators):
        moves = (index == i) | (plan.m.undrawn == 'coast')
        after[name] = after_round(moves, moved.nets[name], state.nets[name], updates)
    norm = sum(found[f'grad_norm/{name}'] for name in plan.generators)  # two of them are 0
    metrics = {k: v for k, v in found.items() if '/' not in k or k.startswith('learning_rate/')}
    return after, metrics | {'loss/generator': found[f'loss/generator_x{plan.scales[0]}'], 'grad_norm/generator': norm}


def student_losses(plan, params, ctx):
    """The student's distance to its aim, the teacher's image or the truth, on images drawn for this step."""
    x, _, _ = drawn(plan, ctx.frozen['generators'], ctx)
    aim = run(plan.teacher, ctx.frozen['teacher'], x) if plan.teacher else ctx.batch.hr
    sr = run(plan.student, {'params': params['student']}, x, ctx.frozen['active'])
    loss = total(plan, plan.distance(aim - sr), ctx)
    return {'student': loss}, ({}, {'distil': loss})


def generator_losses(plan, params, ctx):
    """L_GEN and L_R of the images drawn for this step."""
    m = plan.m
    x, frame, index = drawn(plan, params, ctx)
    t = run(plan.teacher, ctx.frozen['teacher'], x)
    s = run(plan.student, {'params': ctx.frozen['student']}, x, ctx.frozen['active'])

    def away(scale):
        side = m.size // scale
        return total(plan, plan.distance(unit(plan, reduce(t, scale, plan.border)) - frame[:, :side, :side]), ctx)

    adversarial = -jnp.log1p(ctx.mean(total(plan, plan.distance(t - s), ctx)))
    reconstruction = jax.lax.switch(index, [functools.partial(away, scale) for scale in plan.scales])
    loss = jnp.where(ctx.step < m.warmup, 0.0, m.w_adversarial) * adversarial + m.w_reconstruction * reconstruction
    return dict.fromkeys(plan.generators, loss), ({}, {'adversarial': adversarial, 'reconstruction': reconstruction})


def drawn(plan, params, ctx):
    """LR images of a scale drawn for this step: (what networks are given, LR at the corner of a frame, number of the scale)."""
    index = jax.random.randint(ctx.key, (), 0, len(plan.scales))
    keys, side = ctx.example_keys(), plan.size // min(plan.scales)

    def branch(s):
        lr = invented(plan, params, ctx, keys, s)
        more = side - lr.shape[1]
        shown = unit(plan, enlarge(lr, s, plan.border)) if plan.refines else lr
        return shown, jnp.pad(lr, ((0, 0), (0, more), (0, more), (0, 0)))

    return *jax.lax.switch(index, [functools.partial(branch, s) for s in plan.scales]), index


def invented(plan, params, ctx, keys, s):
    """LR images of scale `s`, one for each of `keys`."""
    if plan.images == 'data':
        return unit(plan, reduce(ctx.batch.hr, s, plan.border))
    if plan.images == 'noise':
        shape = (plan.size // s, plan.size // s, plan.student.channels)
        return jax.vmap(lambda key: jax.random.uniform(key, shape))(keys)
    z = jax.vmap(lambda key: jax.random.normal(key, (plan.m.latent,)))(keys)
    name = f'generator_x{s}'
    return plan.generators[name].apply({'params': params[name]}, z)[0]


def run(net, variables, x, active=None):
    """The image that a network makes of `x`, enlarged already if it refines."""
    return net.apply(variables, x, active=active, method='refine')[0] if hasattr(net, 'refine') else net.apply(variables, x)[0]


def unit(plan, x):
    """`x` clipped to [0, 1] and rounded as the plan says."""
    return plan.rounding(jnp.clip(x, 0, 1))


def total(plan, x, ctx):
    """The plan's reduction over the batch of all devices, as this device's share: its mean over devices is the whole."""
    whole = plan.reduction(x)
    return whole * jax.lax.psum(1, ctx.axis) if plan.m.reduction == 'sum' and ctx.axis else whole


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
