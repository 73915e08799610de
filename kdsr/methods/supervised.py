"""Supervised training: the student learns from the ground truth alone. Teachers are made this way."""

from kdsr import models, optim, steps
from kdsr.losses import pixel
from kdsr.types import Method

DEFAULTS = {'loss': 'l1'}


def make(cfg):
    """Method of a config with `student`, `optimizer` and method.loss: 'l1' (EDSR, RCAN, SAN), 'l2' or 'charbonnier'."""
    student = models.build_block(cfg.student, cfg)
    distances = {'l1': pixel.l1, 'l2': pixel.l2, 'charbonnier': pixel.charbonnier}
    distance = distances.get(cfg.method.loss)
    if distance is None:
        raise ValueError(f"config.method.loss='{cfg.method.loss}' is none of {', '.join(distances)}")
    optimisers = {'student': optim.make(cfg.optimizer, cfg.steps)}
    ema = ('student',) if cfg.ema_decay else ()

    def losses(params, ctx):
        (sr, _), variables = models.train_apply(student, params['student'], ctx.vars['student'], ctx.batch.lr, ctx.axis)
        loss = distance(sr, ctx.batch.hr)
        return {'student': loss}, ({'student': variables}, {cfg.method.loss: loss})

    def init(key, batch):
        return steps.create(key, {'student': models.start(student, cfg, key, batch.lr[:1, :16, :16])}, optimisers, ema)

    return Method(lambda: {}, init, steps.players(losses, optimisers, ema_decay=cfg.ema_decay))
