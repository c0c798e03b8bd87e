"""Mixtures in simulated rooms, from training to evaluation."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from runs import assert_same_weights, stab

from asteroid_stab.cli.main import main
from asteroid_stab.models.files import load_model
from asteroid_stab.run.folder import RunFolder

ROOMS = ["data.geometry=whamr", "data.low_rt60_s=0.1", "data.high_rt60_s=0.2", "data.n_train_rooms=3"]
ROOMS += ["data.n_valid_rooms=1", "data.n_test_rooms=1"]
BASE = ["data.base.n_train=8", "data.base.n_valid=4", "data.base.n_test=2", "data.base.n_utterances=1"]
NET = ["model.n_filters=16", "model.n_spatial=4", "model.n_blocks=1", "model.n_repeats=2", "model.bn_chan=4"]
REST = ["loader.segment_s=0.5", "trainer.accelerator=cpu", "logger=none"]
WORDS = ["dsd_lo/rooms", *ROOMS, *BASE, *NET, *REST]


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_a_file_is_written(tmp_path, capsys):
    for more, error in (
        (["data.n_positions=1"], "RoomsCorpus: n_positions must be at least 2, the sources of base, got 1"),
        (["data.mics=[0,4]"], "data.mics must be of the 4 channels of the mixtures, from 0 to 3, got 4"),
        (["data.ref_mic=4"], "data.ref_mic must be of the 4 channels of the mixtures, from 0 to 3, got 4"),
        (["data.mics=[0,2]"], "MultiMicConvTasNet takes 4 microphones, and the mixtures have 2: set model.n_mics=2"),
    ):
        assert main(["train", *WORDS, *more, f"run_dir={tmp_path / 'run'}"]) == 2
        assert error in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("more", [["data.fresh=true"], ["data.reverberant=false", "data.target=image"]])
def test_a_training_that_is_resumed_equals_one_left_alone_and_is_evaluated(tmp_path, more):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for run, n_epochs in ((whole, 2), (resumed, 1)):
        given = [*WORDS, *more, "scheduler=plateau", f"trainer.max_epochs={n_epochs}", f"run_dir={run}"]
        assert main(["train", *given]) == 0
    assert main(["train", f"resume={resumed}", "trainer.max_epochs=2", "loader.num_workers=2"]) == 0
    assert_same_weights(whole, resumed)
    assert main(["evaluate", str(whole), "--metrics", "si_sdr", "--n-jobs", "1"]) == 0
    assert len(pd.read_csv(whole / "evaluation" / "test" / "utterances.csv")) == 2
    assert main(["report", str(whole)]) == 0


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    common = [*WORDS, "trainer.max_epochs=1", "trainer.precision=64-true", "stabilizer=[]"]
    stab("train", *common, f"run_dir={tmp_path / 'one'}")
    ranks = ["trainer=ddp", "trainer.devices=2", "loader.batch_size=2"]
    stab("train", *common, *ranks, f"run_dir={tmp_path / 'two'}")
    assert_same_weights(tmp_path / "one", tmp_path / "two", rtol=0, atol=1e-7)


@pytest.mark.slow
def test_a_model_is_evaluated_and_separates_in_rooms_of_another_geometry(tmp_path, capsys):
    """Measured beside its own rooms; and not compared with a run in those, though the mixtures have the same names."""
    run, other = tmp_path / "study" / "own" / "1", tmp_path / "study" / "other" / "1"
    assert main(["train", *WORDS, "trainer.max_epochs=1", f"run_dir={run}"]) == 0
    elsewhere = ["data.geometry=sms_wsj", "data.low_rt60_s=0.1", "data.high_rt60_s=0.2"]
    shutil.copytree(run, other)
    measure = ["--metrics", "si_sdr", "--n-jobs", "1"]
    for words in ([str(run)], [str(run), *elsewhere, "--name", "sms"], [str(other), *elsewhere]):
        assert main(["evaluate", *words, *measure]) == 0
        assert main(["evaluate", *words, "--oracle", "mvdr", *measure]) == 0
    own, there = (pd.read_csv(run / "evaluation" / name / "utterances.csv") for name in ("test", "test@sms"))
    assert own["name"].equals(there["name"])
    assert (own["input_si_sdr"] - there["input_si_sdr"]).abs().min() > 0.01
    assert there["si_sdr"].notna().all()
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "study")]) == 0
    out = capsys.readouterr().out
    groups = (
        "other on 2 against early references; own on 2 against early references of the same names with other signals"
    )
    assert f"these rows cannot be compared, they were evaluated on different mixtures: {groups}" in out
    assert out.count("| oracle MVDR, 4 microphones | – |") == 2  # of each kind of room
    assert [line.split(" | ")[:2] for line in out.splitlines() if "oracle MVDR, 4 microphones | 1 | 2" in line] == [
        ["| other", "oracle MVDR, 4 microphones"],
        ["| own", "oracle MVDR, 4 microphones"],
    ]

    mixture, sources, _ = RunFolder(run).datamodule(elsewhere).test_dataset()[0]
    sf.write(tmp_path / "there.wav", mixture.T.numpy(), 8000, subtype="FLOAT")
    assert main(["separate", str(run), str(tmp_path / "there.wav"), "--out", str(tmp_path)]) == 0
    wanted = load_model(run / "best_model.pth")(mixture[None])[0].detach().numpy()
    for j in range(len(sources)):
        found, _ = sf.read(tmp_path / f"there_est{j + 1}.wav")
        assert abs(np.corrcoef(found, wanted[j])[0, 1]) > 0.999
    sf.write(tmp_path / "two.wav", mixture[:2].T.numpy(), 8000)
    assert main(["separate", str(run), str(tmp_path / "two.wav"), "--out", str(tmp_path)]) == 2
    assert "two.wav: it has 2 channels: the model takes 4" in capsys.readouterr().err
    assert not (tmp_path / "two_est1.wav").exists()
