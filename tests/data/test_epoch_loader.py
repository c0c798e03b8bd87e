"""The loader that goes on within an epoch."""

import pytest
import torch

from asteroid_stab.data import EpochLoader, EpochSampler
from asteroid_stab.data.sampler import TaskSampler
from asteroid_stab.errors import StabError

ITEMS = {(epoch, i): torch.tensor([epoch, i]) for epoch in range(3) for i in range(12)}


def loader(num_workers=0, batch_size=2, n_items=12, tasks=False):
    sampler = EpochSampler(n_items, batch_size, seed=0)
    if tasks:
        sampler = TaskSampler([EpochSampler(8, batch_size, 0), EpochSampler(4, batch_size, 0)])
    return EpochLoader(
        ITEMS, batch_size, sampler=sampler, num_workers=num_workers, persistent_workers=num_workers > 0, drop_last=True
    )


def epoch_of(made, epoch):
    made.sampler.set_epoch(epoch)
    return [batch.tolist() for batch in made]


@pytest.mark.parametrize("tasks", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_rest_of_an_epoch_comes_and_then_whole_ones(num_workers, tasks):
    """Whatever the workers have fetched ahead."""
    whole = [epoch_of(loader(tasks=tasks), epoch) for epoch in range(3)]
    first = loader(num_workers, tasks=tasks)
    first.sampler.set_epoch(1)
    batches = iter(first)
    assert [next(batches).tolist() for _ in range(4)] == whole[1][:4]
    state = first.state_dict()
    assert state == {"epoch": 1, "batch": 4, "batch_size": 2, "n_batches": 6}
    second = loader(num_workers, tasks=tasks)
    second.load_state_dict(state)
    assert [epoch_of(second, epoch) for epoch in (1, 2)] == [whole[1][4:], whole[2]]
    assert len(second) == 6, "the length is that of an epoch"


def test_a_second_stop_counts_from_the_start_of_the_epoch():
    made = loader()
    made.load_state_dict({"epoch": 0, "batch": 2, "batch_size": 2, "n_batches": 6})
    next(iter(made))
    assert made.state_dict()["batch"] == 3


def test_before_and_after_an_epoch():
    made = loader()
    assert made.state_dict()["batch"] == 0
    whole = epoch_of(made, 0)
    state = made.state_dict()
    assert state["batch"] == 6
    made.load_state_dict(state)
    assert epoch_of(made, 1) != whole
    assert len(epoch_of(made, 1)) == 6


@pytest.mark.parametrize(
    ("other", "words"),
    [({"batch_size": 3}, "batch_size=2, now it is 3"), ({"n_items": 8}, "n_batches=6, now it is 4")],
)
def test_an_epoch_in_other_batches_is_refused_and_no_other_epoch(other, words):
    made = loader(**other)
    made.load_state_dict({"epoch": 1, "batch": 2, "batch_size": 2, "n_batches": 6})
    assert epoch_of(made, 2)
    with pytest.raises(StabError, match=f"written within epoch 2 with {words}: go on with as many processes"):
        epoch_of(made, 1)


@pytest.mark.parametrize("rank", [0, 1])
def test_each_rank_starts_with_its_part_of_the_batch(rank):
    whole = list(EpochSampler(12, 2, seed=0, rank=rank, world_size=2))
    sampler = EpochSampler(12, 2, seed=0, rank=rank, world_size=2)
    sampler.start_at(0, 1)
    assert list(sampler) == whole[2:]
    assert sampler.first_batch == 1
