"""The networks of a run as its config names them: the student, its teacher, and what trains beside them."""

import jax
import jax.numpy as jnp

from kdsr import console, fields, models
from kdsr.models import exports
from kdsr.types import Trained

TAUGHT = 'taught'  # config.teacher: the pictures that kdsr.teach wrote beside LR, and no network


def student(cfg, **card):
    """The network that `cfg.student` and `cfg.student_init` describe, to be trained. card: more facts for its card.

    Raises ValueError naming the field that is unknown, of the wrong type, or of another scale than the run's.
    """
    args = cfg.student.args
    if args.get('scale', cfg.scale) != cfg.scale:
        raise ValueError(f'config.student.args.scale={args.scale} is not config.scale={cfg.scale}: set config.scale alone')
    args = {'scale': cfg.scale, **args}
    net = trained(cfg.student.name, args, cfg, 'config.student, name or args', init=cfg.get('student_init', ''))
    return net._replace(card=card)


def trained(name, args, cfg, field, init='', exported=True):
    """The network `models.build(name, **args)`, to be trained; in the run's dtype, if it has the field.

    Args:
      field: the config's field that asks for it, for messages. init, exported: as of `Trained`.
    """
    try:
        module = models.build_in(cfg.dtype, name, **args)
    except ValueError as e:
        raise ValueError(f'{field}: {e}') from e
    return Trained(module, name, dict(args), init, exported)


def beside(cfg, block):
    """A network that is trained beside the student: the student's, but for the fields of the block `cfg.method[block]`; fresh.

    Where the block is empty it has twice the student's `features`, which is said; ValueError of a student without that field.
    """
    values, field = cfg.method[block], f'config.method.{block}'
    if not values:
        features = getattr(student(cfg).module, 'features', None)
        if not features:
            raise ValueError(f'{field} is empty: name the fields in which it differs from the student')
        values = {'features': 2 * features}
        console.say(f"{field} is empty: {2 * features} features, twice the student's")
    return trained(cfg.student.name, {'scale': cfg.scale, **cfg.student.args, **values}, cfg, field)


def start(net, key):
    """The variables that a Trained begins with: those of its `init`, or random ones drawn by `key` where it is empty.

    Raises FileNotFoundError and ValueError as `models.load` does, also where the export is another network.
    """
    if not net.init:
        return models.init(net.module, key, *jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), models.example(net.module)))
    _, variables = exports.read(net.init)
    exports.check(variables, models.shapes(net.module), net.init)
    return jax.tree.map(jnp.asarray, variables)


def teacher(cfg):
    """The network `cfg.teacher`, computing in `cfg.dtype`.

    Raises ValueError where the config names none or one for another scale, and as `models.load` does.
    """
    path = cfg.get('teacher')
    if not path:
        raise ValueError(f"config.teacher is empty, method '{cfg.method.name}' needs one: an export, a run, or e.g. 'edsr_x4'")
    if path == TAUGHT:
        raise ValueError(
            f"config.teacher='{TAUGHT}' gives the teacher's pictures alone, method '{cfg.method.name}' needs the network: set an "
            "export, or take a method that learns from pictures, such as 'output'"
        )
    try:
        network = models.load(path, dtype=cfg.dtype)
    except FileNotFoundError as e:
        raise FileNotFoundError(f'config.teacher: {e}') from e
    if cfg.scale not in network.scales:
        raise ValueError(f'the teacher {path} is a {exports.times(network.scales)} model, config.scale is {cfg.scale}')
    return network.at(cfg.scale)


def teacher_image(cfg):
    """(fn(ctx) -> the teacher's image `[B, s*h, s*w, C]`, variables that belong in `frozen` as 'teacher').

    For methods that need no more of it: the image is the network's, or where `cfg.teacher` is 'taught' that of the batch.

    Raises as `teacher` does.
    """
    if cfg.get('teacher') == TAUGHT:
        return (lambda ctx: ctx.batch.extra['teacher']), {}
    network = teacher(cfg)
    return (lambda ctx: network.module.apply(ctx.frozen['teacher'], ctx.batch.lr)[0]), network.variables


def teacher_images(cfg, others, joined):
    """`teacher_image` of several teachers as one: `cfg.teacher` and `others`, exports joined by commas.

    joined: 'mean' of their images, or 'best': at each pixel the one that is nearest to the truth. ValueError naming a field.
    """
    fields.chosen('config.method.joined', joined, ('mean', 'best'))
    draw, variables = teacher_image(cfg)
    if not others:
        return draw, variables
    paths = [path.strip() for path in others.split(',')]
    try:
        more = [models.load(path, dtype=cfg.dtype, scale=cfg.scale) for path in paths]
    except (FileNotFoundError, ValueError) as e:
        raise type(e)(f'config.method.teachers: {e}') from e

    def several(ctx):
        own, *rest = ctx.frozen['teacher']
        first = draw(ctx._replace(frozen={**ctx.frozen, 'teacher': own}))
        found = jnp.stack([first, *(net.module.apply(v, ctx.batch.lr)[0] for net, v in zip(more, rest, strict=True))])
        if joined == 'mean':
            return found.mean(0)
        nearest = jnp.abs(found - ctx.batch.hr).sum(-1, keepdims=True).argmin(0, keepdims=True)
        return jnp.take_along_axis(found, nearest, 0)[0]

    return several, [variables, *(net.variables for net in more)]
