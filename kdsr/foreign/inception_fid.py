"""FID's InceptionV3: pytorch-fid's pt_inception-2015-12-05, TensorFlow's network of 2015 in torchvision's names."""

from kdsr.foreign import Converted, names

CLASSES = 1008  # of the network that FID is defined by; torchvision's has 1000
PARTS = {'conv': '', 'bn': '/bn'}
LAYERS = (
    (r'Conv2d_(\d[ab])_\dx\d\.(conv|bn)', lambda place, part: f'conv{place}{PARTS[part]}'),
    (r'Mixed_(\d[a-e])\.(branch\w+)\.(conv|bn)', lambda place, branch, part: f'mixed{place}/{branch}{PARTS[part]}'),
    (r'fc', None),
)


def convert(tensors):
    """Converted weights, the classes left out; ValueError where they have other names, or are not of FID's network."""
    if 'Mixed_7c.branch_pool.conv.weight' not in tensors:
        raise ValueError(
            f'it has no Mixed_7c.branch_pool.conv.weight: is it another model? It begins with {names.beginning(tensors)}'
        )
    classes = len(tensors.get('fc.weight', ()))
    if classes != CLASSES:
        raise ValueError(
            f"FID's InceptionV3 has {CLASSES} classes, this one {classes or 'none'}: torchvision's is another "
            "network; FID is defined by pytorch-fid's file pt_inception-2015-12-05"
        )
    return Converted({}, names.rename_normed(tensors, LAYERS))
