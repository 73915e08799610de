"""What a run measures and leaves behind: validation, sample pictures, exports, the final table."""

import functools
import json
import os
import pathlib

import jax
import numpy as np

from kdsr import console, cost, crops, evaluate, metrics, models, parallel, sheets, writers
from kdsr import nets as networks
from kdsr.data import benchmarks, imitated, pipeline, sources
from kdsr.models import exports

COLUMNS = {'set': '', 'network': '', **{k: evaluate.FORMATS[k] for k in ('psnr_y', 'ssim_y', 'psnr_rgb')}, 'gain_db': '+.3f'}
COLUMNS |= {k: v for k, v in evaluate.FORMATS.items() if k not in COLUMNS}
SIDE = 64  # LR pixels of a cut that samples show
COST_COLUMNS = {'network': '', 'parameters': ',', 'gmacs': '.2f', 'ms': '.1f'}


def scores_table(found):
    """The table of {network: {set: scores}}, with the gain over bicubic where there is the truth to compare with."""
    rows = [{'set': s, 'network': k, **found[k][s]} for s in found['student'] for k in found if s in found[k]]
    for row in rows:
        if np.isfinite(row.get('psnr_y', np.inf)) and 'psnr_y' in row:
            row['gain_db'] = row['psnr_y'] - found['bicubic'][row['set']]['psnr_y']
    return writers.table(rows, {k: v for k, v in COLUMNS.items() if any(k in row for row in rows)})


class Outcome:
    """The training and validation images of a config and all that is made of the networks, {name: Trained}, that it trains."""

    def __init__(self, config, workdir, nets):
        self.config, self.workdir, self.nets = config, pathlib.Path(workdir), nets
        source = sources.open_source(config.data, config.scale)
        least = evaluate.smallest(config.scale, lpips=config.lpips)
        training, held_out = sources.split(source, smallest=least)
        self.degradation = pipeline.degrading(config.data, config.scale)
        taught = config.get('teacher') == networks.TAUGHT
        if taught and config.data.training:
            training = self.imitated(training)
        self.training = training if config.data.training else None
        if self.degradation:  # validation as bad as training, the same at every step
            writers.say('LR is made by config.data.degradation, of training and validation images; LR folders are not read')
            held_out = pipeline.degraded(held_out, self.degradation)
        examples = pipeline.validation_examples(held_out, config.scale, config.data.validation_images, least)
        if not examples:
            raise ValueError(f'{source.where} leaves no image for validation: it takes two, of at least {least}x{least} pixels')
        folders = filter(None, config.benchmarks.split(','))
        sets = {'validation': examples, **benchmarks.sets(folders, config.scale, taken=['validation'])}
        self.sets = {k: evaluate.scorable(v, config.scale, k, lpips=config.lpips) for k, v in sets.items()}
        if config.ema_decay and config.steps * (1 - config.ema_decay) < 3:
            long = f'averages over about {1 / (1 - config.ema_decay):.0f} steps'
            writers.say(
                f'config.ema_decay={config.ema_decay} {long}, the run has {config.steps}: much of its first weights remains'
            )
        self.student = exports.upscaler(nets['student'].module, None)
        self.check_images()
        self.others = {'bicubic': evaluate.bicubic(config.scale)}
        if config.get('teacher') and not taught:
            self.others['teacher'] = models.load(config.teacher, dtype=config.dtype, scale=config.scale)
        self.sets = evaluate.fitting(self.sets, config.scale, [self.student, *self.others.values()])
        self.examples, self.still = self.sets['validation'], []
        draw = {k: functools.partial(own, net.module) for k, net in nets.items() if (own := models.pictures(net.module))}
        self.draw = {k: jax.jit(fn) for k, fn in draw.items()}

    def imitated(self, training):
        """`training` with what its teacher made of it; ValueError as of `data.imitated`, or where LR would be made anew."""
        if self.degradation:
            raise ValueError("config.data.degradation makes other LR than config.teacher='taught' has pictures of: drop one")
        return imitated.imitated(training, self.config.scale, self.config.data.cache_dir or None)

    def check_images(self):
        """ValueError where the student takes other images than training gives it."""
        name, colour, patch = self.config.student.name, self.config.data.colour, self.config.patch
        only = models.only_size(self.student.module)
        if only and only != (patch, patch) and self.config.data.training:
            raise ValueError(f'the student {name} takes images of {only[0]}x{only[1]}, config.patch is {patch}: they must be equal')
        taken, given = self.student.module.channels, pipeline.CHANNELS[colour]
        if taken != given:
            remedy = {1: "set config.data.colour='y'", 3: "set config.data.colour='rgb'"}.get(taken, 'choose another student')
            raise ValueError(f"config.data.colour='{colour}' gives {given} channels, the student {name} takes {taken}: {remedy}")

    def network(self, state):
        """The student as `fn(lr) -> sr`: averaged weights where there are any."""
        net = state.nets['student']
        return self.student.with_variables({'params': state.ema.get('student', net.params), **net.vars})

    def evaluate(self, state, step, writer):
        """Validation on whole images; writes scalars and a picture, returns the PSNR that chooses the best checkpoint."""
        network = self.network(state)
        found = evaluate.score(network, self.examples, self.config.scale)
        means = {f'val/{k}': v for k, v in found.items() if k != 'images'}
        writer.scalars(step, means)
        writers.say(f'step {step}/{self.config.steps}  validation  ' + '  '.join(f'{k[4:]} {v:.4g}' for k, v in means.items()))
        if parallel.is_main():
            title = self.title(step, found)
            self.picture(network, step, writer, title)
            self.invented(state, step, title)
        return evaluate.psnr_of(found)

    def psnr_y(self, state):
        """The PSNR of a state that chooses the best checkpoint, without writing anything."""
        return evaluate.psnr_of(evaluate.score(self.network(state), self.examples, self.config.scale))

    def title(self, step, found):
        """What stands above the pictures of a step, whose validation scores are `found`."""
        number, images = evaluate.psnr_of(found), len(found['images'])
        against = '' if 'psnr_y' in found else " against the teacher's pictures"
        mean = f'mean of {images} images' if images > 1 else '1 image'
        return f'{self.config.name}, step {step} of {self.config.steps}, validation PSNR-Y {number:.2f} dB{against} ({mean})'

    def invented(self, state, step, title=''):
        """samples/invented_N.png: a row for each network that makes images of its own, as its module's `pictures` draws them."""
        made = {k: draw({'params': state.nets[k].params, **state.nets[k].vars}) for k, draw in self.draw.items()}
        rgb = lambda image: np.broadcast_to(image, (*image.shape[:2], 3))
        rows = [(f'made by {k}', [('', rgb(image)) for image in images]) for k, images in jax.device_get(made).items()]
        if rows:
            sheets.comparison(rows, self.workdir / 'samples' / f'invented_{step:07d}.png', title=title, height=128)

    def picture(self, network, step, writer, title=''):
        """samples/step_N.png: the middle of two validation images as bicubic | student | teacher | HR, each a cut of the whole."""
        folder, rows = self.workdir / 'samples', []
        folder.mkdir(parents=True, exist_ok=True)
        for name, place, hr, bicubic, *others in self.stills():
            rows.append((name, [bicubic, self.panel(hr, 'student', crops.upscaled(network, *place)), *others]))
            writer.image(step, f'samples/{name}', np.concatenate([v for _, v in rows[-1][1]], 1))
        sheets.comparison(rows, folder / f'step_{step:07d}.png', title=title)

    def stills(self):
        """[(name, place, HR cut, panels ...)] of two validation images: what is the same at every step, made at the first call.

        Where a teacher made the pictures, its picture comes before HR, which is the truth, or stands for it where the truth is
        unknown.
        """
        if self.still or not parallel.is_main():
            return self.still
        s, examples, theirs = self.config.scale, self.examples, "teacher's picture"
        side = min([SIDE, *(models.only_size(self.student.module) or ())])
        for name, lr, hr in examples[:2]:
            top, left = (max(length - side, 0) // 2 for length in lr.shape[:2])
            place, window = (lr, top, left, side, s), np.s_[s * top : s * (top + side), s * left : s * (left + side)]
            hr = np.float32(hr[window]) / 255
            panels = [self.panel(hr, k, crops.upscaled(fn, *place)) for k, fn in self.others.items()]
            if name in examples.teacher and name not in examples.unknown:
                panels.append(self.panel(hr, theirs, np.float32(examples.teacher[name][window]) / 255))
            self.still.append((name, place, hr, *panels, (theirs if name in examples.unknown else 'HR', hr)))
        return self.still

    def panel(self, hr, kind, sr):
        """(caption, cut): how near it is to `hr` in PSNR of Y, and in LPIPS where the config has it and the cut is large enough."""
        caption, net = f'{kind}: {metrics.psnr_y(sr, hr, self.config.scale):.2f} dB', self.config.lpips
        if net and min(hr.shape[:2]) >= evaluate.LPIPS_SIDES[net]:
            caption += f', LPIPS {evaluate.lpips(net)(sr, hr, 0):.3f}'
        return caption, sr

    def finish(self, state, facts):
        """Scores student, teacher and bicubic on all sets, exports what was trained, writes results.json."""
        config, student = self.config, self.network(state)
        others = {k: v for k, v in self.others.items() if k != 'bicubic'}
        fns = {'bicubic': self.others['bicubic'], 'student': student, **others}
        extra = {'lpips': evaluate.lpips(config.lpips)} if config.get('lpips') else {}
        console.say(f'scoring {", ".join(fns)} on {sum(map(len, self.sets.values()))} images')
        progress = functools.partial(console.progress, brief=True)
        found = evaluate.results(fns, self.sets, config.scale, extra=extra, progress=progress)
        networks = {k: v for k, v in fns.items() if k != 'bicubic'}
        sizes = [size for v in networks.values() if (size := models.only_size(v.module))]
        costs = {k: cost.summary(v, (1, *(sizes or [(120, 160)])[0])) for k, v in networks.items()}
        results = {**found, 'cost': costs, **facts}
        if parallel.is_main():
            self.export(state, found['student'], facts)
            writers.replace(self.workdir / 'results.json', json.dumps(results, indent=1) + '\n')
            console.show('\n' + scores_table(found))
            console.show('\n' + writers.table([{'network': k, **v} for k, v in costs.items()], COST_COLUMNS))
            console.show(
                f'(gain over bicubic; GMACs and ms on a {costs["student"]["lr_shape"][2]}x{costs["student"]["lr_shape"][1]} '
                f'LR image, {jax.devices()[0].device_kind})\nstudent: {exports.student(self.workdir)}, results: '
                f'{self.workdir / "results.json"}, pictures: {self.workdir / "samples"}'
            )
        return results

    def export(self, state, scores, facts):
        """export/<net>/ of every trained network that leaves the run, and export/<net>_ema/ of those that are averaged."""
        config, left = self.config, {k: net for k, net in self.nets.items() if net.exported}
        common = {
            'steps': facts['steps'],
            'seed': config.seed,
            'data': config.data.to_dict(),
            'command': console.command(),
            'hardware': f'{jax.device_count()} x {jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores',
            'jax': jax.__version__,
        }
        for name, net in left.items():
            card = {**net.card, 'network': name, **common}
            if name == 'student':
                card['scores'] = {k: {m: x for m, x in v.items() if m != 'images'} for k, v in scores.items()}
            weights = {name: state.nets[name].params, f'{name}_ema': state.ema.get(name)}
            for folder, params in ((k, v) for k, v in weights.items() if v is not None):
                variables = {'params': params, **state.nets[name].vars}
                saved = {'name': net.name, 'args': net.args, 'variables': variables, 'dtype': config.export_dtype}
                exports.save(self.workdir / 'export' / folder, **saved, **card)
