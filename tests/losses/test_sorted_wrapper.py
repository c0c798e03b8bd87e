"""The sorted loss against a slow search in float64."""

import itertools
import math

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from noisy_batch import noisy_batch

from asteroid_stab.losses import ExactPITLossWrapper, SortedPITLossWrapper, SteppedSchedule
from asteroid_stab.losses.sorted_wrapper import among_equals
from asteroid_stab.run.plan import RunPlan

N = 12


def signals(n_src, seed=0):
    """Sources that begin at other samples, some of them together, with other energies; the estimates are noisy."""
    est, targets = noisy_batch(n_src, N, (60,), 0.7, seed, torch.float64)
    random = torch.Generator().manual_seed(seed)
    for item in range(N):
        for source in range(n_src):
            targets[item, source, : 10 * int(torch.randint(0, 3, (), generator=random))] = 0
            targets[item, source] *= 0.5 + float(torch.rand((), generator=random))
    return est, targets


def slow_key(signal, key, onset_db, step):
    if key == "energy":
        return -sum((value - sum(signal) / len(signal)) ** 2 for value in signal)
    values = [value - sorted(signal)[(len(signal) - 1) // 2] for value in signal]
    peak = max(abs(value) for value in values)
    return next(i for i, value in enumerate(values) if abs(value) >= peak * 10 ** (onset_db / 20)) // step


def slow_order(cost, keys):
    """The best of all orders that are sorted by the keys."""
    n_src = len(keys)

    def is_sorted(perm):
        by_place = [keys[perm.index(i)] for i in range(n_src)]
        return by_place == sorted(by_place)

    orders = [perm for perm in itertools.permutations(range(n_src)) if is_sorted(perm)]
    return min(orders, key=lambda perm: sum(cost[i][j] for j, i in enumerate(perm)))


@pytest.mark.parametrize("n_src", [2, 3, 4, 5])
@pytest.mark.parametrize(("key", "step"), [("onset", 1), ("onset", 15), ("energy", 1)])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_it_equals_a_slow_search(n_src, key, step, weight):
    est, targets = signals(n_src)
    loss = SortedPITLossWrapper(pairwise_neg_sisdr, key, weight, onset_db=-10.0, onset_step=step)
    pw = pairwise_neg_sisdr(est, targets)
    assigned = loss.assign(est, targets)
    best = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets)
    n_agree, n_tied = 0, 0
    for item in range(N):
        keys = [slow_key(signal.tolist(), key, -10.0, step) for signal in targets[item]]
        perm = slow_order(pw[item].tolist(), keys)
        n_agree += list(perm) == best.perm[item].tolist()
        n_tied += len({*keys}) < n_src
        for source in range(n_src):
            sort_loss = pw[item, perm[source], source].item()
            wanted = weight * sort_loss + (1 - weight) * best.loss[item, source].item()
            assert assigned.loss[item, source].item() == pytest.approx(wanted, rel=1e-6)
        assert assigned.perm[item].tolist() == (list(perm) if weight == 1 else best.perm[item].tolist())
    assert assigned.figures["sort_agreement"].item() == pytest.approx(n_agree / N)
    assert assigned.figures["sort_weight"].item() == pytest.approx(weight)
    assert n_agree < N
    assert (n_tied > 0) == (key == "onset")


def test_only_the_keys_decide_where_none_are_equal():
    """Costs of any size, and sources without a loss, which leave the others their places."""
    random = torch.Generator().manual_seed(0)
    for scale in (1e-3, 1.0, 1e6):
        keys = torch.stack([torch.randperm(5, generator=random) for _ in range(50)])
        costs = scale * torch.randn(50, 5, 5, generator=random)
        assert torch.equal(among_equals(costs, keys), keys)
    costs[:, :, 2] = math.nan
    perm = among_equals(costs, keys)
    assert torch.equal(perm[:, [0, 1, 3, 4]], keys[:, [0, 1, 3, 4]])


def test_a_silent_source_comes_last():
    est, targets = signals(3)
    targets[0, 0], targets[1, 1] = 0.0, 0.3  # silent but for an offset
    for key in ("onset", "energy"):
        perm = SortedPITLossWrapper(pairwise_neg_sisdr, key, 1.0).assign(est, targets).perm
        assert perm[0, 0] == perm[1, 1] == 2


def test_the_order_of_the_sources_does_not_matter():
    est, targets = signals(3)
    turn = torch.tensor([2, 0, 1])
    for key in ("onset", "energy"):
        loss = SortedPITLossWrapper(pairwise_neg_sisdr, key, 1.0, onset_step=25)
        perm = loss.assign(est, targets).perm
        assert torch.equal(loss.assign(est, targets[:, turn]).perm, perm[:, turn])


def test_the_weight_follows_the_schedule():
    loss = SortedPITLossWrapper(pairwise_neg_sisdr, sort_schedule=SteppedSchedule(1.0, 0.0, 2))
    est, targets = signals(3)
    plain = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets)
    assert not torch.equal(loss.assign(est, targets).perm, plain.perm)
    loss.set_epoch(2)
    assert loss.sort_weight == 0
    assert torch.equal(loss.assign(est, targets).loss, plain.loss)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": "pitch"}, "key must be one of onset, energy, got 'pitch'"),
        ({"sort_weight": 1.5}, "sort_weight must be from 0 to 1, got 1.5"),
        ({"sort_schedule": lambda epoch: -0.1}, "sort_weight must be from 0 to 1, got -0.1"),
        ({"onset_db": 0.0}, "onset_db must be below 0, from -200 on, got 0.0"),
        ({"onset_step": 0}, "onset_step must be at least 1 sample, got 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SortedPITLossWrapper(pairwise_neg_sisdr, **arguments)


def test_what_changes_nothing_is_declared():
    def why(n_src=2, **arguments):
        return SortedPITLossWrapper(pairwise_neg_sisdr, **arguments).neutral(RunPlan(n_src))

    assert why().startswith("sort_weight=0 is plain PIT")
    assert why(1, sort_weight=0.5) == "with one source there is one order"
    assert why(sort_weight=0.5) is None
    assert why(sort_schedule=SteppedSchedule(0.0)) is None
