"""Measures of padded items on their true parts."""

import pytest
import torch

from asteroid_stab.losses.lengths import check_lengths, on_true_parts
from asteroid_stab.losses.matched import matched_neg_sdr


def test_a_measure_is_that_of_the_items_without_padding():
    random = torch.Generator().manual_seed(0)
    est, targets = torch.randn(2, 4, 3, 60, generator=random, dtype=torch.float64)
    perm = torch.stack([torch.randperm(3, generator=random) for _ in range(4)])
    lengths = [60, 20, 45, 20]
    got = on_true_parts(matched_neg_sdr, lengths, est.requires_grad_(), targets, perm)
    wanted = [matched_neg_sdr(est[[b], :, :n], targets[[b], :, :n], perm[[b]]) for b, n in enumerate(lengths)]
    torch.testing.assert_close(got, torch.cat(wanted))
    got.sum().backward()
    assert not est.grad[1, :, 20:].any()
    assert est.grad[1, :, :20].all()


def test_permutations_are_not_cut_where_there_are_as_many_sources_as_samples():
    signals, perm = torch.eye(3).expand(2, 3, 3), torch.tensor([[2, 0, 1], [1, 2, 0]])
    got = on_true_parts(lambda x, p: p, [3, 2], signals, perm)
    assert torch.equal(got, perm)


def test_lengths_without_padding_are_none():
    assert check_lengths(None, 2, 9) is None
    assert check_lengths([9, 9], 2, 9) is None
    assert check_lengths(torch.tensor([9, 8]), 2, 9) == [9, 8]
    with pytest.raises(ValueError, match="lengths must be 2 integers from 1 to 9"):
        check_lengths([9, 10], 2, 9)
