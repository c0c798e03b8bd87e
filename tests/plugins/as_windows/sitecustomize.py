"""Makes a Python on Linux lack what Windows lacks, and refuse what Windows refuses, to the package.

Modules and names: the package's modules see ``os``, ``signal``, ``select`` and ``time`` without the names in the
environment's AS_WINDOWS (of mypy's stubs, see test_windows.py); ``fcntl`` and other modules are gone for everybody.
Behaviour: no open file below AS_WINDOWS_ROOT is moved or removed and no name there has a colon; a folder is not opened;
a descriptor that only reads is not written to the disk; ``os.kill`` ends at once; processes are spawned, not forked.
"""

import builtins
import errno
import fcntl
import getpass  # noqa: F401  these two take a system that has msvcrt for Windows
import json
import multiprocessing
import os
import select
import shutil
import signal
import subprocess  # noqa: F401
import sys
import time
import types

ROOT = os.environ["AS_WINDOWS_ROOT"]
GONE = ("fcntl", "grp", "pwd", "resource", "syslog", "termios", "tty", "pty", "posix", "readline")
LETTERS = set('<>:"|?*\\')
HANDLED = {signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGINT, signal.SIGSEGV, signal.SIGTERM}
flock, get_flags, exit_now = fcntl.flock, lambda fd: fcntl.fcntl(fd, 3), os._exit  # F_GETFL
LOCK_EX, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_NB


def without(module, names):
    """A copy of a module that lacks names."""
    copy = types.ModuleType(module.__name__)
    copy.__dict__.update({name: value for name, value in vars(module).items() if name not in names})
    return copy


absent = json.loads(os.environ["AS_WINDOWS"])
seen = {module.__name__: without(module, absent[module.__name__]) for module in (os, signal, select, time)}


def kill(pid, number):
    if pid == os.getpid():
        exit_now(number)
    os.kill(pid, 9)


def handle(number, handler):
    if number not in HANDLED:
        raise ValueError("invalid signal value")
    return signal.signal(number, handler)


def open_at(path, flags, *rest, **more):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
    return os.open(path, flags, *rest, **more)


def fsync(descriptor):
    if get_flags(descriptor) & 3 == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    os.fsync(descriptor)


seen["os"].kill, seen["os"].open, seen["os"].fsync, seen["signal"].signal = kill, open_at, fsync, handle


def refuse_open(path):
    """Raises where this process has a file open, or one in a folder."""
    path = os.path.realpath(os.fspath(path)) if not isinstance(path, int) else ""
    if not path.startswith(ROOT + os.sep):
        return
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if target == path or target.startswith(path + os.sep):
            raise PermissionError(errno.EACCES, "The process cannot access the file because it is in use", path)


def guarded(function, n_paths):
    def call(*args, **kwargs):
        for path in args[:n_paths]:
            refuse_open(path)
        return function(*args, **kwargs)

    return call


for module in (os, seen["os"]):
    for name, n_paths in {"replace": 2, "rename": 2, "unlink": 1, "remove": 1}.items():
        setattr(module, name, guarded(getattr(sys.modules["posix"], name), n_paths))
shutil._use_fd_functions = False


def audit(event, args):
    if event in ("open", "os.mkdir") and isinstance(args[0], (str, os.PathLike)):
        path = os.path.abspath(os.fspath(args[0]))
        if path.startswith(ROOT + os.sep) and LETTERS.intersection(path[len(ROOT) :]):
            raise OSError(errno.EINVAL, "Invalid argument", path)


sys.addaudithook(audit)


class Msvcrt(types.ModuleType):
    LK_NBLCK = 2

    @staticmethod
    def locking(descriptor, mode, n_bytes):
        assert (mode, n_bytes) == (2, 1)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) < 2**31
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None


plain_import = builtins.__import__


def imported(name, globals=None, locals=None, fromlist=(), level=0):
    module = plain_import(name, globals, locals, fromlist, level)
    own = globals is not None and str(globals.get("__spec__") and globals["__spec__"].name).startswith("asteroid_stab")
    return seen[name] if own and name in seen else module


builtins.__import__ = imported
multiprocessing.set_start_method("spawn")
for name in GONE:
    sys.modules[name] = None
sys.modules["msvcrt"] = Msvcrt("msvcrt")
