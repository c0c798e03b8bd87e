"""One step of a study as a process: it ends when it is asked to, and when it was never known."""

import os
import subprocess
import sys
import time

import pytest
from studies import PROGRAM, runs_in
from trainings import lives

from asteroid_stab.locks import lock, unlock
from asteroid_stab.run.layout import StudyLayout
from asteroid_stab.run.study_process import StudyProcess
from asteroid_stab.run.study_steps import Steps


@pytest.fixture
def step(tmp_path):
    """A step that has not started, and its open log."""
    [run] = runs_in(tmp_path, "a baseline/toy", [1])
    study = StudyLayout(tmp_path / "s")
    log = study.log("a", 1)
    log.parent.mkdir(parents=True)
    log.touch()
    return StudyProcess(Steps(run, study), "train", log), log


def test_it_writes_to_its_log_and_ends_by_itself(step):
    process, log = step
    with open(log, "a") as output:
        process.start([sys.executable, "-S", "-c", "print('here')"], output.fileno())
    process.wait(10)
    assert (process.process.returncode, log.read_text()) == (0, "here\n")
    process.close()


def test_it_knows_how_long_processors_computed_for_it_and_not_how_long_it_waited(step):
    process, log = step
    code = "import time; time.sleep(0.3)\nwhile time.process_time() < 0.4: pass"
    with open(log, "a") as output:
        process.start([sys.executable, "-S", "-c", code], output.fileno())
    before = time.monotonic()
    process.wait(60)
    process.close()
    assert time.monotonic() - before > 0.6
    assert 0.39 <= process.cpu_s < 0.6  # counted in ticks of a hundredth
    assert (process.poll(), process.poll()) == (0, 0)
    assert 0.39 <= process.cpu_s < 0.6  # asked once more, it is the same


@pytest.mark.parametrize(("ignores", "status"), [(False, -15), (True, -9)])
def test_it_ends_when_it_is_asked_to_or_is_ended(step, ignores, status):
    process, log = step
    code = f"import signal, time; signal.signal(15, signal.SIG_{'IGN' if ignores else 'DFL'}); print(1); time.sleep(60)"
    with open(log, "a") as output:
        process.start([sys.executable, "-u", "-S", "-c", code], output.fileno())
    while not log.read_text():
        time.sleep(0.01)
    process.ask_to_end()
    process.wait(0.3)
    assert process.process.returncode == status


def test_a_process_whose_start_has_not_come_back_ends_too(step, monkeypatch):
    """As where a signal comes within the start: the pipe closes, and its log is waited for."""
    process, log = step
    started = []
    popen = subprocess.Popen

    def interrupted(*given, **more):
        started.append(popen(*given, **more))
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    monkeypatch.setenv("PAUSE", "60")
    descriptor = lock(log)
    with pytest.raises(KeyboardInterrupt):
        process.start([*PROGRAM, *process.steps.words("train")], descriptor)
    unlock(descriptor)
    assert process.process is None
    process.ask_to_end()
    process.wait(10)
    assert not lives(started[0].pid)
    assert started[0].wait() == -15


def test_it_ends_by_the_closed_pipe_where_no_signal_asks(step, monkeypatch):
    """As on Windows, where SIGTERM ends a process before it can save; one that does not follow is ended."""
    process, log = step
    monkeypatch.delattr(os, "killpg")
    code = "import sys; print(1, flush=True); sys.stdin.read(); print('saved')"
    with open(log, "a") as output:
        process.start([sys.executable, "-S", "-c", code], output.fileno())
    while not log.read_text():
        time.sleep(0.01)
    process.ask_to_end()
    process.wait(10)
    assert (process.process.returncode, log.read_text()) == (0, "1\nsaved\n")


def test_one_that_does_not_follow_is_ended_without_process_groups(step, monkeypatch):
    process, log = step
    monkeypatch.delattr(os, "killpg")
    with open(log, "a") as output:
        process.start([sys.executable, "-S", "-c", "import time; time.sleep(60)"], output.fileno())
    process.ask_to_end()
    process.wait(0.1)
    assert process.process.returncode == -9
