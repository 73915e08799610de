"""Upscalers side by side on your own pictures: one page to show, with what each costs here.

    python -m kdsr.compare photo.jpg old_photos --models=teachers/net,runs/small --out=compared
    python -m kdsr.compare ../data/Set14 --models=net.onnx,light_x4,photo_x4 --out=compared

The first model is the teacher: the others are measured by its pictures. It may be a file of another framework, as of kdsr.teach. A
folder with HR/ (and LR_x4/) has a truth as well; any other is pictures to enlarge. Writes compared/: sheet.png, index.html (the
sheet and the table in one file), compared.json.
"""

import functools
import json
import pathlib

import jax.numpy as jnp
import numpy as np
from absl import flags

from kdsr import commands, console, cost, document, evaluate, named, sheets, teachers, writers
from kdsr.crops import hardest
from kdsr.data import benchmarks, layouts
from kdsr.data.images import read_rgb
from kdsr.data.resize import imresize
from kdsr.models import exports
from kdsr.paths import expanded, fresh, written

COLUMNS = {
    'model': '',
    'parameters': ',',
    'megabytes': '.2f',
    'gmacs': '.2f',
    'ms': '.1f',
    'memory_mib': '.0f',
    **{f'{by}{name}': evaluate.FORMATS[name] for by in (evaluate.TEACHER, '') for name in ('psnr_y', 'ssim_y', 'lpips')},
    'colour': '.2f',
}
NOTE = (
    'megabytes: of the file; GMACs, ms and MiB on a 160x120 picture, here; teacher_...: by the pictures of the teacher, the others '
    'by the truth; LPIPS is nearer where it is lower; colour: how far the mean of a channel moved at most, of 255 levels'
)


def gathered(paths, scale, side):
    """The `benchmarks.Examples` of files and folders, of each the middle of at most `side` x `side` LR pixels, and says so.

    Raises FileNotFoundError, ValueError of a path that holds no picture, and where two pictures have one name.
    """
    found = benchmarks.Examples()
    for path in paths:
        if expanded(path).is_file():
            more = benchmarks.Examples([benchmarks.Example(expanded(path).stem, read_rgb(expanded(path)), None)])
            more.unknown = {more[0].name}
        elif [room for room in layouts.hr_folders(path) if room != expanded(path)]:
            more = benchmarks.read(path, scale)
        else:
            more = benchmarks.read_lr(f'{path}{benchmarks.LR_ONLY}')
        if again := {one.name for one in found} & {one.name for one in more}:
            raise ValueError(f"two pictures are called '{sorted(again)[0]}', and scores go by that name: give one another")
        found += more
        found.unknown |= more.unknown
    if cut := [one.name for one in found if max(one.lr.shape[:2]) > side]:
        writers.say(f'of {len(cut)} of {len(found)} pictures the middle {side} LR pixels (--side), e.g. of {cut[0]}')
    found[:] = [_middle(one, scale, side) for one in found]
    return found


def _middle(one, scale, side):
    size = tuple(min(side, n) for n in one.lr.shape[:2])
    return benchmarks.middle(benchmarks.Examples([one]), size, scale)[0]


def costs(model, network):
    """{column: what it costs} of one of kdsr's networks, {} of a file of another framework."""
    if not isinstance(network, exports.Upscaler):
        return {}
    found = cost.summary(network)
    lr = jnp.zeros(found['lr_shape'], jnp.float32)
    memory = network.apply.lower(network.variables, lr).compile().memory_analysis()
    card = {} if expanded(model).is_file() else {'megabytes': (exports.find(model) / 'weights.safetensors').stat().st_size / 1e6}
    # besides the weights: what the compiler sets apart, and the image that comes out
    memory = (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 2**20
    return {name: found[name] for name in ('parameters', 'gmacs', 'ms')} | card | {'memory_mib': memory}


def scored(name, enlarge, examples, scale, **options):
    """({column: mean over the pictures}, {name of a picture: uint8}) of `enlarge(name, lr uint8) -> uint8`."""
    made, left = {}, iter(examples)

    def fn(shown):
        one = next(left)
        made[one.name] = enlarge(one.name, one.lr)
        return np.float64(made[one.name][None]) / 255

    found = evaluate.score(fn, examples, scale, progress=console.progress(f'enlarging by {name}'), **options)
    del found['images']
    moved = [np.abs(made[one.name].mean((0, 1)) - one.lr.mean((0, 1))).max() for one in examples]
    # the largest, since a mean would hide one picture that turned green
    return {**found, 'colour': float(max(moved))}, made


def rows(examples, made, teacher, scale, side):
    """What `sheets.comparison` draws: of each picture the place where bicubic is furthest from the teacher."""
    found = []
    for one in examples:
        window = min(side, *one.lr.shape[:2])
        top, left, _ = hardest(one.lr, made[teacher][one.name], scale, window)
        at = functools.partial(_window, top=top, left=left, side=window)
        panels = [('picture', at(one.lr, 1).repeat(scale, 0).repeat(scale, 1))]
        called = labels(made)
        panels += [(called[name], at(images[one.name], scale)) for name, images in made.items()]
        panels += [('truth', at(one.hr, scale))] if one.hr is not None else []
        found.append((one.name, panels))
    return found


def _window(image, s, top, left, side):
    return image[s * top : s * (top + side), s * left : s * (left + side)] / 255


def run(paths, names, out, *, side=256, crop=64, lpips_by='alex'):
    """Compares models on pictures and writes the folder `out`; returns {model: {column: value}}, bicubic first.

    Args:
      paths: files and folders. names: what `teachers.opened` takes, of one scale; the first is the teacher. out: new folder.
      side: most LR pixels of a picture's sides. crop: LR pixels that the sheet shows of it. lpips_by: 'alex', 'vgg' or ''.

    Raises ValueError, FileNotFoundError for a model or a path that there is not, and scales that differ.
    """
    out, extra, nets, scale = fresh(out), {}, {}, None
    for name in names:
        nets[name] = teachers.opened(name, scale=scale)
        scale = nets[name].scale
    if lpips_by:
        try:
            extra['lpips'] = evaluate.lpips(lpips_by)
        except FileNotFoundError as e:
            writers.say(f'no LPIPS: {e}')
    examples = evaluate.scorable(gathered(paths, scale, side), scale, 'the pictures', lpips=lpips_by)
    drawn = lambda net: lambda name, lr: np.concatenate(list(net.blocks(name, lr)))
    ways = {name: drawn(net) for name, net in nets.items()} | {'bicubic': lambda _, lr: imresize(lr, scale)}
    found, made = {}, {}
    for name, enlarge in ways.items():
        facts = costs(name, nets[name].fn) if name in nets else {}
        scores, made[name] = scored(name, enlarge, examples, scale, extra=extra)
        found[name], examples.teacher = facts | scores, examples.teacher or made[name]
    order = ['bicubic', *names]
    found, made = ({name: values[name] for name in order} for values in (found, made))
    with written(out, several=True) as part:
        part.mkdir(parents=True)
        called = labels(names)
        title = f'{len(examples)} picture{"s" * (len(examples) > 1)}, x{scale}; teacher: {called[names[0]]}'
        sheets.comparison(rows(examples, made, names[0], scale, crop), part / 'sheet.png', title=title)
        (part / 'compared.json').write_text(json.dumps(found, indent=1) + '\n')
        (part / 'index.html').write_text(page(title, found, (part / 'sheet.png').read_bytes()))
    return found


def shown(found):
    """(rows, columns) of the table: dicts with the model's name, and the formats of the columns that any of them has."""
    columns = {k: f for k, f in COLUMNS.items() if k == 'model' or any(k in values for values in found.values())}
    called = labels(found)
    return [{'model': called[name], **values} for name, values in found.items()], columns


def labels(names):
    """{name: what a table says}: of long paths the last two parts, where that tells them apart."""
    short = {name: '/'.join(pathlib.PurePath(name).parts[-2:]) for name in names}
    return short if len(set(short.values())) == len(short) else {name: name for name in names}


def page(title, found, sheet):
    """The text of index.html: the table of `found` and the PNG `sheet`."""
    table, columns = shown(found)
    texts = [{k.replace('_', ' '): format(row[k], f) if k in row else '' for k, f in columns.items()} for row in table]
    parts = [f'<h1>{document.safe(title)}</h1>', document.table(texts, 'scores and costs', 'costs')]
    parts += [f'<p class="hint">{document.safe(NOTE)}</p>']
    parts += [document.wide('pictures', f'<img alt="the pictures side by side" src="{document.encoded(sheet)}">')]
    return document.of(title, ['<main>', *parts, '</main>'])


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_list(
        'models', None, 'exports, runs, shipped names or files, comma-separated; the first: the teacher', required=True
    )
    flags.DEFINE_string('out', None, 'new folder for index.html, sheet.png and compared.json', required=True)
    flags.DEFINE_integer('side', 256, 'of larger pictures the middle of so many LR pixels is compared', lower_bound=16)
    flags.DEFINE_integer('crop', 64, 'LR pixels shown of each, where bicubic is furthest from the teacher', lower_bound=8)
    flags.DEFINE_enum('lpips', 'alex', ['alex', 'vgg', ''], "network of LPIPS, '' for none")


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    if len(argv) < 2:
        raise ValueError('give pictures or folders: python -m kdsr.compare PHOTOS --models=teachers/net,runs/small --out=compared')
    found = run(argv[1:], flag.models, flag.out, side=flag.side, crop=flag.crop, lpips_by=flag.lpips)
    print(writers.table(*shown(found)))
    print(f'{pathlib.Path(flag.out) / "index.html"}: {NOTE}')


named.function_too(__name__)


if __name__ == '__main__':
    define_flags()
    commands.run(main, arguments=True)
