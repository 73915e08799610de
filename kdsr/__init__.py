"""kdsr: knowledge distillation for image super-resolution, in JAX/Flax.

`kdsr.config`, `kdsr.train`, `kdsr.load`, `kdsr.evaluate`, `kdsr.upscale`, `kdsr.teach`, `kdsr.compare`, `kdsr.export` and
`kdsr.report` are what the commands do (kdsr.api); `kdsr.losses` are functions of arrays that need jax and numpy only. Nothing is
imported before it is used.
"""

import importlib

__version__ = '0.1.0'


def __getattr__(name):
    if name == 'load':
        return importlib.import_module('kdsr.api').load
    if name.startswith('_'):
        raise AttributeError(f'module kdsr has no attribute {name!r}')
    try:
        return importlib.import_module(f'kdsr.{name}')
    except ModuleNotFoundError as e:
        if e.name != f'kdsr.{name}':
            raise
        raise AttributeError(f'module kdsr has no attribute {name!r}') from None
