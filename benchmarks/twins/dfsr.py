"""Data-free distillation written anew in PyTorch: VDSR, the image generator, bicubic matrices, and the loop of both players."""

import contextlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from twins import fakd as twins


class VDSR(nn.Module):
    """Refines an enlarged Y image, `[B, 1, H, W]` -> the same; no biases."""

    def __init__(self, features=64, blocks=18):
        super().__init__()
        self.names = ['head', *(f'block{i}' for i in range(1, blocks + 1))]
        for name in self.names:
            self.add_module(name, nn.Conv2d(1 if name == 'head' else features, features, 3, padding=1, bias=False))
        self.tail = nn.Conv2d(features, 1, 3, padding=1, bias=False)

    def forward(self, x):
        y = x
        for name in self.names:
            y = F.relu(getattr(self, name)(y))
        return x + self.tail(y)


class Generator(nn.Module):
    """`GeneratorINE1`: z `[B, latent]` -> `[B, 1, size, size]` in [0, 1]."""

    def __init__(self, size, latent=256):
        super().__init__()
        self.side = size // 4
        self.dense, self.conv1, self.conv2 = nn.Linear(latent, 128 * self.side**2), twins.conv(128, 128), twins.conv(128, 64)
        self.norm1, self.norm2 = nn.InstanceNorm2d(128, affine=True), nn.InstanceNorm2d(128, eps=0.8, affine=True)
        self.norm3, self.conv3 = nn.InstanceNorm2d(64, eps=0.8, affine=True), twins.conv(64, 1)

    def forward(self, z):
        # the house's dense layer has its channels last
        x = self.dense(z).view(-1, self.side, self.side, 128).permute(0, 3, 1, 2).contiguous()
        x = F.interpolate(self.norm1(x), scale_factor=2)
        x = F.interpolate(F.leaky_relu(self.norm2(self.conv1(x)), 0.2), scale_factor=2)
        x = F.leaky_relu(self.norm3(self.conv2(x)), 0.2)
        return (torch.tanh(self.conv3(x)) + 1) / 2


def keys_cubic(rows, columns):
    """Matrix of MATLAB's `imresize` of one side: a = -1/2, antialiased where it reduces, symmetric border."""
    stretch = max(columns / rows, 1)
    at = (np.arange(rows)[:, None] + 0.5) * columns / rows - 0.5
    near = np.floor(at - 2 * stretch).astype(int) + np.arange(int(4 * stretch) + 3)
    d = np.abs(at - near) / stretch
    weights = np.where(d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0))
    matrix, mirrored = np.zeros((rows, columns)), np.r_[0:columns, columns - 1 : -1 : -1][near % (2 * columns)]
    np.add.at(matrix, (np.arange(rows)[:, None], mirrored), weights / weights.sum(1, keepdims=True))
    return torch.tensor(matrix, dtype=torch.float32)


def trainer(student, teacher, generators, draws, variant, *, size, optimisers):
    """`run(n)`: n rounds of k student steps and one of a generator; returns the mean distillation loss of the last round's k.

    generators: scale -> Generator. draws: rounds of k + 1 pairs (scale, z), used in turn. optimisers: those of the student (SGD
    with momentum, weight decay and a clipped norm) and of a generator (Adam), as config blocks.
    """
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    draws = [[(s, torch.tensor(z, device=variant.device)) for s, z in pairs] for pairs in draws]
    up = {s: keys_cubic(size, size // s).to(variant.device) for s in generators}
    down = {s: keys_cubic(size // s, size).to(variant.device) for s in generators}
    mine, theirs = optimisers
    sgd = torch.optim.SGD(student.parameters(), mine.learning_rate, mine.momentum, weight_decay=mine.weight_decay)
    betas = {'betas': (theirs.b1, theirs.b2), 'eps': theirs.eps}
    adams = {s: torch.optim.Adam(g.parameters(), theirs.learning_rate, **betas) for s, g in generators.items()}

    def resized(x, matrix):
        return (matrix @ x @ matrix.T).clamp(0, 1).contiguous(memory_format=layout)

    def distance(x):
        with torch.no_grad():
            aim = teacher(x)
        return F.l1_loss(student(x), aim)

    def play(s, lr):
        x = resized(lr, up[s])
        t = teacher(x)
        return F.l1_loss(resized(t, down[s]), lr) - torch.log1p(F.l1_loss(student(x), t))

    if variant.compile:
        distance, play = (torch.compile(f, mode=variant.compile) for f in (distance, play))
    count = [0]

    def run(n):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = variant.tf32
        half = torch.autocast(variant.device, torch.bfloat16) if variant.half else contextlib.nullcontext()
        for _ in range(n):
            *pairs, (s, z) = draws[count[0] % len(draws)]
            count[0] += 1
            losses = []
            for scale, noise in pairs:
                with half:
                    with torch.no_grad():
                        x = resized(generators[scale](noise), up[scale])
                    loss = distance(x)
                sgd.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(student.parameters(), mine.clip)
                sgd.step()
                losses.append(loss.detach())
            student.requires_grad_(False)
            with half:
                loss = play(s, generators[s](z))
            adams[s].zero_grad()
            loss.backward()
            adams[s].step()
            student.requires_grad_(True)
        return torch.stack(losses).mean().item()

    return run
