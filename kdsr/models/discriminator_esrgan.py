"""ESRGAN's discriminator in the form of captain-pool/GSOC."""

from kdsr.models import discriminator_srgan


def example(size=128, **_):
    """What it takes: one image of its own size."""
    return discriminator_srgan.example(size)


class Discriminator(discriminator_srgan.Discriminator):
    """SRGAN's eight convolutions without biases, a narrow dense layer.

    The call is that of SRGAN's; at 128x128 it has 7,964,169 parameters. The original reads 0..255 less ImageNet's mean, in BGR;
    here it is [-1, 1] as in SRGAN's, and the first batch norm takes out the scale anyway. There batch norm never left its initial
    statistics, a slip of that code; here it trains, as in the paper.

    Reference: Wang et al., ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks, ECCVW 2018, whose own has ten
    convolutions; github.com/captain-pool/GSOC, E2_ESRGAN, `VGGArch`.
    """

    size: int = 128
    hidden: int = 100
    use_bias: bool = False
    momentum: float = 0.99
