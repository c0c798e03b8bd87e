"""Stabilizers in LightningModules that are not ours."""

import loops
import pytest
import pytorch_lightning as pl
import torch
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from pytorch_lightning.callbacks import ModelCheckpoint

from asteroid_stab.callbacks import AssignmentTracker, RunCheckpoint, stabilized
from asteroid_stab.errors import StabError
from asteroid_stab.losses import AttentionPITLossWrapper, ExactPITLossWrapper
from asteroid_stab.stabilizers import Reweighting, SampleDropout, Stabilizer


class Foreign(pl.LightningModule):
    """Somebody's module, which knows nothing of stabilizers."""

    def __init__(self):
        super().__init__()
        self.model = loops.new_model()
        self.loss_func = PITLossWrapper(pairwise_neg_sisdr)

    def training_step(self, batch, batch_idx):
        mixture, sources, _ = batch
        return self.loss_func(self.model(mixture), sources)

    def configure_optimizers(self):
        return loops.new_optimizer(self.model)

    def train_dataloader(self):
        return loops.new_loader()

    def exported(self):
        return self.model


class Four(Foreign):
    """The same with the four lines."""

    own = ()

    def configure_callbacks(self):
        self.stab = stabilized(self, ExactPITLossWrapper(pairwise_neg_sisdr), self.own)
        return []

    def training_step(self, batch, batch_idx):
        mixture, sources, ids = batch
        return self.stab(self.model(mixture), sources, mixture, ids)


def fit(module, tiny_trainer, root, callbacks, epochs=2, **kwargs):
    trainer = tiny_trainer(root, callbacks=callbacks, max_epochs=epochs, gradient_clip_val=None)
    trainer.fit(module, **kwargs)
    return trainer


@pytest.mark.parametrize("stabilizer", [Reweighting(alpha=0.1), SampleDropout(0.0), AssignmentTracker(save=False)])
def test_one_that_a_module_never_asks_is_told_in_the_first_epoch(tmp_path, tiny_trainer, stabilizer):
    name = type(stabilizer).__name__
    with pytest.raises(
        StabError, match=rf"{name} was not asked in epoch 1, .*: Foreign must train with .*stabilized\("
    ):
        fit(Foreign(), tiny_trainer, tmp_path, [stabilizer])


def test_one_whose_module_forgets_it_later_is_told_then(tmp_path, tiny_trainer):
    class Later(Four):
        def training_step(self, batch, batch_idx):
            return (super() if self.current_epoch == 0 else super(Four, self)).training_step(batch, batch_idx)

    with pytest.raises(StabError, match="Reweighting was not asked in epoch 2"):
        fit(Later(), tiny_trainer, tmp_path, [Reweighting(alpha=0.1)])


def test_with_the_four_lines_it_is_the_systems_training(tmp_path, tiny_trainer):
    system, rows = loops.train_system(tmp_path / "system", epochs=2)
    module = Four()
    trainer = fit(module, tiny_trainer, tmp_path / "four", [*loops.new_stabilizers(), AssignmentTracker()])
    for name, value in system.model.state_dict().items():
        torch.testing.assert_close(module.model.state_dict()[name], value, rtol=0, atol=0)
    for name, value in rows[-1].items():
        assert trainer.callback_metrics[f"train/{name}"] == pytest.approx(value)
    assert (tmp_path / "four" / "switches.csv").read_text().count("\n") == 3


def test_stabilizers_may_be_the_modules_own(tmp_path, tiny_trainer):
    """Their state is in the checkpoint as well."""

    class Own(Four):
        def __init__(self):
            super().__init__()
            self.own = loops.new_stabilizers()

    whole, parts, again = Own(), Own(), Own()
    fit(whole, tiny_trainer, tmp_path / "whole", [], 4)
    fit(parts, tiny_trainer, tmp_path / "parts", [RunCheckpoint()], 2)
    last = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    fit(again, tiny_trainer, tmp_path / "parts", [RunCheckpoint()], 4, ckpt_path=last, weights_only=True)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, rtol=0, atol=0)
    assert again.stab.stabilizers[0].bank.lookup(torch.arange(16))[0].isfinite().all()


def test_a_second_fit_binds_once(tmp_path, tiny_trainer):
    module, stabilizer = Four(), Reweighting(alpha=0.1)
    trainer = fit(module, tiny_trainer, tmp_path, [stabilizer], 1)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module)
    assert module.stab.progress.n_calls == 4
    assert module.stab.stabilizers == []
    assert sum(type(callback).__name__ == "StabilizedTraining" for callback in trainer.callbacks) == 1


def test_a_users_stabilizer_works_as_ours(tmp_path, tiny_trainer):
    class OddOnly(Stabilizer):
        def logits(self, step):
            return torch.where(step.ids % 2 == 1, 0.0, -torch.inf)

    trainer = fit(Four(), tiny_trainer, tmp_path, [OddOnly(), Reweighting(alpha=0.1)])
    assert 0 < trainer.callback_metrics["train/effective_share"] <= 1


def test_another_trainer_brings_its_own_stabilizers(tmp_path, tiny_trainer):
    module = Four()
    fit(module, tiny_trainer, tmp_path, [SampleDropout(0.0)], 1)
    trainer = fit(module, tiny_trainer, tmp_path, [], 1)
    assert module.stab.stabilizers == []
    assert "train/kept" not in trainer.callback_metrics


def test_the_clock_counts_steps_of_the_optimizer(tmp_path, tiny_trainer):
    seen = []

    class Look(Stabilizer):
        def logits(self, step):
            seen.append(step.clock.step)
            return torch.zeros(len(step.ids))

    trainer = tiny_trainer(tmp_path, callbacks=[Look()], max_epochs=2, accumulate_grad_batches=2)
    trainer.fit(Four())
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_loss_with_parameters_must_be_the_modules(tmp_path, tiny_trainer):
    class Attention(Four):
        def configure_callbacks(self):
            self.stab = stabilized(self, AttentionPITLossWrapper(pairwise_neg_sisdr, n_src=2))
            return []

    with pytest.raises(StabError, match="AttentionPITLossWrapper has parameters that Attention does not have"):
        fit(Attention(), tiny_trainer, tmp_path, [])


def test_names_keep_their_numbers_on_a_resume(tmp_path, tiny_trainer):
    class Named(Four):
        def training_step(self, batch, batch_idx):
            mixture, sources, ids = batch
            return self.stab(self.model(mixture), sources, mixture, [f"item {i}" for i in ids.tolist()])

        def train_dataloader(self):  # a data set without names
            known = loops.Tones()
            items = [known[i] for i in range(len(known))]
            return torch.utils.data.DataLoader(items, batch_size=4, shuffle=True)

    first, again = Named(), Named()
    fit(first, tiny_trainer, tmp_path, [SampleDropout(0.0), RunCheckpoint()], 1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    torch.manual_seed(5)
    fit(again, tiny_trainer, tmp_path, [SampleDropout(0.0), RunCheckpoint()], 2, ckpt_path=last, weights_only=True)
    assert again.stab.ids.state() == first.stab.ids.state()
    assert len(first.stab.ids.state()) == 16


class Judged(Four):
    """With a validation after every epoch."""

    def validation_step(self, batch, batch_idx):
        pass

    def val_dataloader(self):
        return loops.new_loader()


@pytest.mark.parametrize(
    ("when", "epochs"),
    [
        ({"every_n_train_steps": 3}, [0, 1]),  # the first epoch goes on after 3 of its 4 steps
        ({"save_on_train_epoch_end": True}, [1]),
        ({"save_on_train_epoch_end": False}, [0, 1]),  # after the validation, before the epoch ended
    ],
)
def test_lightnings_checkpoints_go_on_wherever_they_were_written(tmp_path, tiny_trainer, when, epochs):
    whole = Judged()
    fit(whole, tiny_trainer, tmp_path / "whole", [*loops.new_stabilizers(), AssignmentTracker(save=False)])
    checkpoint = ModelCheckpoint(tmp_path / "saved", "{step}", save_top_k=-1, **when)
    trainer = tiny_trainer(tmp_path / "part", callbacks=[*loops.new_stabilizers(), AssignmentTracker(save=False),
        checkpoint], max_epochs=1, gradient_clip_val=None, enable_checkpointing=True)  # fmt: skip
    trainer.fit(Judged())

    ends = []

    class Ends(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            ended = trainer.callback_metrics
            ends.append((trainer.current_epoch, pl_module.stab.progress.n_calls, "train/kept" in ended))

    tracker = AssignmentTracker(save=False)
    trainer = tiny_trainer(tmp_path / "again", callbacks=[*loops.new_stabilizers(), tracker, Ends()], max_epochs=2,
        gradient_clip_val=None)  # fmt: skip
    again = Judged()
    trainer.fit(again, ckpt_path=next((tmp_path / "saved").iterdir()), weights_only=True)
    assert ends == [(epoch, 4, True) for epoch in epochs]
    assert [row["epoch"] for row in tracker.rows] == [0, 1]
    assert tracker.rows[-1]["n_compared"] > 0
    if "every_n_train_steps" not in when:  # Lightning's loader starts again within an epoch, on other items
        for name, value in whole.model.state_dict().items():
            torch.testing.assert_close(again.model.state_dict()[name], value, rtol=0, atol=0)


def test_a_checkpoint_of_a_module_with_other_stabilizers_is_refused(tmp_path, tiny_trainer):
    class Own(Four):
        own = (Reweighting(alpha=0.1),)

    fit(Own(), tiny_trainer, tmp_path, [RunCheckpoint()], 1)
    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(StabError, match=r"saved with stabilizers \['Reweighting'\], these are \[\]"):
        fit(Four(), tiny_trainer, tmp_path, [RunCheckpoint()], 2, ckpt_path=last, weights_only=True)


def test_the_items_may_be_given(tmp_path, tiny_trainer):
    """Of a training set without a length, or whose length is of something else."""

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            known = loops.Tones()
            return iter([known[i] for i in range(16)])

    class Streamed(Four):
        items = None

        def configure_callbacks(self):
            self.stab = stabilized(self, ExactPITLossWrapper(pairwise_neg_sisdr), [SampleDropout(0.0)], self.items)
            return []

        def train_dataloader(self):
            return torch.utils.data.DataLoader(Endless(), batch_size=4)

    with pytest.raises(StabError, match="SampleDropout needs stable ids, but Endless is an iterable data set"):
        fit(Streamed(), tiny_trainer, tmp_path, [])
    given = Streamed()
    given.items = 16
    trainer = fit(given, tiny_trainer, tmp_path, [])
    assert trainer.callback_metrics["train/kept"] <= 1


def test_a_stabilizer_that_changes_nothing_is_told(tmp_path, tiny_trainer):
    with pytest.warns(UserWarning, match="SampleDropout changes nothing in this run: epsilon_db=inf keeps every item"):
        fit(Four(), tiny_trainer, tmp_path, [SampleDropout()], 1)
