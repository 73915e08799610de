"""What a run measures and leaves behind: validation, sample pictures, exports, the final table."""

import json
import os
import pathlib
import sys

import jax
import numpy as np

from kdsr import cost, crops, evaluate, metrics, models, parallel, writers
from kdsr.data import benchmarks, pipeline, sources
from kdsr.models import exports

COLUMNS = {'set': '', 'network': '', **{k: evaluate.FORMATS[k] for k in ('psnr_y', 'ssim_y', 'psnr_rgb')}, 'gain_db': '+.3f'}
COLUMNS |= {k: v for k, v in evaluate.FORMATS.items() if k not in COLUMNS}
COST_COLUMNS = {'network': '', 'parameters': ',', 'gmacs': '.2f', 'ms': '.1f'}


def scores_table(found):
    """The table of {network: {set: scores}}, with the gain over bicubic where there is the truth to compare with."""
    rows = [{'set': s, 'network': k, **found[k][s]} for s in found['student'] for k in found if s in found[k]]
    for row in rows:
        if np.isfinite(row.get('psnr_y', np.inf)) and 'psnr_y' in row:
            row['gain_db'] = row['psnr_y'] - found['bicubic'][row['set']]['psnr_y']
    return writers.table(rows, {k: v for k, v in COLUMNS.items() if any(k in row for row in rows)})


class Outcome:
    """The training and validation images of a config and all that is made of its networks."""

    def __init__(self, config, workdir, samples=None):
        self.config, self.workdir, self.samples = config, pathlib.Path(workdir), samples and jax.jit(samples)
        source = sources.open_source(config.data, config.scale)
        least = evaluate.smallest(config.scale, lpips=config.lpips)
        training, held_out = sources.split(source, smallest=least)
        self.training = training if config.data.training else None
        examples = pipeline.validation_examples(held_out, config.scale, config.data.validation_images, least)
        if not examples:
            raise ValueError(f'{source.where} leaves no image for validation: it takes two, of at least {least}x{least} pixels')
        folders = filter(None, config.benchmarks.split(','))
        sets = {'validation': examples, **benchmarks.sets(folders, config.scale, taken=['validation'])}
        self.sets = {k: evaluate.scorable(v, config.scale, k, lpips=config.lpips) for k, v in sets.items()}
        self.examples, self.still = self.sets['validation'], {}
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
        return evaluate.psnr_of(found)

    def psnr_y(self, state):
        """The PSNR of a state that chooses the best checkpoint, without writing anything."""
        return evaluate.psnr_of(evaluate.score(self.network(state), self.examples, self.config.scale))

    def invented(self, state, step):
        """samples/invented_N.png: a row for each kind of images that the method makes of its own."""
        if self.samples:
            made = jax.device_get(self.samples(state))
            rgb = lambda image: np.broadcast_to(image, (*image.shape[:2], 3))
            rows = [[(kind if i == 0 else '', rgb(image)) for i, image in enumerate(images)] for kind, images in made.items()]
            writers.comparison(rows, self.workdir / 'samples' / f'invented_{step:07d}.png')

    def picture(self, network, step, writer, side=64):
        """samples/step_N.png: the middle of two validation images as LR bicubic | student | teacher | HR.

        Each is a cut of the whole image. Where a teacher made the pictures, its picture comes before HR, which is the truth, or
        stands for it where the truth is unknown.
        """
        folder, s, rows, examples = self.workdir / 'samples', self.config.scale, [], self.examples
        folder.mkdir(parents=True, exist_ok=True)
        for name, lr, hr in examples[:2]:
            top, left = (max(length - side, 0) // 2 for length in lr.shape[:2])
            place, window = (lr, top, left, side, s), np.s_[s * top : s * (top + side), s * left : s * (left + side)]
            if name not in self.still:  # the same at every step
                self.still[name] = {k: crops.upscaled(fn, *place) for k, fn in self.others.items()}
            images = {'bicubic': self.still[name]['bicubic'], 'student': crops.upscaled(network, *place), **self.still[name]}
            if name in examples.teacher and name not in examples.unknown:
                images["teacher's picture"] = np.float32(examples.teacher[name][window]) / 255
            aim, hr = "teacher's picture" if name in examples.unknown else 'HR', np.float32(hr[window]) / 255
            row = [(f'{name} {k} {metrics.psnr_y(v, hr, s):.2f} dB', v) for k, v in images.items()]
            rows.append([*row, (aim, hr)])
            writer.image(step, f'samples/{name}', np.concatenate([v for _, v in rows[-1]], 1))
        writers.comparison(rows, folder / f'step_{step:07d}.png')

    def finish(self, state, facts):
        """Scores all networks on the validation images and the benchmarks, exports the student, writes results.json."""
        config, student = self.config, self.network(state)
        others = {k: v for k, v in self.others.items() if k != 'bicubic'}
        fns = {'bicubic': self.others['bicubic'], 'student': student, **self.blended(state), **others}
        extra = {'lpips': evaluate.lpips(config.lpips)} if config.get('lpips') else {}
        found = evaluate.results(fns, self.sets, config.scale, extra=extra)
        costs = {k: cost.summary(v) for k, v in fns.items() if k != 'bicubic'}
        results = {**found, 'cost': costs, **facts}
        if parallel.is_main():
            self.export(state, found['student'], facts)
            writers.replace(self.workdir / 'results.json', json.dumps(results, indent=1) + '\n')
            print('\n' + scores_table(found))
            print('\n' + writers.table([{'network': k, **v} for k, v in costs.items()], COST_COLUMNS))
            print(
                f'(gain over bicubic; GMACs and ms on a {costs["student"]["lr_shape"][2]}x{costs["student"]["lr_shape"][1]} '
                f'LR image, {jax.devices()[0].device_kind})\nstudent: {exports.student(self.workdir)}, results: '
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
