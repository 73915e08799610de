"""DUKD: output distillation, and the teacher's answers for data made of the batch: HR patches taken for LR, and LR reduced again.

Zhang et al., Data Upcycling Knowledge Distillation for Image Super-Resolution, arXiv 2309.14162. With s x s cells of an HR patch y,
each of the LR patch's size, p one of them, A a random change (kdsr.consistency), d the LR image x reduced by MATLAB's bicubic, and
all distances mean absolutes of images in [0, 1]:

    first    w_truth |S(x) - y| + w_teacher |S(x) - T(x)|
    second   w_teacher |T(p) - A^-1(S(A(p)))|  [zoom-in]  +  w_truth |S(d) - x| + w_teacher |S(d) - T(d)|  [zoom-out]

updates 'one' (default): one optimiser step by the sum. 'two', as released: a step by `first`, then, on the same batch, one by the
sum of both gradients, that of `first` from before its step, since the code does not clear it; two Adam steps a batch, then, where
papers compare by iterations.
"""

from kdsr import consistency, fields, models, nets, steps
from kdsr.losses import pixel
from kdsr.models import bicubic

DEFAULTS = {
    'w_truth': 1.0,
    'w_teacher': 1.0,
    'zoom_in': 1,
    'zoom_out': True,
    'probability': 0.3,
    'cells': 'example',
    'inverse': 'reversed',
    'updates': 'one',
}
RANGES = {'zoom_in': (0, 64), 'probability': (0, 1)}


def unread(cfg):
    """{field: why} of those that this choice does not read."""
    m = cfg.method
    none = {f'method.{name}': 'method.zoom_in=0 leaves zoom-in out' for name in ('cells', 'probability', 'inverse')}
    whole = {'method.inverse': 'method.probability=0.0 changes nothing'} if not m.probability else {}
    return none if not m.zoom_in else whole


def make(cfg):
    """Method of a config with `student`, `teacher` (an export) and the block `method`:

    w_truth, w_teacher: weights of ground truth and teacher (the paper's code: 5 or 1, and 1). zoom_in: cells of each HR patch; 0
    leaves zoom-in out. cells: drawn for each 'example', or one draw for the 'batch' (as released). probability: of each change of
    a cell. inverse: 'reversed', or 'same' as released (`consistency.restored`). zoom_out: whether LR is reduced again; the LR patch
    must divide by the scale. updates: 'one' or 'two' a batch.
    """
    m, s = cfg.method, cfg.scale
    for name, known in (('cells', ('example', 'batch')), ('inverse', consistency.ORDERS), ('updates', ('one', 'two'))):
        fields.chosen(f'config.method.{name}', m[name], known)
    if m.zoom_in > s * s:
        raise ValueError(f'config.method.zoom_in={m.zoom_in}: an HR patch has {s * s} cells at scale {s}')
    if m.zoom_out and cfg.patch % s:
        raise ValueError(f'config.method.zoom_out reduces patches again: config.patch={cfg.patch} must be a multiple of {s}')
    student, teacher = nets.student(cfg), nets.teacher(cfg)
    taught = lambda ctx, x: teacher.module.apply(ctx.frozen['teacher'], x)[0]

    def made(params, ctx, x):
        (sr, _), moved = models.train_apply(student.module, params['student'], ctx.vars['student'], x, axis=ctx.axis)
        return sr, moved

    def first(params, ctx):
        sr, moved = made(params, ctx, ctx.batch.lr)
        parts = {'truth': pixel.l1(sr, ctx.batch.hr), 'teacher': pixel.l1(sr, taught(ctx, ctx.batch.lr))}
        return {'student': m.w_truth * parts['truth'] + m.w_teacher * parts['teacher']}, ({'student': moved}, parts)

    def second(params, ctx):
        parts, loss = {}, 0.0
        if m.zoom_in:
            clean, which = consistency.cells(ctx, s, m.zoom_in, m.probability, shared=m.cells == 'batch')
            sr, _ = made(params, ctx, consistency.changed(clean, which))
            parts['zoom_in'] = pixel.l1(consistency.restored(sr, which, m.inverse), taught(ctx, clean))
            loss += m.w_teacher * parts['zoom_in']
        if m.zoom_out:
            small = bicubic.reduce(ctx.batch.lr, s)
            sr, _ = made(params, ctx, small)
            parts['zoom_out'] = m.w_truth * pixel.l1(sr, ctx.batch.lr) + m.w_teacher * pixel.l1(sr, taught(ctx, small))
            loss += parts['zoom_out']
        return {'student': loss}, ({}, parts)

    def both(params, ctx):
        (one, (moved, parts)), (two, (_, more)) = first(params, ctx), second(params, ctx)
        return {'student': one['student'] + two['student']}, (moved, parts | more)

    method = steps.method(cfg, both, {'student': student}, {'teacher': teacher.variables})
    return method if m.updates == 'one' else method._replace(step=steps.consecutive(cfg, first, second), losses=None)
