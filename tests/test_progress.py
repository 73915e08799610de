"""The ETA of a run and of other long work, by a clock that the tests move."""

import random
import re
import time
from typing import NamedTuple

import pytest

from kdsr import compiled, console, writers


class Clock:
    """Stands for time.perf_counter and for the meter of compilation."""

    def __init__(self, monkeypatch):
        self.now, self.compiling = 1000.0, 50.0
        monkeypatch.setattr(time, 'perf_counter', lambda: self.now)
        monkeypatch.setattr(compiled, 'seconds', lambda: self.compiling)

    def work(self, seconds, compiling=0.0):
        self.now += seconds + compiling
        self.compiling += compiling


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


class Costs(NamedTuple):
    """Seconds. step: a function of its number. first: what the first evaluation takes besides (compiling, doing other things)."""

    step: object = lambda step: 0.3
    evaluation: float = 9.0
    save: float = 1.0
    compilation: float = 40.0
    first: tuple = (11.0, 0.0)


class Line(NamedTuple):
    """A line of the log. eta: seconds that it tells; unknown: {'validation': how many it says come on top}; left: the truth."""

    step: int
    eta: int
    unknown: dict
    left: float


def read(text):
    """(seconds, {noun: count}) of a line's end; None where it tells no time."""
    found = re.search(r'ETA ((?:\d+:)+\d+)(?: and (.*))?$', text)
    if not found:
        return None
    hours, minutes, seconds = map(int, f'0:0:{found[1]}'.split(':')[-3:])
    return 3600 * hours + 60 * minutes + seconds, {k: int(n) for n, k in re.findall(r'(\d+) (validation|save)', found[2] or '')}


def simulated(clock, costs, *, start=0, total=700, log_every=10, eval_every=100, save_every=50):
    """([Line], seconds) of a run as the loop of kdsr.train makes it."""
    progress, began, lines, first = writers.Progress(start, total, 8, {}, eval_every, save_every), clock.now, [], costs.first
    for step in range(start + 1, total + 1):
        clock.work(costs.step(step), costs.compilation if step == start + 1 else 0.0)
        if step == start + 1:
            progress.pause(clock.now - began, 'compile')
        progress.add({'l1': 1.0})
        evaluates = step % eval_every == 0 or step == total
        if (step % log_every == 0 or step == total) and (told := read(progress.line(step)[2])):
            lines.append((step, *told, clock.now))
        if evaluates:
            progress.timed('evaluate', clock.work, costs.evaluation + first[1], first[0])
            first = (0.0, 0.0)
        if evaluates or step % save_every == 0:
            progress.timed('save', clock.work, costs.save)
    return [Line(*line, clock.now - now) for *line, now in lines], clock.now - began


noise = random.Random(0)
DEAR = {'total': 7000, 'log_every': 100, 'eval_every': 500, 'save_every': 500}
CASES = {
    'usual': (Costs(), {}),
    'noisy': (Costs(step=lambda step: noise.uniform(0.1, 0.5)), {}),
    'evaluations cost as much as training': (Costs(evaluation=30.0, first=(60.0, 0.0)), {}),
    'evaluations cost more': (Costs(evaluation=60.0), {'eval_every': 35}),
    'the first evaluation does more than compile': (Costs(first=(0.0, 11.0)), {}),
    'saves cost as much as training': (Costs(save=3.0), {'save_every': 10}),
    'saves at other steps': (Costs(save=6.0), {'save_every': 30, 'eval_every': 70}),
    'resumed in the middle': (Costs(), {'start': 350}),
    'resumed near the end': (Costs(), {'start': 630}),
    'long': (Costs(evaluation=150.0), DEAR),
    'compilation outweighs all else': (Costs(compilation=2000.0, first=(400.0, 0.0)), {}),
}


@pytest.mark.parametrize('case', CASES)
def test_the_end_is_right_within_20_percent_after_10_percent_of_a_run(clock, case):
    """What a process has not seen yet, its first validation, the line counts and does not guess."""
    costs, options = CASES[case]
    lines, end = simulated(clock, costs, **options)
    total, every = options.get('total', 700), options.get('eval_every', 100)
    late = [line for line in lines if line.step >= total / 10]
    assert late[-1].step == total
    for line in late:
        on_top = line.unknown.get('validation', 0) * costs.evaluation + line.unknown.get('save', 0) * costs.save
        on_top += sum(costs.first) * ('validation' in line.unknown)
        assert abs(line.eta + on_top - line.left) <= 0.2 * end + 1, line
    first = (options.get('start', 0) // every + 1) * every
    assert not any(line.unknown for line in late if line.step > first)


@pytest.mark.parametrize('start', [0, 350])
def test_what_is_left_is_right_to_the_second_where_nothing_varies(clock, start):
    """Also while the only validation seen is the first one: its compilation does not come again."""
    lines, _ = simulated(clock, Costs(), start=start)
    seen = [line for line in lines if not line.unknown]
    assert seen[0].step == 100 * (start // 100) + 110
    for line in seen:
        assert abs(line.eta - line.left) <= 1, line


def test_the_eta_follows_a_machine_that_became_slower(clock):
    lines, _ = simulated(clock, Costs(step=lambda step: 0.3 if step < 350 else 0.9))
    for line in (line for line in lines if line.step >= 350 + 2 * 70):
        assert abs(line.eta - line.left) <= 0.2 * line.left + 1, line


@pytest.mark.parametrize('eval_every, save_every', [(100, 50), (30, 70), (7, 3), (1000, 40), (40, 1000), (1000, 1000), (1, 1)])
@pytest.mark.parametrize('start, total', [(0, 120), (0, 119), (60, 120)])
def test_what_comes_is_counted_and_no_more(eval_every, save_every, start, total):
    progress = writers.Progress(start, total, 8, {}, eval_every, save_every)
    evaluates = lambda step: step % eval_every == 0 or step == total
    for step in range(start + 1, total + 1):
        rest = range(step, total + 1)
        counts = {'evaluate': sum(map(evaluates, rest)), 'save': sum(evaluates(s) or s % save_every == 0 for s in rest)}
        assert progress.left(step) == counts


def test_a_line_says_what_it_does_not_know(clock):
    progress, texts = writers.Progress(0, 7, 8, {}, 3, 2), []
    for step in range(1, 8):
        clock.work(2.0, 38.0 if step == 1 else 0.0)
        if step == 1:
            progress.pause(40.0, 'compile')
        progress.add({'l1': 1.0})
        _, timing, text = progress.line(step)
        texts.append(text.partition('| ')[2])
        assert set(timing) == (set() if step == 1 else {'speed/images_per_s', 'speed/data_wait'})
        if step in (3, 6, 7):
            progress.timed('evaluate', clock.work, 5.0)
        if step in (2, 3, 4, 6, 7):
            progress.timed('save', clock.work, 1.0)
    assert texts[0] == 'ETA unknown yet'
    assert texts[1] == '4.0 images/s, data wait 0.0 %, ETA 0:10 and 3 validations, 5 saves'
    assert texts[2].endswith('ETA 0:12 and 3 validations')
    assert texts[3].endswith('ETA 0:19') and texts[6].endswith('ETA 0:06')


def test_the_first_step_is_in_no_speed_and_no_data_wait(clock):
    progress = writers.Progress(0, 10, 8, {})
    clock.work(6.0)
    progress.wait(6.0)
    clock.work(2.0, 30.0)
    progress.pause(38.0, 'compile')
    for _ in range(4):
        clock.work(0.5)
        progress.wait(0.5)
        clock.work(1.5)
    timing = progress.line(5)[1]
    assert timing == {'speed/images_per_s': 4.0, 'speed/data_wait': 0.25} and progress.data_wait() == 0.25


def test_what_comes_once_is_in_no_speed_and_no_eta(clock):
    progress = writers.Progress(0, 10, 8, {}, eval_every=5, save_every=5)
    clock.work(10.0)
    progress.timed('once', clock.work, 100.0)
    progress.timed('evaluate', clock.work, 4.0, 30.0)
    progress.timed('save', clock.work, 1.0)
    _, timing, text = progress.line(5)
    assert timing['speed/images_per_s'] == 4.0 and text.endswith('ETA 0:20')  # 5 * 2 + 2 * (4 + 1)


def test_compilation_is_measured():
    import jax
    import jax.numpy as jnp

    before = compiled.seconds()
    fn = jax.jit(lambda x: jnp.sin(x) * 1.2345 + jnp.cumsum(x))
    fn(jnp.ones(7)).block_until_ready()
    once = compiled.seconds()
    fn(jnp.ones(7)).block_until_ready()
    assert before < once == compiled.seconds()


# other long work


def test_a_log_file_gets_a_line_every_30_seconds(clock, capsys):
    show = console.progress('work')
    for done in range(1, 101):
        clock.work(1.0)
        show(done, 100)
    lines = ['work 30/100 ETA 1:10', 'work 60/100 ETA 0:40', 'work 90/100 ETA 0:10', 'work 100/100 in 1:40']
    assert capsys.readouterr().err.splitlines() == lines


def test_brief_work_gets_no_line_in_a_log_file_unless_it_is_long(clock, capsys):
    for seconds, expected in ((1.0, ''), (20.0, 'work 2/3 ETA 0:20\nwork 3/3 in 1:00\n')):
        show = console.progress('work', brief=True)
        for done in (1, 2, 3):
            clock.work(seconds)
            show(done, 3)
        assert capsys.readouterr().err == expected


def test_whoever_listens_gets_the_lines_of_a_log_file(clock, capsys, monkeypatch):
    monkeypatch.setattr('sys.stderr.isatty', lambda: True, raising=False)
    heard = []
    with console.told(say=heard.append):
        show = console.progress('work')
        for done in (1, 2):
            clock.work(31.0)
            show(done, 2)
    assert heard == ['work 1/2 ETA 0:31', 'work 2/2 in 1:02'] and capsys.readouterr().err == ''


def test_a_terminal_gets_a_bar_ten_times_a_second_at_most(clock, capsys, monkeypatch):
    monkeypatch.setattr('sys.stderr.isatty', lambda: True, raising=False)
    show = console.progress('work')
    for done in range(1, 1001):
        clock.work(0.01)
        show(done, 1000)
    err = capsys.readouterr().err
    assert 90 <= err.count('\r') <= 101 and err.startswith('\rwork [') and err.endswith(f'[{"#" * 20}] 1000/1000 ETA 0:00    \n')
