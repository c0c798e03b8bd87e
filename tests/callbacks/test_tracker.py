"""AssignmentTracker against a slow record of every step."""

import numpy as np
import pandas as pd
import pytest
import torch
from asteroid.losses import PairwiseNegSDR

from asteroid_stab.callbacks import AssignmentTracker, RunCheckpoint
from asteroid_stab.errors import StabError
from asteroid_stab.losses import Assignment, AssignmentLossWrapper, ExactPITLossWrapper
from asteroid_stab.stabilizers import StepObserver, count_switches


class Record(StepObserver):
    """A dictionary per epoch: id -> permutation."""

    def __init__(self):
        self.epochs = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.epochs.append({})

    def observe(self, step):
        for item, perm in zip(step.ids.tolist(), step.assignment.perm.tolist(), strict=True):
            assert item not in self.epochs[-1]
            self.epochs[-1][item] = perm


class Restless(torch.nn.Module):
    """Gives its estimates in another order each time."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, wav):
        est = self.model(wav)
        order = torch.stack([torch.randperm(est.shape[1]) for _ in est])
        return est.gather(1, order[..., None].expand_as(est))


def slow_ratio(now, before):
    both = [item for item in now if item in before]
    return sum(now[item] != before[item] for item in both) / len(both)


@pytest.mark.parametrize(("n_src", "n_train"), [(2, 16), (3, 18)])  # 18: two items a epoch fall to drop_last
def test_it_counts_what_a_slow_record_counts(
    tmp_path, tiny_data, tiny_trainer, tiny_system, tiny_model, n_src, n_train
):
    tracker, record = AssignmentTracker(), Record()
    trainer = tiny_trainer(tmp_path, callbacks=[tracker, record], max_epochs=4)
    data = tiny_data(n_train=n_train, n_src=n_src)
    trainer.fit(tiny_system(Restless(tiny_model(n_src=n_src))), datamodule=data)
    table = pd.read_csv(tmp_path / "switches.csv")
    assert table["epoch"].tolist() == [0, 1, 2, 3]
    assert np.isnan(table["switch_ratio"][0])
    for epoch in (1, 2, 3):
        expected = slow_ratio(record.epochs[epoch], record.epochs[epoch - 1])
        assert table["switch_ratio"][epoch] == pytest.approx(expected)
        stored = np.load(tmp_path / "assignments" / f"epoch_{epoch:04d}.npy")
        assert stored.dtype == np.int8
        assert stored.shape == (1, n_train, n_src)
        for item in range(n_train):
            assert stored[0, item].tolist() == record.epochs[epoch].get(item, [-1] * n_src)
    assert table["switch_ratio"].iloc[1:].max() > 0, "nothing switched: the test shows nothing"
    assert trainer.callback_metrics["train/switch_ratio"] == pytest.approx(table["switch_ratio"].iloc[-1])
    items = pd.read_csv(tmp_path / "assignments" / "items.csv")
    assert items["name"].tolist() == data.train_set.names


def test_layers_are_counted_apart():
    now = torch.tensor([[[0, 1], [0, 1], [1, 0], [-1, -1]], [[0, 1], [1, 0], [1, 0], [-1, -1]]], dtype=torch.int8)
    before = torch.tensor([[[1, 0], [0, 1], [-1, -1], [0, 1]], [[0, 1], [1, 0], [-1, -1], [0, 1]]], dtype=torch.int8)
    rows = count_switches(now, before)
    assert [(r["layer"], r["n_seen"], r["n_compared"], r["n_switched"]) for r in rows] == [(0, 3, 2, 1), (1, 3, 2, 0)]
    assert [r["switch_ratio"] for r in rows] == [0.5, 0.0]
    assert count_switches(now, None)[0] == {
        "layer": 0, "n_seen": 3, "n_compared": 0, "n_switched": 0, "switch_ratio": None
    }  # fmt: skip


def test_layers_are_logged_apart(tmp_path, tiny_data, tiny_trainer, tiny_system):
    """A loss that gives the permutations of two layers: the first flips every epoch, the last never."""

    class Layers(AssignmentLossWrapper):
        def set_epoch(self, epoch):
            self.epoch = epoch

        def _assign(self, est_targets, targets, pair_loss, ids):
            loss, perm = ExactPITLossWrapper(self.loss_func).assign(est_targets, targets)
            flip = torch.tensor([1, 0] if self.epoch % 2 else [0, 1]).expand_as(perm)
            return Assignment(loss, torch.stack([flip, torch.tensor([0, 1]).expand_as(perm)]))

    trainer = tiny_trainer(tmp_path, callbacks=[AssignmentTracker()], max_epochs=2)
    trainer.fit(tiny_system(loss=Layers(PairwiseNegSDR("sisdr"))), datamodule=tiny_data())
    assert trainer.callback_metrics["train/switch_ratio_layer0"] == 1
    assert trainer.callback_metrics["train/switch_ratio_layer1"] == 0
    assert trainer.callback_metrics["train/switch_ratio"] == 0
    table = pd.read_csv(tmp_path / "switches.csv")
    assert table[table.epoch == 1]["switch_ratio"].tolist() == [1, 0]


def test_items_that_are_not_finite_are_not_seen(tmp_path, tiny_data, tiny_trainer, tiny_system):
    tracker = AssignmentTracker()
    system = tiny_system()

    class Spoil(StepObserver):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if batch_idx == 0:
                batch[0][1] = float("nan")
                Spoil.item = batch[2][1].item()

    tiny_trainer(tmp_path, callbacks=[Spoil(), tracker]).fit(system, datamodule=tiny_data())
    assert (tracker.previous[0, Spoil.item] == -1).all()
    assert (tracker.previous >= 0).all(-1).sum() == 15


def test_resumed_equals_uninterrupted(tmp_path, tiny_data, tiny_trainer, tiny_system):
    def run(root, epochs, ckpt=None):
        callbacks = [AssignmentTracker(), RunCheckpoint()]
        system = tiny_system(lr=5e-2)
        tiny_trainer(root, callbacks=callbacks, max_epochs=epochs).fit(
            system, datamodule=tiny_data(), ckpt_path=ckpt, weights_only=True
        )
        return (root / "switches.csv").read_text()

    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 2)
    assert run(tmp_path / "parts", 4, tmp_path / "parts" / "checkpoints" / "last.ckpt") == whole


def test_other_items_are_refused_on_resume(tmp_path, tiny_data, tiny_trainer, tiny_system):
    tiny_trainer(tmp_path, callbacks=[AssignmentTracker(), RunCheckpoint()]).fit(tiny_system(), datamodule=tiny_data())
    again = tiny_trainer(tmp_path, callbacks=[AssignmentTracker(), RunCheckpoint()], max_epochs=2)
    data = tiny_data(n_train=20)
    data.setup("fit")
    system = tiny_system()
    system.train_loader, system.val_loader = data.train_dataloader(), data.val_dataloader()  # which check nothing
    with pytest.raises(StabError, match="on items with fingerprint [0-9a-f]{16}, these 20 have [0-9a-f]{16}"):
        again.fit(system, ckpt_path=tmp_path / "checkpoints" / "last.ckpt", weights_only=True)


def test_dynamic_mixing_is_refused(tmp_path, tiny_data, tiny_trainer, tiny_system):
    data = tiny_data()
    data.setup("fit")
    data.train_set.stable_ids = False
    with pytest.raises(StabError, match=r"AssignmentTracker needs stable ids, but TinySet .*~callbacks.tracker"):
        tiny_trainer(tmp_path, callbacks=[AssignmentTracker()]).fit(tiny_system(), datamodule=data)


def test_batches_without_ids_are_refused(tmp_path, tiny_trainer, tiny_system):
    dataset = torch.utils.data.TensorDataset(torch.randn(4, 800), torch.randn(4, 2, 800))
    loader = torch.utils.data.DataLoader(dataset, batch_size=2)
    with pytest.raises(ValueError, match="AssignmentTracker goes by items: .* ids=, got None"):
        tiny_trainer(tmp_path, callbacks=[AssignmentTracker()]).fit(tiny_system(), train_dataloaders=loader)
    tiny_trainer(tmp_path).fit(tiny_system(), train_dataloaders=loader)  # which plain training does not need


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([(torch.randn(800), torch.randn(2, 800), i) for i in range(4)])


def test_data_without_a_length_are_refused(tmp_path, tiny_trainer, tiny_system):
    loader = torch.utils.data.DataLoader(Stream(), batch_size=2)
    with pytest.raises(StabError, match="AssignmentTracker needs stable ids, but Stream is an iterable data set"):
        tiny_trainer(tmp_path, callbacks=[AssignmentTracker()]).fit(tiny_system(), train_dataloaders=loader)
