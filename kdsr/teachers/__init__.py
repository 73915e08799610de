"""Teachers of any kind, opened by what a path holds: kdsr's own, PyTorch's, ONNX, TFLite, SavedModel, or a folder of pictures."""

from kdsr.paths import expanded
from kdsr.teachers import house, programs, torches
from kdsr.teachers.teacher import Teacher

KINDS = (
    'an export, run or shipped model of kdsr, a PyTorch file (.pth, .pt, .safetensors, .ckpt), .onnx, .tflite, the folder of a '
    'SavedModel, or with --made the folder of its pictures'
)


def opened(path, layout='', scale=None) -> Teacher:
    """The teacher that `path` holds.

    Args:
      path: one of KINDS but the last. layout: what is known of a program's pictures (`trying.recognised`). scale: which one of a
        network that has several; of others it must be theirs.

    Raises FileNotFoundError where there is none, ModuleNotFoundError naming what to install, ValueError where the file is damaged,
    no upscaler, or of another scale.
    """
    file = expanded(path)
    kind = program(file)
    if layout and not kind:
        raise ValueError(f"--layout={layout} is for .onnx, .tflite and SavedModel: of '{path}' it is known")
    try:
        if kind:
            teacher = programs.opened(str(path), file, kind, layout)
        else:
            teacher = torches.opened(str(path), file) if file.is_file() else house.opened(str(path), scale)
    except FileNotFoundError as e:
        raise FileNotFoundError(f'{e}; a teacher is {KINDS}') from e
    if scale not in (None, teacher.scale):
        raise ValueError(f"'{path}' enlarges by {teacher.scale}, --scale={scale} is another one")
    return teacher


def program(file):
    """'onnx', 'tflite' or 'savedmodel' of a path that holds such a program, else ''."""
    if (file / 'saved_model.pb').is_file():
        return 'savedmodel'
    if not file.is_file():
        return ''
    with file.open('rb') as stream:
        head = stream.read(8)
    return 'tflite' if head[4:] == b'TFL3' else 'onnx' if file.suffix.lower() == '.onnx' else ''
