"""Which generator is nearest to real pictures? Runs of one size side by side, on a folder of pictures that none of them saw.

    python benchmarks/faces.py --data=FACES64/test --out=docs/measured/sdakd runs/gcfsr_faces64 runs/sdakd/*_[0-9]
    python benchmarks/faces.py --data=FACES64/test --out=docs/measured/sdakd --print                # the tables of what is there

OUT/scores.json keeps one entry a run, and a run that has one is left out. fd_lite0, fd_vgg16: Frechet distance to the truths, the
first by a network that no loss here looks through. colour: mean absolute difference of a picture's mean colour from its truth's, in
levels of 255. gradient: at the pictures, the length of w_adv times the game's gradient over that of the pixel term's, by the
run's own critic. balance, accuracy, real, fake: means of the logs of the last stage. A before B is said where gains.before
says so of fd by both networks: in every seed of 3 or more, and by more than twice the pooled deviation of the seeds.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from kdsr import commands, compiled, console, critics, frechet, gains, metrics, models, writers
from kdsr.data import benchmarks
from kdsr.models import exports, perceptual

DATA = flags.DEFINE_string('data', None, 'folder of pictures')
OUT = flags.DEFINE_string('out', None, 'folder of scores.json and tables.md', required=True)
SCALE = flags.DEFINE_integer('scale', 0, "of the pictures shown; 0: each network's own", lower_bound=0)
CRITIC = flags.DEFINE_string('critic', '', "export of a critic for runs that have none of their own (default: no 'gradient')")
PRINT = flags.DEFINE_bool('print', False, 'score nothing, print the tables of what is there')

BATCH = 50
JUDGED = 200  # pictures that gradients are taken at
RANKED = ('fd_lite0', 'fd_vgg16')
FORMATS = {'fd_lite0': '.1f', 'fd_vgg16': '.1f', 'lpips': '.4f', 'psnr_y': '.2f', 'colour': '.2f', 'gradient': '.2f'}
LOGGED = {'balance': '.2f', 'accuracy': '.2f', 'real': '.2f', 'fake': '.2f'}


def batches(fn, *arrays):
    """`fn` of BATCH rows of the arrays at a time, joined: one shape, one program. Their number must divide by BATCH."""
    return np.concatenate([np.asarray(fn(*(x[i : i + BATCH] for x in arrays))) for i in range(0, len(arrays[0]), BATCH)])


class Pictures:
    """The test pictures and their features by each network, taken once."""

    def __init__(self, folder, scale):
        examples = benchmarks.read(folder, scale)
        examples = examples[: len(examples) // BATCH * BATCH]
        self.lr, self.hr = (np.stack([e[i] for e in examples]) for i in (1, 2))
        self.networks = [frechet.network(name) for name in frechet.BUILT_IN]
        self.lpips = perceptual.lpips('alex')
        self.features = [batches(network, self.hr) for network in self.networks]

    def scores(self, made):
        """{column: value} of pictures `[N, H, W, 3]`, 8-bit values in [0, 1]."""
        found = {
            network.column: frechet.distance(batches(network, made), features)
            for network, features in zip(self.networks, self.features, strict=True)
        }
        truth = np.float32(self.hr / 255)
        found['lpips'] = float(batches(self.lpips, made, truth).mean())
        found['psnr_y'] = float(np.mean([metrics.psnr_y(a, b, 8) for a, b in zip(made, truth, strict=True)]))
        found['colour'] = float(255 * np.abs(made.mean((1, 2)) - truth.mean((1, 2))).mean())
        return found | {'pictures': len(made)}


def enlarged(run, lr):
    """Its pictures of `lr` `[N, h, w, 3]` uint8, as 8 bits hold them."""
    net, variables, _ = models.network(run)
    fn = compiled.jit(lambda v, x: net.apply(v, x)[0])
    return np.float32(metrics.quantise(batches(lambda x: fn(variables, np.float32(x / 255)), lr)))


def last(run):
    """The folder of a run's last stage."""
    file = run / 'stages.json'
    return run / json.loads(file.read_text())['stages'][-1] if file.is_file() else run


def said(folder):
    """{'balance': ...}: means over what the logs in `folder` say of the critic, or of the first of several."""
    rows, found = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()], {}
    for name in LOGGED:
        values = [next((v for k, v in row.items() if k.startswith('disc') and k.endswith(f'_{name}')), None) for row in rows]
        values = [v for v in values if v is not None]
        found |= {name: float(np.mean(values))} if values else {}
    return found


def gradient(method, path, made, truth):
    """How long w_adv times the game's gradient is beside the pixel term's, at `made` against `truth`, by the critic of `path`."""
    card, variables = exports.read(path)
    net = models.build(card['model'], **card['args'])
    play = critics.GAMES[method['adversarial']]

    def fooled(images, real):
        logits = [net.apply(variables, x)[0] for x in (real, images)]
        return method['w_adv'] * play(*logits, _Whole)[0]

    def off(images, real):
        return method['w_pixel'] * method['pixel_range'] * jnp.abs(images - real).mean()

    both = compiled.jit(lambda *pair: jnp.array([jnp.linalg.norm(jax.grad(f)(*pair)) for f in (fooled, off)]))
    found = batches(lambda *pair: both(*pair)[None], made[:JUDGED], truth[:JUDGED])
    return float(np.mean(found[:, 0] / found[:, 1]))


class _Whole:
    """What a game asks of a step's context: here a batch is whole."""

    mean = staticmethod(lambda x: x)


def measured(run, pictures):
    """The entry of one run."""
    folder = last(run)
    method, found = json.loads((folder / 'config.json').read_text())['method'], said(folder)
    made = enlarged(run, pictures.lr)
    found |= pictures.scores(made)
    own = folder / 'export/disc'
    critic = own if own.is_dir() else method.get('teacher_disc') or CRITIC.value
    if critic and method.get('w_adv') and method.get('adversarial') in critics.GAMES:
        found['gradient'] = gradient(method, critic, made, np.float32(pictures.hr / 255))
    return found


def arms(scores):
    """{arm: {seed: entry}}; a run whose name does not end in _SEED is an arm with one seed."""
    found = {}
    for name, entry in scores.items():
        arm, _, seed = name.rpartition('_')
        arm, seed = (arm, seed) if arm and seed.isdigit() else (name, '0')
        found.setdefault(arm, {})[seed] = entry
    return found


def report(scores):
    """The tables as Markdown."""
    found, rows = arms(scores), []
    for arm, runs in found.items():
        row = {'arm': arm, 'seeds': str(len(runs))}
        for column, f in (FORMATS | LOGGED).items():
            values = [entry[column] for entry in runs.values() if column in entry]
            spread = f' ± {np.std(values, ddof=1):{f}}' if len(values) > 1 and column in FORMATS else ''
            row[column] = f'{np.mean(values):{f}}{spread}' if values else ''
        rows.append(row)
    several = [arm for arm, runs in found.items() if len(runs) >= 3]
    said = []
    for i, a in enumerate(several):
        for b in several[i + 1 :]:
            pair = ((a, b), (b, a))
            first = next((x for x, y in pair if gains.before(found[x], found[y], RANKED)), None)
            said.append(f'{first} before {b if first == a else a}' if first else f'{a}, {b}: not separable')
    columns = dict.fromkeys(dict.fromkeys(k for row in rows for k in row), '')
    return '\n\n'.join([writers.narrow(rows, columns), *said])


def main(args):
    """Scores what has none yet, and prints the tables."""
    out = pathlib.Path(OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    file = out / 'scores.json'
    scores = json.loads(file.read_text()) if file.is_file() else {}
    runs = [pathlib.Path(path) for path in args[1:] if pathlib.Path(path).name not in scores]
    if runs and not PRINT.value:
        if not DATA.value:
            raise ValueError('--data=FOLDER names the pictures that runs are scored on')
        scale = SCALE.value or models.network(runs[0])[0].scale
        pictures, show = Pictures(DATA.value, scale), console.progress('runs')
        for i, run in enumerate(runs, 1):
            scores[run.name] = measured(run, pictures)
            writers.replace(file, json.dumps(scores, indent=1) + '\n')
            show(i, len(runs))
    text = report(scores)
    writers.replace(out / 'tables.md', text + '\n')
    print(text)


if __name__ == '__main__':
    commands.run(main, arguments=True)
