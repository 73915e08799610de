"""EDSR's weights, in the names of EDSR-PyTorch, of FAKD (the body in three parts) and of BasicSR."""

import re

from kdsr.foreign import Converted, names

RULES = (
    (r'body\.(\d+)\.(?:body\.0|conv1)', lambda i: f'block{i + 1}/conv1'),
    (r'body\.(\d+)\.(?:body\.2|conv2)', lambda i: f'block{i + 1}/conv2'),
    (r'body\.\d+|conv_after_body', lambda: 'body'),
)


def convert(tensors):
    """Converted weights; res_scale is in no file: 0.1 for 256 features and 1 for others, as published."""
    direct = not any(re.match(r'tail\.1\.|conv_last\.', key) for key in tensors)
    variables, args, assumed = names.generator(joined(tensors), RULES, direct)
    blocks = names.count(variables, 'block', tensors)
    args |= {'direct': True} if direct else {}
    args |= {'blocks': blocks, 'res_scale': 0.1 if args['features'] == 256 else 1.0}
    return Converted(args, variables, ('res_scale', *assumed))


def joined(tensors):
    """FAKD's body1, body2 and body3 as the one body that they were cut from."""
    lengths = [len(names.numbers(tensors, rf'body{part}\.(\d+)\.')) for part in (1, 2)]
    starts = {'1': 0, '2': lengths[0], '3': sum(lengths)}
    place = lambda m: f'body.{starts[m[1]] + int(m[2])}.'
    return {re.sub(r'^body([123])\.(\d+)\.', place, key): array for key, array in tensors.items()}
