"""EDSR, RCAN and FAKD's loss written anew in PyTorch, and training steps of them: what kdsr is timed against."""

import contextlib
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MEAN = (0.4488, 0.4371, 0.4040)


class Variant(NamedTuple):
    """How PyTorch runs: memory format, TF32 for float32 work, bfloat16 autocast, mode of torch.compile ('' is eager)."""

    device: str = 'cpu'
    channels_last: bool = False
    tf32: bool = False
    half: bool = False
    compile: str = ''


def conv(inputs, outputs, k=3):
    """Convolution of stride 1 that keeps the size."""
    return nn.Conv2d(inputs, outputs, k, padding=k // 2)


class PlainBlock(nn.Module):
    """EDSR's residual block."""

    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = conv(width, width), conv(width, width)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x)))


class Attention(nn.Module):
    """RCAN's channel attention."""

    def __init__(self, width, reduction):
        super().__init__()
        self.squeeze, self.excite = conv(width, width // reduction, 1), conv(width // reduction, width, 1)

    def forward(self, x):
        pooled = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))


class AttentionBlock(PlainBlock):
    """RCAN's residual block."""

    def __init__(self, width, reduction):
        super().__init__(width)
        self.attention = Attention(width, reduction)

    def forward(self, x):
        return x + self.attention(self.conv2(F.relu(self.conv1(x))))


class Group(nn.Sequential):
    """RCAN's residual group."""

    def __init__(self, blocks, width, reduction):
        parts = {f'block{i}': AttentionBlock(width, reduction) for i in range(1, blocks + 1)}
        super().__init__()
        for name, part in {**parts, 'conv': conv(width, width)}.items():
            self.add_module(name, part)

    def forward(self, x):
        return x + super().forward(x)


class Upsampler(nn.Module):
    """Steps of convolution and pixel shuffle: 2 x 2 for scale 4, else one."""

    def __init__(self, scale, width):
        super().__init__()
        self.factors = (2, 2) if scale == 4 else (scale,)
        for i, r in enumerate(self.factors, 1):
            self.add_module(f'conv{i}', conv(width, width * r * r))

    def forward(self, x):
        for i, r in enumerate(self.factors, 1):
            x = F.pixel_shuffle(getattr(self, f'conv{i}')(x), r)
        return x


class Network(nn.Module):
    """Head, named parts of the body, tail: lr `[B, 3, h, w]` in [0, 1] -> (image, the features after the parts in `taps`)."""

    def __init__(self, parts, taps, scale, width):
        super().__init__()
        self.register_buffer('mean', 255 * torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.parts, self.taps = tuple(parts), taps
        self.head, self.body = conv(3, width), conv(width, width)
        for name, part in parts.items():
            self.add_module(name, part)
        self.up, self.tail = Upsampler(scale, width), conv(width, 3)

    def forward(self, lr):
        head = self.head(255 * lr - self.mean)
        x, taps = head, []
        for name in self.parts:
            x = getattr(self, name)(x)
            if name in self.taps:
                taps.append(x)
        x = self.body(x) + head
        return (self.tail(self.up(x)) + self.mean) / 255, [*taps, x]


def edsr(scale=4, blocks=16, features=64):
    """EDSR (Lim et al., CVPRW 2017) with FAKD's taps: a third and two thirds of the blocks, and the body."""
    parts = {f'block{i}': PlainBlock(features) for i in range(1, blocks + 1)}
    return Network(parts, (f'block{blocks // 3}', f'block{2 * blocks // 3}'), scale, features)


def rcan(scale=4, groups=10, blocks=20, features=64, reduction=16):
    """RCAN (Zhang et al., ECCV 2018) with FAKD's taps: groups 3 and 7 of 10, and the body."""
    parts = {f'group{i}': Group(blocks, features, reduction) for i in range(1, groups + 1)}
    return Network(parts, (f'group{round(0.3 * groups)}', f'group{round(0.7 * groups)}'), scale, features)


NAMES = {'kernel': 'weight', 'gamma': 'weight', 'beta': 'bias', 'alpha': 'weight'}  # kdsr's name -> PyTorch's
NETWORKS = {'edsr': edsr, 'rcan': rcan}


def copy_weights(net, params):
    """Gives `net` kdsr's `params`, a tree of the same names with kernels `[kh, kw, I, O]`; returns `net`."""
    state = {}

    def visit(tree, path):
        for name, value in tree.items():
            if isinstance(value, dict):
                visit(value, (*path, name))
                continue
            value = np.asarray(value)
            if path[0] == 'up' and path[1].startswith('conv'):  # kdsr shuffles channel (dy, dx, c), PyTorch channel (c, dy, dx)
                r = net.up.factors[int(path[1].removeprefix('conv')) - 1]
                value = np.moveaxis(value.reshape(*value.shape[:-1], r, r, -1), -1, -3).reshape(value.shape)
            if name == 'kernel':
                value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
            state['.'.join((*path, NAMES.get(name, name)))] = torch.tensor(np.ascontiguousarray(value))

    visit(params, ())
    missing, unexpected = net.load_state_dict(state, strict=False)
    wrong = [*unexpected, *(k for k in missing if not k.endswith(('running_mean', 'running_var', 'num_batches_tracked')))]
    if wrong:
        raise ValueError(f'the twin has other parameters: {", ".join(wrong)}')
    return net


def spatial_affinity(student, teacher, eps=1e-8):
    """FAKD's spatial affinity as its public code computes it, of `[B, C, H, W]`: two whole matrices and their L1."""

    def matrix(x):
        x = x.flatten(2)
        unit = x / (x.pow(2).sum(1, keepdim=True).sqrt() + eps)
        return unit.transpose(1, 2).bmm(unit)

    return F.l1_loss(matrix(student), matrix(teacher))


def supervised_loss(student):
    """loss(lr, hr) of plain training."""
    return lambda lr, hr: F.l1_loss(student(lr)[0], hr)


def fakd_loss(student, teacher, alpha, weight):
    """loss(lr, hr) of FAKD: pixel terms on 0..255, spatial affinity of all taps."""

    def loss(lr, hr):
        with torch.no_grad():
            target, theirs = teacher(lr)
        sr, ours = student(lr)
        pixels = (1 - alpha) * F.l1_loss(sr, hr) + alpha * F.l1_loss(sr, target)
        return 255 * pixels + weight * sum(map(spatial_affinity, ours, theirs))

    return loss


def trainer(student, loss, lr, hr, variant, learning_rate=1e-4):
    """`run(n)`: n Adam steps on one batch of NHWC arrays; returns the last loss. `loss` must read `student`."""
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    nchw = lambda x: torch.tensor(x, device=variant.device).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    lr, hr = nchw(lr), nchw(hr)
    optimiser = torch.optim.Adam(student.parameters(), learning_rate, fused=variant.device == 'cuda')
    loss = torch.compile(loss, mode=variant.compile) if variant.compile else loss

    def run(n):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = variant.tf32
        for _ in range(n):
            if variant.compile == 'reduce-overhead':
                torch.compiler.cudagraph_mark_step_begin()
            half = torch.autocast(variant.device, torch.bfloat16) if variant.half else contextlib.nullcontext()
            with half:
                value = loss(lr, hr)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
        return value.item()  # waits for all that was asked of the device before

    return run


def placed(net, variant):
    """`net` on the variant's device and in its memory format."""
    return net.to(variant.device, memory_format=torch.channels_last if variant.channels_last else torch.contiguous_format)


def cuda_growth(run):
    """Memory in MiB that PyTorch's allocator needs at most during one step, beyond what lives between steps."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run(1)
    return (torch.cuda.max_memory_allocated() - before) / 2**20
