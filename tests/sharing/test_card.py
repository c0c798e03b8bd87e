"""The card of a shared model."""

import json

import pytest
import yaml
from shared_runs import shared_run

from asteroid_stab.report.run_data import read_runs
from asteroid_stab.run.recipes import recipe_files
from asteroid_stab.sharing.card import Origin, card, papers

ORIGIN = Origin("ann/two-voices", "ssl/toy_finetune", "LibriMix", "ConvTasNet", 8000.0, 2, None, {})


def card_of(tmp_path, evaluated=True, **changes):
    run = read_runs([shared_run(tmp_path / "run", evaluated=evaluated).root])[0]
    return card(run, Origin(**{**vars(ORIGIN), **changes}))


def front(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_the_front_matter_holds_what_was_measured(tmp_path):
    facts = front(card_of(tmp_path, licence="cc-by-4.0"))
    assert facts["license"] == "cc-by-4.0"
    assert facts["pipeline_tag"] == "audio-to-audio"
    (result,) = facts["model-index"][0]["results"]
    assert result["dataset"] == {"type": "librimix", "name": "LibriMix, test set"}
    assert {one["type"]: one["value"] for one in result["metrics"]} == {"si_sdr": 7.0, "si_sdr_i": 7.0}


def summary_with(run, **entries):
    file = run.evaluation("test").summary
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))
    return card(read_runs([run.root])[0], ORIGIN)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"limit": 4, "n_of": 3000}, "the first 4 of 3,000 mixtures"),
        ({"limit": 4}, "the first 4 mixtures"),  # of an earlier version, which kept no more
        ({"n_of": 4, "target": "early"}, "4 mixtures against their early references"),
        ({"limit": 1, "n_of": 9, "target": "image"}, "the first 4 of 9 mixtures against their image references"),
    ],
)
def test_a_part_of_the_test_set_is_no_whole_one(tmp_path, entries, words):
    text = summary_with(shared_run(tmp_path / "run"), **entries)
    assert f"Test set, {words}; 95% interval" in text
    (result,) = front(text)["model-index"][0]["results"]
    assert result["dataset"]["name"] == f"LibriMix, test set: {words}"


def test_all_mixtures_are_the_test_set(tmp_path):
    text = summary_with(shared_run(tmp_path / "run"), limit=None, n_of=4)
    assert "Test set, 4 mixtures; 95% interval" in text
    assert front(text)["model-index"][0]["results"][0]["dataset"]["name"] == "LibriMix, test set"


def test_the_table_has_an_interval_over_mixtures(tmp_path):
    text = card_of(tmp_path)
    # 5, 7, 9, 7: standard error sqrt(8 / 3 / 4), times Student's 3.182
    assert "| SI-SDRi (dB) | 7.00 | ± 2.60 | 4 |" in text
    assert "Test set, 4 mixtures; 95% interval for other mixtures of its kind." in text
    assert "| training time | 2 min 15 s |" in text
    assert "| model | ConvTasNet, 12 k parameters |" in text


OURS = "asteroid-stab"


@pytest.mark.parametrize(("packages", "words"), [({OURS: "0.0.7"}, f"{OURS} 0.0.7"), ({OURS: "0|7"}, OURS), ({}, OURS)])
def test_the_version_is_the_trainings(tmp_path, packages, words):
    run = shared_run(tmp_path / "run", evaluated=False)
    run.versions.write_text(json.dumps({"packages": packages}))
    assert f"| trained with | {words} |" in card(read_runs([run.root])[0], ORIGIN)


def test_a_licence_is_never_invented(tmp_path):
    text = card_of(tmp_path)
    assert "The author gave no licence for these weights." in text
    assert "license" not in front(text)


def test_without_an_evaluation_nothing_is_claimed(tmp_path):
    text = card_of(tmp_path, evaluated=False)
    assert "nothing was measured" in text
    assert "model-index" not in front(text)


def test_an_evaluation_of_another_model_file_says_so(tmp_path):
    run = shared_run(tmp_path / "run")
    summary = run.evaluation("test").summary
    summary.write_text(summary.read_text().replace('{"command"', '{"model_sha256": "00", "command"'))
    text = card(read_runs([run.root])[0], ORIGIN)
    assert "The model file has changed since it was measured." in text
    assert "model-index" not in front(text)  # the hub's tables would show the figures without that


def test_an_improvement_that_means_nothing_is_not_shown(tmp_path):
    run = shared_run(tmp_path / "run")
    summary = run.evaluation("test").summary
    facts = json.loads(summary.read_text())
    facts["metrics"] |= dict.fromkeys(("sar", "sar_i"), facts["metrics"]["si_sdr"])
    summary.write_text(json.dumps(facts))
    text = card(read_runs([run.root])[0], ORIGIN)
    (result,) = front(text)["model-index"][0]["results"]
    assert [one["type"] for one in result["metrics"]] == ["si_sdr", "si_sdr_i", "sar"]
    assert "SARi" not in text


def test_sounds_and_papers_stand_in_it(tmp_path):
    text = card_of(tmp_path, examples={"mixture": "examples/mixture.wav"})
    assert '<audio controls src="examples/mixture.wav">' in text
    assert "Stabilizing label assignment for speech separation by self-supervised pre-training" in text
    assert "its papers are not known here" in card_of(tmp_path / "other", recipe="mine/a")


@pytest.mark.parametrize("recipe", sorted({name.partition("/")[0]: name for name in recipe_files()}.values()))
def test_the_papers_of_every_recipe_are_text_without_links_into_the_repository(recipe):
    text = papers(recipe)
    assert len(text) > 40
    assert "](.." not in text
    assert "Claim" not in text
