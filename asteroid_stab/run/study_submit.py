"""Runs of a study as jobs of a cluster that SLURM manages, through submitit."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asteroid_stab.atomic import write_text
from asteroid_stab.errors import StabError, cause, nearest
from asteroid_stab.paths import shown
from asteroid_stab.report.wording import count, duration
from asteroid_stab.run.layout import StudyLayout
from asteroid_stab.run.study_plan import StudyRun
from asteroid_stab.run.study_runner import Failure, StudyRunner
from asteroid_stab.run.study_steps import Steps

_POLL_S = 5.0
_ASK_EVERY_S = 60.0  # SLURM itself; that a job has ended well or with an error is seen in the folder at once
_MOST_TIMEOUTS = 1000  # a job goes on in the next one as often as its time is over
_OURS = (
    *("dependency", "additional_parameters", "array_parallelism", "folder", "job_name", "nodes", "ntasks_per_node"),
    *("setup", "teardown", "srun_args", "use_srun", "stderr_to_stdout"),
)
_PROGRAMS = ("sbatch", "srun", "sacct", "scontrol")
_OF_TASKS = ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_NPROCS")


@dataclass
class StudyJob:
    """Steps of one run that are left, as a job runs them: submitit keeps this in a file and calls it on a node.

    Args:
        run: the run.
        study: the study.
        program: the words before those of a step.
    """

    run: StudyRun
    study: StudyLayout
    program: list[str]

    def __call__(self) -> None:
        """Runs the steps.

        Raises:
            StabError: one has failed.
        """
        for name in _OF_TASKS:  # by which Lightning would take the job's one task for all processes of a training
            os.environ.pop(name, None)
        runner = StudyRunner([self.run], self.study, self.program, 1, lambda line: print(shown(line), flush=True))
        runner.run()
        if runner.failures:
            raise StabError(runner.failures[0].reason)

    def checkpoint(self) -> Any:
        """Returns what the next job does, where the time of this one is over or its node is needed: the rest."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class SubmittedStudy:
    """Submits the runs of a study that have something left to do, and waits for them.

    A run that starts from others is held back by SLURM until these have ended well. The numbers of the jobs are kept in
    the study's folder, so that a later command waits for the same jobs and submits none twice.

    Args:
        runs: the runs.
        study: the study, in a folder that all nodes see.
        program: the words before those of a step.
        options: ``NAME=VALUE`` for ``sbatch``, such as ``partition=gpu``, ``time=120`` (minutes), ``gpus_per_node=1``.
        report: takes each line of progress.

    Attributes:
        waiting: the steps of the runs that have something left to do.
        failures: the runs that failed, or wait for one that failed.

    Raises:
        StabError: submitit or SLURM is not there, an option is unknown, or the file with the numbers is damaged.
    """

    def __init__(
        self,
        runs: Sequence[StudyRun],
        study: StudyLayout,
        program: Sequence[str],
        options: Sequence[str],
        report: Callable[[str], None],
    ):
        self.study, self.program, self.report = study, list(program), report
        self.n_runs = len(runs)
        self.waiting = [steps for steps in (Steps(run, study) for run in runs) if steps.next() is not None]
        self.failures: list[Failure] = []
        self._executor = _executor(study.jobs, parameters(options))
        self._file = study.jobs / "submitted.json"
        self._numbers = self._read()
        self._unknown: set[str] = set()
        self._started = self._asked = time.monotonic()

    def run(self) -> None:
        """Submits what is left to do and not submitted yet, and waits for its end."""
        new = self._submit()
        before = self.n_runs - len(self.waiting)
        words = [f"{count(self.n_runs, 'run')}", *([f"{before} of them done before"] if before else [])]
        self.report(f"{', '.join(words)}; {count(new, 'job')} submitted, {len(self.waiting) - new} in the queue before")
        while self.waiting:
            asks = time.monotonic() - self._asked > _ASK_EVERY_S
            self._asked = time.monotonic() if asks else self._asked
            for steps in [*self.waiting]:
                if (reason := self._ended(steps, asks)) is None:
                    if asks:
                        self._name_unknown(steps)
                    continue
                self.waiting.remove(steps)
                if reason:
                    self.failures.append(Failure(steps.run, reason))
                    self.report(f"{steps.run.name}: FAILED: {reason}")
                else:
                    done = self.n_runs - len(self.waiting) - len(self.failures)
                    took = f"after {duration(time.monotonic() - self._started)}"
                    self.report(f"[{done}/{self.n_runs}] {steps.run.name} is done, {took}")
            if self.waiting:
                time.sleep(_POLL_S)

    def _submit(self) -> int:
        """Submits the runs in an order in which each comes after the ones that it starts from; returns how many."""
        new, left = 0, [steps for steps in self.waiting if self._job(steps) is None or self._job(steps).done(True)]
        keys = {steps.run.key for steps in left}
        while left:
            steps = next(one for one in left if not keys.intersection(one.run.parents))
            parents = [name for key in steps.run.parents if (name := self._alive(key))]
            extra = {"dependency": f"afterok:{':'.join(parents)}", "kill_on_invalid_dep": "yes"} if parents else {}
            self._executor.update_parameters(
                job_name=steps.run.name,
                additional_parameters=extra,  # of this job alone
            )
            try:
                job = self._executor.submit(StudyJob(steps.run, self.study, self.program))
            except Exception as error:  # sbatch's refusal, as submitit hands it on
                raise StabError(f"{steps.run.name} could not be submitted: {cause(error)}") from error
            self._numbers[steps.run.name] = job.job_id
            write_text(self._file, json.dumps(self._numbers))
            left.remove(steps)
            keys.discard(steps.run.key)
            new += 1
        return new

    def _alive(self, key: tuple[str, int]) -> str | None:
        """The number of the job of a run that has something left to do."""
        steps = next((one for one in self.waiting if one.run.key == key), None)
        return None if steps is None else self._numbers.get(steps.run.name)

    def _job(self, steps: Steps) -> Any:
        from submitit import SlurmJob

        number = self._numbers.get(steps.run.name)
        return None if number is None else SlurmJob(self.study.jobs, number)

    def _ended(self, steps: Steps, asks: bool) -> str | None:
        """Returns why the job of a run has failed, empty where it has not; None while it lives."""
        job = self._job(steps)
        if not job.done(force_check=asks):
            return None
        if Steps(steps.run, self.study).next() is None:
            return ""
        lost = [failure.run.name for failure in self.failures if failure.run.key in steps.run.parents]
        if lost:
            return f"not started, as {lost[0]} has failed"
        return f"job {job.job_id} {_why(job)}; its output is {job.paths.stderr} and {job.paths.stdout}"

    def _name_unknown(self, steps: Steps) -> None:
        """Reports, once, a job that SLURM does not know: such a job would be waited for without end."""
        number = self._numbers[steps.run.name]
        if number not in self._unknown and self._job(steps).state == "UNKNOWN":
            self._unknown.add(number)
            self.report(
                f"{steps.run.name}: sacct does not know job {number}; if squeue does not either, end this command and "
                f"remove {self._file}: then the run is submitted again"
            )

    def _read(self) -> dict[str, str]:
        """Returns the numbers of the jobs that were submitted before, by the name of their run."""
        fault = "it must hold the numbers of jobs by the names of their runs"
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
            if isinstance(known, dict) and all(isinstance(n, str) and n.isdecimal() for n in known.values()):
                return known
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            fault = cause(error)
        raise StabError(f"{self._file} cannot be used ({fault}): remove it once no job of the study is in the queue")


def _why(job: Any) -> str:
    """Why a job that is over has failed: the error of :class:`StudyJob`, or what SLURM has to say."""
    if not job.paths.result_pickle.exists():
        return f"is {job.state}"
    said = str(job.exception())  # submitit's words around a traceback
    own = [line for line in said.splitlines() if line.startswith(f"{StabError.__module__}.{StabError.__name__}: ")]
    return f"has failed: {own[-1].partition(': ')[2] if own else said}"


def parameters(options: Sequence[str]) -> dict[str, Any]:
    """Returns the options of jobs by name; numbers are numbers.

    Raises:
        StabError: one is no ``NAME=VALUE``, is unknown, or is the study's own business.
    """
    slurm = _submitit().SlurmExecutor
    known = sorted(slurm._valid_parameters() - {*_OURS})
    found: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not value:
            raise StabError(f"--slurm must be NAME=VALUE, such as partition=gpu, got {option!r}")
        if name in _OURS:
            raise StabError(f"--slurm cannot set {name}: a study submits each run as one task, and says how itself")
        if name == "time" and not value.isdecimal():
            raise StabError(f"--slurm time must be a number of minutes, such as time=240, got {value!r}")
        if name not in known:
            raise StabError(f"--slurm has no {name!r}{nearest(name, known)}: it knows {', '.join(known)}")
        found[name] = int(value) if value.isdecimal() else value
    return found


def _executor(folder: Path, given: dict[str, Any]) -> Any:
    if absent := [name for name in _PROGRAMS if shutil.which(name) is None]:
        raise StabError(
            f"--submit slurm needs SLURM's programs {', '.join(_PROGRAMS)} on the PATH: this is no machine that "
            f"submits jobs, as it has no {', '.join(absent)}"
        )
    executor = _submitit().SlurmExecutor(folder, max_num_timeout=_MOST_TIMEOUTS)
    executor.update_parameters(**given)
    return executor


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise StabError("--submit needs submitit: pip install 'asteroid-stab[slurm]'") from error
    return submitit
