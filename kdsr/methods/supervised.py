"""Supervised training: the student learns from the ground truth alone. Teachers are made this way."""

from kdsr import fields, models, nets, steps
from kdsr.data import sharpening
from kdsr.losses import pixel

DEFAULTS = {'loss': 'l1', 'sharpen': False}


def make(cfg):
    """Method of a config with `student` and method.loss: 'l1' (EDSR, RCAN, SAN), 'l2' or 'charbonnier'.

    sharpen: the target is the sharpened HR image, as Real-ESRNet has it.
    """
    student, distance = nets.student(cfg), fields.chosen('config.method.loss', cfg.method.loss, pixel.KINDS, own=True)

    def losses(params, ctx):
        (sr, _), moved = models.train_apply(student.module, params['student'], ctx.vars['student'], ctx.batch.lr, axis=ctx.axis)
        loss = distance(sr, sharpening.sharpened_batch(ctx.batch.hr) if cfg.method.sharpen else ctx.batch.hr)
        return {'student': loss}, ({'student': moved}, {cfg.method.loss: loss})

    return steps.method(cfg, losses, {'student': student})
