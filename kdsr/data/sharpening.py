"""Unsharp masking of HR targets, on the host (numpy) and on the device (jax): flat places and faint texture stay as they are.

Wang et al., Real-ESRGAN, ICCVW 2021, section 3.5: pixel and perceptual losses look at the sharpened HR image, the discriminator at
the plain one.
"""

import functools

import numpy as np

from kdsr.data import kernels

SIDE = 51  # pixels of the Gaussian
SIGMA = 0.3 * ((SIDE - 1) / 2 - 1) + 0.8  # = 8: what OpenCV takes for that side
AMOUNT = 0.5
THRESHOLD = 10.0  # grey levels


def sharpened(image):
    """`image` float32 `[3, H, W]` in [0, 255], sharpened, on the host."""
    blur = lambda x: kernels.along(kernels.along(x, gaussian(), 1), gaussian(), 2)
    residual = image - blur(image)
    share = blur((np.abs(residual) > THRESHOLD).astype(np.float32))
    change = np.clip(image + np.float32(AMOUNT) * residual, 0, 255) - image
    return image + share * change


def sharpened_batch(images):
    """`images` float32 `[B, H, W, C]` in [0, 1], sharpened: the same in jax, for the device."""
    import jax  # here: the processes that make LR (kdsr.data.workers) start without it
    import jax.numpy as jnp

    rows, columns = (blur_matrix(n) for n in images.shape[1:3])
    blur = lambda x: jnp.einsum('ij,bjkc,lk->bilc', rows, x, columns, precision=jax.lax.Precision.HIGHEST)
    residual = images - blur(images)
    share = blur((jnp.abs(residual) * 255 > THRESHOLD).astype(images.dtype))
    change = jnp.clip(images + AMOUNT * residual, 0, 1) - images
    return images + share * change


@functools.cache
def gaussian():
    """float64 `[SIDE]`, sum 1."""
    weights = np.exp(-((np.arange(SIDE) - SIDE // 2) ** 2) / (2 * SIGMA**2))
    return weights / weights.sum()


@functools.lru_cache(maxsize=8)
def blur_matrix(n):
    """float32 `[n, n]`: the Gaussian along an axis of n pixels, mirrored at both ends without the border pixel."""
    matrix = np.zeros((n, n))
    index = kernels.mirrored(np.arange(n)[:, None] + np.arange(SIDE) - SIDE // 2, n)
    np.add.at(matrix, (np.arange(n)[:, None], index), gaussian())
    return matrix.astype(np.float32)
