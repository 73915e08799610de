"""RDN's weights, in the names of EDSR-PyTorch's file of that name and of FAKD."""

from kdsr.foreign import Converted, names

RULES = (
    (r'SFENet(\d)', lambda i: f'head{i}'),
    (r'RDBs\.(\d+)\.convs\.(\d+)\.conv\.0', lambda b, i: f'block{b + 1}/conv{i + 1}'),
    (r'RDBs\.(\d+)\.LFF', lambda b: f'block{b + 1}/fuse'),
    (r'GFF\.0', lambda: 'fuse'),
    (r'GFF\.1', lambda: 'body'),
)


def convert(tensors):
    """Converted weights; the range of its images, 0..255 in the original, is in no file."""
    last = max(names.numbers(tensors, r'UPNet\.(\d+)\.'), default=0)
    tail, ups = (rf'UPNet\.{last}', lambda: 'tail'), (r'UPNet\.(\d+)', lambda i: f'up/conv{i // 2 + 1}')
    variables = names.rename(tensors, [*RULES, tail, ups])
    *_, channels, features = names.shape(variables, 'params/head1/kernel', tensors)
    growth = names.shape(variables, 'params/tail/kernel', tensors)[2]
    variables, scale = names.shuffled(variables, growth)
    blocks, layers = (names.count(variables, unit, tensors) for unit in ('block', 'block1/conv'))
    args = {'scale': scale, 'features': features, 'blocks': blocks, 'layers': layers, 'growth': growth}
    return Converted(args | {'rgb_range': 255.0, 'channels': channels}, variables, ('rgb_range',))
