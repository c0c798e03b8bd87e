"""Steps of a run: when one counts as done."""

import hashlib
import json

import pytest
from studies import runs_in

from asteroid_stab.run.layout import RunLayout, StudyLayout
from asteroid_stab.run.study_steps import Steps, cpu_seconds_of


@pytest.fixture
def again(tmp_path):
    """The steps of a run as the next study reads them; words of all rows may be given."""

    def read(*overrides):
        [run] = runs_in(tmp_path, "a x/y", [1], overrides)
        return Steps(run, StudyLayout(tmp_path / "s"))

    return read


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "s" / "a" / "1"
    (run / "evaluation" / "test").mkdir(parents=True)
    return run


def finish(run, steps):
    """Both steps end well, and leave their results."""
    (run / "best_model.pth").write_bytes(b"weights")
    steps.end("train", True, 60, 40)
    summary = {"model_sha256": hashlib.sha256(b"weights").hexdigest()}
    (run / "evaluation" / "test" / "summary.json").write_text(json.dumps(summary))
    steps.end("evaluate", True, 5, 4.5)


def test_training_comes_before_evaluation_and_then_nothing(run, again):
    assert again().next() == "train"
    steps = again()
    steps.begin("train")
    steps.end("train", False, 30, 20)
    assert again().next() == "train"
    (run / "best_model.pth").write_bytes(b"weights")
    steps.end("train", True, 30, 20)
    assert again().next() == "evaluate"
    finish(run, steps)
    assert again().next() is None
    assert (again().seconds, again().cpu_seconds) == (125, 84.5)
    assert cpu_seconds_of(RunLayout(run)) == 84.5


def test_a_step_that_begins_is_no_longer_done_and_its_results_neither(run, again):
    finish(run, again())
    again().begin("evaluate")
    assert again().next() == "evaluate"
    finish(run, again())
    again().begin("train")
    assert again().next() == "train"
    assert not again().is_done("evaluate")


def test_other_words_are_another_training(run, again):
    finish(run, again())
    assert again("optim.lr=1").next() == "train"
    assert again().next() is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seconds": "x"}', '{"seconds": [1]}', '{"cpu_seconds": "x"}', "1"])
def test_a_damaged_file_means_that_nothing_is_known(run, again, text):
    finish(run, again())
    (run.parent / "1.json").write_text(text)
    assert (again().next(), again().seconds) == ("train", 0.0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model_sha256": "of another"}'])
def test_an_evaluation_is_of_the_model_as_it_is(run, again, text):
    finish(run, again())
    (run / "evaluation" / "test" / "summary.json").write_text(text)
    assert again().next() == "evaluate"
    finish(run, again())
    (run / "best_model.pth").write_bytes(b"others")
    assert again().next() == "evaluate"
    (run / "best_model.pth").unlink()
    assert again().next() == "train"
