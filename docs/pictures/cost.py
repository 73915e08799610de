"""Draws docs/pictures/distil.png, quality against time, of the table in docs/teach.md: python docs/pictures/cost.py"""

import itertools
import pathlib

from matplotlib import figure

HERE = pathlib.Path(__file__).parent
RUNTIMES = {'JAX': '#0072b2', 'ONNX Runtime': '#d55e00', 'LiteRT': '#009e73', 'ncnn': '#cc79a7'}  # told apart by the colour-blind


def table(page):
    """Rows of the page's table that has a column 'ONNX Runtime', {column: text}."""
    rows = [[cell.strip() for cell in line[1:-1].split('|')] for line in page.read_text().splitlines() if line.startswith('|')]
    first = next(i for i, row in enumerate(rows) if 'ONNX Runtime' in row)
    found = []
    for row in rows[first + 2 :]:
        if len(row) != len(rows[first]):
            break
        found.append(dict(zip(rows[first], row, strict=True)))
    return found


def draw(rows):
    """A curve for each runtime: milliseconds of a picture, PSNR on Set5."""
    page = figure.Figure(figsize=(7, 4.2), dpi=150, layout='constrained')
    axes = page.subplots()
    number = lambda text: float(text.split(' ')[0].replace(',', ''))
    for runtime, colour in RUNTIMES.items():
        points = [(number(row[runtime]), number(row['Set5'])) for row in rows if row[runtime]]
        axes.plot(*zip(*points, strict=True), 'o-', color=colour, label=runtime, markersize=4, linewidth=1.2)
    names = [(row['network'], number(row['Set5'])) for row in rows if row['JAX']]
    right = axes.secondary_yaxis('right')
    right.set_yticks([score for _, score in names], [name for name, _ in names])
    texts, scores = right.get_yticklabels(), [score for _, score in names]
    for i, (low, high) in enumerate(itertools.pairwise(scores)):
        if abs(high - low) < 0.12:  # their names would touch
            texts[i].set_verticalalignment('top')
            texts[i + 1].set_verticalalignment('bottom')
    for _, score in names:
        axes.axhline(score, color='0.9', linewidth=0.8, zorder=0)
    axes.set_xscale('log')
    axes.set_xlabel('milliseconds of a 160x120 picture on one core, x4')
    axes.set_ylabel('PSNR-Y on Set5, dB')
    axes.legend(frameon=False)
    return page


if __name__ == '__main__':
    draw(table(HERE.parent / 'teach.md')).savefig(HERE / 'distil.png')
