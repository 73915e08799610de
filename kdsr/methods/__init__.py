"""Distillation methods by name: `make(cfg)` calls `make` of kdsr/methods/<cfg.method.name>.py."""

import difflib
import importlib
import pkgutil


def names():
    """The methods there are: the modules of this folder."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


def make(cfg):
    """The Method of `cfg.method.name`; ValueError with a suggestion for an unknown one."""
    name = cfg.method.name
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        hint = f", did you mean '{near[0]}'?" if near else ''
        raise ValueError(f"config.method.name='{name}' is unknown{hint} (methods: {', '.join(names())})")
    return importlib.import_module(f'{__name__}.{name}').make(cfg)
