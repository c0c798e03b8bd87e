"""Signals that end a program: within half a minute, with a word, and with the usual exit status."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from asteroid_stab.atomic import remove_own

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""The signals; clusters send SIGUSR1 or SIGTERM before a job's time is over."""
GRACE_S = 20.0
"""Seconds that a program has to end by itself; then it is ended."""

_PARENT_S = 2.0
_POLL_S = 0.2
_active: list[EndingSignals] = []


class Terminated(BaseException):
    """A signal other than Ctrl-C asked the program to end. No ``except Exception`` holds it up, as with Ctrl-C."""


class EndingSignals:
    """Makes a program end on SIGINT (Ctrl-C), SIGTERM and SIGUSR1, wherever it is, as a context around all of it.

    The main thread gets ``KeyboardInterrupt`` or :class:`Terminated`, so that files and processes are left in order. It
    may be held up in code that is not Python (waiting for another rank), or a library may swallow the exception: after
    :data:`GRACE_S` seconds a thread ends the process. A second Ctrl-C ends it at once. Unfinished files are removed.
    Processes forked from this one leave Ctrl-C and SIGUSR1 to it and end on SIGTERM as usual. Does nothing outside the
    main thread.

    Args:
        word: returns the line that is printed where the process has to be ended.

    Attributes:
        number: the signal; None as long as there was none.
        hint: returns what the program that runs has to say on how to go on; empty where there is nothing.
        hurry: whether the process should end without the interpreter's own end, see :func:`end_process`.
        noticed: called with the signal from a thread, at once, also while the main thread is held up.
    """

    def __init__(self, word: Callable[[], str] = str):
        self.word = word
        self.number: int | None = None
        self.hint: Callable[[], str] = str
        self.hurry = False
        self.noticed: list[Callable[[int], None]] = []
        self._before: dict[signal.Signals, Any] = {}
        self._left = self._raised = self._ignored = False

    @property
    def status(self) -> int:
        """The exit status of a program that a signal has ended: 130 for SIGINT, 143 for SIGTERM, 138 for SIGUSR1."""
        return 128 + (self.number or 0)

    def __enter__(self) -> EndingSignals:
        if threading.current_thread() is threading.main_thread():
            self._read, self._write = socket.socketpair()
            self._write.setblocking(False)
            # The system writes the number of each signal here at once, also while the main thread is held up.
            self._wakeup = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, self._raise) for number in ENDING}
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._raise_again
            threading.Thread(target=self._listen, name="ending-signals", daemon=True).start()
            _active.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        """Suppresses what the signal has led to: that depends on where it came (an import, Lightning, a worker)."""
        if self._before:
            _active.remove(self)
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup)
            if self.number is None:  # what a signal has cut off is cleared away until the very end of the program
                sys.unraisablehook = self._unraisable
            self._left = True
            with suppress(OSError):  # the thread has followed a signal and is gone
                self._write.send(b"\0")  # wakes the thread; a forked process may hold the other end open
            self._write.close()
        return self.number is not None

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number  # the thread has usually set it
        if _is_at_an_edge(frame):  # nothing around it catches the exception: the thread sends the signal again
            self._ignored = True
            return
        first, self._raised = not self._raised, True
        if not first:
            if number == signal.SIGINT:
                self.end()
            return  # a launcher repeats SIGTERM; the first one is being followed already
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    def _raise_again(self, unraisable: Any) -> None:
        """Has the exception raised again that came where Python can only ignore it, such as a hook of a fork.

        An object that the signal cut off while it was made may fail in its ``__del__``: nothing is printed of that.
        """
        if issubclass(unraisable.exc_type, (KeyboardInterrupt, Terminated)):
            self._raised, self._ignored = False, True
        elif self.number is None or getattr(unraisable.object, "__name__", "") != "__del__":
            self._unraisable(unraisable)

    def _listen(self) -> None:
        with self._read:
            while not self._left:
                ending = [number for number in self._read.recv(64) if number in ENDING]
                if ending:
                    self._follow(ending[0])
                    return

    def _follow(self, number: int) -> None:
        self.number = self.number or number
        for call in list(self.noticed):
            with suppress(Exception):
                call(number)
        deadline = time.monotonic() + GRACE_S
        while not self._left and (left := deadline - time.monotonic()) > 0:
            if self._ignored:
                self._ignored = False
                time.sleep(_POLL_S)  # so that the main thread has left the place where it is ignored
                if not self._left:
                    send_own(number)
            self._read.settimeout(min(left, _POLL_S))
            with suppress(TimeoutError):
                self._read.recv(64)  # further signals, or that the program has left the context
        if not self._left:
            self.end()

    def forked(self) -> None:
        """Closes a forked process' ends of the parent's sockets."""
        self._read.close()
        self._write.close()

    def end(self) -> None:
        """Ends the process now."""
        with suppress(Exception):
            print(self.word(), file=sys.stderr, flush=True)
        end_process(self.status)


def _is_at_an_edge(frame: FrameType | None) -> bool:
    """Whether a signal came while the context was entered or left."""
    while frame is not None and frame.f_code not in (EndingSignals.__enter__.__code__, EndingSignals.__exit__.__code__):
        frame = frame.f_back
    return frame is not None


def end_process(status: int) -> None:
    """Ends the process now, from any thread; its unfinished files are removed.

    A training of several processes ends like this too: with torch 2.11 the end of a gloo group may wait for ever for a
    thread of its own, which waits for the interpreter.
    """
    remove_own()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(status)


def send_own(number: int) -> None:
    """Sends this process a signal, from any thread.

    On Windows ``os.kill`` would end the process without a word, on any signal.
    """
    if hasattr(signal, "pthread_kill"):
        os.kill(os.getpid(), number)
    else:
        signal.raise_signal(number)


def present() -> EndingSignals | None:
    """Returns the signals that the running program follows; None where it follows none of its own."""
    return _active[-1] if _active else None


def received() -> int | None:
    """Returns the signal that has asked the program to end; None as long as there was none."""
    here = present()
    return None if here is None else here.number


def _in_fork() -> None:
    """Lets a forked process (a loader's worker) end as usual: its parent prints the word and gives the status."""
    if _active:
        for here in _active:
            here.forked()
        _active.clear()
        signal.set_wakeup_fd(-1)
        for number in ENDING:  # a terminal and a cluster send them to all processes of a program
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
        _leave_lost_parents_out()


def _leave_lost_parents_out() -> None:
    """Has a forked process print no traceback where only its parent's end cut a connection.

    A thread of :mod:`multiprocessing` gives a worker's tensors to the parent, and prints any error. The user has had
    the parent's own message, or has killed it.
    """
    parent, before = os.getppid(), sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
        deadline = time.monotonic() + _PARENT_S
        while isinstance(error, (ConnectionError, EOFError)) and time.monotonic() < deadline:
            if os.getppid() != parent:
                return
            time.sleep(_POLL_S / 10)  # the system closes a process' connections before it is gone
        before(kind, error, at)

    sys.excepthook = hook


def _in_exit() -> None:
    """Lets Ctrl-C end the interpreter's own end without a traceback."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


atexit.register(_in_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_fork)
