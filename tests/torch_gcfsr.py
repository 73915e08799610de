"""GCFSR and its discriminator written anew in PyTorch, as functions of a state dict in the names of the released code.

`python tests/torch_gcfsr.py` prints the golden numbers of test_gcfsr and test_discriminator_stylegan, in float64.
"""

import gcfsr_weights
import numpy as np
import torch
import torch.nn.functional as F

FILTER = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64)
FILTER = torch.outer(FILTER, FILTER) / 64


def tensors(arrays):
    return {name: torch.tensor(array) for name, array in arrays.items()}


def filtered(x, pad, gain=1.0):
    """The filter on every channel; pad: (before, after) along rows and columns."""
    x = F.pad(x, (*pad, *pad))
    kernel = (gain * FILTER).to(x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, groups=x.shape[1])


def doubled(x):
    """Zeros after every pixel, then the filter: the image at twice the size."""
    b, c, h, w = x.shape
    zeros = x.new_zeros(b, c, h, 2, w, 2)
    zeros[:, :, :, 0, :, 0] = x
    return filtered(zeros.view(b, c, 2 * h, 2 * w), (2, 1), 4.0)


def act(x):
    return F.leaky_relu(x, 0.2) * 2**0.5


def dense(x, w, name):
    return x @ (w[f'{name}.weight'] * x.shape[-1] ** -0.5).T + w[f'{name}.bias']


def layer(x, w, name, bias=None, down=False):
    """An equalised convolution; with `bias`, the name of one, also its activation."""
    kernel = w[f'{name}.weight']
    kernel = kernel * kernel[0].numel() ** -0.5
    k = kernel.shape[-1]
    if down:
        y = F.conv2d(filtered(x, (2, 2) if k == 3 else (1, 1)), kernel, stride=2)
    else:
        y = F.conv2d(x, kernel, padding=k // 2)
    return act(y + w[bias][:, None, None]) if bias else y


def modulated(x, w, name, style, up=False, demodulate=True):
    """A kernel for each example."""
    kernel = w[f'{name}.weight'][0]
    k, s = kernel.shape[-1], dense(style, w, f'{name}.modulation')
    out = []
    for example, row in zip(x, s, strict=True):
        own = kernel * kernel[0].numel() ** -0.5 * row[:, None, None]
        if demodulate:
            own = own / torch.sqrt(own.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if up:
            y = F.conv_transpose2d(example[None], own.transpose(0, 1), stride=2)
            out.append(filtered(y, (1, 1), 4.0))
        else:
            out.append(F.conv2d(example[None], own, padding=k // 2))
    return torch.cat(out)


def styled(x, w, name, style, noise, up=False, blend=None):
    y = modulated(x, w, f'{name}.modulated_conv', style, up) + w[f'{name}.weight'] * noise
    if blend:
        a, b, shift = blend
        length = torch.sqrt(a**2 + b**2 + 1e-8)
        y = (a / length)[..., None, None] * y + (b / length)[..., None, None] * shift
    return act(y + w[f'{name}.activate.bias'][:, None, None])


def generator(w, x, condition, noises=None):
    """`x [B, 3, H, H]` in [-1, 1], condition `[B]` -> image in [-1, 1]; noises: maps of the layers in order, None: none."""
    levels = x.shape[-1].bit_length() - 4
    noises = noises or [0.0] * (2 * levels - 1)
    y, condition, blends = layer(x, w, 'conv_body_first.0', 'conv_body_first.1.bias'), condition[:, None], []
    for n in range(levels):
        if n:
            y = layer(y, w, f'conv_body_down.{n - 1}.1', f'conv_body_down.{n - 1}.2.bias', down=True)
        a, b = (dense(condition, w, f'condition_scale{i}.{n}') for i in (1, 2))
        blends.insert(0, (a, b, layer(y, w, f'condition_shift.{n}.0') + w[f'condition_shift.{n}.0.bias'][:, None, None]))
    small = layer(y, w, 'final_down1.1', 'final_down1.2.bias', down=True)
    small = layer(small, w, 'final_down2.1', 'final_down2.2.bias', down=True)
    styles = act(dense(small.flatten(1), w, 'final_linear')).view(len(x), 2 * levels, -1)
    y = layer(y, w, 'final_conv.0', 'final_conv.1.bias')
    y = styled(y, w, 'style_conv1', styles[:, 0], noises[0], blend=blends[0])
    image = lambda y, name, style: modulated(y, w, f'{name}.modulated_conv', style, demodulate=False) + w[f'{name}.bias']
    rgb = image(y, 'to_rgb1', styles[:, 1])
    for n in range(levels - 1):
        y = styled(y, w, f'style_convs.{2 * n}', styles[:, 2 * n + 1], noises[2 * n + 1], up=True)
        y = styled(y, w, f'style_convs.{2 * n + 1}', styles[:, 2 * n + 2], noises[2 * n + 2], blend=blends[n + 1])
        rgb = image(y, f'to_rgbs.{n}', styles[:, 2 * n + 3]) + doubled(rgb)
    return rgb


def discriminator(w, x):
    """`x [B, 3, H, H]` in [-1, 1] -> logits `[B, 1]`."""
    y = layer(x, w, 'conv_body.0.0', 'conv_body.0.1.bias')
    for n in range(1, x.shape[-1].bit_length() - 2):
        name = f'conv_body.{n}'
        inner = layer(y, w, f'{name}.conv1.0', f'{name}.conv1.1.bias')
        inner = layer(inner, w, f'{name}.conv2.1', f'{name}.conv2.2.bias', down=True)
        y = (inner + layer(y, w, f'{name}.skip.1', down=True)) / 2**0.5
    y = layer(y, w, 'final_conv.0', 'final_conv.1.bias')
    return dense(act(dense(y.flatten(1), w, 'final_linear.0')), w, 'final_linear.1')


def r1(w, images):
    """Mean square of the logits' gradient in images in [0, 1], `[B, 3, H, H]`."""
    images = images.requires_grad_()
    (grad,) = torch.autograd.grad(discriminator(w, 2 * images - 1).sum(), images, create_graph=True)
    return grad.square().flatten(1).sum(1).mean()


def main():
    """Prints the golden numbers."""
    w = tensors(gcfsr_weights.numbers(gcfsr_weights.generator(32, 1 / 64, 6), np.float64))
    images = torch.tensor(0.5 + gcfsr_weights.wave((2, 32, 32, 3), 90)).permute(0, 3, 1, 2).contiguous()
    out = (generator(w, 2 * images - 1, torch.tensor([0.25, 1.0], dtype=torch.float64)) + 1) / 2
    print('IMAGE =', [float(v) for v in (out.mean(), out.std(correction=0), out[0, 0, 0, 0], out[1, 2, 31, 30], out[1, 1, 7, 20])])
    w = tensors(gcfsr_weights.numbers(gcfsr_weights.discriminator(16, 1 / 128), np.float64))
    w = {name: tensor.requires_grad_() for name, tensor in w.items()}
    images = images[:, :, :16, :16].contiguous()
    print('LOGITS =', [float(v) for v in discriminator(w, 2 * images - 1)])
    penalty = r1(w, images)
    print('R1 =', float(penalty))
    penalty.backward()
    dot = lambda g: float((g.numpy() * np.cos(np.arange(g.numel())).reshape(g.shape)).sum())
    print('GRADIENTS =', {name: dot(tensor.grad) for name, tensor in w.items() if tensor.grad is not None})


if __name__ == '__main__':
    main()
