"""What do row blocks save: spatial affinity and its gradient, kdsr beside PyTorch with whole matrices?

    python benchmarks/affinity.py [--repeats=7] [--pin] [--notorch]

One image of 96x96 and four of 48x48, 64 channels. temp MiB: what the compiled program needs besides its arguments and results.
"""

import jax
import numpy as np
import timing
from absl import flags

from kdsr import commands, compiled
from kdsr.losses import affinity

REPEATS = flags.DEFINE_integer('repeats', 7, 'timings of each candidate', lower_bound=1)
PIN = flags.DEFINE_bool('pin', False, 'stay on one core')
TORCH = flags.DEFINE_bool('torch', None, 'compare with PyTorch; left out: where it is installed')

SHAPES = (1, 96, 96, 64), (4, 48, 48, 64)


def of_kdsr(student, teacher):
    """A Candidate, and a function that gives the student's gradient `[B, H, W, C]`."""
    gradient = compiled.jit(jax.value_and_grad(affinity.spatial))
    pair = jax.device_put((student, teacher))

    def run(n):
        for _ in range(n):
            out = gradient(*pair)
        return float(jax.block_until_ready(out)[0])

    temp = lambda: gradient.lower(*pair).compile().memory_analysis().temp_size_in_bytes / 2**20
    return timing.Candidate('kdsr', run, temp), lambda: gradient(*pair)[1]


def of_torch(student, teacher):
    """The same of the twin in PyTorch."""
    from twins.fakd import spatial_affinity, torch

    device = 'cuda' if jax.default_backend() == 'gpu' else 'cpu'
    torch.set_num_threads(timing.cores())
    student, teacher = (torch.tensor(x, device=device).permute(0, 3, 1, 2).contiguous() for x in (student, teacher))
    student.requires_grad_()

    def run(n):
        for _ in range(n):
            student.grad = None
            loss = spatial_affinity(student, teacher)
            loss.backward()
        return loss.item()

    return timing.Candidate('torch', run), lambda: student.grad.permute(0, 2, 3, 1).cpu().numpy()


def check_gradients(ours, theirs):
    """ValueError unless the gradients agree in all but a few positions.

    Where two affinities are equal up to rounding, the sign of their difference, hence the gradient, is anybody's guess.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    off = np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)
    if not np.quantile(off, 0.99) < 1e-2 or not np.median(off) < 1e-4:
        raise ValueError(f'the gradients differ: by {np.median(off):.1e} of their length in the median, {off.max():.1e} at most')


def measure(shape, torch):
    """Prints the table of one shape."""
    rng = np.random.default_rng(0)
    pair = [rng.standard_normal(shape).astype(np.float32) for _ in range(2)]
    made = [of_torch(*pair)] * torch + [of_kdsr(*pair)]
    candidates = [candidate for candidate, _ in made]
    first = timing.agree(candidates)
    if torch:
        theirs, ours = (gradient() for _, gradient in made)
        check_gradients(ours, theirs)
    print(f'\nspatial affinity and its gradient, {" x ".join(map(str, shape))}')
    print(timing.table(timing.compare(candidates, REPEATS.value, first=first)), flush=True)


def main(_):
    """Measures both shapes."""
    torch = timing.start(PIN.value, TORCH.value)
    for shape in SHAPES:
        measure(shape, torch)


if __name__ == '__main__':
    commands.run(main)
