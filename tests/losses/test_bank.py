"""The memory of best assignments against a dictionary, over ranks and in checkpoints."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.stabilizers import AssignmentBank


def random_visit(random, n_items=12, n_src=3):
    ids = torch.randperm(n_items, generator=random)[:5]
    metric = torch.randint(0, 4, (5,), generator=random).float()  # with ties
    metric[torch.randint(0, 5, (1,), generator=random)] = float("nan")
    perm = torch.stack([torch.randperm(n_src, generator=random) for _ in range(5)])
    return ids, metric, perm


def merge_all(banks):
    """Merges as the ranks of a training do, a thread for each."""
    barrier, shared = threading.Barrier(len(banks)), [None] * len(banks)

    def merge(rank):
        def reduce_max(table):
            shared[rank] = table
            barrier.wait()
            largest = torch.stack(shared).amax(0)
            barrier.wait()
            return largest

        banks[rank].merge(reduce_max, rank)

    with ThreadPoolExecutor(len(banks)) as ranks:
        list(ranks.map(merge, range(len(banks))))


def test_it_holds_the_best_of_each_item():
    random = torch.Generator().manual_seed(0)
    bank, table = AssignmentBank(12, 3, "f"), {}
    for _ in range(40):
        ids, metric, perm = random_visit(random)
        bank.update(ids, metric, perm)
        for i, m, p in zip(ids.tolist(), metric.tolist(), perm.tolist(), strict=True):
            if not math.isnan(m) and (i not in table or m > table[i][0]):
                table[i] = (m, p)
    metric, perm = bank.lookup(torch.arange(12))
    assert perm.dtype == torch.int64
    for i in range(12):
        assert (metric[i].item(), perm[i].tolist()) == table.get(i, (-math.inf, [-1] * 3))


def test_ranks_are_merged_by_the_best_metric():
    """Repeated ids and ties included: all ranks end with the same tables, a tie with the first rank's permutation."""
    random = torch.Generator().manual_seed(1)
    banks = [AssignmentBank(12, 3, "f") for _ in range(3)]
    for _ in range(6):
        for bank in banks:
            bank.update(*random_visit(random))
    stacked = torch.stack([bank.metric for bank in banks])
    best = stacked.amax(0)
    first = (stacked == best).int().argmax(0)
    wanted = torch.stack([banks[rank].perm[i] for i, rank in enumerate(first.tolist())])

    merge_all(banks)
    for bank in banks:
        assert torch.equal(bank.metric, best)
        assert torch.equal(bank.perm, wanted)


def test_a_switch_is_stored_without_a_better_metric_and_survives_the_merge():
    """The rank that switched an entry goes before those that hold the same metric from an earlier epoch."""
    a, b = torch.tensor([[0, 1]]), torch.tensor([[1, 0]])
    banks = [AssignmentBank(2, 2, "f") for _ in range(3)]
    ids = torch.tensor([1])
    for bank in banks:
        bank.update(ids, torch.tensor([5.0]), a)
    merge_all(banks)
    banks[2].update(ids, torch.tensor([4.5]), b, switch=torch.tensor([True]))
    banks[0].update(ids, torch.tensor([4.5]), b, switch=torch.tensor([False]))
    merge_all(banks)
    for bank in banks:
        assert bank.metric[1] == 5
        assert torch.equal(bank.perm[1:].long(), b)


def test_its_state_is_its_own(tmp_path):
    bank = AssignmentBank(4, 2, "f")
    bank.update(torch.tensor([1]), torch.tensor([3.0]), torch.tensor([[1, 0]]))
    torch.save(bank.state_dict(), tmp_path / "bank.pt")
    other = AssignmentBank(4, 2, "f")
    other.load_state_dict(torch.load(tmp_path / "bank.pt", weights_only=True))
    assert other.written.tolist() == [False, True, False, False]
    old = {key: value for key, value in bank.state_dict().items() if key != "written"}
    AssignmentBank(4, 2, "f").load_state_dict(old)  # as earlier versions saved it
    assert torch.equal(other.metric, bank.metric)
    assert torch.equal(other.perm, bank.perm)
    for wrong, message in (
        (AssignmentBank(5, 2, "f"), "4 for items, this run has 5"),
        (AssignmentBank(4, 3, "f"), "2 for sources, this run has 3"),
        (AssignmentBank(4, 2, "g"), "f for the corpus' fingerprint, this run has g"),
    ):
        with pytest.raises(StabError, match=message):
            wrong.load_state_dict(bank.state_dict())
    bank.reset()
    assert torch.isneginf(bank.metric).all()
    assert (bank.perm == -1).all()


def test_ten_million_items_are_small():
    bank = AssignmentBank(10_000_000, 2, "f")
    assert bank.metric.nbytes + bank.perm.nbytes < 200e6


@pytest.mark.parametrize("n_src", [0, 101])
def test_too_many_sources_are_refused(n_src):
    with pytest.raises(StabError, match=f"1 to 100 sources, got {n_src}"):
        AssignmentBank(4, n_src, "f")
