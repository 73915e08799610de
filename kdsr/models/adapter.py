"""1x1 convolutions that bring a student's taps to the teacher's widths (the regressors of FitNets, ICLR 2015)."""

from flax import linen as nn

from kdsr.models.layers import Conv


class Adapter(nn.Module):
    """`[[B, h, w, c1], [B, h, w, c2], ...]` -> `[[B, h, w, widths[0]], ...]`, one convolution per tap."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, taps):
        return [Conv(w, kernel_size=1, name=f'tap{i}')(t) for i, (w, t) in enumerate(zip(self.widths, taps, strict=True), 1)]
