"""A run with stages: the order on disk, which student its directory means, directories in which two runs met."""

import json
import pathlib

import numpy as np
import pytest

from kdsr import recipes, stages
from kdsr.models import exports


def finished(folder, seed=1, net='student', **config):
    """Writes a finished run by hand: a student of one weight, its config and results."""
    exports.save(folder / 'export' / net, name='edsr', args={}, variables={'params': {'w': np.full(1, seed)}})
    (folder / 'config.json').write_text(json.dumps(config))
    (folder / 'results.json').write_text('{}')
    return folder


def plan(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'stages.json').write_text(json.dumps({'name': 'whole', 'stages': names}))
    return folder


@pytest.fixture
def trained(monkeypatch):
    """What `stages.run` trains instead of networks: a file of each stage, as training leaves it."""
    seen = []

    def train(stage, folder, before):
        seen.append(stage.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'config.json').write_text(json.dumps({'name': stage.name}))
        (folder / 'results.json').write_text(json.dumps({'student': {'validation/x4': {}}, 'steps': stage.steps}))
        return {}

    monkeypatch.setattr(stages.train, 'train', train)
    monkeypatch.setattr(stages.configs, 'require_same', lambda *_: [])
    return seen


def config(*names, name='whole'):
    found = recipes.base(name=name, student=recipes.model('edsr'), method=recipes.block({'name': 'supervised', 'loss': 'l1'}))
    found.stages = tuple(recipes.block({'name': stage}) for stage in names)
    return found


def test_a_run_with_stages_means_its_last_student_whatever_the_names(tmp_path):
    for i, stage in enumerate(('z', 'm', 'a')):
        finished(plan(tmp_path / 'run', 'z', 'm', 'a') / stage, seed=i)
    assert exports.find(tmp_path / 'run') == tmp_path / 'run' / 'a' / 'export' / 'student'
    assert exports.find(tmp_path / 'run' / 'm') == tmp_path / 'run' / 'm' / 'export' / 'student'
    finished(tmp_path / 'run' / 'a', net='student_ema')
    assert exports.find(tmp_path / 'run') == tmp_path / 'run' / 'a' / 'export' / 'student_ema'
    assert exports.read(tmp_path / 'run')[1]['params']['w'] == 1 and exports.read(tmp_path / 'run' / 'z')[1]['params']['w'] == 0


def test_a_run_with_stages_that_is_not_finished_says_so_and_what_there_is(tmp_path):
    room = plan(tmp_path / 'run', 'first', 'second')
    with pytest.raises(FileNotFoundError, match=r'run is not finished: its last stage is to be \S+/second \(.*goes on\)$'):
        exports.find(room)
    finished(room / 'first')
    finished(room / 'second')
    (room / 'second' / 'results.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'run is not finished: .*second.*; finished: \S+/first$'):
        exports.find(room)
    (room / 'second' / 'results.json').write_text('{}')
    assert exports.find(room) == room / 'second' / 'export' / 'student'


@pytest.mark.parametrize('known', [True, False], ids=['with stages.json', 'of an older version'])
def test_a_directory_in_which_two_runs_met_has_no_answer(tmp_path, known):
    room = finished(tmp_path / 'run', seed=0)
    finished(room / 'pretrain')
    finished(room / 'distil')
    if known:
        plan(room, 'pretrain', 'distil')
    with pytest.raises(ValueError, match='holds different runs: name the one you mean') as error:
        exports.read(room)
    assert all(str(room / part) in str(error.value) for part in ('export/student', 'pretrain', 'distil'))
    assert exports.find(room / 'distil') == room / 'distil' / 'export' / 'student'


def test_several_runs_of_which_none_is_the_last_are_named(tmp_path):
    finished(tmp_path / 'runs' / 'a')
    finished(tmp_path / 'runs' / 'b')
    with pytest.raises(
        FileNotFoundError, match='holds several runs, and no stages.json tells the last: name one, .*runs/a, .*runs/b'
    ):
        exports.find(tmp_path / 'runs')


def test_a_single_run_without_a_student_says_why(tmp_path):
    (tmp_path / 'config.json').write_text('{}')
    with pytest.raises(FileNotFoundError, match='no student in .*: its run is not finished'):
        exports.find(tmp_path)
    (tmp_path / 'results.json').write_text('{}')
    with pytest.raises(FileNotFoundError, match=r'no student in .*: its export/ was lost'):
        exports.find(tmp_path)


@pytest.mark.parametrize('text', ['', '{', '[]', '{"name": "x"}', '{"name": "x", "stages": 3}'])
def test_a_damaged_order_is_named(tmp_path, text):
    (tmp_path / 'stages.json').write_text(text)
    with pytest.raises(ValueError, match='stages.json is damaged .*: delete it'):
        exports.find(tmp_path)


def test_the_order_is_on_disk_before_anything_is_trained(tmp_path, trained, monkeypatch):
    seen = []
    monkeypatch.setattr(stages.train, 'train', lambda stage, folder, before: seen.append(exports.stages(folder.parent)))
    stages.run(config('z', 'a'), tmp_path / 'run')
    assert seen == [('whole', ['z', 'a'])] * 2


def test_a_single_stage_has_the_name_of_the_run(tmp_path, trained):
    stages.run(config('distil', name='srgan_gan2g_al'), tmp_path / 'run')
    assert trained == ['srgan_gan2g_al'] and not (tmp_path / 'run' / 'stages.json').exists()


@pytest.mark.parametrize(
    ('first', 'second', 'message'),
    [
        ((), ('a', 'b'), 'another run (one without stages), and this one is with the stages a, b'),
        (('a',), ('a', 'b'), 'another run (one without stages), and this one is with the stages a, b'),
        (('a', 'b'), ('a',), 'another run (one with the stages a, b), and this one is without stages'),
        (('a', 'b'), ('b', 'a'), 'another run (one with the stages a, b), and this one is with the stages b, a'),
    ],
)
def test_two_runs_cannot_meet_in_a_directory(tmp_path, trained, first, second, message):
    stages.run(config(*first), tmp_path)
    before = {p: p.read_bytes() for p in pathlib.Path(tmp_path).rglob('*') if p.is_file()}
    with pytest.raises(ValueError) as error:
        stages.run(config(*second), tmp_path)
    assert message in str(error.value) and 'choose another --workdir' in str(error.value)
    assert {p: p.read_bytes() for p in pathlib.Path(tmp_path).rglob('*') if p.is_file()} == before
    stages.run(config(*first), tmp_path)  # the same run may
