"""A throw-away method for test_players: two players and an adapter, and a critic that looks at features too."""

import jax
import jax.numpy as jnp

from kdsr import critics, models, nets, steps
from kdsr.losses import pixel
from kdsr.taps import paired

DEFAULTS = {'w_adv': 1e-2, 'taps': 'head,body', 'discriminator': {}, 'disc_init': '', 'disc_optimizer': {}}


def make(cfg):
    """A conditional student learns a teacher's image and features, against a critic of the teacher's images."""
    m, student, teacher = cfg.method, nets.student(cfg), nets.teacher(cfg)
    pairs = paired(m.taps, (student.name, student.module), (teacher.card['model'], teacher.module))
    trained = {'student': student, 'adapt': pairs.adapter(cfg), 'disc': critics.critic(cfg, m.disc_init)}
    adapt, disc = trained['adapt'].module, trained['disc'].module

    def losses(params, ctx):
        strength = jax.vmap(lambda key: jax.random.uniform(key, (), minval=0.5, maxval=1.5))(ctx.example_keys())
        inputs, variables = (ctx.batch.lr, strength), ctx.vars['student']
        (sr, ours), moved = models.train_apply(student.module, params['student'], variables, *inputs, axis=ctx.axis)
        tr, theirs = teacher.module.apply(ctx.frozen['teacher'], ctx.batch.lr)
        brought, _ = adapt.apply({'params': params['adapt']}, pairs.student(ours))
        real, fake, judged = critics.judged(disc, params['disc'], ctx.vars['disc'], tr, sr, ctx.axis)
        fool, against = critics.GAMES['vanilla'](real, fake, ctx)
        features = sum(jnp.square(a - b).mean() for a, b in zip(brought, pairs.teacher(theirs), strict=True))
        parts = {'distil': pixel.l1(sr, tr), 'features': features, 'fool': fool}
        loss = parts['distil'] + parts['features'] + m.w_adv * fool
        return {'student': loss, 'adapt': loss, 'disc': against}, ({'student': moved, 'disc': judged}, parts)

    return steps.method(cfg, losses, trained, {'teacher': teacher.variables})
