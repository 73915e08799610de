"""Sheets of pictures side by side: a header, rows with a name, a caption above each picture."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kdsr.paths import written

GAP, TEXT, HEADER = 6, 14, 16  # pixels
NARROWEST = 120  # pixels that a caption has at least, whatever its picture


def comparison(rows, path, *, title='', height=256):
    """Writes rows of labelled pictures, each under its name: `rows` is [(name, [(label, image), ...]), ...].

    Replaces `path` at once. An image is `[H, W, 3]` in [0, 1]. Those smaller than `height` are enlarged by a whole factor, so
    that pixels stay visible. `title` stands above all. What is too long for its place goes on in the next line; an empty text
    takes no place.
    """
    strips = [strip([(label, enlarged(image, height)) for label, image in panels]) for _, panels in rows]
    width = max(s.width for s in strips)
    bands = [words(title, width, HEADER)]
    for (name, _), picture in zip(rows, strips, strict=True):
        bands += [words(name, width, TEXT), picture]
    sheet = Image.new('RGB', (width + 2 * GAP, sum(b.height + GAP for b in bands if b) + GAP), 'white')
    top = GAP
    for band in filter(None, bands):
        sheet.paste(band, (GAP, top))
        top += band.height + GAP
    with written(path) as part:
        sheet.save(part, 'PNG')


def enlarged(image, height):
    """The picture of `image`, its pixels repeated until it is `height` high or higher."""
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    factor = max(1, math.ceil(height / pixels.shape[0]))
    return Image.fromarray(pixels.repeat(factor, 0).repeat(factor, 1))


def strip(panels):
    """One row of (label, picture); pictures begin at one height, whatever their labels."""
    widths = [max(picture.width, NARROWEST if label else 0) for label, picture in panels]
    captions = [words(label, width, TEXT) for (label, _), width in zip(panels, widths, strict=True)]
    room = max(c.height if c else 0 for c in captions)
    whole = Image.new('RGB', (sum(widths) + GAP * (len(panels) - 1), room + max(p.height for _, p in panels)), 'white')
    left = 0
    for caption, (_, picture), width in zip(captions, panels, widths, strict=True):
        if caption:
            whole.paste(caption, (left, room - caption.height))
        whole.paste(picture, (left, room))
        left += width + GAP
    return whole


def words(text, width, size):
    """A picture of `text` in lines of at most `width` pixels, None of no text."""
    if not text:
        return None
    font = ImageFont.load_default(size)
    lines = wrapped(text, lambda line: font.getlength(line) <= width)
    picture = Image.new('RGB', (width, len(lines) * (size + 4)), 'white')
    ImageDraw.Draw(picture).multiline_text((0, 0), '\n'.join(lines), fill='black', font=font, spacing=2)
    return picture


def wrapped(text, fits):
    """The lines of `text`, broken at spaces, and within a word that is too long for a line by itself."""
    lines = ['']
    for word in text.split():
        joined = f'{lines[-1]} {word}'.strip()
        if fits(joined):
            lines[-1] = joined
            continue
        lines += [''] if lines[-1] else []
        for letter in word:
            if lines[-1] and not fits(lines[-1] + letter):
                lines.append('')
            lines[-1] += letter
    return lines
