"""One writer per run directory: an advisory lock that ends with its process, however that ends."""

import contextlib
import errno
import json
import os
import pathlib
import socket

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# What filesystems answer that have no locks.
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def held(folder):
    """Holds the lock of `folder`, which is created. Raises BlockingIOError naming the process that holds it already.

    Where the filesystem has no locks, the existence of a file that names host and process is the lock. One left behind by a dead
    process of this host is taken over; one of another host is not: from here nobody sees whether that process still runs.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('a+') as file:
        if locked(file, folder):
            file.truncate(0)
            file.write(owner())
            file.flush()
            yield
        else:
            with existing(folder / 'lock.owner'):
                yield


def locked(file, folder):
    """Locks an open file; False where the filesystem has no locks, BlockingIOError where another process has it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        if e.errno in UNSUPPORTED:
            return False
        if isinstance(e, BlockingIOError):
            raise in_use(folder, read(file.name)) from e
        raise
    return True


@contextlib.contextmanager
def existing(path):
    """A file that exists for as long as this process holds it."""
    found = read(path) if path.exists() else None
    if found and found.get('host') == socket.gethostname() and not alive(found.get('pid')):
        path.unlink(missing_ok=True)
    try:
        with path.open('x') as file:
            file.write(owner())
    except FileExistsError as e:
        raise in_use(path.parent, read(path), f'; if that process is gone, delete {path}') from e
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def owner():
    """This process, as the lock file names it."""
    return json.dumps({'host': socket.gethostname(), 'pid': os.getpid()})


def read(path):
    """{'host', 'pid'} of a lock file, {} where it names none."""
    try:
        found = json.loads(pathlib.Path(path).read_text())
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def alive(pid):
    """Whether a process of this host may be running."""
    if os.name != 'posix' or not isinstance(pid, int):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def in_use(folder, found, hint=''):
    """The error that names who has the lock."""
    who = f'process {found["pid"]} on {found["host"]}' if found.keys() >= {'pid', 'host'} else 'another process'
    return BlockingIOError(f'{folder} is in use by {who}: wait for it, stop it, or choose another --workdir{hint}')
