"""Runs of a study, one or several at a time, each step in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from asteroid_stab.locks import lock_if_possible, unlock
from asteroid_stab.paths import shown
from asteroid_stab.report.wording import count, duration
from asteroid_stab.run.layout import StudyLayout
from asteroid_stab.run.study_plan import StudyRun
from asteroid_stab.run.study_process import StudyProcess
from asteroid_stab.run.study_steps import STEPS, Steps
from asteroid_stab.signals import GRACE_S

_POLL_S = 0.1
_STOP_S = GRACE_S - 4  # for which ended processes are waited for, before this one must end too
_LAST_BYTES = 4096


class Failure(NamedTuple):
    """A run that has not come to its end, and why."""

    run: StudyRun
    reason: str


class StudyRunner:
    """Trains and evaluates the runs of a study.

    A process ends when this one does, however that ends: it holds the other end of a pipe that :mod:`the program
    <asteroid_stab.cli.study_step>` reads. Its log is locked as long as it lives, so that a step of a study that was
    killed is never met by the same step of the next one.

    Args:
        runs: the runs, in the order in which they should start.
        study: the study.
        program: the words before those of a step.
        n_jobs: how many run at a time.
        report: takes each line of progress.

    Attributes:
        steps: the steps of all runs.
        waiting: the steps of the runs that have something left to do and have not started.
        failures: the runs that failed, or wait for one that failed.
    """

    def __init__(
        self,
        runs: Sequence[StudyRun],
        study: StudyLayout,
        program: Sequence[str],
        n_jobs: int,
        report: Callable[[str], None],
    ):
        self.study, self.program, self.n_jobs, self.report = study, list(program), n_jobs, report
        self.steps = [Steps(run, study) for run in runs]
        self.failures: list[Failure] = []
        self.waiting = [steps for steps in self.steps if steps.next() is not None]
        self._done = [steps for steps in self.steps if steps not in self.waiting]
        self._untrained = {steps.run.key for steps in self.waiting if not steps.is_done(STEPS[0])}
        self._running: list[StudyProcess] = []
        self._held_up: set[tuple[str, int]] = set()

    def run(self) -> None:
        """Runs all that is left to do; a run that fails does not stop the others."""
        at_once = f", {self.n_jobs} at a time" if self.n_jobs > 1 else ""
        before = f", {len(self._done)} of them done before" if self._done else ""
        self.report(f"{count(len(self.steps), 'run')}{at_once}{before}")
        try:
            while self.waiting or self._running:
                self._start_some()
                time.sleep(_POLL_S)
                for running in [*self._running]:
                    if (status := running.poll()) is not None:
                        self._running.remove(running)
                        running.close()
                        self._ended(running, status)
        finally:
            self._stop()

    def _start_some(self) -> None:
        """Starts runs while there is room, each after the trainings that it starts from."""
        lost = {failure.run.key: failure.run.name for failure in self.failures if failure.run.key in self._untrained}
        for steps in [*self.waiting]:
            if parent := next((lost[key] for key in steps.run.parents if key in lost), None):
                self.waiting.remove(steps)
                self._fail(steps.run, f"not started, as {parent} has failed")
                return
            if len(self._running) < self.n_jobs and not self._untrained.intersection(steps.run.parents):
                step = steps.next()
                assert step is not None
                if self._start(steps, step):
                    self.waiting.remove(steps)

    def _start(self, steps: Steps, step: str) -> bool:
        """Starts a step; False where the process of a study that was killed is still in it."""
        log = self.study.log(*steps.run.key)
        log.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(log, os.O_CREAT | os.O_WRONLY, 0o666))
        try:
            descriptor = lock_if_possible(log)
        except BlockingIOError:
            if steps.run.key not in self._held_up:
                self._held_up.add(steps.run.key)
                self.report(f"{steps.run.name}: waits for the end of a process that an earlier study has left")
            return False
        try:
            os.lseek(descriptor, 0, os.SEEK_END)
            steps.begin(step)
            running = StudyProcess(steps, step, log)
            self._running.append(running)
            running.start([*self.program, *steps.words(step)], descriptor)
        finally:
            unlock(descriptor)
        if step == STEPS[0]:
            self.report(f"{steps.run.name}: {step}, into {log}")
        return True

    def _ended(self, running: StudyProcess, status: int) -> None:
        """Takes the result of a step, and starts the next one of the run."""
        steps, step = running.steps, running.step
        steps.end(step, status == 0, time.monotonic() - running.started, running.cpu_s)
        after = steps.next()
        if status != 0 or after == step:
            self._fail(steps.run, self._reason(steps.run, step, status))
            return
        self._untrained.discard(steps.run.key)
        if after is None:
            self._done.append(steps)
            took = f"in {duration(steps.seconds)} ({duration(steps.cpu_seconds)} of CPU time)"
            done = f"[{len(self._done)}/{len(self.steps)}] {steps.run.name} is done, {took}"
            self.report(done + self._left())
        elif not self._start(steps, after):
            self.waiting.insert(0, steps)

    def _fail(self, run: StudyRun, reason: str) -> None:
        self.failures.append(Failure(run, reason))
        self.report(f"{run.name}: FAILED: {reason}")

    def _reason(self, run: StudyRun, step: str, status: int) -> str:
        """Why a step has failed, with the last line of its log."""
        log = self.study.log(*run.key)
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - _LAST_BYTES))
            lines = re.split(r"[\r\n]", file.read().decode(errors="replace"))
        last = next((shown(line.strip()) for line in reversed(lines) if line.strip()), "it printed nothing")
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"
        if status == 0:
            how = "left no result"
        return f"{step} {how} ({last}); its log is {log}"

    def _left(self) -> str:
        """How long the rest will take, as the runs that are done have taken; those of the same row, if there are."""
        n_left = len(self.waiting) + len(self._running)
        if not n_left:
            return ""
        now = time.monotonic()
        left = sum(map(self._expected, self.waiting))
        left += sum(max(0.0, self._expected(one.steps) - (now - one.started)) for one in self._running)
        return f"; {count(n_left, 'run')} left, about {duration(left / min(self.n_jobs, n_left))}"

    def _expected(self, steps: Steps) -> float:
        """Seconds that the rest of a run will take."""
        alike = [one for one in self._done if one.run.row.name == steps.run.row.name] or self._done
        return max(0.0, sum(one.seconds for one in alike) / len(alike) - steps.seconds)

    def _stop(self) -> None:
        """Ends what is running: each process leaves its run such that it can go on."""
        deadline = time.monotonic() + _STOP_S
        for running in self._running:
            running.ask_to_end()
        for running in self._running:
            running.wait(deadline - time.monotonic())
            if running.process is not None:
                ended_well = running.process.returncode == 0
                taken = time.monotonic() - running.started
                running.steps.end(running.step, ended_well, taken, running.cpu_s)
