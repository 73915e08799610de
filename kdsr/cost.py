"""What a network costs: parameters, multiply-adds, milliseconds."""

import statistics
import time

import jax
import numpy as np
from jax.extend import core

from kdsr import models


def parameters(variables):
    """Number of trainable parameters."""
    return sum(int(x.size) for x in jax.tree.leaves(variables['params']))


def macs(fn, *args):
    """Multiply-adds of `fn(*args)`: {'conv': ..., 'dot': ...}, counted in its jaxpr; `args` may be shapes.

    Loops count as often as they run, of branches all; what no result depends on does not count, as no compiler keeps it.
    Published "FLOPs" of SR networks are usually the convolutions' multiply-adds alone.
    """
    counts = {'conv': 0, 'dot': 0}
    jaxpr = jax.make_jaxpr(fn)(*args).jaxpr
    _count(jaxpr, {v for v in jaxpr.outvars if not isinstance(v, core.Literal)}, 1, counts)
    return counts


def _count(jaxpr, live, times, counts):
    """Adds what the equations of `jaxpr` cost that lead to the variables `live`, `times` times."""
    for eqn in reversed(jaxpr.eqns):
        wanted = [v in live for v in eqn.outvars]
        if not any(wanted) and not eqn.effects:
            continue
        live |= {v for v in eqn.invars if not isinstance(v, core.Literal)}
        shapes = [v.aval.shape for v in eqn.invars if hasattr(v.aval, 'shape')]
        out = eqn.outvars[0].aval.shape if eqn.outvars else ()
        if eqn.primitive.name == 'conv_general_dilated':
            spec = eqn.params['dimension_numbers'].rhs_spec
            kernel = shapes[1]
            per_output = int(np.prod(kernel)) // kernel[spec[0]]
            counts['conv'] += times * int(np.prod(out)) * per_output
        elif eqn.primitive.name == 'dot_general':
            contracted = eqn.params['dimension_numbers'][0][0]
            counts['dot'] += times * int(np.prod(out)) * int(np.prod([shapes[0][i] for i in contracted]))
        loops = eqn.params.get('length', 1) if eqn.primitive.name == 'scan' else 1
        for inner in _inner(eqn.params):
            # a call or branch gives what its program gives, one to one; a loop may want for itself what nobody else does
            same = len(inner.outvars) == len(wanted) and eqn.primitive.name not in ('scan', 'while')
            outs = [v for v, w in zip(inner.outvars, wanted, strict=True) if w] if same else inner.outvars
            _count(inner, {v for v in outs if not isinstance(v, core.Literal)}, times * loops, counts)


def _inner(params):
    """The jaxprs an equation holds; of a custom derivative only the primal program."""
    for key, value in params.items():
        if key in ('jvp_jaxpr_fun', 'fwd_jaxpr_thunk', 'bwd'):
            continue
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item


def milliseconds(fn, *args, repeats=5):
    """Median wall time of `fn(*args)` after one call that compiles."""
    jax.block_until_ready(fn(*args))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(fn(*args))
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def summary(upscaler, shape=(1, 120, 160)):
    """{'parameters', 'gmacs', 'ms'} of an Upscaler on LR images of `shape` = (B, h, w), in as many channels as it has.

    One that takes images of one size alone is measured on those.
    """
    shape = (shape[0], *(models.only_size(upscaler.module) or shape[1:]), upscaler.module.channels)
    lr = np.full(shape, 0.5, np.float32)
    counted = macs(lambda x: upscaler.module.apply(upscaler.variables, x)[0], lr)
    return {
        'parameters': parameters(upscaler.variables),
        'gmacs': (counted['conv'] + counted['dot']) / 1e9,
        'ms': milliseconds(upscaler, lr),
        'lr_shape': list(shape),
    }
