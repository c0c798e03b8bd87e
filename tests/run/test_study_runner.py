"""Running a study, with a program in the place of trainings: order, failures, kills, and that none is done twice.

``N_KILLS=9`` in the environment kills each study nine times instead of three.
"""

import multiprocessing
import os
import random
import re
import signal
import time

import pytest
from studies import calls, results, runner_in
from trainings import lives

from asteroid_stab.locks import lock, unlock
from asteroid_stab.run.layout import StudyLayout
from asteroid_stab.signals import EndingSignals

N_KILLS = int(os.environ.get("N_KILLS", 3))
ALL = ["other/1", "other/2", "pit/1", "pit/2", "tuned/1", "tuned/2"]


@pytest.fixture(scope="module", autouse=True)
def _quickly():
    """Looks more often whether a process has ended: these end in hundredths of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asteroid_stab.run.study_runner._POLL_S", 0.01)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of a study of one run at a time that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    runner = runner_in(folder)
    runner.run()
    assert runner.failures == []
    return folder, results(folder)


def test_rows_are_trained_and_evaluated_seed_by_seed_each_after_what_it_starts_from(whole):
    folder, found = whole
    order = [f"{row}/{seed}" for seed in (1, 2) for row in ("pit", "tuned", "other")]
    assert calls(folder) == [f"{verb} {run}" for run in order for verb in ("train", "evaluate")]
    assert sorted(found) == ALL
    assert "threads: 1\nepoch 0\n" in (folder / "s" / "pit" / "1.log").read_text()


def test_several_at_a_time_give_the_same(whole, tmp_path):
    runner = runner_in(tmp_path, n_jobs=4)
    runner.run()
    assert results(tmp_path) == whole[1]
    asked = calls(tmp_path)
    assert sorted(asked) == sorted(calls(whole[0]))
    for seed in (1, 2):
        assert asked.index(f"train pit/{seed}") < asked.index(f"train tuned/{seed}")


def test_so_many_run_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setenv("PAUSE", "0.05")
    text = "".join(f"row{i} baseline/toy\n" for i in range(5))
    seen, lines = [], []
    runner = runner_in(tmp_path, n_jobs=3, report=lines, text=text, seeds=[1])
    start = runner._start
    runner._start = lambda *given: (start(*given), seen.append(len(runner._running)))[0]
    runner.run()
    assert max(seen) == 3
    assert lines[0] == "5 runs, 3 at a time"


def test_what_is_done_is_not_done_again(tmp_path):
    lines = []
    runner_in(tmp_path, text="a baseline/toy", seeds=[1]).run()
    runner_in(tmp_path, text="a baseline/toy", seeds=[1], report=lines).run()
    assert (calls(tmp_path), lines) == (["train a/1", "evaluate a/1"], ["1 run, 1 of them done before"])
    runner_in(tmp_path, text="a baseline/toy", report=lines).run()
    assert calls(tmp_path)[2:] == ["train a/2", "evaluate a/2"]
    model = tmp_path / "s" / "a" / "1" / "best_model.pth"
    model.write_text("of a training that somebody went on with by hand")
    runner_in(tmp_path, text="a baseline/toy").run()
    assert calls(tmp_path)[4:] == ["evaluate a/1"]
    runner_in(tmp_path, text="a baseline/toy", overrides=["trainer.max_epochs=9"]).run()  # other words: both again
    assert calls(tmp_path)[5:] == ["train a/1", "evaluate a/1", "train a/2", "evaluate a/2"]
    (tmp_path / "s" / "a" / "2.json").write_text("damaged")
    runner_in(tmp_path, text="a baseline/toy", overrides=["trainer.max_epochs=9"]).run()
    assert calls(tmp_path)[9:] == ["train a/2", "evaluate a/2"]


def test_progress_says_how_much_is_left(tmp_path):
    lines = []
    runner_in(tmp_path, report=lines, text="a baseline/toy\nb baseline/toy", seeds=[1]).run()
    assert lines[0] == "2 runs"
    assert lines[1] == f"a/1: train, into {tmp_path}/s/a/1.log"
    assert re.fullmatch(r"\[1/2\] a/1 is done, in \d s \(\d s of CPU time\); 1 run left, about \d s", lines[2])
    assert re.fullmatch(r"\[2/2\] b/1 is done, in \d s \(\d s of CPU time\)", lines[4])


def test_the_rest_is_expected_to_take_as_long_as_its_row(tmp_path):
    runner = runner_in(tmp_path, n_jobs=2, text="a baseline/toy\nb baseline/toy", seeds=[1, 2])
    for steps in runner.steps[:2]:
        steps.end("train", True, {"a": 100, "b": 10}[steps.run.row.name], 0.0)
        runner.waiting.remove(steps)
        runner._done.append(steps)
    runner.steps[2].end("train", True, 40, 0.0)
    assert runner._left() == "; 2 runs left, about 35 s"  # (60 + 10) / 2
    runner._done.remove(runner.steps[1])
    assert runner._left() == "; 2 runs left, about 1 min 20 s"  # (60 + 100) / 2: no run of b to go by


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_a_row_that_fails_stops_no_other(whole, tmp_path, monkeypatch, n_jobs):
    monkeypatch.setenv("FAIL", "pit/1:train")
    lines = []
    runner = runner_in(tmp_path, n_jobs=n_jobs, report=lines)
    runner.run()
    log = tmp_path / "s" / "pit" / "1.log"
    reasons = {run.name: reason for run, reason in runner.failures}
    assert reasons == {
        "pit/1": f"train ended with 1 (program train: error: as it was told); its log is {log}",
        "tuned/1": "not started, as pit/1 has failed",
    }
    assert f"pit/1: FAILED: {reasons['pit/1']}" in lines
    assert sorted(results(tmp_path)) == [name for name in ALL if name not in reasons]
    monkeypatch.delenv("FAIL")
    again = runner_in(tmp_path, n_jobs=n_jobs)
    again.run()
    assert (again.failures, results(tmp_path)) == ([], whole[1])
    assert sorted(calls(tmp_path)[-4:]) == ["evaluate pit/1", "evaluate tuned/1", "train pit/1", "train tuned/1"]


def test_a_failure_of_the_evaluation_holds_nobody_up_who_starts_from_the_training(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIL", "pit/1:evaluate")
    runner = runner_in(tmp_path, seeds=[1])
    runner.run()
    assert [run.name for run, _ in runner.failures] == ["pit/1"]
    assert calls(tmp_path)[:4] == ["train pit/1", "evaluate pit/1", "train tuned/1", "evaluate tuned/1"]
    monkeypatch.delenv("FAIL")
    runner_in(tmp_path, seeds=[1]).run()
    assert calls(tmp_path)[6:] == ["evaluate pit/1"]


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("KILLED", r"evaluate was ended by SIGKILL \(threads: 1\); its log is .*/a/1.log"),
        ("NOTHING", r"evaluate left no result \(threads: 1\); its log"),
    ],
)
def test_an_end_without_a_result_is_a_failure(tmp_path, monkeypatch, variable, reason):
    monkeypatch.setenv(variable, "a/1:evaluate")
    runner = runner_in(tmp_path, text="a baseline/toy", seeds=[1])
    runner.run()
    assert re.fullmatch(f"{reason}.*", runner.failures[0].reason)


def test_a_number_of_threads_of_the_users_own_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    runner_in(tmp_path, text="a baseline/toy", seeds=[1]).run()
    assert "threads: 4\n" in (tmp_path / "s" / "a" / "1.log").read_text()


def test_a_process_that_an_earlier_study_left_is_waited_for(tmp_path):
    log = StudyLayout(tmp_path / "s").log("a", 1)
    log.parent.mkdir(parents=True)
    log.write_text("")
    held = lock(log)
    lines = []
    runner = runner_in(tmp_path, report=lines, text="a baseline/toy\nb baseline/toy", seeds=[1])

    def report(line):
        lines.append(line)
        if "b/1 is done" in line:
            unlock(held)

    runner.report = report
    runner.run()
    assert lines[1] == "a/1: waits for the end of a process that an earlier study has left"
    assert calls(tmp_path) == ["train b/1", "evaluate b/1", "train a/1", "evaluate a/1"]


def _study(folder, n_jobs):
    with EndingSignals():
        runner_in(folder, n_jobs=n_jobs).run()


def _processes(folder):
    """The processes that have a study's log open."""
    return [int(n) for n in os.listdir("/proc") if n.isdecimal() and _output(n).startswith(f"{folder}/s/")]


def _output(entry):
    """The file that a process writes its output to; empty where it has ended."""
    try:
        return os.readlink(f"/proc/{entry}/fd/1")
    except OSError:
        return ""


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="finds the processes of a study in /proc")
@pytest.mark.parametrize(
    ("number", "n_jobs"),
    [
        pytest.param(signal.SIGKILL, 1, marks=pytest.mark.slow),
        (signal.SIGKILL, 2),
        (signal.SIGTERM, 2),
        pytest.param(signal.SIGINT, 2, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments_and_run_again_gives_the_same(whole, tmp_path, monkeypatch, number, n_jobs):
    """A kill leaves no process behind, and the next study meets none of it."""
    monkeypatch.setenv("PAUSE", "0.03")
    draw = random.Random(f"{number} {n_jobs}")
    for _ in range(N_KILLS):
        process = multiprocessing.get_context("fork").Process(target=_study, args=(tmp_path, n_jobs))
        process.start()
        time.sleep(draw.uniform(0.1, 0.6))
        here = _processes(tmp_path)
        os.kill(process.pid, number)
        process.join(10)
        if number != signal.SIGKILL:
            assert not any(map(lives, here))
    runner = runner_in(tmp_path, n_jobs=n_jobs)
    runner.run()
    assert runner.failures == []
    assert results(tmp_path) == whole[1]
    assert not _processes(tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.name.startswith(".asteroid-stab")]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="finds the processes of a study in /proc")
def test_a_process_that_does_not_follow_is_ended(tmp_path, monkeypatch):
    """One that ignores SIGTERM, and that would otherwise be left."""
    monkeypatch.setattr("asteroid_stab.run.study_runner._STOP_S", 0.2)
    runner = runner_in(tmp_path, text="a baseline/toy", seeds=[1])
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    runner.program = [runner.program[0], "-S", "-c", code]
    log = StudyLayout(tmp_path / "s").log("a", 1)

    def interrupt():
        while not log.exists() or "ready" not in log.read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt

    start = runner._start
    runner._start = lambda *given: (start(*given), interrupt())[0]
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert not _processes(tmp_path)
