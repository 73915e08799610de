"""TensorFlow Lite: one file each for float32, float16 and int8, for images of one size, without TensorFlow at run time."""

import functools
import os
import statistics
import time
import warnings

import numpy as np

from kdsr import console
from kdsr.export import calibration, jobs, program, savedmodel

TITLE, PRECISIONS = 'TFLite', ('float32', 'float16', 'int8')
PACKAGES = (*savedmodel.PACKAGES, 'ai-edge-litert')
RUNS = 10  # whose median is the latency
PATIENCE = 30  # seconds after which no further run is begun
READ = """\
from ai_edge_litert.interpreter import Interpreter
model = Interpreter('{file}', num_threads=4)
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]['index'], lr)
model.invoke()
sr = model.get_tensor(model.get_output_details()[0]['index'])"""


def plan(made, options):
    """A job for each of `options.precisions`."""
    tools = (*savedmodel.tensorflow(), jobs.need('ai_edge_litert.interpreter', savedmodel.REMEDY))
    make = lambda precision: functools.partial(write, made, options, tools, precision)
    return [jobs.Job(f'{made.name}_{p}.tflite', make(p), PACKAGES, *program.GATES[p]) for p in options.precisions]


def write(made, options, tools, precision, path):
    """Writes `[1, rows, columns, C] -> [1, s * rows, s * columns, C]`, float32 or, for int8 on demand, bytes."""
    tf, jax2tf, litert = tools
    white, shape, integers = made.white or 1, (1, *made.size, made.channels), precision == 'int8'
    examples, sets = calibration.sets(options, made, '--tflite') if integers else (None, None)
    # Bytes end at black and white; so they shall be spent on nothing beyond.
    fn = jax2tf.convert(made.fixed(white, clip=integers), with_gradient=False, native_serialization_platforms=('cpu',))
    traced = tf.function(fn, autograph=False, input_signature=[tf.TensorSpec(shape, tf.float32, 'lr')])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], traced)
    if precision != 'float32':
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == 'float16':
        converter.target_spec.supported_types = [tf.float16]
    if integers:
        pictures = calibration.inputs(examples, made.size)
        converter.representative_dataset = lambda: shown(pictures, white)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, options.int8_io)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # it misses statistics that full-integer conversion takes from the pictures
        path.write_bytes(converter.convert())
    runner = Runner(litert, path, white)
    said = {
        'checks': [program.difference(made, shape, runner, clip=integers)],
        **runner.described(),
        'milliseconds': runner.latency(),
    }
    if integers:
        said |= calibration.told(options, pictures) | {'psnr_y': calibration.cost(made.network, runner, made, sets)}
    return said | {'read': READ.format(file=f'{made.name}_{precision}.tflite').splitlines()}


def shown(pictures, white):
    """The pictures one by one, as the converter takes them, with a progress bar."""
    show = console.progress('calibration')
    for i, picture in enumerate(pictures, 1):
        yield [picture * np.float32(white)]
        show(i, len(pictures))


class Runner:
    """A TFLite file as a function of one float32 image in [0, 1], by LiteRT on all cores."""

    def __init__(self, litert, path, white):
        self.threads, self.white = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(), white
        self.interpreter = litert.Interpreter(model_path=str(path), num_threads=self.threads)
        self.interpreter.allocate_tensors()
        self.input, self.output = self.interpreter.get_input_details()[0], self.interpreter.get_output_details()[0]

    def __call__(self, lr):
        """`[1, rows, columns, C]` in [0, 1] -> the same of the result, whatever the file's own types are."""
        self.interpreter.set_tensor(self.input['index'], to_type(lr * np.float32(self.white), self.input))
        self.interpreter.invoke()
        return to_float(self.interpreter.get_tensor(self.output['index']), self.output) / np.float32(self.white)

    def described(self):
        """The `input` and `output` of a card."""
        sides = {'input': self.input, 'output': self.output}
        return {side: jobs.signature(d['name'], tuple(map(int, d['shape'])), self.white, **numbers(d)) for side, d in sides.items()}

    def latency(self):
        """Median time of a run on zeros: {'median': ms, 'runs': how many, 'threads': how many}."""
        self.interpreter.set_tensor(self.input['index'], np.zeros(self.input['shape'], self.input['dtype']))
        self.interpreter.invoke()
        began, times = time.perf_counter(), []
        while len(times) < RUNS and time.perf_counter() - began < PATIENCE:
            start = time.perf_counter()
            self.interpreter.invoke()
            times.append(1000 * (time.perf_counter() - start))
        return {'median': round(statistics.median(times), 3), 'runs': len(times), 'threads': self.threads}


def to_type(values, details):
    """Floats as what a tensor holds: themselves, or integers by its scale and zero point."""
    if details['dtype'] == np.float32:
        return values.astype(np.float32)
    scale, zero = details['quantization']
    limits = np.iinfo(details['dtype'])
    return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(details['dtype'])


def to_float(values, details):
    """The inverse of `to_type`."""
    scale, zero = details['quantization']
    return values if details['dtype'] == np.float32 else (values.astype(np.float32) - zero) * np.float32(scale)


def numbers(details):
    """A tensor's type, and for integers what they stand for: value = scale * (integer - zero_point)."""
    dtype = np.dtype(details['dtype']).name
    scale, zero = details['quantization']
    return {'dtype': dtype} if dtype == 'float32' else {'dtype': dtype, 'scale': float(scale), 'zero_point': int(zero)}
