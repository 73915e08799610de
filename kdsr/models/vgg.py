"""VGG16 and VGG19 (Simonyan & Zisserman, ICLR 2015) as feature extractors, for weights of torchvision or of Caffe."""

import jax.numpy as jnp
from flax import linen as nn

from kdsr.fields import meant
from kdsr.models.layers import Conv, at_least_float32
from kdsr.models.pooling import max_pool

WIDTHS = (64, 128, 256, 512, 512)
BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # depth -> convolutions of each of the five blocks
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB in [0, 1]
CAFFE_MEAN = (103.939, 116.779, 123.68)  # BGR in [0, 255]
LPIPS_TAPS = ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3', 'relu5_3')  # of VGG16


def imagenet(image):
    """What torchvision's weights expect: RGB `[..., 3]` in [0, 1] minus ImageNet's mean, over its standard deviation."""
    image = at_least_float32(image)
    return (image - jnp.asarray(IMAGENET_MEAN, image.dtype)) / jnp.asarray(IMAGENET_STD, image.dtype)


def caffe(image):
    """What Caffe's weights (also Keras') expect: BGR in [0, 255] minus the mean, of RGB `[..., 3]` in [0, 1]."""
    image = at_least_float32(image)
    return 255 * image[..., ::-1] - jnp.asarray(CAFFE_MEAN, image.dtype)


PREPROCESS = {'torchvision': imagenet, 'caffe': caffe}


class VGG(nn.Module):
    """`[B, H, W, 3]` RGB in [0, 1], not clipped -> {tap: features}, in the order of `taps`.

    Taps, each `[B, H >> (s-1), W >> (s-1), C]` with C = 64, 128, 256, 512, 512 for the blocks s = 1 ... 5: 'conv{s}_{k}'
    before the activation and 'relu{s}_{k}' after it; k counts from 1 to 2, 2, 3, 3, 3 (VGG16) or 2, 2, 4, 4, 4 (VGG19).
    Nothing beyond the last tap is computed, nor has parameters. The features are of `dtype`. Reverse mode only.

    Fields:
      depth: 16 or 19.
      taps: names of features.
      weights: 'torchvision' or 'caffe', what the parameters were trained by; it decides the preprocessing.

    Raises ValueError for an unknown depth, tap or kind of weights, for another shape, and for an image that the poolings
    before the last tap leave nothing of.

    References: Simonyan & Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015.
    """

    depth: int = 16
    taps: tuple[str, ...] = ('relu5_3',)
    weights: str = 'torchvision'
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, image):
        last = last_layer(self.depth, self.taps)
        if self.weights not in PREPROCESS:
            raise ValueError(f"VGG: weights {self.weights!r} is unknown; use 'torchvision' or 'caffe'")
        s, _ = last
        check_image(f'VGG{self.depth} up to block {s}', image, 2 ** (s - 1))
        x, found = PREPROCESS[self.weights](image).astype(self.dtype), {}
        for s, k in layers(self.depth):
            if s > 1 and k == 1:
                x = max_pool(x)
            x = found[f'conv{s}_{k}'] = Conv(WIDTHS[s - 1], dtype=self.dtype, name=f'conv{s}_{k}')(x)
            x = found[f'relu{s}_{k}'] = nn.relu(x)
            if (s, k) == last:
                break
        return {tap: found[tap] for tap in self.taps}


def layers(depth):
    """(block, index) of every convolution, in order: (1, 1), (1, 2), (2, 1), ...; ValueError unless `depth` is 16 or 19."""
    if depth not in BLOCKS:
        raise ValueError(f'VGG: depth {depth!r} is unknown; use 16 or 19')
    return [(s, k) for s, n in enumerate(BLOCKS[depth], 1) for k in range(1, n + 1)]


def last_layer(depth, taps):
    """(block, index) of the last convolution that `taps` need; ValueError if one is unknown or there is none."""
    known = {f'{kind}{s}_{k}': (s, k) for s, k in layers(depth) for kind in ('conv', 'relu')}
    return max(known[check_tap(f'VGG{depth}', tap, known)] for tap in check_taps(taps))


def check_taps(taps):
    """`taps`; ValueError unless it is a non-empty tuple or list."""
    if isinstance(taps, str) or not taps:
        raise ValueError(f"taps must be a tuple of names like ('relu5_3',), got {taps!r}")
    return taps


def check_tap(what, tap, known):
    """`tap`; ValueError if it is not one of `known`."""
    if tap not in known:
        raise ValueError(f'{what} has no tap {tap!r}{meant(tap, known)}; its taps: {", ".join(known)}')
    return tap


def check_image(what, image, smallest):
    """ValueError unless `image` is `[B, H, W, 3]` with H and W of at least `smallest`."""
    shape = jnp.shape(image)
    if len(shape) != 4 or shape[-1] != 3:
        raise ValueError(f'{what} takes RGB images [B, H, W, 3], got {shape}; repeat a grey channel three times')
    if min(shape[1:3]) < smallest:
        raise ValueError(f'{what} needs at least {smallest}x{smallest} pixels, got {shape[1]}x{shape[2]}; use larger patches')
