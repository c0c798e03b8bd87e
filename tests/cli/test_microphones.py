"""Mixtures of several microphones, from training to separated files."""

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from runs import SMALL, assert_same_weights, stab
from trees import array

from asteroid_stab.cli.main import main

NET = "model.net={_target_: own_nets.%s, norm: {_target_: torch.nn.Identity}}"
REFERENCE = ["model=hosted", NET % "FirstOfMics", "model.inputs=channel_time", "model.n_mics=2"]
SIZE = ["model.n_filters=16", "model.n_spatial=4", "model.n_blocks=2", "model.n_repeats=2", "model.bn_chan=4"]
TINY = ["model.enc_dim=4", "model.feature_dim=4", "model.hidden_dim=4", "model.tac_hidden_dim=4", "model.n_layers=1"]
MEAN = ["model=hosted", NET % "AllMics", "model.inputs=channel_time", "model.n_mics=2"]


@pytest.fixture
def words(tmp_path, monkeypatch):
    """A training on mixtures of three microphones."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    array(tmp_path / "array", n_mics=3, n_mixtures=8)
    split = ["data.train_path=tr", "data.valid_path=cv", "data.test_path=tt"]
    loader = [
        "loader.segment_s=0.5",
        "loader.batch_size=4",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "scheduler=plateau",
    ]
    return ["baseline/toy", "data=mixture_files", f"data.root={tmp_path / 'array'}", *split, *loader, "logger=none"]


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_a_file_is_written(tmp_path, words, capsys):
    model = [word for word in SMALL if word.startswith("model.")]
    for more, error in (
        (model, "ConvTasNet takes 1 microphone, and the mixtures have 3: set data.mics=[0], which takes the first one"),
        ([*model, "data.mics=[0,3]"], "data.mics must be of the 3 channels of the mixtures, from 0 to 2, got 3"),
        ([*model, "data.mics=[0,0]"], "mics must be a list of different channels from 0, or null for all, got [0, 0]"),
        (MEAN, "HostedModel takes 2 microphones, and the mixtures have 3: set model.n_mics=3, or data.mics to 2 of"),
        ([*MEAN, "data.mics=[0,1]", "loader.speeds=[0.95,1.0]"], "set loader.speeds=[], or data.mics=[0]"),
    ):
        assert main(["train", *words, *more, f"run_dir={tmp_path / 'run'}"]) == 2
        assert error in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_net_that_hears_the_reference_alone_has_the_runs_of_one_microphone(tmp_path, words, capsys):
    """Trained, resumed, evaluated on its corpus and on files, and separated with: all to the bit."""
    one, two = tmp_path / "one", tmp_path / "two"
    kinds = {
        one: ["model=hosted", NET % "TinyMask", "data.mics=[0]"],
        two: [*REFERENCE, "data.mics=[2,0]", "data.ref_mic=0"],
    }
    for run, more in kinds.items():
        assert main(["train", *words, *more, f"run_dir={run}"]) == 0
        assert main(["train", f"resume={run}", "trainer.max_epochs=2"]) == 0
        assert main(["evaluate", str(run), "--metrics", "si_sdr", "--n-jobs", "1"]) == 0
        assert main(["report", str(run)]) == 0
    assert_same_weights(one, two)
    tables = [pd.read_csv(run / "metrics.csv").drop(columns="seconds") for run in kinds]
    pd.testing.assert_frame_equal(*tables)
    evaluated = [run / "evaluation" / "test" for run in kinds]
    pd.testing.assert_frame_equal(*(pd.read_csv(folder / "utterances.csv") for folder in evaluated))
    for name in ("mixture.wav", "source_1.wav", "estimate_2.wav"):
        sounds = [sf.read(folder / "examples" / "best" / name) for folder in evaluated]
        np.testing.assert_array_equal(sounds[0][0], sounds[1][0])
        assert sounds[0][0].ndim == 1

    tests = str(tmp_path / "array" / "tt")
    capsys.readouterr()
    assert main(["evaluate", str(two), tests, "--metrics", "si_sdr", "--n-jobs", "1"]) == 2
    assert (
        "takes 2 microphones, and the mixtures have 3: set model.n_mics=3, or data.mics to 2" in capsys.readouterr().err
    )
    for run, mics in ((one, "[0]"), (two, "[0,1]")):
        assert main(["evaluate", str(run), tests, f"data.mics={mics}", "--metrics", "si_sdr", "--n-jobs", "1"]) == 0
    found = [pd.read_csv(run / "evaluation" / "test@tt" / "utterances.csv") for run in kinds]
    pd.testing.assert_frame_equal(*found)

    recording = tmp_path / "array" / "tt" / "mix" / "00.wav"
    for run, channels in ((one, "1"), (two, "1,3")):
        assert main(["separate", str(run), str(recording), "--channel", channels, "--out", str(run / "out")]) == 0
        assert (
            main(["separate", str(run), str(recording), "--out", str(run / "own")]) == 0
        )  # the training's, in its order
    sounds = [sf.read(run / out / "00_est1.wav")[0] for run in kinds for out in ("out", "own")]
    assert all(np.array_equal(sound, sounds[0]) for sound in sounds)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path, words):
    common = [*words, *MEAN, "data.mics=[0,2]", "trainer.max_epochs=2", "trainer.precision=64-true"]
    common += ["stabilizer=[reweight]", "stabilizer.reweight.alpha=0.5"]
    stab("train", *common, f"run_dir={tmp_path / 'one'}")
    ranks = ["trainer=ddp", "trainer.devices=2", "loader.batch_size=2"]
    stab("train", *common, *ranks, f"run_dir={tmp_path / 'two'}")
    assert_same_weights(tmp_path / "one", tmp_path / "two", rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "more"),
    [
        (
            "convtasnet_mics",
            ["model.n_mics=3", *SIZE, "head=layerwise", "stabilizer=[dsd]", "stabilizer.dsd.epsilon_db=1"],
        ),
        ("fasnet_tac", [*TINY, "loader.segment_s=0.1"]),
    ],
)
def test_models_for_several_microphones(tmp_path, words, model, more):
    run = tmp_path / "run"
    assert main(["train", *words, f"model={model}", *more, f"run_dir={run}"]) == 0
    assert main(["evaluate", str(run), "--metrics", "si_sdr", "--n-jobs", "1", "--limit", "2"]) == 0
    recording = tmp_path / "array" / "tt" / "mix" / "00.wav"
    assert main(["separate", str(run), str(recording), "--out", str(tmp_path)]) == 0
    assert sf.info(tmp_path / "00_est2.wav").frames == 5000
