"""PyTorch's weight files as teachers: kdsr's own networks, else those that spandrel knows. No code in them is run."""

import re

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from kdsr import convert, models
from kdsr.foreign import formats
from kdsr.models import exports
from kdsr.teachers import house, programs
from kdsr.teachers.teacher import Teacher, of_luma

REMEDY = "`pip install 'kdsr[torch]'` (torch and spandrel) brings the networks of PyTorch files"


def opened(name, file):
    """The Teacher of a file of weights; errors as of `teachers.opened`."""
    digest = programs.digest([file])
    try:
        read = convert.told(formats.read(file).arrays, {}, file)
    except ValueError as e:
        return by_spandrel(name, file, digest, e)
    module = models.build(read.model, **read.args)
    if not hasattr(module, 'scale'):
        raise ValueError(f"'{name}' is {read.model}, which enlarges no pictures")
    variables = traverse_util.unflatten_dict({k: jnp.asarray(v) for k, v in read.variables.items()}, sep='/')
    return house.teacher(name, exports.upscaler(module, variables), f'{read.model}', digest)


def by_spandrel(name, file, digest, unknown):
    """The Teacher that spandrel makes of the weights; unknown: why kdsr has no such network."""
    try:
        import spandrel
        import torch
    except ImportError as e:
        raise ModuleNotFoundError(
            f"'{name}' is no network of kdsr's own ({unknown}), and {e.name} is not installed: {REMEDY}"
        ) from e
    try:
        weights = spandrel.canonicalize_state_dict(state_dict(torch, file))
        network = spandrel.ModelLoader().load_from_state_dict(weights)
    except Exception as e:  # damaged files raise nearly anything
        reason = re.sub(r'\x1b\[[\d;]*m', '', ' '.join(str(e).split()))[:100]
        raise ValueError(f"'{name}': neither kdsr ({unknown}) nor spandrel ({type(e).__name__}: {reason}) knows what it is") from e
    if not isinstance(network, spandrel.ImageModelDescriptor):
        raise ValueError(f"'{name}' is {network.architecture.name}, which takes more than a picture ({network.purpose})")
    if (network.input_channels, network.output_channels) not in ((1, 1), (3, 3)):
        kinds = f'{network.input_channels} channels and gives {network.output_channels}'
        raise ValueError(f"'{name}' ({network.architecture.name}) takes {kinds}: teachers of RGB or Y are known")
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    network.to(device).eval()

    def fn(x):
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(np.asarray(x, np.float32).transpose(0, 3, 1, 2))).to(device)
            return network(given).float().cpu().numpy().transpose(0, 2, 3, 1)

    fn = of_luma(fn, network.scale) if network.input_channels == 1 else fn
    count = sum(p.numel() for p in network.model.parameters())
    details = ('0..1', 'Y' if network.input_channels == 1 else 'RGB', f'{count:,} parameters')
    return Teacher(name, f'{network.architecture.name} (spandrel)', network.scale, fn, details, digest)


def state_dict(torch, file):
    """The tensors of a file, by PyTorch's reader of weights alone, or safetensors'."""
    with file.open('rb') as stream:
        head = stream.read(9)
    if head[8:9] == b'{':
        from safetensors.torch import load_file

        return load_file(file)
    return torch.load(file, map_location='cpu', weights_only=True)
