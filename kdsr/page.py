"""One HTML file of a report: the table, the curves and the crops, to open anywhere; it loads nothing from anywhere.

The text is ASCII: it reads the same whatever encoding a server or a mail program takes it for.
"""

import base64
import html
import io
import json
import re

from PIL import Image

from kdsr import crops, tables

HIGHER = ('psnr_y', 'psnr_rgb', 'gain_db', 'ssim_y', 'ssim_rgb')  # is better

STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1b1b1f; --soft: #5b5b66; --line: #d5d5dd }
:root { --band: #f3f3f7; --mark: #0b57d0 }
@media (prefers-color-scheme: dark) {
  :root { --page: #16161a; --text: #e8e8ee; --soft: #a5a5b2; --line: #3a3a44; --band: #222229; --mark: #8ab4f8 }
}
* { box-sizing: border-box }
html:has(dialog[open]) { overflow: hidden }
body { margin: 0 auto; padding: 1rem; max-width: 88rem; background: var(--page); color: var(--text); overflow-wrap: anywhere }
body, button { font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem }
p, ul { margin: .75rem 0; max-width: 50rem }
ul { padding-left: 1.25rem }
.hint, .notes { color: var(--soft); font-size: .9rem }
code { font: .9em ui-monospace, monospace; color: var(--text) }
button { color: inherit; background: none; border: 0; padding: 0; cursor: pointer }
:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px }
.stack:focus-visible { outline: 1px solid var(--mark); outline-offset: -1px }
img { display: block }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
.wide > table { min-width: 100% }
th, td { padding: .4rem .65rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
thead th { background: var(--band); font-weight: 600 }
thead th[scope=colgroup] { text-align: left; border-left: 1px solid var(--line); color: var(--soft) }
td.first, th.first { border-left: 1px solid var(--line) }
tbody tr:last-child > * { border-bottom: 0 }
.texts td, .texts th { text-align: left }
th[scope=row], th.run { position: sticky; left: 0; text-align: left; border-right: 1px solid var(--line) }
th[scope=row] { background: var(--page); font-weight: 500; white-space: normal; min-width: 13rem; max-width: 26rem }
@media (max-width: 40rem) { th[scope=row] { min-width: 7.5rem; max-width: 9rem } }
th button { font: inherit; white-space: nowrap; padding: .3rem 0; position: relative }
th button::after { position: absolute; left: 100%; bottom: .45rem; font-size: .65em; color: var(--mark) }
th[aria-sort=ascending] button::after { content: '\\25b2' }
th[aria-sort=descending] button::after { content: '\\25bc' }
.curves { display: block; width: fit-content; cursor: zoom-in }
.curves img { max-width: 100%; height: auto; background: #fff; border-radius: .4rem }
.row { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fill, 16rem) }
@media (max-width: 40rem) { .row { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .75rem } }
figure { margin: 0 }
figure button { display: block; width: 100%; cursor: zoom-in }
figure img { width: 100%; height: auto }
figcaption { margin-top: .25rem; font-size: .9rem; line-height: 1.35 }
figcaption span { display: block }
figcaption span, nav span { color: var(--soft); font-variant-numeric: tabular-nums }
.crop img, .stack.flip img { image-rendering: pixelated }
dialog { position: fixed; inset: 0; width: 100%; height: 100%; max-width: none; max-height: none; margin: 0; padding: 0; border: 0 }
dialog { background: var(--page); color: var(--text); flex-direction: column }
dialog[open] { display: flex }
.bar { display: flex; align-items: center; border-bottom: 1px solid var(--line) }
.bar p { flex: 1; min-width: 0; max-width: none; margin: 0 .75rem; white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
.bar button { min-width: 2.9rem; height: 2.9rem; font-size: 1.4rem; line-height: 1 }
.view { flex: 1; min-height: 0; display: flex; flex-direction: column }
.stack { flex: 1; min-width: 0; min-height: 0; overflow: auto; display: grid; place-items: safe center; cursor: zoom-out }
.stack img { grid-area: 1 / 1 }
.stack.flip { overflow: hidden }
.stack.flip img { visibility: hidden; cursor: pointer }
.stack.flip img.on { visibility: visible }
nav { display: flex; flex-wrap: wrap; align-content: start; gap: .4rem; padding: .6rem; overflow-y: auto; max-height: 40% }
nav button { border: 1px solid var(--line); border-radius: .4rem; padding: .3rem .6rem; font-size: .9rem; text-align: left }
nav button[aria-pressed=true] { border-color: var(--mark); background: var(--band); box-shadow: 0 0 0 1px var(--mark) }
@media (min-aspect-ratio: 1) { .view { flex-direction: row } nav { width: 18rem; max-height: none } nav button { width: 100% } }
[hidden] { display: none !important }
"""

SCRIPT = """
const all = (what, where = document) => [...where.querySelectorAll(what)];
const value = (row, column) => row.cells[column].dataset.value;

for (const table of all('table.scores')) {
  const body = table.tBodies[0], given = [...body.rows], heads = all('th[data-column]', table);
  const sort = head => {
    const { first, column } = head.dataset, second = first == 'ascending' ? 'descending' : 'ascending';
    const now = head.getAttribute('aria-sort'), next = now == second ? 'none' : now == first ? second : first;
    heads.forEach(h => h.setAttribute('aria-sort', h == head ? next : 'none'));
    const sign = next == 'ascending' ? 1 : -1;
    const words = (a, b) => a.localeCompare(b, 'en', { numeric: true }), numbers = (a, b) => a - b || 0;  // Infinity - Infinity
    const compare = column == 0 ? words : numbers;
    const told = given.filter(row => value(row, column)), blank = given.filter(row => !value(row, column));
    told.sort((a, b) => sign * compare(value(a, column), value(b, column)));
    body.append(...(next == 'none' ? given : [...told, ...blank]));
  };
  heads.forEach(head => head.querySelector('button').onclick = () => sort(head));
}

const dialog = document.querySelector('dialog'), stack = dialog.querySelector('.stack'), choice = dialog.querySelector('nav');
const said = dialog.querySelector('[role=status]'), steps = all('.step', dialog);
let images = [], at = 0;

function show(index) {
  at = (index + images.length) % images.length;
  images.forEach((image, i) => image.classList.toggle('on', i == at));
  all('button', choice).forEach((button, i) => button.setAttribute('aria-pressed', i == at));
  if (images.length > 1) choice.children[at].scrollIntoView({ block: 'nearest' });
  said.textContent = images[at].alt;
}

function fit() {  // whole factors of the screen's own pixels: none is wider than another
  if (!dialog.open || !stack.classList.contains('flip')) return;
  const ratio = devicePixelRatio, room = { width: stack.clientWidth, height: stack.clientHeight };
  for (const image of images) {
    const { naturalWidth: width, naturalHeight: height } = image.original;
    const factor = Math.max(1, Math.floor(Math.min(room.width / width, room.height / height) * ratio));
    image.style.width = width * factor / ratio + 'px';
  }
}

function open(originals, index, flip) {
  images = originals.map(original => Object.assign(original.cloneNode(), { original }));
  images.forEach(image => ['width', 'height', 'style'].forEach(name => image.removeAttribute(name)));
  stack.classList.toggle('flip', flip);
  stack.replaceChildren(...images);
  choice.replaceChildren(...(flip ? originals : []).map((original, i) => {
    const button = document.createElement('button');
    button.append(...[...original.closest('figure').querySelector('figcaption').childNodes].map(node => node.cloneNode(true)));
    button.onclick = () => show(i);
    return button;
  }));
  [choice, ...steps].forEach(part => part.hidden = images.length < 2);
  dialog.showModal();
  stack.focus();
  stack.scrollTo(0, 0);
  fit();
  show(index);
}

for (const row of all('.row')) {
  const originals = all('.crop img', row);
  originals.forEach((image, i) => image.closest('button').onclick = () => open(originals, i, true));
}
all('.curves').forEach(button => button.onclick = () => open([button.querySelector('img')], 0, false));
steps.forEach((button, i) => button.onclick = () => show(at + 2 * i - 1));
dialog.querySelector('.close').onclick = () => dialog.close();
stack.onclick = event => {
  if (!stack.classList.contains('flip') || event.target == stack) return dialog.close();
  show(at + (event.offsetX < event.target.clientWidth / 2 ? -1 : 1));
};
dialog.onkeydown = event => {
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!by || images.length < 2) return;
  event.preventDefault();
  show(at + by);
};
addEventListener('resize', fit);
"""


OVERLAY = """<dialog aria-label="enlarged picture">
<div class="bar"><p role="status"></p><button type="button" class="step" aria-label="previous">&lsaquo;</button>
<button type="button" class="step" aria-label="next">&rsaquo;</button>
<button type="button" class="close" aria-label="close">&times;</button></div>
<div class="view"><div class="stack" role="group" aria-label="picture" tabindex="0"></div><nav aria-label="candidates"></nav></div>
</dialog>"""

# what a browser enforces, whatever stands in the file
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def of(title, rows, *, notes='', unfinished=(), curves=None, runs=(), compared=(), missing=()):
    """The text of the file.

    Args:
      rows: of the report, see `tables.summary`. notes: the sentences below them, '- one' a line. unfinished: {column: text} each.
      curves: the PNG file with the training curves of `runs` (their labels), or None.
      compared: rows of crops, see `crops.rows`. missing: sentences about what they lack.
    """
    parts = [f'<h1>{_safe(title)}</h1>']
    parts += ['<h2>Scores</h2>', scores(rows)] if rows else []
    parts += [f'<div class="notes">{_sentences(line.removeprefix("- ") for line in notes.splitlines())}</div>'] if notes else []
    parts += ['<h2>Unfinished runs</h2>', table(unfinished)] if unfinished else []
    if curves:
        parts += ['<h2>Training curves</h2>', '<p class="hint">Click the picture for its full size.</p>']
        picture = _picture(curves.read_bytes(), f'training curves of {", ".join(runs)}: validation PSNR and parts of the loss')
        parts += [f'<button type="button" class="curves">{picture}</button>']
    if compared or missing:
        parts += ['<h2>Crops</h2>']
    if compared:
        hint = 'Where bicubic fails most. Click a crop to enlarge it; arrow keys, or taps on it, then flip through the others.'
        parts += [f'<p class="hint">{hint}</p>', *map(comparison, compared)]
    parts += [f'<div class="notes">{_sentences(missing)}</div>'] if missing else []
    head = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{_safe(title)}</title>
<style>{STYLE}</style>
</head>"""
    whole = [head, '<body>', '<main>', *parts, '</main>', OVERLAY, f'<script>{SCRIPT}</script>', '</body>', '</html>', '']
    return '\n'.join(whole).encode('ascii', 'xmlcharrefreplace').decode()


def scores(rows):
    """The table of all rows and scores, a heading above the columns of each set; a click on a column's sorts by it."""
    columns, texts = tables.shown(rows)
    sets = [column.rpartition(' ')[0] for column in columns]
    sets = [name or 'cost' * (column in tables.COSTS) for name, column in zip(sets, columns, strict=True)]
    first = [i for i in range(len(sets)) if sets[i] and sets[i] != sets[i - 1]]
    heads = [_head(columns, i, i in first) for i in range(len(columns))]
    groups = [f'<th scope="colgroup" colspan="{sets.count(sets[i])}">{_safe(sets[i])}</th>' for i in first]
    body = []
    for row, text in zip(rows, texts, strict=True):
        values = [row.get(f'{column} mean', row.get(column)) for column in columns]
        values = ['' if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
        body.append(f'<tr><th scope="row" data-value="{_safe(values[0])}">{_label(text["run"])}</th>')
        for i, column in enumerate(columns[1:], 1):
            place = ' class="first"' * (i in first)
            body.append(f'<td{place} data-value="{values[i]}">{_safe(text.get(column, ""))}</td>')
        body.append('</tr>')
    two = sets.count('')
    top, below = ''.join(heads[:two] + groups), ''.join(heads[two:])
    head = f'<thead><tr>{top}</tr><tr>{below}</tr></thead>'
    return _wide('scores', f'<table class="scores">{head}\n<tbody>{"".join(body)}</tbody></table>')


def _head(columns, i, first):
    name = columns[i].rpartition(' ')[2]
    best = 'descending' if name.partition(':')[0].endswith(HIGHER) else 'ascending'
    kind = ' class="run"' * (i == 0) + ' class="first"' * first
    span = '' if ' ' in columns[i] or name in tables.COSTS else ' rowspan="2"'
    button = f'<button type="button">{_safe(name)}</button>'
    return f'<th scope="col"{kind}{span} aria-sort="none" data-column="{i}" data-first="{best}">{button}</th>'


def table(rows):
    """A plain table of {column: text}, the same columns in each."""
    head = ''.join(f'<th scope="col"{" class=run" * (i == 0)}>{_safe(column)}</th>' for i, column in enumerate(rows[0]))
    cells = lambda texts: ''.join(f'<td>{_safe(text)}</td>' for text in texts)
    body = ''.join(f'<tr><th scope="row">{_label(name)}</th>{cells(rest)}</tr>' for name, *rest in (r.values() for r in rows))
    return _wide('unfinished runs', f'<table class="texts"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def comparison(row):
    """A row of crops, see `crops.panels`: where they are, and each with its caption."""
    (where, whole), *candidates = row
    found = [f'<figure>{_picture(_png(whole), f"{where}: the whole image, the cropped place framed", whole)}</figure>']
    for caption, image in candidates:
        name, _, score = caption.partition('\n')
        picture = _picture(_png(image), f'{" ".join(caption.split())}, {where}', image)
        told = _label(name) + (f' <span>{_safe(score)}</span>' if score else '')
        found.append(f'<figure class="crop"><button type="button">{picture}</button><figcaption>{told}</figcaption></figure>')
    return '\n'.join([f'<section><h3>{_safe(where)}</h3>', '<div class="row">', *found, '</div></section>'])


def _picture(data, alt, image=None):
    """An <img> of a PNG file's bytes; one of an array is shown as large as in crops.png where there is room."""
    size = ''
    if image is not None:
        height, width = (crops.factor(image) * n for n in image.shape[:2])
        size = f' width="{width}" height="{height}" style="max-width: {width}px"'
    return f'<img alt="{_safe(alt)}"{size} src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'PNG')
    return file.getvalue()


def _wide(label, inner):
    """What may be wider than the screen scrolls by itself; the keyboard reaches it."""
    return f'<div class="wide" role="region" aria-label="{label}" tabindex="0">{inner}</div>'


def _sentences(lines):
    """A list; `names` in backquotes are set as code."""
    marked = lambda line: re.sub(r'`(.+?)`', r'<code>\1</code>', _safe(line))
    return f'<ul>{"".join(f"<li>{marked(line)}</li>" for line in lines)}</ul>'


def _label(name):
    """A name that breaks where a reader would break it, if it must."""
    return re.sub(r'([_/])(?=\w{3})', r'\1<wbr>', _safe(name))


def _safe(text):
    return html.escape(str(text))
