"""asteroid-stab study: its words, its exit status, and real trainings that are killed with it."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import SMALL, assert_same_weights, stab
from studies import PROGRAM, ROWS, calls, results
from trainings import lives

from asteroid_stab.cli import study
from asteroid_stab.cli.main import main
from asteroid_stab.cli.study import options_of
from asteroid_stab.locks import claimed


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """A file of three rows, in the working directory; the program is that of tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study, "PROGRAM", PROGRAM)
    monkeypatch.setattr("asteroid_stab.run.study_runner._POLL_S", 0.01)
    file = tmp_path / "study.rows"
    file.write_text(ROWS.replace("tuned baseline/toy init.path={out}/pit/{seed}", "tuned baseline/toy"))
    return file


def parsed(*words):
    options = options_of(list(words))
    return [str(file) for file in options.files], options.seeds, options.overrides, options.jobs


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["a.rows", "--out", "s"], (["a.rows"], [1, 2, 3], [], 1)),
        (["a.rows", "b.rows", "--out", "s", "--seeds", "4", "0"], (["a.rows", "b.rows"], [4, 0], [], 1)),
        (["a.rows", "--out", "s", "--seeds", "4", "x=1", "~y"], (["a.rows"], [4], ["x=1", "~y"], 1)),
        (["x=1", "a.rows", "--jobs", "2", "--out", "s", "y=2"], (["a.rows"], [1, 2, 3], ["x=1", "y=2"], 2)),
        (["a=b.rows", "--out", "s", "y=2"], (["a=b.rows"], [1, 2, 3], ["y=2"], 1)),
    ],
)
def test_words_are_files_seeds_and_overrides(tmp_path, monkeypatch, words, found):
    monkeypatch.chdir(tmp_path)
    Path("a=b.rows").touch()
    assert parsed(*words) == found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "s"], "which rows? FILE is needed, such as egs/toy/dsd_lo.rows"),
        (["a.rows"], "the following arguments are required: --out"),
        (["a.rows", "--out", "s", "--seeds", "-1"], "--seeds: must be whole numbers of at least 0, got '-1'"),
        (["a.rows", "--out", "s", "--seeds", "one"], "--seeds: must be whole numbers of at least 0, got 'one'"),
        (["a.rows", "--out", "s", "--seeds", str(2**32)], "--seeds: must be whole numbers"),
        (["a.rows", "--out", "s", "--seeds", "1", "01"], "--seeds: each must be given once, got 1 01"),
        (["a.rows", "--out", "s", "--jobs", "0"], "--jobs: must be a whole number of at least 1, got '0'"),
    ],
)
def test_other_words_are_refused(capsys, words, message):
    with pytest.raises(SystemExit) as end:
        options_of(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_study_ends_with_its_table_in_the_order_of_the_rows(rows, tmp_path, capsys):
    assert main(["study", "study.rows", "--out", "s", "--seeds", "1", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6 runs"
    tables = [line.split(" | ")[0] for line in lines if line.startswith("| ")]
    assert tables == ["| row", "| ---", "| tuned", "| pit", "| other", "| row", "| ---", "| pit", "| other"]
    assert re.search(r"\n\| pit \| tuned \| 2 \| 4 \| [+-]\d", "\n".join(lines))
    assert main(["compare", "s"]) == 0
    table = [line for line in lines if line.startswith("|") or not line]
    assert capsys.readouterr().out.splitlines() == table
    assert main(["study", "study.rows", "--out", "s", "--seeds", "1", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == ["6 runs, 6 of them done before", *table]
    assert len(calls(tmp_path)) == 12


def test_a_failed_row_is_named_at_the_end_with_its_log(rows, monkeypatch, capsys):
    monkeypatch.setenv("FAIL", "pit/1:train")
    assert main(["study", "study.rows", "--out", "s", "--seeds", "1", "--jobs", "2"]) == 2
    shown = capsys.readouterr()
    assert shown.err == (
        "asteroid-stab study: error: 1 of 3 runs have failed; the same command goes on:\n"
        "  pit/1: train ended with 1 (program train: error: as it was told); its log is s/pit/1.log\n"
    )
    assert "| other | 1 |" in shown.out
    monkeypatch.setenv("FAIL", "no/1:train")
    assert main(["study", "study.rows", "--out", "s", "--seeds", "1"]) == 0


def test_where_all_fail_there_is_no_table(rows, monkeypatch, capsys):
    rows.write_text("a baseline/toy")
    monkeypatch.setenv("FAIL", "a/1:train")
    assert main(["study", "study.rows", "--out", "s", "--seeds", "1"]) == 2
    shown = capsys.readouterr()
    assert "1 of 1 runs have failed" in shown.err
    assert "|" not in shown.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a bassline/toy", "study.rows:1: row 'a': no recipe 'bassline/toy' (did you mean 'baseline/toy'?)"),
        ("a baseline/toy x='", "study.rows:1: the quote ' in \"x='\" is not closed"),
        ("a baseline/toy\na baseline/toy", "study.rows:2: line 1 has a row 'a' already"),
        ("a baseline/toy init.path={out}/b/1", "study.rows:1: row 'a': it starts from 'b', which is no row"),
        ("a baseline/toy init.path=s/a/1", "study.rows:1: rows that start from each other: a, a"),
    ],
)
def test_wrong_rows_are_refused_before_anything_starts(rows, capsys, text, message):
    rows.write_text(text)
    assert main(["study", "study.rows", "--out", "s", "--seeds", "1"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"asteroid-stab study: error: {message}")
    assert (shown.err.count("\n"), shown.out) == (1, "")
    assert not Path("s").exists()
    assert main(["study", "no.rows", "--out", "s"]) == 2
    assert "there is no rows file 'no.rows'" in capsys.readouterr().err


def test_two_studies_in_one_folder_do_not_meet(rows, capsys):
    with claimed("s", "wait"):
        assert main(["study", "study.rows", "--out", "s"]) == 2
    error = "s is in use by another process: wait for the end of the study in it; --out names another folder"
    assert capsys.readouterr().err == f"asteroid-stab study: error: {error}\n"
    Path("file").touch()
    assert main(["study", "study.rows", "--out", "file/s"]) == 2
    assert "cannot use the folder file/s" in capsys.readouterr().err


def test_a_row_that_has_changed_is_refused(rows, capsys):
    rows.write_text("pit baseline/toy optim.lr=0.2")
    assert main(["study", "study.rows", "--out", "s", "--seeds", "1"]) == 0
    rows.write_text(rows.read_text().replace("optim.lr=0.2", "optim.lr=0.4"))
    assert main(["study", "study.rows", "--out", "s", "--seeds", "1"]) == 2
    message = "study.rows:1: s holds runs of another row 'pit', 'baseline/toy optim.lr=0.2', and this one is"
    assert message in capsys.readouterr().err


COMMON = [*SMALL, "data.n_train=16", "data.n_valid=4", "data.n_test=2", "logger=none", "trainer.max_epochs=3"]
REAL = "pit baseline/toy\ntuned baseline/toy optim.lr=0.01 init.path={out}/pit/{seed}\n"


def training_of(process):
    """The process of a study's step."""
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        for pid in (task / "children").read_text().split():
            return int(pid)
    return None


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the process of a training in /proc")
def test_real_trainings_that_are_killed_with_their_study_go_on(tmp_path):
    """The weights are those of trainings by hand; no process is left behind, and an interrupted study says so."""
    (tmp_path / "study.rows").write_text(REAL)
    words = ["study", tmp_path / "study.rows", "--out", tmp_path / "s", "--seeds", "5", *COMMON]

    def lines_of_all_rows():
        return sum(len(table.read_text().splitlines()) for table in tmp_path.glob("s/*/5/metrics.csv"))

    for number in (signal.SIGKILL, signal.SIGTERM):
        # Of all rows: a slow machine may send the first signal when the first row has its last line.
        n_lines = max(lines_of_all_rows(), 1)
        process = subprocess.Popen(
            [sys.executable, "-m", "asteroid_stab.cli.main", *map(str, words)], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while lines_of_all_rows() <= n_lines:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        child = training_of(process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == (-9 if number == signal.SIGKILL else 143)
        deadline = time.monotonic() + 30
        while child is not None and lives(child) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert child is None or not lives(child)
        assert errors == ("asteroid-stab study: ended by SIGTERM; the same command goes on\n" if number == 15 else "")
    out = stab(*words).stdout
    assert "| tuned | pit | 1 | 2 | " in out
    assert results(tmp_path, ["metrics.csv"]).keys() == {"pit/5", "tuned/5"}
    for row, more in (("pit", []), ("tuned", ["optim.lr=0.01", f"init.path={tmp_path / 'whole' / 'pit'}"])):
        stab("train", "baseline/toy", f"run_dir={tmp_path / 'whole' / row}", "seed=5", *more, *COMMON)
        assert_same_weights(tmp_path / "s" / row / "5", tmp_path / "whole" / row)
    log = (tmp_path / "s" / "pit" / "5.log").read_text()
    assert log.count("run folder") > 1  # the second signal may have come when it was trained
