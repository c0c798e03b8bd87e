"""Sample dropout against a slow reference, over epochs, ranks, resumes."""

import dataclasses
import math

import pandas as pd
import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.callbacks import AssignmentTracker, EpochTable, RunCheckpoint
from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import Assignment, ExactPITLossWrapper, LayerwiseLossWrapper
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.metrics.bss_eval import bss_eval
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers import Comm, SampleDropout, Stabilization, StepObserver
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


def noisy_step(n_src=3, n_items=4, n_layers=None, epoch=0, seed=0, ids=None):
    """Estimates in another order than the sources, of one or more layers, and the exact assignments of them."""
    random = torch.Generator().manual_seed(seed)
    sources = torch.randn(n_items, n_src, 3000, generator=random)
    mixture = sources.sum(1) + 0.3 * torch.randn(n_items, 3000, generator=random)
    layers, perms = [], []
    for _ in range(n_layers or 1):
        perm = torch.stack([torch.randperm(n_src, generator=random) for _ in range(n_items)])
        noise = torch.rand(n_items, 1, 1, generator=random) * torch.randn(sources.shape, generator=random)
        est = torch.empty_like(sources)
        for b in range(n_items):
            est[b, perm[b]] = sources[b] + noise[b]
        layers.append(est)
        perms.append(perm)
    loss = matched_neg_sdr(layers[-1], sources, perms[-1])
    perm, stacked = (torch.stack(perms), torch.stack(layers)) if n_layers else (perms[0], None)
    ids = torch.arange(n_items) if ids is None else ids
    return Step(sources, Assignment(loss, perm), layers[-1], Clock(epoch, 0), mixture, ids, layers=stacked)


@pytest.mark.parametrize("name", ["si_sdr", "si_sdr_i", "sdr", "sdr_i"])
def test_the_metrics_are_those_of_the_evaluation(name):
    """Item by item: the mean over the sources of what ``evaluate`` reports under this name."""
    callback = dropout(epsilon_db=0.0, metric=name)
    made = noisy_step()
    callback.logits(made)
    for b in range(4):
        sources, mixture = made.sources[b].numpy(), made.mixture[b].numpy()
        est = made.est[b][made.perm[b]].numpy()
        sdr, given = bss_eval(sources, est, mixture)
        si = [-matched_neg_sdr(x[None], made.sources[b][None])[0].numpy()
              for x in (torch.from_numpy(est), made.mixture[b].expand(3, -1))]  # fmt: skip
        wanted = {"si_sdr": si[0], "si_sdr_i": si[0] - si[1], "sdr": sdr.sdr, "sdr_i": sdr.sdr - given.sdr}[name]
        assert callback.bank.metric[b].item() == pytest.approx(wanted.mean(), abs=0.01)


@pytest.mark.parametrize("name", ["si_sdr_i", "sdr_i"])
def test_an_improvement_needs_the_mixture(name):
    with pytest.raises(ValueError, match="an improvement is over the mixture"):
        dropout(metric=name).logits(dataclasses.replace(noisy_step(), mixture=None))


def test_an_infinite_tolerance_keeps_all_where_it_is_relative_too():
    """The best metric of 0 dB included: infinity times 0 is no number."""
    callback, ids = dropout(relative=True), torch.tensor([0])
    for metric, perm in ((0.0, [[0, 1]]), (-30.0, [[1, 0]])):
        assert callback.logits(step(ids, torch.tensor([metric]), torch.tensor(perm))).item() == 0


def test_a_relaxed_keep_stores_its_assignment_as_an_option():
    """The best metric stays, so that a slow decline is not followed."""
    ids, a, b = torch.tensor([3]), torch.tensor([[0, 1]]), torch.tensor([[1, 0]])
    callback = dropout(epsilon_db=1.0, store_relaxed=True)
    for metric, perm, logit, best, held in (
        (5.0, a, 0.0, 5.0, a),
        (4.2, b, 0.0, 5.0, b),  # within epsilon: the assignment is stored
        (3.0, b, 0.0, 5.0, b),  # the stored one, however bad
        (3.0, a, -math.inf, 5.0, b),  # dropped: nothing is stored
        (math.nan, a, -math.inf, 5.0, b),
        (3.9, a, -math.inf, 5.0, b),  # epsilon is below the best metric, not below the stored assignment's
        (5.0, a, 0.0, 5.0, a),
        (6.0, b, 0.0, 6.0, b),
    ):
        assert callback.logits(step(ids, torch.tensor([metric]), perm)).item() == logit
        got = callback.bank.lookup(ids)
        assert got[0].item() == best
        assert torch.equal(got[1], held)


def of_layer(made, layer):
    """The step as a model of that layer alone would give it."""
    perm = made.assignment.perm[layer]
    loss = matched_neg_sdr(made.layers[layer], made.sources, perm)
    return dataclasses.replace(made, assignment=Assignment(loss, perm), est=made.layers[layer], layers=None)


@pytest.mark.parametrize(("rule", "metric"), [("last", "si_sdr"), ("all", "sdr_i"), ("any", "si_sdr_i")])
def test_each_layer_has_a_bank_of_its_own(rule, metric):
    """The decision is that of plain dropouts, one on each layer alone, joined by the rule."""
    arguments = {"epsilon_db": 0.5, "metric": metric}
    callback = dropout(4, layers=rule, **arguments)
    alone = [dropout(4, **arguments) for _ in range(3)]
    decided = set()
    for seed in range(4):
        made = noisy_step(n_layers=3, epoch=seed, seed=seed)
        # The loss of all layers is not finite only where that of the last one is not.
        kept = torch.stack([part.logits(of_layer(made, layer)) == 0 for layer, part in enumerate(alone)])
        wanted = {"last": kept[-1], "all": kept.all(0), "any": kept.any(0)}[rule]
        assert torch.equal(callback.logits(made) == 0, wanted)
        decided |= {*wanted.tolist()}
    assert len(callback.banks) == (1 if rule == "last" else 3)
    for bank, part in zip(reversed(callback.banks), reversed(alone), strict=False):
        torch.testing.assert_close(bank.metric, part.bank.metric)
        assert torch.equal(bank.perm, part.bank.perm)
    assert decided == {True, False}
    figures = callback.end_epoch(Comm())
    reasons = sum(figures[f"kept_{name}"] for name in ("first", "same", "improved", "relaxed"))
    assert reasons == pytest.approx(figures["kept"]) if rule != "any" else reasons < figures["kept"]


def test_the_banks_of_all_layers_are_saved():
    arguments = {"epsilon_db": 0.0, "layers": "all"}
    whole, half = dropout(4, **arguments), dropout(4, **arguments)
    steps = [noisy_step(n_layers=3, epoch=seed, seed=seed) for seed in range(4)]
    wanted = [whole.logits(made) for made in steps]
    got = [half.logits(made) for made in steps[:2]]
    again = SampleDropout(**arguments)
    again.load_state_dict(half.state_dict())
    again.begin(Items(4, fingerprint="f"))
    got += [again.logits(made) for made in steps[2:]]
    assert torch.equal(torch.stack(wanted), torch.stack(got))
    with pytest.raises(StabError, match=r"banks of 3 layer\(s\), the estimates are of 2"):
        again.logits(noisy_step(n_layers=2))


def test_a_bank_for_each_layer_needs_layers():
    plan = RunPlan(n_src=2, items=Items(4), loss=ExactPITLossWrapper(pairwise_neg_sisdr))
    SampleDropout(0.0).check(plan)
    with pytest.raises(StabError, match=r"\(stabilizer.dsd.layers=any\) needs .*: add head=layerwise"):
        SampleDropout(0.0, layers="any").check(plan)
    layered = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
    SampleDropout(0.0, layers="any").check(dataclasses.replace(plan, loss=layered))


def test_a_stabilization_shows_every_layer():
    """The estimates of the layers that a loss of layers assigns reach the dropout."""
    loss = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
    callback = SampleDropout(0.0, layers="all")
    stab = Stabilization(loss, [callback], items=4)
    made = noisy_step(n_layers=3)
    stab.begin_epoch(0)
    stab(made.layers.clone().requires_grad_(), made.sources, made.mixture, made.item_ids)
    for layer, bank in enumerate(callback.banks):
        assert torch.equal(bank.perm.long(), made.assignment.perm[layer])
        torch.testing.assert_close(bank.metric, of_layer(made, layer).si_sdr)


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
        ({"metric": "pesq"}, "metric must be one of si_sdr, si_sdr_i, sdr, sdr_i, got 'pesq'"),
        ({"layers": "first"}, "layers must be one of last, all, any, got 'first'"),
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
