"""A study whose runs are jobs of a cluster: SLURM's programs and the trainings are stand-ins, submitit is not."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import fake_slurm
import pytest
import submitit
from pytorch_lightning.plugins.environments import SLURMEnvironment
from studies import PROGRAM, calls, results, runner_in, runs_in

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import StudyLayout
from asteroid_stab.run.study_submit import StudyJob, SubmittedStudy, parameters

ALL = ["other/1", "other/2", "pit/1", "pit/2", "tuned/1", "tuned/2"]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A queue of its own; gives its folder."""
    environment = fake_slurm.install(tmp_path / "slurm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("asteroid_stab.run.study_submit._POLL_S", 0.05)
    monkeypatch.setattr("asteroid_stab.run.study_submit._ASK_EVERY_S", 0.5)
    submitit.SlurmJob.watcher.clear()  # it knows jobs by their numbers, which begin with 1 in each queue
    return Path(environment["FAKE_SLURM"])


def study_in(folder, options=(), report=None, **given):
    lines = [] if report is None else report
    return SubmittedStudy(runs_in(folder, **given), StudyLayout(folder / "s"), PROGRAM, options, lines.append)


def options_of(slurm):
    jobs = sorted(slurm.iterdir(), key=lambda folder: int(folder.name))
    return {found["job-name"]: found for found in (json.loads((job / "options.json").read_text()) for job in jobs)}


@pytest.mark.slow
def test_jobs_give_what_this_machine_gives_each_after_what_it_starts_from(slurm, tmp_path):
    whole = runner_in(tmp_path / "whole")
    whole.run()
    lines = []
    study = study_in(tmp_path, ["partition=gpu", "time=90", "gpus_per_node=2"], lines)
    study.run()
    assert study.failures == []
    assert results(tmp_path) == results(tmp_path / "whole")
    assert sorted(calls(tmp_path)) == sorted(calls(tmp_path / "whole"))
    assert lines[0] == "6 runs; 6 jobs submitted, 0 in the queue before"
    assert lines[-1].startswith("[6/6] ")
    found = options_of(slurm)
    assert sorted(found) == ALL
    names = [*found]
    for seed in (1, 2):
        parent = str(1 + names.index(f"pit/{seed}"))
        assert found[f"tuned/{seed}"]["dependency"] == f"afterok:{parent}"
        assert found[f"tuned/{seed}"]["kill-on-invalid-dep"] == "yes"
        assert "dependency" not in found[f"other/{seed}"], "an option of one job is not another's"
    assert {(one["partition"], one["time"], one["gpus-per-node"]) for one in found.values()} == {("gpu", "90", "2")}


@pytest.mark.slow
def test_what_is_done_is_not_submitted_and_nothing_twice(slurm, tmp_path, monkeypatch):
    """The command was ended while its jobs ran."""
    monkeypatch.setenv("PAUSE", "0.3")
    study = study_in(tmp_path, seeds=(1,))
    assert study._submit() == 3
    lines = []
    again = study_in(tmp_path, report=lines, seeds=(1,))
    again.run()
    assert lines[0] == "3 runs; 0 jobs submitted, 3 in the queue before"
    assert len(options_of(slurm)) == 3
    lines.clear()
    last = study_in(tmp_path, report=lines, seeds=(1,))
    last.run()
    assert lines == ["3 runs, 3 of them done before; 0 jobs submitted, 0 in the queue before"]
    assert len(calls(tmp_path)) == 6


@pytest.mark.slow
def test_a_job_that_fails_stops_what_starts_from_it_alone(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIL", "pit/1:train")
    study = study_in(tmp_path)
    study.run()
    reasons = {failure.run.name: failure.reason for failure in study.failures}
    assert sorted(reasons) == ["pit/1", "tuned/1"]
    assert reasons["tuned/1"] == "not started, as pit/1 has failed"
    job = {name: i for i, name in enumerate(options_of(slurm), 1)}["pit/1"]
    assert reasons["pit/1"].startswith(
        f"job {job} has failed: train ended with 1 (program train: error: as it was told); its log is {tmp_path}/s/pit"
    )
    assert "as it was told" in (tmp_path / "s" / "slurm_jobs" / f"{job}_0_log.err").read_text()
    monkeypatch.delenv("FAIL")
    lines = []
    study_in(tmp_path, report=lines).run()
    assert lines[0] == "6 runs, 4 of them done before; 2 jobs submitted, 0 in the queue before"
    assert sorted(results(tmp_path)) == ALL


@pytest.mark.slow
def test_a_job_whose_time_is_over_goes_on_in_the_next(slurm, tmp_path, monkeypatch):
    """submitit gets the signal on the node, ends the training, and puts the job into the queue again."""
    monkeypatch.setenv("PAUSE", "0.5")
    study = study_in(tmp_path, seeds=(1,), text="pit baseline/toy optim.lr=0.2\n")
    study._submit()
    epochs = tmp_path / "s" / "pit" / "1" / "epochs.txt"
    deadline = time.monotonic() + 60
    while not epochs.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in _descendants(int((slurm / "1" / "pid").read_text())):
        if "submitit" in Path(f"/proc/{process}/cmdline").read_text():
            os.kill(process, signal.SIGUSR2)
    monkeypatch.setenv("PAUSE", "0")
    study_in(tmp_path, seeds=(1,), text="pit baseline/toy optim.lr=0.2\n").run()
    assert epochs.read_text() == "0 1 2"
    assert calls(tmp_path).count("train pit/1") == 2
    output = (tmp_path / "s" / "slurm_jobs" / "1_0_log.err").read_text()
    assert "this job is timed-out" in output


def _descendants(pid):
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children = {}
    for line in listing.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found, waiting = [], [pid]
    while waiting:
        found += (here := children.get(waiting.pop(), []))
        waiting += here
    return [pid, *found]


@pytest.mark.parametrize(
    ("option", "error"),
    [("partition", "must be NAME=VALUE, such as partition=gpu, got 'partition'"), ("partition=", "must be NAME=VALUE"),
     ("partitoin=gpu", "no 'partitoin' .did you mean 'partition'.*: it knows .*account"),
     ("dependency=1", "cannot set dependency: a study submits each run as one task"),
     ("nodes=2", "cannot set nodes"), ("setup=module", "cannot set setup"),
     ("time=4:00:00", "time must be a number of minutes, such as time=240, got '4:00:00'")],
)  # fmt: skip
def test_options_that_sbatch_does_not_have_are_refused(option, error):
    with pytest.raises(StabError, match=f"--slurm.*{error}"):
        parameters([option])


def test_numbers_are_numbers():
    assert parameters(["time=90", "partition=a100", "mem=8GB"]) == {"time": 90, "partition": "a100", "mem": "8GB"}


def test_a_refusal_of_sbatch_is_passed_on(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_SLURM_REFUSES", "1")
    with pytest.raises(StabError, match="pit/1 could not be submitted: .*invalid partition specified: nowhere"):
        study_in(tmp_path).run()


def test_a_machine_without_slurm_is_named(slurm, tmp_path, capsys):
    (tmp_path / "s.rows").write_text("pit baseline/toy\n")
    words = ["study", str(tmp_path / "s.rows"), "--out", str(tmp_path / "out"), "--submit", "slurm", "--slurm=time=9"]
    (tmp_path / "slurm" / "bin" / "sacct").unlink()
    assert main(words) == 2
    wanted = "needs SLURM's programs sbatch, srun, sacct, scontrol on the PATH: this is no machine that submits jobs"
    assert f"{wanted}, as it has no sacct" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "why"),
    [("{", "Expecting property name"), ("[]", "must hold the numbers of jobs by the names of their runs"),
     ('{"pit/1": "x"}', "must hold the numbers"), ('{"pit/1": 7}', "must hold the numbers")],
)  # fmt: skip
def test_damaged_numbers_of_jobs_are_not_submitted_again(slurm, tmp_path, content, why):
    file = tmp_path / "s" / "slurm_jobs" / "submitted.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(
        StabError, match=rf"submitted.json cannot be used .*{why}.*: remove it once no job of the study is in the queue"
    ):
        study_in(tmp_path)


def test_a_job_that_slurm_does_not_know_is_reported_once(slurm, tmp_path, monkeypatch):
    """Such as one of another cluster, or one that is too old for sacct."""
    file = tmp_path / "s" / "slurm_jobs" / "submitted.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"pit/1": "8000"}))
    monkeypatch.setattr("asteroid_stab.run.study_submit._ASK_EVERY_S", 0.0)
    monkeypatch.setattr("asteroid_stab.run.study_submit._POLL_S", 0.0)
    lines = []

    class EndedError(Exception):
        pass

    def asked_often(study, steps, asks, ended=SubmittedStudy._ended, calls=[]):  # noqa: B006
        calls.append(steps)
        if len(calls) > 3:
            raise EndedError
        return ended(study, steps, asks)

    monkeypatch.setattr(SubmittedStudy, "_ended", asked_often)
    study = study_in(tmp_path, report=lines, seeds=(1,), text="pit baseline/toy optim.lr=0.2\n")
    with pytest.raises(EndedError):
        study.run()
    assert lines[0] == "1 run; 0 jobs submitted, 1 in the queue before"
    assert len(lines) == 2, lines
    assert lines[1].startswith("pit/1: sacct does not know job 8000; if squeue does not either")


def test_a_step_in_a_job_is_not_one_of_the_jobs_tasks(tmp_path, monkeypatch):
    """Lightning would start one process alone, though the row asks for two devices."""
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setattr("asteroid_stab.run.study_submit.StudyRunner.run", lambda runner: None)
    run = runs_in(tmp_path)[0]
    StudyJob(run, StudyLayout(tmp_path / "s"), PROGRAM)()
    assert not SLURMEnvironment.detect()


def test_submitit_is_asked_for(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(StabError, match=r"--submit needs submitit: pip install 'asteroid-stab\[slurm\]'"):
        parameters([])


@pytest.mark.parametrize(
    ("words", "error"),
    [(["--slurm", "time=3"], "--slurm is for jobs of a cluster: add --submit slurm"),
     (["--submit", "slurm", "--jobs", "2"], "--jobs is for the runs of this machine"),
     (["--submit", "slurm", "--slurm=partition=gpu"], "--submit slurm needs --slurm time=MINUTES"),
     (["--submit", "lsf"], "invalid choice: 'lsf'")],
)  # fmt: skip
def test_words_that_do_not_fit(tmp_path, capsys, words, error):
    (tmp_path / "s.rows").write_text("pit baseline/toy\n")
    with pytest.raises(SystemExit):
        main(["study", str(tmp_path / "s.rows"), "--out", str(tmp_path / "out"), *words])
    assert error in capsys.readouterr().err
