"""The ways to make an image with one network: kdsr's, PyTorch's, and those of exported files in their own runtimes."""

import importlib.util
import json
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import timing

from kdsr import writers

EXACT = 1e-4  # what images of float32 programs may differ, of white


class Way(NamedTuple):
    """One way to make the image: call() starts it, image(call()) is `[1, H, W, C]` in numpy, once it is there.

    tolerance: how far a pixel may be from the first way's; inf where it is to be reported only. compiled, growth: as in
    `timing.Candidate`. eager: one of those that ratios refer to. optional: left out where its first call fails.
    """

    name: str
    call: Callable
    image: Callable = np.asarray
    tolerance: float = EXACT
    compiled: Callable | None = None
    growth: Callable | None = None
    eager: bool = False
    optional: bool = False


def of_kdsr(upscaler, lr):
    """`kdsr.upscale`'s way."""
    fed = jax.device_put(jnp.asarray(lr))
    temp = lambda: upscaler.apply.lower(upscaler.variables, fed).compile().memory_analysis().temp_size_in_bytes / 2**20
    growth = None if jax.default_backend() == 'cpu' else lambda run: None
    return Way('kdsr', lambda: jax.block_until_ready(upscaler(fed)), compiled=temp, growth=growth)


def of_torch(card, variables, lr, compiled=True):
    """PyTorch's ways: both memory formats, and the latter compiled if asked for; none for a network without a twin."""
    from twins import fakd as twins
    from twins import generators
    from twins.fakd import torch

    if card['model'] not in generators.GENERATORS:
        writers.say(f'{card["model"]} has no twin in PyTorch here')
        return []
    torch.set_num_threads(timing.cores())
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    device = 'cuda' if jax.default_backend() == 'gpu' else 'cpu'
    variants = [twins.Variant(device), twins.Variant(device, channels_last=True)]
    variants += [twins.Variant(device, channels_last=True, compile='default')] * compiled
    ways = []
    for variant in variants:
        net = twins.placed(generators.generator(card['model'], card['args'], variables['params']), variant)
        layout = torch.channels_last if variant.channels_last else torch.contiguous_format
        fed = torch.tensor(lr, device=device).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        net = torch.compile(net, mode=variant.compile) if variant.compile else net

        def call(net=net, fed=fed):
            with torch.inference_mode():
                sr = net(fed)
            if device == 'cuda':
                torch.cuda.synchronize()
            return sr

        name = f'torch {"NHWC" if variant.channels_last else "NCHW"} {"compiled" if variant.compile else "eager"}'
        growth = twins.cuda_growth if device == 'cuda' else None
        image = lambda sr: sr.permute(0, 2, 3, 1).cpu().numpy()
        ways.append(Way(name, call, image, growth=growth, eager=not variant.compile, optional=bool(variant.compile)))
    return ways


def of_files(paths, lr):
    """The ways of exported files that take an image of this size, where their runtimes are installed."""
    files = [file for path in map(pathlib.Path, paths) for file in (sorted(path.rglob('*')) if path.is_dir() else [path])]
    runtimes = {'.tflite': ('ai_edge_litert', tflite), '.onnx': ('onnxruntime', onnx), '.param': ('ncnn', ncnn_network)}
    ways = []
    for file in files:
        if file.suffix not in runtimes:
            continue
        package, program = runtimes[file.suffix]
        if importlib.util.find_spec(package) is None:
            writers.say(f'{file}: left out, {package} is not installed')
            continue
        made = file.parent if file.suffix == '.param' else file  # what the export is called by
        card = pathlib.Path(f'{made}.json')
        white = json.loads(card.read_text())['input']['range'][1] if card.is_file() else 1
        call = program(file, np.float32(lr * white))
        if call is None:
            writers.say(f'{file}: left out, it takes images of another size or pixels of another type')
            continue
        whole = file.suffix != '.param' and ('float32' in file.stem or file.suffix == '.onnx')
        image = lambda sr, white=white: sr / white
        ways.append(Way(made.name, call, image, EXACT if whole else np.inf))
    return ways


def tflite(file, lr):
    """LiteRT's call, None if the file does not take `lr`."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=timing.cores())
    interpreter.allocate_tensors()
    (entry, *_), (end, *_) = interpreter.get_input_details(), interpreter.get_output_details()
    if tuple(entry['shape']) != lr.shape or entry['dtype'] != np.float32:
        return None

    def call():
        interpreter.set_tensor(entry['index'], lr)
        interpreter.invoke()
        return interpreter.get_tensor(end['index'])

    return call


def onnx(file, lr):
    """ONNX Runtime's call, None if the file does not take `lr`. What a file in NCHW makes is turned by a view, without a copy."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = timing.cores()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
    (entry,) = session.get_inputs()
    planar = len(entry.shape) == 4 and entry.shape[1] == lr.shape[3]
    fed = np.ascontiguousarray(lr.transpose(0, 3, 1, 2)) if planar else lr
    fits = len(entry.shape) == 4 and all(not isinstance(a, int) or a == b for a, b in zip(entry.shape, fed.shape, strict=True))
    if entry.type != 'tensor(float)' or not fits:
        return None

    def call():
        sr = session.run(None, {entry.name: fed})[0]
        return sr.transpose(0, 2, 3, 1) if planar else sr

    return call


def ncnn_network(file, lr):
    """ncnn's call with its defaults, which shorten convolutions and keep float16 where the processor has it."""
    import ncnn

    from kdsr.export.ncnn import NAMES

    net = ncnn.Net()
    net.opt.num_threads = timing.cores()
    if net.load_param(str(file)) or net.load_model(str(file.with_suffix('.bin'))):
        raise ValueError(f'{file}: ncnn cannot read it')
    planes = np.ascontiguousarray(lr[0].transpose(2, 0, 1))

    def call():
        extractor = net.create_extractor()
        extractor.input(NAMES['in0'], ncnn.Mat(planes).clone())  # a copy, since layers work in place
        return np.array(extractor.extract(NAMES['out0'])[1]).transpose(1, 2, 0)[None]

    return call
