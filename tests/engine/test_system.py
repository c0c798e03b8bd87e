"""The one training step against Asteroid's, and what it does with items that cannot be learnt from."""

import warnings

import own_nets
import pytest
import pytorch_lightning as pl
import torch
from asteroid.engine.schedulers import DPTNetScheduler
from asteroid.engine.system import System
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from torch.optim.lr_scheduler import ReduceLROnPlateau

from asteroid_stab.callbacks import RunCheckpoint, WeightAverage
from asteroid_stab.data.padding import collate
from asteroid_stab.engine import StabSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.models import hosted
from asteroid_stab.stabilizers import Reweighting, SampleDropout, Stabilizer, StepObserver


def weights(system):
    return torch.cat([p.detach().flatten() for p in system.model.parameters()])


class Logits(Stabilizer):
    """Gives fixed logits per item id."""

    def __init__(self, table):
        self.table = table

    def logits(self, step):
        return self.table[step.ids]


class AsteroidSystem(System):
    """Asteroid's own step on our batches."""

    def common_step(self, batch, batch_nb, train=True):
        mixture, sources, _ = batch
        return self.loss_func(self(mixture), sources)


def test_without_stabilizer_it_is_asteroids_training(tmp_path, tiny_data, tiny_model, tiny_trainer, tiny_system):
    ours = tiny_system()
    tiny_trainer(tmp_path, max_epochs=2).fit(ours, datamodule=tiny_data())
    model = tiny_model()
    theirs = AsteroidSystem(
        model,
        torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2),
        PITLossWrapper(pairwise_neg_sisdr),
        train_loader=None,
    )
    tiny_trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(theirs, datamodule=tiny_data())
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(weights(ours), torch.cat([p.flatten() for p in tiny_model().parameters()]), atol=1e-3)


def test_training_improves_the_validation(tmp_path, tiny_data, tiny_trainer, tiny_system):
    system = tiny_system()
    trainer = tiny_trainer(tmp_path, max_epochs=12)
    scores = []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            scores.append({k: v.item() for k, v in trainer.callback_metrics.items()})

    trainer.callbacks.append(Watch())
    trainer.fit(system, datamodule=tiny_data(n_train=32))
    assert scores[-1]["val/si_sdr_i"] > scores[0]["val/si_sdr_i"] + 3
    assert scores[-1]["train/loss"] < scores[0]["train/loss"] - 3
    assert scores[-1]["val/loss"] == pytest.approx(-scores[-1]["val/si_sdr"], rel=1e-5)


def test_validation_figures_are_the_exact_assignments(tmp_path, tiny_data, tiny_trainer, tiny_system):
    system, data = tiny_system(), tiny_data()
    trainer = tiny_trainer(tmp_path)
    [logged] = trainer.validate(system, datamodule=data, verbose=False)
    losses, inputs = [], []
    for item in range(6):
        mixture, sources, _ = data.valid_set[item]
        with torch.no_grad():
            est = system.model(mixture[None])
        losses.append(PITLossWrapper(pairwise_neg_sisdr)(est, sources[None]))
        pw = pairwise_neg_sisdr(mixture.expand(1, 2, -1), sources[None])
        inputs.append(pw.diagonal(dim1=1, dim2=2).mean())
    loss, before = torch.stack(losses).mean().item(), torch.stack(inputs).mean().item()
    assert logged["val/loss"] == pytest.approx(loss, rel=1e-4)
    assert logged["val/si_sdr_i"] == pytest.approx(before - loss, rel=1e-4)


def test_a_dropped_item_is_as_if_it_had_not_been_there(tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model):
    table = torch.zeros(16)
    table[5] = -torch.inf
    system = tiny_system()
    batch = next(iter(_loader(tiny_data(batch_size=8))))
    step = _one_step(system, tiny_trainer(tmp_path, callbacks=[Logits(table)]), batch)
    keep = batch[2] != 5
    assert not keep.all(), "the batch must hold the item"
    other = tiny_system()
    rest = _one_step(other, tiny_trainer(tmp_path), tuple(part[keep] for part in batch))
    torch.testing.assert_close(step, rest)


def test_logits_of_several_stabilizers_add_up(tmp_path, tiny_data, tiny_trainer, tiny_system):
    table = torch.arange(16) / 5
    batch = next(iter(_loader(tiny_data(batch_size=8))))
    both = _one_step(tiny_system(), tiny_trainer(tmp_path, callbacks=[Logits(table), Logits(2 * table)]), batch)
    sum_ = _one_step(tiny_system(), tiny_trainer(tmp_path, callbacks=[Logits(3 * table)]), batch)
    torch.testing.assert_close(both, sum_)
    per_source = table[:, None].expand(16, 2)
    mixed = [Logits(table), Logits(2 * per_source)]
    torch.testing.assert_close(_one_step(tiny_system(), tiny_trainer(tmp_path, callbacks=mixed), batch), sum_)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_a_batch_that_is_dropped_moves_no_weight(tmp_path, tiny_data, tiny_trainer, tiny_model, optimizer):
    """Not even by Adam's momentum or AdamW's decay, which a zero gradient would not stop."""
    seen = []

    class DropSecondBatch(Stabilizer):
        def logits(self, step):
            seen.append(weights(system).clone())
            value = -torch.inf if len(seen) == 2 else 0.0
            return torch.full((len(step.ids),), value)

    model = tiny_model()
    system = StabSystem(
        model, optimizer([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1),
        ExactPITLossWrapper(pairwise_neg_sisdr),
    )  # fmt: skip
    trainer = tiny_trainer(tmp_path, callbacks=[DropSecondBatch()])
    trainer.fit(system, datamodule=tiny_data())
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[2], seen[3])
    assert trainer.callback_metrics["train/skipped_steps"] == 1


def test_silent_sources_and_items_that_are_not_finite_are_left_out(tmp_path, tiny_data, tiny_trainer, tiny_system):
    mixture, sources, ids = next(iter(_loader(tiny_data(batch_size=4))))
    sources[1, 0] = 0.0
    mixture[2, 7] = float("nan")
    system = tiny_system()
    trainer = tiny_trainer(tmp_path)
    step = _one_step(system, trainer, (mixture, sources, ids))
    assert torch.isfinite(step).all()
    assert trainer.callback_metrics["train/silent_sources"] == 1
    assert trainer.callback_metrics["train/nonfinite_items"] == 1
    other = tiny_system()
    with torch.no_grad():
        est = other.model(mixture[[0, 1, 3]])
    pw = pairwise_neg_sisdr(est, sources[[0, 1, 3]])
    exact = [torch.minimum(pw[i].diagonal().mean(), pw[i].flip(0).diagonal().mean()) for i in (0, 2)]
    half = torch.minimum(pw[1, 0, 1], pw[1, 1, 1])  # the one source of item 1 that sounds
    expected = (exact[0] + exact[1] + half) / 3
    assert trainer.callback_metrics["train/loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_batch_without_a_finite_item_stops_and_names_the_items(tmp_path, tiny_data, tiny_trainer, tiny_system):
    data = tiny_data(batch_size=4)
    mixture, sources, ids = next(iter(_loader(data)))
    names = [data.train_set.names[i] for i in ids.tolist()]
    with pytest.raises(StabError, match=f"no item of this batch is finite.*{names[0]}, .*{names[3]}"):
        _one_step(tiny_system(), tiny_trainer(tmp_path), (mixture * float("nan"), sources, ids), data)


def test_a_diverged_model_stops_and_names_the_items(tmp_path, tiny_data, tiny_trainer, tiny_system):
    system = tiny_system()
    with torch.no_grad():
        system.model.encoder.filterbank._filters.fill_(float("nan"))
    with pytest.raises(StabError, match="a model that has diverged.*tiny-"):
        tiny_trainer(tmp_path).fit(system, datamodule=tiny_data())


def test_a_batch_of_silence_is_skipped(tmp_path, tiny_data, tiny_trainer, tiny_system):
    mixture, sources, ids = next(iter(_loader(tiny_data(batch_size=4))))
    system = tiny_system()
    before = weights(system).clone()
    trainer = tiny_trainer(tmp_path)
    assert torch.equal(_one_step(system, trainer, (mixture, 0 * sources, ids)), before)
    assert trainer.callback_metrics["train/skipped_steps"] == 1


def test_callbacks_see_every_item_and_no_graph(tmp_path, tiny_data, tiny_trainer, tiny_system):
    seen = []

    class Look(StepObserver):
        def observe(self, step):
            assert not step.assignment.loss.requires_grad
            assert step.assignment.perm.shape == (4, 2)
            seen.extend(step.ids.tolist())

    drop_all_but_one = torch.full((16,), -torch.inf)
    drop_all_but_one[0] = 0
    tiny_trainer(tmp_path, callbacks=[Look(), Logits(drop_all_but_one)]).fit(tiny_system(), datamodule=tiny_data())
    assert sorted(seen) == list(range(16))


def test_another_number_of_sources_is_refused(tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model):
    with pytest.raises(StabError, match=r"model gives 3 estimates \(n_src=3\) but the data have 2 sources"):
        tiny_trainer(tmp_path).fit(tiny_system(tiny_model(n_src=3)), datamodule=tiny_data())


def test_a_loss_of_another_kind_is_refused(tiny_model):
    model = tiny_model()
    with pytest.raises(StabError, match="trains with an AssignmentLossWrapper, got PITLossWrapper"):
        StabSystem(model, torch.optim.Adam(model.parameters()), PITLossWrapper(pairwise_neg_sisdr))


def test_the_hosts_defects_are_mended(tmp_path, tiny_data, tiny_trainer, tiny_system):
    """No logger, no validation, and lists of words in the config: Asteroid's System stops at each."""
    system = tiny_system(config={"a": ["x", "y"], "b": [1, 2], "c": {"d": None}})
    data = tiny_data()
    data.setup("fit")
    system.train_loader = data.train_dataloader()
    tiny_trainer(tmp_path).fit(system)
    assert system.hparams["a"] == "['x', 'y']"
    assert system.hparams["b"].tolist() == [1, 2]


def test_a_plateau_watches_the_validation_and_needs_one(tmp_path, tiny_data, tiny_trainer, tiny_system):
    def plateau(optimizer):
        return ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=0, threshold=1e9)

    system = tiny_system(scheduler=plateau)
    tiny_trainer(tmp_path, max_epochs=3).fit(system, datamodule=tiny_data())
    assert system.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 / 4)
    data = tiny_data()
    data.setup("fit")
    system = tiny_system(scheduler=plateau)
    system.train_loader = data.train_dataloader()
    with pytest.raises(StabError, match="needs val/si_sdr"):
        tiny_trainer(tmp_path).fit(system)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_schedule_by_the_step_gives_each_step_the_rate_of_its_number(
    tmp_path, tiny_data, tiny_trainer, tiny_system, accumulate
):
    """Also the first, and after a resume; the epoch's steps are the trainer's."""
    rates = []

    class Note(pl.Callback):
        def on_before_optimizer_step(self, trainer, system, optimizer):
            rates.append(optimizer.param_groups[0]["lr"])

    def make(optimizer):
        return DPTNetScheduler(optimizer, None, d_model=64, warmup_steps=3, exp_max=0.01, exp_base=0.5)

    def fit(epochs, **kwargs):
        system = tiny_system(scheduler=make)
        callbacks = [Note(), RunCheckpoint()]
        trainer = tiny_trainer(tmp_path, max_epochs=epochs, callbacks=callbacks, accumulate_grad_batches=accumulate)
        trainer.fit(system, datamodule=tiny_data(), weights_only=True, **kwargs)
        return system.scheduler[0].steps_per_epoch

    n_steps = fit(2)
    assert n_steps == 4 // accumulate
    assert fit(8, ckpt_path=tmp_path / "checkpoints" / "last.ckpt") == n_steps
    reference = DPTNetScheduler(torch.optim.Adam([torch.zeros(1)]), n_steps, 64, 3, exp_max=0.01, exp_base=0.5)
    torch.testing.assert_close(torch.tensor(rates), reference.as_tensor(0, 8 * n_steps))
    assert rates[-1] < 0.01 < rates[1]


@pytest.mark.parametrize(
    ("change", "n_steps"),
    [({"accumulate_grad_batches": 2}, 2), ({"limit_train_batches": 3}, 3), ({"batch_size": 2}, 8), ({}, 4)],
)
def test_a_schedule_by_the_step_goes_on_with_the_steps_of_its_epochs(
    tmp_path, tiny_data, tiny_trainer, tiny_system, change, n_steps
):
    """With others its rate would change at another speed."""

    def fit(epochs, ckpt=None, **words):
        data = tiny_data()
        data.batch_size = words.pop("batch_size", data.batch_size)
        system = tiny_system(scheduler=lambda optimizer: DPTNetScheduler(optimizer, None, d_model=64))
        trainer = tiny_trainer(tmp_path, max_epochs=epochs, callbacks=[RunCheckpoint()], **words)
        trainer.fit(system, datamodule=data, ckpt_path=ckpt, weights_only=True)
        return system.scheduler[0]

    fit(1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    if not change:
        assert fit(2, last).steps_per_epoch == 4
        return
    with pytest.raises(StabError, match=f"DPTNetScheduler must go on with the 4 steps of an epoch .* got {n_steps}"):
        fit(2, last, **change)


def test_a_schedule_by_the_step_trains_without_an_end(tmp_path, tiny_data, tiny_trainer, tiny_system):
    system = tiny_system(scheduler=lambda optimizer: DPTNetScheduler(optimizer, None, d_model=64))
    tiny_trainer(tmp_path, max_epochs=-1, max_steps=3).fit(system, datamodule=tiny_data())
    assert system.scheduler[0].steps_per_epoch == 4


def test_epoch_and_rank_seed_what_training_draws(tmp_path, tiny_data, tiny_trainer, tiny_system):
    drawn = []

    class Draw(pl.Callback):
        def on_train_batch_start(self, *args):
            drawn.append(torch.rand(()).item())

    for start in (1, 2):
        torch.manual_seed(start)  # whatever came before
        tiny_trainer(tmp_path, callbacks=[Draw()], max_epochs=2).fit(tiny_system(seed=7), datamodule=tiny_data())
    assert drawn[:8] == drawn[8:]
    assert len(set(drawn)) == 8


def test_accumulation_skips_only_a_window_without_items(tmp_path, tiny_data, tiny_trainer, tiny_system):
    calls = []

    class DropOdd(Stabilizer):
        def logits(self, step):
            calls.append(weights(system).clone())
            return torch.full((4,), -torch.inf if len(calls) % 2 == 0 else 0.0)

    system = tiny_system()
    trainer = tiny_trainer(tmp_path, callbacks=[DropOdd()], accumulate_grad_batches=2)
    trainer.fit(system, datamodule=tiny_data())
    assert trainer.global_step == 2
    assert not torch.equal(calls[0], calls[2])
    assert trainer.callback_metrics["train/skipped_steps"] == 0


def _loader(data):
    data.setup("fit")
    return data.train_dataloader()


def _one_step(system, trainer, batch, data=None):
    """The weights after one step on ``batch``."""

    class Keep:
        def __iter__(self):
            return iter([batch])

        def __len__(self):
            return 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if data is None:
            trainer.fit(system, train_dataloaders=Keep())
        else:
            data.train_dataloader = Keep
            trainer.fit(system, datamodule=data)
    return weights(system)


class Pointwise(torch.nn.Module):
    """Gives each sample's multiples, so that padding changes no estimate of a true sample but is not zero itself."""

    def __init__(self, n_src=2):
        super().__init__()
        self.gains = torch.nn.Parameter(torch.linspace(0.5, 1.5, n_src).view(1, n_src, 1))
        self.offset = torch.nn.Parameter(torch.tensor(0.01))

    def forward(self, mixture):
        return self.gains * (mixture + self.offset).unsqueeze(1).pow(3)

    def get_model_args(self):
        return {"n_src": 2}


class Short(torch.utils.data.Dataset):
    """Noise of different lengths, padded to 200 samples."""

    lengths = (200, 120, 90, 200, 120, 64)

    def __len__(self):
        return len(self.lengths)

    def whole(self, item):
        random = torch.Generator().manual_seed(item)
        sources = torch.randn(2, self.lengths[item], generator=random)
        return sources.sum(0) + 0.5 * torch.randn(self.lengths[item], generator=random), sources

    def __getitem__(self, item):
        padding = (0, 200 - self.lengths[item])
        mixture, sources = (torch.nn.functional.pad(signal, padding) for signal in self.whole(item))
        return mixture, sources, item, self.lengths[item]


def padded_loader(batch_size=6):
    return torch.utils.data.DataLoader(Short(), batch_size=batch_size, collate_fn=collate)


def by_hand(system, alpha):
    """Losses [B, J] of the items without padding, their improvements, and the weighted loss of the batch."""
    losses, improvements = [], []
    for mixture, sources in (Short().whole(item) for item in range(len(Short()))):
        losses.append(system.loss_func.assign(system(mixture[None]), sources[None]).loss)
        improvements.append(losses[-1].detach() - matched_neg_sdr(mixture.expand(1, 2, -1), sources[None]))
    losses, improvements = torch.cat(losses), torch.cat(improvements)
    weights = torch.softmax(alpha * improvements.flatten(), 0).view_as(losses)
    return losses, improvements, (weights * losses).sum()


@pytest.mark.parametrize("stabilizer", [None, Reweighting(alpha=0.2), SampleDropout(0.0, metric="si_sdr_i")])
def test_padding_is_judged_neither_in_training_nor_in_validation(tmp_path, tiny_trainer, tiny_system, stabilizer):
    """Losses, weights, metrics and the gradient are those of the items without their zeros."""
    system = tiny_system(Pointwise())
    system.optimizer = torch.optim.SGD(system.model.parameters(), lr=1.0)
    losses, improvements, loss = by_hand(system, getattr(stabilizer, "alpha", 0.0))
    loss.backward()
    gradient, before = system.model.gains.grad.clone(), system.model.gains.detach().clone()
    trainer = tiny_trainer(tmp_path, callbacks=[stabilizer] if stabilizer else [], gradient_clip_val=None)
    trainer.fit(system, padded_loader(6), padded_loader(4))
    torch.testing.assert_close(trainer.callback_metrics["train/step_loss"], loss.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(before - system.model.gains.detach(), gradient, rtol=1e-3, atol=1e-4)
    if isinstance(stabilizer, SampleDropout):
        torch.testing.assert_close(stabilizer.bank.metric, -improvements.mean(1), rtol=1e-4, atol=1e-4)
    losses, improvements, _ = by_hand(system, 0.0)  # after the step, as the validation judges
    figures = {"val/loss": losses.mean(), "val/si_sdr": -losses.mean(), "val/si_sdr_i": -improvements.mean()}
    for name, wanted in figures.items():
        assert trainer.callback_metrics[name] == pytest.approx(wanted.item(), rel=1e-3), name


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
@pytest.mark.parametrize("averaged", [False, True])
def test_a_resumed_training_has_the_bits_of_an_undisturbed_one(
    tmp_path, tiny_data, tiny_trainer, tiny_system, precision, averaged
):
    """In float64 too, where Lightning alone loads the weights into float32."""

    def fit(folder, epochs, ckpt=None):
        torch.manual_seed(0)
        system = tiny_system()
        callbacks = [RunCheckpoint(), *([WeightAverage(0.5)] if averaged else [])]
        trainer = tiny_trainer(tmp_path / folder, max_epochs=epochs, callbacks=callbacks, precision=precision)
        trainer.fit(system, datamodule=tiny_data(), ckpt_path=ckpt, weights_only=True)
        return tmp_path / folder / "checkpoints" / "last.ckpt"

    whole = torch.load(fit("whole", 2), weights_only=True)
    resumed = torch.load(fit("resumed", 2, fit("resumed", 1)), weights_only=True)
    assert {w.dtype for w in whole["state_dict"].values() if w.is_floating_point()} == {
        torch.float64 if precision == "64-true" else torch.float32
    }
    torch.testing.assert_close(resumed["state_dict"], whole["state_dict"], rtol=0, atol=0)


def test_several_microphones_are_measured_against_the_first(tmp_path, tiny_data, tiny_trainer, tiny_system):
    """A net that hears the first one alone is trained to the same weights, and scored as with one microphone."""
    found = []
    for n_mics, net, inputs in ((1, own_nets.TinyMask, "time"), (3, own_nets.FirstOfMics, "channel_time")):
        torch.manual_seed(0)
        model = hosted(net, n_src=2, sample_rate=8000, inputs=inputs, n_mics=n_mics)
        system, trainer = tiny_system(model), tiny_trainer(tmp_path, max_epochs=2)
        trainer.fit(system, datamodule=tiny_data(n_mics=n_mics))
        found.append((weights(system), {name: value.item() for name, value in trainer.callback_metrics.items()}))
    assert found[0][1] == found[1][1]
    assert found[0][1].keys() >= {"val/si_sdr_i", "train/loss"}
    assert torch.equal(found[0][0], found[1][0])


def test_a_model_of_another_number_of_microphones_is_refused(tmp_path, tiny_data, tiny_trainer, tiny_system):
    with pytest.raises(StabError, match=r"ConvTasNet takes 1 microphone, and the mixtures have 2: set data.mics=\[0\]"):
        tiny_trainer(tmp_path).fit(tiny_system(), datamodule=tiny_data(n_mics=2))
