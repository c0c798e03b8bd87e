"""Folders and files of somebody who means harm: no code runs, nothing is written elsewhere, names stay names."""

import csv
import shutil

import pytest
import torch
import yaml
from runs import SMALL
from speech_corpora import speak

from asteroid_stab.cli.main import main
from asteroid_stab.run.layout import RunLayout

pytestmark = pytest.mark.slow
EVIL = "<script>alert('x')</script>\"&\n../../up"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A run of two epochs, evaluated."""
    run = tmp_path_factory.mktemp("hostile") / "run"
    words = [*SMALL, "trainer.max_epochs=2", "logger=none", "callbacks=[tracker,epoch_models]"]
    assert main(["train", "baseline/toy", *words, f"run_dir={run}"]) == 0
    assert main(["evaluate", str(run), "--metrics", "si_sdr", "--n-jobs", "1"]) == 0
    return run


@pytest.fixture
def place(tmp_path, original, monkeypatch):
    """A copy of the run in a folder of its own, beside a folder that must stay empty."""
    (tmp_path / "outside").mkdir()
    shutil.copytree(original, tmp_path / "home" / "run")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path


def calls(marker):
    """Nodes of a config that make the marker if anything is built from them."""
    return [
        {"_target_": "os.system", "_args_": [f"touch {marker}"]},
        {"_target_": "builtins.open", "_args_": [str(marker), "w"]},
        {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(marker)]}},
        {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "os.mkdir", "_args_": [str(marker)]}]},
        {"_target_": "asteroid_stab.atomic.write_text", "path": str(marker), "text": "x"},
        {"_target_": "asteroid_stab.models.save_model", "model": None, "path": str(marker)},
    ]


VERBS = [
    ["evaluate", "run", "--overwrite", "--metrics", "si_sdr", "--n-jobs", "1"],
    ["switches", "run", "--split", "valid"],
    ["train", "resume=run", "trainer.max_epochs=3"],
]
PLACES = ["data", "loader", "loss.loss_func", "optim", "scheduler", "system", "trainer.plugins", "callbacks.own",
          "logger", "stabilizer.own", "pretext", "head.model", "head.loss", "init", "data.base", "model"]  # fmt: skip


@pytest.mark.parametrize("at", PLACES)
def test_a_config_builds_nothing_of_its_own(place, at, capsys):
    file = place / "home" / "run" / "config.yaml"
    stored = file.read_text()
    all_calls = calls(place / "outside" / "marker")
    some = all_calls if at in ("data", "loss.loss_func") else [all_calls[PLACES.index(at) % len(all_calls)]]
    verbs = VERBS if at.startswith(("data", "loader")) else VERBS[2:]  # the others do not read it
    refused = 0
    for node in some:
        config = yaml.safe_load(stored)
        *parents, last = at.split(".")
        inner = config
        for name in parents:
            inner[name] = inner.get(name) or {}
            inner = inner[name]
        inner[last] = node
        file.write_text(yaml.safe_dump(config))
        for words in verbs:
            refused += main(words) == 2
        assert not any((place / "outside").iterdir())
    assert refused == len(some) * len(verbs)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("data.cache_dir", VERBS[0]),
        ("data.cache_dir", VERBS[1]),
        ("data.cache_dir", VERBS[2]),
        ("callbacks.tracker.dirpath", VERBS[2]),
        ("trainer.default_root_dir", VERBS[2]),
        ("trainer.profiler", VERBS[2]),
    ],
)
def test_a_config_writes_nowhere_else(place, key, words, capsys):
    file = place / "home" / "run" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    inner = config
    *parents, last = key.split(".")
    for name in parents:
        inner = inner[name]
    inner[last] = str(place / "outside" / "new")
    file.write_text(yaml.safe_dump(config))
    assert main(words) == 2
    assert not any((place / "outside").iterdir())


def test_a_run_dir_of_a_config_is_not_written_to(place):
    file = place / "home" / "run" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["run_dir"] = str(place / "outside" / "new")
    file.write_text(yaml.safe_dump(config))
    for words in VERBS:
        assert main(words) == 0
    assert not any((place / "outside").iterdir())


class Call:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def test_pickles_run_nothing(place, capsys):
    run, marker = RunLayout("run"), place / "outside" / "marker"
    for file, words in (
        (run.model, VERBS[0]),
        (run.model, ["separate", "run", "run/evaluation/test/examples/best/mixture.wav", "--out", "made"]),
        (run.model, ["train", "baseline/toy", *SMALL, "run_dir=new", "init.path=run"]),
        (run.last_checkpoint, VERBS[2]),
        (run.last_checkpoint, ["train", "baseline/toy", *SMALL, "run_dir=new", f"init.path={run.last_checkpoint}"]),
    ):
        whole = file.read_bytes()
        for content in (Call(marker), {"state_dict": {"a": torch.ones(1)}, "model_name": Call(marker)}, [Call(marker)]):
            torch.save(content, file)
            assert main(words) == 2
            assert "which is more than data" in capsys.readouterr().err
        file.write_bytes(whole)
        assert not marker.exists()


def test_names_of_utterances_and_recipes_stay_names(place, capsys):
    """In tables, in the page, and in names of files."""
    run = RunLayout("run")
    rows = list(csv.reader(run.evaluation("test").utterances.open(newline="")))
    for row in rows[1:]:
        row[1] = EVIL
    csv.writer(run.evaluation("test").utterances.open("w", newline="")).writerows(rows)
    listing = run.evaluation("test").examples.listing
    listing.write_text(listing.read_text().replace('"name": "', '"name": "<script>alert(1)</script>'))
    config = yaml.safe_load(run.config.read_text())
    config["recipe"] = EVIL
    run.config.write_text(yaml.safe_dump(config))
    assert main(["report", "run"]) == 0
    (place / "home" / "study" / "<b>row").mkdir(parents=True)
    (place / "home" / "study" / "<b>row" / "1").symlink_to(place / "home" / "run")
    assert main(["compare", "study"]) == 0
    page = run.report.read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert not (place / "up").exists()
    assert not any((place / "outside").iterdir())


@pytest.mark.parametrize(
    "name", ["../../outside/a.flac", "/etc/hostname", "s/../../../outside/a.flac", "http://x/a.flac"]
)
def test_a_list_reads_speech_of_its_corpus_alone(place, name, capsys):
    """A file elsewhere on the disk is not read as audio without a word."""
    speak(place / "outside" / "a.flac", 9000, 0)
    for i in range(2):
        speak(place / "home" / "speech" / "s" / f"{i}.flac", 9000, i)
    header = "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain\n"
    (place / "home" / "train.csv").write_text(f"{header}{EVIL.split()[0]},s/0.flac,1.0,{name},1.0\n")
    lists = [f"data.{split}_list=train.csv" for split in ("train", "valid", "test")]
    words = ["data=librispeech", "data.root=speech", "data.list_root=.", *lists, "loader.segment_s=0.3"]
    small = [word for word in SMALL if not word.startswith(("data.", "loader."))]
    assert main(["train", "baseline/toy", *small, *words, "loader.batch_size=1", "run_dir=new", "logger=none"]) == 2
    assert name in capsys.readouterr().err
    assert sorted(file.name for file in (place / "outside").iterdir()) == ["a.flac"]
