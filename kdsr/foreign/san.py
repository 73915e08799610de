"""SAN's weights, in the names of the released code and of FAKD, without the parameters that it never uses."""

from kdsr.foreign import Converted, names

RULES = (
    (r'gamma', lambda: 'gamma'),
    (r'RG\.(\d+)\.rcab\.(\d+)\.conv_first\.0', lambda g, b: f'group{g + 1}/block{b + 1}/conv1'),
    (r'RG\.(\d+)\.rcab\.(\d+)\.conv_first\.2', lambda g, b: f'group{g + 1}/block{b + 1}/conv2'),
    (r'RG\.(\d+)\.soca\.conv_du\.0', lambda g: f'group{g + 1}/attention/squeeze'),
    (r'RG\.(\d+)\.soca\.conv_du\.2', lambda g: f'group{g + 1}/attention/excite'),
    (r'RG\.(\d+)\.conv_last', lambda g: f'group{g + 1}/conv'),
    (r'non_local\.non_local\.theta', lambda: 'nonlocal/theta'),
    (r'non_local\.non_local\.phi\.0', lambda: 'nonlocal/phi'),
    (r'non_local\.non_local\.g\.0', lambda: 'nonlocal/value'),
    (r'non_local\.non_local\.W', lambda: 'nonlocal/conv'),
    (r'RG\.\d+\.gamma|conv_last|non_local\.soca\..*', None),  # no gradient reaches these
)


def convert(tensors):
    """Converted weights, all sizes read off the file."""
    variables, args, assumed = names.generator(tensors, RULES)
    inner = names.shape(variables, 'params/group1/attention/squeeze/kernel', tensors)[-1]
    args['groups'] = names.count(variables, 'group', tensors)
    args['blocks'] = names.count(variables, 'group1/block', tensors)
    if 'params/gamma' in variables:
        variables['params/gamma'] = variables['params/gamma'].reshape(())
    return Converted(args | {'reduction': args['features'] // inner}, variables, assumed)
