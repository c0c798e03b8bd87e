"""Signals that end a program: in Python code, where it is held up, where an exception is swallowed, and in forks."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from asteroid_stab import signals
from asteroid_stab.signals import EndingSignals, Terminated, present, received, send_own

HEAD = """
import os, signal, sys, time
from asteroid_stab import signals
from asteroid_stab.atomic import replacing
signals.GRACE_S = 0.5
"""
SWALLOWS = """
with signals.EndingSignals(lambda: "the word"), replacing(sys.argv[1]) as new:
    new.write_text("half")
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    except BaseException:
        time.sleep(60)
"""
HELD_UP = """
import hashlib, threading
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
with signals.EndingSignals(lambda: "the word"), replacing(sys.argv[1]) as new:
    new.write_text("half")
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**9)  # minutes without a word of Python
"""
TWICE = """
with signals.EndingSignals(lambda: "the word"), replacing(sys.argv[1]) as new:
    new.write_text("half")
    signals.GRACE_S = 60
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
"""

IGNORED = """
signals.GRACE_S = 60
number = getattr(signal, sys.argv[2])
os.register_at_fork(before=lambda: os.kill(os.getpid(), number))  # Python ignores what is raised in there
with signals.EndingSignals() as here, replacing(sys.argv[1]) as new:
    new.write_text("half")
    if os.fork() == 0:
        os._exit(0)
    time.sleep(40)
sys.exit(here.status)
"""

EDGES = """
import threading
place, number = sys.argv[1], getattr(signal, sys.argv[2])

class Active(list):
    def remove(self, one):
        os.kill(os.getpid(), number)
        time.sleep(0.05)  # so that the thread notices it within the context
        super().remove(one)

def then_signalled(thread, start=threading.Thread.start):
    start(thread)
    os.kill(os.getpid(), number)

if place == "entered":
    threading.Thread.start = then_signalled
else:
    signals._active = Active()
signals.GRACE_S = 60
with signals.EndingSignals() as here:
    print("began", flush=True)
    time.sleep(40 if place == "entered" else 0)
    print("done", flush=True)
time.sleep(0.3)  # in which the thread would send the signal again
sys.exit(here.status)
"""

HALF_MADE = """
class Loader:
    def __init__(self):
        if len(sys.argv) > 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
            self.workers = []

    def __del__(self):
        list(self.workers)

class Cycle:
    def __init__(self):
        self.itself = self
        self.loader = Loader()

with signals.EndingSignals() as here:
    globals()[sys.argv[1]]()
sys.exit(here.status if here.number else 0)
"""

LOST_PARENT = """
import multiprocessing
from multiprocessing import resource_sharer

def worker(there):
    shared = resource_sharer.DupFd(os.open(os.devnull, os.O_RDONLY))  # as a loader's worker shares its tensors
    there.send(shared._id)
    time.sleep(1)

if sys.argv[1] == "alive":
    signals._PARENT_S = 0.1

with signals.EndingSignals():
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=worker, args=[there])
    process.start()
    from socket import AF_UNIX, socket
    connection = socket(AF_UNIX)
    connection.connect(here.recv()[0])
    if sys.argv[1] == "alive":
        connection.close()  # cut, by a parent that lives on
        process.join()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def hook_of_errors(monkeypatch):
    """Brings back the hook that a program which a signal has ended keeps until its own end."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)


@pytest.mark.parametrize("parent", ["killed", "alive"])
def test_a_forked_process_prints_a_traceback_unless_its_parent_is_gone(parent):
    """A loader's worker gives its tensors to its parent; a parent that is killed meanwhile cuts the connection."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + LOST_PARENT, parent], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == {"killed": -signal.SIGKILL, "alive": 0}[parent]
    assert ("Traceback" in done.stderr) == (parent == "alive"), done.stderr


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_an_exception_that_python_ignores_is_raised_again(tmp_path, name, status):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", HEAD + IGNORED, str(tmp_path / "a.txt"), name],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (status, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["entered", "left"])
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_at_an_edge_of_the_context_ends_the_program_without_a_traceback(place, name, status):
    """It was raised outside the context, and the program ended with 1: a study that ended as its step began."""
    command = [sys.executable, "-c", HEAD + EDGES, place, name]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (found.returncode, found.stderr) == (status, "")
    assert found.stdout == {"entered": "began\n", "left": "began\ndone\n"}[place]


@pytest.mark.parametrize("name", ["Loader", "Cycle"])
def test_an_object_that_a_signal_leaves_half_made_is_given_up_without_a_word(name):
    """A loader's iterator fails in its ``__del__`` where its start was cut off, at once or when its cycle is found."""
    here = [sys.executable, "-c", HEAD + HALF_MADE, name]
    cut_off = subprocess.run([*here, "cut off"], capture_output=True, text=True, timeout=20, check=False)
    assert (cut_off.returncode, cut_off.stderr) == (128 + signal.SIGTERM, "")
    without_a_signal = subprocess.run(here, capture_output=True, text=True, timeout=20, check=False)
    assert without_a_signal.returncode == 0
    assert "AttributeError" in without_a_signal.stderr


@pytest.mark.parametrize(("code", "status"), [(SWALLOWS, 143), (HELD_UP, 143), (TWICE, 130)])
def test_a_program_that_does_not_end_is_ended(tmp_path, code, status):
    """With the word, the status, and without the file that it was writing."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code, str(tmp_path / "a.txt")],
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (status, "the word\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated), (signal.SIGUSR1, Terminated)],
)
def test_the_main_thread_gets_an_exception(hook_of_errors, number, error):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    caught, noticed = [], []
    with EndingSignals() as signals:
        assert present() is signals
        assert received() is None
        signals.noticed.append(noticed.append)
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except BaseException as got:
            caught.append(got)
            time.sleep(0.2)
            raise
    assert isinstance(caught[0], error)
    assert (signals.number, signals.status, noticed) == (number, 128 + number, [number])
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert present() is None


def test_an_exception_without_a_signal_passes():
    with pytest.raises(RuntimeError, match="own"), EndingSignals():
        raise RuntimeError("own")


def test_a_forked_process_ends_as_usual():
    with EndingSignals():
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        time.sleep(0.2)
        os.kill(pid, signal.SIGINT)  # is left to the parent
        os.kill(pid, signal.SIGUSR1)
        time.sleep(0.2)
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_a_thread_leaves_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def run():
        with EndingSignals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_signal_of_ones_own_is_followed_without_posix(hook_of_errors, monkeypatch):
    """On Windows ``os.kill`` ends the process at once."""
    monkeypatch.delattr(signals.signal, "pthread_kill")
    monkeypatch.setattr(signals.os, "kill", None)
    ended = False
    with EndingSignals() as ending:
        try:
            send_own(signal.SIGTERM)
            time.sleep(5)
        except Terminated:
            ended = True
    assert (ended, ending.number) == (True, signal.SIGTERM)
