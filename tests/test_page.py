"""The page of a report: well formed, closed to the network, every name escaped, every pixel as it was made; and in a browser."""

import base64
import csv
import html
import html.parser
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import tiny
from handmade import evaluation, results, run
from PIL import Image
from shell import command

from kdsr import crops, page, report, runs

NAME = '</td><script>alert("&amp;")</script>'
LONG = 'a_name_without_a_space_that_is_longer_than_a_phone_is_wide_' * 2
VOID = {'meta', 'link', 'img', 'wbr'}
CHROMIUM = shutil.which('chromium')
OPTIONS = [
    *('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'),
    *('--disable-component-update', '--disable-sync', '--enable-logging=stderr', '--v=0', '--dump-dom'),
]


class Page(html.parser.HTMLParser):
    """tags: (name, attributes) in order. texts: (open tags, text). What is closed is what was opened last."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f'<{tag}> says something twice'
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ('td', 'th', 'h1', 'figcaption', 'li'):
            self.texts.append([tag, ''])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.texts and self.texts[-1][0] in self.open:
            self.texts[-1][1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def said(self, tag):
        return [text for name, text in self.texts if name == tag]


def pictures(found):
    """The pixels of the <img> tags of a Page."""
    start = 'data:image/png;base64,'
    assert all(image['src'].startswith(start) and image['alt'] for image in found.all('img'))
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(i['src'].removeprefix(start))))) for i in found.all('img')]


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """Two runs whose networks can be loaded, an unfinished one with a long name, and pictures."""
    room = tmp_path_factory.mktemp('page')
    network = tiny.teacher(room / 'teacher' / 'export' / 'student').parent
    for seed, name in enumerate((NAME, 'other')):
        scored = results(30.0 + seed, sets=('validation/x2', 'Set5/x2'))
        folder = run(room / 'runs' / f'{seed}', seed, scored, name=name, batch_size=4 + seed)
        shutil.copytree(network, folder / 'export')
    run(room / 'runs' / 'z', 7, name=LONG, batch_size=9)
    tiny.folder(room / 'set' / 'HR', count=2, height=160, width=200)
    return room


def made(room, out, **options):
    text, files = report.report([room / 'runs'], out, data=room / 'set', html=True, **options)
    assert files[-1] == 'report.html'
    return (out / 'report.html').read_text(encoding='ascii')


def test_the_page_is_well_formed_and_loads_nothing(room, tmp_path):
    text = made(room, tmp_path)
    found = Page(text)
    assert not re.search(r'https?:|//[a-z]|url\(|@import', re.sub(r'base64,[\w+/=]+', '', text))
    links = [v for _, attributes in found.tags for k, v in attributes.items() if k in ('src', 'href', 'srcset', 'action', 'data')]
    assert links and all(link.startswith('data:') for link in links)
    assert "default-src 'none'" in next(m['content'] for m in found.all('meta') if 'http-equiv' in m)
    assert not any(k.startswith('on') for _, attributes in found.tags for k in attributes)
    assert len(found.all('script')) == 1  # and not that of the name


def test_names_are_escaped_wherever_they_stand(room, tmp_path):
    text = made(room, tmp_path)
    assert '<script>alert' not in text and '</td><script>' not in text
    found, names = Page(text), [row['run'] for row in csv.DictReader((tmp_path / 'report.csv').open(newline=''))]
    assert NAME in names and set(names) <= set(found.said('th'))
    assert {NAME + ', seed 0', 'other, seed 1'} <= {c.rpartition(' ')[0].rpartition(' ')[0] for c in found.said('figcaption')}
    assert any(NAME in image['alt'] for image in found.all('img'))
    assert Page(page.of(NAME, [], notes=f'- {NAME}', missing=[NAME])).said('li') == [NAME, NAME]


def test_a_cell_for_every_row_and_score(room, tmp_path):
    found = Page(made(room, tmp_path, images=0))
    rows = list(csv.DictReader((tmp_path / 'report.csv').open(newline='')))
    scored = [c for c in rows[0] if c.endswith(' mean')]
    costs = ['parameters', 'gmacs', 'ms', 'data_wait', 'steps']
    values = [cell['data-value'] for cell in found.all('td') if 'data-value' in cell]
    assert len(scored) == 8 and len(values) == len(rows) * (1 + 8 + len(costs))
    for i, row in enumerate(rows):
        own = values[i * 14 : i * 14 + 14]
        assert own == [row['n'], *(row[c] for c in scored + costs)], 'a row sorts by what report.csv has'
    heads = [head for head in found.all('th') if 'data-column' in head]
    assert [int(head['data-column']) for head in heads] == list(range(15))
    assert [head['data-first'] for head in heads][2:12:7] == ['descending', 'descending'] and heads[10]['data-first'] == 'ascending'
    groups = [head for head in found.all('th') if head['scope'] == 'colgroup']
    assert [int(head['colspan']) for head in groups] == [4, 4, 5]
    text = {'30.000', '31.000', '+2.000', '0.7500', '9,203', '1.0%'}
    assert text <= set(found.said('td'))


def test_crops_have_the_pixels_of_the_panels_and_are_made_once(room, tmp_path, monkeypatch):
    rows, panels = [], crops.panels
    monkeypatch.setattr(crops, 'panels', lambda *args, **options: rows.append(panels(*args, **options)) or rows[-1])
    found = Page(made(room, tmp_path, images=2))
    curves, *shown = pictures(found)
    np.testing.assert_array_equal(curves, np.asarray(Image.open(tmp_path / 'curves.png')))
    wanted = [picture for row in rows for _, picture in row]
    assert len(rows) == 2 and len(shown) == len(wanted) == 2 * 5
    for one, other in zip(shown, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    # as wide as in crops.png
    assert {image['width'] for image in found.all('img')[2:6]} == {'256'} and wanted[1].shape == (128, 128, 3)
    captions = [caption.replace('\n', ' ') for row in rows for caption, _ in row[1:]]
    assert found.said('figcaption') == captions and len(found.all('figure')) == 10


def test_what_there_is_not_is_left_out(room, tmp_path):
    text = made(room, tmp_path / 'a', images=0)
    assert 'Crops</h2>' not in text and len(Page(text).all('img')) == 1
    file = evaluation(tmp_path / 'x.json', 30.0, model='gone', protocol='y8')
    _, files = report.report([file], tmp_path / 'b', html=True)
    text = (tmp_path / 'b' / 'report.html').read_text()
    assert files == ['report.md', 'report.csv', 'report.html'] and 'curves</h2>' not in text and '30.000' in Page(text).said('td')
    assert any('not in the crops: gone' in line for line in Page(text).said('li')) and not Page(text).all('img')
    report.report([room / 'runs' / 'z'], tmp_path / 'c', images=0, html=True)
    text = (tmp_path / 'c' / 'report.html').read_text()
    label = runs.grouped(runs.collect([room / 'runs' / 'z']))[0].label
    assert 'Scores</h2>' not in text and label in Page(text).said('th') and '4 of 4' in Page(text).said('td')


def test_infinite_scores_sort(tmp_path):
    run(tmp_path / 'a', 0, results(np.inf))
    report.report([tmp_path / 'a'], tmp_path / 'out', images=0, html=True)
    found = Page((tmp_path / 'out' / 'report.html').read_text())
    assert 'inf' in found.said('td') and 'Infinity' in {cell.get('data-value') for cell in found.all('td')}


def test_the_flag_writes_it(room, tmp_path):
    done = command('kdsr.report', room / 'runs', f'--out={tmp_path}', '--images=0', '--html')
    assert done.stdout.rstrip().endswith('report.html') and (tmp_path / 'report.html').stat().st_size > 10_000
    plain = command('kdsr.report', room / 'runs', f'--out={tmp_path / "plain"}', '--images=0')
    assert 'report.html' not in plain.stdout and not (tmp_path / 'plain' / 'report.html').exists()


# runs before the page's own script, and after it
WATCH = """<script>const failed = [];
addEventListener('error', event => failed.push(event.message || 'not loaded: ' + event.target.tagName), true);
addEventListener('securitypolicyviolation', event => failed.push('barred: ' + event.blockedURI));</script>"""
TRY = """<script>addEventListener('load', () => {
const one = what => document.querySelector(what), all = what => [...document.querySelectorAll(what)];
const found = { inner: innerWidth, scroll: document.documentElement.scrollWidth, font: getComputedStyle(document.body).fontSize };
const names = () => all('.scores tbody th').map(cell => cell.textContent);
const head = all('.scores [data-column]')[2], press = key => {
  one('.stack').dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  return all('.stack img').findIndex(image => getComputedStyle(image).visibility == 'visible');
};
found.orders = [names(), ...[1, 2, 3].map(() => { head.querySelector('button').click(); return names(); })];
const crop = all('.row .crop button')[1];
crop.focus();
crop.click();
const places = all('.stack img').map(image => JSON.stringify(image.getBoundingClientRect()));
const box = one('.stack img').getBoundingClientRect(), tap = x => {
  const target = document.elementFromPoint(box.left + x * box.width, box.top + box.height / 2);
  target.dispatchEvent(new MouseEvent('click', { bubbles: true, clientX: box.left + x * box.width, clientY: box.top + 9 }));
  return press('');
};
found.flips = [press(''), press('ArrowRight'), press('ArrowLeft'), press('ArrowLeft'), press('ArrowLeft'), tap(.9), tap(.1)];
found.places = new Set(places).size, found.factor = box.width * devicePixelRatio / one('.stack img').naturalWidth;
found.inside = box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
found.said = one('[role=status]').textContent;
one('.close').click();
found.closed = !one('dialog').open, found.back = document.activeElement == crop;
one('.curves').click();
found.full = one('.stack img').getBoundingClientRect().width, found.over = document.documentElement.scrollWidth;
found.failed = failed;
parent.document.documentElement.dataset.found = JSON.stringify(found);
})</script>"""


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason='no chromium is installed: apt-get install chromium')
@pytest.mark.parametrize('width', [1400, 400])
def test_in_a_browser(room, tmp_path, width):
    text = made(room, tmp_path, images=1)
    text = text.replace('<style>', WATCH + '<style>', 1).replace('</body>', TRY + '</body>', 1)
    # a frame may be narrower than a window
    frame = f'<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{html.escape(text)}"></iframe>'
    (tmp_path / 'tried.html').write_text(f'<!DOCTYPE html><html><body style="margin: 0">{frame}</body></html>')
    line = [CHROMIUM, *OPTIONS, f'--user-data-dir={tmp_path / "profile"}', '--window-size=1500,1000']
    done = subprocess.run([*line, (tmp_path / 'tried.html').as_uri()], capture_output=True, text=True, timeout=120)
    assert [line for line in done.stderr.splitlines() if 'CONSOLE' in line] == []
    found = json.loads(dict(Page(done.stdout).all('html')[0])['data-found'])
    assert found['failed'] == [] and found['inner'] == width and found['font'] == '16px'
    assert found['scroll'] <= width and found['over'] <= width
    given, best, worst, again = found['orders']
    assert given == again == ['bicubic', 'teacher nowhere', NAME, 'other']
    assert best == ['teacher nowhere', 'other', NAME, 'bicubic'] and worst == best[::-1]
    # HR, bicubic and two runs: from bicubic on and back, past HR to the last, by keys and by taps
    assert found['flips'] == [1, 2, 1, 0, 3, 0, 3] and found['places'] == 1 and found['inside']
    assert found['factor'] == round(found['factor']) >= 3 and found['said'].startswith('other, seed 1 ')
    assert found['closed'] and found['back'] and found['full'] == 1200
