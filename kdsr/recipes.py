"""What experiment files are made of: their recipes and axes, and the blocks of a config.

A file below experiments/ has

    RECIPES = (demo, paper, smoke)      functions that give a config; the first is what the file is without a word
    AXES = {'scale': ('x4', 'x2')}      what a recipe lets one choose: those of its parameters, whose defaults are words of the axis
    STUDY = recipes.Study(...)          optional: the arms that `python -m kdsr.study` compares

`--config=FILE.py:paper,x2` calls `paper(scale='x2')` and names the run FILE_paper_x2, `FILE.py:help` says what there is. A file of
your own may have a single function `get_config(arg=None)` instead.
"""

import inspect
import itertools
import os
from typing import NamedTuple

import ml_collections

from kdsr import fields, optim


class Study(NamedTuple):
    """Arms to compare.

    arms: name -> (words, {field: value}). recipe: that of the arms whose words name none. default: the arms without --arms, all
    where it is empty. against: the arm that gains refer to. metrics: columns of kdsr.evaluate. lpips, protocol: its flags.
    """

    arms: dict
    recipe: str
    against: str
    default: tuple = ()
    metrics: tuple = ('psnr_y',)
    lpips: str = ''
    protocol: str = 'y8'


def config(file, found, argument=''):
    """The config of `--config=file.py:argument`.

    Args:
      file: name of the experiment, for messages and the name of the run. found: what the file defines: RECIPES and AXES.
      argument: comma-separated words, one recipe and one of each of its axes at most, in any order.

    Raises ValueError for a word that is unknown, or does not go with the others.
    """
    by_name, axes = {r.__name__: r for r in found['RECIPES']}, found.get('AXES', {})
    named, chosen = [], {}
    for word in filter(None, (argument or '').split(',')):
        axis = owners(axes).get(word)
        if word in by_name:
            named.append(word)
        elif axis in chosen:
            raise ValueError(f"config words '{chosen[axis]}' and '{word}' are both the {axis}: choose one")
        elif axis:
            chosen[axis] = word
        else:
            known = [*by_name, *owners(axes)]
            lists = [f'recipes: {", ".join(by_name)}', *(f'{k}: {", ".join(words)}' for k, words in axes.items())]
            raise ValueError(f"config word '{word}' is unknown{fields.meant(word, known)} ({'; '.join(lists)})")
    if len(named) > 1:
        raise ValueError(f"config words '{named[0]}' and '{named[1]}' are two recipes: choose one")
    name = (named or list(by_name))[0]
    usual = defaults(by_name[name])
    for axis, word in chosen.items():
        if axis not in usual:
            others = ', '.join(n for n, r in by_name.items() if axis in defaults(r))
            raise ValueError(f"config word '{word}': the recipe {name} has no choice of {axis} (those with one: {others})")
    made = by_name[name](**chosen)
    if isinstance(made, ml_collections.ConfigDict) and made.get('name') == UNNAMED:
        made.name = '_'.join([file, name, *(chosen[a] for a in usual if chosen.get(a, usual[a]) != usual[a])])
    return made


def owners(axes):
    """{word: its axis}."""
    return {word: axis for axis, words in axes.items() for word in words}


def defaults(recipe):
    """{axis: default word} of the axes that a recipe has."""
    return {name: p.default for name, p in inspect.signature(recipe).parameters.items()}


def combinations(found):
    """The arguments of all recipes with all of their axes' words."""
    for recipe in found['RECIPES']:
        for words in itertools.product(*(found['AXES'][axis] for axis in defaults(recipe))):
            yield ','.join([recipe.__name__, *words])


def with_recipe(found, words, recipe):
    """The comma-separated `words`, with `recipe` before them where they name none."""
    named = {r.__name__ for r in found['RECIPES']} & set(words.split(','))
    return ','.join(filter(None, [*([] if named else [recipe]), words]))


def arms(found):
    """{name: (words, {field: value})} of the file's study, {} without one."""
    return found['STUDY'].arms if 'STUDY' in found else {}


def described(path, found):
    """What `--config=FILE:help` prints."""
    title = inspect.cleandoc(found.get('__doc__') or '').partition('\n\n')[0]
    by_name, axes = {r.__name__: r for r in found['RECIPES']}, found.get('AXES', {})
    width = max(map(len, [*by_name, *axes])) + 2
    lines = [title, '', f'Recipes, one of them (without a word: {next(iter(by_name))}):']
    for name, recipe in by_name.items():
        about = inspect.cleandoc(recipe.__doc__ or '').replace('\n', ' ')
        lines.append(f'  {name:{width}}{about}')
        for axis, word in defaults(recipe).items():
            lines.append(f'  {"":{width}}  {axis}: {word}; or {", ".join(w for w in axes[axis] if w != word)}')
    example = max(by_name, key=lambda name: (len(defaults(by_name[name])), name == 'paper'))
    example = ','.join([example, *(axes[axis][-1] for axis in list(defaults(by_name[example]))[:2])])
    lines += ['', 'Recipe and words are joined by commas, fields follow as flags:']
    lines += [f'  python -m kdsr.main --config={path}:{example} --config.steps=100']
    if study := arms(found):
        lines += ['', f'Arms of python -m kdsr.study --config={path}:', f'  {", ".join(study)}']
    return '\n'.join(lines)


# Blocks

UNNAMED = 'run'


def base(**values):
    """The fields that every run has, with their defaults; `values` change or add."""
    made = ml_collections.ConfigDict(
        {
            'name': UNNAMED,  # names the default workdir: runs/<name>
            'seed': 0,
            'scale': 4,
            'patch': 48,  # side of the LR patch, pixels
            'batch_size': 16,  # over all devices
            'steps': 1000,  # batches
            'dtype': 'float32',  # compute dtype of the networks; parameters, losses and statistics stay float32
            'student_init': '',  # export whose weights the student starts from; '': random ones
            'carry': (),  # networks that a stage takes over from the one before, with optimiser and averages
            'ema_decay': 0.0,  # 0: no averaged weights
            'log_every': 50,
            'eval_every': 500,
            'save_every': 500,
            'export': 'best',  # which weights are exported: 'best' by validation PSNR, or 'latest'
            'export_dtype': 'float32',
            'lpips': '',  # 'alex' or 'vgg': the final table has LPIPS as well
            'benchmarks': '',  # comma-separated benchmark folders, evaluated once at the end
            'wandb': '',  # project of Weights & Biases that is told what TensorBoard is
            'data': embedded(),
            'optimizer': adam(1e-4),
        }
    )
    made.update(values)
    return made


def model(name, **args):
    """Block for a network: `models.build(name, **args)`; the scale is filled in from `config.scale`."""
    return ml_collections.ConfigDict({'name': name, 'args': args})


def block(values=(), /, **more):
    """A block of fields, such as one stage of `config.stages` (kdsr.stages)."""
    return ml_collections.ConfigDict({**dict(values), **more})


def embedded(**values):
    """Data block: the photographs that come with scikit-image."""
    return data('embedded', **values)


def folder(path, **values):
    """Data block: folders of images, 'a,b@2' (b halved before use); see kdsr.data.sources.folder."""
    return data('folder', path=path, **values)


def train_images(**values):
    """Data block: T91, BSDS500 (train and test parts) and 34 large photographs at half size, below $KDSR_DATA/train_images."""
    root = os.path.join(os.environ.get('KDSR_DATA', '../shared/data'), 'train_images')
    parts = ('BSDS500_test200', 'BSDS500_train200', 'T91', 'photos_hires@2')
    return folder(','.join(f'{root}/{p}' for p in parts), **values)


def data(source, **values):
    """Data block; source, path, images, downscale, name, split, cache_dir as in kdsr.data.sources.open_source."""
    made = {'source': source, 'path': '', 'images': '', 'downscale': 1, 'name': '', 'split': 'train', 'cache_dir': ''}
    # colour: of training batches, 'rgb', or 'y' for networks of one channel; validation and benchmarks are RGB
    # training: False where a method reads no images, and the source is only for validation
    made |= {'validation_images': 8, 'threads': 2, 'workers': 0, 'augment': 'dihedral', 'degradation': {}}
    made |= {'colour': 'rgb', 'training': True}
    return ml_collections.ConfigDict({**made, **values})


def adam(learning_rate, **values):
    """Optimiser block; the fields are those of kdsr.optim.make."""
    return ml_collections.ConfigDict({**optim.DEFAULTS, 'learning_rate': learning_rate, **values})


def shorten(config):
    """Makes `config` a smoke run: six steps of batch 4 on patches of 16, one validation image."""
    config.patch = 16
    config.batch_size = 4
    config.steps = 6
    config.log_every = 2
    config.eval_every = 6
    config.save_every = 3
    config.data.validation_images = 1  # each shape is a compilation for every network


def grid(**axes):
    """Override strings of a sweep: `grid(seed=[0, 1], scale=[2])` gives [['--config.seed=0', '--config.scale=2'], ...]."""
    names = list(axes)
    return [
        [f'--config.{k.replace("__", ".")}={v}' for k, v in zip(names, values, strict=True)]
        for values in itertools.product(*axes.values())
    ]
