"""Runs of earlier versions go on working: a folder that such a version wrote, and configs of its recipes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from asteroid_stab.cli.main import main
from asteroid_stab.run.check import check_config
from asteroid_stab.run.folder import RunFolder
from asteroid_stab.run.upgrade import upgrade_config

HERE = Path(__file__).resolve().parent
CONFIGS = json.loads((HERE / "old_configs.json").read_text())  # recipes as `train --print-config` gave them
LOADER = ("segment_s", "batch_size", "num_workers", "seed")


@pytest.fixture
def run(tmp_path):
    """Two epochs of dsd_lo/toy on a corpus in ESC-50's layout, by the last version before this one's names."""
    return shutil.copytree(HERE / "old_run", tmp_path / "study" / "row" / "1")


@pytest.fixture
def data(esc, tmp_path):
    """Where the corpus is now."""
    return [f"data.root={esc}", f"data.cache_dir={tmp_path / 'cache'}"]


def test_it_is_trained_on(run, data):
    assert main(["train", f"resume={run}", *data, "trainer.max_epochs=3", "loader.num_workers=0"]) == 0
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics["step"].tolist() == [3, 6, 9]
    undisturbed = {"train/loss": 7.541201, "val/si_sdr": -5.811787, "train/switch_ratio": 0.25}  # three epochs of old
    for name, value in undisturbed.items():
        assert metrics[name].iloc[-1] == pytest.approx(value, rel=1e-3), name
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["MixtureDataModule"] == {"fingerprint": "518abe6c8276d79c"}
    assert "EscData" not in saved
    config = OmegaConf.load(run / "config.yaml")
    assert config.data._target_ == "asteroid_stab.data.EscCorpus"
    assert {key: config.loader[key] for key in LOADER} == {
        "segment_s": 0.25, "batch_size": 4, "num_workers": 0, "seed": 42
    }  # fmt: skip


def test_it_is_not_trained_on_with_other_items(run, data, capsys):
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    assert main(["train", f"resume={run}", *data, "data.n_train=13", "trainer.max_epochs=3"]) == 2
    assert "on items with fingerprint 518abe6c8276d79c, these 13 have " in capsys.readouterr().err
    assert main(["train", f"resume={run}", *data, "data.batch_size=2"]) == 2
    assert "the run's config has no key 'data.batch_size'" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_it_is_evaluated_reported_and_compared(run, data, capsys):
    assert main(["evaluate", str(run), *data, "--metrics", "si_sdr", "--n-jobs", "1"]) == 0
    assert len(pd.read_csv(run / "evaluation" / "test" / "utterances.csv")) == 2
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").stat().st_size > 10_000
    assert main(["compare", str(run.parents[1])]) == 0
    assert "row" in capsys.readouterr().out


def test_its_switches_are_counted(run, data):
    assert main(["switches", str(run), *data]) == 0
    assert pd.read_csv(run / "switches_whole_train.csv")["n_compared"].tolist() == [0, 12]


def test_its_model_separates(run, tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
    assert main(["separate", str(run), str(tmp_path / "a.wav")]) == 0
    assert len(list(tmp_path.glob("a_*.wav"))) == 2


def test_a_report_of_an_old_and_a_new_run_tells_no_renaming(run, data, tmp_path):
    new = shutil.copytree(run, tmp_path / "new")
    (new / "config.yaml").write_text(OmegaConf.to_yaml(RunFolder(run).config))
    assert "_target_: asteroid_stab.data.EscCorpus" in (new / "config.yaml").read_text()
    assert main(["report", str(run), str(new), "--out", str(tmp_path / "page.html")]) == 0
    assert "All runs have the same configuration." in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("recipe", CONFIGS)
def test_configs_fit_the_constructors(recipe, tmp_path):
    old = CONFIGS[recipe]
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(old)))
    config = RunFolder(tmp_path).config
    check_config(config)
    assert {key: config.loader[key] for key in LOADER} == {key: old["data"][key] for key in LOADER}
    assert [*config][:2] == ["data", "loader"]
    plain = OmegaConf.to_container(config)
    assert upgrade_config(plain) == plain


def test_corpora_inside_corpora_lose_what_is_the_loaders_or_the_bases():
    data = upgrade_config(CONFIGS["ssl/multitask_libri2mix"])["data"]
    assert [*data] == ["base", "enhancement", "_target_"]
    assert not {*LOADER} & {*data["base"], *data["enhancement"], *data["enhancement"]["base"]}
    assert (data["base"]["n_src"], data["base"]["sample_rate"]) == (2, 8000)
    assert "sample_rate" not in data["enhancement"]
    assert data["enhancement"]["base"]["_target_"] == "asteroid_stab.data.SpeechFolders"
    assert [*upgrade_config(CONFIGS["baseline/toy"])["data"]] == ["base", "_target_", "n_train", "level_db"]


def test_values_that_an_old_config_left_to_the_constructor():
    for kind, segment_s in (("ToyData", 1.5), ("esc.EscData", 4.0), ("librimix.LibriMixData", 3.0)):
        loader = upgrade_config({"data": {"_target_": f"asteroid_stab.data.{kind}"}})["loader"]
        assert {key: loader[key] for key in LOADER} == {
            "segment_s": segment_s, "batch_size": 8, "num_workers": 0, "seed": 0
        }  # fmt: skip


def test_classes_of_a_user_keep_their_names():
    config = {"data": {"_target_": "mine.ToyData"}, "callbacks": [{"_target_": "mine.Reweighting"}], "seed": 1}
    new = upgrade_config(config)
    assert (new["data"], new["callbacks"], new["seed"]) == (config["data"], config["callbacks"], 1)
