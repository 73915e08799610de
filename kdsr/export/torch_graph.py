"""A network as a function of PyTorch tensors: its jaxpr walked operation by operation, in the order of axes that PyTorch has.

It is what converters for phones read. Convolutions take the factors and terms of each channel that follow them (normalisation,
range of colours) into their weights, and the order of channels that PyTorch's pixel shuffle wants.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from kdsr.models import layers, norms

AXES = {0: 0, 1: 2, 2: 3, 3: 1}  # axis of NHWC -> of NCHW
TRACED = (24, 40)  # rows and columns; they divide by what networks fold, and tell their axes apart
INLINE = ('jit', 'pjit', 'custom_jvp_call', 'custom_vjp_call', 'custom_vjp_call_jaxpr', 'closed_call')
NAMED = ('prelu', 'leaky_relu', 'relu')
UNARY = {'neg': 'neg', 'tanh': 'tanh', 'exp': 'exp', 'logistic': 'sigmoid', 'sqrt': 'sqrt', 'abs': 'abs'}
BINARY = {'add': 'add', 'add_any': 'add', 'sub': 'sub', 'mul': 'mul', 'div': 'div', 'max': 'maximum', 'min': 'minimum'}


class Pending(NamedTuple):
    """A convolution that is not carried out yet. x: tensor; kernel `[h, w, I, O]` and bias `[O]`: numpy; the rest as jax has it.

    made: its result, once somebody needed it.
    """

    x: Any
    kernel: np.ndarray
    bias: np.ndarray
    strides: tuple
    padding: tuple
    groups: int
    made: list


class Parts(NamedTuple):
    """Of `layers.pixel_shuffle` and `layers.nearest` what lies between their first and last reshape. kind: which; r: the factor."""

    kind: str
    x: Any
    r: int


def function(module, variables):
    """`fn(x)` of PyTorch tensors `[B, C, h, w]` -> `[B, C', s*h, s*w]`, of any size that the network takes.

    Raises ValueError at the call where the network does something that has no counterpart here, such as a mean over the image,
    whose size would be fixed.
    """

    def prelu_by_name(call, args, kwargs, context):
        if not isinstance(context.module, norms.PReLU) or context.method_name != '__call__':
            return call(*args, **kwargs)
        named = lambda x, alpha: nn.relu(x) - alpha * nn.relu(-x)
        named.__name__ = 'prelu'
        return jax.jit(named)(*args, context.module.variables['params']['alpha'])

    with layers.plain(), nn.intercept_methods(prelu_by_name):
        lr = jax.ShapeDtypeStruct((1, *TRACED, module.channels), np.float32)
        weights = jax.tree.map(np.asarray, variables)
        program = jax.make_jaxpr(lambda x: module.apply(weights, x)[0])(lr)
    return lambda x: done(run(program.jaxpr, program.consts, x))


def run(jaxpr, consts, *inputs):
    """The result of `jaxpr` (one output): arrays that know nothing of the image are numpy, the image's are tensors."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*map(np.asarray, consts), *inputs), strict=True))
    value = lambda v: np.asarray(v.val) if hasattr(v, 'val') else known[v]
    for equation in jaxpr.eqns:
        known[equation.outvars[0]] = step(equation, [value(v) for v in equation.invars])
    return value(jaxpr.outvars[0])


def step(equation, inputs):
    """The value of one operation."""
    name, params = equation.primitive.name, equation.params
    shape = equation.invars[0].aval.shape if equation.invars else ()
    if name == 'broadcast_in_dim' and isinstance(inputs[0], np.ndarray):
        return widened(inputs[0], params)
    if name in INLINE:
        return inlined(params, inputs)
    if all(isinstance(x, np.ndarray) for x in inputs):
        return np.asarray(equation.primitive.bind(*inputs, **params))
    if name == 'conv_general_dilated':
        return convolution(inputs, params)
    if name in ('reshape', 'transpose', 'broadcast_in_dim'):
        return moved(name, inputs[0], params, shape)
    if name in BINARY:
        return combined(name, *inputs)
    if name in UNARY:
        return getattr(done(inputs[0]), UNARY[name])()
    if name == 'concatenate':
        import torch

        return torch.cat([done(x) for x in inputs], AXES[params['dimension']])
    if name == 'slice' and not params['strides']:
        return cut(done(inputs[0]), params['start_indices'], params['limit_indices'], shape)
    if name in ('convert_element_type', 'stop_gradient', 'copy', 'optimization_barrier'):
        return inputs[0]
    raise unable(name)


def unable(name):
    return ValueError(f"this network's operation '{name}' has no counterpart in files of free size: use --to=onnx or --to=tflite")


def widened(array, params):
    """broadcast_in_dim that keeps 1 for the axes that are new: the image's size must not get into an array."""
    kept = dict(zip(params['broadcast_dimensions'], array.shape, strict=True))
    return array.reshape([kept.get(axis, 1) for axis in range(len(params['shape']))])


def inlined(params, inputs):
    inner = next(params[key] for key in ('jaxpr', 'call_jaxpr', 'fun_jaxpr') if key in params)
    if params.get('name') in NAMED and not isinstance(inputs[0], np.ndarray):
        return activation(params['name'], done(inputs[0]), *inputs[1:])
    return run(getattr(inner, 'jaxpr', inner), getattr(inner, 'consts', ()), *inputs)


def activation(name, x, slope=None):
    from torch.nn import functional

    if name == 'relu':
        return functional.relu(x)
    if name == 'leaky_relu':
        return functional.leaky_relu(x, float(slope))
    return functional.prelu(x, tensor(slope.reshape(-1)))


def convolution(inputs, params):
    x, kernel = inputs
    plain = params['lhs_dilation'] == params['rhs_dilation'] == (1, 1) and params['batch_group_count'] == 1
    if params['dimension_numbers'].lhs_spec != (0, 3, 1, 2) or not plain or not isinstance(kernel, np.ndarray):
        raise unable('conv_general_dilated with dilation')
    strides, padding = params['window_strides'], tuple(map(tuple, params['padding']))
    return Pending(done(x), kernel, np.zeros(kernel.shape[-1], kernel.dtype), strides, padding, params['feature_group_count'], [])


def done(x, order=None):
    """`x` as a tensor; of a convolution with its outputs in `order`."""
    if isinstance(x, Parts):
        raise unable('reshape')
    if not isinstance(x, Pending):
        return x if order is None else x[:, order.tolist()]
    if order is not None:
        return convolved(x, x.kernel[..., order], x.bias[order])
    if not x.made:
        x.made.append(convolved(x, x.kernel, x.bias))
    return x.made[0]


def convolved(x, kernel, bias):
    from torch.nn import functional

    (top, bottom), (left, right) = x.padding
    image, padding = x.x, (top, left)
    if (top, left) != (bottom, right):
        image, padding = functional.pad(image, (left, right, top, bottom)), 0
    return functional.conv2d(image, tensor(kernel.transpose(3, 2, 0, 1)), tensor(bias), x.strides, padding, 1, x.groups)


def combined(name, a, b):
    """a + b, a * b and their like; what each channel has of its own goes into the weights of the convolution before."""
    each = lambda x: isinstance(x, np.ndarray) and x.ndim > 0 and x.size == x.shape[-1] > 1
    if name in ('add', 'mul') and each(a):
        a, b = b, a
    if isinstance(a, Pending) and each(b) and name in ('add', 'mul'):
        # not one factor for all, such as 1/255: the weights might become too small for 16 bits
        factor = b.reshape(-1)
        kernel = a.kernel if name == 'add' else a.kernel * factor
        return a._replace(kernel=kernel, bias=a.bias + factor if name == 'add' else a.bias * factor, made=[])
    import torch

    return getattr(torch, BINARY[name])(operand(a), operand(b))


def operand(x):
    """A tensor that another can be combined with: an array of channels `[..., C]` as `[1, C, 1, 1]`."""
    if not isinstance(x, np.ndarray):
        return done(x)
    if x.size == 1:
        return float(x.reshape(()))
    if x.ndim == 4:
        return tensor(x.transpose(0, 3, 1, 2))
    if x.ndim > 1:
        raise unable(f'an array of {x.ndim} axes')
    return tensor(x.reshape(1, -1, 1, 1))


def tensor(array):
    import torch

    return torch.tensor(np.ascontiguousarray(array, np.float32))


def moved(name, x, params, shape):
    """reshape, transpose and broadcast_in_dim, as far as they are those of `layers.pixel_shuffle` and `layers.nearest`."""
    from torch.nn import functional

    if name == 'transpose' and isinstance(x, Parts) and x.kind == 'shuffle' and params['permutation'] == (0, 2, 1, 3):
        return x._replace(kind='shuffled')
    if name == 'broadcast_in_dim':
        b, h, w, c = shape if len(shape) == 4 else (0, 0, 0, 0)
        if isinstance(x, Parts) and x.kind == 'apart':
            return x._replace(kind='repeated', r=params['shape'][2])
        if params['shape'] == (b, h, 1, w, 1, c):
            return Parts('apart', done(x), 1)
    if name == 'reshape':
        new = params['new_sizes']
        if isinstance(x, Parts) and x.kind == 'shuffled':
            return functional.pixel_shuffle(done(x.x, shuffled(x.r, new[-1])), x.r)
        if isinstance(x, Parts) and x.kind == 'repeated':
            return functional.interpolate(x.x, scale_factor=x.r, mode='nearest')
        if len(shape) == len(new) == 4 and new[:2] == (shape[0] * shape[1], shape[2]):
            return Parts('shuffle', x, new[2])
        if len(shape) == 4 and new == shape:
            return x
    raise unable(name)


def shuffled(r, channels):
    """Number in the house's order, (dy*r + dx)*C + c, of each channel in PyTorch's, c*r*r + dy*r + dx."""
    return np.arange(r * r * channels).reshape(r * r, channels).T.reshape(-1)


def cut(x, starts, limits, shape):
    """A slice; what is cut off at the end is counted from there, since the image may have another size."""
    for axis, (start, limit, size) in enumerate(zip(starts, limits, shape, strict=True)):
        if (start, limit) != (0, size):
            end = limit if axis == 3 or limit <= size // 2 else (limit - size or None)
            x = x[tuple(slice(start, end) if AXES[axis] == i else slice(None) for i in range(4))]
    return x
