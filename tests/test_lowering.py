"""What a CPU can prove of GPU and TPU: every method's step lowers for both, as they want it, and what it moves between devices."""

import collections
import functools
import re

import jax
import numpy as np
import pytest
import tiny
from jax.extend import core

from kdsr import methods
from kdsr.models import layers
from kdsr.types import Batch

QUICK = ('fakd', 'gan2g_al', 'csd')
OTHERS = [name for name in tiny.CONFIGS if name not in QUICK]
NAMES = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    path = tmp_path_factory.mktemp('lowering')
    tiny.room(path)
    tiny.informed(path)
    return path


@functools.cache
def built(name, dtype, room):
    """(method, shapes of its state, a batch for one device)."""
    cfg = tiny.CONFIGS[name](room)
    cfg.dtype = dtype
    method = methods.make(cfg)
    batch = Batch(*(jax.ShapeDtypeStruct((8, size, size, 3), np.float32) for size in (16, 32)))
    return method, jax.eval_shape(method.init, jax.random.key(0)), batch


def convolutions(text):
    """[(dimensions of the kernel, of the result, type)] of the convolutions in StableHLO."""
    found = re.findall(r'stablehlo\.convolution\(.*?: \(tensor<[^>]*>, tensor<([^>]*)>\) -> tensor<([^>]*)>', text)
    assert len(found) == text.count('stablehlo.convolution(')
    return [(kernel.split('x')[:-1], out.split('x')[:-1], out.split('x')[-1]) for kernel, out in found]


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('name', NAMES)
def test_a_step_lowers_for_gpu_and_tpu(name, dtype, room):
    """No call of a library, no host, no float64; all that is read of the state is donated; in bfloat16 all but adapters is."""
    method, state, batch = built(name, dtype, room)
    with layers.plain():
        traced = jax.jit(method.step, donate_argnums=0, keep_unused=True).trace(state, method.frozen, batch)
    for platform in ('cuda', 'tpu'):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert not re.search(r'custom_call|infeed|outfeed|stablehlo\.(send|recv)|f64', text), platform
        assert text.count('tf.aliasing_output') + text.count('jax.buffer_donor') == len(jax.tree.leaves(state)), platform
        kinds = collections.Counter(kind for *_, kind in convolutions(text))
        assert kinds, platform
        if dtype == 'float32':
            assert set(kinds) == {'f32'}, platform
        else:
            # adapters are 1x1, the kernel or, where it is the kernel's gradient, the result
            wide = [of for *of, kind in convolutions(text) if kind != 'bf16' and max(x.count('1') for x in of) < 2]
            assert not wide and kinds['bf16'], (platform, wide)


def moved(jaxpr, found):
    """{collective: bytes that one device gives into it} of a jaxpr and what it holds."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name.startswith(('psum', 'pmax', 'pmin', 'all_gather', 'all_to_all', 'ppermute', 'reduce_scatter')):
            found[eqn.primitive.name] += sum(v.aval.size * v.aval.dtype.itemsize for v in eqn.invars)
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if isinstance(inner, core.ClosedJaxpr | core.Jaxpr):
                    moved(getattr(inner, 'jaxpr', inner), found)
    return found


@pytest.mark.parametrize('name', NAMES)
def test_a_step_moves_its_gradients_once_and_little_else(name, room):
    """The sums are of every trained parameter once an update, of batch statistics, and of a few numbers for losses and logs."""
    method, state, batch = built(name, 'float32', room)
    step = functools.partial(method.step, axis='data')
    with layers.plain():
        found = moved(jax.make_jaxpr(step, axis_env=[('data', 8)])(state, method.frozen, batch).jaxpr, collections.Counter())
    size = lambda tree: sum(4 * x.size for x in jax.tree.leaves(tree))
    params = size([net.params for net in state.nets.values()])
    statistics = size([net.vars for net in state.nets.values()])
    updates = 2 if name == 'dukd_two' else 1
    # batch norm: mean and variance, forward and backward, of each of a critic's looks
    assert updates * params <= found.pop('psum') <= updates * params + 12 * statistics + 400
    # affinities between all images of a batch, and worse images for all of it, are what needs others' examples
    gathers = {'all_gather', 'reduce_scatter'} if name in ('fakd', 'together') else {'all_gather'} if name == 'csd' else set()
    assert set(found) == gathers
