"""The weights of StyleGAN2's discriminator without deviations of a minibatch, in BasicSR's and GCFSR's names."""

from kdsr.foreign import Converted, names
from kdsr.foreign.gcfsr import flattened
from kdsr.models.stylegan import width


def convert(tensors):
    """Converted weights, all sizes read off the file."""
    blocks = max(names.numbers(tensors, r'conv_body\.(\d+)\.'), default=0)
    size = 4 << blocks
    block = lambda i: f'block{size >> i}'
    rules = (
        (r'conv_body\.0\.\d', lambda: 'image'),
        (r'conv_body\.(\d+)\.conv1\.\d', lambda i: f'{block(i)}_conv1'),
        (r'conv_body\.(\d+)\.conv2\.\d', lambda i: f'{block(i)}_conv2'),
        (r'conv_body\.(\d+)\.skip\.\d', lambda i: f'{block(i)}_skip'),
        (r'final_conv\.\d', lambda: 'last'),
        (r'final_linear\.0', lambda: 'dense'),
        (r'final_linear\.1', lambda: 'logit'),
    )
    variables = names.rename(tensors, rules)
    inputs, features = names.shape(variables, 'params/last/kernel', tensors)[2:]
    if inputs == features + 1:
        raise ValueError('it reads the deviations of a minibatch: the plain StyleGAN2Discriminator is another network')
    variables['params/dense/kernel'] = flattened(variables['params/dense/kernel'], features)
    channels = names.shape(variables, 'params/image/kernel', tensors)[2]
    return Converted({'size': size, 'narrow': features / width(4), 'channels': channels}, variables)
