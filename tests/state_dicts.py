"""State dicts of FAKD's and other PyTorch code, and what they are tried on."""

import re

import numpy as np
from safetensors import numpy as safetensors

# The layers of FAKD's PyTorch code in the order of its state dicts: name, outputs, inputs, kernel size; # counts from 0.
EDSR = """head.0 4 3 3; body1.0.body.0 4 4 3; body1.0.body.2 4 4 3; body2.0.body.0 4 4 3; body2.0.body.2 4 4 3;
body3.0.body.0 4 4 3; body3.0.body.2 4 4 3; body3.1 4 4 3; tail.0.0 16 4 3; tail.0.2 16 4 3; tail.1 3 4 3"""


RCAN = """{body_group#.body.0.body.0 4 4 3; body_group#.body.0.body.2 4 4 3; body_group#.body.0.body.3.conv_du.0 2 4 1;
body_group#.body.0.body.3.conv_du.2 4 2 1; body_group#.body.1 4 4 3;}
body_tail 4 4 3; head.0 4 3 3; tail.0.0 16 4 3; tail.1 3 4 3"""


SAN = """gamma; {RG.#.gamma; RG.#.rcab.0.conv_first.0 8 8 3; RG.#.rcab.0.conv_first.2 8 8 3; RG.#.soca.conv_du.0 4 8 1;
RG.#.soca.conv_du.2 8 4 1; RG.#.conv_last 8 8 3;} conv_last 8 8 3; non_local.soca.conv_du.0 1 8 1; non_local.soca.conv_du.2 8 1 1;
non_local.non_local.g.0 2 8 1; non_local.non_local.W 8 2 1; non_local.non_local.theta 2 8 1; non_local.non_local.phi.0 2 8 1;
head.0 8 3 3; tail.0.0 72 8 3; tail.1 3 8 3"""


RDN = """SFENet1 4 3 3; SFENet2 4 4 3; {RDBs.#.convs.0.conv.0 3 4 3; RDBs.#.convs.1.conv.0 3 7 3; RDBs.#.LFF 4 10 1;}
GFF.0 4 8 1; GFF.1 4 4 3; UPNet.0 12 4 3; UPNet.2 12 3 3; UPNet.4 3 3 3"""


def tensors(text):
    """A state dict of these layers; its tensor number p is sin(1 + p + 0.7 i), over the root of its fan-in, or a tenth of it."""
    before, _, rest = text.partition('{')
    group, _, after = rest.partition('}')
    shapes = {}
    for layer in f'{before}{group.replace("#", "0")}{group.replace("#", "1")}{after}'.split(';'):
        name, *size = layer.split()
        if size:
            out, inputs, k = map(int, size)
            shapes |= {f'{name}.weight': (out, inputs, k, k), f'{name}.bias': (out,)}
        else:
            shapes[name] = (1,)
    wave = lambda p, shape: np.sin(1 + p + 0.7 * np.arange(np.prod(shape))).reshape(shape)
    scale = lambda shape: np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.1
    return {name: np.float32(wave(p, shape) * scale(shape)) for p, (name, shape) in enumerate(shapes.items())}


FAKD = {name: tensors(text) for name, text in {'edsr': EDSR, 'rcan': RCAN, 'san': SAN, 'rdn': RDN}.items()}


SHIFT = {
    'sub_mean.weight': np.eye(3, dtype=np.float32)[..., None, None],
    'sub_mean.bias': np.float32([-114.444, -111.4605, -103.02]),
    'add_mean.bias': np.float32([114.444, 111.4605, 103.02]),
}


IMAGE = np.abs(np.sin(0.3 * np.arange(180))).reshape(2, 3, 5, 6).transpose(0, 2, 3, 1)  # LR [2, 5, 6, 3]


def saved(path, tensors, pairs=()):
    """Writes `tensors` with parts of their names replaced."""
    for old, new in pairs:
        tensors = {re.sub(old, new, name): array for name, array in tensors.items()}
    path.write_bytes(safetensors.save({name: np.ascontiguousarray(array) for name, array in tensors.items()}))
    return path
