"""docs/pictures/shipped.png: what the shipped models make of a photograph that none of them was trained on.

taskset -c 0 python docs/pictures/make.py
"""

import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from kdsr import cost, crops, evaluate, metrics, models

SHIPPED = ('light_x4', 'edsr_x4')
SIDE, PANEL, TEXT, GAP = 40, 320, 17, 8  # LR pixels; pixels


def panel(lines, image):
    """A picture of PANEL pixels under its lines of text."""
    room = (TEXT + 4) * len(lines) + 8
    made = Image.new('RGB', (PANEL, PANEL + room), 'white')
    pen, font = ImageDraw.Draw(made), ImageFont.load_default(TEXT)
    for i, line in enumerate(lines):
        pen.text((0, i * (TEXT + 4)), line, fill='black', font=font)
    made.paste(Image.fromarray(image).resize((PANEL, PANEL), Image.Resampling.NEAREST), (0, room))
    return made


def joined(panels):
    """The panels side by side."""
    sheet = Image.new('RGB', (len(panels) * (PANEL + GAP) - GAP, panels[0].height), 'white')
    for i, picture in enumerate(panels):
        sheet.paste(picture, (i * (PANEL + GAP), 0))
    return sheet


def main():
    """Measures and draws."""
    examples = [e for e in crops.examples('', 4) if e[0] == 'astronaut']
    ((name, lr, hr), top, left, side) = crops.choose(examples, 4, 1)[0]
    top, left, side = min(top, lr.shape[0] - SIDE), min(left, lr.shape[1] - SIDE), SIDE
    truth = hr[4 * top : 4 * (top + side), 4 * left : 4 * (left + side)]
    psnr = lambda sr: f'{metrics.psnr_y(np.float64(sr), truth, 0):.2f} dB'
    unit = lambda sr: np.uint8(np.round(255 * np.clip(sr, 0, 1)))
    bicubic = crops.upscaled(evaluate.bicubic(4), lr, top, left, side, 4)
    shown = [panel(['small picture', f'{side}x{side}', ''], lr[top : top + side, left : left + side])]
    shown += [panel(['bicubic', psnr(bicubic), ''], unit(bicubic))]
    for model in SHIPPED:
        fn = models.load(model)
        sr, costs = crops.upscaled(fn, lr, top, left, side, 4), cost.summary(fn)
        facts = f'{costs["parameters"] / 1e6:.2f} M weights, {costs["ms"]:.0f} ms'
        shown.append(panel([model, psnr(sr), facts], unit(sr)))
        print(model, costs)
    shown.append(panel(['truth', '', ''], truth))
    joined(shown).save(pathlib.Path(__file__).with_name('shipped.png'), optimize=True)


if __name__ == '__main__':
    main()
