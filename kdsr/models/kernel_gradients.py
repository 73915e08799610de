"""Gradients of a convolution's kernel on CPU, each in the form that XLA:CPU runs fast for its sizes.

x: the image, `[B, H, W, I]`. g: the cotangent of the result, `[B, h, w, O]`. conv: the house convolution, which they are made of.
"""

import jax.numpy as jnp
from jax import lax

WHOLE, STRIP = 2**22, 2**20  # bytes of an image that goes in strips, and of a strip


def strips(conv, x, g, padding):
    """Kernel gradient `[kh, kw, I, O]` as a convolution of which the examples are the channels, of a strip of rows at a time.

    XLA:CPU reads all of `x` and `g` again for every few outputs: strips that fit in a core's cache are 2-3x faster, as soon as all
    together do not fit. Below that it stays the plain form.
    """
    (top, bottom), columns = padding
    high, rows = g.shape[1], x.shape[1] + top + bottom
    image = jnp.pad(x.transpose(3, 1, 2, 0), ((0, 0), (top, bottom), (0, 0), (0, 0)))  # [I, H, W, B]
    kernel = g.transpose(1, 2, 0, 3)
    able = [n for n in range(1, high // 4 + 1) if high % n == 0]  # 4 rows at least: k - 1 more are read
    count = next((n for n in able if x.nbytes / n <= STRIP), able[-1] if able else 1)
    if x.nbytes <= WHOLE or count == 1:
        return conv(x.transpose(3, 1, 2, 0), kernel, padding).transpose(1, 2, 0, 3)
    lines = high // count

    def add(total, i):
        strip = lax.dynamic_slice_in_dim(image, i * lines, rows - high + lines, 1)
        return total + conv(strip, lax.dynamic_slice_in_dim(kernel, i * lines, lines), ((0, 0), columns)), None

    shape = x.shape[3], rows - high + 1, x.shape[2] + sum(columns) - g.shape[2] + 1, g.shape[3]
    return lax.scan(add, jnp.zeros(shape, x.dtype), jnp.arange(count))[0].transpose(1, 2, 0, 3)


def few_examples(conv, x, g, k):
    """Kernel gradient `[k, k, I, O]` for few examples: k convolutions of rows, 1.7-2.5x faster on CPU below 8 examples.

    The plain one has the examples as input channels: too few for XLA:CPU, which reads them in one piece. Here the columns are.
    """
    width = x.shape[2]
    rows = lax.optimization_barrier(x.transpose(3, 1, 0, 2))  # [I, H, B, W]
    padded = jnp.pad(g.transpose(1, 0, 2, 3), ((0, 0), (0, 0), (k // 2, k // 2), (0, 0)))
    padded = lax.optimization_barrier(padded)  # [H, B, W + k - 1, O]
    column = lambda j: conv(rows, padded[:, :, k - 1 - j : k - 1 - j + width], ((k // 2, k // 2), (0, 0)))
    return jnp.concatenate([column(j) for j in range(k)], 2).transpose(1, 2, 0, 3)


def few_outputs(x, g, k):
    """Kernel gradient `[k, k, I, O]` for few outputs: one matmul with patches of the cotangent, 4x faster on CPU."""
    height, width = x.shape[1:3]
    keep = lax.optimization_barrier  # else XLA makes the padding, and whatever made g, anew for each of the k * k taps
    padded = keep(jnp.pad(g, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0))))
    patches = [padded[:, i : i + height, j : j + width] for i in range(k) for j in range(k)]
    grad = jnp.einsum('bhwo,bhwi->oi', keep(jnp.concatenate(patches, -1)), x)
    # Sliding the cotangent instead of the input visits the taps in reverse order.
    return grad.reshape(k, k, -1, x.shape[-1]).transpose(0, 1, 3, 2)[::-1, ::-1]
