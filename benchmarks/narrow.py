"""What does narrowing a generator save? Parameters, multiply-adds and milliseconds of teachers and of fractions of their channels.

    python benchmarks/narrow.py [--pin] [--repeats=5] [--families=gcfsr,rrdb] [--parts=1,2,4,8]

One image, random weights, which cost what trained ones do. gcfsr: 512x512 from 32x32, the style as long as the teacher's; rrdb:
RRDBNet of 23 blocks on 180x320, features and growth divided. ratio: the teacher's minimum over this one's. The SDAKD paper claims
up to 4.35 times, on hardware that is not named.
"""

import itertools

import jax
import numpy as np
import timing
from absl import flags

from kdsr import commands, compiled, console, cost, models, writers

PIN = flags.DEFINE_bool('pin', False, 'stay on one core')
REPEATS = flags.DEFINE_integer('repeats', 5, 'calls of each network, of which the shortest counts', lower_bound=1)
FAMILIES = flags.DEFINE_list('families', ['gcfsr', 'rrdb'], 'which networks')
PARTS = flags.DEFINE_list('parts', ['1', '2', '4', '8'], 'divisors of the channels')

COLUMNS = {'network': '', 'channels': '', 'parameters': ',', 'gmacs': '.2f', 'ms': '.0f', 'ratio': '.2f'}
NETWORKS = {
    'gcfsr': (lambda part: {'out_size': 512, 'scale': 16, 'full_scale': 32, 'narrow': 1 / part}, (32, 32)),
    'rrdb': (lambda part: {'features': 64 // part, 'growth': 32 // part, 'blocks': 23}, (180, 320)),
}


def network(family, part):
    """(fn(variables, lr) -> image, variables of random numbers, lr) of a family's generator with 1/part of the channels."""
    fields, sides = NETWORKS[family]
    net, lr = models.build(family, **fields(part)), np.full((1, *sides, 3), 0.5, np.float32)
    rng = np.random.default_rng(0)
    # shapes alone: the initialisers of a GCFSR take a minute to compile
    shapes = jax.eval_shape(net.init, jax.random.key(0), lr)
    draw = lambda x: np.float32(0.02 * rng.standard_normal(x.shape))
    return (lambda v, x: net.apply(v, x)[0]), jax.device_put(jax.tree.map(draw, shapes)), lr


def measured(family, part):
    """The row of one network, but for its ratio."""
    fn, variables, lr = network(family, part)
    counted, call = cost.macs(fn, variables, lr), compiled.jit(fn)
    jax.block_until_ready(call(variables, lr))
    times = [timing.seconds(lambda n: jax.block_until_ready(call(variables, lr))) for _ in range(REPEATS.value)]
    return {
        'network': family,
        'channels': '1' if part == 1 else f'1/{part}',
        'parameters': cost.parameters(variables),
        'gmacs': (counted['conv'] + counted['dot']) / 1e9,
        'ms': 1e3 * min(times),
    }


def main(_):
    """Prints one table a family."""
    if PIN.value:
        timing.pin()
    parts, show = sorted(map(int, PARTS.value)), console.progress('networks')
    wanted, rows = list(itertools.product(FAMILIES.value, parts)), []
    for i, (family, part) in enumerate(wanted, 1):
        rows.append(measured(family, part))
        show(i, len(wanted))
    for family in FAMILIES.value:
        own = [row for row in rows if row['network'] == family]
        print(writers.table([row | {'ratio': own[0]['ms'] / row['ms']} for row in own], COLUMNS))


if __name__ == '__main__':
    commands.run(main)
