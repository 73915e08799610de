"""Distillation methods by name: `make(cfg)` calls `make` of kdsr/methods/<cfg.method.name>.py, or of a module of your own.

Beside `make` a method's module has DEFAULTS, the fields of its block: what a config leaves out is taken from there, and what is
none of them is refused. A network k with an optimiser of its own has the field k_optimizer, {} for that of the student. RANGES
says what its numbers may be (kdsr.fields), and `unread(cfg)` names the fields that a choice does not read: {'method.pool': why}.
What fields mean stands in kdsr.meanings, of a module of your own in its ABOUT, {field: text}: `--help` beside a config shows it.
A module of your own (`method.name='mypkg.distil'`) may go without all of them.
"""

import importlib
import pkgutil

from kdsr import fields, named, optim


def names():
    """The methods there are: the modules of this folder with a `make`."""
    found = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return [name for name in found if hasattr(importlib.import_module(f'{__name__}.{name}'), 'make')]


def module(name):
    """The module of a method; ValueError with a suggestion for an unknown one."""
    found = named.module(name, __name__)
    if not hasattr(found, 'make'):
        known = names()
        own = f'; {name} has no make' if found and '.' in name else ''
        raise ValueError(f"config.method.name='{name}' is unknown{fields.meant(name, known)} (methods: {', '.join(known)}{own})")
    return found


def defaults(name):
    """The fields of a method's block, its name included; None for a module of your own that does not say."""
    found = getattr(module(name), 'DEFAULTS', None)
    return None if found is None else {'name': name, **found}


def complete(cfg):
    """`cfg` with what its block `method` leaves out; `cfg` itself where nothing is missing.

    Raises ValueError naming a field of the block that the method does not know, or whose value is of another type or out of range.
    """
    if 'name' not in (cfg.get('method') or ()):
        raise ValueError("config.method.name is missing: set e.g. config.method = {'name': 'fakd'}")
    known = defaults(cfg.method.name)
    if known is None:
        return cfg
    whole = fields.filled(cfg.method.to_dict(), known, 'config.method', getattr(module(cfg.method.name), 'RANGES', None))
    for name in (k for k in whole if k.endswith('optimizer') and whole[k]):
        whole[name] = fields.filled(whole[name], optim.DEFAULTS, f'config.method.{name}')
        optim.check(whole[name], f'config.method.{name}', cfg.steps)
    if whole == cfg.method.to_dict():
        return cfg
    cfg = cfg.copy_and_resolve_references()
    with cfg.unlocked():
        cfg.method = whole
    return cfg


def unread(cfg):
    """{field: why} of those that the method of `cfg` does not read, e.g. 'method.pool', or 'patch'."""
    return getattr(module(cfg.method.name), 'unread', lambda _: {})(cfg)


def make(cfg):
    """The Method of `cfg.method.name`; ValueError with a suggestion for an unknown one, and as `complete`."""
    cfg = complete(cfg)
    return module(cfg.method.name).make(cfg)
