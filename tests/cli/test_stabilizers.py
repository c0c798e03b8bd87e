"""Stabilizers in recipes: killed and resumed, and on two processes, also where all of an update is dropped."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from runs import KILL, WORKERS, assert_same_weights, stab, state, train

from asteroid_stab.cli.main import main


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", ["0.0", "inf"])
def test_sample_dropout_on_two_processes_equals_one(tmp_path, epsilon):
    """The same items are kept, the same weights; and a run of one process resumes on two.

    The rate is high, so that items get worse, and Adam blows rounding up to 1e-8.
    """
    dsd = ["stabilizer=[dsd]", f"stabilizer.dsd.epsilon_db={epsilon}", "stabilizer.dsd.keep_same=false"]
    common = [*dsd, "trainer.precision=64-true", "optim.lr=0.05"]
    train(tmp_path / "one", "hun", *common, "trainer.max_epochs=3", "loader.batch_size=8", n_src=2)
    two = ["loader.batch_size=4", "trainer=ddp", "trainer.devices=2"]
    train(tmp_path / "two", "hun", *common, "trainer.max_epochs=3", *two, n_src=2)
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-6)
    banks = [state(tmp_path / run)["callbacks"]["SampleDropout"]["bank"] for run in ("one", "two")]
    assert torch.equal(banks[0]["perm"], banks[1]["perm"])
    torch.testing.assert_close(banks[0]["metric"], banks[1]["metric"], rtol=0, atol=1e-4)
    tables = [pd.read_csv(tmp_path / run / "metrics.csv") for run in ("one", "two")]
    for column in ("train/kept", "train/kept_first", "train/kept_improved", "train/loss"):
        np.testing.assert_allclose(tables[0][column], tables[1][column], rtol=1e-6, err_msg=column)
    assert (tables[0]["train/kept"].min() < 1) == (epsilon == "0.0")

    train(tmp_path / "moved", "hun", *common, "trainer.max_epochs=1", "loader.batch_size=8", n_src=2)
    words = ["loader.batch_size=4", "trainer.accelerator=cpu", "trainer.strategy=ddp", "trainer.devices=2"]
    stab("train", f"resume={tmp_path / 'moved'}", "trainer.max_epochs=3", *words)
    assert_same_weights(tmp_path / "moved", tmp_path / "one", rtol=0, atol=1e-6)


@pytest.mark.slow
def test_sample_dropout_killed_in_mid_epoch_and_resumed(tmp_path):
    """The same weights and the same bank as undisturbed, with a loss for each layer."""
    words = ["head=layerwise", "stabilizer=[dsd]", "stabilizer.dsd.epsilon_db=0", "stabilizer.dsd.keep_same=false"]
    words += ["model.n_repeats=2", "optim.lr=0.05", "trainer.max_epochs=3", KILL]
    train(tmp_path / "whole", "hun", *words, n_src=3)
    killed = train(tmp_path / "run", "hun", *words, WORKERS, n_src=3, KILL_AT="1,2", check=False)
    assert killed.returncode == -9, killed.stderr
    stab("train", f"resume={tmp_path / 'run'}")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    banks = [state(tmp_path / run)["callbacks"]["SampleDropout"]["bank"] for run in ("run", "whole")]
    assert all(torch.equal(banks[0][key], banks[1][key]) for key in ("metric", "perm"))
    assert torch.isfinite(banks[0]["metric"]).all()
    tables = [pd.read_csv(tmp_path / run / "metrics.csv").drop(columns="seconds") for run in ("run", "whole")]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["train/kept"].min() < 1


@pytest.mark.slow
@pytest.mark.parametrize("level", ["source", "mixture"])
def test_reweighting_on_two_processes_equals_one(tmp_path, level):
    """The softmax spans both; together with dropout."""
    weigh = ["stabilizer=[reweight,dsd]", "stabilizer.reweight.alpha=0.3", f"stabilizer.reweight.level={level}"]
    weigh += ["stabilizer.dsd.epsilon_db=0"]
    common = ["trainer.precision=64-true", "trainer.max_epochs=2"]
    train(tmp_path / "one", "hun", *common, *weigh, "loader.batch_size=8", n_src=2)
    two = ["loader.batch_size=4", "trainer=ddp", "trainer.devices=2"]
    train(tmp_path / "two", "hun", *common, *weigh, *two, n_src=2)
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-8)
    train(tmp_path / "plain", "hun", *common, "loader.batch_size=8", n_src=2)
    weights = [state(tmp_path / run)["state_dict"] for run in ("one", "plain")]
    assert any(not torch.allclose(weights[0][key], weights[1][key], atol=1e-4) for key in weights[0])


@pytest.mark.slow
def test_a_class_bias_on_two_processes_equals_one(tmp_path, esc):
    """Every process looks its own items' classes up."""
    small = ["data.n_train=16", "data.n_valid=4", "data.n_test=4", "loader.segment_s=0.25", f"data.root={esc}"]
    small += ["model.n_filters=32", "model.bn_chan=8", "model.num_blocks=1", "model.upsampling_depth=2"]
    words = [*small, "trainer.accelerator=cpu", "trainer.precision=64-true", "trainer.max_epochs=2", "logger=none"]

    def weights(run, bias, *more):
        bias = f"stabilizer.reweight.class_bias={bias}"
        stab("train", "reweighting/esc10", f"run_dir={tmp_path / run}", *words, bias, "data.classes=null", *more)
        return tmp_path / run

    one = weights("one", "[[dog,3.0]]", "loader.batch_size=8")
    two = weights("two", "[[dog,3.0]]", "loader.batch_size=4", "trainer=ddp", "trainer.devices=2")
    assert_same_weights(two, one, rtol=0, atol=1e-8)
    plain = state(weights("plain", "[]", "loader.batch_size=8"))["state_dict"]
    assert any(not torch.allclose(plain[key], value, atol=1e-4) for key, value in state(one)["state_dict"].items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["stabilizer=[reweight]", "stabilizer.reweight.class_bias=[[dug,3.0]]"],
            "must name classes of .*got 'dug' .*dog",
        ),
        (["data=dynamic"], "AssignmentTracker needs stable ids"),
        (["data=dynamic", "~callbacks.tracker", "stabilizer=[dsd]"], "SampleDropout needs stable ids"),
        (
            [
                "data=dynamic",
                "~callbacks.tracker",
                "stabilizer=[reweight]",
                "stabilizer.reweight.class_bias=[[dog,3.0]]",
            ],
            "Reweighting needs stable ids",
        ),
    ],
)
def test_what_the_items_do_not_allow_is_said_before_a_run_folder_is_made(tmp_path, esc, capsys, words, message):
    run = tmp_path / "run"
    recipe = ["reweighting/esc10", f"data.root={esc}", "data.n_valid=4", "data.n_test=4"]
    if "data=dynamic" in words:
        recipe = ["baseline/toy", "data.base.n_utterances=1", "data.base.n_train=16"]
    words = [*recipe, f"run_dir={run}", "logger=none", "data.n_train=16", "loader.segment_s=0.25", *words]
    assert main(["train", *words]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not run.exists()


@pytest.mark.slow
def test_a_step_in_which_one_process_or_all_drop_everything(tmp_path):
    """Neither hangs; the weights are those of one process that drops the same, and do not move where all is dropped."""
    common = ["trainer.precision=64-true", "trainer.max_epochs=2"]
    drop = "+stabilizer.drop={{_target_: drop_at.DropAt, folder: {}, as_in: {}}}"
    two = ["loader.batch_size=4", "trainer=ddp", "trainer.devices=2"]
    train(tmp_path / "two", "hun", *common, *two, drop.format(tmp_path / "of_two", "null"), n_src=2)
    of_one = drop.format(tmp_path / "of_one", tmp_path / "of_two")
    train(tmp_path / "one", "hun", *common, "loader.batch_size=8", of_one, n_src=2)
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-9)
    dropped = {
        name: sorted(tuple(pair) for file in (tmp_path / name).iterdir() for pair in json.loads(file.read_text()))
        for name in ("of_one", "of_two")
    }
    assert dropped["of_one"] == dropped["of_two"]
    assert sorted(k for k, _ in dropped["of_one"]) == [1] * 4 + [3] * 8
    for run in ("one", "two"):
        assert pd.read_csv(tmp_path / run / "metrics.csv")["train/skipped_steps"].tolist() == [0, 1]


@pytest.mark.slow
def test_a_data_map_under_annealed_mcl_on_two_processes_equals_one_and_goes_on_after_a_kill(tmp_path):
    """The same weights, and the same map of all items: their visits, means, spreads and switches."""
    words = ["loss=mcl", "loss.mcl_weight=1.0", "callbacks=[tracker,data_map]", "stabilizer=[data_map]"]
    words += ["stabilizer.data_map.per_spread_db=0.3", "optim.lr=0.05", "trainer.max_epochs=4", KILL]
    schedule = "{_target_: asteroid_stab.losses.SteppedSchedule, value: 8.0, factor: 0.5, first_epoch: 1, end_epoch: 3}"
    words.append(f"loss.temperature_schedule={schedule}")
    train(tmp_path / "whole", "hun", *words, n_src=2)
    killed = train(tmp_path / "run", "hun", *words, WORKERS, n_src=2, KILL_AT="2,1", check=False)
    assert killed.returncode == -9, killed.stderr
    stab("train", f"resume={tmp_path / 'run'}")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    exact = ["trainer.precision=64-true"]
    train(tmp_path / "one", "hun", *words, *exact, "loader.batch_size=8", n_src=2)
    train(tmp_path / "two", "hun", *words, *exact, "trainer=ddp", "trainer.devices=2", n_src=2)
    assert_same_weights(tmp_path / "two", tmp_path / "one", rtol=0, atol=1e-6)

    names = ("whole", "run", "one", "two")
    whole, run, one, two = (np.load(tmp_path / name / "data_map.npy") for name in names)
    assert np.array_equal(run, whole)
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-3)
    assert (one[:, 0] == 4).all()
    assert one[:, 2].min() > 0
    whole, run, one, two = (pd.read_csv(tmp_path / name / "metrics.csv") for name in names)
    pd.testing.assert_frame_equal(run.drop(columns="seconds"), whole.drop(columns="seconds"))
    assert one["train/mcl_temperature"].tolist() == [8.0, 4.0, 2.0, 0.0]
    assert one["train/map_known"].tolist() == [0, 0, 1, 1]
    for column in ("train/loss", "train/map_mean", "train/map_spread", "train/mcl_collapsed", "train/mcl_gap"):
        np.testing.assert_allclose(one[column], two[column], rtol=1e-4, atol=1e-5, err_msg=column)
