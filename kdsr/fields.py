"""Blocks of a config, checked against their defaults: unknown names, wrong types, values out of range; each is one line."""

import difflib
import math
import numbers

from kdsr import named

KINDS = {
    bool: 'True or False',
    int: 'a whole number',
    float: 'a number',
    str: 'text',
    tuple: 'a tuple such as 1000,2000',
    dict: 'a block of fields',
}
ABOVE_0 = (1e-30, math.inf)  # what a divisor or a rate may be; float32 holds no much smaller numbers


def meant(word, known):
    """', did you mean ...?' with the nearest of `known`, '' where none is near."""
    near = difflib.get_close_matches(str(word), [str(k) for k in known], 1)
    return f", did you mean '{near[0]}'?" if near else ''


def filled(block, defaults, where, ranges=None):
    """`block` as a dict with what it leaves out taken from `defaults`, nested blocks likewise; nothing is converted.

    Args:
      block: a dict or ConfigDict. defaults: name -> value; its type is the field's, and {} is a block of any fields.
      where: the block's path, for messages: 'config.method'.
      ranges: name -> (least, most) of numbers; a dotted name is one of a nested block's.

    Raises ValueError naming the first field that is unknown, of the wrong type, or out of range.
    """
    if not hasattr(block, 'items'):
        raise ValueError(f'{where} must be {KINDS[dict]}, got {block!r}')
    ranges, found = ranges or {}, dict(defaults)
    for name, value in block.items():
        path = f'{where}.{name}'
        if name not in defaults:
            raise ValueError(f'{path} is unknown{meant(name, defaults)} (fields of {where}: {", ".join(defaults)})')
        default = defaults[name]
        if isinstance(default, dict) and default and hasattr(value, 'items'):
            inner = {k.partition('.')[2]: v for k, v in ranges.items() if k.startswith(f'{name}.')}
            value = filled(value, default, path, inner)
        found[name] = checked(value, default, path, ranges.get(name))
    return found


def checked(value, default, where, limits=None):
    """`value`, if its type is that of `default` (whole numbers are numbers as well) and it lies in `limits`; else ValueError."""
    kind = type(default)
    accepted = {int: numbers.Integral, float: numbers.Real, tuple: (tuple, list)}.get(kind, kind)
    right = hasattr(value, 'items') if kind is dict else isinstance(value, accepted)
    if not right or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f'{where}={value!r} must be {KINDS.get(kind, kind.__name__)}')
    if kind in (int, float):
        least, most = limits or (-math.inf, math.inf)
        if not (math.isfinite(value) and least <= value <= most):
            bounds = f'at least {least}' if most == math.inf else f'in [{least}, {most}]'
            raise ValueError(f'{where}={value} must be ' + (bounds if limits else 'finite'))
    return value


def chosen(where, value, known, own=False):
    """What `value` stands for among `known`, a dict, or names that stand for themselves; ValueError naming the field `where`.

    own: `value` may also be a function of a person's own, 'mypkg.losses.edges'.
    """
    if value in known:
        return known[value] if hasattr(known, 'keys') else value
    if own and '.' in value:
        return named.function(where, value)
    raise ValueError(f"{where}='{value}' is unknown{meant(value, known)} (one of {', '.join(known)})")


def weighted(where, text, known=None):
    """'10*spatial+2*attention' -> {'spatial': 10.0, 'attention': 2.0}; a term without a number has 1, equal terms add up, '' is {}.

    Raises ValueError naming the field `where` for a weight that is no number, and for a name that is not among `known`, if given.
    """
    weights = {}
    for term in filter(None, text.replace(' ', '').split('+')):
        weight, star, name = term.rpartition('*')
        if known is not None and name not in known:
            raise ValueError(f"{where}: '{name}' is unknown{meant(name, known)} (one of {', '.join(known)})")
        try:
            weights[name] = weights.get(name, 0.0) + (float(weight) if star else 1.0)
        except ValueError:
            raise ValueError(f"{where}: '{weight}' in '{term}' is no number") from None
    return weights
