"""asteroid-stab average: the file, its score, and what takes it."""

import json
import shutil

import pandas as pd
import pytest
import torch
from runs import SMALL
from trees import write

from asteroid_stab.cli.main import main
from asteroid_stab.models import load_model
from asteroid_stab.run.layout import RunLayout

MODEL = [word for word in SMALL if word.startswith(("model.", "trainer.", "scheduler"))]


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """WSJ0-2mix's tree with mixtures as long as the crops, so that evaluate measures what the validation does."""
    root = tmp_path_factory.mktemp("tones")
    random = torch.Generator().manual_seed(0)
    for part, n in (("tr", 16), ("cv", 6), ("tt", 2)):
        for i in range(n):
            sources = torch.randn(2, 4000, generator=random).cumsum(1)
            sources = 0.1 * sources / sources.abs().amax(1, keepdim=True)
            for role, signal in (("s1", sources[0]), ("s2", sources[1]), ("mix", sources.sum(0))):
                file = f"{i:02}a_1.5_{i:02}b_-1.5.wav"
                write(root / "2speakers" / "wav8k" / "min" / part / role / file, signal.numpy())
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, tones):
    run = tmp_path_factory.mktemp("average") / "run"
    words = [*MODEL, "data=wsj0_mix", f"data.root={tones}", "loader.segment_s=0.5", "loader.batch_size=4"]
    words += ["logger=none", "trainer.max_epochs=4", "callbacks=[tracker,epoch_models,ema]", "callbacks.ema.decay=0.5"]
    assert main(["train", "baseline/toy", f"run_dir={run}", *words]) == 0
    return run


def test_one_epoch_has_the_score_of_the_training(run, capsys):
    assert main(["average", str(run), "--last", "1"]) == 0
    table = pd.read_csv(run / "metrics.csv")
    infos = torch.load(run / "averages" / "last_1.pth", weights_only=True)["infos"]
    assert infos["epochs"] == [3]
    assert infos["val/si_sdr"] == pytest.approx(table["val/si_sdr"].iloc[-1], abs=1e-4)
    assert (
        f"average of epochs 4: val/si_sdr = {infos['val/si_sdr']:.3f} on the validation set" in capsys.readouterr().out
    )


def test_the_weights_are_the_mean_of_the_best(run):
    assert main(["average", str(run), "--best", "2"]) == 0
    best = pd.read_csv(run / "metrics.csv")["val/si_sdr"].nlargest(2).index
    states = [load_model(RunLayout(run).epoch_model(epoch)).state_dict() for epoch in best]
    found = load_model(run / "averages" / "best_2.pth").state_dict()
    for name, value in found.items():
        torch.testing.assert_close(value, (states[0][name] + states[1][name]) / 2)
    assert not torch.equal(states[0]["encoder.filterbank._filters"], found["encoder.filterbank._filters"])


def measured(run, *words):
    assert main(["evaluate", str(run), "--split", "valid", "--metrics", "si_sdr", "--n-jobs", "1", *words]) == 0
    variant = f"_{words[1]}" if words else ""
    return json.loads((run / "evaluation" / f"valid{variant}" / "summary.json").read_text())["metrics"]["si_sdr"][
        "mean"
    ]


@pytest.mark.slow
def test_evaluate_measures_the_scores_that_are_recorded(run):
    """Of the model file of a training with a moving average, and of an average of epochs."""
    main(["average", str(run), "--last", "3"])
    for file, words in (("best_model.pth", []), ("averages/last_3.pth", ["--variant", "last3"])):
        infos = torch.load(run / file, weights_only=True)["infos"]
        assert measured(run, *words) == pytest.approx(infos["val/si_sdr"], abs=1e-3)


def test_too_many_epochs_are_refused(run, capsys):
    assert main(["average", str(run), "--last", "5"]) == 2
    assert "holds models of 4 epoch(s), and 5 are wanted" in capsys.readouterr().err


def test_data_at_another_rate_are_refused(run, capsys):
    assert main(["average", str(run), "--last", "1", "data.sample_rate=16000"]) == 2
    assert "the model works at 8000 Hz, the data are sampled at 16000 Hz" in capsys.readouterr().err


def test_a_pretext_run_is_refused(tmp_path, run, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    config = (copy / "config.yaml").read_text()
    pretext = "pretext:\n  _target_: asteroid_stab.pretext.MaskedReconstruction\n"
    (copy / "config.yaml").write_text(config.replace("pretext: {}\n", pretext))
    assert main(["average", str(copy), "--last", "2"]) == 2
    assert "trained with a pretext task, whose part that scores is not in the models" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--last", "1", "--best", "1"], ["--last", "0"]])
def test_one_number_must_be_given(words, capsys):
    with pytest.raises(SystemExit):
        main(["average", "run", *words])
    assert "--last" in capsys.readouterr().err
