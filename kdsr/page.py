"""One HTML file of a report: the table, the curves and the crops, to open anywhere (kdsr.document)."""

import io
import json
import re

from PIL import Image

from kdsr import crops, document, tables

HIGHER = ('psnr_y', 'psnr_rgb', 'gain_db', 'ssim_y', 'ssim_rgb')  # is better

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


def of(title, rows, *, notes='', unfinished=(), curves=None, runs=(), compared=(), missing=()):
    """The text of the file.

    Args:
      rows: of the report, see `tables.summary`. notes: the sentences below them, '- one' a line. unfinished: {column: text} each.
      curves: the PNG file with the training curves of `runs` (their labels), or None.
      compared: rows of crops, see `crops.rows`. missing: sentences about what they lack.
    """
    parts = [f'<h1>{document.safe(title)}</h1>']
    parts += ['<h2>Scores</h2>', scores(rows)] if rows else []
    parts += [f'<div class="notes">{_sentences(line.removeprefix("- ") for line in notes.splitlines())}</div>'] if notes else []
    parts += ['<h2>Unfinished runs</h2>', document.table(unfinished, 'unfinished runs', 'texts')] if unfinished else []
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
    return document.of(title, ['<main>', *parts, '</main>', OVERLAY, f'<script>{SCRIPT}</script>'])


def scores(rows):
    """The table of all rows and scores, a heading above the columns of each set; a click on a column's sorts by it."""
    columns, texts = tables.shown(rows)
    sets = [column.rpartition(' ')[0] for column in columns]
    sets = [name or 'cost' * (column in tables.COSTS) for name, column in zip(sets, columns, strict=True)]
    first = [i for i in range(len(sets)) if sets[i] and sets[i] != sets[i - 1]]
    heads = [_head(columns, i, i in first) for i in range(len(columns))]
    groups = [f'<th scope="colgroup" colspan="{sets.count(sets[i])}">{document.safe(sets[i])}</th>' for i in first]
    body = []
    for row, text in zip(rows, texts, strict=True):
        values = [row.get(f'{column} mean', row.get(column)) for column in columns]
        values = ['' if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
        body.append(f'<tr><th scope="row" data-value="{document.safe(values[0])}">{document.label(text["run"])}</th>')
        for i, column in enumerate(columns[1:], 1):
            place = ' class="first"' * (i in first)
            body.append(f'<td{place} data-value="{values[i]}">{document.safe(text.get(column, ""))}</td>')
        body.append('</tr>')
    two = sets.count('')
    top, below = ''.join(heads[:two] + groups), ''.join(heads[two:])
    head = f'<thead><tr>{top}</tr><tr>{below}</tr></thead>'
    return document.wide('scores', f'<table class="scores">{head}\n<tbody>{"".join(body)}</tbody></table>')


def _head(columns, i, first):
    name = columns[i].rpartition(' ')[2]
    best = 'descending' if name.partition(':')[0].endswith(HIGHER) else 'ascending'
    kind = ' class="run"' * (i == 0) + ' class="first"' * first
    span = '' if ' ' in columns[i] or name in tables.COSTS else ' rowspan="2"'
    button = f'<button type="button">{document.safe(name)}</button>'
    return f'<th scope="col"{kind}{span} aria-sort="none" data-column="{i}" data-first="{best}">{button}</th>'


def comparison(row):
    """A row of crops, see `crops.panels`: where they are, and each with its caption."""
    (where, whole), *candidates = row
    found = [f'<figure>{_picture(_png(whole), f"{where}: the whole image, the cropped place framed", whole)}</figure>']
    for caption, image in candidates:
        name, _, score = caption.partition('\n')
        picture = _picture(_png(image), f'{" ".join(caption.split())}, {where}', image)
        told = document.label(name) + (f' <span>{document.safe(score)}</span>' if score else '')
        found.append(f'<figure class="crop"><button type="button">{picture}</button><figcaption>{told}</figcaption></figure>')
    return '\n'.join([f'<section><h3>{document.safe(where)}</h3>', '<div class="row">', *found, '</div></section>'])


def _picture(data, alt, image=None):
    """An <img> of a PNG file's bytes; one of an array is shown as large as in crops.png where there is room."""
    size = ''
    if image is not None:
        height, width = (crops.factor(image) * n for n in image.shape[:2])
        size = f' width="{width}" height="{height}" style="max-width: {width}px"'
    return f'<img alt="{document.safe(alt)}"{size} src="{document.encoded(data)}">'


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'PNG')
    return file.getvalue()


def _sentences(lines):
    """A list; `names` in backquotes are set as code."""
    marked = lambda line: re.sub(r'`(.+?)`', r'<code>\1</code>', document.safe(line))
    return f'<ul>{"".join(f"<li>{marked(line)}</li>" for line in lines)}</ul>'
