"""VDSR (Kim et al., CVPR 2016): a chain of convolutions that refines the bicubically enlarged luminance."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from kdsr.models.bicubic import enlarge
from kdsr.models.layers import Conv, at_least_float32


class VDSR(nn.Module):
    """Very deep super-resolution, `lr [B, h, w, channels]` in [0, 1] -> (image `[B, s*h, s*w, channels]`, taps).

    The image is float32 and not clipped: MATLAB's bicubic enlargement, plus what the chain makes of it. One channel is the Y of
    BT.601 (16 to 235 of 255), as `colour.rgb_to_ycbcr` gives it. The scale has no part in the parameters: one set of weights
    serves all.

    Published sizes: 18 blocks x 64 features; the original has biases (665,921 parameters), the teacher of data-free
    distillation none (664,704), its students have 32 features (166,464) or 16 (41,760).

    tail_init: 'fan_out' (as released) draws the last convolution with a standard deviation of 0.47: the first hundreds of steps
    unlearn it, and most of what the blocks pass on with it. 'zeros' starts from the enlarged image.

    Taps, each `[B, s*h, s*w, features]`: 'head', after its ReLU; 'block1' ... 'blockN', after so many convolutions and ReLUs more.

    References: Kim et al., Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016; Zhang et al.,
    Data-Free Knowledge Distillation For Image Super-Resolution, CVPR 2021.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 18
    bias: bool = False
    channels: int = 1
    tail_init: str = 'fan_out'
    dtype: str = 'float32'

    def __call__(self, lr):
        return self.refine(enlarge(lr, self.scale))

    @nn.compact
    def refine(self, x, active=None):
        """The network on an image that is enlarged already, `[B, H, W, channels]` -> (image of the same shape, taps).

        Args:
          active: how many of the blocks act, an int or a traced int32 scalar; None: all. Those that follow pass on what they
            are given, and get no gradient. All have their parameters from the start: a student that grows keeps its tree.
        """
        init = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')  # PyTorch's kaiming_normal_ by fan-out
        conv = functools.partial(Conv, use_bias=self.bias, dtype=self.dtype, kernel_init=init, bias_init=nn.initializers.zeros)
        tails = {'fan_out': init, 'zeros': nn.initializers.zeros}
        if self.tail_init not in tails:
            raise ValueError(f"tail_init='{self.tail_init}' of vdsr is none of {', '.join(tails)}")
        known = active is None or isinstance(active, int)
        count = self.blocks if active is None or self.is_initializing() else active
        taps = {'head': nn.relu(conv(self.features, name='head')(x))}
        y = taps['head']
        for i in range(1, self.blocks + 1):
            if not known or i <= count:
                grown = nn.relu(conv(self.features, name=f'block{i}')(y))
                y = grown if known else jnp.where(i <= count, grown, y)
            taps[f'block{i}'] = y
        tail = conv(self.channels, kernel_init=tails[self.tail_init], name='tail')
        return at_least_float32(x) + at_least_float32(tail(y)), taps


Generator = VDSR


def fakd_taps(blocks=VDSR.blocks, **_):
    """Three taps for feature distillation: after a third, two thirds and all of the blocks."""
    return f'block{max(1, blocks // 3)}', f'block{max(1, 2 * blocks // 3)}', f'block{blocks}'


def radius(scale=VDSR.scale, blocks=VDSR.blocks, **_):
    """LR pixels around an output pixel's own that can change it: an HR pixel a convolution, and two of the enlargement."""
    return -(-(blocks + 2) // scale) + 2
