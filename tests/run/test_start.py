"""Where a training goes on; whole trainings do so in tests/cli/test_within_epoch.py."""

import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.start import Start, find_start


@pytest.fixture
def run(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    return RunLayout(tmp_path)


def within(run, epoch, n_ranks=1, batch_size=4, accumulate=1):
    sizes = {"n_ranks": n_ranks, "batch_size": batch_size, "accumulate": accumulate, "ranks": [{}] * n_ranks}
    torch.save({"epoch": epoch, "within_epoch": sizes}, run.within_checkpoint)


def test_the_later_checkpoint_is_taken(run):
    assert find_start(run, 1, 4, 1) == Start(None)
    within(run, 0)
    assert find_start(run, 1, 4, 1) == Start(run.within_checkpoint)
    torch.save({"epoch": 0}, run.last_checkpoint)
    assert find_start(run, 1, 4, 1) == Start(run.last_checkpoint), "the epoch has ended since"
    within(run, 1)
    assert find_start(run, 1, 4, 1) == Start(run.within_checkpoint)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ((2, 4, 1), "the number of processes=1, now it is 2"),
        ((1, 8, 1), "loader.batch_size=4, now it is 8"),
        ((1, 4, 3), "trainer.accumulate_grad_batches=1, now it is 3"),
    ],
)
def test_a_part_of_an_epoch_needs_the_same_batches(run, wanted, words):
    within(run, 2)
    start = find_start(run, *wanted)
    assert start.checkpoint is None
    assert start.note.endswith(f"written within epoch 3 with {words}: goes on with the first epoch again")
    torch.save({"epoch": 1}, run.last_checkpoint)
    start = find_start(run, *wanted)
    assert start.checkpoint == run.last_checkpoint
    assert start.note.endswith("goes on after the last whole epoch")


@pytest.mark.parametrize(
    ("content", "fault"),
    [([], "it has no epoch"), ({"epoch": "one"}, "it has no epoch"), ({"epoch": 1}, "it is not one within an epoch"),
     ({"epoch": 1, "within_epoch": 3}, "it is not one"),
     ({"epoch": 1, "within_epoch": {"ranks": []}}, "it is not one")],
)  # fmt: skip
def test_other_files_are_named(run, content, fault):
    torch.save(content, run.within_checkpoint)
    with pytest.raises(StabError, match=rf"within.ckpt is no readable checkpoint: {fault}.*; remove it to go on with"):
        find_start(run, 1, 4, 1)
