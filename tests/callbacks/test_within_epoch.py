"""What a checkpoint within an epoch holds; whole trainings go on from one in tests/cli/test_within_epoch.py."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from asteroid_stab.callbacks import RunCheckpoint
from asteroid_stab.callbacks.within_epoch import load_state
from asteroid_stab.errors import StabError


def test_a_loader_that_cannot_start_within_an_epoch_is_refused(tiny_trainer, tiny_system, tmp_path):
    signals = torch.randn(8, 2, 800)
    plain = DataLoader(TensorDataset(signals.sum(1), signals, torch.arange(8)), batch_size=4)
    trainer = tiny_trainer(tmp_path, callbacks=[RunCheckpoint(every_n_steps=1)])
    with pytest.raises(StabError, match="every_n_steps needs training data that can start .* and DataLoader cannot"):
        trainer.fit(tiny_system(), train_dataloaders=plain)
    tiny_trainer(tmp_path, callbacks=[RunCheckpoint()]).fit(tiny_system(), train_dataloaders=plain)


def test_a_checkpoint_of_more_processes_is_refused(tiny_trainer, tiny_system, tiny_data, tmp_path):
    checkpoint = RunCheckpoint(every_n_steps=1)
    trainer = tiny_trainer(tmp_path, callbacks=[checkpoint])
    with pytest.raises(StabError, match="goes on with as many processes as wrote it, 2, got 1: take one of a whole"):
        checkpoint.on_load_checkpoint(trainer, tiny_system(), {"within_epoch": {"ranks": [{}, {}]}})


def test_a_module_gets_its_random_numbers_and_its_sums(tiny_system):
    system = tiny_system()
    torch.manual_seed(3)
    state = {"extra": {}, "sums": {"counts": {"loss": torch.tensor(2.0)}, "n_skipped": 5}}
    state["random"] = {"cpu": torch.get_rng_state()}
    drawn = torch.rand(4)
    load_state(system, state)
    assert torch.equal(torch.rand(4), drawn)
    assert system.state_within_epoch() == state["sums"]


@pytest.mark.parametrize("wrong", [0, -1, True])
def test_steps_between_checkpoints_are_at_least_one(wrong):
    with pytest.raises(
        ValueError, match=f"every_n_steps must be at least 1, or null for whole epochs only, got {wrong}"
    ):
        RunCheckpoint(every_n_steps=wrong)
