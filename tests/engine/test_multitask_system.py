"""Separation and enhancement together."""

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.callbacks import AssignmentTracker, RunCheckpoint
from asteroid_stab.data import MixtureDataModule, MultiTaskCorpus
from asteroid_stab.engine import MultiTaskSystem, StabSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.models import layered_model, load_model
from asteroid_stab.stabilizers import SampleDropout


def make_system(model, kind=MultiTaskSystem, loss=None, lr=1e-2):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    return kind(model, optimizer, loss or ExactPITLossWrapper(pairwise_neg_sisdr))


def make_data(tiny_data, n_separation=16, n_enhancement=8, n_src=2):
    base = tiny_data(n_train=n_separation, n_src=n_src).corpus
    enhancement = tiny_data(n_train=n_enhancement, n_src=1).corpus
    return MixtureDataModule(MultiTaskCorpus(base, enhancement), segment_s=0.1, batch_size=4)


class Recorded(MultiTaskSystem):
    """Notes the loss and the gradient of the output layer in every step."""

    def training_step(self, batch, batch_nb):
        loss = super().training_step(batch, batch_nb)
        layer = self.model.masker.mask_net[1].weight
        gradient = torch.autograd.grad(loss, layer, retain_graph=True)[0]
        self.seen = [*getattr(self, "seen", []), (batch, loss.detach(), gradient)]
        return loss


@pytest.mark.parametrize("layers", [False, True])
def test_each_task_has_its_outputs_and_its_loss(tmp_path, tiny_data, tiny_trainer, tiny_model, layers):
    model = tiny_model(3)
    if layers:
        from asteroid_stab.losses import LayerwiseLossWrapper

        loss = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
        system = make_system(layered_model(model), Recorded, loss, lr=0.0)
    else:
        system = make_system(model, Recorded, lr=0.0)
    trainer = tiny_trainer(tmp_path, callbacks=[AssignmentTracker()])
    trainer.fit(system, datamodule=make_data(tiny_data))
    n_enhanced = 0
    for (mixture, sources, _), loss, gradient in system.seen:
        with torch.no_grad():
            est = model.eval()(mixture)
        n_filters = len(gradient) // 3
        if sources.shape[1] == 1:
            n_enhanced += 1
            wanted = matched_neg_sdr(est[:, 2:], sources).mean()
            assert (gradient[: 2 * n_filters] == 0).all()
            assert (gradient[2 * n_filters :] != 0).any()
        else:
            wanted = ExactPITLossWrapper(pairwise_neg_sisdr)(est[:, :2], sources)
            assert (gradient[2 * n_filters :] == 0).all()
        torch.testing.assert_close(loss, wanted)  # with one layer, all layers are the last
    assert (len(system.seen), n_enhanced) == (6, 2)
    separated = [loss for (_, sources, _), loss, _ in system.seen if sources.shape[1] > 1]
    enhanced = [loss for (_, sources, _), loss, _ in system.seen if sources.shape[1] == 1]
    torch.testing.assert_close(trainer.callback_metrics["train/loss"], torch.stack(separated).mean())
    torch.testing.assert_close(trainer.callback_metrics["train/enhancement_loss"], torch.stack(enhanced).mean())


def test_a_run_keeps_a_model_that_separates_and_counts_its_switches_alone(
    tmp_path, tiny_data, tiny_trainer, tiny_model
):
    system = make_system(tiny_model(3))
    tracker = AssignmentTracker()
    trainer = tiny_trainer(tmp_path, callbacks=[tracker, SampleDropout(0.0), RunCheckpoint()], max_epochs=2)
    trainer.fit(system, datamodule=make_data(tiny_data))
    assert [(row["n_seen"], row["n_compared"]) for row in tracker.rows] == [(16, 0), (16, 16)]
    kept = load_model(tmp_path / "best_model.pth")
    mixture = torch.randn(2, 800)
    with torch.no_grad():
        assert kept(mixture).shape == (2, 2, 800)
    assert "train/kept" in trainer.callback_metrics


def test_without_enhancement_it_would_be_the_plain_training(tmp_path, tiny_data, tiny_trainer, tiny_model):
    """The separation batches alone move the first outputs' rows just as a plain training does, if the rate is 0."""
    plain = make_system(tiny_model(2), StabSystem, lr=0.0)
    trainer = tiny_trainer(tmp_path)
    trainer.fit(plain, datamodule=tiny_data())
    both = tiny_model(3)
    weights = {**both.state_dict(), **plain.model.state_dict()}
    for name in ("masker.mask_net.1.weight", "masker.mask_net.1.bias"):
        own = both.state_dict()[name]
        weights[name] = torch.cat([plain.model.state_dict()[name], own[len(own) // 3 * 2 :]])
    both.load_state_dict(weights)
    tasks = tiny_trainer(tmp_path)
    tasks.fit(make_system(both, lr=0.0), datamodule=make_data(tiny_data))
    for name in ("train/loss", "val/si_sdr", "val/loss"):
        torch.testing.assert_close(tasks.callback_metrics[name], trainer.callback_metrics[name])


def test_data_of_one_task_are_refused(tmp_path, tiny_data, tiny_trainer, tiny_model):
    with pytest.raises(StabError, match=r"the data are for separation: data=multitask"):
        tiny_trainer(tmp_path).fit(make_system(tiny_model(3)), datamodule=tiny_data())


def test_a_model_of_too_few_outputs_is_refused(tmp_path, tiny_data, tiny_trainer, tiny_model):
    with pytest.raises(
        StabError, match=r"an output for each of 2 sources and one that enhances \(model.n_src=3\), got 2"
    ):
        tiny_trainer(tmp_path).fit(make_system(tiny_model(2)), datamodule=make_data(tiny_data))
