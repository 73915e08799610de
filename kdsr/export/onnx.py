"""ONNX by jax2onnx: `[batch, C, height, width]`, the order of axes that upscaling tools expect."""

import functools
import logging
import pathlib
import tempfile

import numpy as np

from kdsr import console
from kdsr.export import calibration, jobs, program

PACKAGES = ('jax2onnx', 'onnx', 'onnxruntime')
REMEDY = (
    '`pip install jax2onnx onnxruntime` brings it, in an environment of its own, '
    'since jax2onnx takes older versions of orbax-checkpoint only'
)
OPSET = 17  # old enough for tools that bring a runtime of their own
TITLE, PRECISIONS = 'ONNX', ('float32', 'int8')


def plan(made, options):
    """A job for each of `options.onnx`."""
    tools = [jobs.need(name, REMEDY) for name in PACKAGES]
    make = lambda precision: functools.partial(WRITERS[precision], made, options, *tools)
    name = lambda precision: f'{made.name}.onnx' if precision == 'float32' else f'{made.name}_{precision}.onnx'
    return [jobs.Job(name(p), make(p), PACKAGES, *program.GATES[p]) for p in options.onnx]


def write(made, options, jax2onnx, onnx, runtime, path):
    """Writes `lr [batch, C, height, width] -> sr [batch, C, s*height, s*width]` of free sizes, or of `[1, C, rows, columns]`."""
    logging.getLogger('onnx_ir').setLevel(logging.ERROR)  # it tells of each shape that has no type
    white, forward = made.white or 1, made.fixed(made.white or 1)
    free = ('batch', made.channels, 'height', 'width')
    model = jax2onnx.to_onnx(
        lambda lr: forward(lr.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        inputs=[free if made.dynamic else (1, made.channels, *made.size)],
        model_name=made.name,
        opset=OPSET,
        input_names=['lr'],
        output_names=['sr'],
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    runner = Runner(runtime, path, white)
    return {
        'checks': [program.difference(made, shape, runner) for shape in made.shapes],
        **runner.described(),
        'opset': OPSET,
        'read': read(made, f'{made.name}.onnx', white),
    }


def quantise(made, options, jax2onnx, onnx, runtime, path):
    """Writes the same of 8-bit weights and features, by onnxruntime's quantiser; the images that go in and out stay float32."""
    from onnxruntime import quantization

    examples, sets = calibration.sets(options, made, '--onnx')
    pictures, white = calibration.inputs(examples, made.size), made.white or 1
    with tempfile.TemporaryDirectory() as room:
        whole, folded = (pathlib.Path(room) / name for name in ('whole.onnx', 'folded.onnx'))
        write(made, options, jax2onnx, onnx, runtime, whole)
        # the quantiser takes weights that are constants, jax2onnx writes some as what is made of constants
        session = runtime.SessionOptions()
        session.log_severity_level, session.optimized_model_filepath = 3, str(folded)
        session.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        runtime.InferenceSession(whole, session, providers=['CPUExecutionProvider'])
        quantization.quantize_static(folded, path, reader(quantization, pictures, white), per_channel=True)
    runner = Runner(runtime, path, white)
    return {
        'checks': [program.difference(made, made.shapes[0], runner, clip=True)],
        **runner.described(),
        **calibration.told(options, pictures),
        'psnr_y': calibration.cost(made.network, runner, made, sets),
        'opset': OPSET,
        'read': read(made, f'{made.name}_int8.onnx', white),
    }


WRITERS = {'float32': write, 'int8': quantise}


def reader(quantization, pictures, white):
    """The pictures one by one, as onnxruntime's quantiser takes them, with a progress bar."""

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.rest, self.show = list(pictures), console.progress('calibration')

        def get_next(self):
            self.show(len(pictures) - len(self.rest), len(pictures))
            return {'lr': self.rest.pop(0).transpose(0, 3, 1, 2) * np.float32(white)} if self.rest else None

    return Reader()


class Runner:
    """An ONNX file as a function of float32 images `[B, h, w, C]` in [0, 1], by onnxruntime on the CPU."""

    def __init__(self, runtime, path, white):
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        self.session, self.white = runtime.InferenceSession(path, options, providers=['CPUExecutionProvider']), white

    def __call__(self, lr):
        (sr,) = self.session.run(['sr'], {'lr': np.asarray(lr).transpose(0, 3, 1, 2) * np.float32(self.white)})
        return sr.transpose(0, 2, 3, 1) / np.float32(self.white)

    def described(self):
        """The `input` and `output` of a card."""
        sides = {'input': self.session.get_inputs()[0], 'output': self.session.get_outputs()[0]}
        return {side: jobs.signature(found.name, found.shape, self.white, 'NCHW') for side, found in sides.items()}


def read(made, file, white):
    """Lines that run the file."""
    return [
        'import onnxruntime',
        f"session = onnxruntime.InferenceSession('{file}')",
        f"(sr,) = session.run(['sr'], {{'lr': lr}})  # float32 [batch, {made.channels}, height, width], 0 ... {white}",
    ]
