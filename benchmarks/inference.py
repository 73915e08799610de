"""How fast are whole images beside the same networks in PyTorch? Weights shared, images equal before anything is timed.

    python benchmarks/inference.py [--case=all|teacher,student,released,compact] [--size=180x320] [--repeats=7] [--pin] [--notorch]
    python benchmarks/inference.py --model=EXPORT --saved=FOLDER [--pin]

teacher: RRDBNet with 23 blocks. student, released: the compressed ESRGAN with a pixel shuffle and as it was published. compact:
SRVGGNetCompact with 16 convolutions. All x4, with random weights. With --model it is that network; --saved names files
(or a folder of them) that `python -m kdsr.export` wrote of it: .tflite, .onnx and ncnn's of this size join, by their own runtimes.

All in float32. ratio: of the least times, to the faster of PyTorch's two eager forms. of peak: the work of the plain
convolutions in that time, as a share of the fastest matrix product that numpy, jax or PyTorch manages just before. off: furthest
pixel from kdsr's image, of white. growth: memory at the peak of a run beyond what the process holds between runs.

--pin keeps the process on one core: the only way to compare on a machine that does other things as well.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import timing
import ways
from absl import flags

from kdsr import commands, cost, models, writers
from kdsr.models import exports, layers

CASE = flags.DEFINE_list('case', ['all'], 'teacher, student, released, compact, or all')
MODEL = flags.DEFINE_string('model', '', 'an export, a run or a shipped model instead')
SAVED = flags.DEFINE_list('saved', [], '.tflite, .onnx and .param files of --model, or folders of them')
SIZE = flags.DEFINE_string('size', '180x320', 'rows x columns of the input')
REPEATS = flags.DEFINE_integer('repeats', 7, 'timings of each candidate', lower_bound=1)
PIN = flags.DEFINE_bool('pin', False, 'stay on one core')
TORCH = flags.DEFINE_bool('torch', None, 'compare with PyTorch; left out: where it is installed')
COMPILE = flags.DEFINE_bool('compile', True, 'torch.compile as well: minutes for the teacher')

CASES = {
    'teacher': ('rrdb', {}),
    'student': ('rrdb_student', {}),
    'released': ('rrdb_student', {'released': True}),
    'compact': ('srvgg', {}),
}
RATIO = ('teacher', ('student', 'released'))


def agree(candidates):
    """Runs each way once: (those that run, {name: seconds}, {name: distance from the first's image}); ValueError if too far off."""
    kept, first, off, expected = [], {}, {}, None
    for way in candidates:
        began = time.perf_counter()
        try:
            result = way.call()
        except Exception as e:  # the class depends on what is missing, a C++ compiler as a rule
            if not way.optional:
                raise
            writers.say(f'{way.name}: left out, {type(e).__name__}: {str(e).strip().splitlines()[0]}')
            continue
        first[way.name] = time.perf_counter() - began
        image = way.image(result)
        expected = image if expected is None else expected
        if image.shape != expected.shape:
            raise ValueError(f'{way.name} makes {image.shape}, {candidates[0].name} {expected.shape}')
        off[way.name] = float(np.abs(np.float64(image) - expected).max())
        writers.say(
            f'{way.name}: first image after {first[way.name]:.1f} s, {off[way.name]:.1e} of white from {candidates[0].name}'
        )
        if not off[way.name] <= way.tolerance:  # so written, NaN fails
            raise ValueError(
                f'{way.name} is {off[way.name]:.1e} of white from {candidates[0].name}: not the same work, so it is not timed'
            )
        kept.append(way)
    return kept, first, off


def repeated(call):
    """`run(n)`: `call()` n times."""

    def run(n):
        for _ in range(n):
            call()

    return run


def measure(name, upscaler, lr, torch):
    """Prints the table of one network and returns {way: ms}."""
    card, variables = upscaler.card, upscaler.variables
    found = [ways.of_kdsr(upscaler, lr)]
    found += ways.of_torch(card, variables, lr, COMPILE.value) if torch else []
    found += ways.of_files(SAVED.value, lr)
    found, first, off = agree(found)
    macs, peak = work(upscaler, lr), peak_rate(torch)
    candidates = [timing.Candidate(way.name, repeated(way.call), way.compiled, way.growth) for way in found]
    rows = timing.compare(candidates, REPEATS.value, first=first, work=2 * macs)
    best = min((row['min ms'] for row, way in zip(rows, found, strict=True) if way.eager), default=None)
    for row in rows:
        row['ratio'] = row['min ms'] / best if best else None
        row |= {'off': off[row['what']], 'of peak': 1e9 * row['GFLOP/s'] / peak}
    height, width = lr.shape[1:3]
    print(
        f'{name}: {card["model"]}, {cost.parameters(variables):,} parameters, {height}x{width} -> '
        f'{height * upscaler.scale}x{width * upscaler.scale}, {macs / 1e9:.4g} GMACs, {place()}'
    )
    formats = {'what': '', 'median ms': '.1f', 'min ms': '.1f', 'ratio': '.3f', 'CPU ms': '.1f', 'first s': '.1f'}
    formats |= {'growth MiB': '.0f', 'temp MiB': '.0f', 'GFLOP/s': '.0f', 'of peak': '.0%', 'off': '.0e'}
    print(writers.table(rows, {k: f for k, f in formats.items() if any(r.get(k) is not None for r in rows)}), flush=True)
    return {row['what']: row['min ms'] for row in rows}


def work(upscaler, lr):
    """Multiply-adds of the convolutions in their plain form, each one operation."""
    with layers.plain():
        counted = cost.macs(lambda x: upscaler.module.apply(upscaler.variables, x)[0], lr)
    return counted['conv'] + counted['dot']


def place():
    """What the timings are of."""
    return jax.devices()[0].device_kind if jax.default_backend() == 'gpu' else f'{timing.cores()} CPU core(s)'


def peak_rate(torch, n=2048, times=7):
    """Floating-point operations per second of the fastest float32 matrix product of n x n."""
    a = np.random.default_rng(0).random((n, n), np.float32)
    product, on_device = jax.jit(lambda a: jnp.matmul(a, a, precision='float32')), jax.device_put(a)
    ways = {'numpy': lambda: a @ a, 'jax': lambda: product(on_device).block_until_ready()}
    if torch and jax.default_backend() == 'cpu':
        from twins.fakd import torch

        torch.set_num_threads(timing.cores())
        theirs = torch.tensor(a)
        ways['torch'] = lambda: theirs @ theirs
    seconds = {name: min(timing.seconds(lambda _, way=way: way()) for _ in range(times)) for name, way in ways.items()}
    rates = {name: 2 * n**3 / s for name, s in seconds.items()}
    print(f'\nfloat32 matrix product {n}x{n}, {place()}: ' + ', '.join(f'{k} {r / 1e9:.0f} GFLOP/s' for k, r in rates.items()))
    return max(rates.values())


def example(text, channels):
    """Noise `[1, h, w, channels]` of the size `text`: the time does not depend on the picture. ValueError for another text."""
    sides = text.split('x')
    if len(sides) != 2 or not all(s.isdecimal() and int(s) for s in sides):
        raise ValueError(f'--size={text}: give rows x columns, for instance 180x320')
    return np.random.default_rng(0).random((1, *map(int, sides), channels), np.float32)


def drawn(name, args):
    """An Upscaler of a network with random weights; biases and slopes are random as well, else equality would not see them."""
    net = models.build(name, **args)
    variables = jax.device_get(models.init(net, jax.random.key(0), np.zeros((1, 16, 16, 3), np.float32)))
    rng = np.random.default_rng(1)
    stirred = lambda a: a + np.float32(0.02) * rng.standard_normal(a.shape, np.float32) if a.ndim == 1 else a
    return exports.upscaler(net, jax.device_put(jax.tree.map(stirred, variables)), {'model': name, 'args': args})


def chosen():
    """{name: function that gives the Upscaler}; ValueError for an unknown case."""
    if MODEL.value:
        return {MODEL.value: functools.partial(models.load, MODEL.value)}
    names = list(CASES) if CASE.value == ['all'] else CASE.value
    if unknown := [n for n in names if n not in CASES]:
        raise ValueError(f'--case={unknown[0]}: one of {", ".join(CASES)}, or all')
    return {name: functools.partial(drawn, *CASES[name]) for name in names}


def main(_):
    """Measures the networks asked for."""
    torch = timing.start(PIN.value, TORCH.value)
    if SAVED.value and not MODEL.value:
        raise ValueError('--saved: name the network that the files are of, --model=EXPORT')
    example(SIZE.value, 3)
    makers = chosen()
    jax.config.update('jax_default_matmul_precision', 'float32')
    least: dict[str, Any] = {}
    for name, make in makers.items():
        upscaler = make()
        least[name] = measure(name, upscaler, example(SIZE.value, upscaler.module.channels), torch)
    teacher, students = RATIO
    for student in students:
        if teacher in least and student in least:
            times = ', '.join(
                f'{way} {ms / least[student][way]:.0f}' for way, ms in least[teacher].items() if way in least[student]
            )
            print(f'\n{teacher} / {student}, times: {times}')


if __name__ == '__main__':
    commands.run(main)
