"""Config files and overrides: every documented word runs, every mistake is one line that names the field, nothing is ignored."""

import importlib
import json
import pathlib
import re
import textwrap
import time

import jax
import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from kdsr import commands, console, critics, methods, models, nets, recipes, settings, stages, train
from kdsr import config as configs
from kdsr.outcome import Outcome
from kdsr.types import Batch

HERE = pathlib.Path(__file__).parents[1]
FILES = sorted((HERE / 'experiments').glob('*.py'))


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    return tiny.room(tmp_path_factory.mktemp('config'))


class Accepted(Exception):
    """What a run ends with where its first step would be made."""


@pytest.fixture
def accepted(monkeypatch):
    def loop(*_):
        raise Accepted

    monkeypatch.setattr(train, 'loop', loop)


# Every word


OFF = {'weight': 0.0}  # of a block whose other fields nothing reads then


def is_off(value):
    return value in ('', {}, 0.0) or (isinstance(value, dict) and value.get('weight') == 0)


@pytest.mark.parametrize('file', FILES, ids=lambda f: f.stem)
def test_all_words_of_the_experiments_together_give_stages_that_can_be_meant(file):
    seen, names = set(), []
    for argument in recipes.combinations(settings.executed(str(file))):
        config = settings.load(f'{file}:{argument}')
        names.append(config.name)
        key = config.copy_and_resolve_references()
        key.name = ''
        # widths, rates and lengths of time vary freely; what is left are the forms of a run
        key = re.sub(r'\d+(\.\d+)?(e-?\d+)?', '0', configs.to_json(key) if 'stages' not in key else repr(key))
        if key in seen:
            continue
        seen.add(key)
        planned = stages.planned(config)
        for i, stage in enumerate(planned):
            resolved = stages.resolved(stage, pathlib.Path('run'), [s.name for s in planned[:i]])
            assert 'stage:' not in configs.to_json(resolved)
            written = stages.derived(config, (config.get('stages') or ({},))[i])
            unread = {name.removeprefix('method.') for name in methods.unread(stage)}
            said = {k: v for k, v in stage.method.to_dict().items() if k in written.method or not (is_off(v) or k in unread)}
            block = lambda method: {k: OFF if is_off(v) else v for k, v in method.items()}
            assert block(written.method.to_dict()) == block(said), (
                'an experiment says all fields of its method but for those that are off'
            )
            nets.student(stage)
    assert len(set(names)) == len(names) >= 4, 'each has a workdir of its own'
    assert all(name.startswith(file.stem + '_') for name in names)


@pytest.mark.parametrize('images', ['generator', 'noise', 'data', 'data_kd'])
@pytest.mark.parametrize('recipe', ['smoke', 'smoke_released', 'smoke_paper,whole'])
def test_every_kind_of_images_of_the_data_free_smoke_run_makes_a_step(images, recipe):
    config = tiny.experiment('data_free', f'{images},{recipe}')
    (stage,) = stages.planned(config)
    side = stage.patch if stage.data.training else 1
    batch = Batch(*(np.zeros((4, s, s, 1), np.float32) for s in (side, side * (stage.scale if stage.data.training else 1))))
    method = methods.make(stage)
    state = jax.eval_shape(method.init, jax.random.key(0))
    moved, metrics = jax.eval_shape(method.step, state, method.frozen, batch)
    assert jax.tree.structure(moved) == jax.tree.structure(state) and 'distil' in metrics


def test_two_stages_of_a_study_both_start_from_a_student_that_there_is():
    config = tiny.experiment('srgan_kd', 'study_cpu,gan2g_al,two_stage')
    assert [(s.name, s.student_init) for s in stages.planned(config)] == [
        ('distil', 'runs/srgan_kd_pretrain_cpu'),
        ('adversarial', 'stage:distil/student'),
    ]


def test_ci_runs_a_smoke_run_of_every_experiment():
    ci = (HERE / '.ci' / 'run').read_text()
    assert [f.stem for f in FILES if not re.search(rf'experiments/{f.stem}\.py:smoke', ci)] == []


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ('papr', "'papr' is unknown, did you mean 'paper'? (recipes: demo, study, paper, smoke; technique: affinity, output, "),
        ('study,smoke', "'study' and 'smoke' are two recipes: choose one"),
        ('paper,rcan,x2,san', "'rcan' and 'san' are both the model: choose one"),
        ('rcan,x2', "'rcan': the recipe demo has no choice of model (those with one: paper)"),
        ('paper,paper', "'paper' and 'paper' are two recipes"),
    ],
)
def test_words_that_do_not_go_together_are_an_error_that_says_which(argument, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tiny.experiment('fakd', argument)


def test_words_have_no_order_and_name_the_run():
    one, other = (tiny.experiment('fakd', words) for words in ('paper,rcan,x2,baseline', 'x2,baseline,rcan,paper'))
    assert configs.to_json(one) == configs.to_json(other) and one.name == 'fakd_paper_rcan_x2_baseline'
    assert tiny.experiment('fakd').name == tiny.experiment('fakd', 'demo,affinity').name == 'fakd_demo'


@pytest.mark.parametrize('file', FILES, ids=lambda f: f.stem)
def test_help_names_every_recipe_and_word(file):
    text, found = settings.described(f'{file}:help'), settings.executed(str(file))
    assert all(f'\n  {recipe.__name__}  ' in text and recipe.__doc__ in text for recipe in found['RECIPES'])
    words = {w for recipe in found['RECIPES'] for axis in recipes.defaults(recipe) for w in found['AXES'][axis]}
    assert {w for axis in found.get('AXES', {}).values() for w in axis} == words
    assert all(re.search(rf'\b{word}\b', text) for word in words) and settings.described(f'{file}:demo') is None
    assert max(map(len, text.splitlines())) <= 132 + len(str(file.parent))


def test_every_arm_of_every_study_is_a_run_of_its_file():
    studies = [found for f in FILES if 'STUDY' in (found := settings.executed(str(f)))]
    assert len(studies) == 6
    for found in studies:
        study = found['STUDY']
        assert study.against in study.arms and set(study.default) <= set(study.arms)
        for words, values in study.arms.values():
            config = settings.load(f'{found["__file__"]}:{recipes.with_recipe(found, words, study.recipe)}')
            fields = configs.flat(config.to_dict())
            assert all(type(fields[k]) is type(v) for k, v in values.items())


# Every mistake

# 'a=1&b=2' is two overrides, the second one is at fault
WRONG = {
    'fakd': """
        scale=0 scale=-1 scale=many scale=1.5 patch=0 patch=-1 patch=many patch=1.5 batch_size=0 batch_size=-1 batch_size=1.5
        steps=0 steps=-1 steps=many steps=1.5 log_every=0 log_every=-1 log_every=x eval_every=0 eval_every=-1 eval_every=x
        save_every=0 save_every=-1 save_every=1e3 seed=-1 seed=4294967296 seed=18446744073709551616 seed=x
        data.threads=x data.workers=-1 dtype=float8 export=all export_dtype=int8 lpips=squeeze data.colour=grey ema_decay=1
        ema_decay=-0.1 optimizer.name=adm optimizer.schedule=linear data.augment=perhaps data.workers=x data.training=3
        optimizer.learning_rate=-1 optimizer.learning_rate=0 optimizer.learning_rate=nan optimizer.learning_rate=inf
        optimizer.learning_rate=fast optimizer.learning_rate=1e-3,1e-4 optimizer.eps=0 optimizer.eps=-1 optimizer.b1=1
        optimizer.b1=-0.1 optimizer.b2=2 optimizer.clip=-1 optimizer.warmup=-1 optimizer.warmup=1.5 optimizer.accumulate=0
        optimizer.accumulate=-1 optimizer.accumulate=1000 optimizer.schedule=cosine&optimizer.final_rate=2
        optimizer.schedule=step&optimizer.decay=0 optimizer.schedule=step&optimizer.milestones=abc
        optimizer.schedule=step&optimizer.milestones=3,2 optimizer.schedule=step&optimizer.milestones=-1
        optimizer.schedule=step&optimizer.milestones=1.5 optimizer.schedule=step&optimizer.milestones=(1,
        optimizer.schedule=step&optimizer.milestones=[[1]] optimizer.name=sgd&optimizer.momentum=1
        optimizer.name=sgd&optimizer.weight_decay=-1 method.alpha=2 method.alpha=-1 method.alpha=x method.eps=0
        method.transforms=rbf&method.pool=0 method.transforms=rbf&method.pool_type=mean method.pixel_range=0
        method.transforms=spatail method.transforms=2* method.transforms=x*spatial method.taps=nowhere method.taps=body:nowhere
        method.adapter=perhaps method.name=growth method.name=fadk method.name= method.name=no.such method.name=json
        method.w_affinity=nan student.name=edrs student.name= student.name=no.such student.name=json.decoder
        student.args.blocks=0 student.args.blocks=two student.args.blok=3 student.args.dtype=half student.args.scale=3
        teacher= teacher=nowhere
        """,
    'srgan_kd': """
        method.technique=gan2 method.adversarial=vanila method.content.tap=relu9 method.content.norm=l3 method.content.layer=3
        method.content.network=nowhere method.content.weight=nan method.discriminator.name=x method.discriminator.featurs=3
        method.discriminator.features=0 method.discriminator.hidden=many method.w_adv=x method.pixel_range=-1 teacher=
        """,
    'data_free': """
        method.images=noises method.scales=2,x method.scales=0 method.scales=2,2 method.size=41 method.size=0 method.latent=0
        method.student_steps=0 method.loss=l3 method.reduction=max method.rounding=soft method.warmup=-1 method.growth.every=-1
        method.growth.event=2 method.growth.events=0 method.optimizer.name=adm method.optimizer.learning_rate=-1
        method.optimizer.accumulate=0 method.target=truth teacher=
        method.images=data&method.student_steps=1&data.training=true&patch=9
        """,
}
UNKNOWN = """
    stepz=1=>steps alpha=1=>method.alpha method.alfa=3=>alpha data.pth=x=>path optimizer.learnin_rate=1=>learning_rate steps.x=1=>
    method.alpha.x=1=> nothing.at.all=1=> stages.a.steps=1=> student.arg.blocks=1=>args methd.alpha=1=>method method={=> method=3=>
    method={'alpha':1}=> method={'name':'fakd','alfa':1}=>alpha optimizer={'name':'adam','lr':1}=> student={'args':{}}=> data=[]=>
    =3=>
    """
UNREAD = {
    'fakd': """
        data.name=div2k data.split=test optimizer.momentum=0.5 optimizer.weight_decay=0.1 optimizer.final_rate=0.1
        optimizer.decay=0.1 optimizer.milestones=1,2 method.pool=2 method.pool_type=avg method.transforms=instance&method.eps=1e-3
        optimizer.name=sgd&optimizer.b1=0.5 method.w_affinity=0&method.transforms=spatial data.source=embedded&data.path=photos
        data.source=embedded&data.images=1-8 data.source=array_record&data.downscale=2
        data.workers=2&data.threads=4
        """,
    'srgan_kd': """
        method.technique=gan2g&method.w_adv=1 method.technique=gan2g&method.discriminator.features=8
        method.technique=none&method.w_pixel=1 method.content.weight=0&method.content.tap=relu1_1
        method.technique=gan2g_al&method.w_adv_teacher=1
        """,
    'data_free': """
        method.images=noise&method.latent=3 method.images=noise&method.optimizer.b1=0.1 patch=9 data.augment=none data.workers=2
        method.images=data&method.student_steps=1&method.size=24
        """,
}


def refusal(file, overrides, workdir):
    """The line of the error with which a run ends before its first step, 'accepted' where there is none."""
    try:
        config, paths = settings.read(file, overrides)
        stages.run(config, workdir, paths)
    except commands.EXPECTED as e:
        return commands.one_line(str(e))
    except Accepted:
        return 'accepted'


def spec(kind, room):
    return f'{HERE / "tests" / "tiny_config.py"}:{kind}@{room}'


@pytest.mark.parametrize('kind', WRONG)
def test_a_wrong_value_is_one_line_that_names_its_field(kind, room, tmp_path, accepted):
    for text in WRONG[kind].split():
        line = refusal(spec(kind, room), text.split('&'), tmp_path / 'run')
        field = text.split('&')[-1].partition('=')[0].rpartition('.')[2]
        assert field in line and len(line) < 600, f'{text}: {line}'
    assert sum(len(v.split()) for v in (*WRONG.values(), UNKNOWN, *UNREAD.values())) >= 120


def test_an_unknown_field_is_named_at_every_depth_with_the_near_one(room, tmp_path, accepted):
    for case in UNKNOWN.split():
        text, _, meant = case.partition('=>')
        line = refusal(spec('fakd', room), [text], tmp_path / 'run')
        assert text.partition('=')[0].partition('.')[0] in line and (f"did you mean '{meant}'?" in line or not meant), (
            f'{text}: {line}'
        )


@pytest.mark.parametrize('kind', UNREAD)
def test_a_setting_that_nothing_reads_is_refused_by_name(kind, room, tmp_path, accepted):
    for text in UNREAD[kind].split():
        line = refusal(spec(kind, room), text.split('&'), tmp_path / 'run')
        assert line.startswith(f'--config.{text.split("&")[-1].partition("=")[0]} is read by nothing: '), f'{text}: {line}'


@pytest.mark.parametrize(
    ('code', 'message'),
    [
        ('def get_config():\n    return no_such_name', 'file.py line 2: NameError: '),
        ('def get_config(:', 'file.py: SyntaxError: '),
        ('import no_such_module_at_all', 'ModuleNotFoundError: '),
        ('config = 3', 'has neither RECIPES nor get_config()'),
        ('def get_config():\n    return 3', 'must give a config (kdsr.recipes.base), not int'),
        ('def demo():\n    return 3\nRECIPES = (demo,)', 'must give a config (kdsr.recipes.base), not int'),
        ("from kdsr import recipes\ndef get_config():\n    return recipes.base(steps='many')", 'steps'),
        ('from kdsr import recipes\ndef get_config():\n    return recipes.base(stpes=3)', 'config.student.name is missing'),
        ('def get_config():\n    return {}', 'config.student.name is missing'),
        ('def get_config(words):\n    return {}', 'TypeError'),
    ],
)
def test_a_config_file_that_fails_is_one_line(code, message, tmp_path, accepted):
    (tmp_path / 'file.py').write_text(code)
    assert re.search(message.replace('(', r'\(').replace(')', r'\)'), refusal(str(tmp_path / 'file.py'), [], tmp_path / 'run'))
    assert 'did you mean' in refusal(str(tmp_path / 'fil.py'), [], tmp_path / 'run')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.method.update({'alhpa': 1.0}), "config.method.alhpa is unknown, did you mean 'alpha'?"),
        (lambda c: c.data.update({'imges': '1-8'}), "config.data.imges is unknown, did you mean 'images'?"),
        (lambda c: c.optimizer.update({'learnin_rate': 1.0}), "did you mean 'learning_rate'?"),
        (lambda c: c.update({'stpes': 3}), "config.stpes is unknown, did you mean 'steps'?"),
        (lambda c: c.update({'teacher': 3}), 'config.teacher=3 must be text'),
    ],
)
def test_a_misspelt_field_of_a_config_is_no_field_that_is_ignored(change, message, room):
    config = tiny.config(room / 'images', room / 'teacher')
    with config.ignore_type():
        change(config)
    with pytest.raises(ValueError, match=re.escape(message)):
        stages.planned(config)


# Every setting is read

# what the loop and the outcome read besides what is recorded below
LATER = set(
    'name seed steps log_every eval_every save_every export export_dtype lpips benchmarks wandb carry ema_decay student_init '
    'batch_size data.augment data.threads method.name'.split()
)


def traced(stage, tmp_path):
    """The program of a stage's step as text."""
    method = methods.make(stage)
    Outcome(stage, tmp_path, method.nets)
    channels = {'rgb': 3, 'y': 1}[stage.data.colour]
    batch = Batch(*(np.zeros((4, side, side, channels), np.float32) for side in (stage.patch, stage.patch * stage.scale)))
    state = jax.eval_shape(method.init, jax.random.key(0))
    return jax.jit(method.step).lower(state, method.frozen, batch).as_text()


KINDS = {
    'fakd': {},
    'fakd rbf': {'method.transforms': 'rbf'},
    'fakd alone': {'method.w_affinity': 0.0},
    'srgan_kd gan2g': {'method.technique': 'gan2g'},
    'data_free noise': {'method.images': 'noise'},
}


@pytest.mark.parametrize('kind', KINDS)
def test_exactly_the_fields_that_a_run_never_reads_are_refused(kind, room, tmp_path, monkeypatch):
    config = tiny.CONFIGS[kind.partition(' ')[0]](room)
    config.update_from_flattened_dict(KINDS[kind])
    (stage,) = stages.planned(config)
    paths, read = {id(stage): ''}, set()
    for path, value in walk(stage):
        paths[id(value)] = path + '.'
    get = ConfigDict.__getitem__

    def recorded(block, key):
        if id(block) in paths:
            read.add(paths[id(block)] + key)
        return get(block, key)

    monkeypatch.setattr(ConfigDict, '__getitem__', recorded)
    before = traced(stage, tmp_path)
    monkeypatch.undo()
    refused = settings.unread(stage)
    never = {p for p, value in walk(stage) if p not in read | LATER and not hasattr(value, 'items')}
    covered = lambda path: any(path == r or path.startswith(r + '.') for r in refused)
    assert {path for path in never if not covered(path)} == set()
    for path, value in list(walk(stage)):
        if covered(path) and isinstance(value, float) and path.startswith(('method.', 'optimizer.')):
            stage.update_from_flattened_dict({path: value * 0.5 + 0.1})
    assert traced(stage, tmp_path) == before


def walk(block, prefix=''):
    """(path, value) of all fields, blocks included."""
    for key in block:
        value = dict.__getitem__(block, key) if isinstance(block, dict) else block[key]
        yield prefix + key, value
        if isinstance(value, ConfigDict):
            yield from walk(value, f'{prefix}{key}.')


def test_a_path_alone_means_a_folder(room, capsys):
    file = str(HERE / 'experiments' / 'fakd.py')
    config, paths = settings.read(file, [f'data.path={room / "images"}'])
    (stage,) = stages.planned(config, paths)
    assert stage.data.source == 'folder' and "config.data.source='folder'" in capsys.readouterr().err
    config = recipes.base(student=recipes.model('edsr'), data=recipes.data('embedded', path='photos'))
    config.method = {'name': 'supervised'}
    assert stages.planned(config)[0].data.source == 'folder'


def test_an_override_that_only_the_stages_have_is_refused_with_the_way_to_set_it():
    file = str(HERE / 'experiments' / 'srgan_kd.py')
    config = tiny.experiment('fakd')
    config.stages = (recipes.block(name='first', steps=3), recipes.block(name='second', steps=4))
    with pytest.raises(ValueError, match='--config.steps is read by nothing: .*set e.g. --config.stages.second.steps'):
        stages.planned(config, ['steps'])
    config, paths = settings.read(file, ['stages.pretrain.steps=3', 'stages[1].method.w_adv=0.5', 'seed=5'])
    first, second = stages.planned(config, paths)
    assert (first.steps, second.steps, first.seed, second.method.w_adv, second.method.w_pixel) == (3, 150, 5, 0.5, 1e-3)
    config, paths = settings.read(file, ['stages.pretrain.optimizer.momentum=0.5'])
    with pytest.raises(ValueError, match='--config.stages.pretrain.optimizer.momentum is read by nothing: '):
        stages.planned(config, paths)


# Every network and method can be chosen


@pytest.mark.parametrize(
    ('overrides', 'name', 'args'),
    [
        (['student.name=rcan', 'student.args.groups=2'], 'rcan', {'blocks': 4, 'features': 16, 'groups': 2}),
        (['student.args.groups=2', 'student.name=rcan'], 'rcan', {'blocks': 4, 'features': 16, 'groups': 2}),
        (
            ['student.args.res_scale=0.1', 'student.args.direct=true'],
            'edsr',
            {'blocks': 4, 'features': 16, 'res_scale': 0.1, 'direct': True},
        ),
        (["student={'name':'srvgg','args':{'blocks':3}}"], 'srvgg', {'blocks': 3}),
    ],
)
def test_the_student_is_chosen_on_the_command_line(overrides, name, args):
    config, paths = settings.read(str(HERE / 'experiments' / 'fakd.py'), overrides)
    (stage,) = stages.planned(config, paths)
    assert (stage.student.name, stage.student.args.to_dict()) == (name, args)
    nets.student(stage)


def test_arguments_that_another_student_does_not_have_are_named(capsys):
    config, _ = settings.read(f'{HERE / "experiments" / "data_free.py"}:data', ['student.name=edsr'])
    assert config.student.args.to_dict() == {'features': 16}
    assert 'edsr has no tail_init' in capsys.readouterr().err


def test_the_critic_is_chosen_on_the_command_line(room):
    overrides = ['method.discriminator.name=esrgan', 'method.discriminator.momentum=0.5']
    (stage,) = stages.planned(*settings.read(spec('srgan_kd', room), overrides))
    critic = critics.critic(stage)
    assert (critic.name, critic.module.momentum, critic.module.features) == ('discriminator_esrgan', 0.5, 4)


@pytest.mark.parametrize('name', methods.names())
def test_a_method_works_by_its_name_alone(name, room):
    """From its defaults, with a student that it can train; and another one replaces the fields of the file's."""
    config = tiny.config(room / 'images', room / 'teacher')
    config.method = {'name': name}
    (stage,) = stages.planned(config)
    assert stage.method.to_dict() == methods.defaults(name)
    if 'content' in stage.method:  # a quarter of the compilation
        stage.method.content.update({'network': str(room / 'vgg'), 'tap': 'relu1_2'})
    methods.make(stage)
    other = 'gan' if name != 'gan' else 'srgan_kd'
    config, paths = settings.read(spec('fakd', room), [f'method.name={other}', 'method.pixel_range=1'])
    assert stages.planned(config, paths)[0].method.to_dict() == {**methods.defaults(other), 'pixel_range': 1.0}


def test_networks_and_methods_of_a_package_of_ones_own(tmp_path, monkeypatch, room):
    (tmp_path / 'mypkg').mkdir()
    (tmp_path / 'mypkg' / 'net.py').write_text('from kdsr.models.edsr import EDSR as Generator, fakd_taps, radius\n')
    (tmp_path / 'mypkg' / 'broken.py').write_text('import no_such_module_at_all\n')
    (tmp_path / 'mypkg' / 'distil.py').write_text(
        textwrap.dedent("""\
        from kdsr.methods import supervised
        DEFAULTS = {'loss': 'l2', 'mine': 3}
        def make(cfg):
            assert cfg.method.mine == 3
            return supervised.make(cfg)
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    overrides = ['student.name=mypkg.net', 'method.name=mypkg.distil']
    (stage,) = stages.planned(*settings.read(spec('fakd', room), overrides))
    methods.make(stage)
    card = tmp_path / 'export' / 'model.json'
    tiny.teacher(card.parent)
    card.write_text(json.dumps({**json.loads(card.read_text()), 'model': 'mypkg.net'}))
    assert models.load(card.parent).scale == 2
    monkeypatch.delitem(__import__('sys').modules, 'mypkg.net')
    with pytest.raises(ValueError, match='of the module mypkg.net: if that is yours, allow it by KDSR_MODULES=mypkg.net'):
        models.load(card.parent)
    monkeypatch.setenv('KDSR_MODULES', 'mypkg.net')
    assert models.load(card.parent).scale == 2
    with pytest.raises(ModuleNotFoundError, match='no_such_module_at_all'):
        models.build('mypkg.broken')
    with pytest.raises(ValueError, match="unknown model 'mypkg.nett'"):
        models.build('mypkg.nett')


# The command line


@pytest.mark.parametrize(
    ('given', 'taken'),
    [
        (['--config.steps=3'], ['--set=steps=3']),
        (['-config.a.b=x=y'], ['--set=a.b=x=y']),
        (['--config.steps', '3', 'foo'], ['--set=steps=3', 'foo']),
        (['--config.a', '-0.5'], ['--set=a=-0.5']),
        (['--config.method.adapter', '--workdir=x'], ['--set=method.adapter=true', '--workdir=x']),
        (['--noconfig.data.augment'], ['--set=data.augment=false']),
        (['--config=f.py', '--configs.a=1', 'config.a=1'], ['--config=f.py', '--configs.a=1', 'config.a=1']),
    ],
)
def test_forms_of_an_override(given, taken):
    assert commands.as_set(given) == taken


def test_values_of_overrides_have_the_type_of_their_field():
    file = str(HERE / 'experiments' / 'fakd.py')
    texts = 'optimizer.milestones=100,200 optimizer.learning_rate=1 data.training=false steps=250 steps=300 data.images=1'
    config, paths = settings.read(file, texts.split())
    assert config.optimizer.milestones == (100, 200) and config.steps == 300 and config.data.images == '1'
    assert type(config.optimizer.learning_rate) is float and config.data.training is False and paths.count('steps') == 1
    for text in ('200', '(200,)', '[200]'):
        assert settings.read(file, [f'optimizer.milestones={text}'])[0].optimizer.milestones == (200,)


def test_the_clock_of_a_progress_line_starts_before_the_first_item(monkeypatch, capsys):
    now = iter((100.0, 107.0, 114.0))
    monkeypatch.setattr(time, 'perf_counter', lambda: next(now))
    show = console.progress('work')
    show(1, 2)
    show(2, 2)
    assert capsys.readouterr().err == 'work 2/2 in 0:14\n'


def test_a_smoke_run_says_that_it_is_one(capsys):
    config = recipes.base(steps=6)
    settings.say_smoke('experiments/fakd.py:baseline,smoke_paper', config)
    settings.say_smoke('smoke/fakd.py:baseline', config)
    assert capsys.readouterr().err == 'smoke run, 6 steps: shows that everything works, trains nothing\n'


def test_runs_of_the_time_when_patches_were_turned_or_not_go_on(room, tmp_path):
    """data.augment was True or False."""
    config = tiny.config(room / 'images', room / 'teacher')
    with config.data.ignore_type():
        config.data.augment = False
    (stage,) = stages.planned(config)
    assert stage.data.augment == 'none'
    old = json.loads(configs.to_json(stage))
    old['data']['augment'] = False
    (tmp_path / 'config.json').write_text(json.dumps(old))
    assert configs.require_same(stage, tmp_path) == {}
    stage.data.augment = 'mirror'
    with pytest.raises(ValueError, match="data.augment was 'none' and is now 'mirror'"):
        configs.require_same(stage, tmp_path)
