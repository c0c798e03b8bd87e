"""The package without what Windows does not have, as far as a machine with Linux can show it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trees
from runs import SMALL
from stubs import defined

PLUGINS = Path(__file__).resolve().parent / "plugins"
MODULES = ("os", "signal", "select", "time")


def absent():
    """The names that these modules have on Linux alone."""
    return {module: sorted(defined(module, "linux") - defined(module, "win32")) for module in MODULES}


def test_names_that_windows_lacks_are_seen():
    names = absent()
    assert {"pwrite", "preadv", "register_at_fork", "sched_getaffinity", "killpg", "fork"} <= set(names["os"])
    assert {"SIGKILL", "SIGUSR1", "pthread_sigmask", "pthread_kill"} <= set(names["signal"])
    assert "poll" in names["select"]
    assert not {"open", "replace", "kill", "fsync", "truncate", "cpu_count"} & set(names["os"])
    assert not {"SIGTERM", "SIGINT", "set_wakeup_fd", "raise_signal"} & set(names["signal"])


def run(place, *words, check=True):
    """Runs Python as on Windows; files below ``place`` are guarded."""
    path = os.pathsep.join([str(PLUGINS / "as_windows"), str(PLUGINS), os.environ.get("PYTHONPATH", "")])
    as_windows = {"AS_WINDOWS": json.dumps(absent()), "AS_WINDOWS_ROOT": str(place), "USERNAME": "user"}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **as_windows},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr[-5000:]
    return done


REFUSALS = """
import os, sys
from pathlib import Path
from asteroid_stab import locks, signals
assert locks.fcntl is None and not hasattr(locks.os, "register_at_fork") and not hasattr(signals.signal, "SIGKILL")
place = Path(sys.argv[1])
file = open(place / "a", "w")
for refused in (lambda: os.replace(place / "a", place / "b"), (place / "a").unlink, lambda: open(place / "a:b", "w"),
                lambda: locks.os.open(place, 0), lambda: locks.os.fsync(os.open(place / "a", 0))):
    try:
        refused()
    except OSError as error:
        print(error.strerror, flush=True)
locks.os.kill(os.getpid(), 15)
"""


def test_the_stand_in_refuses_what_windows_refuses(tmp_path):
    done = run(tmp_path, "-c", REFUSALS, tmp_path, check=False)
    assert done.returncode == 15, done.stderr
    used = "The process cannot access the file because it is in use"
    assert done.stdout.splitlines() == [used, used, "Invalid argument", "Permission denied", "Bad file descriptor"]


VERBS = """
import sys
from asteroid_stab.cli.main import main

def verb(*words):
    status = main([*words])
    print(words[0], status, flush=True)
    assert status == 0, words

if __name__ == "__main__":
    place, small = sys.argv[1], sys.argv[2:]
    lists, run = f"{place}/lists", f"{place}/run"
    for subset in ("train-clean-100", "dev-clean", "test-clean"):
        verb("prepare", "--librispeech", f"{place}/speech", "--subset", subset, "--n-src", "2", "--n-mixtures", "4",
             "--seed", "0", "--min-seconds", "0.5", "--out", lists)
    names = {"train": "train-clean-100", "valid": "dev-clean", "test": "test-clean"}
    given = [f"data.{split}_list={lists}/libri2mix_{name}.csv" for split, name in names.items()]
    verb("train", "baseline/toy", f"run_dir={run}", "data=librispeech", f"data.root={place}/speech", *given,
         f"data.cache={place}/cache", "loader.num_workers=2", "trainer.max_epochs=1", *small)
    verb("train", f"resume={run}", "trainer.max_epochs=2")
    verb("evaluate", run, "--n-jobs", "2", "--metrics", "si_sdr", "stoi")
    verb("evaluate", run, "--n-jobs", "1", "--metrics", "si_sdr", "--overwrite")
    verb("separate", run, f"{place}/talk.wav", "--out", f"{place}/separated")
    verb("switches", run)
    verb("average", run, "--last", "1")
    verb("report", run, "--out", f"{place}/report.html")
    verb("recipes")
"""
SMALL_MODEL = [word for word in SMALL if word.startswith(("model.", "trainer.", "scheduler"))]


@pytest.mark.slow
def test_every_verb_runs(tmp_path):
    import numpy as np
    import soundfile as sf

    trees.librispeech(tmp_path / "speech", ("train-clean-100", "dev-clean", "test-clean"), 4, 2)
    sf.write(tmp_path / "talk.wav", np.random.default_rng(0).standard_normal(8000) * 0.1, 8000)
    (tmp_path / "verbs.py").write_text(VERBS)
    words = [*SMALL_MODEL, "loader.segment_s=0.5", "loader.batch_size=2", "callbacks=[tracker,epoch_models]"]
    done = run(tmp_path, tmp_path / "verbs.py", tmp_path, *words)
    assert "recipes 0" in done.stdout
    assert {"last.ckpt"} <= {file.name for file in (tmp_path / "run" / "checkpoints").iterdir()}
    assert len([*(tmp_path / "cache").glob("*.pack")]) == 3
    assert not [*tmp_path.rglob(".asteroid-stab*")]
    for table in tmp_path.rglob("*.csv"):
        assert b"\r" not in table.read_bytes()


@pytest.mark.slow
def test_a_study_runs(tmp_path):
    (tmp_path / "a.rows").write_text("pit baseline/toy\n")
    words = [*SMALL, "trainer.max_epochs=1", "logger=none"]
    place = ["--out", tmp_path / "s", "--seeds", "1", "--jobs", "1"]
    run(tmp_path, "-m", "asteroid_stab.cli.main", "study", tmp_path / "a.rows", *place, *words)
    assert (tmp_path / "s" / "pit" / "1" / "best_model.pth").is_file()
