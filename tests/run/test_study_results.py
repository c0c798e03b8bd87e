"""Results of a study without models and sounds: read as the study is, and gathered from several places."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import RunLayout, StudyLayout
from asteroid_stab.run.study import table
from asteroid_stab.run.study_record import read_record, write_record
from asteroid_stab.run.study_results import keep_results


def finished(folder, row, seed, score=1.0, words=("x/y",)):
    """A run of a study with all that a run leaves."""
    run = RunLayout(folder / row / str(seed))
    test = run.evaluation("test")
    test.examples.mixture("best").parent.mkdir(parents=True)
    run.config.write_text("recipe: x/y\n")
    run.versions.write_text("{}")
    pd.DataFrame({"epoch": [0], "step": [1], "seconds": [1.0], "val/si_sdr_i": [score]}).to_csv(
        run.metrics, index=False
    )
    pd.DataFrame({"epoch": [1], "layer": [0], "switch_ratio": [0.5]}).to_csv(run.switches, index=False)
    run.model.write_bytes(b"weights")
    test.examples.mixture("best").write_bytes(b"sound")
    pd.DataFrame({"name": ["m"], "si_sdr_i": [score], "input_si_sdr": [0.0]}).to_csv(test.utterances, index=False)
    numbers = {"si_sdr_i": {"mean": score, "p10": score}}
    digest = hashlib.sha256(b"weights").hexdigest()
    summary = {"metrics": numbers, "failures": {}, "command": "c", "model_sha256": digest}
    test.summary.write_text(json.dumps(summary))
    study = StudyLayout(folder)
    study.steps(row, seed).write_text(json.dumps({"cpu_seconds": 60.0}))
    write_record(study, {**read_record(study), row: list(words)})
    return run


def test_the_kept_results_give_the_same_tables_without_models_and_sounds(tmp_path):
    for row, score in (("b", 1.0), ("a", 2.0)):
        finished(tmp_path / "study", row, 1, score)
        finished(tmp_path / "study", row, 2, score + 0.5)
    assert keep_results(tmp_path / "study", tmp_path / "kept") == (["a/1", "a/2", "b/1", "b/2"], {})
    assert table(tmp_path / "kept", "test") == table(tmp_path / "study", "test")
    suffixes = {file.suffix for file in (tmp_path / "kept").rglob("*") if file.is_file()}
    assert suffixes == {".yaml", ".json", ".csv"}
    assert read_record(StudyLayout(tmp_path / "kept")) == {"b": ["x/y"], "a": ["x/y"]}


def test_results_of_several_studies_are_gathered_and_a_run_is_replaced(tmp_path):
    finished(tmp_path / "one", "a", 1, 1.0)
    finished(tmp_path / "one", "b", 1, 1.0)
    keep_results(tmp_path / "one", tmp_path / "kept")
    again = finished(tmp_path / "two", "a", 1, 3.0)
    again.switches.unlink()
    finished(tmp_path / "two", "c", 2, 4.0)
    keep_results(tmp_path / "two", tmp_path / "kept")
    assert read_record(StudyLayout(tmp_path / "kept")) == {"a": ["x/y"], "c": ["x/y"], "b": ["x/y"]}
    kept = RunLayout(tmp_path / "kept" / "a" / "1")
    assert [file.read_bytes() for file in kept.tables()] == [file.read_bytes() for file in again.tables()]
    assert not kept.switches.exists()
    assert [line.split("|")[1].strip() for line in table(tmp_path / "kept", "test")[2:5]] == ["a", "c", "b"]


def test_a_run_without_an_evaluation_is_left_out(tmp_path):
    finished(tmp_path / "study", "a", 1)
    finished(tmp_path / "study", "a", 2).evaluation("test").summary.unlink()
    left_out = {"a/2": "no evaluation of test"}
    assert keep_results(tmp_path / "study", tmp_path / "kept") == (["a/1"], left_out)
    assert not (tmp_path / "kept" / "a" / "2").exists()
    with pytest.raises(StabError, match=r"study has no result to keep: no evaluation of valid of wham$"):
        keep_results(tmp_path / "study", tmp_path / "kept", "valid", "wham")


def test_an_evaluation_of_another_model_is_left_out(tmp_path):
    """Without the model file, nobody could see that the numbers are not of it."""
    finished(tmp_path / "study", "a", 1)
    finished(tmp_path / "study", "b", 1).model.write_bytes(b"other weights")
    left_out = {"b/1": "its model has changed since an evaluation (evaluate with --overwrite)"}
    assert keep_results(tmp_path / "study", tmp_path / "kept") == (["a/1"], left_out)


def test_an_interrupted_copy_is_no_evaluation(tmp_path, monkeypatch):
    finished(tmp_path / "study", "a", 1)
    keep_results(tmp_path / "study", tmp_path / "kept")
    copy = shutil.copyfile

    def until_the_summary(file, new):
        if file.name == "summary.json":
            raise OSError("the disk is full")
        copy(file, new)

    monkeypatch.setattr(shutil, "copyfile", until_the_summary)
    with pytest.raises(OSError, match="disk is full"):
        keep_results(tmp_path / "study", tmp_path / "kept")
    assert not RunLayout(tmp_path / "kept" / "a" / "1").evaluation("test").summary.exists()


def test_the_time_of_another_run_is_not_kept(tmp_path):
    finished(tmp_path / "one", "a", 1)
    keep_results(tmp_path / "one", tmp_path / "kept")
    finished(tmp_path / "two", "a", 1)
    StudyLayout(tmp_path / "two").steps("a", 1).unlink()
    keep_results(tmp_path / "two", tmp_path / "kept")
    assert not StudyLayout(tmp_path / "kept").steps("a", 1).exists()


def test_the_present_folder_can_take_results(tmp_path, monkeypatch):
    finished(tmp_path / "study", "a", 1)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert keep_results(Path("../study"), Path()).copied == ["a/1"]


def test_results_of_another_row_of_the_same_name_are_refused(tmp_path):
    finished(tmp_path / "one", "a", 1, words=["x/y"])
    finished(tmp_path / "two", "a", 1, words=["x/z", "optim.lr=1"])
    keep_results(tmp_path / "one", tmp_path / "kept")
    before = {file: file.read_bytes() for file in (tmp_path / "kept").rglob("*") if file.is_file()}
    with pytest.raises(StabError, match=r"holds results of another row 'a', 'x/y', and .*two has 'x/z optim.lr=1'"):
        keep_results(tmp_path / "two", tmp_path / "kept")
    assert {file: file.read_bytes() for file in (tmp_path / "kept").rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("to", ["study", "study/kept", ".", "study/a"])
def test_results_are_kept_beside_the_study(tmp_path, to):
    finished(tmp_path / "study", "a", 1)
    with pytest.raises(StabError, match="can be kept beside it, not in it or around it"):
        keep_results(tmp_path / "study", tmp_path / to)
