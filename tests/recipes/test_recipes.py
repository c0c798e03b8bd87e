"""Every recipe composes, fits the constructors that it names, and trains two steps on data of its kind."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from asteroid_stab.check import check_config
from asteroid_stab.cli.compose import compose_recipe
from asteroid_stab.cli.main import main
from asteroid_stab.cli.recipes import recipe_files, summary
from asteroid_stab.errors import StabError

RECIPES = recipe_files()
SMALL = ["model.n_filters=32", "model.n_blocks=2", "model.n_repeats=1", "model.bn_chan=8", "model.hid_chan=16"]


@pytest.fixture(scope="session")
def speech(tmp_path_factory):
    """A LibriSpeech of six speakers of noise, and lists of mixtures of it under the names that recipes ask for."""
    root = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    paths = []
    for speaker in range(6):
        file = root / "train-clean-100" / f"{speaker}" / "1" / f"{speaker}-1-0000.flac"
        file.parent.mkdir(parents=True)
        soundfile.write(file, 0.1 * rng.standard_normal(16_000 * 4), 16_000)
        paths.append(str(file.relative_to(root)))
    pairs = [(a, b) for a in paths for b in paths if a < b]
    table = pd.DataFrame(
        {
            "mixture_ID": [f"{Path(a).stem}_{Path(b).stem}" for a, b in pairs],
            "source_1_path": [a for a, _ in pairs],
            "source_1_gain": 1.0,
            "source_2_path": [b for _, b in pairs],
            "source_2_gain": 0.8,
        }
    )
    for name in ("train-clean-100", "train-clean-100-valid", "dev-clean", "test-clean", "test-other"):
        table.to_csv(root / f"libri2mix_{name}.csv", index=False)
    return root


def corpus(config, speech):
    """Overrides that put a small corpus in the place of a recipe's."""
    if config.data._target_.endswith("ToyData"):
        return ["data.n_train=8", "data.n_valid=4", "data.n_test=4", "data.n_utterances=2", "data.segment_s=0.5"]
    return [f"data.root={speech}", f"data.list_root={speech}", "data.num_workers=0", "data.segment_s=0.5"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_says_what_it_is(recipe):
    assert len(summary(RECIPES[recipe])) > 20


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_trains_two_steps(recipe, speech, tmp_path):
    words = [*corpus(compose_recipe(recipe), speech), *SMALL, "data.batch_size=2", "trainer.max_epochs=1"]
    words += ["trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.accelerator=cpu", "logger=none"]
    assert main(["train", recipe, f"run_dir={tmp_path / 'run'}", *words]) == 0
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics["step"].tolist() == [2]
    assert np.isfinite(metrics["train/loss"]).all()


@pytest.mark.parametrize("group", ["trainer=ddp", "scheduler=none", "logger=wandb", "data=librimix", "data=dynamic"])
def test_ingredients_that_no_recipe_uses_fit_as_well(group):
    config = compose_recipe("baseline/toy", [group, *(["data.root=/x"] if "librimix" in group else [])])
    check_config(config)


def test_the_tracker_refuses_dynamic_mixing_by_name(tmp_path, capsys):
    words = ["data=dynamic", "data.base.n_utterances=2", "data.n_train=8", "data.segment_s=0.5", *SMALL]
    words += [f"run_dir={tmp_path / 'run'}", "logger=none", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    assert main(["train", "baseline/toy", *words]) == 2
    assert "AssignmentTracker needs stable ids" in capsys.readouterr().err
    assert (
        main(["train", "baseline/toy", *words[:-3], f"run_dir={tmp_path / 'b'}", *words[-3:], "~callbacks.tracker"])
        == 0
    )


def test_a_missing_corpus_says_which_key_to_set(tmp_path, capsys):
    assert main(["train", "baseline/mini_librispeech", f"run_dir={tmp_path / 'run'}", "logger=none"]) == 2
    assert "data.root=" in capsys.readouterr().err


def test_missing_files_stop_the_run_unless_skipped(speech, tmp_path, capsys):
    table = pd.read_csv(speech / "libri2mix_train-clean-100.csv")
    table.loc[0, "source_1_path"] = "train-clean-100/9/1/9-1-0000.flac"
    table.to_csv(tmp_path / "list.csv", index=False)
    words = [*corpus(compose_recipe("baseline/mini_librispeech"), speech), *SMALL, "data.batch_size=2", "logger=none"]
    words += [f"data.train_list={tmp_path / 'list.csv'}", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    assert main(["train", "baseline/mini_librispeech", f"run_dir={tmp_path / 'a'}", *words]) == 2
    assert "9-1-0000.flac" in capsys.readouterr().err
    words += ["data.skip_missing=true", "trainer.limit_train_batches=1"]
    assert main(["train", "baseline/mini_librispeech", f"run_dir={tmp_path / 'b'}", *words]) == 0


def test_compose_refuses_an_unknown_recipe():
    with pytest.raises(StabError, match=r"no recipe 'baseline/tou' \(did you mean 'baseline/toy'\?\)"):
        compose_recipe("baseline/tou")
