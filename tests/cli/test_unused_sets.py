"""Verbs over a run whose other sets are gone: they neither look for nor make what they do not use."""

import json
import shutil

import pytest
import trees
from runs import SMALL

from asteroid_stab.cli.main import main

pytestmark = pytest.mark.slow
MODEL = [word for word in SMALL if word.startswith(("model.", "trainer.", "scheduler"))]
SUBSETS = {"train": "train-clean-100", "valid": "dev-clean", "test": "test-clean"}


def packs(run):
    return sorted(file.name for file in (run / "cache").glob("*.pack"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run over lists of speech with a packed cache in its folder; of the speech, the training set is gone after."""
    place = tmp_path_factory.mktemp("unused")
    trees.librispeech(place / "speech", SUBSETS.values(), n_speakers=4, n_utterances=2)
    trees.libri2mix_lists(place / "speech", place / "lists", SUBSETS.values())
    lists = [f"data.{split}_list={place}/lists/libri2mix_{name}.csv" for split, name in SUBSETS.items()]
    words = [*MODEL, "data=librispeech", f"data.root={place}/speech", *lists, "loader.segment_s=0.5"]
    words += ["loader.batch_size=2", "logger=none", "trainer.max_epochs=2", "callbacks=[tracker,epoch_models]"]
    run = place / "run"
    assert main(["train", "baseline/toy", f"run_dir={run}", f"data.cache={run}/cache", *words]) == 0
    assert len(packs(run)) == 2
    shutil.rmtree(place / "speech" / SUBSETS["train"])
    (place / "lists" / f"libri2mix_{SUBSETS['train']}.csv").unlink()
    return run


@pytest.fixture
def empty_cache(run):
    shutil.rmtree(run / "cache", ignore_errors=True)
    return run


@pytest.mark.parametrize("split", ["test", "valid"])
def test_evaluate_packs_its_split_alone(empty_cache, split):
    words = ["--split", split, "--metrics", "si_sdr", "--n-jobs", "1", "--limit", "2", "--overwrite"]
    assert main(["evaluate", str(empty_cache), *words]) == 0
    assert len(packs(empty_cache)) == 1
    summary = json.loads((empty_cache / "evaluation" / split / "summary.json").read_text())
    assert summary["n"] == 2


def test_average_packs_the_validation_set_alone(empty_cache):
    assert main(["average", str(empty_cache), "--last", "2"]) == 0
    assert len(packs(empty_cache)) == 1


def test_switches_packs_its_split_alone(empty_cache):
    assert main(["switches", str(empty_cache), "--split", "valid"]) == 0
    assert len(packs(empty_cache)) == 1


def test_separate_and_report_pack_nothing(empty_cache):
    file = next((empty_cache.parent / "speech" / SUBSETS["test"]).rglob("*.flac"))
    words = ["--out", str(empty_cache.parent / "estimates"), "--resample"]
    assert main(["separate", str(empty_cache), str(file), *words]) == 0
    assert main(["report", str(empty_cache)]) == 0
    assert packs(empty_cache) == []


def test_the_set_that_is_used_is_still_needed(run, capsys):
    assert main(["switches", str(run), "--split", "train"]) == 2
    assert "train-clean-100.csv" in capsys.readouterr().err


def test_average_takes_a_cache_that_its_words_name(run, tmp_path, capsys):
    """The cache of the run may stand elsewhere, which a run folder may not say for itself."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("cache"))
    shutil.rmtree(run / "cache", ignore_errors=True)
    assert main(["average", str(copy), "--last", "1"]) == 2
    assert "names a folder for its cache that holds none" in capsys.readouterr().err
    assert main(["average", str(copy), "--last", "1", f"data.cache={tmp_path}/elsewhere"]) == 0
    assert len([*(tmp_path / "elsewhere").glob("*.pack")]) == 1
