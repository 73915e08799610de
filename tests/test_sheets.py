"""Sheets of sample pictures: their size, and texts that are never cut."""

import numpy as np
import pytest
import tiny
from PIL import Image

from kdsr import evaluate, methods, outcome, sheets


def grey(height, width):
    return np.full((height, width, 3), 0.5)


def test_a_sheet_has_its_panels_at_whole_enlargements(tmp_path):
    """Two panels of 60 px and a gap of 6 between, margins of 6; two rows of 40 px and a line of text, 18 px, above each."""
    panels = [('', grey(20, 30)), ('', grey(20, 30))]
    sheets.comparison([('a', panels), ('b', panels[:1])], tmp_path / 'sheet.png', height=40)
    pixels = np.asarray(Image.open(tmp_path / 'sheet.png'))
    assert pixels.shape == (6 + 2 * (18 + 6 + 40 + 6), 126 + 12, 3)
    grey_pixels = (pixels == 128).all(-1)
    assert grey_pixels[40, 6:66].all() and not grey_pixels[40, 66:72].any() and grey_pixels[40, 72:132].all()
    assert grey_pixels[110, 6:66].all() and not grey_pixels[110, 66:].any()


def inked(picture):
    """Which columns of a picture hold anything but white."""
    return (np.asarray(picture) < 200).any((0, 2))


@pytest.mark.parametrize('text', ['student: 27.34 dB, LPIPS 0.213', 'a_photograph_whose_name_has_no_place_to_break_it', 'x'])
@pytest.mark.parametrize('width', [60, 120, 256])
def test_no_text_is_cut(text, width):
    """Its lines fit, hold all of it, and are drawn whole: on a wider ground no ink lies further to the right."""
    fits = lambda line: len(line) * 8 <= width
    lines = sheets.wrapped(text, fits)
    assert all(map(fits, lines)) and ''.join(lines).replace(' ', '') == text.replace(' ', '')
    font = sheets.ImageFont.load_default(14)
    lines = sheets.wrapped(text, lambda line: font.getlength(line) <= width)
    wide = Image.new('RGB', (2 * width, 18 * len(lines)), 'white')
    sheets.ImageDraw.Draw(wide).multiline_text((0, 0), '\n'.join(lines), fill='black', font=font, spacing=2)
    drawn = sheets.words(text, width, 14)
    assert drawn.size == (width, 18 * len(lines))
    assert inked(drawn).sum() == inked(wide).sum()


def test_a_sheet_says_which_run_and_step_it_shows_and_how_good_it_is(tmp_path, monkeypatch):
    """Captions have LPIPS where the config has it; a sheet of the next step shows the same cuts."""
    tiny.folder(tmp_path / 'images', count=3)
    cfg = tiny.config(tmp_path / 'images', '', name='mine', steps=40, lpips='alex')
    cfg.method = {'name': 'supervised', 'loss': 'l1'}
    made = outcome.Outcome(cfg, tmp_path / 'run', methods.make(cfg).nets)
    monkeypatch.setattr(evaluate, 'lpips', lambda net: lambda sr, hr, border: 0.25)
    seen = []
    monkeypatch.setattr(sheets, 'comparison', lambda rows, path, title, **_: seen.append((rows, path.name, title)))
    writer = type('Silent', (), {'image': lambda *_: None})()
    for step in (10, 20):
        title = made.title(step, {'psnr_y': 27.314, 'images': {'a': {}, 'b': {}}})
        made.picture(evaluate.bicubic(cfg.scale), step, writer, title)
    assert [name for _, name, _ in seen] == ['step_0000010.png', 'step_0000020.png']
    assert seen[0][2] == 'mine, step 10 of 40, validation PSNR-Y 27.31 dB (mean of 2 images)'
    unknown = made.title(10, {'teacher_psnr_y': 30.0, 'images': {'a': {}}})
    assert unknown.endswith("PSNR-Y 30.00 dB against the teacher's pictures (1 image)")
    (name, panels), (again, same) = (rows[0] for rows, _, _ in seen)
    captions = [caption for caption, _ in panels]
    assert captions[-1] == 'HR' and all(caption.endswith(' dB, LPIPS 0.250') for caption in captions[:-1])
    assert name == again and all((a == b).all() for (_, a), (_, b) in zip(panels, same, strict=True))
