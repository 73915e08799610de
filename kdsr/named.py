"""Modules and functions by name, of a package of kdsr or of a person's own: 'mypkg.net', 'mypkg.losses.edges'."""

import importlib
import importlib.util
import sys
import types


def module(name, package):
    """The module `name` of `package`, or the one with this name where it is dotted ('mypkg.net'); None where there is none."""
    return loaded(str(name) if '.' in str(name) else f'{package}.{name}')


def function(where, name):
    """The function of a dotted name, 'mypkg.losses.edges'; ValueError naming the field `where` for one that is not there."""
    path, _, last = str(name).rpartition('.')
    found = getattr(loaded(path), last, None)
    if not callable(found):
        raise ValueError(f"{where}='{name}': there is no function {last or name} in a module {path or 'of a package'}")
    return found


def loaded(path):
    """The module of a dotted path, None where there is none."""
    if not all(part.isidentifier() for part in path.split('.')):
        return None
    try:
        spec = importlib.util.find_spec(path)
    except ModuleNotFoundError as e:  # of a parent; one that the parent itself lacks is another matter
        if not f'{path}.'.startswith(f'{e.name}.'):
            raise
        spec = None
    return importlib.import_module(path) if spec else None


class _Called(types.ModuleType):
    """A module that is a function as well."""

    def __call__(self, *args, **kwargs):
        """Calls the function of kdsr.api that has the name of this module."""
        return getattr(importlib.import_module('kdsr.api'), self.__name__.rpartition('.')[2])(*args, **kwargs)


def function_too(name):
    """Makes the module `name` callable: `kdsr.train(...)` is `kdsr.api.train(...)`, and `kdsr.train` still holds the loop.

    A package can have but one thing of a name, and `python -m kdsr.train` needs it to be a module.
    """
    sys.modules[name].__class__ = _Called
