"""Runs -> one table (Markdown, CSV), training curves and side-by-side crops.

    python -m kdsr.report runs/fakd_1 runs/fakd_2 runs/baseline_1 runs/baseline_2 --out=reports/fakd
    python -m kdsr.report runs --out=reports/all --data=../data/Set14

A RUN is what kdsr.main leaves in its --workdir, finished or not, or a folder of those. Runs that differ only in `seed` are one row.
"""

import csv
import io
import itertools
import os
import pathlib

import numpy as np
from absl import flags

from kdsr import commands, crops, curves, evaluate, runs, writers

METRICS = ('psnr_y', 'ssim_y')
COSTS = ('parameters', 'gmacs', 'ms', 'data_wait', 'steps')
COST_FORMATS = {'parameters': ',', 'gmacs': '.2f', 'ms': '.1f', 'data_wait': '.1%', 'steps': ','}
ENOUGH = 3  # seeds, for a ranking
SAME_DB = 1e-3  # closer scores of bicubic or a teacher are one measurement: other hardware rounds differently


def summary(label, results, network, seeds=()):
    """One unrounded row: means and sample standard deviations (None for one value) over `results`, dicts like results.json."""
    row = {'run': label, 'n': len(seeds) or None, 'seeds': ' '.join(map(str, seeds))}
    for name, metric in itertools.product(dict.fromkeys(s for r in results for s in r[network]), METRICS):
        values = [r[network][name][metric] for r in results if metric in r[network].get(name, {})]
        if values:
            row[f'{name} {metric} mean'] = float(np.mean(values))
            row[f'{name} {metric} std'] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    costs = [{**r, **r.get('cost', {}).get(network, {})} for r in results]
    for key in COSTS:
        values = [c[key] for c in costs if key in c]
        row[key] = (values[0] if len(set(values)) == 1 else float(np.mean(values))) if values else None
    return row


def references(finished):
    """Rows of bicubic and of each distinct teacher; the same name with other scores is a row of its own."""
    found = {'bicubic': []}  # label -> [results with that one network]
    for run, network in itertools.product(finished, ('bicubic', 'teacher')):
        if network not in run.results:
            continue
        label = network if network == 'bicubic' else f'teacher {runs.teacher_name(run)}'
        scores, cost = run.results[network], run.results.get('cost', {}).get(network, {})
        if match := next((r for r in found.get(label, []) if _agree(r[network], scores)), None):
            match[network].update(scores)
        else:
            found.setdefault(label, []).append({network: dict(scores), 'cost': {network: cost}})
    return [
        summary(f'{label} ({i})' if i > 1 else label, [one], label.split()[0])
        for label, several in found.items()
        for i, one in enumerate(several, 1)
    ]


def _agree(a, b):
    return all(abs(a[name]['psnr_y'] - b[name]['psnr_y']) < SAME_DB for name in a.keys() & b.keys())


def markdown(rows):
    """The table a person reads: `mean ± std`, rounded; blank where a row has no such value."""
    means = [k for k in dict.fromkeys(k for row in rows for k in row) if k.endswith(' mean')]
    columns = ['run', 'n', *(k.removesuffix(' mean') for k in means), *COSTS]
    text = []
    for row in rows:
        cells = {'run': f'`{row["run"]}`', 'n': row['n'] and str(row['n'])}
        cells |= {k: format(row[k], f) for k, f in COST_FORMATS.items() if row[k] is not None}
        for mean in (k for k in means if k in row):
            column, f = mean.removesuffix(' mean'), evaluate.FORMATS[mean.split()[-2]]
            std = row[f'{column} std']
            cells[column] = format(row[mean], f) + (f' ± {std:{f}}' if std is not None else '')
        text.append(cells)
    return writers.table(text, dict.fromkeys(columns, ''))


def notes(groups, rows):
    """What has to be known to read the table, one sentence a line."""
    finished = [g for g in groups if g.finished]
    fewest = min(len(g.finished) for g in finished)
    found = ['mean ± sample standard deviation over n seeds; data_wait: share of the training time']
    if fewest < ENOUGH:
        found.append(
            f'{fewest} seed{"s"[: fewest > 1]}; differences smaller than the spread are not a ranking (it takes {ENOUGH} seeds)'
        )
    for group in finished:
        scores = [run.results['student'] for run in group.finished]
        for name in dict.fromkeys(name for s in scores for name in s):
            count = sum(name in s for s in scores)
            if count < len(scores):
                found.append(f'{name}: {count} of the {len(scores)} runs of `{group.label}`')
    if any(row['run'].startswith('bicubic (') for row in rows):
        found.append('bicubic differs: some runs were scored on other images under the same name, and cannot be compared there')
    costs = [c for g in finished for run in g.finished for c in run.results.get('cost', {}).values()]
    shapes = {f'{c["lr_shape"][2]}x{c["lr_shape"][1]}' for c in costs if 'lr_shape' in c}
    if shapes:
        found.append(f'GMACs and ms (as each run measured them): one LR image of {", ".join(sorted(shapes))}')
    return '\n'.join(f'- {line}' for line in found)


def unfinished(groups):
    """Table of the runs without results.json, '' if there are none."""
    rows = []
    for group, run in ((g, r) for g in groups for r in g.runs if not r.results):
        last, scores = max((line['step'] for line in run.lines), default=0), run.curve('val/psnr_y')
        row = {'unfinished run': f'`{group.label}`', 'seed': run.config['seed'], 'step': f'{last} of {run.config["steps"]}'}
        rows.append({**row, 'last validation': f'{list(scores.values())[-1]:.3f} dB at step {list(scores)[-1]}' if scores else ''})
        rows[-1]['directory'] = str(run.folder)
    return writers.table(rows, dict.fromkeys(rows[0], '')) if rows else ''


def write(path, text):
    """Replaces a file at once."""
    temporary = pathlib.Path(path).with_suffix('.tmp')
    temporary.write_text(text)
    os.replace(temporary, path)


def to_csv(rows):
    """The unrounded table as text, one column for each mean and each standard deviation."""
    text = io.StringIO(newline='')
    columns = list(dict.fromkeys(k for row in rows for k in row if k not in COSTS)) + list(COSTS)
    table = csv.DictWriter(text, columns, lineterminator='\n')
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def report(paths, out, *, data='', images=3, progress=None):
    """Writes report.md, report.csv, curves.png and crops.png into the folder `out`.

    Args:
      paths: run directories, or folders of them.
      data: benchmark folder that the crops come from; '': the embedded validation photographs.
      images: crops per scale; 0: no crops.png.
      progress: called with (crops done, crops in all).

    Returns: (the text of report.md, names of the files).

    Raises FileNotFoundError, ValueError: see `runs.collect` and `runs.grouped`; and those of reading `data`.
    """
    out, groups = pathlib.Path(out), runs.grouped(runs.collect(paths))
    finished = [g for g in groups if g.finished]
    known = references([run for g in finished for run in g.finished])
    rows = known + [
        summary(g.label, [r.results for r in g.finished], 'student', [r.config['seed'] for r in g.finished]) for g in finished
    ]
    parts = [markdown(rows), notes(groups, rows)] if finished else []
    parts += filter(None, [unfinished(groups)])
    out.mkdir(parents=True, exist_ok=True)
    curves.draw(groups, known, out / 'curves.png')
    pictures, missing = ['curves.png'], []
    if images:
        drawn, missing = crops.draw(groups, out / 'crops.png', data=data, images=images, progress=progress)
        pictures += ['crops.png'] * drawn
    parts += ['\n'.join(f'- {line}' for line in missing)] * bool(missing)
    write(out / 'report.csv', to_csv(rows))
    write(out / 'report.md', '\n\n'.join([*parts, *(f'![{name}]({name})' for name in pictures)]) + '\n')
    return '\n\n'.join(parts), ['report.md', 'report.csv', *pictures]


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_string('out', None, 'folder for report.md, report.csv, curves.png and crops.png', required=True)
    flags.DEFINE_string('data', '', 'benchmark folder that the crops come from (default: the embedded validation photographs)')
    flags.DEFINE_integer('images', 3, 'number of images to crop, those where bicubic fails most; 0: no crops', lower_bound=0)


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    show = commands.progress('crops')
    text, files = report(argv[1:], flag.out, data=flag.data, images=flag.images, progress=show)
    print(f'{text}\n\nin {flag.out}: {", ".join(files)}')


if __name__ == '__main__':
    define_flags()
    commands.run(main, arguments=True)
