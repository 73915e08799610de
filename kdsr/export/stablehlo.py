"""StableHLO by jax.export: a program with its weights that JAX on any machine runs without kdsr."""

import contextlib
import functools

import jax
import numpy as np
from jax import export, lax

from kdsr.export import jobs, program

PLATFORMS = ('cpu', 'cuda', 'tpu')


def plan(made, options):
    """The one job. `options` are not needed."""
    jobs.need('flatbuffers', '`pip install flatbuffers` brings it')
    return [jobs.Job(f'{made.name}.stablehlo', functools.partial(write, made), ('flatbuffers',), program.TOLERANCE)]


def write(made, path):
    """Writes a function, traced on CPU, `lr [b, h, w, C] -> sr [b, s*h, s*w, C]` of free sizes, or of `[1, rows, columns, C]`."""
    white, c = made.white or 1, made.channels
    here, elsewhere = made.forward(white, form=contextlib.nullcontext), made.forward(white)
    # The file has both forms and the weights once: what XLA leaves to the caller on CPU makes a student 10 times faster there.
    fn = lambda lr: lax.platform_dependent(made.weights, lr, cpu=here, default=elsewhere)
    shape = export.symbolic_shape(f'b, h, w, {c}') if made.dynamic else (1, *made.size, c)
    exported = export.export(jax.jit(fn), platforms=PLATFORMS)(jax.ShapeDtypeStruct(shape, np.float32))
    path.write_bytes(exported.serialize())
    read = export.deserialize(bytearray(path.read_bytes()))
    checked = lambda fn, tried: program.difference(
        made, tried, lambda lr: np.asarray(fn(lr * np.float32(white))) / np.float32(white)
    )
    call, other = jax.jit(read.call), jax.jit(functools.partial(elsewhere, made.weights))
    return {
        'checks': [
            *({'platform': 'cpu', **checked(call, tried)} for tried in made.shapes),
            {'platform': 'the form for others, on cpu', **checked(other, made.shapes[0])},
        ],
        'input': jobs.signature('lr', readable(read.in_avals[0].shape), white),
        'output': jobs.signature('sr', readable(read.out_avals[0].shape), white),
        'platforms': list(read.platforms),
        'calling convention': read.calling_convention_version,
        'durability': 'JAX promises to read such a file for 6 months; keep the kdsr export to make it again',
        'read': [
            'import jax',
            'from jax import export  # needs flatbuffers, not kdsr',
            f"upscale = export.deserialize(bytearray(open('{made.name}.stablehlo', 'rb').read())).call",
            f'sr = jax.jit(upscale)(lr)  # float32, 0 ... {white:g}',
        ],
    }


def readable(shape):
    """A shape as JSON takes it: numbers, and the names or formulas of free sizes."""
    return [side if isinstance(side, int) else str(side) for side in shape]
