"""VDSR's weights: .npz files with conv00, conv01, ... and the names of github.com/twtygqyy/pytorch-vdsr."""

from kdsr.foreign import Converted, names

RULES = (
    (r'input', lambda: 'head'),
    (r'residual_layer\.(\d+)\.conv', lambda i: f'block{i + 1}'),
    (r'output', lambda: 'tail'),
)


def convert(tensors):
    """Converted weights, sizes read off the file; scale 4 is one of several, of which `models.load` chooses."""
    variables = chain(tensors) if 'conv00/kernel' in tensors else names.rename(tensors, RULES)
    *_, channels, features = names.shape(variables, 'params/head/kernel', tensors)
    args = {'scale': 4, 'features': features, 'blocks': names.count(variables, 'block', tensors), 'channels': channels}
    return Converted(args | {'bias': 'params/head/bias' in variables}, variables)


def card(_):
    """The scales that one set of weights was trained for."""
    return {'scales': [2, 3, 4]}


def chain(tensors):
    """The house's names for conv00, conv01, ...: head, block1, ..., tail. Other names are kept: `exports.check` will list them."""
    last = max(names.numbers(tensors, r'conv(\d+)/'))
    place = {'conv00': 'head', f'conv{last:02}': 'tail', **{f'conv{i:02}': f'block{i}' for i in range(1, last)}}
    split = {key: key.partition('/') for key in tensors}
    return {f'params/{place[s]}/{leaf}' if s in place else key: tensors[key] for key, (s, _, leaf) in split.items()}
