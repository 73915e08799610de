"""Losses of super-resolution and distillation: `(student, teacher, *, hyper=...) -> scalar`, jax and numpy only."""

from kdsr.losses import affinity, features, pixel

__all__ = ['affinity', 'features', 'pixel']
