"""RGB to and from YCbCr (BT.601, studio swing) as MATLAB's rgb2ycbcr defines it for images in [0, 1]."""

import jax.numpy as jnp
import numpy as np

from kdsr.metrics import Y_WEIGHTS

OFFSET = np.array((16.0, 128.0, 128.0)) / 255
TO_YCBCR = np.array((Y_WEIGHTS, (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))) / 255
TO_RGB = np.linalg.inv(TO_YCBCR)


def rgb_to_ycbcr(image):
    """`[..., 3]` in [0, 1] -> Y in [16, 235]/255, Cb and Cr in [16, 240]/255, `[..., 3]`, not rounded."""
    return _mixed(image, TO_YCBCR) + jnp.asarray(OFFSET, image.dtype)


def ycbcr_to_rgb(image):
    """The inverse of `rgb_to_ycbcr`, not clipped."""
    return _mixed(image - jnp.asarray(OFFSET, image.dtype), TO_RGB)


def _mixed(image, weights):
    # A matmul over 3 channels would run in bfloat16 on a TPU.
    return jnp.stack([sum(float(w) * image[..., i] for i, w in enumerate(row)) for row in weights], -1)
