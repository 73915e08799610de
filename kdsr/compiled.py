"""`jit` with the fast CPU convolutions: a leaf that every room may import."""

import functools

import jax
from absl import logging

# XLA:CPU sends convolutions to a library that uses one core and is 4x slower in the weight gradient. This option keeps that
# library for plain matrix products only; convolutions go to the threaded implementation (2.2x on a training step, same numbers).
CPU_OPTIONS = {'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT'}
# The same for a whole process, read from XLA_FLAGS when jax starts: for the cases where no option can be passed.
CPU_FLAG = '--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION'


@functools.cache
def options():
    """`compiler_options` for `jax.jit` on this backend: {} off CPU, or where this jaxlib does not know the option."""
    if jax.default_backend() != 'cpu':
        return {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=CPU_OPTIONS)(0).block_until_ready()
    except Exception as e:  # the class differs between jaxlib versions; the remedy does not
        logging.info('this jaxlib does not take %s (%s): convolutions on CPU are slower', CPU_OPTIONS, type(e).__name__)
        return {}
    return CPU_OPTIONS


def jit(fn, **kwargs):
    """`jax.jit(fn, **kwargs)` with `options()`. Same numbers, faster convolutions on CPU."""
    # The lambda matters: jit copies a wrapped function's `lower` attribute and would show the program without the options.
    return jax.jit(lambda *args: fn(*args), compiler_options=options() or None, **kwargs)


@functools.cache
def _spent():
    """[seconds spent on compiling], kept up to date from the first call on."""
    spent = [0.0]

    def listen(event, seconds, **_):
        if event.endswith(('/backend_compile_duration', '/jaxpr_to_mlir_module_duration')):
            spent[0] += seconds

    jax.monitoring.register_event_duration_secs_listener(listen)
    return spent


def seconds():
    """Seconds that this process spent on compiling since the first call: the difference of two calls tells what is between."""
    return _spent()[0]
