"""Runs -> one table (Markdown, CSV), training curves and side-by-side crops; with --html also one page that holds all of it.

    python -m kdsr.report runs/fakd_1 runs/fakd_2 runs/baseline_1 runs/baseline_2 --out=reports/fakd
    python -m kdsr.report runs --out=reports/all --data=../data/Set14 --html
    python -m kdsr.report runs/fakd_1 edsr.json bicubic.json --out=reports/edsr

A RUN is what kdsr.main leaves in its --workdir, finished or not, or a folder of those; a run with stages is its last one, RUN/STAGE
an earlier one. Runs that differ only in `seed` are one row. A file is what kdsr.evaluate --json wrote: a row, or more columns of
the run whose student it scored.
"""

import csv
import io
import pathlib

from absl import flags

from kdsr import commands, console, crops, curves, frechet, gains, named, page, runs, tables, writers
from kdsr.paths import expanded

TEXTS = ('run', 'n', 'seeds', 'fields')
WIDTH = 100  # characters of a printed table


def markdown(rows, width=None):
    """The table a person reads, see `tables.shown`. width: see `writers.narrow`."""
    columns, text = tables.shown(rows)
    text, columns = quoted(text), dict.fromkeys(columns, '')
    return writers.narrow(text, columns, width) if width else writers.table(text, columns)


def quoted(rows):
    """`rows` with the first column's texts as code."""
    return [{k: f'`{text}`' if i == 0 else text for i, (k, text) in enumerate(row.items())} for row in rows]


def notes(groups, rows, evaluations=()):
    """What has to be known to read the table, one sentence a line."""
    finished = [g for g in groups if g.finished]
    fewest = min((len(g.finished) for g in finished), default=gains.ENOUGH)
    found = ['mean ± sample standard deviation over n seeds; data_wait: share of the training time'] * bool(finished)
    if fewest < gains.ENOUGH:
        more = f'differences smaller than the spread are not a ranking (it takes {gains.ENOUGH} seeds)'
        found.append(f'{fewest} seed{"s"[: fewest > 1]}; {more}')
    for group in finished:
        scores = [tables.measured(run, 'student') for run in group.finished]
        for name in dict.fromkeys(name for s in scores for name in s):
            count = sum(name in s for s in scores)
            if count < len(scores):
                found.append(f'{name}: {count} of the {len(scores)} runs of `{group.label}`')
    if any(row['run'].startswith('bicubic (') for row in rows):
        found.append('bicubic differs: some runs were scored on other images under the same name, and cannot be compared there')
    measures = {tables.parts(column)[1:] for column in tables.scored(rows)}
    if any(metric.endswith('gain_db') for metric, _ in measures):
        found.append(
            "gain_db: over bicubic on the same images, as the run scored it; what a file adds, over the table's row of bicubic"
        )
    if any(metric.endswith('lpips') for metric, _ in measures):
        found.append('lpips: lower is better; by AlexNet, as lpips:vgg by VGG16')
    if any(metric == 'niqe' for metric, _ in measures):
        found.append('niqe: lower is better; it looks at the picture alone, and not at how it differs from the truth')
    if distances := [metric for metric, _ in measures if metric.removeprefix('teacher_') in frechet.COLUMNS]:
        found.append(
            f'{", ".join(sorted(distances))}: Frechet distance, lower is better; ..._n: of how many pictures; few of them make it '
            'larger, so compare equal numbers'
        )
    protocols = sorted({protocol for metric, protocol in measures if protocol and not metric.endswith('lpips')})
    if protocols:
        found.append(f'{", ".join(protocols)}: by that protocol of kdsr.evaluate, what has no such name by y8')
    found += [f'`{e.label}`: its file does not tell model and protocol, which is taken for y8' for e in evaluations if not e.model]
    found += [f'`{g.label}` has {g.rest}' for g in groups if g.rest]
    costs = [c for g in finished for run in g.finished for c in run.results.get('cost', {}).values()]
    shapes = {f'{c["lr_shape"][2]}x{c["lr_shape"][1]}' for c in costs if 'lr_shape' in c}
    if shapes:
        found.append(f'GMACs and ms (as each run measured them): one LR image of {", ".join(sorted(shapes))}')
    return '\n'.join(f'- {line}' for line in found)


def unfinished(groups):
    """The runs without results.json and where they stand, {column: text} each."""
    rows = []
    for group, run in ((g, r) for g in groups for r in g.runs if not r.results):
        last, scores = max((line['step'] for line in run.lines), default=0), run.curve('val/psnr_y')
        row = {'unfinished run': group.label, 'seed': str(run.config['seed']), 'step': f'{last} of {run.config["steps"]}'}
        rows.append({**row, 'last validation': f'{list(scores.values())[-1]:.3f} dB at step {list(scores)[-1]}' if scores else ''})
        rows[-1]['directory'] = str(run.folder)
    return rows


def to_csv(rows):
    """The unrounded table as text, one column for each mean and each standard deviation."""
    text = io.StringIO(newline='')
    both = [column for mean in tables.scored(rows) for column in (mean, mean.removesuffix('mean') + 'std')]
    table = csv.DictWriter(text, [*TEXTS, *both, *tables.COSTS], lineterminator='\n')
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def report(paths, out, *, data='', images=3, order='given', html=False, width=None, progress=None):
    """Writes report.md, report.csv, curves.png, crops.png and, if asked, report.html into the folder `out`.

    Args:
      paths: run directories, or folders of them, and files of kdsr.evaluate --json.
      data: benchmark folder that the crops come from; '': the embedded validation photographs.
      images: crops per scale; 0: no crops.png.
      order: of the rows below the references, as 'given' or by 'score'. html: whether to write report.html, see `page.of`.
      width: of the tables in the text, characters; None: any.
      progress: called with (crops done, crops in all).

    Returns: (the text of report.md with tables as wide as `width`, names of the files). There are curves only of runs.

    Raises FileNotFoundError, ValueError: see `runs.collect`, `runs.grouped` and `runs.evaluation`; and those of reading `data`.
    """
    files = [path for path in paths if pathlib.Path(path).is_file()]
    folders, evaluations = [path for path in paths if path not in files], [runs.evaluation(file) for file in files]
    out, groups = expanded(out), runs.grouped(runs.collect(folders)) if folders or not files else []
    groups, evaluations = tables.added(groups, evaluations)
    known = tables.references([run for g in groups for run in g.finished], evaluations)
    rows = tables.gains([*known, *(row for g in groups for row in tables.students(g)), *tables.evaluated(evaluations)], known)
    rows = rows[: len(known)] + tables.by_score(rows[len(known) :]) if order == 'score' else rows
    facts, stuck = notes(groups, rows, evaluations), unfinished(groups)
    out.mkdir(parents=True, exist_ok=True)
    pictures, compared, missing = [], [], []
    if groups:
        curves.draw(groups, known, out / 'curves.png')
        pictures += ['curves.png']
    if images:
        compared, missing = crops.rows(groups, evaluations, data=data, images=images, progress=progress)
    if compared:
        crops.sheet(compared, out / 'crops.png')
        pictures += ['crops.png']
    below = [facts, writers.table(quoted(stuck), dict.fromkeys(stuck[0], '')) if stuck else '']
    below += ['\n'.join(f'- {line}' for line in missing)]
    text = lambda width: '\n\n'.join(filter(None, [markdown(rows, width) if rows else '', *below]))
    writers.replace(out / 'report.csv', to_csv(rows))
    writers.replace(out / 'report.md', '\n\n'.join([text(None), *(f'![{name}]({name})' for name in pictures)]) + '\n')
    if html:
        drawn = {'curves': out / 'curves.png', 'runs': [g.label for g in groups]} if groups else {}
        title = f'kdsr report: {out.resolve().name}'
        whole = page.of(title, rows, notes=facts, unfinished=stuck, compared=compared, missing=missing, **drawn)
        writers.replace(out / 'report.html', whole)
    return text(width), ['report.md', 'report.csv', *pictures, *['report.html'] * html]


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_string('out', None, 'folder for report.md, report.csv, curves.png and crops.png; and report.html', required=True)
    flags.DEFINE_string('data', '', 'benchmark folder that the crops come from (default: the embedded validation photographs)')
    flags.DEFINE_enum('order', 'given', ['given', 'score'], 'of the rows: as the runs are given, or the best first')
    flags.DEFINE_integer('images', 3, 'number of images to crop, those where bicubic fails most; 0: no crops', lower_bound=0)
    flags.DEFINE_bool('html', False, 'also write report.html: all of it in one file that loads nothing')


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    show = console.progress('crops')
    options = {'data': flag.data, 'images': flag.images, 'order': flag.order, 'html': flag.html, 'width': WIDTH}
    text, files = report(argv[1:], flag.out, **options, progress=show)
    print(f'{text}\n\nin {flag.out}: {", ".join(files)}')


named.function_too(__name__)

if __name__ == '__main__':
    define_flags()
    commands.run(main, arguments=True)
