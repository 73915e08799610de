"""MSRResNet's weights, in the names of BasicSR, of its older code (KAIR, traiNNer) and of mmediting."""

from kdsr.foreign import Converted, names

RULES = (
    (r'conv_first', lambda: 'head'),
    (r'(?:body|recon_trunk|trunk_net)\.(\d+)\.conv(\d)', lambda i, k: f'block{i + 1}/conv{k}'),
    (r'upconv(\d)|upsample(\d)\.upsample_conv', lambda i: f'up/conv{i}'),
    (r'conv_hr|HRconv', lambda: 'hr'),
    (r'conv_last', lambda: 'tail'),
)


def convert(tensors):
    """Converted weights, all sizes read off the file."""
    variables = names.rename(tensors, RULES)
    *_, channels, features = names.shape(variables, 'params/head/kernel', tensors)
    names.shape(variables, 'params/hr/kernel', tensors)
    variables, scale = names.shuffled(variables, features)
    args = {'scale': scale, 'features': features, 'blocks': names.count(variables, 'block', tensors), 'channels': channels}
    return Converted(args, variables)
