"""colab/NAME.py (percent cells, what a diff can show) -> colab/NAME.ipynb; runs them without a browser.

python colab/make.py                    # writes the notebooks
python colab/make.py --check            # fails where one is not that of its .py
python colab/make.py --run=DIR          # executes them (KDSR_SMOKE=1: smoke sizes), keeps results and pictures in DIR
python colab/make.py --run=DIR --only=train_tpu
"""

import argparse
import base64
import os
import pathlib
import shutil
import sys
import time

import jupytext
import nbformat

HERE = pathlib.Path(__file__).resolve().parent
PICTURES = {'train_tpu': 2, 'plug_in_losses': 2, 'your_upscaler': 1}  # how many each shows at least
FAKE_DEVICES = {'train_tpu': 8}


def notebook(name):
    """The notebook of colab/<name>.py, without outputs, always the same for the same text."""
    made = jupytext.read(HERE / f'{name}.py')
    made.metadata = {'kernelspec': made.metadata['kernelspec']}
    for cell in made.cells:
        cell.pop('id', None)
    made.nbformat_minor = 4  # the last without ids, which would differ each time
    return made


def run(name, folder, devices):
    """Executes a notebook in `folder`; raises where a cell fails, or fewer pictures are shown than should be.

    devices: how many a CPU pretends to be; a GPU or TPU has its own.
    """
    from nbclient import NotebookClient

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ['XLA_FLAGS'] = f'--xla_force_host_platform_device_count={devices}'
    os.environ['KDSR_RUNS'] = str(folder / 'runs')
    made, began = notebook(name), time.perf_counter()
    NotebookClient(made, timeout=1800, kernel_name='python3', resources={'metadata': {'path': str(folder)}}).execute()
    nbformat.write(made, folder / f'{name}.ipynb')
    shown = [o for c in made.cells if c.cell_type == 'code' for o in c.outputs if 'image/png' in o.get('data', {})]
    for i, output in enumerate(shown):
        (folder / f'{name}_{i}.png').write_bytes(base64.b64decode(output['data']['image/png']))
    texts = [o['text'] for c in made.cells if c.cell_type == 'code' for o in c.outputs if o.output_type == 'stream']
    print(f'{name}: {len(shown)} pictures, {time.perf_counter() - began:.0f} s')
    if len(shown) < PICTURES[name]:
        raise ValueError(f'{name} shows {len(shown)} pictures instead of {PICTURES[name]}:\n' + ''.join(texts))


def main():
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true')
    parser.add_argument('--run', type=pathlib.Path)
    parser.add_argument('--only', choices=PICTURES)
    parser.add_argument('--devices', type=int, help='fake CPU devices of every notebook (default: 8 for the training, else 1)')
    options = parser.parse_args()
    failed = []
    for name in [options.only] if options.only else PICTURES:
        text, file = nbformat.writes(notebook(name)) + '\n', HERE / f'{name}.ipynb'
        if options.run:
            run(name, options.run.resolve() / name, options.devices or FAKE_DEVICES.get(name, 1))
        elif not options.check:
            file.write_text(text)
        elif file.read_text() != text:
            failed.append(name)
    if failed:
        sys.exit(f'not those of their .py: {", ".join(failed)}; run python colab/make.py')


if __name__ == '__main__':
    main()
