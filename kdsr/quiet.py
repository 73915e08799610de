"""Run as a process of its own, which passes the stderr of a distributed run on without the runtime's stack trace.

The runtime watches the other processes in threads of its own and knows no other way to tell of a lost one than LOG(FATAL).
"""

import os
import re
import select
import sys

LOST = (
    'error: another process of this run died or stopped answering; start all of them again with the same commands to go on from '
    'the last checkpoint'
)
# How the runtime's alarm begins; the process aborts a moment later, on a full machine seconds later.
ALARM = re.compile(rb'[EF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ (coordination_service|client\.h|distributed)')


def pass_on(incoming, write, patience=30.0):
    """Passes the lines of a descriptor to `write` until its end.

    From an alarm on they are held back. If the end comes within `patience` seconds, LOST takes their place, unless the process
    has said it itself; otherwise they are passed on late.
    """
    held, rest, said = b'', b'', False
    while True:
        if not select.select([incoming], [], [], patience if held else None)[0]:
            write(held)
            held = b''
            continue
        got = os.read(incoming, 1 << 16)
        if not got:
            break
        *lines, rest = (rest + got).split(b'\n')
        for line in lines:
            said = said or line == LOST.encode()
            if held or ALARM.match(line):
                held += line + b'\n'
            else:
                write(line + b'\n')
    if not held:
        write(rest)
    elif not said:
        write(LOST.encode() + b'\n')


if __name__ == '__main__':
    pass_on(0, lambda text: os.write(2, text) and None)
    sys.exit(0)
