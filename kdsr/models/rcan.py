"""RCAN (Zhang et al., ECCV 2018): groups of residual blocks with channel attention."""

import functools

from flax import linen as nn

from kdsr.models.layers import Conv, Upsampler, add_mean, gated, plane_sum, sub_mean


class ChannelAttention(nn.Module):
    """Descriptor `[B, 1, 1, F]` -> gates of the same shape: sigmoid(conv(relu(conv))), F/reduction channels inside."""

    reduction: int
    dtype: str

    @nn.compact
    def __call__(self, descriptor):
        features = descriptor.shape[-1]
        if features < self.reduction:
            raise ValueError(f'reduction {self.reduction} leaves no channel of {features} features: lower reduction')
        x = nn.relu(Conv(features // self.reduction, 1, dtype=self.dtype, name='squeeze')(descriptor))
        return nn.sigmoid(Conv(features, 1, dtype=self.dtype, name='excite')(x))


class Block(nn.Module):
    """`[B, h, w, F]` -> the same: x + y * gate(mean of y), y = conv(relu(conv(x))).

    The original accepts a residual scale here and never applies it; there is none.
    """

    reduction: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(Conv, x.shape[-1], dtype=self.dtype)
        y = conv(name='conv2')(nn.relu(conv(name='conv1')(x)))
        gate = ChannelAttention(self.reduction, self.dtype, name='attention')
        return x + gated(y, gate(plane_sum(y)[:, None, None] / (y.shape[1] * y.shape[2])))


class Group(nn.Module):
    """`[B, h, w, F]` -> the same: x + conv(blocks(x))."""

    blocks: int
    reduction: int
    dtype: str

    @nn.compact
    def __call__(self, x):
        y = x
        for i in range(1, self.blocks + 1):
            y = Block(self.reduction, self.dtype, name=f'block{i}')(y)
        return x + Conv(x.shape[-1], dtype=self.dtype, name='conv')(y)


class RCAN(nn.Module):
    """Residual channel attention network, `lr [B, h, w, channels]` in [0, 1] -> (image, taps).

    The image, `[B, s*h, s*w, channels]`, is float32 and not clipped. Published sizes, all
    64 features and reduction 16: 10 groups x 20 blocks (the default and FAKD's teacher); FAKD's student 10 x 6.

    Taps, each `[B, h, w, features]`: 'head'; 'group1' ... 'groupG', after so many groups; 'body', the body's last
    convolution + head (what FAKD's code reads: it adds in place after storing), or before that with `tap_pre_skip`.

    References: Zhang et al., Image Super-Resolution Using Very Deep Residual Channel Attention Networks, ECCV 2018;
    He et al., FAKD: Feature-Affinity based Knowledge Distillation for Efficient Image Super-Resolution, ICIP 2020.
    """

    scale: int = 4
    features: int = 64
    groups: int = 10
    blocks: int = 20
    reduction: int = 16
    rgb_range: float = 255.0
    channels: int = 3
    dtype: str = 'float32'
    tap_pre_skip: bool = False

    @nn.compact
    def __call__(self, lr):
        conv = functools.partial(Conv, dtype=self.dtype)
        x = head = conv(self.features, name='head')(sub_mean(lr, self.rgb_range))
        taps = {'head': head}
        for i in range(1, self.groups + 1):
            x = taps[f'group{i}'] = Group(self.blocks, self.reduction, self.dtype, name=f'group{i}')(x)
        body = conv(self.features, name='body')(x)
        x = body + head
        taps['body'] = body if self.tap_pre_skip else x
        x = Upsampler(self.scale, self.features, self.dtype, name='up')(x)
        return add_mean(conv(self.channels, name='tail')(x), self.rgb_range), taps


Generator = RCAN


def fakd_taps(groups=RCAN.groups, **_):
    """The three taps FAKD distils: after groups 3 and 7 of 10 (0.3 and 0.7 of any other number) and the body."""
    return f'group{max(1, round(0.3 * groups))}', f'group{max(1, round(0.7 * groups))}', 'body'


def radius(**_):
    """None, no limit: channel attention averages over the whole image."""
    return None
