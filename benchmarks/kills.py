"""Does a run that is killed at any moment, or whose files are damaged, end as one that nothing happened to?

    python benchmarks/kills.py [--kills=40] [--seed=0] [--recipes=fakd,srgan_kd,data_free] [--damages=all] [--out=DIR]

Smoke runs are killed (SIGKILL) at random moments, in files under way, in the first import or in the last table, and started again
until they end. Their exports, metrics, sample pictures and results must then be those of a run that was left alone, byte for byte
(times apart). Then kinds of damage are done to a finished run whose results are gone: the same command must go on from an older
checkpoint and end with the same bytes, or end in one line. Prints two tables; status 1 if anything differs.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from kdsr import writers

KILLS = flags.DEFINE_integer('kills', 40, 'kills over all recipes', lower_bound=0)
SEED = flags.DEFINE_integer('seed', 0, 'seed of the moments')
RECIPES = flags.DEFINE_list('recipes', ['fakd', 'srgan_kd', 'data_free'], 'experiments whose smoke runs are killed')
DAMAGES = flags.DEFINE_list('damages', ['all'], "kinds of damage to a run of the first recipe: 'all', or names of them")
OUT = flags.DEFINE_string('out', None, 'where the runs are kept (default: nowhere)')

HERE = pathlib.Path(__file__).resolve().parents[1]


def start(recipe, folder):
    """A smoke run in `folder`, as a process whose stderr goes to `folder`.log."""
    command = [sys.executable, '-m', 'kdsr.main', f'--config={HERE}/experiments/{recipe}.py:smoke', f'--workdir={folder}']
    environment = {**os.environ, 'PYTHONPATH': str(HERE)}
    with open(f'{folder}.log', 'a') as log:
        return subprocess.Popen(command, env=environment, cwd=HERE, stdout=log, stderr=log)


def finish(recipe, folder):
    """Runs to the end: (status, the lines that this start printed)."""
    log = pathlib.Path(f'{folder}.log')
    before = log.stat().st_size if log.exists() else 0
    status = start(recipe, folder).wait()
    return status, log.read_bytes()[before:].decode(errors='replace').splitlines()


def outcome(folder):
    """{name: contents} of what a run leaves behind, without times and the command."""
    found = {str(p.relative_to(folder)): p.read_bytes() for kind in ('export', 'samples') for p in (folder / kind).rglob('*.*')}
    found['metrics.jsonl'] = (folder / 'metrics.jsonl').read_bytes()
    for card in [k for k in found if k.endswith('model.json')]:
        found[card] = {k: v for k, v in json.loads(found[card]).items() if k != 'command'}
    results = json.loads((folder / 'results.json').read_text())
    results['cost'] = {net: {k: v for k, v in facts.items() if k != 'ms'} for net, facts in results['cost'].items()}
    found['results.json'] = {k: v for k, v in results.items() if k != 'data_wait'}
    return found


def differences(folder, whole):
    """Names of what differs between a run and `whole`, the outcome of one that was left alone."""
    found = outcome(folder)
    return sorted(k for k in {**found, **whole} if found.get(k) != whole.get(k))


def verdict(status, folder, whole):
    """In what an ended run differs from `whole`, in words."""
    return f'status {status}' if status else ', '.join(differences(folder, whole)) or 'nothing'


def left_alone(recipe, folder):
    """(seconds, outcome) of an uninterrupted run; the first one compiles, the second is timed."""
    for run in (folder, pathlib.Path(f'{folder}_again')):
        began = time.time()
        status, lines = finish(recipe, run)
        if status:
            raise RuntimeError('\n'.join(lines))
    if found := differences(run, outcome(folder)):
        raise RuntimeError(f'{recipe}: two runs left alone differ in {", ".join(found)}')
    return time.time() - began, outcome(folder)


def killed(recipe, folder, kills, seconds, draw):
    """Kills a run in `folder` up to `kills` times, at least once, and lets it end: (moments of the kills in words, status)."""
    moments = []
    while len(moments) < kills:
        process = start(recipe, folder)
        try:
            process.wait(draw.uniform(0.2, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            moments.append(moment(folder))
        else:  # ended before its moment came
            if moments or process.returncode:
                return moments, process.returncode
            shutil.rmtree(folder)
    return moments, finish(recipe, folder)[0]


def moment(folder):
    """How far a killed run had come."""
    if (folder / 'results.json').exists():
        return 'end'
    saving = '+' if list(folder.glob('resume/*tmp*')) else ''
    steps = [int(p.name) for p in folder.glob('resume/*') if p.name.isdigit()]
    return f'{max(steps, default=0)}{saving}'


def largest(step):
    """The file of the arrays that holds most."""
    return max((p for p in (step / 'state').rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)


def newest(folder):
    """The newest checkpoint."""
    return max((p for p in (folder / 'resume').iterdir() if p.name.isdigit()), key=lambda p: int(p.name))


def change(path, how):
    """Rewrites a file as `how(bytes)`; without `how` it is removed."""
    path.write_bytes(how(path.read_bytes())) if how else path.unlink()


def flipped(data):
    """One bit in the middle turned."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def both(folder):
    """No checkpoint left whole."""
    for step in (folder / 'resume').iterdir():
        change(largest(step), flipped)


HALF, EMPTY, ZERO = lambda data: data[: len(data) // 2], lambda data: b'', lambda data: bytes(len(data))
DAMAGE = {
    'arrays cut short': lambda f: change(largest(newest(f)), HALF),
    'arrays emptied': lambda f: change(largest(newest(f)), EMPTY),
    'arrays zeroed': lambda f: change(largest(newest(f)), ZERO),
    'arrays missing': lambda f: change(largest(newest(f)), None),
    'a bit of the arrays flipped': lambda f: change(largest(newest(f)), flipped),
    'all arrays missing': lambda f: shutil.rmtree(newest(f) / 'state'),
    'manifest zeroed': lambda f: change(newest(f) / 'state' / 'manifest.ocdbt', ZERO),
    'manifest missing': lambda f: change(newest(f) / 'state' / 'manifest.ocdbt', None),
    'metadata cut short': lambda f: change(newest(f) / 'state' / '_METADATA', HALF),
    'log cut short': lambda f: change(newest(f) / 'log' / 'metadata', HALF),
    'a bit of the log flipped': lambda f: change(newest(f) / 'log' / 'metadata', flipped),
    'log missing': lambda f: shutil.rmtree(newest(f) / 'log'),
    'everything in it missing': lambda f: [shutil.rmtree(newest(f) / kind) for kind in ('state', 'log')],
    'no checkpoint whole': both,
    'config.json cut short': lambda f: change(f / 'config.json', HALF),
    'metrics.jsonl cut in a line': lambda f: change(f / 'metrics.jsonl', lambda data: data[:-20]),
    'metrics.jsonl: a broken line': lambda f: change(f / 'metrics.jsonl', lambda data: data.replace(b'"l1"', b'"l1', 1)),
    'results.json cut short': lambda f: change(f / 'results.json', HALF),
}


def damaged(recipe, whole_folder, folder, kind):
    """Does damage to a copy of a finished run and starts it: (status, what it said of it)."""
    shutil.copytree(whole_folder, folder)
    shutil.rmtree(folder / 'export')
    if kind != 'results.json cut short':
        (folder / 'results.json').unlink()
    DAMAGE[kind](folder)
    status, lines = finish(recipe, folder)
    if any('Traceback' in line for line in lines):
        return status, 'a traceback'
    said = [line for line in lines if line.startswith('error') or ('damaged' in line and f' in {folder}' not in line)]
    return status, ' / '.join(said).replace(f'{folder}/', '').replace('  (--verbosity=1 shows the traceback)', '')


def kill_rows(work, wholes, kills, draw):
    """Rows of the first table: runs of all recipes in turn, until there were `kills` kills."""
    rows = []
    while kills:
        recipe = RECIPES.value[len(rows) % len(RECIPES.value)]
        seconds, whole = wholes[recipe]
        folder = work / f'{recipe}_killed_{len(rows)}'
        moments, status = killed(recipe, folder, min(kills, draw.randint(1, 4)), seconds, draw)
        differ = verdict(status, folder, whole)
        rows.append({'run': recipe, 'kills': len(moments), 'newest step then': ' '.join(moments), 'differs in': differ})
        writers.say(str(rows[-1]))
        kills -= len(moments)
    return rows


def damage_rows(work, recipe, whole):
    """Rows of the second table."""
    rows = []
    for kind in [k for k in DAMAGE if DAMAGES.value == ['all'] or k in DAMAGES.value]:
        folder = work / f'{recipe}_harmed_{len(rows)}'
        status, said = damaged(recipe, work / recipe, folder, kind)
        differ = '(ends in one line)' if status and said.startswith('error') else verdict(status, folder, whole)
        if kind == 'metrics.jsonl: a broken line' and differ == 'metrics.jsonl' and 'left out' in said:
            differ = '(that line, and nothing else)'
        rows.append({'damage': kind, 'status': status, 'said': said, 'differs in': differ})
        writers.say(str(rows[-1]))
    return rows


def main(_):
    work = pathlib.Path(OUT.value or tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    wholes = {}
    for recipe in RECIPES.value:
        wholes[recipe] = left_alone(recipe, work / recipe)
        writers.say(f'{recipe}: {wholes[recipe][0]:.0f} s when left alone')
    rows = kill_rows(work, wholes, KILLS.value, random.Random(SEED.value))
    hurt = damage_rows(work, RECIPES.value[0], wholes[RECIPES.value[0]][1])
    for table in filter(None, (rows, hurt)):
        print(writers.table(table, dict.fromkeys(table[0], '')) + '\n')
    if not OUT.value:
        shutil.rmtree(work)
    wrong = [r for r in rows + hurt if r['differs in'] != 'nothing' and r['differs in'][0] != '(']
    print(f'{sum(r["kills"] for r in rows)} kills in {len(rows)} runs, {len(hurt)} kinds of damage: {len(wrong)} end otherwise')
    sys.exit(bool(wrong))


if __name__ == '__main__':
    app.run(main)
