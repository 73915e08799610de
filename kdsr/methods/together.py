"""Two methods at once: one student learns by the sum of their losses, each with its own block of fields.

    config.method = {'name': 'together', 'one': {'name': 'fakd', ...}, 'other': {'name': 'dukd', ...}, 'w_one': 1 / 255}

    L = w_one L_one + w_other L_other

The weights bring losses to one scale: that of `fakd` counts in levels of 0..255, those of most others in 0..1. Of what both
compute from the same arrays, such as the student's image of the batch, the compiler joins most. Of this project: no paper is behind
it.
"""

import jax
import numpy as np

from kdsr import methods, steps

DEFAULTS = {
    'one': {},
    'other': {},
    'w_one': 1.0,
    'w_other': 1.0,
}
PARTS = {'one': 'fakd', 'other': 'output'}  # what an empty block is


def config_of(cfg, part):
    """`cfg` of one of the two alone, its block whole."""
    block = cfg.method[part].to_dict() or {'name': PARTS[part]}
    if not block.get('name'):
        raise ValueError(f"config.method.{part}.name is missing: set e.g. config.method.{part} = {{'name': 'fakd'}}")
    alone = cfg.copy_and_resolve_references()
    with alone.unlocked():
        alone.method = block
    try:
        return methods.complete(alone)
    except ValueError as e:
        raise ValueError(str(e).replace('config.method', f'config.method.{part}')) from e


def unread(cfg):
    """{field: why} of those that the two do not read."""
    found = {}
    for part in PARTS:
        own = methods.unread(config_of(cfg, part))
        found |= {k.replace('method.', f'method.{part}.', 1): v for k, v in own.items() if k.startswith('method.')}
    return found


def same(a, b):
    """Whether two trees of variables are equal."""
    alike = jax.tree.structure(a) == jax.tree.structure(b)
    return alike and all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def make(cfg):
    """Method of a config with `student`, what the two need, and the block `method`:

    one, other: blocks of two methods ({}: fakd; output), whose networks besides the student differ in name; optimisers of those
    networks stay in them. w_one, w_other: weights of all their losses.
    """
    configs = {part: config_of(cfg, part) for part in PARTS}
    made = {part: methods.module(alone.method.name).make(alone) for part, alone in configs.items()}
    nets, frozen, named, rules = {}, {}, {}, {}
    for part, method in made.items():
        name = configs[part].method.name
        if method.losses is None:
            raise ValueError(f"config.method.{part}: '{name}' of these fields has a step of its own, which cannot be joined")
        if twice := set(method.nets) & set(nets) - {'student'}:
            raise ValueError(f"config.method.{part}: both methods train a network called '{min(twice)}': they cannot be joined")
        nets |= {k: net for k, net in method.nets.items() if k not in nets}
        rules |= {k: v for k, v in configs[part].method.items() if k.endswith('_optimizer')}
        shared = {k for k, v in method.frozen.items() if k in frozen and same(v, frozen[k])}
        named[part] = {k: k if k not in frozen or k in shared else f'{part}_{k}' for k in method.frozen}
        frozen |= {named[part][k]: v for k, v in method.frozen.items() if k not in shared}

    def losses(params, ctx):
        total, moved, parts = {}, {}, {}
        for part, method in made.items():
            own = ctx._replace(
                frozen={k: ctx.frozen[name] for k, name in named[part].items()}, vars={k: ctx.vars[k] for k in method.nets}
            )
            found, (changed, seen) = method.losses({k: params[k] for k in method.nets}, own)
            for name, loss in found.items():
                total[name] = total.get(name, 0.0) + cfg.method[f'w_{part}'] * loss
            moved, parts = moved | changed, parts | {f'{part}/{k}': v for k, v in seen.items()}
        return total, (moved, parts)

    joined = cfg.copy_and_resolve_references()
    with joined.unlocked():
        joined.method = {'name': 'together', **rules}
    return steps.method(joined, losses, nets, frozen)
