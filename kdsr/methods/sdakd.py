"""SDAKD: a narrow student learns in three stages, the last against a discriminator as narrow as itself.

After Kaparinos & Mezaris, SDAKD: Student Discriminator Assisted Knowledge Distillation for Super-Resolution GANs, arXiv 2510.03870,
2025; stages as published, hyper-parameters ours. With s = S(x) the student's image, y the ground truth, F the features at a pair of
taps, M an MLP of two 1x1 convolutions and sigma the deviation of the teacher's features:

    1 supervised    L_sup(s, y)                            the terms of the network's own training but for the game
    2 features      L_sup + w_features L_fm                the critic learns from s, and nothing comes back (w_adv 0)
    3 adversarial   L_sup + w_features L_fm + w_adv G(D(y), D(s)),      D: D(D(y), D(s)) + R1

    L_fm = mean over taps of mean ((M(F_S) - F_T) / sigma)^2

This file is one stage, and its block `method` a row of the table of stages: which terms, and whose critic. Networks go from stage
to stage by `carry` (experiments/sdakd.py).
"""

import jax.numpy as jnp

from kdsr import critics, fields, models, nets, sights, steps
from kdsr.losses import features as distances
from kdsr.taps import paired, quarters

# critic -> what it is: its field, None where there is none
CRITICS = {
    'none': None,
    'student': 'discriminator',  # fresh, of the student's width
    'wide': 'wide',  # fresh, of the teacher's
    'teacher_tuned': 'teacher_disc',  # the teacher's, which goes on learning
    'teacher_frozen': 'teacher_disc',  # the teacher's, as it is
}
SIGMAS = ('batch', 'one')
DEFAULTS = {
    **critics.TRUTH,
    'pixel': 'l1',
    'w_pixel': 1.0,
    'pixel_range': 1.0,
    'w_features': 1.0,
    'taps': '',
    'sigma': 'batch',
    'adapt_optimizer': {},
    'critic': 'student',
    'adversarial': 'vanilla',
    'w_adv': 0.1,
    'r1': critics.R1,
    **dict.fromkeys(('discriminator', 'wide'), {}),
    'teacher_disc': '',
    'disc_optimizer': {},
    'scales': '',
}
RANGES = critics.RANGES


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m, found = cfg.method, critics.truth_unread(cfg.method) | critics.r1_unread(cfg.method)
    own = fields.chosen('config.method.critic', m.critic, CRITICS)
    others = {'discriminator', 'wide', 'teacher_disc'} - {own}
    others |= {'adversarial', 'w_adv', 'r1', 'disc_optimizer'} if not own else set()
    others |= {'r1', 'disc_optimizer'} if m.critic == 'teacher_frozen' else set()
    found |= {f'method.{name}': f"method.critic='{m.critic}' does not read it" for name in others}
    if not m.w_features:
        names = ('taps', 'sigma', 'adapt_optimizer')
        found |= {f'method.{name}': f'method.w_features={m.w_features} leaves the features out' for name in names}
    return found


def deviation(features, ctx):
    """The standard deviation of a tap over the whole batch, all positions and channels; a constant tap counts as 1e-6."""
    mean = ctx.mean(features.mean())
    return jnp.sqrt(jnp.maximum(ctx.mean(jnp.square(features - mean).mean()), 1e-12))


def judge(cfg):
    """(the critic to train, or None; a frozen one, or None; variables of the frozen one)."""
    kind, m = cfg.method.critic, cfg.method
    own = fields.chosen('config.method.critic', kind, CRITICS)
    if own != 'teacher_disc':
        return (critics.critic(cfg, block=own) if own else None), None, {}
    if kind == 'teacher_frozen' and not m.w_adv:
        raise ValueError("config.method.w_adv=0 with critic='teacher_frozen' does nothing: use critic='none'")
    net, variables = critics.exported(cfg, own)
    return (net, None, {}) if kind == 'teacher_tuned' else (None, net, variables)


def make(cfg):
    """Method of one stage of a config with `student`, `teacher` (an export, for w_features) and the block `method`:

    w_pixel, pixel, pixel_range, content, sharpen: L_sup, as in kdsr.methods.gan. w_features: weight of L_fm, 0: none. taps:
    'student:teacher,...', '' = four equally spaced ones (kdsr.taps.quarters). sigma: 'batch', or 'one' for plain squares.
    critic: 'student' and 'wide' (new ones, of the blocks `discriminator` and `wide`), 'teacher_tuned' and 'teacher_frozen' (the
    export `teacher_disc`), 'none'. w_adv, adversarial: weight and kind of the game; with w_adv 0 the critic learns and the student
    does not hear of it. r1, disc_optimizer, adapt_optimizer, scales: as in kdsr.methods.gan and fakd.
    """
    m = cfg.method
    play = fields.chosen('config.method.adversarial', m.adversarial, critics.GAMES, own=True)
    fields.chosen('config.method.sigma', m.sigma, SIGMAS)
    supervise, features = critics.truth(m, cfg.dtype)
    student, (disc, still, still_variables) = nets.student(cfg), judge(cfg)
    teacher = nets.teacher(cfg) if m.w_features else None
    frozen = {'features': features, 'disc': still_variables}
    trained = {'student': student}
    if teacher:
        pairs = paired(m.taps, (student.name, student.module), (teacher.card['model'], teacher.module), quarters)
        trained['adapt'] = pairs.adapter(cfg, layers=2)
        frozen['teacher'] = teacher.variables
    trained |= {'disc': disc} if disc else {}  # last: the others begin alike with and without it

    see, frozen['sight'] = sights.of(cfg, student.module, *([teacher.module] if teacher else []))

    def matched(params, ctx, taps, inputs, named):
        _, theirs = teacher.module.apply(ctx.frozen['teacher'], *inputs, **named)
        ours, _ = trained['adapt'].module.apply({'params': params['adapt']}, pairs.student(taps))
        sigma = (lambda tap: deviation(tap, ctx)) if m.sigma == 'batch' else lambda tap: 1.0
        both = list(zip(ours, pairs.teacher(theirs), strict=True))
        return sum(distances.scaled(a, b, deviation=sigma(b)) for a, b in both) / len(both)

    def losses(params, ctx):
        (inputs, named), hr = see(ctx), ctx.batch.hr
        (sr, taps), moved = models.train_apply(
            student.module, params['student'], ctx.vars['student'], *inputs, axis=ctx.axis, **named
        )
        (loss, parts), moved, game = supervise(ctx, sr), {'student': moved}, None
        if teacher:
            parts['features'] = matched(params, ctx, taps, inputs, named)
            loss += m.w_features * parts['features']
        if disc:
            game = critics.played(m, play, disc, params, ctx, hr, sr)
            moved['disc'] = game.moved
        elif still:
            game = critics.shown(play, still, ctx.frozen['disc'], ctx, hr, sr)
        if game:
            parts |= game.seen | {'adversarial': game.fool}
            loss = loss + m.w_adv * game.fool if m.w_adv else loss
        return dict.fromkeys(trained, loss) | ({'disc': game.against} if disc else {}), (moved, parts)

    return steps.method(cfg, losses, trained, frozen)
