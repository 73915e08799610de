"""The arms that benchmarks/study.py trains and benchmarks/transforms.py times: overrides of `experiments/fakd.py`."""

# Weights with which each transform's gradient in the student is as long as that of 10*spatial, as
# `benchmarks/transforms.py --balance` measured it on a student that had trained alone.
WEIGHTS = {
    'spatial': 10.0,
    'channel': 9.0,
    'instance': 9.0,
    'fsp': 0.06,
    'attention': 120.0,
    'fitnet': 0.5,
    'pooled_spatial': 12.0,
    'rbf': 3200.0,
    'mmd': 0.44,
}


def overrides(transform):
    """Values of config.method for one transform alone."""
    values = {'w_affinity': WEIGHTS[transform], 'transforms': transform}
    if transform in ('channel', 'fsp', 'fitnet'):
        values['adapter'] = True  # these compare channels, and the student is narrower
    if transform == 'pooled_spatial':
        values['pool'] = 2
    return values


# name -> (words of the config's argument, values of config.method)
ARMS = {
    'alone': ('baseline', {}),
    'output': ('output', {}),
    'fakd10': ('', {}),
    'fakd1': ('', {'w_affinity': 1.0}),
    **{name: ('', overrides(name)) for name in WEIGHTS},
}
