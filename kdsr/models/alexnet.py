"""AlexNet's convolutions (torchvision's one-tower form), the features that LPIPS compares by default."""

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from kdsr.models.layers import NHWC, Conv, uniform
from kdsr.models.vgg import check_image, check_tap, check_taps, imagenet

TAPS = ('relu1', 'relu2', 'relu3', 'relu4', 'relu5')


class AlexNet(nn.Module):
    """`[B, H, W, 3]` RGB in [0, 1], at least 31x31 pixels -> {tap: features}, in the order of `taps`.

    Taps 'relu1' ... 'relu5', after the activations, of 64, 192, 384, 256, 256 channels; the first has about H/4 x W/4
    positions, the second H/8 x W/8, the others H/16 x W/16. All five convolutions have parameters. Preprocessing and
    weights are torchvision's. Raises ValueError for an unknown tap, another shape or a smaller image.

    References: Krizhevsky, One weird trick for parallelizing convolutional neural networks, arXiv 1404.5997, 2014.
    """

    taps: tuple[str, ...] = TAPS
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, image):
        for tap in check_taps(self.taps):
            check_tap('AlexNet', tap, TAPS)
        check_image('AlexNet', image, 31)
        pool = lambda x: nn.max_pool(x, (3, 3), (2, 2))
        found, x = {}, imagenet(image).astype(self.dtype)
        x = found['relu1'] = nn.relu(Stem(64, self.dtype, name='conv1')(x))
        x = found['relu2'] = nn.relu(Conv(192, 5, dtype=self.dtype, name='conv2')(pool(x)))
        x = found['relu3'] = nn.relu(Conv(384, dtype=self.dtype, name='conv3')(pool(x)))
        x = found['relu4'] = nn.relu(Conv(256, dtype=self.dtype, name='conv4')(x))
        found['relu5'] = nn.relu(Conv(256, dtype=self.dtype, name='conv5')(x))
        return {tap: found[tap] for tap in self.taps}


class Stem(nn.Module):
    """`[B, H, W, I]` -> `[B, (H-7)//4 + 1, (W-7)//4 + 1, features]`: 11x11 convolution, stride 4, padding 2."""

    features: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x):
        init = uniform(11 * 11 * x.shape[-1])
        kernel = self.param('kernel', init, (11, 11, x.shape[-1], self.features), jnp.float32).astype(self.dtype)
        bias = self.param('bias', init, (self.features,), jnp.float32).astype(self.dtype)
        return lax.conv_general_dilated(x, kernel, (4, 4), ((2, 2), (2, 2)), dimension_numbers=NHWC) + bias
