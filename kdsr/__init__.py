"""kdsr: knowledge distillation for image super-resolution, in JAX/Flax."""
