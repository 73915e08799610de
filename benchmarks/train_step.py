"""How fast is a training step beside the same in PyTorch? Weights shared, losses equal before anything is timed.

    python benchmarks/train_step.py [--case=edsr|fakd|srgan|dfsr|all] [--repeats=7] [--pin] [--notorch]

edsr: EDSR-baseline 16x64, x4, L1, Adam, batch 4, LR patches of 48. fakd: RCAN 10x6 learns from RCAN 10x20, x4, alpha 0.5, spatial
affinity of three taps with weight 10, batch 2. srgan: SRResNet 64x16 and SRGAN's discriminator on HR patches of 96,
content of VGG19, vanilla, batch 4. dfsr: data-free distillation of VDSR into its half, five student steps of batch 16 and one of
a generator. kdsr's side is the step that `kdsr.train` runs. Ratios refer to eager PyTorch in NCHW where it is installed. On a
GPU, TF32, bfloat16, channels_last and torch.compile join, and the share of the measured peak rate.

--pin keeps the process on one core: the only way to compare on a machine that does other things as well.
"""

import pathlib
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import ours
import timing
from absl import flags

from kdsr import commands, cost, models, recipes
from kdsr.models import exports, vgg

CASE = flags.DEFINE_enum('case', 'all', ['edsr', 'fakd', 'srgan', 'dfsr', 'all'], 'which step')
REPEATS = flags.DEFINE_integer('repeats', 7, 'timings of each candidate', lower_bound=1)
PIN = flags.DEFINE_bool('pin', False, 'stay on one core')
TORCH = flags.DEFINE_bool('torch', None, 'compare with PyTorch; left out: where it is installed')

SCALE = 4
TEACHER, STUDENT = {'scale': SCALE, 'groups': 10, 'blocks': 20}, {'groups': 10, 'blocks': 6}


def edsr_config(_):
    """Plain training of EDSR-baseline."""
    config = recipes.base(batch_size=4, student=recipes.model('edsr', blocks=16, features=64))
    config.method = {'name': 'supervised', 'loss': 'l1'}
    return config


def fakd_config(folder):
    """FAKD from a teacher with random weights, written to `folder`."""
    teacher = models.init(models.build('rcan', **TEACHER), jax.random.key(1), np.zeros((1, 16, 16, 3), np.float32))
    exports.save(folder / 'teacher', name='rcan', args=TEACHER, variables=teacher)
    config = recipes.base(batch_size=2, student=recipes.model('rcan', **STUDENT), teacher=str(folder / 'teacher'))
    config.method = {
        'name': 'fakd', 'alpha': 0.5, 'w_affinity': 10.0, 'transforms': 'spatial', 'taps': '', 'adapter': False,
        'pool': 1, 'pool_type': 'max', 'eps': 1e-8, 'pixel_range': 255.0,
    }  # fmt: skip
    return config


def srgan_config(folder):
    """SRGAN's two players; VGG19 with random weights, written to `folder`."""
    net = vgg.VGG(depth=19, taps=('relu5_4',))
    variables = models.init(net, jax.random.key(1), np.zeros((1, 32, 32, 3), np.float32))
    exports.save(folder / 'vgg', name='vgg', args={'depth': 19}, variables=variables)
    config = recipes.base(batch_size=4, patch=24, student=recipes.model('srresnet', blocks=16, features=64))
    # Adam's first steps are signs of gradients, which round-off decides where those are small: equal critics would soon differ.
    config.optimizer.eps = 1.0
    config.method = {
        'name': 'gan', 'pixel': 'l2', 'w_pixel': 0.0, 'pixel_range': 255.0, 'adversarial': 'vanilla', 'w_adv': 1e-3,
        'content': {'network': str(folder / 'vgg'), 'tap': 'relu5_4', 'norm': 'l2', 'weight': 100.0},
        'discriminator': {'features': 64, 'hidden': 1024},
    }  # fmt: skip
    return config


def dfsr_config(folder):
    """Data-free distillation in the paper's form, from a VDSR with random weights, written to `folder`."""
    teacher = models.init(models.build('vdsr', scale=2), jax.random.key(1), np.zeros((1, 16, 16, 1), np.float32))
    exports.save(folder / 'teacher', name='vdsr', args={'scale': 2}, variables=teacher, scales=[2, 3, 4])
    config = recipes.base(
        scale=2, patch=24, batch_size=16, student=recipes.model('vdsr', features=32), teacher=str(folder / 'teacher')
    )
    config.optimizer = recipes.adam(1e-3, name='sgd', momentum=0.9, weight_decay=1e-4, clip=0.4)
    config.method = {
        'name': 'data_free', 'images': 'generator', 'target': 'teacher', 'scales': '2,3,4', 'size': 48, 'student_steps': 5,
        'latent': 256, 'loss': 'l1', 'reduction': 'mean', 'rounding': 'none', 'w_adversarial': 1.0, 'w_reconstruction': 1.0,
        'warmup': 0, 'growth': {'events': 1, 'every': 0, 'new_block': 'random'}, 'optimizer': recipes.adam(1e-4),
    }  # fmt: skip
    return config


CASES = {'edsr': edsr_config, 'fakd': fakd_config, 'srgan': srgan_config, 'dfsr': dfsr_config}


def of_torch(config, first, frozen, batch, variant, **values):
    """A Candidate of the twin networks with the same weights."""
    from twins import fakd as twins
    from twins import srgan

    network = lambda name, args, params: twins.placed(twins.copy_weights(twins.NETWORKS[name](**args), params), variant)
    args = {'scale': SCALE, **config.student.args}
    if config.method.name == 'gan':
        params = first.nets['student'].params, first.nets['disc'].params, jax.device_get(frozen['features']['params'])
        nets = srgan.Generator(**args), srgan.Discriminator(), srgan.VGG19().requires_grad_(False)
        nets = [twins.placed(twins.copy_weights(net, p), variant) for net, p in zip(nets, params, strict=True)]
        settings = {'weight': config.method.content.weight, 'adversarial': config.method.w_adv}
        settings |= {'learning_rate': config.optimizer.learning_rate, 'eps': config.optimizer.eps}
        run = srgan.trainer(*nets, batch.lr, batch.hr, variant, **settings)
        return timing.Candidate(label(variant), run, growth=growth_of(variant), **values)
    if config.method.name == 'data_free':
        from twins import dfsr

        build = {f'generator_x{s}': dfsr.Generator(config.method.size // s) for s in (2, 3, 4)}
        build |= {'student': dfsr.VDSR(**config.student.args), 'teacher': dfsr.VDSR().requires_grad_(False)}
        params = {k: n.params for k, n in first.nets.items()} | {'teacher': jax.device_get(frozen['teacher']['params'])}
        nets = {k: twins.placed(twins.copy_weights(net, params[k]), variant) for k, net in build.items()}
        generators = {s: nets[f'generator_x{s}'] for s in (2, 3, 4)}
        settings = {'size': config.method.size, 'optimisers': (config.optimizer, config.method.optimizer)}
        draws = ours.draws(first.key, config, 8)
        run = dfsr.trainer(nets['student'], nets['teacher'], generators, draws, variant, **settings)
        return timing.Candidate(label(variant), run, growth=growth_of(variant), **values)
    student = network(config.student.name, args, first.nets['student'].params)
    if config.method.name == 'fakd':
        teacher = network('rcan', TEACHER, jax.device_get(frozen['teacher']['params'])).requires_grad_(False)
        loss = twins.fakd_loss(student, teacher, config.method.alpha, config.method.w_affinity)
    else:
        loss = twins.supervised_loss(student)
    run = twins.trainer(student, loss, batch.lr, batch.hr, variant, config.optimizer.learning_rate)
    return timing.Candidate(label(variant), run, growth=growth_of(variant), **values)


def label(variant):
    """A PyTorch variant in words."""
    dtype = 'bfloat16' if variant.half else 'tensorfloat32' if variant.tf32 else 'float32'
    return f'torch {"NHWC" if variant.channels_last else "NCHW"} {dtype} {variant.compile or "eager"}'


def growth_of(variant):
    """How a PyTorch variant's memory is measured."""
    from twins import fakd as twins

    return twins.cuda_growth if variant.device == 'cuda' else None


def torch_variants():
    """What PyTorch is timed as; the first is what the ratios refer to."""
    from twins.fakd import Variant, torch

    if jax.default_backend() != 'gpu':
        torch.set_num_threads(timing.cores())
        return [Variant(), Variant(channels_last=True)]
    if not torch.cuda.is_available():
        raise ValueError('jax runs on the GPU and PyTorch does not: install a CUDA build of PyTorch, or pass --notorch')
    torch.backends.cudnn.benchmark = True
    half = Variant('cuda', channels_last=True, half=True)
    compiled = [half._replace(compile=mode) for mode in ('default', 'reduce-overhead')]
    return [Variant('cuda'), Variant('cuda', tf32=True), half, *compiled]


def candidates_of(case, torch):
    """The candidates of a case, what the ratios refer to first; its batch size; its floating-point operations."""
    # PyTorch's channels_last, too, ends 2e-5 off its own NCHW after an adversarial step
    coarse, other = {'tolerance': 2e-2}, {'tolerance': 1e-4 if case == 'srgan' else 1e-5}
    with tempfile.TemporaryDirectory() as folder:
        config = CASES[case](pathlib.Path(folder))
        batch = ours.example(config.batch_size, SCALE, config.patch)
        mine, (method, first, frozen) = ours.of_kdsr(config, batch)
        mine = [mine]
        if jax.default_backend() == 'gpu':
            half = config.copy_and_resolve_references()
            half.dtype = 'bfloat16'
            mine += [ours.of_kdsr(config, batch, 'tensorfloat32', **coarse)[0], ours.of_kdsr(half, batch, **coarse)[0]]
    theirs = torch_variants() if torch else []
    theirs = [
        of_torch(config, first, frozen, batch, v, **(coarse if v.half or v.tf32 else other if v.channels_last else {}))
        for v in theirs
    ]
    counted = cost.macs(method.step, first, frozen, batch)
    return theirs + mine, config.batch_size, 2 * (counted['conv'] + counted['dot'])


def measure(case, torch):
    """Prints the table of one case."""
    gpu = jax.default_backend() == 'gpu'
    candidates, size, work = candidates_of(case, torch)
    machine = jax.devices()[0].device_kind if gpu else f'{timing.cores()} CPU core(s)'
    print(f'\n{case}: {work / 1e9:.0f} GFLOP a step, batch {size}, {machine}')
    rows = timing.compare(candidates, REPEATS.value, 20 if gpu else 1, timing.agree(candidates), work)
    if gpu:
        peak = matmul_rate()
        print(f'bfloat16 matmul peak, measured: {peak / 1e12:.0f} TFLOP/s')
        rows = [row | {'of bf16 peak': 1e9 * row['GFLOP/s'] / peak} for row in rows]
    print(timing.table(rows), flush=True)


def matmul_rate(n=8192, times=20):
    """Floating-point operations per second of bfloat16 matrix products with a float32 sum: the best of five runs."""
    a = jnp.ones((n, n), jnp.bfloat16)
    product = jax.jit(lambda x, y: jnp.dot(x, y, preferred_element_type=jnp.float32).astype(jnp.bfloat16))
    product(a, a).block_until_ready()
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready([product(a, a) for _ in range(times)])
        seconds.append(time.perf_counter() - began)
    return 2 * n**3 * times / min(seconds)


def main(_):
    """Measures the cases asked for."""
    torch = timing.start(PIN.value, TORCH.value)
    for case in CASES if CASE.value == 'all' else [CASE.value]:
        measure(case, torch)


if __name__ == '__main__':
    commands.run(main)
