"""EDSR (Lim et al., CVPRW 2017): plain residual blocks without normalisation."""

import functools

from flax import linen as nn

from kdsr.models.layers import Conv, Upsampler, add_mean, sub_mean


class Block(nn.Module):
    """`[B, h, w, F]` -> the same: x + res_scale * conv(relu(conv(x)))."""

    features: int
    res_scale: float
    dtype: str

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(Conv, self.features, dtype=self.dtype)
        return x + self.res_scale * conv(name='conv2')(nn.relu(conv(name='conv1')(x)))


class EDSR(nn.Module):
    """Enhanced deep residual network, `lr [B, h, w, channels]` in [0, 1] -> (image `[B, s*h, s*w, channels]`, taps).

    The image is float32 and not clipped. Published sizes: EDSR-baseline 16 blocks x 64 features, res_scale 1 (the
    default and FAKD's student), and EDSR 32 x 256, res_scale 0.1 (FAKD's teacher). With `direct` one convolution and a pixel
    shuffle make the image straight from the body: no work at the size of the output, a light network's usual tail.

    Taps, each `[B, h, w, features]`: 'head'; 'block1' ... 'blockN', after so many blocks; 'body', the body's last
    convolution + head (what FAKD's code reads), or before that addition with `tap_pre_skip`.

    References: Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPRW 2017;
    He et al., FAKD: Feature-Affinity based Knowledge Distillation for Efficient Image Super-Resolution, ICIP 2020.
    """

    scale: int = 4
    features: int = 64
    blocks: int = 16
    res_scale: float = 1.0
    rgb_range: float = 255.0
    channels: int = 3
    dtype: str = 'float32'
    tap_pre_skip: bool = False
    direct: bool = False

    @nn.compact
    def __call__(self, lr):
        conv = functools.partial(Conv, dtype=self.dtype)
        x = head = conv(self.features, name='head')(sub_mean(lr, self.rgb_range))
        taps = {'head': head}
        for i in range(1, self.blocks + 1):
            x = taps[f'block{i}'] = Block(self.features, self.res_scale, self.dtype, name=f'block{i}')(x)
        body = conv(self.features, name='body')(x)
        x = body + head
        taps['body'] = body if self.tap_pre_skip else x
        x = Upsampler(self.scale, self.channels if self.direct else self.features, self.dtype, self.direct, name='up')(x)
        return add_mean(x if self.direct else conv(self.channels, name='tail')(x), self.rgb_range), taps


Generator = EDSR


def fakd_taps(blocks=EDSR.blocks, **_):
    """The three taps FAKD distils: after floor(n/3) and floor(2n/3) blocks (5, 10 of 16; 10, 21 of 32) and the body."""
    return f'block{max(1, blocks // 3)}', f'block{max(1, 2 * blocks // 3)}', 'body'


def radius(blocks=EDSR.blocks, **_):
    """LR pixels around an output pixel's own that can change it: head, two a block, body; upsampler and tail together under 2."""
    return 2 * blocks + 4
