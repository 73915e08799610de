"""TensorFlow's SavedModel: the original compressed ESRGAN's signature, and one for images of any size, sharing their weights."""

import functools
import os
import sys

import jax
import numpy as np

from kdsr.export import jobs, program

PACKAGES = ('tensorflow', 'tensorflow-cpu')
REMEDY = f'`pip install {"tensorflow-cpu" if sys.platform == "linux" else "tensorflow"} ai-edge-litert` brings it'
WHITE = 255  # the published compressed ESRGAN takes and gives 0 ... 255
PLATFORMS = ('cpu', 'cuda', 'tpu')  # by default a program runs only where it was made


def tensorflow():
    """(tensorflow, jax2tf), imported only when asked for."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # before the import: it tells a lot
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # it announces that it rounds differently
    tf = jobs.need('tensorflow', REMEDY)
    tf.config.set_visible_devices([], 'GPU')  # else it takes all memory of a GPU that JAX may be using
    return tf, jobs.need('jax.experimental.jax2tf', REMEDY)


def plan(made, options):
    """The one job. `options` are not needed."""
    return [jobs.Job(f'{made.name}_savedmodel', functools.partial(write, made, *tensorflow()), PACKAGES, program.TOLERANCE)]


def write(made, tf, jax2tf, path):
    """Writes a SavedModel with 'serving_default' `[None, rows, columns, C]` and, if dynamic, 'dynamic' `[None, None, None, C]`.

    Both take one argument, `lr`, and give `{'sr': ...}`. The weights are variables, stored once.
    """
    white, (rows, columns), c = made.white or WHITE, made.size, made.channels
    batch = None if made.dynamic else 1
    shapes = {'serving_default': (batch, rows, columns, c), **({'dynamic': (None, None, None, c)} if made.dynamic else {})}
    saved = tf.Module()
    saved.weights = jax.tree.map(tf.Variable, made.network.variables)

    def signature(shape):
        free = ', '.join(name if side is None else str(side) for name, side in zip('bhw', shape[:3], strict=True))
        fn = jax2tf.convert(
            made.forward(white),
            polymorphic_shapes=[None, f'({free}, {c})'],
            with_gradient=False,
            native_serialization_platforms=PLATFORMS,
        )
        spec = tf.TensorSpec(shape, tf.float32, 'lr')
        return tf.function(lambda lr: {'sr': fn(saved.weights, lr)}, autograph=False, input_signature=[spec])

    saved.functions = {name: signature(shape) for name, shape in shapes.items()}
    signatures = {name: function.get_concrete_function() for name, function in saved.functions.items()}
    tf.saved_model.save(saved, str(path), signatures)
    return {
        'checks': checks(made, tf, path, white),
        'input': {name: jobs.signature('lr', shape, white) for name, shape in shapes.items()},
        'output': {name: jobs.signature('sr', enlarged(shape, made.scale), white) for name, shape in shapes.items()},
        'read': [
            'import tensorflow as tf',
            f"model = tf.saved_model.load('{made.name}_savedmodel')",
            f"sr = model.signatures['{list(shapes)[-1]}'](lr=lr)['sr']  # float32, 0 ... {white:g}",
        ],
    }


def checks(made, tf, path, white):
    """What the saved functions make of pictures, against JAX: two pictures of the fixed size, one of it, two of another."""
    loaded = tf.saved_model.load(str(path))
    tries = [('serving_default', (2 if made.dynamic else 1, *made.size, made.channels))]
    tries += [('dynamic', shape) for shape in made.shapes] if made.dynamic else []
    run = lambda name: lambda lr: loaded.signatures[name](lr=tf.constant(lr * np.float32(white)))['sr'].numpy() / white
    return [{'signature': name, **program.difference(made, shape, run(name))} for name, shape in tries]


def enlarged(shape, scale):
    """`[B, h, w, C]` -> `[B, s*h, s*w, C]`, None staying None."""
    return (shape[0], *(side and scale * side for side in shape[1:3]), shape[3])
