"""What a trainer's loaders begin with."""

import pytest
import pytorch_lightning as pl
import torch
from asteroid.losses import pairwise_neg_sisdr
from loops import Tones, new_model, new_optimizer

from asteroid_stab.callbacks import stabilized
from asteroid_stab.callbacks.loaders import steps_per_epoch
from asteroid_stab.data.sampler import EpochSampler, TaskSampler
from asteroid_stab.engine import StabSystem
from asteroid_stab.losses import ExactPITLossWrapper


def new_loader(num_workers, persistent, tasks):
    sampler = EpochSampler(16, 4, 0)
    if tasks:
        sampler = TaskSampler([EpochSampler(8, 4, 0), EpochSampler(8, 4, 0)])
    return torch.utils.data.DataLoader(
        Tones(), batch_size=4, sampler=sampler, num_workers=num_workers, persistent_workers=persistent
    )


class Own(pl.LightningModule):
    """A LightningModule of somebody's own, with a loader of its own."""

    def __init__(self):
        super().__init__()
        self.model = new_model()

    def configure_callbacks(self):
        self.stab = stabilized(self, ExactPITLossWrapper(pairwise_neg_sisdr))
        return []

    def training_step(self, batch, batch_idx):
        mixture, sources, ids = batch
        return self.stab(self.model(mixture), sources, mixture=mixture, ids=ids)

    def configure_optimizers(self):
        return new_optimizer(self.model)


class Seen(pl.callbacks.Checkpoint):
    """Keeps the ids of each epoch, and saves a checkpoint while Lightning still counts the epoch as going on."""

    def __init__(self, path):
        self.path, self.ids = path, {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.ids.setdefault(trainer.current_epoch, []).append(batch[2].tolist())

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.save_checkpoint(self.path)


@pytest.mark.parametrize(
    ("num_workers", "persistent", "own", "tasks"),
    [(0, False, False, False), (2, True, False, False), (1, False, True, False), (1, True, True, True)],
)
def test_a_loader_of_ones_own_goes_on_with_the_epoch_of_the_run(tmp_path, num_workers, persistent, own, tasks):
    def fit(epochs, **kwargs):
        seen = Seen(tmp_path / "last.ckpt")
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=epochs, default_root_dir=tmp_path, use_distributed_sampler=False,
            callbacks=[seen], logger=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        loader, model = new_loader(num_workers, persistent, tasks), new_model()
        if own:
            trainer.fit(Own(), loader, **kwargs)
        else:
            loss = ExactPITLossWrapper(pairwise_neg_sisdr)
            trainer.fit(StabSystem(model, new_optimizer(model), loss, train_loader=loader), **kwargs)
        return seen.ids

    undisturbed = fit(4)
    assert len({str(ids) for ids in undisturbed.values()}) == 4
    fit(2)
    assert fit(4, ckpt_path=tmp_path / "last.ckpt") == {epoch: undisturbed[epoch] for epoch in (2, 3)}


@pytest.mark.parametrize(("limit", "accumulate", "expected"), [(1.0, 1, 4), (3, 1, 3), (1.0, 3, 2), (1, 8, 1)])
def test_steps_per_epoch(tmp_path, limit, accumulate, expected):
    counted = []

    class Counts(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            counted.append(steps_per_epoch(trainer))

        def on_train_epoch_end(self, trainer, pl_module):
            counted.append(trainer.global_step)

    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, default_root_dir=tmp_path, use_distributed_sampler=False, callbacks=[Counts()],
        logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        limit_train_batches=limit, accumulate_grad_batches=accumulate,
    )  # fmt: skip
    trainer.fit(Own(), new_loader(0, False, False))
    assert counted == [expected, expected]
