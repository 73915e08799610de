"""Studies: means, spreads and verdicts by hand, equal budgets, and a whole study of which one arm fails."""

import json
import textwrap

import numpy as np
import pytest
import tiny
from shell import command, only_line

from kdsr import gains, writers

SCORES = {  # PSNR of three arms; 'b' gains 0.1, 0.2 and 0.3, 'c' gains -0.1, 0.3 and 0.1
    'a': [30.0, 30.1, 30.2],
    'b': [30.1, 30.3, 30.5],
    'c': [29.9, 30.4, 30.3],
}


def scores(seeds=3):
    return {arm: {str(i): {'S/x4': {'psnr_y': v}} for i, v in enumerate(of[:seeds])} for arm, of in SCORES.items()}


def test_the_p_value_is_that_of_students_t_test():
    # differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t = 3.4641 with 2 degrees of freedom; p = 1 - t / sqrt(t^2 + 2)
    assert gains.p_value([1.0, 2.0, 3.0]) == pytest.approx(1 - 12**0.5 / 14**0.5, rel=1e-12)
    assert gains.p_value([1.0, 2.0]) is None
    assert gains.p_value([0.5, 0.5, 0.5]) == 0.0 and gains.p_value([0.0, 0.0, 0.0]) == 1.0


def test_means_spreads_and_gains_of_equal_seeds():
    shown, differences = gains.tables(scores(), 'psnr_y', 'a', '.3f')
    assert shown[0] == {'arm': 'a', 'seeds': 3, 'S/x4': '30.100 ± 0.100'}
    # p of 0.1, 0.2, 0.3 is 0.074: by three seeds that differ so much nothing can be told
    assert [row['S/x4'] for row in differences] == ['+0.200 ± 0.100 n.s.', '+0.100 ± 0.200 n.s.']
    steady = {
        'a': {s: {'S/x4': {'psnr_y': 30.0}} for s in '012'},
        'b': {s: {'S/x4': {'psnr_y': 30.2 + int(s) / 100}} for s in '012'},
    }
    assert gains.tables(steady, 'psnr_y', 'a', '.3f')[1][0]['S/x4'] == '+0.210 ± 0.010'
    _, few = gains.tables(scores(2), 'psnr_y', 'a', '.3f')
    assert few[0]['S/x4'] == '+0.150 ± 0.071 ?' and 'no ranking' in gains.notes(few)[0]
    one = gains.tables({'a': {'0': {'S/x4': {'psnr_y': np.inf}}}, 'b': {'1': {'S/x4': {'psnr_y': 3.0}}}}, 'psnr_y', 'a', '.3f')
    assert one == ([{'arm': 'a', 'seeds': 1}, {'arm': 'b', 'seeds': 1, 'S/x4': '3.000'}], [])


def test_before_holds_in_every_seed_and_column_and_beyond_the_spread_or_not_at_all():
    of = lambda *pairs: {str(seed): dict(zip('xy', pair, strict=True)) for seed, pair in enumerate(pairs)}
    low, high = of((1, 10), (2, 20), (3, 30)), of((4, 50), (5, 60), (6, 70))  # gaps of 3 and 40, deviations of 1 and 10
    assert gains.before(low, high, 'xy') and not gains.before(high, low, 'xy')
    near = of((2.9, 50), (3.9, 60), (4.9, 70))  # x: 1.9 deviations away
    assert gains.before(low, near, 'y') and not gains.before(low, near, 'xy')
    once = of((0.9, 50), (50, 60), (60, 70))  # x: far in the mean, but not in seed 0
    assert not gains.before(low, once, 'x') and not gains.before({k: low[k] for k in '01'}, high, 'x')


@pytest.mark.parametrize(('kind', 'field'), [('seconds', 'total_s'), ('flops', 'total_gflop')])
def test_equal_budgets_cost_what_the_reference_costs(kind, field):
    costs = {
        'one': [{'steps': 100, 'total_s': 50.0, 'total_gflop': 300.0}],
        'two': [{'steps': 100, 'total_s': 20.0, 'total_gflop': 900.0}, {'steps': 400, 'total_s': 40.0, 'total_gflop': 600.0}],
    }
    steps = gains.equal_steps(costs, 'one', kind)
    assert steps['one'] == [100]
    spent = sum(n * row[field] / row['steps'] for n, row in zip(steps['two'], costs['two'], strict=True))
    assert spent == pytest.approx(costs['one'][0][field], rel=0.01)


def test_tables_fit_a_terminal():
    rows = [{'arm': 'fakd10', **{f'Set{i}/x4': '29.665 ± 0.067' for i in range(9)}}]
    text = writers.narrow(rows, dict.fromkeys(rows[0], ''))
    assert max(map(len, text.splitlines())) <= 100 and text.count('| fakd10') == 2
    assert [text.count(f'Set{i}/x4') for i in range(9)] == [1] * 9


@pytest.mark.slow
def test_a_study_keeps_what_is_finished_and_tells_what_failed(tmp_path):
    """Three arms of one seed, two at once; the teacher of one is missing."""
    tiny.room(tmp_path)
    (tmp_path / 'own.py').write_text(
        textwrap.dedent(f"""\
        import pathlib

        import tiny

        from kdsr import recipes

        AXES = {{'teacher': ('taught', 'alone')}}


        def short(teacher='taught'):
            \"\"\"Four steps.\"\"\"
            room = pathlib.Path({str(tmp_path)!r})
            config = tiny.config(room / 'images', room / 'teacher')
            if teacher == 'alone':
                config.method = {{'name': 'supervised', 'loss': 'l1'}}
            return config


        RECIPES = (short,)
        STUDY = recipes.Study(
            recipe='short',
            arms={{'alone': ('alone', {{}}), 'taught': ('taught', {{}}), 'lost': ('taught', {{'teacher': 'nowhere'}})}},
            against='alone',
        )
        """)
    )
    line = ('kdsr.study', f'--config={tmp_path / "own.py"}', f'--out={tmp_path / "out"}', '--seeds=0', '--jobs=2', '--equal=flops')
    run = command(*line, code=1)
    assert 'no model at nowhere' in only_line(run) and '1 failed, the others are in the tables' in run.stderr
    assert '| alone  |' in run.stdout and '| taught |' in run.stdout and '| lost' not in run.stdout and 'no ranking' in run.stdout
    (cost,) = json.loads((tmp_path / 'out' / 'taught.cost.json').read_text())['stages']
    config = json.loads((tmp_path / 'out' / 'taught_0' / 'config.json').read_text())
    reference = json.loads((tmp_path / 'out' / 'alone.cost.json').read_text())['stages'][0]
    assert config['steps'] == max(1, round(reference['total_gflop'] / cost['gflop'])) < cost['steps'] == 4
    before = (tmp_path / 'out' / 'taught_0' / 'results.json').stat().st_mtime_ns
    command(*line, '--arms=alone,taught')
    assert (tmp_path / 'out' / 'taught_0' / 'results.json').stat().st_mtime_ns == before
    assert 'holds another study: equal was' in only_line(command(*line[:-1], '--equal=steps', code=1))
    printed = command(*line, '--arms=alone,taught', '--print')
    assert printed.stdout.strip() == (tmp_path / 'out' / 'study.md').read_text().strip()
