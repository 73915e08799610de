"""SRVGGNetCompact's weights: Real-ESRGAN's files, and .npz files with conv00, prelu00, conv01, ..."""

import re

from kdsr.foreign import Converted, names


def convert(tensors):
    """Converted weights, all sizes read off the file."""
    variables, layers = {}, by_layer(tensors)
    for i, layer in enumerate(layers):
        kind = 'alpha' if i % 2 else 'kernel'
        if kind not in layer:
            found = ', '.join(f'{k} {v.shape}' for k, v in layer.items())
            raise ValueError(f'its layer {i} has {found}, and no {kind}: is it another model, or one without PReLU?')
        variables |= {f'params/{place(i, len(layers))}/{leaf}': array for leaf, array in layer.items()}
    *_, channels, features = names.shape(variables, 'params/head/kernel', tensors)
    variables, scale = names.shuffled(variables, channels)
    args = {'scale': scale, 'features': features, 'blocks': names.count(variables, 'conv', tensors), 'channels': channels}
    return Converted(args, variables)


def place(layer, layers):
    """The house's name of one of the layers, which are convolutions and PReLUs by turns, a convolution first and last."""
    ends = {0: 'head', 1: 'head_prelu', layers - 1: 'up/conv1'}
    return ends.get(layer, f'{"prelu" if layer % 2 else "conv"}{layer // 2}')


def by_layer(tensors):
    """[{'kernel': `[h, w, I, O]`, 'bias': ...}, {'alpha': ...}, ...] in the network's order; ValueError for other layers."""
    found = {}
    for key, array in tensors.items():
        if match := re.fullmatch(r'(?:body\.)?(\d+)\.(weight|bias)', key):
            leaf = 'bias' if match[2] == 'bias' else 'kernel' if array.ndim == 4 else 'alpha'
            found.setdefault(int(match[1]), {})[leaf] = names.transposed(array)
        elif match := re.fullmatch(r'(conv|prelu)(\d+)/(kernel|bias|alpha)', key):
            found.setdefault(2 * int(match[2]) + (match[1] == 'prelu'), {})[match[3]] = array
        else:
            raise ValueError(f'{key} {array.shape} is no layer of its: is it another model?')
    if sorted(found) != list(range(len(found))) or len(found) < 5 or len(found) % 2 == 0:
        numbers = ', '.join(map(str, sorted(found)[:8]))
        raise ValueError(
            f'its {len(found)} layers with weights ({numbers}, ...) are no chain: is it another model, or one without PReLU?'
        )
    return [found[i] for i in range(len(found))]
