"""kdsr's side of the timings: the step that `kdsr.train` runs, on one batch, as a Candidate."""

import jax
import numpy as np
import timing

from kdsr import methods, parallel
from kdsr.types import Batch


def example(size, scale, patch):
    """A batch of noise: the time does not depend on the picture."""
    rng = np.random.default_rng(0)
    image = lambda side: rng.random((size, side, side, 3), np.float32)
    return Batch(image(patch), image(patch * scale))


def of_kdsr(config, batch, precision='float32', **values):
    """A Candidate that trains as `kdsr.train` does, and its method, first state and frozen networks.

    precision: of float32 products on a GPU, 'float32' or 'tensorfloat32' (jax's own choice there).
    """
    method = methods.make(config)
    frozen = parallel.place(method.frozen)
    first = jax.device_get(method.init(jax.random.key(config.seed)))
    step = parallel.pmapped(method.step)
    now, fed = [parallel.place(first)], jax.device_put(parallel.shard(batch))

    def run(n):
        with jax.default_matmul_precision(precision):
            for _ in range(n):
                now[0], metrics = step(now[0], frozen, fed)
        return float(jax.block_until_ready((now[0], metrics))[1]['loss/student'])

    def temporary():
        with jax.default_matmul_precision(precision):
            program = step.lower(now[0], frozen, fed).compile()
        return program.memory_analysis().temp_size_in_bytes / 2**20

    growth = None if jax.default_backend() == 'cpu' else lambda run: None
    name = f'kdsr {config.dtype if precision == "float32" else precision}'
    return timing.Candidate(name, run, temporary, growth, **values), (method, first, frozen)


def draws(key, config, rounds):
    """What the rounds of data-free distillation with the state's `key` draw: lists of k + 1 pairs (scale, z `[B, latent]`)."""
    method = config.method
    keys, scales = jax.random.split(key), [int(s) for s in method.scales.split(',')]

    def pair(key):
        each = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), (method.latent,)))
        return scales[int(jax.random.randint(key, (), 0, len(scales)))], np.asarray(each(np.arange(config.batch_size)))

    def of_round(n, k=method.student_steps):
        return [*(jax.random.fold_in(keys[0], k * n + i) for i in range(k)), jax.random.fold_in(keys[1], n)]

    return [[pair(key) for key in of_round(n)] for n in range(rounds)]
