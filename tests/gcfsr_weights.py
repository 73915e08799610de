"""State dicts of GCFSR and its discriminator under the names of the released code, at any width, with numbers that repeat."""

import numpy as np


def wave(shape, seed):
    """Numbers in [-0.5, 0.5) that any program can make again."""
    return (np.sin(np.arange(np.prod(shape)) * 12.9898 + seed * 78.233) * 43758.5453 % 1 - 0.5).reshape(shape)


def width(side, narrow):
    return int(min(512, 32768 // side) * narrow)


def generator(size, narrow, style):
    """{name: shape} of `GCFSR(size, style, narrow)`, the first dense layer as wide as its input."""
    shapes, sides = {}, [size >> i for i in range(size.bit_length() - 4)]
    w = {side: width(side, narrow) for side in (*sides, 8, 4)}
    layer = lambda name, o, i, bias, k=3: shapes.update({f'{name}.weight': (o, i, k, k), bias: (o,)})
    dense = lambda name, o, i: shapes.update({f'{name}.weight': (o, i), f'{name}.bias': (o,)})

    def modulated(name, o, i, k=3):
        shapes[f'{name}.modulated_conv.weight'] = (1, o, i, k, k)
        dense(f'{name}.modulated_conv.modulation', i, style)

    def styled(name, o, i):
        modulated(name, o, i)
        shapes.update({f'{name}.weight': (1,), f'{name}.activate.bias': (o,)})

    def image(name, i):
        modulated(name, 3, i, 1)
        shapes[f'{name}.bias'] = (1, 3, 1, 1)

    layer('conv_body_first.0', w[size], 3, 'conv_body_first.1.bias')
    for n, (wide, side) in enumerate(zip(sides, sides[1:], strict=False)):
        layer(f'conv_body_down.{n}.1', w[side], w[wide], f'conv_body_down.{n}.2.bias')
    layer('final_conv.0', w[16], w[16], 'final_conv.1.bias')
    layer('final_down1.1', w[8], w[16], 'final_down1.2.bias')
    layer('final_down2.1', w[4] // 2, w[8], 'final_down2.2.bias')
    dense('final_linear', style * 2 * len(sides), 16 * (w[4] // 2))
    for n, side in enumerate(sides):
        dense(f'condition_scale1.{n}', w[side], 1)
        dense(f'condition_scale2.{n}', w[side], 1)
        layer(f'condition_shift.{n}.0', w[side], w[side], f'condition_shift.{n}.0.bias')
    styled('style_conv1', w[16], w[16])
    image('to_rgb1', w[16])
    for n, side in enumerate(sides[-2::-1]):
        styled(f'style_convs.{2 * n}', w[side], w[side // 2])
        styled(f'style_convs.{2 * n + 1}', w[side], w[side])
        image(f'to_rgbs.{n}', w[side])
    for n in range(2 * len(sides) - 1):
        shapes[f'noises.noise{n}'] = (1, 1, 2 ** ((n + 5) // 2), 2 ** ((n + 5) // 2))
    return shapes


def discriminator(size, narrow):
    """{name: shape} of `StyleGAN2Discriminator_no_std(size, narrow=narrow)`."""
    shapes, sides = {}, [size >> i for i in range(size.bit_length() - 2)]
    layer = lambda name, o, i, bias, k=3: shapes.update({f'{name}.weight': (o, i, k, k), bias: (o,)})
    w = {side: width(side, narrow) for side in sides}
    layer('conv_body.0.0', w[size], 3, 'conv_body.0.1.bias', 1)
    for n, (wide, side) in enumerate(zip(sides, sides[1:], strict=False), 1):
        layer(f'conv_body.{n}.conv1.0', w[wide], w[wide], f'conv_body.{n}.conv1.1.bias')
        layer(f'conv_body.{n}.conv2.1', w[side], w[wide], f'conv_body.{n}.conv2.2.bias')
        shapes[f'conv_body.{n}.skip.1.weight'] = (w[side], w[wide], 1, 1)
    layer('final_conv.0', w[4], w[4], 'final_conv.1.bias')
    shapes.update({'final_linear.0.weight': (w[4], 16 * w[4]), 'final_linear.0.bias': (w[4],)})
    shapes.update({'final_linear.1.weight': (1, w[4]), 'final_linear.1.bias': (1,)})
    return shapes


def numbers(shapes, dtype=np.float32):
    """Arrays of these shapes: weights of variance 1, as equalised layers have them, all others of variance 1/12."""
    weight = lambda name, shape: name.endswith('weight') and len(shape) > 1
    found = {k: wave(s, i) * (12**0.5 if weight(k, s) else 1) for i, (k, s) in enumerate(shapes.items())}
    return {k: np.asarray(v, dtype) for k, v in found.items()}
