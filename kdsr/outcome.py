"""What a run measures and leaves behind: validation, sample pictures, exports, the final table."""

import json
import os
import pathlib
import sys

import jax
import numpy as np

from kdsr import cost, evaluate, metrics, models, parallel, writers
from kdsr.data import benchmarks, pipeline, sources
from kdsr.models import exports

COLUMNS = {'set': '', 'network': '', **{k: evaluate.FORMATS[k] for k in ('psnr_y', 'ssim_y', 'psnr_rgb')}, 'gain_db': '+.3f'}
COST_COLUMNS = {'network': '', 'parameters': ',', 'gmacs': '.2f', 'ms': '.1f'}


def scores_table(found, lpips):
    """The table of {network: {set: scores}}, with the gain over bicubic."""
    rows = [
        {'set': s, 'network': k, **found[k][s], 'gain_db': found[k][s]['psnr_y'] - found['bicubic'][s]['psnr_y']}
        for s in found['student']
        for k in found
    ]
    return writers.table(rows, COLUMNS | ({'lpips': evaluate.FORMATS['lpips']} if lpips else {}))


class Outcome:
    """The training and validation images of a config and all that is made of its networks."""

    def __init__(self, config, workdir, samples=None):
        self.config, self.workdir, self.samples = config, pathlib.Path(workdir), samples and jax.jit(samples)
        source = sources.open_source(config.data, config.scale)
        training, held_out = sources.split(source)
        self.training = training if config.data.training else None
        self.examples = pipeline.validation_examples(held_out, config.scale, config.data.validation_images)
        self.student = exports.upscaler(models.build_block(config.student, config), None)
        self.check_channels()
        self.others = {'bicubic': evaluate.bicubic(config.scale)}
        if config.get('teacher'):
            self.others['teacher'] = models.load(config.teacher, dtype=config.dtype, scale=config.scale)

    def check_channels(self):
        """ValueError where the student takes other images than training gives it."""
        name, colour = self.config.student.name, self.config.data.colour
        taken, given = self.student.module.channels, pipeline.CHANNELS[colour]
        if taken != given:
            remedy = {1: "set config.data.colour='y'", 3: "set config.data.colour='rgb'"}.get(taken, 'choose another student')
            raise ValueError(f"config.data.colour='{colour}' gives {given} channels, the student {name} takes {taken}: {remedy}")

    def network(self, state):
        """The student as `fn(lr) -> sr`: averaged weights where there are any."""
        net = state.nets['student']
        return self.student.with_variables({'params': state.ema.get('student', net.params), **net.vars})

    def blended(self, state):
        """{'blended': fn} of weights between those that training began with and the trained ones, {} where none are asked for."""
        share = self.config.get('interpolate', 1.0)
        if share == 1:
            return {}
        _, first = exports.read(self.config.student_init)
        last = self.network(state).variables
        return {'blended': self.student.with_variables(jax.tree.map(lambda a, b: (1 - share) * a + share * b, first, last))}

    def evaluate(self, state, step, writer):
        """Validation on whole images; writes scalars and a picture, returns the PSNR that chooses the best checkpoint."""
        network = self.network(state)
        found = evaluate.score(network, self.examples, self.config.scale)
        means = {f'val/{k}': v for k, v in found.items() if k != 'images'}
        writer.scalars(step, means)
        writers.say(f'step {step}/{self.config.steps}  validation  ' + '  '.join(f'{k[4:]} {v:.4g}' for k, v in means.items()))
        if parallel.is_main():
            self.picture(network, step, writer)
            self.invented(state, step)
        return found['psnr_y']

    def psnr_y(self, state):
        """The PSNR of a state that chooses the best checkpoint, without writing anything."""
        return evaluate.score(self.network(state), self.examples, self.config.scale)['psnr_y']

    def invented(self, state, step):
        """samples/invented_N.png: a row for each kind of images that the method makes of its own."""
        if self.samples:
            made = jax.device_get(self.samples(state))
            rgb = lambda image: np.broadcast_to(image, (*image.shape[:2], 3))
            rows = [[(kind if i == 0 else '', rgb(image)) for i, image in enumerate(images)] for kind, images in made.items()]
            writers.comparison(rows, self.workdir / 'samples' / f'invented_{step:07d}.png')

    def picture(self, network, step, writer, side=64):
        """samples/step_N.png: the middle of two validation images as LR bicubic | student | teacher | HR."""
        folder, s, rows = self.workdir / 'samples', self.config.scale, []
        folder.mkdir(parents=True, exist_ok=True)
        for name, lr, hr in self.examples[:2]:
            top, left = max(lr.shape[0] - side, 0) // 2, max(lr.shape[1] - side, 0) // 2
            lr = np.float32(lr[None, top : top + side, left : left + side]) / 255
            hr = np.float32(hr[s * top : s * (top + side), s * left : s * (left + side)]) / 255
            panels = {'bicubic': self.others['bicubic'](lr), 'student': network(lr)}
            if 'teacher' in self.others:
                panels['teacher'] = self.others['teacher'](lr)
            images = {k: np.asarray(v[0]) for k, v in panels.items()}
            row = [(f'{name} {k} {metrics.psnr_y(v, hr, s):.2f} dB', v) for k, v in images.items()]
            rows.append([*row, ('HR', hr)])
            writer.image(step, f'samples/{name}', np.concatenate([v for _, v in rows[-1]], 1))
        writers.comparison(rows, folder / f'step_{step:07d}.png')

    def finish(self, state, facts):
        """Scores all networks on the validation images and the benchmarks, exports the student, writes results.json."""
        config, student = self.config, self.network(state)
        sets = {'validation': self.examples}
        for folder in filter(None, config.benchmarks.split(',')):
            sets[pathlib.Path(folder).name] = benchmarks.read(folder, config.scale)
        others = {k: v for k, v in self.others.items() if k != 'bicubic'}
        fns = {'bicubic': self.others['bicubic'], 'student': student, **self.blended(state), **others}
        extra = {'lpips': evaluate.lpips(config.lpips)} if config.get('lpips') else {}
        found = evaluate.results(fns, sets, config.scale, extra=extra)
        costs = {k: cost.summary(v) for k, v in fns.items() if k != 'bicubic'}
        results = {**found, 'cost': costs, **facts}
        if parallel.is_main():
            self.export(state, found['student'], facts)
            writers.replace(self.workdir / 'results.json', json.dumps(results, indent=1) + '\n')
            print('\n' + scores_table(found, bool(extra)))
            print('\n' + writers.table([{'network': k, **v} for k, v in costs.items()], COST_COLUMNS))
            print(
                f'(gain over bicubic; GMACs and ms on a {costs["student"]["lr_shape"][2]}x{costs["student"]["lr_shape"][1]} '
                f'LR image, {jax.devices()[0].device_kind})\nstudent: {exports.find(self.workdir)}, results: '
                f'{self.workdir / "results.json"}, pictures: {self.workdir / "samples"}'
            )
        return results

    def export(self, state, scores, facts):
        """export/<net>/ of the trained student, of its average, and of its blend with what it began with, where there are such."""
        net, config = state.nets['student'], self.config
        weights = {'student': net.params, **{f'{k}_ema': v for k, v in state.ema.items()}}
        variables = {k: {'params': v, **net.vars} for k, v in weights.items()}
        variables |= {f'student_{k}': fn.variables for k, fn in self.blended(state).items()}
        several = config.method.get('scales')  # '2,3,4' where one network is trained for all
        scales = {'scales': [int(s) for s in str(several).split(',')]} if several else {}
        for name, found in variables.items():
            exports.save(
                self.workdir / 'export' / name,
                name=config.student.name,
                args={'scale': config.scale, **config.student.args},
                **scales,
                variables=found,
                dtype=config.export_dtype,
                scores={k: {m: x for m, x in v.items() if m != 'images'} for k, v in scores.items()},
                steps=facts['steps'],
                seed=config.seed,
                data=config.data.to_dict(),
                command=' '.join(['python -m kdsr.main', *sys.argv[1:]]),
                hardware=f'{jax.device_count()} x {jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores',
                jax=jax.__version__,
            )
