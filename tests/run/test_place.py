"""The folder of a training: nobody else's, and never one that holds what another run wrote."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asteroid_stab.cli.main import main
from asteroid_stab.errors import StabError
from asteroid_stab.run import place
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.place import check_new, check_resumable, new_run_dir, resumed_run_dir


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    for name in (
        "RANK",
        "LOCAL_RANK",
        "NODE_RANK",
        "SLURM_PROCID",
        "SLURM_JOB_ID",
        "TORCHELASTIC_RUN_ID",
        place.RUN_DIR_VARIABLE,
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _one_second(monkeypatch):
    class Clock(place.datetime):
        @classmethod
        def now(cls, *_):
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(place, "datetime", Clock)


@pytest.mark.usefixtures("_one_second")
def test_trainings_of_the_same_second_have_folders_of_their_own():
    with new_run_dir(None, "a/b") as first, new_run_dir("", "a/b") as second, new_run_dir(None, "a/b") as third:
        assert [first, second, third] == [f"runs/a/b/20260102-030405{end}" for end in ("", "-2", "-3")]
        Path(second, "config.yaml").touch()
        assert os.environ[place.RUN_DIR_VARIABLE] == third
    assert sorted(path.name for path in Path("runs/a/b").iterdir()) == ["20260102-030405-2"]
    assert place.RUN_DIR_VARIABLE not in os.environ


def test_two_trainings_are_not_in_one_folder():
    with new_run_dir("run", "a"):
        with pytest.raises(StabError, match="run is in use by another process: another training writes it"):
            new_run_dir("run", "a").__enter__()
        with pytest.raises(StabError, match="run is in use by another process"):
            resumed_run_dir("run").__enter__()
        with pytest.raises(StabError, match="run is in use by another process"):
            new_run_dir(os.path.abspath("run"), "a").__enter__()
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "0"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "0"}, True),
    ],
)
def test_the_first_process_of_a_training_claims(variables, first, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(place.RUN_DIR_VARIABLE, "theirs")
    with new_run_dir("mine", "a") as run_dir:
        assert run_dir == ("mine" if first else "theirs")
        assert Path("mine").exists() == first


def test_the_ranks_of_a_job_agree(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with new_run_dir(None, "a") as first:
        monkeypatch.setenv("SLURM_PROCID", "1")
        monkeypatch.delenv(place.RUN_DIR_VARIABLE)
        with new_run_dir(None, "a") as second, resumed_run_dir(first):
            assert first == second == "runs/a/17"


RANK = """
import os, time
from asteroid_stab.run import place
if os.environ["RANK"] == "1":
    time.sleep(1.1)  # into the next second
with place.new_run_dir(None, "a") as run_dir:
    open(f"rank{os.environ['RANK']}.txt", "w").write(run_dir)
"""


@pytest.mark.slow
def test_the_ranks_of_torchrun_without_a_job_agree():
    """Time would give each process a name of its own, and the first one takes another where that exists."""
    Path("rank.py").write_text(RANK)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "rank.py"]  # a free port
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert Path("rank0.txt").read_text() == Path("rank1.txt").read_text() != ""


def test_processes_that_nothing_joins_need_the_name_of_the_folder(monkeypatch):
    monkeypatch.delenv(place.RUN_DIR_VARIABLE, raising=False)
    monkeypatch.setenv("NODE_RANK", "1")
    with pytest.raises(StabError, match="run_dir=DIR must name the folder of a training whose processes are started"):
        new_run_dir(None, "a").__enter__()
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setattr(place, "_MEET_S", 1)
    with pytest.raises(StabError, match=r"the first process has not named it \(Dist"):
        new_run_dir(None, "a").__enter__()
    with new_run_dir("mine", "a") as run_dir:
        assert run_dir == "mine"


RESULTS = [
    "best_model.pth", "metrics.csv", "switches.csv", "checkpoints/best.ckpt", "assignments/epoch_0000.npy",
    "stages/stage_1.pth", "models/epoch_0000.pth", "evaluation/test/summary.json", "report.html",
    "switches_whole_train.csv", "assignments_whole/train_0000_ab.npy",
]  # fmt: skip
DESCRIPTION = [
    "config.yaml",
    "checkpoints/first_epoch.txt",
    "versions.json",
    "assignments/items.csv",
    "assignments/fingerprint.txt",
]


def put(name):
    file = Path("run", name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x")


@pytest.mark.parametrize("name", RESULTS)
def test_any_result_guards_a_folder_without_a_checkpoint(name):
    put(name)
    message = (
        f"run holds results of a run .*{re.escape(name.split('/')[0])}.* and no checkpoints/last.ckpt to go on from"
    )
    for start in (new_run_dir("run", "a"), new_run_dir("run", "a", True), resumed_run_dir("run")):
        with pytest.raises(StabError, match=message + ".*init.path=run"):
            start.__enter__()
    assert Path("run", name).read_text() == "x"
    put("checkpoints/first_epoch.txt")  # a kill in the first epoch's end, and no checkpoint was ever there
    check_resumable("run")
    put("checkpoints/last.ckpt")
    check_resumable("run")
    with pytest.raises(StabError, match="holds a run already: resume=run goes on with it"):
        check_new("run", True)


@pytest.mark.parametrize("name", DESCRIPTION)
def test_a_run_that_ended_before_its_first_epoch_is_only_started_over_when_asked(name):
    put(name)
    with pytest.raises(StabError, match=f"ended before its first epoch did .{name}.: resume=run starts it over"):
        new_run_dir("run", "a").__enter__()
    with new_run_dir("run", "a", may_start_over=True), pytest.raises(StabError, match="in use"):
        resumed_run_dir("run").__enter__()
    with resumed_run_dir("run"):
        pass
    assert Path("run", name).exists()


def test_every_file_of_a_whole_run_is_known():
    """A new path of the layout must be guarded, or said to be of no account here."""
    run = RunLayout("run")
    of_loggers = {run.tensorboard, run.mlflow}
    for path in vars(run).values():
        if path not in {run.root, *of_loggers}:
            put(path.relative_to("run"))
    assert {*run.results(), *run.description()} == {*vars(run).values()} - {run.root, *of_loggers}


def test_other_files_do_not_matter():
    put("notes.txt")
    Path("run/checkpoints").mkdir()
    with new_run_dir("run", "a"):
        pass
    assert Path("run/notes.txt").exists()


def test_what_killed_processes_left_goes_when_a_run_goes_on():
    code = "import os; from asteroid_stab.atomic import replacing\n"
    code += "with replacing('run/stages/stage_1.pth') as new: os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    put("config.yaml")
    assert len(list(Path("run/stages").iterdir())) == 1
    with resumed_run_dir("run"):
        assert list(Path("run/stages").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_built(capsys):
    Path("file").touch()
    assert main(["train", "baseline/toy", "run_dir=file/run"]) == 2
    assert "cannot use the folder file/run: Not a directory" in capsys.readouterr().err


def test_a_refused_training_leaves_no_folder(capsys):
    assert main(["train", "baseline/toy", "run_dir=new/run", "optim.lr=fast"]) == 2
    assert main(["train", "baseline/toy", "optim.lr=fast"]) == 2
    assert list(Path().iterdir()) == []


def test_or_resume_starts_over_a_run_of_its_recipe_only(capsys):
    assert main(["train", "baseline/toy", "--print-config", "run_dir=run"]) == 0
    config = capsys.readouterr().out
    put("config.yaml")
    Path("run/config.yaml").write_text(config)
    assert main(["train", "baseline/toy", "run_dir=run", "--print-config", "--or-resume"]) == 0
    assert main(["train", "baseline/toy", "run_dir=run", "--print-config"]) == 2
    assert main(["train", "dsd_lo/toy", "run_dir=run", "--or-resume"]) == 2
    assert "run is a run of 'baseline/toy', not of 'dsd_lo/toy'" in capsys.readouterr().err
