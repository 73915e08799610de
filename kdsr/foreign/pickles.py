"""Pickles read without Python's unpickler: this one knows containers, numbers and texts, and runs nothing at all."""

import pickletools
from typing import Any, NamedTuple

from kdsr.foreign import Unreadable

DEEPEST = 100  # containers within containers; checkpoints have about ten
MOST = 2_000_000  # operations, which take a few seconds; checkpoints have up to some 100,000
KEY = 64  # values in a tuple that is a key, tuples in it counted as often as they stand there; bits of a number

VALUES = {
    *('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT'),
    *('STRING', 'BINSTRING', 'SHORT_BINSTRING', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8'),
    *('BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'),
}
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
EMPTY = {'EMPTY_LIST': list, 'EMPTY_SET': list, 'EMPTY_TUPLE': tuple, 'EMPTY_DICT': dict}
TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
PUTS, GETS = ('PUT', 'BINPUT', 'LONG_BINPUT'), ('GET', 'BINGET', 'LONG_BINGET')
PASSIVE = ('PROTO', 'FRAME', 'STOP')


class Named(NamedTuple):
    """What a pickle refers to by a global name: `value` is ours, `dict` or a function that makes what stands for the result."""

    value: Any


class Opaque:
    """Stands for things that weights do not need; it keeps nothing."""


def load(file, find, persistent):
    """The value of one pickle in an open binary file, which is left at its end.

    Args:
      find: module, name -> what a `Named` holds; raises Unreadable for names that may not be there.
      persistent: what a persistent id, any value, stands for.

    Sets are lists, attributes that are set are forgotten. Unreadable for what this reader does not know, ValueError,
    TypeError and others for a damaged pickle.
    """
    machine = Machine(find, persistent)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if count > MOST:
            raise Unreadable(f'its description takes more than {MOST:,} steps: save the weights alone')
        machine.run(opcode.name, argument)
    return machine.stacks[0].pop()


class Machine:
    """The stack, its marks (one stack more for each) and the memo of a pickle."""

    def __init__(self, find, persistent):
        self.find, self.persistent = find, persistent
        self.stacks, self.memo = [[]], {}
        self.sizes = {}  # id of a container -> itself, the values in it written out, its depth

    def run(self, name, argument):
        """One operation."""
        stack = self.stacks[-1]
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in PUTS or name == 'MEMOIZE':
            self.memo[len(self.memo) if name == 'MEMOIZE' else argument] = stack[-1]
        elif name in GETS:
            stack.append(self.memo[argument])
        elif name == 'MARK':
            self.stacks.append([])
        elif name == 'DUP':
            stack.append(stack[-1])
        elif name == 'POP' and stack:
            stack.pop()
        elif name in ('POP', 'POP_MARK'):
            self.marked()
        elif name in TUPLES:
            cut = len(stack) - TUPLES[name]
            items = tuple(stack[cut:]) if cut >= 0 else None
            del stack[cut:]
            stack.append(self.sized(items, items))
        elif name in ('LIST', 'TUPLE', 'FROZENSET', 'DICT'):
            self.collected(name, self.marked())
        elif name in ('APPEND', 'APPENDS', 'ADDITEMS', 'SETITEM', 'SETITEMS'):
            self.added(name)
        elif name not in PASSIVE:
            self.built(name, argument)

    def marked(self):
        """The values above the last mark, which goes too."""
        if len(self.stacks) == 1:
            raise ValueError('a mark is missing')
        return self.stacks.pop()

    def collected(self, name, items):
        """Pushes one container of `items`."""
        if name == 'DICT':
            made = self.mapping(zip(items[::2], items[1::2], strict=True))
        else:
            made = items if name == 'LIST' else tuple(items)
        self.stacks[-1].append(self.sized(made, items))

    def added(self, name):
        """Adds values to the container below them."""
        items = self.marked() if name.endswith('S') else [self.stacks[-1].pop() for _ in range(1 + (name == 'SETITEM'))][::-1]
        target = self.stacks[-1][-1]
        if name.startswith('SETITEM'):
            pairs = self.mapping(zip(items[::2], items[1::2], strict=True))
            if isinstance(target, dict):
                target.update(pairs)
        elif isinstance(target, list):
            target.extend(items)
        self.sized(target, items)

    def built(self, name, argument):
        """Names, what is made by calling them, and their states."""
        stack = self.stacks[-1]
        if name in ('GLOBAL', 'STACK_GLOBAL'):
            place = argument.split(' ', 1) if name == 'GLOBAL' else [stack.pop(), stack.pop()][::-1]
            stack.append(Named(self.find(*map(str, place))))
        elif name in ('REDUCE', 'NEWOBJ', 'NEWOBJ_EX'):
            if name == 'NEWOBJ_EX':
                stack.pop()
            arguments, called = stack.pop(), stack.pop()
            if not isinstance(called, Named) or not isinstance(arguments, tuple):
                raise TypeError(f'a call of {type(called).__name__}')
            made = self.converted(arguments) if called.value is dict else called.value(*arguments)
            stack.append(self.sized(made, arguments))
        elif name == 'BUILD':
            stack.pop()
        elif name in ('BINPERSID', 'PERSID'):
            stack.append(self.persistent(stack.pop() if name == 'BINPERSID' else argument))
        else:
            raise Unreadable(f'its description uses {name}, which no weights need: save the weights alone')

    def converted(self, arguments):
        """The dict of OrderedDict(pairs), Counter(dict) or defaultdict(factory, dict)."""
        items = next((a for a in arguments if isinstance(a, (dict, list, tuple)) and not isinstance(a, Named)), ())
        return dict(items) if isinstance(items, dict) else self.mapping(items)

    def mapping(self, pairs):
        """A dict of pairs whose keys are quick to look up: those of tuples within tuples may take for ever."""
        found = {}
        for key, value in pairs:
            long = key.bit_length() > 64 if isinstance(key, int) else self.sizes.get(id(key), (None, 1, 1))[1] > KEY
            if long:
                raise Unreadable(f'a key in it is a number or a tuple of more than {KEY} values: save the weights alone')
            found[key] = value
        return found

    def sized(self, container, items):
        """`container`, after noting how much and how deep it holds with these `items` in it. Unreadable where it is too deep."""
        known = [self.sizes[id(i)] for i in items if id(i) in self.sizes]
        _, size, depth = self.sizes.get(id(container), (None, 1, 1))
        size += len(items) - len(known) + sum(s for _, s, _ in known)
        depth = max([depth, *(1 + d for *_, d in known)])
        if depth > DEEPEST:
            raise Unreadable(f'its description is nested more than {DEEPEST} deep: save the weights alone')
        if isinstance(container, (tuple, list, dict)):
            self.sizes[id(container)] = container, size, depth  # the container itself, so that its id stays its own
        return container
