"""Searches against brute force in float64, and the way from losses to a mean."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from asteroid_stab.losses import assignment
from asteroid_stab.losses.assignment import (
    all_permutations,
    ascending_among_equals,
    batch_loss,
    best_permutation,
    inverse,
    item_loss,
    permuted,
    pick,
    reorder,
)

NAN, INF = math.nan, math.inf
IDENTITY = {n_src: list(range(n_src)) for n_src in range(1, 101)}


def brute_force(pw):
    """The first of the best permutations of each item, in lexicographic order."""
    n_src = pw.shape[-1]
    best = []
    for item in pw.double().tolist():
        costs = {p: math.fsum(item[p[j]][j] for j in range(n_src)) for p in permutations(range(n_src))}
        best.append(list(min(costs, key=costs.__getitem__)))
    return best


@pytest.mark.parametrize("n_src", range(1, 8))
def test_equals_brute_force(n_src):
    pw = torch.randn(6, n_src, n_src, generator=torch.Generator().manual_seed(n_src))
    perm = best_permutation(pw)
    assert perm.dtype == torch.int64
    assert perm.tolist() == brute_force(pw)


@pytest.mark.parametrize("n_src", [4, 37, 100])
def test_finds_a_planted_permutation_of_many_sources(n_src):
    random = torch.Generator().manual_seed(0)
    planted = torch.stack([torch.randperm(n_src, generator=random) for _ in range(3)])
    pw = torch.rand(3, n_src, n_src, generator=random).scatter_(1, planted.unsqueeze(1), -1.0)
    assert torch.equal(best_permutation(pw), planted)
    assert torch.equal(pick(pw, planted), torch.full((3, n_src), -1.0))


@pytest.mark.parametrize("n_src", [1, 2, 3])
def test_ties_go_to_the_first_permutation(n_src):
    assert best_permutation(torch.zeros(2, n_src, n_src)).tolist() == [IDENTITY[n_src]] * 2
    pw = torch.randint(0, 2, (200, n_src, n_src), generator=torch.Generator().manual_seed(1)).float()
    assert best_permutation(pw).tolist() == brute_force(pw)


@pytest.mark.parametrize("n_src", [4, 20, 100])
def test_ties_of_many_sources_are_the_same_every_time(n_src):
    assert best_permutation(torch.zeros(2, n_src, n_src)).tolist() == [IDENTITY[n_src]] * 2
    pw = torch.randint(0, 2, (3, n_src, n_src), generator=torch.Generator().manual_seed(1)).float()
    assert torch.equal(best_permutation(pw), best_permutation(pw.clone().flip(0)).flip(0))


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("n_src", [2, 3, 5])
def test_losses_that_are_not_finite_never_reach_a_search(n_src, bad, monkeypatch):
    def search(cost):
        assert np.isfinite(cost).all()
        return solve(cost)

    solve = assignment.linear_sum_assignment
    monkeypatch.setattr(assignment, "linear_sum_assignment", search)
    pw = torch.rand(3, n_src, n_src, generator=torch.Generator().manual_seed(2))
    pw[0, 1] = bad  # one estimate is lost, and with it a loss of every source
    pw[1] = bad
    perm = best_permutation(pw)
    assert perm[:2].tolist() == [IDENTITY[n_src]] * 2
    assert perm[2:].tolist() == brute_force(pw[2:])


@pytest.mark.parametrize("n_src", [3, 6])
def test_a_source_left_out_takes_the_estimate_that_the_others_leave(n_src):
    planted = torch.arange(n_src).roll(1)
    pw = torch.ones(n_src, n_src).scatter_(0, planted.unsqueeze(0), 0.0)
    pw[:, 1] = NAN
    assert torch.equal(best_permutation(pw.unsqueeze(0)), planted.unsqueeze(0))


class Calls(TorchFunctionMode):
    """Names of the functions called on tensors."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


TRANSFERS = {"to", "cpu", "numpy", "item", "tolist", "__bool__", "__array__", "cuda", "nonzero"}


@pytest.mark.parametrize("n_src", [1, 2, 3])
def test_few_sources_never_leave_the_device(n_src):
    pw = torch.rand(8, n_src, n_src)
    best_permutation(pw)  # the table of permutations is made once
    with Calls() as calls:
        best_permutation(pw)
    assert "argmin" in calls.names
    assert not TRANSFERS & set(calls.names)


@pytest.mark.parametrize("n_items", [1, 50])
def test_many_sources_go_to_the_cpu_and_back_at_once(n_items):
    pw = torch.rand(n_items, 5, 5)
    with Calls() as calls:
        best_permutation(pw)
    assert [name for name in calls.names if name in TRANSFERS] == ["cpu", "numpy", "to"]


@pytest.mark.parametrize("n_src", [2, 5])
def test_empty_batch(n_src):
    assert best_permutation(torch.zeros(0, n_src, n_src)).shape == (0, n_src)


def test_search_has_no_gradient_and_takes_half_precision():
    pw = torch.rand(2, 4, 4, requires_grad=True)
    assert not best_permutation(pw).requires_grad
    assert best_permutation((torch.eye(3)[None] * -1).half()).tolist() == [[0, 1, 2]]


def test_table_made_in_inference_mode_serves_training():
    all_permutations.cache_clear()
    with torch.inference_mode():
        best_permutation(torch.rand(1, 2, 2))
    pw = torch.rand(3, 2, 2, requires_grad=True)
    permuted(pw, all_permutations(2, pw.device)).sum().backward()  # keeps the table for the backward
    assert pw.grad is not None


def test_permuted_losses_are_those_of_the_permutations():
    pw = torch.randn(2, 3, 3)
    losses = permuted(pw, all_permutations(3, pw.device))
    for p, perm in enumerate(permutations(range(3))):
        assert losses[1, p].tolist() == [pw[1, perm[j], j].item() for j in range(3)]


def test_reorder_and_inverse():
    perm = torch.tensor([[1, 2, 0], [0, 2, 1]])
    est = torch.randn(2, 3, 4, 5, requires_grad=True)
    ordered = reorder(est, perm)
    for b in range(2):
        for j in range(3):
            assert torch.equal(ordered[b, j], est[b, perm[b, j]])
            assert inverse(perm)[b, perm[b, j]] == j
    weights = torch.randn(2, 3, 4, 5)
    (ordered * weights).sum().backward()
    assert torch.equal(est.grad, reorder(weights, inverse(perm)))
    transposed = est.detach().transpose(0, 3).contiguous().transpose(0, 3)
    assert torch.equal(reorder(transposed, perm), ordered)


def test_items_are_the_mean_of_their_defined_sources():
    loss = torch.tensor([[1.0, 2.0, 6.0], [1.0, NAN, 3.0], [NAN] * 3, [INF] * 3], requires_grad=True)
    items = item_loss(loss)
    torch.testing.assert_close(items, torch.tensor([3.0, 2.0, NAN, INF]), equal_nan=True)
    torch.where(items.isfinite(), items, 0.0).sum().backward()
    expected = [[1 / 3] * 3, [0.5, 0, 0.5], [0.0] * 3, [0.0] * 3]
    torch.testing.assert_close(loss.grad, torch.tensor(expected))


def test_losses_of_items_stay():
    loss = torch.tensor([1.0, NAN, INF], requires_grad=True)
    items = item_loss(loss)
    torch.testing.assert_close(items, loss, equal_nan=True)
    items[0].backward()
    assert loss.grad.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("loss", "mean"),
    [
        ([[1.0, 2.0], [5.0, 8.0]], 4.0),
        ([[1.0, 3.0], [NAN, 8.0]], 5.0),  # a source counts for its item, not for the batch
        ([[1.0, 3.0], [NAN, NAN], [INF, INF], [4.0, 4.0]], 3.0),
        ([1.0, NAN, 4.0, INF], 2.5),
    ],
)
def test_batch_is_the_mean_of_its_defined_items(loss, mean):
    loss = torch.tensor(loss, requires_grad=True)
    value = batch_loss(loss)
    assert value.item() == pytest.approx(mean)
    value.backward()
    assert loss.grad.isfinite().all()
    assert torch.equal(loss.grad != 0, loss.isfinite())
    assert loss.grad.sum().item() == pytest.approx(1.0)


def test_batch_without_a_loss_is_refused():
    loss = torch.tensor([[NAN, NAN], [INF, INF], [NAN, NAN]])
    with pytest.raises(ValueError, match=r"got \[0, 2\] with silent targets only and \[1\] with non-finite"):
        batch_loss(loss)


def test_wrong_shape_is_refused():
    for shape in ((3, 3), (2, 3, 2), (1, 2, 3, 3)):
        with pytest.raises(ValueError, match=r"pw must be \[batch, n_src, n_src\], got \[" + str(shape)[1:-1]):
            best_permutation(torch.zeros(shape))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("n_src", [2, 3, 7])
def test_gpu_finds_the_same(n_src):
    pw = torch.rand(8, n_src, n_src)
    on_gpu = pw.cuda()
    best_permutation(on_gpu)  # the table of permutations is made once
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error" if n_src <= 3 else before)
    try:
        perm = best_permutation(on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert torch.equal(perm.cpu(), best_permutation(pw))


@pytest.mark.parametrize("n_src", [2, 3, 6])
def test_equal_sources_get_their_estimates_in_ascending_order(n_src):
    generator = torch.Generator().manual_seed(n_src)
    pw = torch.randn(50, n_src, n_src, generator=generator)
    equal = [0, n_src - 1]
    pw[:, :, equal] = pw[:, :, :1].clone()
    found = best_permutation(pw)
    assert (found[:, equal[0]] < found[:, equal[1]]).all()
    every = torch.tensor(list(permutations(range(n_src))))
    least = permuted(pw.double(), every).sum(-1).amin(1)
    torch.testing.assert_close(pick(pw, found).sum(1).double(), least, atol=1e-5, rtol=0)


def test_sources_that_are_not_equal_keep_their_estimates():
    cost = torch.tensor([[[1.0, 2.0, 1.0], [2.0, 1.0, 2.0], [4.0, 4.0, 4.0]]])  # sources 0 and 2 are equal, 1 is not
    assert ascending_among_equals(torch.tensor([[2, 1, 0]]), cost).tolist() == [[0, 1, 2]]
    assert ascending_among_equals(torch.tensor([[1, 2, 0]]), cost).tolist() == [[0, 2, 1]]
