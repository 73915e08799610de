"""Losses of super-resolution and distillation: `(student, teacher, *, hyper=...) -> scalar`, jax and numpy only."""

from kdsr.losses import adversarial, affinity, contrastive, features, information, perceptual, pixel, wavelet

__all__ = ['adversarial', 'affinity', 'contrastive', 'features', 'information', 'perceptual', 'pixel', 'wavelet']
