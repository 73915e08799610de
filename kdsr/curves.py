"""Draws the training curves of groups of runs: validation PSNR, its second half enlarged, and each part of the loss."""

import math

import numpy as np

from kdsr import labels
from kdsr.paths import written

POINTS = 60  # of a loss curve: single log lines differ more than runs do
HIDDEN = ('val/', 'loss/', 'grad_norm/', 'speed/', 'learning_rate/')
DASHES = ((0, (1, 1.5)), (0, (6, 2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))


def loss_parts(groups):
    """Names of the unweighted parts of the loss that the runs logged, in order of appearance."""
    names = dict.fromkeys(k for g in groups for run in g.runs for line in run.lines for k in line)
    return [k for k in names if k != 'step' and not k.startswith(HIDDEN)]


def finite(run, name):
    """`run.curve` without what has no height: an image that is met exactly has an infinite PSNR."""
    return {step: value for step, value in run.curve(name).items() if math.isfinite(value)}


def mean_curve(runs, name):
    """(steps, means) of a metric, over the steps that all `runs` have; of unfinished runs only if there are no others."""
    curves = [finite(run, name) for run in [r for r in runs if r.results] or runs]
    steps = sorted(set.intersection(*(set(c) for c in curves)))
    return steps, [float(np.mean([c[s] for c in curves])) for s in steps]


def thinned(steps, values, points=POINTS):
    """At most `points` means of neighbours, each at its last step."""
    pieces = [p for p in np.array_split(np.arange(len(steps)), points) if len(p)]
    return [steps[p[-1]] for p in pieces], [float(np.mean(np.take(values, p))) for p in pieces]


def draw(groups, references, path):
    """Writes the picture: thin lines are seeds, thick ones their mean, dashes the levels of bicubic and the teachers.

    Args:
      groups: kdsr.runs.Group list. references: rows of the report with 'run' and 'validation/x4 psnr_y mean'.
      path: PNG file, replaced at once.
    """
    from matplotlib import figure

    levels = [(r['run'], k, r[k]) for r in references for k in r if k.startswith('validation/') and k.endswith(' psnr_y mean')]
    levels = [(f'{labels.shortened(run)} ({key.split()[0]}): {v:.2f} dB', v) for run, key, v in levels if math.isfinite(v)]
    names, late = loss_parts(groups), second_half(groups)
    last = max((line['step'] for g in groups for run in g.runs for line in run.lines), default=1)
    thin = ' (thin: single seeds, thick: their mean)' if any(len(g.runs) > 1 for g in groups) else ''
    columns = min(max(len(names), 1), 3)
    rows, top = -(-len(names) // columns), 2 if late else 1
    legend = 0.2 * -(-(len(groups) + len(levels)) // 2)  # inches; at most a quarter of the picture
    chart = figure.Figure(figsize=(12, max(4 + 2.5 * rows, 3 * legend) + legend), layout='constrained')
    grid = chart.add_gridspec(1 + rows, 6, height_ratios=[1.5] + [1] * rows)
    for i in range(top):
        axes = chart.add_subplot(grid[0, 6 // top * i : 6 // top * (i + 1)])
        for (_, level), dashes in zip(levels, _dashes(), strict=False):
            axes.axhline(level, **dashes)
        _curves(axes, groups, 'val/psnr_y', points=None)
        axes.set_title('the second half, enlarged' if i else f'validation PSNR (Y), dB{thin}')
        axes.set(**(late if i else {'xlim': (0, 1.01 * last)}))
    for i, name in enumerate(names):
        axes = chart.add_subplot(grid[1 + i // columns, 6 // columns * (i % columns) : 6 // columns * (i % columns + 1)])
        axes.set_title(f'training loss: {name}')
        _curves(axes, groups, name, points=POINTS)
        _logarithmic(axes)
        axes.set_xlim(0, 1.01 * last)
    _legend(chart, [g.label for g in groups], [label for label, _ in levels])
    with written(path) as part:
        chart.savefig(part, dpi=100, format='png')


def second_half(groups):
    """Limits {'xlim', 'ylim'} of the later validations, where the runs are told apart; {} with fewer than 3 of them."""
    scores = [point for g in groups for run in g.runs for point in finite(run, 'val/psnr_y').items()]
    end = max((step for step, _ in scores), default=0)
    late = [(step, value) for step, value in scores if step >= end / 2]
    if len({step for step, _ in late}) < 3:
        return {}
    low, high = min(v for _, v in late), max(v for _, v in late)
    margin = 0.08 * (high - low) or 0.1
    return {'xlim': (0.49 * end, 1.01 * end), 'ylim': (low - margin, high + margin)}


def _curves(axes, groups, name, points):
    for i, group in enumerate(groups):
        for run in group.runs if len(group.runs) > 1 else ():
            _line(axes, *_series(finite(run, name), points), **_style(i), lw=0.8, alpha=0.45)
        steps, means = mean_curve(group.runs, name)
        _line(axes, *_series(dict(zip(steps, means, strict=True)), points), **_style(i), lw=2.2)
    axes.set_xlabel('step')
    axes.grid(alpha=0.25)
    axes.spines[['top', 'right']].set_visible(False)


def _series(curve, points):
    return thinned(list(curve), list(curve.values()), points) if points else (list(curve), list(curve.values()))


def _line(axes, steps, values, **style):
    axes.plot(steps, values, marker='o' if len(steps) < 4 else None, ms=4, **style)


def _logarithmic(axes):
    """Log scale with plain numbers, also where the range is less than a decade and has no power of ten."""
    from matplotlib import ticker

    if all(np.min(line.get_ydata(), initial=1) > 0 for line in axes.lines):
        axes.set_yscale('log')
    low, high = axes.get_ylim()
    if axes.get_yscale() == 'log':
        digits = (1, 2, 3, 5, 7) if high < 20 * low else (1, 3)
        axes.yaxis.set_major_locator(ticker.MaxNLocator(5) if high < 3 * low else ticker.LogLocator(subs=digits))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter('%g'))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def _style(i):
    """Colour of group `i`; after ten groups the colours come again with dashes."""
    return {'color': f'C{i % 10}', 'ls': ('-', '--', '-.', ':')[i // 10 % 4]}


def _dashes():
    return [{'color': '0.3', 'lw': 1.2, 'ls': d} for d in DASHES * 3]


def _legend(chart, groups, levels):
    from matplotlib import lines

    styles = [*({**_style(i), 'lw': 2.2} for i in range(len(groups))), *_dashes()]
    handles = [lines.Line2D([], [], label=label, **style) for label, style in zip([*groups, *levels], styles, strict=False)]
    chart.legend(handles=handles, loc='outside lower center', ncols=2, frameon=False, handlelength=3.5, fontsize=9)
