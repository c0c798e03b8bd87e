"""Where a training goes on; whole trainings do so in tests/cli/test_within_epoch.py."""

import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.start import Start, find_start

SIZES = {"n_ranks": 1, "batch_size": 4, "accumulate": 1, "limit": 1.0, "ranks": [{}]}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    return RunLayout(tmp_path)


def within(run, epoch, n_ranks=1, batch_size=4, accumulate=1):
    sizes = {
        **SIZES, "n_ranks": n_ranks, "batch_size": batch_size, "accumulate": accumulate, "ranks": [{}] * n_ranks,
    }  # fmt: skip
    torch.save({"epoch": epoch, "within_epoch": sizes}, run.within_checkpoint)


def test_the_later_checkpoint_is_taken(run):
    assert find_start(run, 1, 4, 1) == Start(None)
    within(run, 0)
    assert find_start(run, 1, 4, 1) == Start(run.within_checkpoint)
    torch.save({"epoch": 0}, run.last_checkpoint)
    assert find_start(run, 1, 4, 1).checkpoint == run.last_checkpoint, "the epoch has ended since"
    within(run, 1)
    assert find_start(run, 1, 4, 1) == Start(run.within_checkpoint)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ((2, 4, 1), "the number of processes=1, now it is 2"),
        ((1, 8, 1), "loader.batch_size=4, now it is 8"),
        ((1, 4, 3), "trainer.accumulate_grad_batches=1, now it is 3"),
        ((1, 4, 1, 2), "trainer.limit_train_batches=1.0, now it is 2"),
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


def test_a_checkpoint_that_is_left_aside_is_not_what_a_next_training_goes_on_from(run):
    assert not find_start(run, 1, 4, 1).has_within(run)
    within(run, 0)
    assert find_start(run, 1, 4, 1).has_within(run)
    start = find_start(run, 2, 4, 1)
    assert not start.has_within(run)
    run.within_checkpoint.unlink()
    within(run, 0, n_ranks=2)
    assert start.has_within(run), "the training has written its own"
    torch.save({"epoch": 0}, run.last_checkpoint)
    assert not find_start(run, 2, 4, 1).has_within(run), "it is older than the last whole epoch"


@pytest.mark.parametrize(
    ("content", "fault"),
    [([], "it has no epoch"), ({"epoch": "one"}, "it has no epoch"), ({"epoch": 1}, "it is not one within an epoch"),
     ({"epoch": 1, "within_epoch": 3}, "it is not one"),
     ({"epoch": 1, "within_epoch": {"ranks": []}}, "it is not one"),
     ({"epoch": 1, "within_epoch": {**SIZES, "n_ranks": torch.ones(2)}}, "it is not one"),
     ({"epoch": 1, "within_epoch": {**SIZES, "ranks": [3]}}, "it is not one")],
)  # fmt: skip
def test_other_files_are_named(run, content, fault):
    torch.save(content, run.within_checkpoint)
    with pytest.raises(StabError, match=rf"within.ckpt is no readable checkpoint: {fault}.*; remove it to go on with"):
        find_start(run, 1, 4, 1)
