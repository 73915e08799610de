"""What the HTML files of kdsr share: one file to open anywhere, which loads nothing from anywhere, with tables and pictures.

The text is ASCII: it reads the same whatever encoding a server or a mail program takes it for.
"""

import base64
import html
import re

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

# what a browser enforces, whatever stands in the file
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def of(title, parts):
    """The text of a file whose body are the lines `parts`."""
    head = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{safe(title)}</title>
<style>{STYLE}</style>
</head>"""
    whole = [head, '<body>', *parts, '</body>', '</html>', '']
    return '\n'.join(whole).encode('ascii', 'xmlcharrefreplace').decode()


def table(rows, about, kind):
    """A plain table of {column: text}, the same columns in each; about: what it holds, kind: its class in `STYLE`."""
    head = ''.join(f'<th scope="col"{" class=run" * (i == 0)}>{safe(column)}</th>' for i, column in enumerate(rows[0]))
    cells = lambda texts: ''.join(f'<td>{safe(text)}</td>' for text in texts)
    body = ''.join(f'<tr><th scope="row">{label(name)}</th>{cells(rest)}</tr>' for name, *rest in (r.values() for r in rows))
    return wide(about, f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def wide(about, inner):
    """What may be wider than the screen scrolls by itself; the keyboard reaches it."""
    return f'<div class="wide" role="region" aria-label="{about}" tabindex="0">{inner}</div>'


def label(name):
    """A name that breaks where a reader would break it, if it must."""
    return re.sub(r'([_/])(?=\w{3})', r'\1<wbr>', safe(name))


def safe(text):
    """`text` as HTML shows it."""
    return html.escape(str(text))


def encoded(png):
    """The bytes of a PNG file as what an <img> shows."""
    return f'data:image/png;base64,{base64.b64encode(png).decode()}'
