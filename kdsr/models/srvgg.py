"""SRVGGNetCompact, Real-ESRGAN's small generator: a chain of convolutions that adds detail to the enlarged pixels."""

import functools

from flax import linen as nn

from kdsr.models.layers import Conv, Upsampler, at_least_float32, nearest
from kdsr.models.norms import PReLU

# Draws that keep the signal's size through PReLUs of slope 1/4. With PyTorch's default it shrinks to a third in each layer: after
# 16 of them nothing is left to learn from, and a short training stays at the enlarged pixels.
HE = nn.initializers.variance_scaling(2 / (1 + 0.25**2), 'fan_in', 'normal')


class SRVGGNetCompact(nn.Module):
    """Compact generator of VGG's kind, `lr [B, h, w, channels]` in [0, 1] -> (image `[B, s*h, s*w, channels]`, taps).

    The image is float32 and not clipped: the LR pixels, each repeated s x s times, plus what the chain makes of them. All
    convolutions are at the size of the input; a pixel shuffle ends them. Published sizes: 16 blocks x 64 features (the
    default; realesr-animevideov3), 32 x 64 (realesr-general-x4v3).

    Taps, each `[B, h, w, features]`: 'head', after its PReLU; 'block1' ... 'blockN', after so many convolutions and PReLUs more.

    Reference: Wang et al., Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data, ICCVW 2021, and
    github.com/xinntao/Real-ESRGAN, `SRVGGNetCompact`.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 16
    channels: int = 3
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, lr):
        conv = functools.partial(Conv, self.features, dtype=self.dtype, kernel_init=HE, bias_init=nn.initializers.zeros)
        prelu = functools.partial(PReLU, 0.25)
        taps = {'head': prelu(name='head_prelu')(conv(name='head')(lr))}
        x = taps['head']
        for i in range(1, self.blocks + 1):
            x = taps[f'block{i}'] = prelu(name=f'prelu{i}')(conv(name=f'conv{i}')(x))
        detail = Upsampler(self.scale, self.channels, self.dtype, at_once=True, name='up')(x)
        return at_least_float32(detail) + nearest(at_least_float32(lr), self.scale), taps


Generator = SRVGGNetCompact


def fakd_taps(blocks=SRVGGNetCompact.blocks, **_):
    """Three taps for feature distillation: after a third, two thirds and all of the blocks."""
    return f'block{max(1, blocks // 3)}', f'block{max(1, 2 * blocks // 3)}', f'block{blocks}'


def radius(blocks=SRVGGNetCompact.blocks, **_):
    """LR pixels around an output pixel's own that can change it: one a convolution, the first and the last included."""
    return blocks + 2
