"""Training of a network that refines."""

from functools import partial

import numpy as np
import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.callbacks import AssignmentTracker, RunCheckpoint
from asteroid_stab.data.padding import Batch, collate
from asteroid_stab.engine import RefinementSystem, StabSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper, LayerwiseLossWrapper
from asteroid_stab.losses.likelihood import mixture_nll
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.models import LatentRefinementNet, layered_model, load_model
from asteroid_stab.stabilizers import Reweighting, SampleDropout

SIZE = {"n_filters": 16, "bn_chan": 8, "upsampling_depth": 2, "n_iterations": 3, "gate_segment_s": 0.1}
SIZE["noise_slot"] = True


def make_model(n_src=2, seed=0, **kwargs):
    torch.manual_seed(seed)
    return LatentRefinementNet(n_src, **{**SIZE, **kwargs})


def make_system(model, kind=RefinementSystem, lr=1e-2, loss=None, **kwargs):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    return kind(model, optimizer, loss or ExactPITLossWrapper(pairwise_neg_sisdr), **kwargs)


@pytest.fixture(scope="module")
def noisy_data(tiny_data, tiny_corpus):
    """The tones with noise beside them, which is no source."""

    class NoisyTones(tiny_corpus):
        def dataset(self, split, segment_s=None, seed=0):
            made = super().dataset(split, segment_s, seed)
            read = made.read

            def with_noise(row, start, stop):
                mixture, sources = read(row, start, stop)
                generator = torch.Generator().manual_seed(row)
                noise = 0.1 * torch.randn(1200, generator=generator).numpy()[start:stop]
                return mixture + noise, sources

            made.read = with_noise
            return made

    return partial(tiny_data, kind=NoisyTones)


class Recorded(RefinementSystem):
    """Notes every batch and its loss."""

    def training_step(self, batch, batch_nb):
        loss = super().training_step(batch, batch_nb)
        self.seen = [*getattr(self, "seen", []), (batch, loss.detach())]
        return loss


def test_without_its_options_it_is_the_plain_system(tmp_path, noisy_data, tiny_trainer):
    metrics = []
    for kind in (StabSystem, RefinementSystem):
        trainer = tiny_trainer(tmp_path, callbacks=[AssignmentTracker()], max_epochs=2)
        system = make_system(make_model(noise_slot=False), kind)
        trainer.fit(system, datamodule=noisy_data())
        metrics.append((trainer.callback_metrics, system.model.state_dict()))
    (plain, weights), (refined, same) = metrics
    assert all(torch.equal(same[name], value) for name, value in weights.items())
    assert all(torch.equal(refined[name], value) for name, value in plain.items())
    assert refined["train/n_iterations"] == refined["val/n_iterations"] == 3


@pytest.mark.parametrize("n_src", [1, 2])
def test_the_noise_is_one_more_source_in_a_fixed_place(tmp_path, noisy_data, tiny_trainer, n_src):
    """Against the equation: the mean of the speakers' best assignment and of the noise's own loss."""
    system = make_system(make_model(n_src), Recorded, lr=0.0, noise_in_loss=True)
    tracker = AssignmentTracker()
    trainer = tiny_trainer(tmp_path, callbacks=[tracker])
    trainer.fit(system, datamodule=noisy_data(n_src=n_src))
    separation = []
    for (mixture, sources, _), loss in system.seen:
        with torch.no_grad():
            slots, _ = system.model.eval().slots(mixture)
        speakers = ExactPITLossWrapper(pairwise_neg_sisdr).assign(slots[:, :n_src], sources).loss
        noise = matched_neg_sdr(slots[:, n_src:], (mixture - sources.sum(1)).unsqueeze(1))
        torch.testing.assert_close(loss, torch.cat([speakers, noise], 1).mean(), rtol=1e-4, atol=1e-4)
        separation.append(speakers.mean())
    torch.testing.assert_close(
        trainer.callback_metrics["train/loss"], torch.stack(separation).mean(), rtol=1e-4, atol=1e-4
    )
    assert tracker.previous.shape == (1, 16, n_src)


@pytest.mark.parametrize(("penalty", "cost"), [("linear", 6.0), ("share", 2.0), ("square", 18.0)])
def test_iterations_cost_as_the_equation_says(tmp_path, noisy_data, tiny_trainer, penalty, cost):
    """With gates that always process: 3 iterations at 2 dB."""
    losses = []
    for size in (0.0, 2.0):
        model = make_model(gate=True, gate_bias=1e4)
        system = make_system(model, Recorded, lr=0.0, iteration_penalty=size, penalty=penalty)
        tiny_trainer(tmp_path).fit(system, datamodule=noisy_data())
        losses.append(torch.stack([loss for _, loss in system.seen]))
    torch.testing.assert_close(losses[1] - losses[0], torch.full((4,), cost), rtol=1e-4, atol=1e-4)


def test_a_penalty_teaches_the_gate_to_exit(tmp_path, noisy_data, tiny_trainer):
    """And the gate has a gradient of both parts of the loss."""
    model = make_model(gate=True, gate_bias=1.0)
    system = make_system(model, lr=1e-2, iteration_penalty=100.0)
    trainer = tiny_trainer(tmp_path, callbacks=[RunCheckpoint(monitor="none")], max_epochs=6)
    trainer.fit(system, datamodule=noisy_data())
    assert trainer.callback_metrics["train/n_iterations"] < 1.5
    assert trainer.callback_metrics["val/n_iterations"] < 1
    free = make_system(make_model(gate=True), lr=1e-2)
    mixture, sources, _ = next(iter(_fitted(noisy_data()).train_dataloader()))
    slots, figures = free.model.forward_with_figures(mixture)
    n_used = figures["n_iterations"]
    loss = ExactPITLossWrapper(pairwise_neg_sisdr)(slots[:, :2], sources)
    gates = list(free.model.masker.gates.parameters())
    assert any(bool(grad.abs().sum() > 0) for grad in torch.autograd.grad(loss, gates, retain_graph=True))
    assert any(bool(grad.abs().sum() > 0) for grad in torch.autograd.grad(n_used.sum(), gates))
    assert torch.equal(n_used, n_used.round())


def _fitted(data):
    data.setup("fit")
    return data


def test_layers_are_iterations(tmp_path, noisy_data, tiny_trainer):
    """Every depth is assigned and tracked by itself; the file is the plain network's."""
    loss = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
    tracker = AssignmentTracker()
    system = make_system(layered_model(make_model(gate=True)), loss=loss, noise_in_loss=True, iteration_penalty=0.1)
    trainer = tiny_trainer(tmp_path, callbacks=[tracker, SampleDropout(0.0), RunCheckpoint()], max_epochs=2)
    trainer.fit(system, datamodule=noisy_data())
    assert tracker.previous.shape == (3, 16, 2)
    assert {row["layer"] for row in tracker.rows} == {0, 1, 2}
    kept = load_model(tmp_path / "best_model.pth")
    assert type(kept) is LatentRefinementNet
    assert kept(torch.randn(2, 800)).shape == (2, 2, 800)


def test_remixed_batches_train_and_what_remembers_items_is_refused(tmp_path, noisy_data, tiny_trainer):
    runs = []
    for remixed in (False, True, True):
        trainer = tiny_trainer(tmp_path)
        trainer.fit(make_system(make_model(), remix=remixed, noise_in_loss=True), datamodule=noisy_data())
        runs.append(trainer.callback_metrics)
    assert runs[1]["train/loss"] == runs[2]["train/loss"]
    assert runs[0]["train/loss"] != runs[1]["train/loss"]
    for callback in (AssignmentTracker(), SampleDropout()):
        with pytest.raises(StabError, match=f"{type(callback).__name__} needs stable ids, but system.remix=true"):
            tiny_trainer(tmp_path, callbacks=[callback]).fit(
                make_system(make_model(), remix=True), datamodule=noisy_data()
            )


@pytest.mark.parametrize(
    ("model", "kwargs", "message"),
    [
        ({"noise_slot": False}, {"noise_in_loss": True}, r"needs an output for the noise \(model.noise_slot=true\)"),
        ({}, {"iteration_penalty": 0.1}, r"needs gates .* \(model.gate=true\)"),
        ({"gate": True}, {"iteration_penalty": -1.0}, "iteration_penalty must be at least 0, got -1"),
        ({"gate": True}, {"penalty": "linea"}, "penalty must be one of linear, share, square, got 'linea'"),
    ],
)
def test_wrong_options_are_refused(model, kwargs, message):
    with pytest.raises(StabError, match=message):
        make_system(make_model(**model), **kwargs)


def test_other_models_and_weights_of_single_sources_are_refused(tmp_path, noisy_data, tiny_trainer, tiny_model):
    with pytest.raises(StabError, match=r"must be a LatentRefinementNet \(model=refiner\), got ConvTasNet"):
        make_system(tiny_model())
    system = make_system(make_model(), noise_in_loss=True)
    with pytest.raises(StabError, match=r"Reweighting weighs single sources, .*stabilizer.reweight.level=mixture"):
        tiny_trainer(tmp_path, callbacks=[Reweighting(alpha=0.1)]).fit(system, datamodule=noisy_data())

    class Undeclared(Reweighting):
        weighs_sources = False

    with pytest.raises(StabError, match=r"noise_in_loss needs weights of whole items, got some of single sources"):
        tiny_trainer(tmp_path, callbacks=[Undeclared(alpha=0.1)]).fit(system, datamodule=noisy_data())
    trainer = tiny_trainer(tmp_path, callbacks=[Reweighting(alpha=0.1, level="mixture")])
    trainer.fit(make_system(make_model(), noise_in_loss=True), datamodule=noisy_data())
    assert trainer.callback_metrics["train/effective_share"] < 1


def test_noise_that_is_not_there_has_no_part_in_the_loss(tmp_path, tiny_data, tiny_trainer):
    """The tones' mixtures are sums, rounded or not."""
    losses = []
    for noise_in_loss in (False, True):
        trainer = tiny_trainer(tmp_path / str(noise_in_loss), max_epochs=1)
        trainer.fit(make_system(make_model(), noise_in_loss=noise_in_loss), datamodule=tiny_data())
        losses.append(trainer.callback_metrics["train/loss"])
    assert torch.equal(*losses)


def test_one_item_cannot_be_mixed_anew(tmp_path, tiny_data, tiny_trainer):
    system = make_system(make_model(), remix=True)
    with pytest.raises(StabError, match="remix=true mixes the items of a process' batch with each other, got one item"):
        tiny_trainer(tmp_path, callbacks=[]).fit(system, datamodule=tiny_data(batch_size=1))


@pytest.mark.parametrize("stage", [None, 2])
def test_the_noise_of_the_gates_is_drawn_from_seed_epoch_and_id(tmp_path, tiny_data, tiny_trainer, stage):
    model = make_model(n_blocks=2, gate=True, own_heads=True)
    model.train_stage(stage)
    system = make_system(model, Recorded, seed=5)
    taken = []

    def note(gate, args, _):
        if gate.training:
            taken.append(args[1])

    model.masker.gates[1].register_forward_hook(note)
    tiny_trainer(tmp_path, callbacks=[], limit_train_batches=1).fit(system, datamodule=tiny_data())
    [((_, _, ids), _)] = system.seen
    first = 0 if stage else 3  # of the draws: a stage takes its own block's alone
    assert len(taken) == 3
    for t, noise in enumerate(taken, start=first):
        draws = [np.random.default_rng((5, 0, i)).gumbel(size=(6, 2))[t] for i in ids.tolist()]
        torch.testing.assert_close(noise, torch.tensor(np.stack(draws), dtype=torch.float32), rtol=0, atol=0)


class Counted(RefinementSystem):
    """Notes the iterations of each block in every training step."""

    def _drawn_iterations(self, batch_nb):
        self.drawn = [*getattr(self, "drawn", []), super()._drawn_iterations(batch_nb)]
        return self.drawn[-1]


@pytest.mark.parametrize("gate", [False, True])
def test_as_few_iterations_as_the_models_own_are_the_fixed_number_to_the_bit(tmp_path, tiny_data, tiny_trainer, gate):
    weights = []
    for least in (None, 3):
        system = make_system(make_model(gate=gate), least_iterations=least, iteration_penalty=0.1 * gate)
        tiny_trainer(tmp_path, max_epochs=2).fit(system, datamodule=tiny_data())
        weights.append(system.model.state_dict())
    assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items())


def test_iterations_are_drawn_for_each_step_and_a_resumed_training_draws_the_same(tmp_path, tiny_data, tiny_trainer):
    """From (seed, epoch, batch) alone, so that all processes have the same; and they are what is computed."""

    def train(folder, epochs, resume=False, seed=3):
        model = make_model(n_blocks=2, n_iterations=[4, 3])
        system = make_system(model, Counted, least_iterations=2, seed=seed)
        trainer = tiny_trainer(tmp_path / folder, max_epochs=epochs, callbacks=[RunCheckpoint()])
        file = tmp_path / folder / "checkpoints" / "last.ckpt" if resume else None
        trainer.fit(system, datamodule=tiny_data(), ckpt_path=file, weights_only=True)
        return trainer, system

    trainer, whole = train("whole", 3)
    assert trainer.callback_metrics["train/n_iterations"] == np.mean([sum(drawn) for drawn in whole.drawn[-4:]])
    assert trainer.callback_metrics["val/n_iterations"] == 7
    first, second = zip(*whole.drawn, strict=True)
    assert {*first} == {2, 3, 4}
    assert {*second} == {2, 3}
    assert whole.drawn[:4] != whole.drawn[4:8] != whole.drawn[8:]
    train("parts", 1)
    _, resumed = train("parts", 3, resume=True)
    assert resumed.drawn == whole.drawn[4:]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value)
    assert train("other", 1, seed=4)[1].drawn != whole.drawn[:4]


@pytest.mark.parametrize("stage", [None, 2])
def test_drawn_iterations_have_the_noise_of_the_first_ones(tmp_path, tiny_data, tiny_trainer, stage):
    """And blocks that a stage has frozen keep their number."""
    model = make_model(n_blocks=2, gate=True, own_heads=True)
    model.train_stage(stage)
    system = make_system(model, Counted, seed=5, least_iterations=1)
    given = []
    forward = model.forward_with_figures

    def note(mixture, n_iterations, lengths=None, gate_noise=None):
        given.append((n_iterations, gate_noise))
        return forward(mixture, n_iterations, lengths, gate_noise)

    model.forward_with_figures = note
    noise = system._gate_noise(torch.tensor([4, 7]), model.n_iterations)
    for drawn in ([3, 1], [1, 2]):
        drawn = [3, drawn[1]] if stage else drawn
        rows = [*range(drawn[1])] if stage else [*range(drawn[0]), *range(3, 3 + drawn[1])]
        assert torch.equal(system._gate_noise(torch.tensor([4, 7]), drawn), noise[rows])
    tiny_trainer(tmp_path, callbacks=[], limit_val_batches=0).fit(system, datamodule=tiny_data())
    assert len(given) == 4
    for per_block, of_step in given:
        assert len(of_step) == (per_block[1] if stage else sum(per_block))
        assert per_block[0] == 3 or not stage
    assert len({tuple(per_block) for per_block, _ in given}) > 1


def test_a_random_number_that_cannot_be_is_refused():
    for wrong in (0, 4, True):
        with pytest.raises(StabError, match=f"from 1 to the fewest iterations of a block, 3, or null, got {wrong}"):
            make_system(make_model(n_blocks=2, n_iterations=[5, 3]), least_iterations=wrong)
    loss = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
    with pytest.raises(StabError, match=r"changes the number of layers from step to step.*train with head=plain"):
        make_system(layered_model(make_model()), loss=loss, least_iterations=1)


@pytest.mark.parametrize("mixed", [False, True])
def test_padding_is_not_judged_where_noise_counts_and_batches_are_remixed(tmp_path, tiny_trainer, mixed):
    """Against the equation on the true parts; a remixed item is as long as its longest part."""
    lengths = [200, 120, 160, 200]
    random = torch.Generator().manual_seed(0)
    parts = torch.randn(4, 3, 200, generator=random)
    for item, length in enumerate(lengths):
        parts[item, :, length:] = 0
    items = [(part.sum(0), part[:2], i, lengths[i]) for i, part in enumerate(parts)]
    loader = torch.utils.data.DataLoader(items, batch_size=4, collate_fn=collate)
    judged = []

    class Seen(RefinementSystem):
        def learn(self, batch, est, broken, complete=None, figures=None):
            judged.append(Batch(*batch))
            return super().learn(batch, est, broken, complete, figures)

    system = make_system(make_model(), Seen, lr=0.0, noise_in_loss=True, remix=mixed)
    trainer = tiny_trainer(tmp_path)
    trainer.fit(system, loader)
    mixture, sources, _, of_items = judged[0]
    if not mixed:
        assert of_items == lengths
    slots = system.model(mixture).detach()
    wanted = []
    for b, n in enumerate(of_items):
        noise = mixture[b] - sources[b].sum(0)
        assert not mixture[b, n:].any()
        assert mixture[b, n - 1]
        loss = system.loss_func.assign(slots[[b], :2, :n], sources[[b], :, :n]).loss
        wanted.append(torch.cat([loss, matched_neg_sdr(slots[[b], 2:, :n], noise[None, None, :n])], 1).mean())
    torch.testing.assert_close(trainer.callback_metrics["train/step_loss"], torch.stack(wanted).mean())


def exiting(**kwargs):
    return layered_model(make_model(snr_exit=True, **kwargs))


def layerwise():
    return LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_likelihood_has_its_part_of_the_loss(tmp_path, noisy_data, tiny_trainer, share):
    """Against the loss of the layers and the likelihood of the same estimates, computed apart."""
    system = make_system(exiting(), Recorded, lr=0.0, loss=layerwise(), likelihood=share)
    trainer = tiny_trainer(tmp_path, max_epochs=1)
    trainer.fit(system, datamodule=noisy_data())
    model, nlls = system.model.train(), []
    for batch, loss in system.seen:
        mixture, sources, *_ = batch
        est, _, (alpha, beta) = model.forward_with_errors(mixture)
        separation = layerwise()(est[:, :, :2], sources)
        nll = mixture_nll(est[:, :, :2], sources, alpha, beta).mean()
        torch.testing.assert_close(loss, (1 - share) * separation + share * nll, rtol=1e-4, atol=1e-4)
        nlls.append(nll.item())
    assert trainer.callback_metrics["train/likelihood"].item() == pytest.approx(np.mean(nlls), rel=1e-3)


def test_exits_are_learnt(tmp_path, noisy_data, tiny_trainer):
    """The likelihood falls, every part of the network for errors has a gradient, and the validation exits."""
    system = make_system(exiting(exit_snri_db=0.1), Recorded, loss=layerwise(), likelihood=0.5)
    before = {name: value.clone() for name, value in system.model.masker.error_head.state_dict().items()}
    trainer = tiny_trainer(tmp_path, max_epochs=6)
    trainer.fit(system, datamodule=noisy_data())
    losses = [loss.item() for _, loss in system.seen]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    after = system.model.masker.error_head.state_dict()
    assert not any(torch.equal(value, after[name]) for name, value in before.items())
    assert 1 <= trainer.callback_metrics["val/n_iterations"] < 3


def test_broken_and_silent_items_are_left_out_of_the_likelihood(tmp_path, noisy_data, tiny_trainer):
    system = make_system(exiting(), Recorded, loss=layerwise(), likelihood=0.5)
    trainer = tiny_trainer(tmp_path, max_epochs=1)
    trainer.fit(system, datamodule=noisy_data(spoil={1: 0, 3: 1}))
    assert all(torch.isfinite(loss) for _, loss in system.seen)
    assert all(torch.isfinite(value).all() for value in system.model.state_dict().values())


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (lambda: exiting(), {}, "snr_exit=True and likelihood=0.0"),
        (lambda: layered_model(make_model()), {"likelihood": 0.5}, "snr_exit=False and likelihood=0.5"),
        (lambda: make_model(snr_exit=True), {"likelihood": 0.5}, "train with head=layerwise"),
        (lambda: exiting(), {"likelihood": 1.5}, "likelihood must be from 0 to 1, got 1.5"),
        (lambda: exiting(), {"likelihood": float("nan")}, "likelihood must be from 0 to 1, got nan"),
    ],
)
def test_a_likelihood_that_trains_nothing_is_refused(model, arguments, message):
    with pytest.raises(StabError, match=message):
        make_system(model(), loss=layerwise(), **arguments)
