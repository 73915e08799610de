"""PISR: the teacher is a network of the student's own size that was shown the truth.

Lee et al., Learning with Privileged Information for Efficient Image Super-Resolution, ECCV 2020. An encoder E makes an LR-sized
image of the truth y, a decoder of the student's architecture makes y of that again; then the student, from the decoder's weights,
sees the LR image x alone, and tells the decoder's features f_T by its own:

    role teacher   |S(E(y)) - y| + w_imitation |E(y) - x|
    role student   |S(x) - y| + w_information NLL(f_T(E(y)); mean(f_S(x)), spread(f_S(x)))      (kdsr.losses.information)

Two stages of a config: the second has student_init and teacher 'stage:teacher/student' and method.encoder 'stage:teacher/encoder'.
"""

import jax

from kdsr import fields, models, nets, steps
from kdsr.losses import information, pixel
from kdsr.models import exports
from kdsr.taps import paired, quarters

ROLES = ('teacher', 'student')
DEFAULTS = {
    'role': 'teacher',
    'w_imitation': 1e-4,
    'encoder_optimizer': {},
    'encoder': '',
    'tap': '',
    'law': 'laplace',
    'w_information': 1e-6,
    'adapt_optimizer': {},
}


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    teaching = cfg.method.role == 'teacher'
    names = ('encoder', 'tap', 'law', 'w_information', 'adapt_optimizer') if teaching else ('w_imitation', 'encoder_optimizer')
    return {f'method.{name}': f"method.role='{cfg.method.role}' does not read it" for name in names}


def make(cfg):
    """Method of a config with `student`, for the role student `teacher` (the decoder's export), and the block `method`:

    role: 'teacher' trains decoder (as `student`) and encoder, 'student' the student. w_imitation, w_information: weights of images
    in [0, 1] as published. encoder: its export. tap: feature of both networks, '' the last that `taps.quarters` gives. law:
    'laplace', or 'gaussian'. encoder_optimizer, adapt_optimizer: of the encoder and of what tells the features, {} for
    `cfg.optimizer`.
    """
    return {'teacher': privileged, 'student': informed}[fields.chosen('config.method.role', cfg.method.role, ROLES)](cfg)


def privileged(cfg):
    """The Method of the first stage."""
    decoder = nets.student(cfg)
    args = {'scale': cfg.scale, 'channels': decoder.module.channels}
    encoder = nets.trained('privileged_encoder', args, cfg, 'config.method.role')

    def losses(params, ctx):
        code, _ = encoder.module.apply({'params': params['encoder']}, ctx.batch.hr)
        (sr, _), moved = models.train_apply(decoder.module, params['student'], ctx.vars['student'], code, axis=ctx.axis)
        parts = {'truth': pixel.l1(sr, ctx.batch.hr), 'imitation': pixel.l1(code, ctx.batch.lr)}
        loss = parts['truth'] + cfg.method.w_imitation * parts['imitation']
        return {'student': loss, 'encoder': loss}, ({'student': moved}, parts)

    return steps.method(cfg, losses, {'student': decoder, 'encoder': encoder})


def informed(cfg):
    """The Method of the second stage."""
    m, student, teacher = cfg.method, nets.student(cfg), nets.teacher(cfg)
    fields.chosen('config.method.law', m.law, information.SCALES)
    ours, theirs = (student.name, student.module), (teacher.card['model'], teacher.module)
    pairs = paired(m.tap or quarters(*ours)[-1], ours, theirs)
    ((narrow, wide),) = pairs.widths
    if narrow != wide:
        raise ValueError(
            f"config.teacher must be a network such as the student: of '{pairs.names[0][0]}' one has {narrow} channels, one {wide}"
        )
    teller = nets.trained('privileged_estimator', {'width': pairs.widths[0][0]}, cfg, 'config.method.tap', exported=False)
    encoder, code_variables = encoded(cfg)

    def losses(params, ctx):
        (sr, taps), moved = models.train_apply(student.module, params['student'], ctx.vars['student'], ctx.batch.lr, axis=ctx.axis)
        code, _ = encoder.apply(ctx.frozen['encoder'], ctx.batch.hr)
        seen = pairs.teacher(teacher.module.apply(ctx.frozen['teacher'], code)[1])[0]
        (mean, spread), _ = teller.module.apply({'params': params['adapt']}, pairs.student(taps)[0])
        parts = {'truth': pixel.l1(sr, ctx.batch.hr)}
        parts['information'] = information.negative_log_likelihood(jax.lax.stop_gradient(seen), mean, spread, law=m.law)
        loss = parts['truth'] + m.w_information * parts['information']
        return dict.fromkeys(('student', 'adapt'), loss), ({'student': moved}, parts)

    frozen = {'teacher': teacher.variables, 'encoder': code_variables}
    return steps.method(cfg, losses, {'student': student, 'adapt': teller}, frozen)


def encoded(cfg):
    """(the encoder's module, its variables) of the export `encoder`; ValueError, FileNotFoundError where it is none."""
    m = cfg.method
    try:
        if not m.encoder:
            raise ValueError("it is empty: set the encoder of the first stage, 'stage:teacher/encoder' or RUN/export/encoder")
        card, variables = exports.read(m.encoder)
        if card['model'] != 'privileged_encoder':
            raise ValueError(f'{m.encoder} is a {card["model"]}, no encoder')
        args = {k: v for k, v in card['args'].items() if k != 'dtype'}
        return models.build_in(cfg.dtype, card['model'], **args), variables
    except (FileNotFoundError, ValueError) as e:
        raise type(e)(f'config.method.encoder: {e}') from e
