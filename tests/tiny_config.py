"""A config file for subprocess tests: `tiny_config.py:ROOM` or `:srgan_kd@ROOM`, with ROOM/images, ROOM/teacher and ROOM/vgg."""

import pathlib

import tiny

from kdsr import recipes


def get_config(room):
    method, _, room = room.rpartition('@')
    config = tiny.CONFIGS[method or 'fakd'](pathlib.Path(room))
    config.steps, config.log_every, config.eval_every, config.save_every = 24, 2, 8, 4
    config.optimizer = recipes.adam(1e-3, clip=1.0)
    config.ema_decay = 0.9
    return config
