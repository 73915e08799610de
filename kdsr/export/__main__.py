"""A trained network -> SavedModel, TFLite, StableHLO, ONNX, ncnn, weights for PyTorch; each file is run and compared with JAX.

python -m kdsr.export runs/student --to=stablehlo,torch --out=files
python -m kdsr.export runs/student --to=savedmodel,tflite --out=files --calibration=../data/photos --benchmarks=../data/Set14
python -m kdsr.export edsr_x4 --to=tflite --out=files --tflite=int8 --int8_io=uint8 --size=270x480
"""

import re

import jax
from absl import flags

from kdsr import commands, export
from kdsr.export import ncnn, tflite


def pair(text):
    """'180x320' -> (180, 320), rows and columns; ValueError for anything else."""
    match = re.fullmatch(r'(\d+)x(\d+)', text)
    if not match:
        raise ValueError(f'--size={text} is no ROWSxCOLUMNS: write e.g. --size=180x320')
    return int(match[1]), int(match[2])


def define_flags():
    """The command's flags, declared when it runs and not when it is imported."""
    flags.DEFINE_list('to', None, f'formats: {", ".join(export.FORMATS)}', required=True)
    flags.DEFINE_string('out', None, 'folder for the files', required=True)
    flags.DEFINE_string('name', None, "what the files are called (default: run or export, and scale: 'student_x4')")
    flags.DEFINE_bool('overwrite', False, 'replace files of other networks (those of the same one always are)')
    flags.DEFINE_integer('scale', None, 'which scale of a network that serves several (default: the one it was exported with)')
    flags.DEFINE_string('size', '180x320', "ROWSxCOLUMNS of the input of TFLite and of SavedModel's first signature")
    flags.DEFINE_bool('dynamic', True, 'SavedModel, StableHLO and ONNX for images of any size; else all for --size only')
    flags.DEFINE_enum('range', None, ['1', '255'], 'pixel value of white, in and out (default: 255 for savedmodel, 1 for others)')
    flags.DEFINE_list('tflite', list(tflite.PRECISIONS), 'TFLite files to write')
    flags.DEFINE_list('onnx', ['float32'], 'ONNX files to write: float32, int8')
    flags.DEFINE_list('ncnn', list(ncnn.PRECISIONS), 'ncnn files to write')
    flags.DEFINE_enum('int8_io', 'float32', ['float32', 'uint8'], 'what the int8 TFLite file takes and gives')
    flags.DEFINE_string('calibration', '', 'folder of pictures to set the ranges of int8 by (default: the embedded photographs)')
    flags.DEFINE_list('benchmarks', [], 'folders to compare the PSNR of int8 and float32 on (default: those of --calibration)')


def main(argv):
    """Runs the command."""
    flag = flags.FLAGS
    if len(argv) != 2:
        raise ValueError(f'give one EXPORT, not {len(argv) - 1}: python -m kdsr.export EXPORT --to=FORMATS --out=DIR')
    jax.config.update('jax_platforms', 'cpu')  # other backends round products to fewer bits than the tolerance allows
    cards, failures = export.run(
        argv[1],
        flag.to,
        flag.out,
        name=flag.name,
        scale=flag.scale,
        size=pair(flag.size),
        dynamic=flag.dynamic,
        white=flag.range and int(flag.range),
        overwrite=flag.overwrite,
        options=export.Options(
            *map(tuple, (flag.tflite, flag.onnx, flag.ncnn)), flag.int8_io, flag.calibration, tuple(flag.benchmarks)
        ),
    )
    print(f'{len(cards)} written to {flag.out}, {len(failures)} failed')
    return 1 if failures else 0


if __name__ == '__main__':
    define_flags()
    commands.run(main, arguments=True)
