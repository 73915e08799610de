"""EfficientNet-lite0: a small classifier of ImageNet, whose features a Frechet distance compares pictures by."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from kdsr.models.layers import Conv, StridedConv, at_least_float32, uniform
from kdsr.models.norms import BatchNorm
from kdsr.models.pooling import mean
from kdsr.models.vgg import check_image

# blocks, kernel, stride of the first block, expansion, channels: B0's stages
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def example(**_):
    """What it takes: one image of the size that it was trained on; it takes others."""
    return (jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32),)


class Network(nn.Module):
    """`[B, H, W, 3]` RGB in [0, 1] -> (logits of ImageNet's classes `[B, 1000]`, taps), float32 or wider.

    taps: 'stage1' ... 'stage7', each after its last block and before an activation, of 16, 24, 40, 80, 112, 192 and 320 channels,
    of about H/2, H/4, H/8, H/16, H/16, H/32 and H/32 rows. It has no squeeze-and-excitation, ReLU6 instead of swish, and pads by
    TensorFlow's rule for SAME. Batch norm always takes the running statistics. Raises ValueError for another shape.

    References: Tan & Le, EfficientNet, ICML 2019, table 1; the lite variants: github.com/tensorflow/tpu, efficientnet/lite.
    """

    dtype: str = 'float32'

    @nn.compact
    def __call__(self, image):
        check_image('EfficientNet-lite0', image, 1)
        x, taps = ((255 * at_least_float32(image) - 127) / 128).astype(self.dtype), {}
        norm = lambda name, x: BatchNorm(dtype=self.dtype, name=name)(x)
        x = nn.relu6(norm('stem_bn', StridedConv(32, use_bias=False, dtype=self.dtype, name='stem')(x)))
        number = 0
        for i, (blocks, size, stride, expansion, width) in enumerate(STAGES, 1):
            for k in range(blocks):
                number += 1
                x = Block(width, size, 1 if k else stride, expansion, self.dtype, name=f'block{number}')(x)
            taps[f'stage{i}'] = x
        x = nn.relu6(norm('head_bn', Conv(1280, 1, use_bias=False, dtype=self.dtype, name='head')(x)))
        return at_least_float32(nn.Dense(1000, dtype=self.dtype, name='classes')(mean(x).astype(self.dtype))), taps


class Block(nn.Module):
    """`[B, H, W, C]` -> `[B, ceil(H/stride), ceil(W/stride), width]`: expanded by 1x1, filtered depthwise, projected by 1x1.

    Its input is added where it has the shape of the output. Reference: Sandler et al., MobileNetV2, CVPR 2018, figure 4.
    """

    width: int
    size: int
    stride: int
    expansion: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x):
        norm = lambda name, x: BatchNorm(dtype=self.dtype, name=name)(x)
        conv = lambda name, width, x: Conv(width, 1, use_bias=False, dtype=self.dtype, name=name)(x)
        y, inner = x, self.expansion * x.shape[-1]
        if self.expansion > 1:
            y = nn.relu6(norm('expand_bn', conv('expand', inner, y)))
        kernel = self.param('kernel', uniform(self.size**2), (self.size, self.size, 1, inner), jnp.float32)
        y = nn.relu6(norm('bn', depthwise(y, kernel[:, :, 0].astype(self.dtype), self.stride)))
        y = norm('project_bn', conv('project', self.width, y))
        return x + y if x.shape == y.shape else y


def depthwise(x, kernel, stride):
    """Each channel of `[B, H, W, C]` with its own kernel `[k, k, C]`, TensorFlow's padding: `[B, ceil(H/s), ceil(W/s), C]`."""
    size, (height, width) = len(kernel), (-(-n // stride) for n in x.shape[1:3])
    total = [max((out - 1) * stride + size - n, 0) for out, n in zip((height, width), x.shape[1:3], strict=True)]
    # shifted products: XLA:CPU's grouped convolution is many times slower; without the barrier each would be padded anew
    x = lax.optimization_barrier(jnp.pad(x, ((0, 0), *((t // 2, t - t // 2) for t in total), (0, 0))))
    rows, columns = (stride * (n - 1) + 1 for n in (height, width))
    shifted = lambda i, j: x[:, i : i + rows : stride, j : j + columns : stride]
    return sum(shifted(i, j) * kernel[i, j] for i in range(size) for j in range(size))
