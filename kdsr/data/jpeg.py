"""What JPEG does to an image, 4:2:0: a codec's work on 8-bit files, or the formula that Real-ESRGAN trained with.

Both lose as much; pixel by pixel they differ by 2 to 5 grey levels in the mean, since the formula's luminance table is transposed
and not rounded, and since it repeats chroma where decoders interpolate it. Images are float32 `[3, H, W]` in grey levels, 0 to 255.

Wang et al., Real-ESRGAN, ICCVW 2021, section 3.1; Shin and Song, JPEG-resistant Adversarial Images, NIPS workshop 2017, for the
formula; ITU-T T.81, annex K, for the tables.
"""

import functools
import io

import numpy as np
from PIL import Image

from kdsr.data.distortions import picture, planes
from kdsr.data.kernels import stretches

LUMINANCE_TABLE = """
    16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99"""
CHROMINANCE_TABLE = '17 18 24 47  18 21 26 66  24 26 56 99  47 66 99 99'  # its upper left quarter, the others are 99
TO_YCBCR = np.float32(((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)))
TO_RGB = np.float32(((1, 0, 1.402), (1, -0.344136, -0.714136), (1, 1.772, 0)))
GROUP = 16  # pixels transformed by one matrix: two blocks are faster than one


def by_file(image, quality):
    """`image` as a JPEG file of the nearest whole quality shows it."""
    file = io.BytesIO()
    Image.fromarray(picture(image)).save(file, 'JPEG', quality=round(quality), subsampling='4:2:0')
    return planes(np.asarray(Image.open(file)))


def by_formula(image, quality):
    """`image` under the formula at any real `quality`; neither rounded before nor after."""
    height, width = image.shape[1:]
    # Black to whole blocks of chroma, as the original pads.
    padded = np.pad(np.clip(image, 0, 255), ((0, 0), (0, -height % 16), (0, -width % 16)))
    ycbcr = _colours(TO_YCBCR, padded)
    factor = 50 / quality if quality < 50 else 2 - quality / 50
    tables = _tables()
    luminance = _coded(ycbcr[:1] - 128, tables[0] * factor) + 128
    chroma = ycbcr[1:]
    chroma = (chroma[:, ::2, ::2] + chroma[:, 1::2, ::2] + chroma[:, ::2, 1::2] + chroma[:, 1::2, 1::2]) / 4
    chroma = _coded(chroma, tables[1] * factor).repeat(2, 1).repeat(2, 2)
    decoded = _colours(TO_RGB, np.concatenate([luminance, chroma])[:, :height, :width])
    return np.clip(decoded, 0, 255)


def _coded(x, table):
    """`[n, H, W]` around 0 through the transform, the rounding by `table` and back."""
    n, height, width = x.shape
    matrix = _transform()
    x = _along_rows(_along_rows(x, matrix.T).transpose(0, 2, 1), matrix.T)  # [n, W, H], frequencies
    blocks = x.reshape(n, width // 8, 8, height // 8, 8)
    steps = table.T[:, None].astype(np.float32)
    x = (np.rint(blocks / steps) * steps).reshape(x.shape)
    return _along_rows(_along_rows(x, matrix).transpose(0, 2, 1), matrix)


def _along_rows(x, matrix):
    """`[n, a, b]`, b a multiple of GROUP or of 8, times a block-diagonal matrix along b."""
    matrix = matrix if x.shape[2] % GROUP == 0 else matrix[:8, :8]
    return stretches(np.ascontiguousarray(x).reshape(-1, x.shape[2]), matrix, x.shape[2]).reshape(x.shape)


def _colours(matrix, image):
    # A product for each row, for the reason of `stretches`.
    return (matrix @ image.transpose(1, 0, 2)).transpose(1, 0, 2)


@functools.cache
def _transform():
    """float32 `[GROUP, GROUP]`: the orthonormal cosine transform of 8 pixels, frequency by pixel, along the diagonal."""
    frequency, pixel = np.mgrid[:8, :8]
    cosines = np.cos((2 * pixel + 1) * frequency * np.pi / 16) / 2
    cosines[0] /= np.sqrt(2)
    return np.kron(np.eye(GROUP // 8), cosines).astype(np.float32)


@functools.cache
def _tables():
    """The two tables at quality 50, vertical by horizontal frequency; of luminance as the original has it, transposed."""
    luminance = np.array(LUMINANCE_TABLE.split(), float).reshape(8, 8).T
    chrominance = np.full((8, 8), 99.0)
    chrominance[:4, :4] = np.array(CHROMINANCE_TABLE.split(), float).reshape(4, 4)
    return luminance, chrominance


CODECS = {'file': by_file, 'formula': by_formula}
