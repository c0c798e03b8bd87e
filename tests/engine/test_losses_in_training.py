"""Losses with schedules, parameters and memories of their own, in training: checkpoints, switches, resumes."""

import numpy as np
import pandas as pd
import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.callbacks import AssignmentTracker, EpochTable, RunCheckpoint
from asteroid_stab.errors import StabError
from asteroid_stab.losses import (
    AttentionPITLossWrapper,
    ExactPITLossWrapper,
    ExponentialSchedule,
    FixedPITLossWrapper,
    LayerwiseLossWrapper,
    SinkPITLossWrapper,
    SwitchedLossWrapper,
)
from asteroid_stab.models import conv_tasnet, layered_model
from asteroid_stab.run.assignments import read_labels, write_epoch


def attention(n_src=2):
    torch.manual_seed(0)
    return AttentionPITLossWrapper(pairwise_neg_sisdr, n_src, weight_schedule=ExponentialSchedule(1.05, -1.0, 50.0))


def sink():
    return SinkPITLossWrapper(pairwise_neg_sisdr, beta_schedule=ExponentialSchedule(1.02, most=10.0))


def attention_then(loss, epoch=2):
    return SwitchedLossWrapper({"attention": attention(), "then": loss}, {"attention": 0, "then": epoch})


def fit(root, trainer, system, data, epochs, resume=False, **kwargs):
    root.mkdir(exist_ok=True)
    trainer = trainer(root, max_epochs=epochs, callbacks=[AssignmentTracker(), EpochTable(), RunCheckpoint()], **kwargs)
    trainer.fit(
        system,
        datamodule=data,
        ckpt_path=root / "checkpoints" / "last.ckpt" if resume else None,
        weights_only=True,
    )
    return trainer


def state(root, name="last"):
    return torch.load(root / "checkpoints" / f"{name}.ckpt", weights_only=True)


@pytest.mark.parametrize("loss", [sink, lambda: ExactPITLossWrapper(pairwise_neg_sisdr)])
def test_resumed_across_the_switch_equals_undisturbed(tmp_path, tiny_data, tiny_trainer, tiny_system, loss):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(whole, tiny_trainer, tiny_system(loss=attention_then(loss())), tiny_data(), 4)
    for epochs in (1, 2, 3, 4):  # before, at and after the switch
        system = tiny_system(loss=attention_then(loss()))
        fit(parts, tiny_trainer, system, tiny_data(), epochs, resume=epochs > 1)
    a, b = state(whole), state(parts)
    assert a["state_dict"].keys() == b["state_dict"].keys()
    for key, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][key]), key
    tables = [pd.read_csv(run / "metrics.csv").drop(columns="seconds") for run in (whole, parts)]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["train/attention_lambda"].notna().tolist() == [True, True, False, False]
    assert tables[0]["train/attention_lambda"][1] == pytest.approx(0.05)


def test_after_the_switch_the_encoder_is_out_of_the_optimizer_and_stays(tmp_path, tiny_data, tiny_trainer, tiny_system):
    system = tiny_system(loss=attention_then(sink(), epoch=1))
    before = [p.clone() for p in system.loss_func.parameters()]
    fit(tmp_path / "a", tiny_trainer, system, tiny_data(), 1)
    middle = [p.clone() for p in system.loss_func.parameters()]
    assert not all(torch.equal(a, b) for a, b in zip(before, middle, strict=True)), "the encoder is trained"
    n_all = len(state(tmp_path / "a")["optimizer_states"][0]["state"])

    system = tiny_system(loss=attention_then(sink(), epoch=1))
    fit(tmp_path / "b", tiny_trainer, system, tiny_data(), 3)
    assert all(torch.equal(a, b) for a, b in zip(middle, system.loss_func.parameters(), strict=True))
    optimizer = state(tmp_path / "b")["optimizer_states"][0]
    assert len(optimizer["state"]) == n_all - 8
    assert {int(s["step"]) for s in optimizer["state"].values()} == {12}, "Adam goes on counting"


def test_the_encoder_is_in_the_checkpoint_and_not_in_the_model(tmp_path, tiny_data, tiny_trainer, tiny_system):
    system = tiny_system(loss=attention())
    fit(tmp_path / "run", tiny_trainer, system, tiny_data(), 1)
    assert any(key.startswith("loss_func.encoder") for key in state(tmp_path / "run")["state_dict"])
    model = torch.load(tmp_path / "run" / "best_model.pth", weights_only=True)
    assert not any("loss_func" in key for key in model["state_dict"])
    assert model["state_dict"].keys() == dict(system.model.state_dict()).keys()


def test_the_validation_is_the_exact_assignments(tmp_path, tiny_data, tiny_trainer, tiny_system):
    """The same weights have the same val/si_sdr under every loss."""
    scores = set()
    for loss in (attention(), sink(), ExactPITLossWrapper(pairwise_neg_sisdr)):
        [logged] = tiny_trainer(tmp_path).validate(tiny_system(loss=loss), datamodule=tiny_data(), verbose=False)
        scores.add(round(logged["val/si_sdr"], 4))
    assert len(scores) == 1


def test_labels_of_a_run_are_trained_on(tmp_path, tiny_data, tiny_trainer, tiny_system):
    first = tmp_path / "first"
    fit(first, tiny_trainer, tiny_system(), tiny_data(), 2)
    labels, _ = read_labels(first, 1)
    flipped = 1 - labels
    write_epoch(first, 2, flipped.astype(np.int8)[None])

    loss = FixedPITLossWrapper(pairwise_neg_sisdr, first, epoch=2)
    trainer = fit(tmp_path / "second", tiny_trainer, tiny_system(loss=loss), tiny_data(), 2)
    assert np.array_equal(np.load(tmp_path / "second" / "assignments" / "epoch_0001.npy")[0], flipped)
    assert trainer.callback_metrics["train/switch_ratio"] == 0
    assert trainer.callback_metrics["train/unlabelled"] == 0


def test_labels_of_another_corpus_are_refused(tmp_path, tiny_data, tiny_trainer, tiny_system):
    first = tmp_path / "first"
    fit(first, tiny_trainer, tiny_system(), tiny_data(), 1)
    loss = FixedPITLossWrapper(pairwise_neg_sisdr, first)
    with pytest.raises(StabError, match=r"of 16 items with fingerprint .* the training set has 20"):
        fit(tmp_path / "second", tiny_trainer, tiny_system(loss=loss), tiny_data(n_train=20), 1)


def test_one_layer_is_the_baseline_to_the_bit(tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model):
    fit(tmp_path / "plain", tiny_trainer, tiny_system(), tiny_data(), 2)
    loss = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
    fit(tmp_path / "layer", tiny_trainer, tiny_system(layered_model(tiny_model()), loss), tiny_data(), 2)
    plain, layer = (state(tmp_path / run)["state_dict"] for run in ("plain", "layer"))
    assert plain.keys() == layer.keys()
    assert all(torch.equal(plain[key], layer[key]) for key in plain)


@pytest.mark.parametrize("weights", ["uniform", "last"])
def test_switches_of_every_layer_are_counted(tmp_path, tiny_data, tiny_trainer, tiny_system, weights):
    torch.manual_seed(0)
    model = layered_model(conv_tasnet(2, n_filters=32, n_blocks=1, n_repeats=3, bn_chan=8, hid_chan=16, skip_chan=8))
    loss = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr), weights)
    trainer = fit(tmp_path / "run", tiny_trainer, tiny_system(model, loss), tiny_data(), 2)
    table = pd.read_csv(tmp_path / "run" / "switches.csv")
    assert table["layer"].tolist() == [0, 1, 2, 0, 1, 2]
    metrics = trainer.callback_metrics
    for layer in range(3):
        assert f"train/switch_ratio_layer{layer}" in metrics
        assert f"train/loss_layer{layer}" in metrics
    theirs = torch.load(tmp_path / "run" / "best_model.pth", weights_only=True)
    assert theirs["model_name"] == "ConvTasNet"
