"""ONNX, TFLite and SavedModel files as teachers."""

import hashlib
import os

import numpy as np

from kdsr.teachers import trying
from kdsr.teachers.teacher import Teacher

NAMES = {'onnx': 'ONNX', 'tflite': 'TFLite', 'savedmodel': 'SavedModel'}
TYPES = {'tensor(float)': 'float32', 'tensor(float16)': 'float16', 'tensor(double)': 'float64', 'tensor(uint8)': 'uint8'}
REMEDIES = {
    'onnx': '`pip install onnxruntime` brings it',
    'tflite': '`pip install ai-edge-litert` brings it',
    'savedmodel': '`pip install tensorflow` brings it (tensorflow-cpu on Linux without a GPU)',
}


def opened(name, file, kind, layout=''):
    """The Teacher of a program of this kind, a key of NAMES; errors as of `teachers.opened`."""
    try:
        made = {'onnx': onnx, 'tflite': tflite, 'savedmodel': savedmodel}[kind](file)
    except ImportError as e:
        raise ModuleNotFoundError(f"'{name}' is {NAMES[kind]}, which {e.name} runs: {REMEDIES[kind]}") from e
    except ValueError:
        raise
    except Exception as e:  # each runtime has its own
        raise ValueError(f"'{name}' cannot be opened as {NAMES[kind]}: {' '.join(str(e).split())[:200]}") from e
    try:
        fn, scale, details, tiles = trying.recognised(made, layout)
    except ValueError as e:
        raise ValueError(f"'{name}': {e}") from e
    files = sorted(f for f in file.rglob('*') if f.is_file()) if file.is_dir() else [file]
    size = sum(f.stat().st_size for f in files)
    return Teacher(name, NAMES[kind], scale, fn, (*details, f'{size / 2**20:.1f} MiB'), digest(files), **tiles)


def digest(files):
    """sha256 of the contents of files, one after the other."""
    found = hashlib.sha256()
    for file in files:
        with file.open('rb') as stream:
            while piece := stream.read(2**20):
                found.update(piece)
    return found.hexdigest()


def onnx(file):
    """The Program of an .onnx file, by onnxruntime on the GPU where it can."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=onnxruntime.get_available_providers())
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ValueError(f"'{file}' takes {len(inputs)} inputs ({', '.join(i.name for i in inputs)}): a teacher takes a picture")
    if inputs[0].type not in TYPES:
        raise ValueError(f"'{file}' takes {inputs[0].type}: pictures of {', '.join(TYPES.values())} are known")
    shape = tuple(side if isinstance(side, int) else None for side in inputs[0].shape)
    run = lambda x: session.run(None, {inputs[0].name: x})[0]
    return trying.Program(run, shape, np.dtype(TYPES[inputs[0].type]))


def tflite(file):
    """The Program of a .tflite file, by LiteRT; integers that stand for numbers are turned into these, so it is one of floats."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_path=str(file), num_threads=os.cpu_count())
    if len(model.get_input_details()) != 1:
        raise ValueError(f"'{file}' takes {len(model.get_input_details())} inputs: a teacher takes a picture")
    source, target = model.get_input_details()[0], model.get_output_details()[0]
    quantised = bool(source['quantization'][0])
    state = {'shape': None}

    def run(x):
        if state['shape'] != x.shape:
            if list(source['shape']) != list(x.shape):
                model.resize_tensor_input(source['index'], x.shape)
            model.allocate_tensors()
            state['shape'] = x.shape
        model.set_tensor(source['index'], stored(x, source))
        model.invoke()
        return meant(model.get_tensor(target['index']), target)

    shape = tuple(int(side) if side > 0 else None for side in source['shape_signature'])
    return trying.Program(run, shape, np.dtype(np.float32 if quantised else source['dtype']))


def stored(values, details):
    """Numbers as what a tensor of TFLite holds."""
    scale, zero = details['quantization']
    if not scale:
        return values.astype(details['dtype'])
    limits = np.iinfo(details['dtype'])
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(details['dtype'])


def meant(values, details):
    """The inverse of `stored`."""
    scale, zero = details['quantization']
    return (values.astype(np.float32) - zero) * np.float32(scale) if scale else values


def savedmodel(file):
    """The Program of a SavedModel: its signature 'dynamic' where it has one, else 'serving_default'."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    import tensorflow as tf

    loaded = tf.saved_model.load(str(file))
    signature = loaded.signatures.get('dynamic') or loaded.signatures.get('serving_default')
    if signature is None:
        raise ValueError(f"'{file}' has no signature 'serving_default', but {', '.join(loaded.signatures) or 'none'}")
    inputs = signature.structured_input_signature[1]
    if len(inputs) != 1:
        raise ValueError(f"'{file}' takes {len(inputs)} inputs ({', '.join(inputs)}): a teacher takes a picture")
    ((name, wanted),) = inputs.items()
    run = lambda x: next(iter(signature(**{name: tf.constant(x)}).values())).numpy()
    return trying.Program(run, tuple(wanted.shape.as_list()), np.dtype(wanted.dtype.as_numpy_dtype))
