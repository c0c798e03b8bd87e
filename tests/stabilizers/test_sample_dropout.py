"""Sample dropout against a slow reference, over epochs, ranks, resumes."""

import dataclasses
import math

import pandas as pd
import pytest
import torch

from asteroid_stab.callbacks import AssignmentTracker, EpochTable, RunCheckpoint
from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import Assignment
from asteroid_stab.stabilizers import SampleDropout, StepObserver
from asteroid_stab.stabilizers.base import Clock, Step


class Reference:
    """The rule of the paper's summary, item by item."""

    def __init__(self, epsilon=0.0, relative=False, keep_same=True):
        self.epsilon, self.relative, self.keep_same, self.memory = epsilon, relative, keep_same, {}

    def keep(self, item, metric, perm):
        if item not in self.memory:
            kept = True
        else:
            best, best_perm = self.memory[item]
            slack = self.epsilon * abs(best) if self.relative else self.epsilon
            kept = (self.keep_same and perm == best_perm) or metric >= best - slack
        if math.isfinite(metric) and (item not in self.memory or metric > self.memory[item][0]):
            self.memory[item] = (metric, perm)
        return kept


def dropout(n_items=20, **arguments):
    callback = SampleDropout(**arguments)
    callback.begin(Items(n_items, fingerprint="f"))
    return callback


def step(ids, metric, perm, epoch=0):
    n_src = perm.shape[1]
    loss = -metric.unsqueeze(1).expand(-1, n_src)
    signals = torch.zeros(len(ids), n_src, 4)
    return Step(signals, Assignment(loss, perm, neg_si_sdr=loss), signals, Clock(epoch, 0), signals[:, 0], ids)


@pytest.mark.parametrize("arguments", [
    {"epsilon_db": 0.0}, {"epsilon_db": 0.5}, {"epsilon_db": 2.0}, {"epsilon_db": math.inf},
    {"epsilon_db": 0.25, "relative": True}, {"epsilon_db": 0.5, "keep_same": False},
])  # fmt: skip
@pytest.mark.parametrize("n_src", [2, 3])
def test_the_rule_is_the_references(arguments, n_src):
    """Five epochs of metrics with ties, missing items, NaN and infinities."""
    random = torch.Generator().manual_seed(n_src)
    callback = dropout(**arguments)
    reference = Reference(arguments["epsilon_db"], arguments.get("relative", False), arguments.get("keep_same", True))
    n_dropped = 0
    for epoch in range(5):
        order = torch.randperm(20, generator=random)
        for ids in order[: 20 - epoch].split(5):
            metric = torch.randint(-4, 5, ids.shape, generator=random).float() / 2
            metric[torch.rand(ids.shape, generator=random) < 0.1] = float("nan")
            metric[torch.rand(ids.shape, generator=random) < 0.05] = -torch.inf
            perm = torch.stack([torch.randperm(n_src, generator=random) for _ in ids])
            logits = callback.logits(step(ids, metric, perm, epoch=epoch))
            for i, m, p, logit in zip(ids.tolist(), metric.tolist(), perm.tolist(), logits.tolist(), strict=True):
                kept = reference.keep(i, m, p)
                if math.isfinite(m):  # the others have no loss, and whether they are kept says nothing
                    assert (logit == 0) == kept, (epoch, i)
                    n_dropped += not kept
    assert (n_dropped == 0) == math.isinf(arguments["epsilon_db"])
    metric, perm = callback.bank.lookup(torch.arange(20))
    for i in range(20):
        assert (metric[i].item(), perm[i].tolist()) == reference.memory.get(i, (-math.inf, [-1] * n_src))


def test_memory_changes_on_strict_improvement_only_and_after_the_decision():
    callback = dropout(epsilon_db=1.0)
    ids, a, b = torch.tensor([3]), torch.tensor([[0, 1]]), torch.tensor([[1, 0]])
    for metric, perm, logit, best, held in (
        (5.0, a, 0.0, 5.0, a),  # first
        (5.0, b, 0.0, 5.0, a),  # a tie: kept, the memory stays
        (4.2, b, 0.0, 5.0, a),  # within epsilon
        (3.0, b, -math.inf, 5.0, a),  # dropped
        (-9.0, a, 0.0, 5.0, a),  # the best assignment, however bad
        (6.0, b, 0.0, 6.0, b),
        (3.0, a, -math.inf, 6.0, b),
    ):
        assert callback.logits(step(ids, torch.tensor([metric]), perm)).item() == logit
        got = callback.bank.lookup(ids)
        assert got[0].item() == best
        assert torch.equal(got[1], held)


def test_warm_up_keeps_all_and_fills_the_bank():
    callback = dropout(epsilon_db=0.0, warm_up_epochs=2, drop_logit=-3.0)
    ids, perms = torch.tensor([0]), [torch.tensor([[0, 1]]), torch.tensor([[1, 0]])]
    logits = [
        callback.logits(step(ids, torch.tensor([5.0 - epoch]), perms[epoch % 2], epoch)).item() for epoch in range(4)
    ]
    assert logits == [0.0, 0.0, 0.0, -3.0]


def test_the_metric_can_be_the_improvement():
    """The same estimate of a harder mixture is better."""
    callback = dropout(epsilon_db=0.0, metric="si_sdr_i")
    torch.manual_seed(0)
    sources = torch.randn(1, 2, 100)
    perm, ids = torch.tensor([[0, 1]]), torch.tensor([0])
    est = sources + 0.1 * torch.randn(1, 2, 100)
    for noise in (0.0, 1.0):
        mixture = sources.sum(1) + noise * torch.randn(1, 100)
        callback.logits(Step(sources, Assignment(torch.zeros(1, 2), perm), est, Clock(0, 0), mixture, ids))
        best = callback.bank.metric[0].item()
        if noise == 0.0:
            first = best
    assert best > first + 1


def test_an_item_without_a_loss_never_enters_the_bank():
    """Also where the loss is not the SI-SDR and its estimate has one."""
    callback = dropout(epsilon_db=0.0)
    torch.manual_seed(0)
    sources = torch.randn(2, 2, 100)
    loss = torch.tensor([[1.0, 1.0], [torch.inf, torch.inf]])
    perm = torch.tensor([[0, 1], [0, 1]])
    est = sources + 0.1 * torch.randn(2, 2, 100)
    made = Step(sources, Assignment(loss, perm), est, Clock(0, 0), sources.sum(1), torch.tensor([0, 1]))
    callback.logits(made)
    assert torch.isfinite(callback.bank.metric).tolist()[:2] == [True, False]


def fit(root, trainer, system, data, epochs, *callbacks, resume=False, **kwargs):
    root.mkdir(exist_ok=True)
    trainer = trainer(
        root, max_epochs=epochs, callbacks=[*callbacks, AssignmentTracker(), EpochTable(), RunCheckpoint()], **kwargs
    )
    ckpt = root / "checkpoints" / "last.ckpt" if resume else None
    trainer.fit(system, datamodule=data, ckpt_path=ckpt, weights_only=True)
    return trainer


def weights(root):
    return torch.load(root / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_an_infinite_epsilon_is_the_baseline_to_the_bit(tmp_path, tiny_data, tiny_trainer, tiny_system):
    fit(tmp_path / "plain", tiny_trainer, tiny_system(), tiny_data(), 2)
    fit(tmp_path / "dsd", tiny_trainer, tiny_system(), tiny_data(), 2, SampleDropout())
    plain, dsd = weights(tmp_path / "plain"), weights(tmp_path / "dsd")
    assert all(torch.equal(plain[key], dsd[key]) for key in plain)


def test_resumed_equals_undisturbed(tmp_path, tiny_data, tiny_trainer, tiny_system):
    def run(name, epochs, resume=False):  # at a learning rate at which items get worse
        callback = SampleDropout(0.0, keep_same=False)
        fit(tmp_path / name, tiny_trainer, tiny_system(lr=0.1), tiny_data(), epochs, callback, resume=resume)

    run("whole", 4)
    run("run", 2)
    run("run", 4, resume=True)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "run")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    tables = [pd.read_csv(tmp_path / name / "metrics.csv").drop(columns="seconds") for name in ("whole", "run")]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["train/kept_first"].tolist() == [1, 0, 0, 0]
    assert tables[0]["train/kept"].min() < 1
    shares = tables[0][[f"train/kept_{name}" for name in ("first", "same", "improved", "relaxed")]].sum(1)
    torch.testing.assert_close(torch.tensor(shares.values), torch.tensor(tables[0]["train/kept"].values))


def test_a_bank_of_other_items_is_refused(tmp_path, tiny_data, tiny_trainer, tiny_system):
    fit(tmp_path / "run", tiny_trainer, tiny_system(), tiny_data(), 1, SampleDropout(0.0))
    trainer = tiny_trainer(tmp_path / "run", max_epochs=2, callbacks=[SampleDropout(0.0)])
    data = tiny_data(n_train=20)
    data.setup("fit")
    system = tiny_system()
    system.train_loader, system.val_loader = data.train_dataloader(), data.val_dataloader()  # which check nothing
    with pytest.raises(StabError, match="saved with 16 for items, this run has 20"):
        trainer.fit(system, weights_only=True, ckpt_path=tmp_path / "run" / "checkpoints" / "last.ckpt")


def test_the_tracker_sees_what_is_dropped(tmp_path, tiny_data, tiny_trainer, tiny_system):
    class DropAll(SampleDropout):
        def logits(self, step):
            super().logits(step)
            return torch.full((len(step.ids),), -torch.inf)

    trainer = fit(tmp_path / "run", tiny_trainer, tiny_system(), tiny_data(), 2, DropAll(0.0))
    rows = pd.read_csv(tmp_path / "run" / "switches.csv")
    assert rows["n_seen"].tolist() == [16, 16]
    assert trainer.callback_metrics["train/skipped_steps"] == 4


def test_the_reset_forgets(tmp_path, tiny_data, tiny_trainer, tiny_system):
    fit(tmp_path / "run", tiny_trainer, tiny_system(), tiny_data(), 4, SampleDropout(0.0, reset_every_epochs=2))
    table = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert table["train/kept_first"].tolist() == [1, 0, 1, 0]


def test_the_loss_is_taken_for_the_metric_where_it_is_that(tmp_path, tiny_data, tiny_trainer, tiny_system):
    seen = []

    class Look(StepObserver):
        def observe(self, step):
            assert step.assignment.neg_si_sdr is not None
            again = dataclasses.replace(step, assignment=Assignment(*step.assignment))
            torch.testing.assert_close(step.si_sdr, again.si_sdr)
            seen.append(step.ids)

    tiny_trainer(tmp_path, callbacks=[Look()]).fit(tiny_system(), datamodule=tiny_data())
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epsilon_db": -1.0}, "epsilon_db must be at least 0, got -1"),
        ({"epsilon_db": math.nan}, "epsilon_db must be at least 0, got nan"),
        ({"metric": "sdr"}, "metric must be one of si_sdr, si_sdr_i, got 'sdr'"),
        ({"warm_up_epochs": -1}, "warm_up_epochs must be at least 0, got -1"),
        ({"reset_every_epochs": 0}, "reset_every_epochs must be at least 1, got 0"),
        ({"drop_logit": 0.0}, "drop_logit must be below 0, .*, got 0"),
        ({"drop_logit": -1e300}, "drop_logit must be below 0, from -10000 on or -inf, got -1e"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SampleDropout(**arguments)


def test_another_number_of_sources_is_refused():
    callback = dropout()
    callback.logits(step(torch.tensor([0]), torch.tensor([1.0]), torch.tensor([[0, 1]])))
    with pytest.raises(StabError, match="bank is of 2 sources, the assignments are of 3"):
        callback.logits(step(torch.tensor([0]), torch.tensor([1.0]), torch.tensor([[0, 1, 2]])))
