"""How an upscaled image is compared with the original: what the network is shown, what is shaved off, what is measured."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kdsr import metrics
from kdsr.data.resize import imresize


class Protocol(NamedTuple):
    """A way to score networks.

    border: scale -> pixels shaved off each side. columns: {name: function(sr, hr, border)}, sr and hr `[H, W, C]`.
    images: function(lr, hr, scale) of uint8 RGB images -> what the network is shown, float32 `[h, w, C]` in [0, 1], and what its
    result is compared with. channels: 3, or 1 for networks that work on Y alone.
    """

    border: Callable
    columns: dict[str, Callable]
    images: Callable
    channels: int = 3


def stored(lr, hr, _):
    """The images as they are on disk."""
    return np.float32(lr) / np.float32(255), hr


def planes(_, hr, scale):
    """Y of the HR image in [0, 1] and its bicubic reduction, neither rounded."""
    y = metrics.rgb_to_y(hr) / 255
    return np.float32(imresize(y, 1 / scale)), y


def planes_8(_, hr, scale):
    """Y of the HR image as 8 bits hold it, in [0, 1], and its bicubic reduction, not rounded."""
    y = np.floor(metrics.rgb_to_y(hr) + 0.5) / 255
    return np.float32(imresize(y, 1 / scale)), y


def on_planes(finish):
    """Columns for planes in [0, 1], after `finish` of the network's."""
    column = lambda metric: lambda sr, hr, border: metric(metrics.shave(finish(sr), border), metrics.shave(hr, border))
    return {'psnr_y': column(metrics.psnr), 'ssim_y': column(metrics.ssim)}


# but for dfsr all round the output to 8 bits first
Y = {'psnr_y': metrics.psnr_y, 'ssim_y': metrics.ssim_y, 'psnr_rgb': metrics.psnr_rgb}
RGB = {'psnr_rgb': metrics.psnr_rgb, 'ssim_rgb': metrics.ssim_rgb}
PROTOCOLS = {
    'y8': Protocol(lambda scale: scale, Y, stored),  # benchmarks of EDSR, RCAN, BasicSR: Y of BT.601, border = scale
    'rgb': Protocol(lambda scale: scale, RGB, stored),
    'div2k': Protocol(lambda scale: scale + 6, RGB, stored),  # validation of NTIRE 2017 and EDSR
    'vdsr_y8': Protocol(
        lambda scale: scale, on_planes(metrics.quantise), planes_8, 1
    ),  # VDSR's tables: bicubic down from HR's Y of 8 bits
    'dfsr': Protocol(lambda scale: scale, on_planes(lambda y: np.clip(y, 0, 1)), planes, 1),  # data-free distillation's
}
