"""SRGAN written anew in PyTorch: generator, discriminator, VGG19, and one step that trains both players from one forward pass."""

import contextlib

import torch
import torch.nn.functional as F
from torch import nn

from twins import fakd as twins

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def norm(width):
    """Batch norm with Keras' epsilon."""
    return nn.BatchNorm2d(width, eps=1e-3)


class Block(nn.Module):
    """SRResNet's residual block."""

    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1, self.prelu = twins.conv(width, width), norm(width), nn.PReLU(width)
        self.conv2, self.bn2 = twins.conv(width, width), norm(width)

    def forward(self, x):
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class Upsampler(twins.Upsampler):
    """EDSR's, with a PReLU after each step."""

    def __init__(self, scale, width):
        super().__init__(scale, width)
        for i in range(1, len(self.factors) + 1):
            self.add_module(f'prelu{i}', nn.PReLU(width))

    def forward(self, x):
        for i, r in enumerate(self.factors, 1):
            x = getattr(self, f'prelu{i}')(F.pixel_shuffle(getattr(self, f'conv{i}')(x), r))
        return x


class Generator(nn.Module):
    """SRResNet: lr `[B, 3, h, w]` in [0, 1] -> image."""

    def __init__(self, scale=4, blocks=16, features=64):
        super().__init__()
        self.count = blocks
        self.head, self.head_prelu = twins.conv(3, features, 9), nn.PReLU(features)
        for i in range(1, blocks + 1):
            self.add_module(f'block{i}', Block(features))
        self.body, self.body_bn = twins.conv(features, features), norm(features)
        self.up, self.tail = Upsampler(scale, features), twins.conv(features, 3, 9)

    def forward(self, lr):
        x = head = self.head_prelu(self.head(lr))
        for i in range(1, self.count + 1):
            x = getattr(self, f'block{i}')(x)
        x = self.body_bn(self.body(x)) + head
        return (torch.tanh(self.tail(self.up(x))) + 1) / 2


class Discriminator(nn.Module):
    """SRGAN's, for 96x96 pixels: logits `[B]`. Stride 2 pads below and to the right, as TensorFlow does."""

    def __init__(self, size=96, features=64, hidden=1024):
        super().__init__()
        inputs, self.widths = 3, [features * w for w in (1, 1, 2, 2, 4, 4, 8, 8)]
        for i, width in enumerate(self.widths, 1):
            self.add_module(f'conv{i}', nn.Conv2d(inputs, width, 3, 2 - i % 2, padding=i % 2))
            if i > 1:
                self.add_module(f'bn{i}', norm(width))
            inputs = width
        self.dense1, self.dense2 = nn.Linear((size // 16) ** 2 * inputs, hidden), nn.Linear(hidden, 1)

    def forward(self, image):
        x = image * 2 - 1
        for i in range(1, 9):
            x = getattr(self, f'conv{i}')(x if i % 2 else F.pad(x, (0, 1, 0, 1)))
            x = F.leaky_relu(getattr(self, f'bn{i}')(x) if i > 1 else x, 0.2)
        x = x.permute(0, 2, 3, 1).flatten(1)  # the order of the house's dense layer
        return self.dense2(F.leaky_relu(self.dense1(x), 0.2))[:, 0]


class VGG19(nn.Module):
    """Features after the last activation of VGG19."""

    def __init__(self):
        super().__init__()
        self.register_buffer('mean', torch.tensor(IMAGENET[0]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(IMAGENET[1]).view(1, 3, 1, 1), persistent=False)
        inputs = 3
        for s, (width, count) in enumerate(zip((64, 128, 256, 512, 512), (2, 2, 4, 4, 4), strict=True), 1):
            for k in range(1, count + 1):
                self.add_module(f'conv{s}_{k}', twins.conv(inputs, width))
                inputs = width

    def forward(self, image):
        x = (image - self.mean) / self.std
        for s, count in enumerate((2, 2, 4, 4, 4), 1):
            x = F.max_pool2d(x, 2) if s > 1 else x
            for k in range(1, count + 1):
                x = F.relu(getattr(self, f'conv{s}_{k}')(x))
        return x


def trainer(generator, discriminator, vgg, lr, hr, variant, *, weight, adversarial, learning_rate, eps):
    """`run(n)`: n Adam steps of both players on one batch of NHWC arrays; returns the generator's last loss."""
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    nchw = lambda x: torch.tensor(x, device=variant.device).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    lr, hr = nchw(lr), nchw(hr)
    players = [generator, discriminator]
    optimisers = [torch.optim.Adam(p.parameters(), learning_rate, eps=eps, fused=variant.device == 'cuda') for p in players]

    def losses(lr, hr):
        sr = generator(lr)
        real, fake = discriminator(hr), discriminator(sr)
        with torch.no_grad():
            target = vgg(hr)
        content = weight * F.mse_loss(vgg(sr), target)
        return content + adversarial * F.softplus(-fake).mean(), F.softplus(-real).mean() + F.softplus(fake).mean()

    losses = torch.compile(losses, mode=variant.compile) if variant.compile else losses

    def run(n):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = variant.tf32
        for _ in range(n):
            if variant.compile == 'reduce-overhead':
                torch.compiler.cudagraph_mark_step_begin()
            half = torch.autocast(variant.device, torch.bfloat16) if variant.half else contextlib.nullcontext()
            with half:
                values = losses(lr, hr)
            found = [
                torch.autograd.grad(value, list(player.parameters()), retain_graph=i == 0)
                for i, (value, player) in enumerate(zip(values, players, strict=True))
            ]
            for player, optimiser, gradients in zip(players, optimisers, found, strict=True):
                for p, g in zip(player.parameters(), gradients, strict=True):
                    p.grad = g
                optimiser.step()
        return values[0].item()

    return run
