"""The rows of a report: bicubic, each teacher, each group of runs, and what kdsr.evaluate scored; dicts of unrounded numbers."""

import math
import re

import numpy as np

from kdsr import evaluate, labels, runs
from kdsr.models import exports

FORMATS = {  # in the order of a set's columns; what it does not name comes after, with 4 digits
    name: digits
    for metric, own in evaluate.FORMATS.items()
    for name, digits in [(metric, own), *[(metric.replace('psnr_y', 'gain_db'), '+.3f')] * metric.endswith('psnr_y')]
}
REFERENCES = ('bicubic', 'teacher', "pictures' teacher")  # networks that are no run's own
COST_FORMATS = {'parameters': ',', 'gmacs': '.2f', 'ms': '.1f', 'data_wait': '.1%', 'steps': ','}
COSTS = tuple(COST_FORMATS)
SAME_DB = 1e-3  # closer scores of bicubic or a teacher are one measurement: other hardware rounds differently


def summary(label, scores, costs=(), seeds=(), fields=''):
    """One unrounded row: means and sample standard deviations over runs.

    Args:
      label, fields: texts of the row.
      scores: dicts as of `runs.measured`, one for each run. A standard deviation is None of one value and of infinite ones.
      costs: dicts with COSTS.
    """
    row = {'run': label, 'n': len(seeds) or None, 'seeds': ' '.join(map(str, seeds)), 'fields': fields}
    for name, metric in dict.fromkeys((n, m) for s in scores for n in s for m in s[n]):
        values = [s[name][metric] for s in scores if metric in s.get(name, {})]
        row[f'{name} {metric} mean'] = float(np.mean(values))
        spread = len(values) > 1 and np.isfinite(values).all()
        row[f'{name} {metric} std'] = float(np.std(values, ddof=1)) if spread else None
    for key in COSTS:
        values = [c[key] for c in costs if key in c]
        row[key] = (values[0] if len(set(values)) == 1 else float(np.mean(values))) if values else None
    return row


def references(finished, evaluations=()):
    """Rows of bicubic and of each distinct teacher; the same name with other scores is a row of its own."""
    found = {'bicubic': []}
    for run in finished:
        for network in (n for n in REFERENCES if n in run.results):
            named = network == 'teacher' and runs.teacher_name(run)
            label = f'teacher {named}' if named else "pictures' teacher" if network == 'teacher' else network
            scores = measured(run, network)
            _add(found.setdefault(label, []), scores, run.results.get('cost', {}).get(network, {}))
    for known in (e for e in evaluations if e.label == 'bicubic'):
        _add(found['bicubic'], known.scores)
    return _rows(found)


def measured(run, network):
    """`runs.measured` of one network of a finished run; of its student with what was `added`."""
    bicubic = run.results.get('bicubic') if network != 'bicubic' else None
    found = runs.measured(run.results[network], bicubic, lpips=run.config.get('lpips') or 'alex')
    return _joined(found, run.added) if network == 'student' else found


def added(groups, evaluations):
    """(`groups` with the scores of their own students added, the evaluations of other networks and those that contradict them)."""
    owners, left = {}, []
    for one in evaluations:
        try:
            export = exports.find(one.model).resolve() if one.model and not one.self_ensemble else None
        except (OSError, ValueError):  # moved since then
            export = None
        finished = [run for group in groups for run in group.finished]
        run = next((r for r in finished if export and (own := exports.student(r.folder)) and own.resolve() == export), None)
        before = run and _joined(measured(run, 'student'), owners.get(run.folder, {}))
        if run and _agree(before, one.scores):
            owners[run.folder] = _joined(owners.get(run.folder, {}), one.scores)
        else:
            left.append(one)
    extended = [g._replace(runs=[r._replace(added=owners.get(r.folder, {})) for r in g.runs]) for g in groups]
    return extended, left


def _joined(scores, more):
    """`scores` and what only `more` has of them, both {set: {metric: value}}."""
    return {name: {**more.get(name, {}), **scores.get(name, {})} for name in {**scores, **more}}


def students(group):
    """Rows of a group's students, and of what else its runs made and scored."""
    done, own = group.finished, {}
    for run in done:
        own |= {k: None for k, v in run.results.items() if k not in (*REFERENCES, 'cost') and _is_scores(v)}
    for network in own:
        have = [run for run in done if network in run.results]
        costs = [{**run.results, **run.results.get('cost', {}).get(network, {})} for run in have]
        label = group.label if network == 'student' else f'{group.label} {network}'
        yield summary(label, [measured(r, network) for r in have], costs, [r.config['seed'] for r in have], group.fields)


def _is_scores(value):
    return isinstance(value, dict) and all(isinstance(scores, dict) for scores in value.values())


def evaluated(evaluations):
    """Rows of networks that kdsr.evaluate scored."""
    found = {}
    for one in (e for e in evaluations if e.label != 'bicubic'):
        _add(found.setdefault(one.label, []), one.scores)
    return _rows(found)


def by_score(rows):
    """`rows`, best first: by the PSNR of the first set, then that of the next; those without one come after those with it."""
    columns = [k for k in scored(rows) if parts(k)[1].endswith('psnr_y')]
    return sorted(rows, key=lambda row: [-row.get(k, -math.inf) for k in columns])


def gains(rows, known):
    """`rows` with gains where none was scored beside them: over the one row of bicubic in `known` that has the same column."""
    bicubic = [row for row in known if row['run'].startswith('bicubic')]
    for row in (r for r in rows if r not in bicubic):
        for column in [k for k in row if k.endswith(' mean')]:
            name, metric, protocol = parts(column)
            known_as = re.sub('psnr_(y|rgb)', 'gain_db', metric)
            gain = f'{name} {known_as}{protocol and ":" + protocol} '
            base = [r[column] for r in bicubic if column in r and math.isfinite(r[column])]
            is_main = metric.endswith('psnr_y') or (metric.endswith('psnr_rgb') and protocol)
            if len(base) == 1 and is_main and gain + 'mean' not in row:
                spread = row[column.removesuffix('mean') + 'std']
                row |= {gain + 'mean': row[column] - base[0], gain + 'std': spread}
    return rows


def _add(several, scores, cost=None):
    """Adds `scores` to the first of `several` that they agree with, or as one more."""
    for one, costs in several:
        if _agree(one, scores):
            one |= _joined(one, scores)
            costs |= {**(cost or {}), **costs}
            return
    several.append((dict(scores), dict(cost or {})))


def _agree(a, b):
    pairs = [
        (a[name][k], b[name][k]) for name in a.keys() & b.keys() for k in a[name].keys() & b[name].keys() if 'gain_db' not in k
    ]
    return all(x == y or abs(x - y) < SAME_DB for x, y in pairs)


def _rows(found):
    """A row for each (scores, cost) under its label: 'bicubic', 'bicubic (2)'."""
    return [
        summary(f'{label} ({i})' if i > 1 else label, [scores], [cost])
        for label, several in found.items()
        for i, (scores, cost) in enumerate(several, 1)
    ]


def parts(column):
    """'my set/x4 psnr_y:dfsr mean' -> ('my set/x4', 'psnr_y', 'dfsr')."""
    name, metric, _ = column.rsplit(' ', 2)
    return name, *metric.partition(':')[::2]


def scored(rows):
    """The columns 'SET METRIC mean' of the rows, sets together, in the order of FORMATS."""
    means = [k for k in dict.fromkeys(k for row in rows for k in row) if k.endswith(' mean')]
    sets = list(dict.fromkeys(parts(k)[0] for k in means))
    order = list(FORMATS)
    place = lambda metric: order.index(metric) if metric in order else len(order)
    return sorted(means, key=lambda k: (sets.index(parts(k)[0]), parts(k)[2], place(parts(k)[1])))


def shown(rows):
    """(columns, rows) as a person reads them, {column: text}: `mean ± std`, rounded; a row has no text where it has no value."""
    means = scored(rows)
    text = []
    for name, row in zip(labels.displayed([row['run'] for row in rows]), rows, strict=True):
        cells = {'run': name, **({'n': str(row['n'])} if row['n'] else {})}
        cells |= {k: format(row[k], f) for k, f in COST_FORMATS.items() if row[k] is not None}
        for mean in (k for k in means if k in row):
            column, f = mean.removesuffix(' mean'), FORMATS.get(parts(mean)[1], '.4f')
            std = row[f'{column} std']
            cells[column] = format(row[mean], f) + (f' ± {std:{f.lstrip("+")}}' if std is not None else '')
        text.append(cells)
    return ['run', 'n', *(k.removesuffix(' mean') for k in means), *COSTS], text
