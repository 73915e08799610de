"""Taps compared between a student and its teacher: which with which, and 1x1 convolutions between their widths."""

import re
from typing import NamedTuple

from kdsr import fields, models, nets


class Pairs(NamedTuple):
    """Taps of two networks that belong together. names, widths: (student's, teacher's) of each pair."""

    names: tuple = ()
    widths: tuple = ()

    def student(self, taps):
        """The student's features of all pairs, out of {tap: features}."""
        return [taps[name] for name, _ in self.names]

    def teacher(self, taps):
        """Likewise the teacher's."""
        return [taps[name] for _, name in self.names]

    def require_equal(self, who):
        """ValueError naming the first pair of unequal widths, which `who` compares channel by channel."""
        for (ours, theirs), (narrow, wide) in zip(self.names, self.widths, strict=True):
            if narrow != wide:
                raise ValueError(
                    f"{who} compares channel by channel, but student tap '{ours}' has {narrow} and teacher tap '{theirs}' "
                    f'has {wide}: set config.method.adapter=True, or use spatial, pooled_spatial, attention, instance, rbf or mmd'
                )

    def adapter(self, cfg, **fields):
        """The network that brings the student's features to the teacher's widths, to be trained; no run leaves it behind.

        **fields: of kdsr.models.adapter, such as layers=2.
        """
        inputs, widths = zip(*self.widths, strict=True)
        args = {'inputs': inputs, 'widths': widths, **fields}
        return nets.trained('adapter', args, cfg, 'config.method.adapter', exported=False)


def fakd(name, net):
    """The three taps of a network that FAKD's paper names, as its module's `fakd_taps(**fields)` says; ValueError without one."""
    own = getattr(models.module(name), 'fakd_taps', None)
    if not own:
        raise ValueError(f"config.method.taps is empty, and {name} has no fakd_taps(**fields) to tell: set 'student:teacher,...'")
    return own(**models.fields_of(net))


def quarters(name, net):
    """Four taps of a chain of n blocks: after ceil(n/4), twice and three times as many, and the last (of 23: 6, 12, 18, 'body').

    Another network says them by its module's `equal_taps(**fields)`; ValueError without one.
    """
    own, found = getattr(models.module(name), 'equal_taps', None), models.taps(net)
    if own:
        return own(**models.fields_of(net))
    blocks = sum(bool(re.fullmatch(r'block\d+', tap)) for tap in found)
    if not blocks:
        raise ValueError(f"config.method.taps is empty, and {name} has no blocks to count: set 'student:teacher,...'")
    step = -(-blocks // 4)
    return (*(f'block{min(k * step, blocks)}' for k in (1, 2, 3)), 'body' if 'body' in found else f'block{blocks}')


def paired(text, student, teacher, usual=fakd):
    """The Pairs of 'block1:block5,body', where 'body' is in both; '' is the taps of each that `usual` gives.

    Args:
      student, teacher: (model name, its linen module). usual: `fakd` or `quarters`.

    Raises ValueError naming a tap that a network does not have, or a network that does not say which taps '' stands for.
    """
    if text:
        names = tuple(tuple(p.strip() for p in (pair.split(':') * 2)[:2]) for pair in text.split(','))
    else:
        ours, theirs = (usual(*network) for network in (student, teacher))
        if len(ours) != len(theirs):
            raise ValueError(
                f'config.method.taps is empty, and {student[0]} has {len(ours)} taps ({", ".join(ours)}) to compare with '
                f"{len(theirs)} of {teacher[0]} ({', '.join(theirs)}): set 'student:teacher,...'"
            )
        names = tuple(zip(ours, theirs, strict=True))
    shapes = []
    for i, (who, (name, net)) in enumerate((('student', student), ('teacher', teacher))):
        shapes.append(models.taps(net))
        for tap in (pair[i] for pair in names):
            if tap not in shapes[i]:
                hint = fields.meant(tap, shapes[i])
                raise ValueError(f"config.method.taps: the {who} ({name}) has no tap '{tap}'{hint} (taps: {', '.join(shapes[i])})")
    return Pairs(names, tuple((shapes[0][s][-1], shapes[1][t][-1]) for s, t in names))
