"""RCAN's weights, in the names of the original code, of FAKD (groups with names of their own) and of BasicSR."""

from kdsr.foreign import Converted, names

GROUP = r'body(?:_group|\.)(\d+)\.'
BLOCK = GROUP + r'(?:body|residual_group)\.(\d+)\.(?:body|rcab)\.'
RULES = (
    (BLOCK + '0', lambda g, b: f'group{g + 1}/block{b + 1}/conv1'),
    (BLOCK + '2', lambda g, b: f'group{g + 1}/block{b + 1}/conv2'),
    (BLOCK + r'3\.(?:conv_du\.0|attention\.1)', lambda g, b: f'group{g + 1}/block{b + 1}/attention/squeeze'),
    (BLOCK + r'3\.(?:conv_du\.2|attention\.3)', lambda g, b: f'group{g + 1}/block{b + 1}/attention/excite'),
    (GROUP + r'(?:body\.\d+|conv)', lambda g: f'group{g + 1}/conv'),
    (r'body\.\d+|body_tail|conv_after_body', lambda: 'body'),
)


def convert(tensors):
    """Converted weights, all sizes read off the file."""
    variables, args, assumed = names.generator(tensors, RULES)
    inner = names.shape(variables, 'params/group1/block1/attention/squeeze/kernel', tensors)[-1]
    args['groups'] = names.count(variables, 'group', tensors)
    args['blocks'] = names.count(variables, 'group1/block', tensors)
    return Converted(args | {'reduction': args['features'] // inner}, variables, assumed)
