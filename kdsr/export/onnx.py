"""ONNX by jax2onnx: `[batch, C, height, width]`, the order of axes that upscaling tools expect."""

import functools
import logging

import numpy as np

from kdsr.export import jobs, program

PACKAGES = ('jax2onnx', 'onnx', 'onnxruntime')
REMEDY = (
    '`pip install jax2onnx onnxruntime` brings it, in an environment of its own, '
    'since jax2onnx takes older versions of orbax-checkpoint only'
)
OPSET = 17  # old enough for tools that bring a runtime of their own


def plan(made, options):
    """The one job. `options` are not needed."""
    tools = [jobs.need(name, REMEDY) for name in PACKAGES]
    return [jobs.Job(f'{made.name}.onnx', functools.partial(write, made, *tools), PACKAGES, program.TOLERANCE)]


def write(made, jax2onnx, onnx, runtime, path):
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
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(path, options, providers=['CPUExecutionProvider'])

    def run(lr):
        (sr,) = session.run(['sr'], {'lr': lr.transpose(0, 3, 1, 2) * np.float32(white)})
        return sr.transpose(0, 2, 3, 1) / np.float32(white)

    return {
        'checks': [program.difference(made, shape, run) for shape in made.shapes],
        'input': jobs.signature('lr', session.get_inputs()[0].shape, white, 'NCHW'),
        'output': jobs.signature('sr', session.get_outputs()[0].shape, white, 'NCHW'),
        'opset': OPSET,
        'read': [
            'import onnxruntime',
            f"session = onnxruntime.InferenceSession('{made.name}.onnx')",
            f"(sr,) = session.run(['sr'], {{'lr': lr}})  # float32 [batch, {made.channels}, height, width], 0 ... {white}",
        ],
    }
