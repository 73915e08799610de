"""kdsr.compare: upscalers side by side on pictures, by the teacher's picture and by the truth."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from kdsr import compare
from kdsr.models import exports


@pytest.fixture(scope='module')
def compared(tmp_path_factory):
    """(folder, what `run` gave) of a small network, a copy of it, and pictures: a file, a folder without and one with a truth."""
    root = tmp_path_factory.mktemp('compare')
    noise = lambda seed, *size: Image.fromarray(np.random.default_rng(seed).integers(256, size=(*size, 3), dtype=np.uint8))
    for folder in ('small', 'pairs/HR'):
        (root / folder).mkdir(parents=True)
    noise(0, 16, 20).save(root / 'one.png')
    noise(1, 16, 20).save(root / 'small/two.png')
    noise(2, 64, 80).resize((80, 64)).save(root / 'pairs/HR/three.png')
    shutil.copytree(exports.find('srgan_x4'), root / 'copy')
    paths = [str(root / name) for name in ('one.png', 'small', 'pairs')]
    found = compare.run(paths, ['srgan_x4', str(root / 'copy')], root / 'out', side=16, crop=8, lpips_by='')
    return root, found


def test_a_copy_of_the_teacher_is_at_no_distance_from_it(compared):
    root, found = compared
    teacher, copy = found['srgan_x4'], found[str(root / 'copy')]
    assert copy['teacher_psnr_y'] == np.inf and 'teacher_psnr_y' not in teacher
    same = ('parameters', 'gmacs', 'psnr_y', 'colour')
    assert all(teacher[name] == copy[name] for name in same) and teacher['parameters'] == 248_227


def test_bicubic_keeps_the_mean_colour(compared):
    _, found = compared
    assert list(found)[0] == 'bicubic' and found['bicubic']['colour'] < 0.5 and 'parameters' not in found['bicubic']


def test_the_page_loads_nothing_and_holds_the_sheet(compared):
    root, found = compared
    text = (root / 'out/index.html').read_text()
    assert text.isascii() and not re.search(r'(src|href)="(?!data:)', text) and 'teacher psnr y' in text
    assert json.loads((root / 'out/compared.json').read_text()).keys() == found.keys()
    with Image.open(root / 'out/sheet.png') as sheet:
        # three pictures below each other; picture, bicubic, two networks, and the truth of one
        assert sheet.width >= 5 * 120 and sheet.height >= 3 * 256


def test_a_folder_that_has_results_is_kept(compared):
    root, _ = compared
    with pytest.raises(FileExistsError, match='choose another --out'):
        compare.run([str(root / 'one.png')], ['srgan_x4'], root / 'out')


@pytest.mark.parametrize(
    ('paths', 'names', 'error'),
    [
        (['nowhere'], ['srgan_x4'], "no folder '.*nowhere'"),
        (['one.png'], ['srgan_x5'], 'no model at srgan_x5'),
        (['one.png'], ['vdsr_y', 'srgan_x4'], 'srgan_x4 is a x4 model, not one for x2'),
    ],
)
def test_what_cannot_be_compared_is_named(compared, paths, names, error):
    root, _ = compared
    with pytest.raises((FileNotFoundError, ValueError), match=error):
        compare.run([str(root / path) for path in paths], names, root / 'other')
    assert not (root / 'other').exists()
