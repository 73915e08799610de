"""The command `kdsr.upscale`: names, kinds, factors, failures that do not stop the rest, a kill, and its memory."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny
from enlarging import network, saved
from PIL import Image
from shell import HERE, command, only_line

from kdsr import evaluate, models, pictures, tiling, upscale
from kdsr.models import exports
from kdsr.pictures import files


def names(plan, out):
    return [(job.source.name, str(job.target.relative_to(out)), job.form) for job in plan.jobs]


def test_files_folders_and_patterns(tmp_path):
    out = tmp_path / 'out'
    for name in ('b.JPG', 'a.png', 'c.gif', 'notes.txt', '.hidden.png', 'sub/a.tiff', 'sub/.trash/d.png'):
        saved(tmp_path / 'in' / name)
    folder = tmp_path / 'in'
    flat = [('a.png', 'a_x2.png', 'png'), ('b.JPG', 'b_x2.jpg', 'jpg'), ('c.gif', 'c_x2.png', 'png')]
    assert names(files.plan([folder], out, suffix='_x2'), out) == flat
    deep = files.plan([folder], out, suffix='_x2', recursive=True)
    assert names(deep, out) == [*flat, ('a.tiff', 'sub/a_x2.tiff', 'tiff')]
    twice = files.plan([f'{folder}/[ab].*', folder / 'b.JPG', folder / 'missing.webp'], out, suffix='-big', form='jpg')
    assert names(twice, out) == [
        ('a.png', 'a-big.jpg', 'jpg'), ('b.JPG', 'b-big.jpg', 'jpg'), ('missing.webp', 'missing-big.jpg', 'jpg')
    ]  # fmt: skip
    pictures.write(folder / 'a_x2.png', [np.zeros((2, 2, 3), np.uint8)], (2, 2, 3), 'uint8', 'png')  # as an earlier run would
    assert names(files.plan([folder], folder, suffix='_x2'), folder) == flat
    assert [source for source, *_ in names(files.plan([folder], out, suffix='_x2'), out)] == ['a.png', 'a_x2.png', 'b.JPG', 'c.gif']


def test_names_that_clash_are_errors_before_work(tmp_path):
    for name in ('a.png', 'a.jpg', 'b/a.png', 'a_x2.png'):
        saved(tmp_path / name)
    out = tmp_path / 'out'
    plan = lambda *inputs, out=out, **options: files.plan([tmp_path / i for i in inputs], out, **{'suffix': '_x2', **options})
    assert len(plan('a.png', 'a.jpg').jobs) == 2
    with pytest.raises(ValueError, match=r'a.png and .*a.jpg would both be written to .*a_x2.webp: rename one'):
        plan('a.png', 'a.jpg', form='webp')
    with pytest.raises(ValueError, match='a.png and .*b/a.png would both be written'):
        plan('a.png', 'b/a.png')
    with pytest.raises(
        ValueError, match='a_x2.png is the result of .*a.png and itself to be read: choose another --out or --suffix'
    ):
        plan('a.png', 'a_x2.png', out=tmp_path)
    with pytest.raises(ValueError, match='a.png is the result of .*a.png and itself to be read'):
        plan('a.png', out=tmp_path, suffix='')
    (tmp_path / 'empty' / 'sub').mkdir(parents=True)
    for inputs, text in [
        ([], 'no picture is named: give files, folders or patterns'),
        (['empty'], 'empty: no pictures in this folder .--recursive looks below it.'),
        (['*.bmp'], r'\*.bmp: no file has such a name'),
    ]:
        with pytest.raises(FileNotFoundError, match=text):
            plan(*inputs)


def expected(model, pixels):
    """What the whole picture gives, 8 bits."""
    return tiling.upscale(models.load(model), pixels, scale=2, side=4096)


def test_kinds_stay_and_failures_do_not_stop_the_rest(model, tmp_path, capsys):
    colour, alpha = tiny.picture(12, 20, 0), tiny.picture(12, 20, 1)[..., :1]
    Image.fromarray(colour).save(tmp_path / 'rgb.png')
    Image.fromarray(colour[..., 0]).save(tmp_path / 'grey.png')
    Image.fromarray(np.concatenate([colour, alpha], -1)).save(tmp_path / 'rgba.webp', lossless=True)
    Image.fromarray(colour).convert('CMYK').save(tmp_path / 'cmyk.tif')
    pictures.write(tmp_path / 'deep.png', [np.uint16(colour) * 257], colour.shape, 'uint16', 'png')
    (tmp_path / 'broken.png').write_bytes((tmp_path / 'rgb.png').read_bytes()[:200])
    assert upscale.run([tmp_path], tmp_path / 'out', model=model, outscale=None)[1]
    said = capsys.readouterr()
    assert '(edsr x2, 1,259 parameters): 6 files -> ' in said.err.splitlines()[0]
    assert 'broken.png: it cannot be decoded' in said.err and said.err.count('failed: ') == 1 and 'Traceback' not in said.err
    assert 'cmyk.tif: CMYK becomes RGB' in said.err and said.err.count('note: ') == 1
    assert said.out.startswith('5 done, 1 failed; 0.00 megapixels written in 0:0')
    read = lambda name: pictures.read(tmp_path / 'out' / name).pixels
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        'cmyk_x2.tif', 'deep_x2.png', 'grey_x2.png', 'rgb_x2.png', 'rgba_x2.webp'
    ]  # fmt: skip
    np.testing.assert_array_equal(read('rgb_x2.png'), expected(model, colour))
    np.testing.assert_array_equal(read('grey_x2.png'), expected(model, colour[..., :1]))
    np.testing.assert_array_equal(read('deep_x2.png'), expected(model, np.uint16(colour) * 257))
    assert read('rgba_x2.webp').shape == (24, 40, 4) and read('cmyk_x2.tif').shape == (24, 40, 3)
    assert np.abs(read('rgba_x2.webp')[..., 3:].astype(int) - expected(model, alpha)).max() == 0  # WebP keeps alpha exactly


def test_flags_of_the_result(model, tmp_path, capsys):
    source, out = saved(tmp_path / 'a.png'), tmp_path / 'out'
    pixels = pictures.read(source).pixels
    run = lambda **options: len(upscale.run([source], out, model=model, **options)[1])
    assert run(outscale=3.5, form='jpg') == 0 and Image.open(out / 'a_x3.5.jpg').size == (70, 42)
    assert run(outscale=0.01, suffix='_dot') == 0 and Image.open(out / 'a_dot.png').size == (1, 1)
    assert run(suffix='_8', ensemble=True) == 0
    whole = evaluate.self_ensemble(models.load(model))(np.float32(pixels[None]) / 255)[0]
    np.testing.assert_array_equal(pictures.read(out / 'a_8.png').pixels, tiling.finish(np.asarray(whole), np.dtype('uint8')))
    (out / 'a_x2.png').write_text('mine')
    assert run(skip_existing=True) == 0 and (out / 'a_x2.png').read_text() == 'mine'
    assert '0 files -> ' in capsys.readouterr().err.splitlines()[-1]
    assert run() == 0 and Image.open(out / 'a_x2.png').size == (40, 24)  # written over
    assert run(dtype='bfloat16') == 0
    close = np.abs(pictures.read(out / 'a_x2.png').pixels.astype(int) - expected(model, pixels))
    assert 0 < close.max() < 20
    with pytest.raises(
        ValueError, match='tiles of 12 px that overlap by 6 px on each side have no middle: use 28 or more .13 is the'
    ):
        run(tile=12)
    assert run(tile=13) == run(tile=16) == 0


def test_networks_that_read_far_say_that_tiles_are_approximate(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, 'radius', lambda _: None)
    assert not upscale.run([saved(tmp_path / 'a.png', 12, 130)], tmp_path, model=model, tile=128)[1]
    assert capsys.readouterr().err.count('the network reads the whole picture, tiles overlap by 48 px') == 1
    assert upscale.approximate(48, (9000, 9000, 3), 256) == upscale.approximate(None, (200, 256, 3), 256) == ()
    assert 'reads 133 px around each' in upscale.approximate(133, (9000, 9000, 3), 256)[0]


def test_reasons():
    full = OSError(28, 'No space left on device', 'x.part')
    assert upscale.reason(full) == 'the disk is full'
    assert 'try a smaller --tile' in upscale.reason(MemoryError())
    assert 'try a smaller --tile' in upscale.reason(RuntimeError('RESOURCE_EXHAUSTED: Out of memory while trying to allocate'))
    assert upscale.reason(PermissionError(13, 'Permission denied', 'x')) == 'Permission denied'
    assert upscale.reason(ValueError('two\n  lines')) == 'two lines' and upscale.reason(KeyError()) == 'KeyError'


def test_a_full_disk_is_named_and_leaves_nothing(model, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, 'No space left on device')

    monkeypatch.setitem(pictures.FORMATS, 'png', full)
    sources = [saved(tmp_path / 'a.png'), saved(tmp_path / 'b.tif')]
    assert upscale.run(sources, tmp_path / 'out', model=model)[1]
    assert 'a.png: the disk is full' in capsys.readouterr().err and os.listdir(tmp_path / 'out') == ['b_x2.tif']


def test_the_command(model, tmp_path):
    saved(tmp_path / 'a.png')
    saved(tmp_path / 'b.jpg')
    run = command('kdsr.upscale', 'a.png', '*.jpg', '--out=out', f'--model={model}', '--format=tiff', cwd=tmp_path)
    assert sorted(os.listdir(tmp_path / 'out')) == ['a_x2.tiff', 'b_x2.tiff'] and run.stdout.startswith('2 done, 0 failed; ')
    bad = command('kdsr.upscale', 'a.png', 'none.png', '--out=out', f'--model={model}', cwd=tmp_path, code=1)
    assert 'failed: none.png: No such file or directory' in bad.stderr and bad.stdout.startswith('1 done, 1 failed; ')
    for tile in (8, -1):
        line = only_line(command('kdsr.upscale', 'a.png', '--out=out', f'--model={model}', f'--tile={tile}', cwd=tmp_path, code=1))
        assert '13 is the smallest tile of this network' in line
    assert 'no picture is named' in only_line(command('kdsr.upscale', '--out=out', cwd=tmp_path, code=1))


def test_the_shipped_model_is_the_default():
    assert (exports.PRETRAINED / upscale.DEFAULT_MODEL / 'model.json').is_file()


# The command where SIGINT is heard: a shell's background jobs ignore it, and so do their children.
HEARING = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module('kdsr.upscale', run_name='__main__', alter_sys=True)
"""


def stopped_half_way(model, folder, signal_number):
    """Starts a long picture in `folder`, sends the signal in the midst of it; (exit status, what it said)."""
    saved(folder / 'a.png', 1200, 1200)
    env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(HERE)}
    args = [sys.executable, '-c', HEARING, 'a.png', '--out=out', f'--model={model}', '--tile=28']
    process = subprocess.Popen(args, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
    part, began = folder / 'out' / '.a_x2.png.part', time.monotonic()
    while not (part.exists() and part.stat().st_size > 0) and process.poll() is None and time.monotonic() - began < 120:
        time.sleep(0.02)
    process.send_signal(signal_number)
    said = process.communicate()[1]
    return process.returncode, said


def test_killed_half_way_nothing_has_a_final_name(model, tmp_path):
    assert stopped_half_way(model, tmp_path, signal.SIGKILL)[0] == -signal.SIGKILL
    assert os.listdir(tmp_path / 'out') == ['.a_x2.png.part']
    saved(tmp_path / 'a.png')  # the next run takes its place
    assert not upscale.run([tmp_path / 'a.png'], tmp_path / 'out', model=model)[1]
    assert os.listdir(tmp_path / 'out') == ['a_x2.png']


def test_interrupted_by_hand_nothing_is_left(model, tmp_path):
    status, said = stopped_half_way(model, tmp_path, signal.SIGINT)
    assert status == 130 and said.splitlines()[-1] == 'stopped: files that are finished are whole' and 'Traceback' not in said
    assert os.listdir(tmp_path / 'out') == []


PROGRAM = """
import re, sys
import numpy as np
from kdsr import allocator, models, upscale
allocator.keep_memory()  # as the command does
shipped = models.load(upscale.DEFAULT_MODEL)
np.asarray(shipped(np.zeros((1, 256, 256, 3), np.float32)))  # what one tile of the shipped network takes, and keeps
status = len(upscale.run([sys.argv[1]], sys.argv[2], model=sys.argv[3])[1])
# not ru_maxrss, which a process takes over from the one that started it
print(status, re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
@pytest.mark.parametrize('extension', ['.png', '.tif'])
def test_memory_of_a_large_picture(tmp_path, monkeypatch, extension):
    # 6,000 x 4,000 px by a tiny x4 network, after one tile of the shipped one: the same tiles, bands and writers in less time.
    model, source = network(tmp_path / 'edsr', scale=4), tmp_path / f'large{extension}'
    rows = (np.roll(tiny.picture(40, 6000, 0), y, 1) for y in range(100))
    pictures.write(source, rows, (4000, 6000, 3), 'uint8', files.EXTENSIONS[extension])
    env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(HERE)}
    args = [sys.executable, '-c', PROGRAM, source, tmp_path / 'out', model]
    run = subprocess.run(list(map(str, args)), env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    status, peak = map(int, run.stdout.split()[-2:])
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)
    with Image.open(tmp_path / 'out' / f'large_x4{extension}') as image:
        assert status == 0 and image.size == (24000, 16000)
    print(f'peak of {extension}: {peak / 2**10:.0f} MiB')
    assert peak < 2 * 2**20  # KiB
