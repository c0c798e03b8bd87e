"""Gradient reweighting against the equations."""

import math

import numpy as np
import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.callbacks import RunCheckpoint
from asteroid_stab.data import EscCorpus, MixtureDataModule
from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import (
    Assignment,
    AttentionPITLossWrapper,
    ExactPITLossWrapper,
    LayerwiseLossWrapper,
    ProbPITLossWrapper,
    RisingSchedule,
    SinkPITLossWrapper,
)
from asteroid_stab.losses.weighting import sum_logits, weighted_mean
from asteroid_stab.models import conv_tasnet, layered_model
from asteroid_stab.stabilizers import Reweighting, SampleDropout
from asteroid_stab.stabilizers.base import Clock, Step


def step(loss, before=None, epoch=0):
    """A step with these losses; ``before`` are the mixtures' SI-SDRs."""
    n_items, n_src = loss.shape
    signals = torch.zeros(n_items, n_src, 4)
    assigned = Assignment(loss, torch.zeros(n_items, n_src).long(), neg_si_sdr=loss)
    made = Step(signals, assigned, signals, Clock(epoch, 0), signals[:, 0], torch.arange(n_items))
    made.__dict__["source_loss_i"] = loss if before is None else loss - before
    return made


LOSSES = torch.tensor([[-3.0, 1.0], [10.0, -20.0]], dtype=torch.float64)


def test_weights_are_those_of_the_equations():
    """The numbers of the derivation: alpha 0.2 gives .060 .133 .805 .002, and they are the gradient."""
    loss = LOSSES.clone().requires_grad_()
    logits = Reweighting(alpha=0.2, improvement=False).logits(step(loss.detach()))
    mean = weighted_mean(loss, logits)
    torch.testing.assert_close(
        mean.weights.flatten(), torch.tensor([0.060, 0.133, 0.805, 0.002], dtype=torch.float64), rtol=0, atol=6e-4
    )
    assert mean.weights.sum().item() == pytest.approx(1, abs=1e-12)
    mean.value.backward()
    torch.testing.assert_close(loss.grad, mean.weights)


def test_without_steepness_it_is_the_plain_mean_to_the_bit():
    loss = torch.randn(5, 3).requires_grad_()
    plain = weighted_mean(loss)
    weighed = weighted_mean(loss, Reweighting().logits(step(loss.detach())))
    assert torch.equal(plain.value, weighed.value)
    grads = [torch.autograd.grad(mean.value, loss)[0] for mean in (plain, weighed)]
    assert torch.equal(*grads)


def test_a_constant_changes_nothing():
    a = Reweighting(alpha=0.3, improvement=False).logits(step(LOSSES))
    b = Reweighting(alpha=0.3, improvement=False).logits(step(LOSSES + 7))
    torch.testing.assert_close(weighted_mean(LOSSES, a).weights, weighted_mean(LOSSES, b).weights)


def test_mixtures_can_be_weighed_as_a_whole():
    logits = Reweighting(alpha=0.5, level="mixture", improvement=False).logits(step(LOSSES))
    torch.testing.assert_close(logits, 0.5 * LOSSES.mean(1))


def test_the_improvement_is_what_is_weighed():
    before = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    logits = Reweighting(alpha=1.0).logits(step(LOSSES, before))
    torch.testing.assert_close(logits, LOSSES - before)


def test_the_improvement_of_real_signals():
    torch.manual_seed(0)
    sources = torch.randn(3, 2, 200)
    mixture, est = sources.sum(1), sources + 0.3 * torch.randn(3, 2, 200)
    loss, perm = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, sources)
    made = Step(sources, Assignment(loss, perm), est, Clock(0, 0), mixture, torch.arange(3))
    pw = pairwise_neg_sisdr(mixture.unsqueeze(1).expand_as(sources), sources).diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(Reweighting(alpha=1.0).logits(made), loss - pw, rtol=1e-4, atol=1e-4)


def test_a_curriculum_begins_with_the_easy_and_ends_with_the_mean():
    curriculum = Reweighting(schedule=RisingSchedule(0.2, until=4), improvement=False)
    weights = [weighted_mean(LOSSES, curriculum.logits(step(LOSSES, epoch=epoch))).weights for epoch in range(6)]
    assert weights[0][1, 1] == weights[0].max()
    assert weights[0][1, 1] > weights[2][1, 1] > weights[4][1, 1]
    assert torch.equal(weights[4], torch.full_like(LOSSES, 0.25))
    assert torch.equal(weights[5], weights[4])
    by_step = Reweighting(schedule=RisingSchedule(0.2, until=4), schedule_unit="step")
    assert by_step.steepness(epoch=9, step=2) == pytest.approx(-0.1)


def test_what_has_no_loss_counts_for_nothing():
    loss = LOSSES.clone()
    loss[0, 0], loss[1] = float("nan"), float("inf")
    for level in ("source", "mixture"):
        callback = Reweighting(alpha=0.2, level=level, improvement=False)
        logits = callback.logits(step(loss))
        assert logits.isfinite().all()
    mean = weighted_mean(loss, Reweighting(alpha=0.2, improvement=False).logits(step(loss)))
    assert mean.weights.tolist() == [[0, 1], [0, 0]]


def test_losses_can_be_clamped():
    logits = Reweighting(alpha=1.0, clamp_db=5.0, improvement=False).logits(step(LOSSES))
    assert logits.tolist() == [[-3, 1], [5, -5]]
    undefined = torch.tensor([[math.inf, 1.0]])
    assert Reweighting(alpha=1.0, clamp_db=5.0, improvement=False).logits(step(undefined)).tolist() == [[0, 1]]


def test_the_figures_are_of_the_weights_that_count():
    """With an item dropped by another stabilizer, and one without a loss."""
    loss = torch.cat([LOSSES, torch.full((1, 2), math.nan, dtype=torch.float64)])
    callback = Reweighting(alpha=0.2, improvement=False)
    made = step(loss)
    logits = sum_logits([callback.logits(made), torch.tensor([0.0, -torch.inf, 0.0])])
    weights = weighted_mean(loss, logits).weights
    callback.weighed(made, weights)
    sums = callback._sums.total(["steps", "effective", "entropy", "top"], None)
    own = torch.softmax(0.2 * LOSSES[0], 0)
    assert sums["top"] == pytest.approx(own.max().item())
    assert sums["effective"] == pytest.approx(1 / (own.square().sum().item() * 4))
    assert sums["entropy"] == pytest.approx(-(own * own.log()).sum().item())


@pytest.mark.parametrize("kind", ["sink", "attention", "layers"])
def test_it_weighs_every_loss_and_resumes_exactly(tmp_path, esc, tiny_trainer, tiny_system, tiny_model, kind):
    def fit(root, epochs, resume=False):
        torch.manual_seed(0)
        loss, model = ExactPITLossWrapper(pairwise_neg_sisdr), tiny_model()
        if kind == "sink":
            loss = SinkPITLossWrapper(pairwise_neg_sisdr)
        elif kind == "attention":
            loss = AttentionPITLossWrapper(pairwise_neg_sisdr, 2)
        else:
            model = conv_tasnet(2, n_filters=32, n_blocks=1, n_repeats=2, bn_chan=8, hid_chan=16, skip_chan=8)
            model, loss = layered_model(model), LayerwiseLossWrapper(loss)
        data = MixtureDataModule(EscCorpus(str(esc), n_train=16, n_valid=4, n_test=4, cache_dir=str(tmp_path)), 0.25, 4)
        callback = Reweighting(alpha=0.1, class_bias=[["dog", 1.0]])
        system = tiny_system(model, loss)
        trainer = tiny_trainer(root, max_epochs=epochs, callbacks=[callback, RunCheckpoint()])
        ckpt = root / "checkpoints" / "last.ckpt" if resume else None
        trainer.fit(system, datamodule=data, ckpt_path=ckpt, weights_only=True)
        assert 0 < trainer.callback_metrics["train/effective_share"] < 1
        return system.state_dict()

    whole = fit(tmp_path / "whole", 2)
    fit(tmp_path / "run", 1)
    resumed = fit(tmp_path / "run", 2, resume=True)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_it_composes_with_sample_dropout():
    reweighting = Reweighting(alpha=0.1, improvement=False).logits(step(LOSSES))
    logits = sum_logits([reweighting, torch.tensor([0.0, -torch.inf], dtype=torch.float64)])
    weights = weighted_mean(LOSSES, logits).weights
    assert (weights[1] == 0).all()
    torch.testing.assert_close(weights[0], torch.softmax(0.1 * LOSSES[0], 0))


@pytest.mark.parametrize("loss", [None, "prob"])
def test_it_trains_and_logs(tmp_path, tiny_data, tiny_trainer, tiny_system, loss):
    system = tiny_system(loss=ProbPITLossWrapper(pairwise_neg_sisdr) if loss else None)
    trainer = tiny_trainer(tmp_path, callbacks=[Reweighting(alpha=0.2), SampleDropout(1.0)], max_epochs=2)
    trainer.fit(system, datamodule=tiny_data())
    metrics = trainer.callback_metrics
    assert 0 < metrics["train/effective_share"] < 1
    assert 0 < metrics["train/top_weight"] < 1
    n_weights = 4 if loss else 8
    assert 0 < metrics["train/weight_entropy"] < math.log(n_weights)


def test_alpha_zero_trains_as_without_to_the_bit(tmp_path, tiny_data, tiny_trainer, tiny_system):
    ends = []
    for callbacks in ([], [Reweighting(level="mixture")]):
        system = tiny_system()
        tiny_trainer(tmp_path, callbacks=callbacks, max_epochs=2).fit(system, datamodule=tiny_data())
        ends.append([p.clone() for p in system.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": math.inf}, "alpha must be a number from -10000 to 10000, got inf"),
        ({"schedule_unit": "batch"}, "schedule_unit must be epoch or step, got 'batch'"),
        ({"level": "batch"}, "level must be one of source, mixture, got 'batch'"),
        ({"clamp_db": 0.0}, "clamp_db must be above 0, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Reweighting(**arguments)


def biased(classes, labels, **kwargs):
    callback = Reweighting(**kwargs)
    names = [f"item {i}" for i in range(len(labels))]
    callback.begin(Items(len(labels), names, classes=classes, labels=np.array(labels)))
    return callback


def test_a_class_counts_more():
    """exp(gamma) times as much, against float64; the same for all is uniform; sums with the losses' part."""
    labels = [[0, 1], [1, 1]]
    logits = biased(["speech", "env"], labels, class_bias=[["speech", 3.0]]).logits(step(LOSSES))
    weights = weighted_mean(LOSSES, logits).weights
    e = math.exp(3.0)
    torch.testing.assert_close(weights, torch.tensor([[e, 1], [1, 1]], dtype=torch.float64) / (e + 3))
    alike = biased(["speech", "env"], labels, class_bias=[["speech", 3.0], ["env", 3.0]])
    assert torch.equal(weighted_mean(LOSSES, alike.logits(step(LOSSES))).weights, torch.full_like(LOSSES, 0.25))
    both = biased(["speech", "env"], labels, class_bias=[["env", 2.0]], alpha=0.1, improvement=False)
    expected = 0.1 * LOSSES + 2 * torch.tensor(labels)
    torch.testing.assert_close(both.logits(step(LOSSES)), expected)
    mixed = biased(["speech", "env"], labels, class_bias=[["env", 2.0]], level="mixture")
    torch.testing.assert_close(mixed.logits(step(LOSSES)), torch.tensor([1.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("labels", "bias", "message"),
    [
        ([[0, 1]], [["spech", 1.0]], "must name classes of speech, env, got 'spech' .*'speech'"),
        ([[0, 1], [0, -1]], [["speech", 1.0]], "a class for every source, and one of 'item 1' has none"),
    ],
)
def test_classes_that_are_not_there_are_told(labels, bias, message):
    with pytest.raises(StabError, match=message):
        biased(["speech", "env"], labels, class_bias=bias)


def test_a_bias_needs_classes(tmp_path, tiny_data, tiny_trainer, tiny_system):
    trainer = tiny_trainer(tmp_path, callbacks=[Reweighting(class_bias=[["speech", 1.0]])])
    with pytest.raises(StabError, match="class_bias needs sources with classes, and TinySet has none"):
        trainer.fit(tiny_system(), datamodule=tiny_data())
    for pair in (["speech", math.nan], ["speech"], "sp", ["speech", "much"]):
        with pytest.raises(ValueError, match="class_bias must be pairs of a class and a number, got"):
            Reweighting(class_bias=[pair])


def test_a_bias_is_trained_with(tmp_path, esc, tiny_trainer, tiny_system):
    def data():
        return MixtureDataModule(EscCorpus(str(esc), n_train=16, n_valid=4, n_test=4, cache_dir=str(tmp_path)), 0.25, 4)

    metrics = {}
    for name, bias in (("none", []), ("dog", [["dog", 3.0]])):
        trainer = tiny_trainer(tmp_path, callbacks=[Reweighting(class_bias=bias)])
        trainer.fit(tiny_system(), datamodule=data())
        metrics[name] = trainer.callback_metrics
    assert metrics["none"]["train/effective_share"] == pytest.approx(1)
    assert metrics["dog"]["train/effective_share"] < 0.8


def test_what_has_no_effect_or_no_end_is_said(tmp_path, tiny_data, tiny_trainer, tiny_system, caplog):
    by_step = Reweighting(schedule=RisingSchedule(0.1, until=10), schedule_unit="step")
    tiny_trainer(tmp_path, callbacks=[by_step], max_epochs=2).fit(tiny_system(), datamodule=tiny_data())
    assert "beta is -0.03 in the last of 8 steps" in caplog.text
    callbacks = [Reweighting(alpha=0.1, level="mixture", schedule=RisingSchedule(0.1, until=2))]
    trainer = tiny_trainer(tmp_path, callbacks=callbacks, max_epochs=2, limit_train_batches=1)
    trainer.fit(tiny_system(), datamodule=tiny_data(batch_size=1))
    assert "with one mixture in a batch every weight is 1" in caplog.text
    assert "the schedule of the reweighting does not end: beta is -0.05 in the last of 2 epochs" in caplog.text
    caplog.clear()
    probpit = ProbPITLossWrapper(pairwise_neg_sisdr)  # one number for an item
    for loss, words in ((None, ""), (probpit, "with one mixture in a batch every weight is 1")):
        trainer = tiny_trainer(tmp_path, callbacks=[Reweighting(alpha=0.1)], limit_train_batches=1)
        trainer.fit(tiny_system(loss=loss), datamodule=tiny_data(batch_size=1))
        assert ("reweighting" in caplog.text) == bool(words)
        assert words in caplog.text
    caplog.clear()
    tiny_trainer(tmp_path, callbacks=callbacks, max_epochs=3).fit(tiny_system(), datamodule=tiny_data())
    assert "reweighting" not in caplog.text


def test_silent_batches_move_nothing(tmp_path, tiny_data, tiny_trainer, tiny_system):
    system = tiny_system()
    before = [p.clone() for p in system.model.parameters()]
    spoil = {row: slice(None) for row in range(16)}
    trainer = tiny_trainer(tmp_path, callbacks=[Reweighting(alpha=0.1)], limit_val_batches=0)
    trainer.fit(system, datamodule=tiny_data(spoil=spoil))
    assert trainer.callback_metrics["train/skipped_steps"] == 4
    assert all(torch.equal(a, b) for a, b in zip(before, system.model.parameters(), strict=True))


def test_a_schedule_must_give_numbers():
    with pytest.raises(StabError, match="must give numbers, got nan for epoch 3"):
        Reweighting(schedule=lambda k: math.nan).steepness(3, 0)
    with pytest.raises(StabError, match="must give numbers, got None for epoch 3"):
        Reweighting(schedule=lambda k: None).steepness(3, 0)


def test_a_class_is_named_once():
    with pytest.raises(ValueError, match="class_bias must name a class once, got 'dog' twice"):
        Reweighting(class_bias=[["dog", 3.0], ["dog", 0.0]])
