"""ncnn, what Real-ESRGAN-ncnn-vulkan, upscayl and many phone apps run: NAME.param and NAME.bin, for images of any size.

PyTorch's own tracer makes a program of the network (kdsr.export.torch_graph), pnnx, ncnn's converter, makes the two files of it.
"""

import functools
import pathlib
import re
import subprocess
import tempfile

import numpy as np

from kdsr.export import jobs, program, torch_graph

TITLE, PRECISIONS = 'ncnn', ('float32', 'float16')
PACKAGES = ('torch', 'pnnx', 'ncnn')
REMEDY = "`pip install 'kdsr[ncnn]'` brings it"
# what Real-ESRGAN-ncnn-vulkan and upscayl call the image that goes in and the one that comes out
NAMES = {'in0': 'data', 'out0': 'output'}


def plan(made, options):
    """A job for each of `options.ncnn`, a folder of two files."""
    tools = [jobs.need(name, REMEDY) for name in PACKAGES]
    make = lambda precision: functools.partial(write, made, precision == 'float16', *tools)
    return [jobs.Job(f'{made.name}_{p}_ncnn', make(p), PACKAGES, *program.GATES[p]) for p in options.ncnn]


def write(made, half, torch, pnnx, ncnn, path):
    """Writes the folder `path` and runs what is in it, in float32 whatever the weights are stored in.

    Raises ValueError where the network cannot be written for images of any size, or pnnx fails, with its last line.
    """
    white = made.white or 1
    path.mkdir()
    files = [path / f'{made.name}.{ending}' for ending in ('param', 'bin')]
    with tempfile.TemporaryDirectory() as room:
        convert(made, white, half, torch, pnnx, pathlib.Path(room), files)
    text = files[0].read_text()
    layers = [line.split()[0] for line in text.splitlines()[2:]]
    run = functools.partial(enlarge, loaded(ncnn, files), ncnn, white)
    return {
        'checks': [program.difference(made, shape, run) for shape in made.shapes],
        'input': jobs.signature(NAMES['in0'], [made.channels, 'height', 'width'], white, 'CHW'),
        'output': jobs.signature(NAMES['out0'], [made.channels, f'{made.scale}*height', f'{made.scale}*width'], white, 'CHW'),
        'layers': {name: layers.count(name) for name in sorted(set(layers))},
        'tools': 'ncnn; Real-ESRGAN-ncnn-vulkan and upscayl, by the names of the two images',
        'read': [
            'import ncnn',
            'net = ncnn.Net()',
            *(f"net.load_{kind}('{file.name}')" for kind, file in zip(('param', 'model'), files, strict=True)),
            'extractor = net.create_extractor()',
            f"extractor.input('{NAMES['in0']}', ncnn.Mat(lr).clone())  # float32 [{made.channels}, height, width], 0 ... {white}",
            f"sr = numpy.array(extractor.extract('{NAMES['out0']}')[1])",
        ],
    }


def convert(made, white, half, torch, pnnx, room, files):
    """Lets pnnx write `files`, (param, bin), by way of a traced program in the folder `room`."""
    enlarged = torch_graph.function(made.network.module, made.weights)

    class Network(torch.nn.Module):
        def forward(self, x):
            return enlarged(x) if white == 1 else enlarged(x * (1 / white)) * white

    shapes = [f'[1,{made.channels},{rows},{columns}]f32' for rows, columns in (torch_graph.TRACED, (48, 32))]
    with torch.no_grad():
        traced = torch.jit.trace(Network().eval(), torch.zeros(1, made.channels, *torch_graph.TRACED), check_trace=False)
    traced.save(room / 'net.pt')
    wanted = [f'ncnnparam={room / "net.param"}', f'ncnnbin={room / "net.bin"}', f'fp16={int(half)}']
    others = [f'{name}={room / "other"}_{name}' for name in ('pnnxparam', 'pnnxbin', 'pnnxpy', 'pnnxonnx', 'ncnnpy')]
    command = [pnnx.EXEC_PATH, room / 'net.pt', f'inputshape={shapes[0]}', f'inputshape2={shapes[1]}', *wanted, *others]
    done = subprocess.run(command, capture_output=True, text=True, errors='replace')
    if done.returncode or not (room / 'net.param').is_file():
        last = (done.stderr.strip() or done.stdout.strip() or 'no word').splitlines()[-1]
        raise ValueError(f'pnnx ended with status {done.returncode}: {last}')
    text = (room / 'net.param').read_text()
    if left := sorted(set(re.findall(r'^(\w+[.:]\S+)', text, re.M))):  # PyTorch's names, of what pnnx could not translate
        raise ValueError(f'ncnn has no layer for {", ".join(left)}')
    files[0].write_text(re.sub(r'\b(in0|out0)\b', lambda match: NAMES[match[1]], text))
    (room / 'net.bin').rename(files[1])


def loaded(ncnn, files):
    """The network of (param, bin), computing in float32."""
    net = ncnn.Net()
    # the runtime's own shortcuts would be measured as well
    for name in ('fp16_packed', 'fp16_storage', 'fp16_arithmetic', 'bf16_storage', 'winograd_convolution'):
        if hasattr(net.opt, f'use_{name}'):
            setattr(net.opt, f'use_{name}', False)
    if net.load_param(str(files[0])) or net.load_model(str(files[1])):
        raise ValueError('ncnn cannot read what pnnx wrote')
    return net


def enlarge(net, ncnn, white, lr):
    """What the network makes of `lr [B, h, w, C]` in [0, 1], image by image."""
    images = []
    for image in lr:
        extractor = net.create_extractor()
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)) * np.float32(white)
        # a copy, since layers work in place on aligned memory; of an array with a name, which Mat does not keep
        extractor.input(NAMES['in0'], ncnn.Mat(planes).clone())
        failed, sr = extractor.extract(NAMES['out0'])
        if failed:
            raise ValueError(f'ncnn gives up with {failed}')
        images.append(np.array(sr).reshape(sr.c, sr.h, sr.w).transpose(1, 2, 0) / np.float32(white))
    return np.stack(images)
