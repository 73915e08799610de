"""What rows, legends and pictures call runs: the name, and what differs within its family in words a person would use."""

import json

LONGEST = 60  # characters

# fields in the order of their interest, what comes first is said first; then all others by name
ORDER = tuple('teacher student.name student.args scale method data.path data steps batch_size patch optimizer'.split())
WORDS = {  # how a field is said
    'method.name': '{}',
    'student.name': '{}',
    'teacher': 'from {}',
    'scale': 'x{}',
    'steps': '{} steps',
    'batch_size': 'batch {}',
    'data.path': 'on {}',
    'data.source': '{} images',
    'dtype': '{}',
    'optimizer.learning_rate': 'rate {}',
    'optimizer.name': '{}',
}
NONE = {'teacher': 'no teacher', 'student_init': 'from random weights', 'method.transforms': 'no transforms'}


def shortened(text, longest=LONGEST):
    """`text` with its end, which tells most of a path, where it is too long: '…/second/export/student'."""
    return text if len(text) <= longest else '…' + text[1 - longest :]


def said(key, value, last):
    """One field in words; `last`: last parts of names that stand for several fields of a family, which are then said whole."""
    if value in ('', None, [], {}):
        return NONE.get(key, f'no {key.rpartition(".")[2]}')
    text = f'{value:g}' if isinstance(value, float) else str(value)
    if '/' in text:
        text = text.rstrip('/').rpartition('/')[2] if not text.endswith('/student') else '/'.join(text.split('/')[-3:])
    if key in WORDS:
        return WORDS[key].format(text)
    name = key.rpartition('.')[2]
    name = key if last.count(name) > 1 else name
    if isinstance(value, bool):
        return name if value else f'no {name}'
    return f'{name} {text}'


def differing(fields):
    """The keys by which dicts differ, in the order of ORDER."""
    keys = sorted({k for f in fields for k in f})
    keys = [k for k in keys if len({json.dumps(f[k]) if k in f else '' for f in fields}) > 1]
    place = lambda key: next((i for i, start in enumerate(ORDER) if key == start or key.startswith(start + '.')), len(ORDER))
    return sorted(keys, key=lambda key: (place(key), key))


def of(names, fields):
    """(label, whole, rest) of each run, by its name and its fields {'data.path': 'x'}.

    A label is the name, the method where one name stands for several, and after a colon what differs among the runs of that name
    and method, at most LONGEST characters; no two are equal. whole: all fields by which the run differs from the others of its
    method, 'method.alpha=0.5 steps=3'; rest: those that the label leaves out.
    """
    method = [f.get('method.name', '') for f in fields]
    found = []
    for i, name in enumerate(names):
        like = [j for j in range(len(names)) if (names[j], method[j]) == (name, method[i])]
        several = len({method[j] for j in range(len(names)) if names[j] == name}) > 1
        own = [k for k in differing([fields[j] for j in like]) if k in fields[i]]
        last = [k.rpartition('.')[2] for k in own]
        words = [method[i]] * several + [said(k, fields[i][k], last) for k in own]
        family = [k for k in differing([f for f, m in zip(fields, method, strict=True) if m == method[i]]) if k in fields[i]]
        label, told = fitted(name, words)
        shown = set(own[: max(told - several, 0)])
        text = lambda keys, f=fields[i]: ' '.join(f'{k}={_show(f[k])}' for k in keys)
        found.append((label, text(family), text([k for k in family if k not in shown])))
    return unique(found)


def fitted(name, words):
    """(label, how many words are in it): 'name: word, word', cut to LONGEST; ', …' stands for what does not fit."""
    for count in range(len(words), 0, -1):
        label = f'{name}: {", ".join(words[:count])}' + ', …' * (count < len(words))
        if len(label) <= LONGEST:
            return label, count
    return shortened(name), 0


def displayed(names):
    """`names` of at most LONGEST characters, no two of them equal."""
    return [label for (label,) in unique([(shortened(name),) for name in names])]


def unique(found):
    """The tuples `found`, (label, ...), with a number after labels that stand for several."""
    labels, seen, numbered = [label for label, *_ in found], {}, []
    for label, *others in found:
        seen[label] = seen.get(label, 0) + 1
        tail = f' #{seen[label]}' if labels.count(label) > 1 else ''
        numbered.append((shortened(label, LONGEST - len(tail)) + tail, *others))
    return numbered


def _show(value):
    return f'{value:g}' if isinstance(value, float) else str(value) or "''"
