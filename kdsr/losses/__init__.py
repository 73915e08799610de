"""Losses of super-resolution and distillation: `(student, teacher, *, hyper=...) -> scalar`, jax and numpy only."""

from kdsr.losses import adversarial, affinity, features, perceptual, pixel

__all__ = ['adversarial', 'affinity', 'features', 'perceptual', 'pixel']
