"""RRDBNet, the compressed ESRGAN and SRVGGNetCompact written anew in PyTorch: what kdsr's inference is timed against."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from twins import fakd as twins


def leaky(x):
    """Leaky ReLU of slope 0.2."""
    return F.leaky_relu(x, 0.2)


class DenseBlock(nn.Module):
    """ESRGAN's dense block as it is published: what came before is joined to feed each convolution."""

    def __init__(self, features, growth):
        super().__init__()
        for k in range(1, 6):
            self.add_module(f'conv{k}', twins.conv(features + growth * (k - 1), growth if k < 5 else features))

    def forward(self, x):
        y1 = leaky(self.conv1(x))
        y2 = leaky(self.conv2(torch.cat((x, y1), 1)))
        y3 = leaky(self.conv3(torch.cat((x, y1, y2), 1)))
        y4 = leaky(self.conv4(torch.cat((x, y1, y2, y3), 1)))
        return x + 0.2 * self.conv5(torch.cat((x, y1, y2, y3, y4), 1))


class Chain(nn.Module):
    """x + 0.2 * `parts` of x, in series; their names are dense1, dense2, ..."""

    def __init__(self, parts):
        super().__init__()
        self.count = len(parts)
        for i, part in enumerate(parts, 1):
            self.add_module(f'dense{i}', part)

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f'dense{i}')(y)
        return x + 0.2 * y


class RRDBNet(nn.Module):
    """ESRGAN's generator (Wang et al., ECCVW 2018) for x4: lr `[B, channels, h, w]` -> image."""

    def __init__(self, scale=4, features=64, blocks=23, growth=32, channels=3):
        super().__init__()
        if scale != 4:
            raise ValueError(f'the twin of RRDBNet is one for x4, not x{scale}: pass --notorch')
        self.count, self.head, self.body = blocks, twins.conv(channels, features), twins.conv(features, features)
        for i in range(1, blocks + 1):
            self.add_module(f'block{i}', Chain([DenseBlock(features, growth) for _ in range(3)]))
        self.up1, self.up2, self.hr = (twins.conv(features, features) for _ in range(3))
        self.tail = twins.conv(features, channels)

    def forward(self, lr):
        x = head = self.head(lr)
        for i in range(1, self.count + 1):
            x = getattr(self, f'block{i}')(x)
        x = self.body(x) + head
        for up in (self.up1, self.up2):
            x = leaky(up(F.interpolate(x, scale_factor=2, mode='nearest')))
        return self.tail(leaky(self.hr(x)))


class SumBlock(nn.Module):
    """The student's dense block: depthwise convolutions of the sum of what came before."""

    def __init__(self, features, layers):
        super().__init__()
        self.count = layers
        for k in range(1, layers + 1):
            self.add_module(f'conv{k}', depthwise(features))

    def forward(self, x):
        total = x
        for k in range(1, self.count + 1):
            y = getattr(self, f'conv{k}')(total)
            total = total + leaky(y)
        return x + 0.2 * y


def depthwise(features):
    """A 3x3 convolution of each channel by itself."""
    return nn.Conv2d(features, features, 3, padding=1, groups=features)


class Shuffled(nn.Module):
    """A 3x3 convolution and a pixel shuffle."""

    def __init__(self, scale, inputs, outputs):
        super().__init__()
        self.factors = (scale,)
        self.conv1 = twins.conv(inputs, outputs * scale**2)

    def forward(self, x):
        return F.pixel_shuffle(self.conv1(x), self.factors[0])


class RRDBStudent(nn.Module):
    """The compressed ESRGAN: by default with a pixel shuffle, `released` with the published upsampler."""

    def __init__(self, scale=4, features=64, blocks=3, rdbs=1, layers=2, released=False, rgb_range=255.0, channels=3):
        super().__init__()
        self.count, self.range = blocks, rgb_range
        self.head, self.tail = twins.conv(channels, features), depthwise(channels)
        for i in range(1, blocks + 1):
            self.add_module(f'block{i}', Chain([SumBlock(features, layers) for _ in range(rdbs)]))
        if released:  # 3 taps for 4 outputs: `output_padding` makes the last, of the bias alone
            self.enlarge = nn.ConvTranspose2d(features, channels, 3, stride=scale, output_padding=scale - 3)
        else:
            self.up = Shuffled(scale, features, channels)
        self.released = released

    def forward(self, lr):
        x = head = self.head(self.range * lr)
        for i in range(1, self.count + 1):
            x = getattr(self, f'block{i}')(x)
        x = (self.enlarge if self.released else self.up)(x + head)
        return self.tail(leaky(x)) / self.range


class SRVGGNetCompact(nn.Module):
    """Real-ESRGAN's compact generator (Wang et al., ICCVW 2021)."""

    def __init__(self, scale=4, features=64, blocks=16, channels=3):
        super().__init__()
        self.count, self.scale = blocks, scale
        self.head, self.head_prelu = twins.conv(channels, features), nn.PReLU(features)
        for i in range(1, blocks + 1):
            self.add_module(f'conv{i}', twins.conv(features, features))
            self.add_module(f'prelu{i}', nn.PReLU(features))
        self.up = Shuffled(scale, features, channels)

    def forward(self, lr):
        x = self.head_prelu(self.head(lr))
        for i in range(1, self.count + 1):
            x = getattr(self, f'prelu{i}')(getattr(self, f'conv{i}')(x))
        return self.up(x) + F.interpolate(lr, scale_factor=self.scale, mode='nearest')


GENERATORS = {'rrdb': RRDBNet, 'rrdb_student': RRDBStudent, 'srvgg': SRVGGNetCompact}


def generator(name, args, params):
    """The twin of kdsr's model `name` with the weights `params` (its flax parameters)."""
    net = GENERATORS[name](**args)
    return twins.copy_weights(net, _in_order(_published(params))).eval().requires_grad_(False)


def _published(tree):
    """kdsr's parameters with dense blocks as they are published: 'conv<k>' has what 'push0' ... 'push<k-1>' hold for it."""
    if 'push0' not in tree:
        return {name: _published(value) if isinstance(value, dict) else np.asarray(value) for name, value in tree.items()}
    kernels = [np.asarray(tree[f'push{source}']['kernel']) for source in range(5)]
    features, growth = kernels[0].shape[2], kernels[1].shape[2]
    out = {}
    for k in range(5):
        width = growth if k < 4 else features
        cut = lambda source, k=k, width=width: slice(growth * (k - source), growth * (k - source) + width)
        joined = np.concatenate([kernels[source][..., cut(source)] for source in range(k + 1)], 2)
        out[f'conv{k + 1}'] = {'kernel': joined, 'bias': np.asarray(tree['push0']['bias'])[cut(0)]}
    return out


def _in_order(tree):
    """Depthwise and transposed kernels with their last two axes in the order that `twins.fakd.copy_weights` expects."""
    out = {}
    for name, value in tree.items():
        if name == 'up' and 'kernel' in value:  # transposed: PyTorch keeps `[inputs, outputs, 3, 3]`
            name, value = 'enlarge', {**value, 'kernel': value['kernel'].swapaxes(2, 3)}
        elif isinstance(value, dict):
            value = _in_order(value)
        elif name == 'kernel' and value.shape[3] == 1:  # depthwise: `[channels, 1, 3, 3]`
            value = value.swapaxes(2, 3)
        out[name] = value
    return out
