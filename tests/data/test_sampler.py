"""The order of items over epochs and ranks."""

import numpy as np
import pytest

from asteroid_stab.data.sampler import EpochSampler
from asteroid_stab.errors import StabError


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def test_an_epoch_visits_every_item_once_and_says_which_epoch_it_is():
    keys = epoch_of(EpochSampler(12, 4, seed=0), 7)
    assert {epoch for epoch, _ in keys} == {7}
    assert sorted(item for _, item in keys) == list(range(12))


def test_the_order_is_a_function_of_seed_and_epoch():
    orders = {(seed, epoch): tuple(epoch_of(EpochSampler(50, 5, seed), epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(set(orders.values())) == 4
    assert tuple(epoch_of(EpochSampler(50, 5, seed=1), 1)) == orders[1, 1]


def test_the_order_is_the_permutation_of_the_versions_before():
    """A run that is resumed goes on with it."""
    for n_items in (7, 1000, 70_001):
        items = [item for _, item in epoch_of(EpochSampler(n_items, 1, seed=3), 2)]
        assert items == np.random.default_rng((3, 2)).permutation(n_items).tolist()


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_visit_step_by_step_what_one_visits_with_the_whole_batch(world_size):
    n_items, batch = 31, 3
    alone = epoch_of(EpochSampler(n_items, batch * world_size, seed=5), 2)
    ranks = [epoch_of(EpochSampler(n_items, batch, 5, rank, world_size), 2) for rank in range(world_size)]
    assert {len(keys) for keys in ranks} == {len(alone) // world_size}
    n_steps = len(ranks[0]) // batch
    for step in range(n_steps):
        together = [key for keys in ranks for key in keys[step * batch : (step + 1) * batch]]
        assert together == alone[step * batch * world_size : (step + 1) * batch * world_size]


def test_the_incomplete_last_batch_is_left_out_and_another_part_each_epoch():
    sampler = EpochSampler(11, 2, seed=0, rank=0, world_size=2)
    assert len(sampler) == 4
    left_out = []
    for epoch in range(20):
        seen = epoch_of(sampler, epoch) + epoch_of(EpochSampler(11, 2, 0, 1, 2), epoch)
        assert len(set(seen)) == 8
        left_out.append(set(range(11)) - {item for _, item in seen})
    assert len(set.union(*left_out)) == 11


def test_an_epoch_that_is_under_way_keeps_its_number():
    sampler = EpochSampler(6, 1, seed=0)
    keys = iter(sampler)
    first = next(keys)
    sampler.set_epoch(1)
    assert [first, *keys] == epoch_of(EpochSampler(6, 1, seed=0), 0)


def test_items_are_plain_integers():
    assert not any(isinstance(item, np.integer) for _, item in EpochSampler(4, 2, seed=0))


def test_too_few_items():
    with pytest.raises(StabError, match=r"batch_size=4 on each of 2 process\(es\), got 7 items"):
        EpochSampler(7, 4, seed=0, rank=1, world_size=2)
