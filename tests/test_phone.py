"""The programs of docs/phone.md, as they stand there: a TFLite file of one size enlarges a picture of another as kdsr does."""

import pathlib
import re
import shutil
import subprocess
import sys

import exporting
import numpy as np
import pytest
import tiny
from PIL import Image

from kdsr import export, models

PAGE = (pathlib.Path(__file__).parents[1] / 'docs' / 'phone.md').read_text()
block = lambda language: re.search(rf'```{language}\n(.*?)```', PAGE, re.S)[1]
STAND_INS = {
    'android/graphics/Bitmap.java': """
        package android.graphics;
        public class Bitmap {
            public enum Config { ARGB_8888 }
            final int width, height; public final int[] all;
            Bitmap(int w, int h) { width = w; height = h; all = new int[w * h]; }
            public static Bitmap createBitmap(int w, int h, Config config) { return new Bitmap(w, h); }
            public int getWidth() { return width; }
            public int getHeight() { return height; }
            public void getPixels(int[] to, int offset, int stride, int x, int y, int w, int h) {
                System.arraycopy(all, 0, to, 0, w * h); }
            public void setPixels(int[] from, int offset, int stride, int x, int y, int w, int h) {
                System.arraycopy(from, 0, all, 0, w * h); }
        }""",
    # a network that sees two pixels around each: the mean of 5x5, what lies beyond the tile counting 0, repeated 2x2
    'org/tensorflow/lite/Interpreter.java': """
        package org.tensorflow.lite;
        import java.nio.ByteBuffer;
        public class Interpreter {
            public static class Options { public Options setNumThreads(int n) { return this; } }
            public static class Tensor {
                final int n;
                Tensor(int n) { this.n = n; }
                public int[] shape() { return new int[] {1, n, n, 3}; }
            }
            public Interpreter(ByteBuffer file, Options options) {}
            public Tensor getInputTensor(int i) { return new Tensor(16); }
            public Tensor getOutputTensor(int i) { return new Tensor(32); }
            public void run(Object lr, Object sr) {
                for (int y = 0; y < 32; y++) for (int x = 0; x < 32; x++) for (int c = 0; c < 3; c++) {
                    float sum = 0;
                    for (int v = y / 2 - 2; v <= y / 2 + 2; v++) for (int u = x / 2 - 2; u <= x / 2 + 2; u++)
                        if (v >= 0 && u >= 0 && v < 16 && u < 16) sum += ((ByteBuffer) lr).getFloat(4 * (3 * (16 * v + u) + c));
                    ((ByteBuffer) sr).putFloat(4 * (3 * (32 * y + x) + c), sum / 25);
                }
            }
        }""",
    'Main.java': """
        import android.graphics.Bitmap;
        public class Main {
            public static void main(String[] words) throws Exception {
                var in = new java.io.DataInputStream(new java.io.FileInputStream(words[0]));
                Bitmap picture = Bitmap.createBitmap(in.readInt(), in.readInt(), Bitmap.Config.ARGB_8888);
                for (int i = 0; i < picture.all.length; i++) picture.all[i] = in.readInt();
                var out = new java.io.DataOutputStream(new java.io.BufferedOutputStream(new java.io.FileOutputStream(words[1])));
                for (int pixel : new Upscaler(null, 1).enlarge(picture).all) out.writeInt(pixel);
                out.close();
            }
        }""",
}


@pytest.mark.parametrize(('height', 'width'), [(72, 72), (33, 100), (20, 50)])
def test_the_python_program_enlarges_a_picture_of_any_size(tmp_path, height, width):
    for package in ('tensorflow', 'ai_edge_litert'):
        pytest.importorskip(package, reason="needs the extra: pip install '.[tflite]'")
    source = exporting.network(tmp_path / 'net', 'srvgg')
    _, failures = export.run(source, ['tflite'], tmp_path, size=(32, 32), name='net', options=export.Options(('float32',)))
    picture = tiny.picture(height, width, 1)
    Image.fromarray(picture).save(tmp_path / 'photo.png')
    (tmp_path / 'enlarge.py').write_text(block('python'))
    command = [sys.executable, 'enlarge.py', 'net_float32.tflite', 'photo.png', 'large.png']
    subprocess.run(command, cwd=tmp_path, check=True, timeout=100)
    large = np.asarray(Image.open(tmp_path / 'large.png'))
    whole = np.asarray(models.load(source)(np.float32(picture[None]) / 255))[0].clip(0, 1)
    assert failures == [] and large.shape == (4 * height, 4 * width, 3)
    inside = np.s_[: 4 * (height - 4), : 4 * (width - 4)] if height < 32 else np.s_[:, :]  # what goes on beyond a small picture
    assert np.abs(large[inside] / 255 - whole[inside]).max() < 0.51 / 255


@pytest.mark.parametrize(('height', 'width'), [(16, 16), (40, 23), (5, 90), (37, 100)])
def test_the_java_class_enlarges_a_picture_of_any_size(tmp_path, height, width):
    if not shutil.which('javac'):
        pytest.skip('needs javac')
    for path, text in {**STAND_INS, 'Upscaler.java': block('java')}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    picture = tiny.picture(height, width, 1)
    packed = (255 << 24) + (picture.astype(np.uint32) << np.uint32([16, 8, 0])).sum(-1)
    (tmp_path / 'in').write_bytes(np.uint32([width, height]).astype('>u4').tobytes() + packed.astype('>u4').tobytes())
    subprocess.run(['javac', '-d', 'made', 'Main.java', '-sourcepath', '.'], cwd=tmp_path, check=True, timeout=100)
    subprocess.run(['java', '-cp', 'made', 'Main', 'in', 'out'], cwd=tmp_path, check=True, timeout=100)
    found = np.fromfile(tmp_path / 'out', '>u4').reshape(2 * height, 2 * width, 1) >> np.uint32([16, 8, 0]) & 255
    padded = np.pad(picture, ((0, max(0, 16 - height)), (0, max(0, 16 - width)), (0, 0)), 'edge')  # as the class extends it
    around = np.pad(np.float64(padded), ((2, 2), (2, 2), (0, 0)))
    mean = sum(around[y : y + padded.shape[0], x : x + padded.shape[1]] for y in range(5) for x in range(5)) / 25
    expected = mean.repeat(2, 0).repeat(2, 1)[: 2 * height, : 2 * width]
    assert np.abs(found - expected).max() < 0.51
