"""What every exporter writes: a network as one function of its variables and an image, and images to try it on."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdsr.data import sources
from kdsr.models import exports, layers

TOLERANCE = 1e-4  # what float32 files may differ from JAX, of white
# Only float32 is held to JAX; the other two must not be nonsense, and their cards say how far they are off.
GATES = {'float32': (TOLERANCE, 'max'), 'float16': (0.05, 'max'), 'int8': (0.1, 'mean')}


@dataclasses.dataclass
class Program:
    """A network that is to be exported.

    network: with its weights. name: what files are called, e.g. 'edsr_x4'. size: (rows, columns) of inputs of fixed size.
    dynamic: whether formats that can take images of any size do. white: the pixel value that stands for white, 1 or 255, or
    None for each format's default.
    """

    network: exports.Upscaler
    name: str
    size: tuple[int, int] = (180, 320)
    dynamic: bool = True
    white: int | None = None
    examples: dict[Any, Any] = dataclasses.field(default_factory=dict)

    @property
    def channels(self):
        return self.network.module.channels

    @property
    def scale(self):
        return self.network.scale

    @property
    def shapes(self):
        """Shapes that an export is tried on: one image of `size`, and where sizes are free two of another size, of odd sides."""
        rows, columns = self.size
        other = (2, rows * 2 // 3 | 1, columns // 2 | 1, self.channels)
        return ((1, rows, columns, self.channels), *([other] if self.dynamic else []))

    def forward(self, white=1, clip=False, form=layers.plain):
        """`(variables, lr [B, h, w, C]) -> sr [B, s*h, s*w, C]`, pixel values 0 ... `white`, clipped to them if `clip`.

        To be traced, also at symbolic shapes. In `form` each convolution is one operation; with `contextlib.nullcontext` it is
        what this backend runs fast.
        """

        def fn(variables, lr):
            with form():
                sr, _ = self.network.module.apply(variables, lr if white == 1 else lr * np.float32(1 / white))
            sr = sr if white == 1 else sr * np.float32(white)
            return jnp.clip(sr, 0, white) if clip else sr

        return fn

    def fixed(self, white=1, clip=False):
        """`lr -> sr`: `forward` with the weights as constants."""
        fn = self.forward(white, clip)
        return lambda lr: fn(self.weights, lr)

    @property
    def weights(self):
        """The network's variables as numpy arrays."""
        return jax.tree.map(np.asarray, self.network.variables)

    def example(self, shape):
        """(lr, sr) of this shape in [0, 1], float32: `photographs`, and what JAX makes of them. Made once for each shape."""
        if shape not in self.examples:
            lr = photographs(*shape)
            self.examples[shape] = lr, np.asarray(self.network(lr))
        return self.examples[shape]


def photographs(count, height, width, channels):
    """Real pictures, float32 `[count, height, width, channels]` in [0, 1]: the embedded ones, mirrored where they are smaller.

    Where scikit-image, which brings them, is not installed: squares of random colours. They have edges and all values as well.
    """
    try:
        source = sources.embedded()
        colourful = [source.names.index(name) for name in ('astronaut', 'coffee', 'chelsea') if name in source.names]
        images = [filled(source.hr(i), (height, width)) for i in colourful or range(len(source))]
    except FileNotFoundError:
        squares = np.random.default_rng(0).integers(0, 256, (count, -(-height // 8), -(-width // 8), 3))
        images = squares.repeat(8, 1).repeat(8, 2)[:, :height, :width]
    images = np.float32([images[i % len(images)] for i in range(count)]) / np.float32(255)
    return images if channels == 3 else np.repeat(images.mean(-1, keepdims=True), channels, -1)


def filled(image, size):
    """The first rows and columns of `[h, w, C]`, `size` of them, the image going on by reflection where it has fewer."""
    more = [(0, max(0, want - have)) for want, have in zip(size, image.shape[:2], strict=True)]
    return np.pad(image, (*more, (0, 0)), mode='symmetric')[: size[0], : size[1]]


def difference(made, shape, run, clip=False):
    """How far `run(lr)`, the exported program on pictures in [0, 1], is from JAX: {'input': shape, 'max': ..., 'mean': ...}.

    With `clip` from what JAX makes within black and white. Raises ValueError where the result has another shape.
    """
    lr, sr = made.example(shape)
    sr = np.clip(sr, 0, 1) if clip else sr
    found = np.asarray(run(lr))
    if found.shape != sr.shape:
        raise ValueError(f'it makes {found.shape} of {shape}, JAX makes {sr.shape}')
    off = np.abs(np.float64(found) - sr)
    return {'input': list(shape), 'max': float(off.max()), 'mean': float(off.mean())}
