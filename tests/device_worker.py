"""Run by test_parallel in processes of their own, since the number of devices is fixed when jax starts.

device_worker.py steps ROOM OUT | several ROOM OUT | restore ROOM OUT | main ROOM WORKDIR STEPS PORT INDEX

with TINY=fakd or another of tiny.CONFIGS; `several` takes names with commas.
"""

import json
import os
import pathlib
import re
import sys

import jax
import numpy as np
import tiny


def save_weights(path, tree):
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    np.savez(path, **{jax.tree_util.keystr(k): np.array(v) for k, v in leaves})


def ones():
    """psum(1) inside a pmapped step."""
    from kdsr import parallel

    def step(state, frozen, batch, axis=None):
        return state + 1.0, {'ones': jax.lax.psum(1.0, axis)}

    n = jax.local_device_count()
    _, metrics = parallel.pmapped(step)(parallel.place(np.float32(0)), parallel.place({}), np.zeros((n, 1), np.float32))
    return int(metrics['ones'])


def built(room, name=None):
    """(config, method, placed state, placed frozen, batches)"""
    from kdsr import methods, parallel
    from kdsr.types import Batch

    config = tiny.CONFIGS[name or os.environ.get('TINY', 'fakd')](room)
    method = methods.make(config)
    rng = np.random.default_rng(0)
    batches = [Batch(rng.random((8, 16, 16, 3), np.float32), rng.random((8, 32, 32, 3), np.float32)) for _ in range(3)]
    state = parallel.place(method.init(jax.random.key(0)))
    return config, method, state, parallel.place(method.frozen), batches


def steps(room, out):
    from kdsr import checkpoints, parallel

    out.mkdir(exist_ok=True)
    _, method, state, frozen, batches = built(room)
    save_weights(out / 'before.npz', state.nets)
    frozen_before = jax.tree.map(lambda x: np.array(x), frozen)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **__: compiled.append(event) if event.endswith('backend_compile_duration') else None
    )
    step = parallel.pmapped(method.step)
    lowered = step.lower(state, frozen, parallel.shard(batches[0])).compile().as_text()
    kept, later = 0, 0
    for i, batch in enumerate(batches):
        old = jax.tree.leaves(state.nets) + [state.step]
        before = len(compiled)
        state, _ = step(state, frozen, parallel.shard(batch))
        jax.block_until_ready(state.step)
        later += len(compiled) - before if i else 0
        kept += sum(not x.is_deleted() for x in old)
    shards = lambda x: [np.array(s.data) for s in x.addressable_shards]
    spread = max(float(np.abs(s - shards(x)[0]).max()) for x in jax.tree.leaves(state.nets) for s in shards(x))
    saved = checkpoints.Checkpoints(out / 'resume')
    saved.save(3, state, {}, 20.0)
    saved.close()
    save_weights(out / 'weights.npz', state.nets)
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, np.array(b))), frozen_before, frozen)
    return {
        'devices': jax.device_count(),
        'ones': ones(),
        'replicas_differ_by': spread,
        'kept_old_leaves': kept,
        'compilations_later': later,
        'frozen_alive': not any(x.is_deleted() for x in jax.tree.leaves(frozen)),
        'frozen_unchanged': all(jax.tree.leaves(same)),
        'ynn_convolutions': len(re.findall(r'%ynn_fusion\S* = .*op_name="[^"]*conv_general_dilated', lowered)),
    }


def several(room, out):
    """The weights of several methods before and after three steps."""
    from kdsr import parallel

    out.mkdir(exist_ok=True)
    for name in os.environ['TINY'].split(','):
        _, method, state, frozen, batches = built(room, name)
        save_weights(out / f'{name}_before.npz', state.nets)
        step = parallel.pmapped(method.step)
        for batch in batches:
            state, _ = step(state, frozen, parallel.shard(batch))
        save_weights(out / f'{name}.npz', state.nets)
    return {'devices': jax.device_count()}


def restore(room, out):
    from kdsr import checkpoints

    _, _, state, _, _ = built(room)
    saved = checkpoints.Checkpoints(out / 'resume')
    step, state, _ = saved.restore(state)
    saved.close()
    save_weights(out / 'restored.npz', state.nets)
    return {'step': step}


def main(room, workdir, total, port, index):
    """Trains to `total`; a negative number asks for a stop after that step, as a preempted machine would."""
    if port:
        from kdsr import peers

        peers.join(f'localhost:{port}', 2, index)
    from kdsr import outcome, parallel, train

    config = tiny.CONFIGS[os.environ.get('TINY', 'fakd')](room)
    finish = outcome.Outcome.finish

    def keep(self, state, facts):
        save_weights(workdir / f'weights_{index}.npz', state.nets)
        return finish(self, state, facts)

    outcome.Outcome.finish = keep
    config.export = 'latest'
    if total < 0:
        parallel.stop_requested = lambda step, flagged: step >= -total
    try:
        train.train(config, workdir)
    except SystemExit as e:
        assert e.code == 143
    return {'ones': ones()}


if __name__ == '__main__':
    name, room, out, *numbers = sys.argv[1:]
    mode = {'steps': steps, 'several': several, 'restore': restore, 'main': main}[name]
    print(json.dumps(mode(pathlib.Path(room), pathlib.Path(out), *map(int, numbers))))
