"""The contract of a corpus, the checks of its arguments, and where they stand in errors."""

import subprocess
import sys
import types

import pytest
from runs import SMALL

import asteroid_stab.data
from asteroid_stab.cli.main import main
from asteroid_stab.data import Corpus, ToyCorpus
from asteroid_stab.data.corpus import (
    check_choice,
    check_count,
    check_counts,
    check_folder,
    check_level,
    check_rate,
    check_split,
)
from asteroid_stab.errors import StabError


def test_what_a_corpus_must_have_and_what_it_need_not(tiny_corpus):
    class Half(Corpus):
        pass

    with pytest.raises(TypeError, match="abstract method '?dataset'?"):
        Half(2, 8000)
    corpus = tiny_corpus(n_src=3)
    assert (corpus.n_src, corpus.sample_rate, corpus.prepare()) == (3, 8000, None)
    with pytest.raises(StabError, match="TinyCorpus has no single utterances to mix"):
        corpus.utterances("train")
    with pytest.raises(ValueError, match="n_src must be an integer of at least 1, got 0"):
        tiny_corpus(n_src=0)
    with pytest.raises(ValueError, match="sample_rate must be at most 192000, got 1000000"):
        ToyCorpus(sample_rate=1_000_000)
    with pytest.raises(ValueError, match="n_utterances must be at most 10000, got 2147483648"):
        ToyCorpus(n_utterances=2**31)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_count("n", True, 1), "n must be an integer of at least 1, got True"),
        (lambda: check_count("n", 2.0, 1), "n must be an integer of at least 1, got 2.0"),
        (lambda: check_count("n", 8, 1, 7), "n must be at most 7, got 8"),
        (lambda: check_counts(1, 2**31, 1), "n_valid must be at most 100000000, got 2147483648"),
        (lambda: check_counts(1, 0, 1), "n_valid must be an integer of at least 1, got 0"),
        (lambda: check_choice("mode", "mixx", ("min", "mix")), r"one of min, mix, got 'mixx' \(did you mean 'mix'\?\)"),
        (lambda: check_split("dev"), "split must be one of train, valid, test, got 'dev'"),
        (lambda: check_rate(44_100), "sample_rate must be 8000 or 16000, got 44100"),
        (lambda: check_level("level_db", -0.5), "level_db must be a number of dB from 0 on, got -0.5"),
        (lambda: check_level("level_db", float("nan")), "level_db must be a number of dB from 0 on, got nan"),
    ],
)
def test_arguments_out_of_range(check, message):
    with pytest.raises(ValueError, match=message) as caught:
        check()
    assert not isinstance(caught.value, StabError)  # a constructor does not know who calls it


def test_arguments_in_range_are_returned(tmp_path):
    assert (check_count("n", 3, 1), check_counts(1, 2, 3)) == (3, {"train": 1, "valid": 2, "test": 3})
    assert (check_choice("mode", "min", ("min", "max")), check_split("test"), check_rate(8000)) == ("min", "test", 8000)
    assert (check_level("level_db", 0), check_folder("root", str(tmp_path), "it")) == (0, str(tmp_path))


def test_a_folder_that_is_not_there_names_its_argument(tmp_path):
    for folder, message in (
        (None, "root is not set; set root=FOLDER to the LibriSpeech folder"),
        (f"{tmp_path}/x", f"root: there is no folder {tmp_path}/x; set root=FOLDER to the LibriSpeech folder"),
    ):
        with pytest.raises(StabError) as caught:
            check_folder("root", folder, "the LibriSpeech folder")
        assert str(caught.value) == message
        assert caught.value.argument == "root"


def test_every_corpus_is_taken_from_one_place():
    for name in asteroid_stab.data.__all__:
        found = getattr(asteroid_stab.data, name)
        assert found.__name__ == name
        assert name in dir(asteroid_stab.data)
    with pytest.raises(AttributeError, match=r"module 'asteroid_stab.data' has no attribute 'ToyData'"):
        _ = asteroid_stab.data.ToyData


def test_a_corpus_is_imported_when_it_is_asked_for():
    code = (
        "import sys, asteroid_stab.data; print([m for m in sys.modules if m.startswith('asteroid_stab.data.corpora')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_corpus_of_a_users_own_trains(tmp_path, tiny_corpus, monkeypatch):
    module = types.ModuleType("own_corpora")
    module.Tones = tiny_corpus
    monkeypatch.setitem(sys.modules, "own_corpora", module)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tones.yaml").write_text("_target_: own_corpora.Tones\nn_src: 3\n")
    lines = ["# @package _global_", "# Mine.", "defaults: [/baseline/toy, override /data: tones, _self_]"]
    (tmp_path / "mine.yaml").write_text("\n".join([*lines, "loader: {segment_s: 0.1}", "model: {sample_rate: 8000}"]))
    words = [
        f"run_dir={tmp_path / 'run'}",
        *(word for word in SMALL if word[:5] not in ("data.", "loade")),
        "trainer.max_epochs=1",
        "logger=none",
    ]
    assert main(["train", "mine", "--config-dir", str(tmp_path), *words]) == 0
    assert (tmp_path / "run" / "best_model.pth").is_file()
