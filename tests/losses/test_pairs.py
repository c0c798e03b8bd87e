"""Losses of pairs: Asteroid's values by every method, and which of its losses are computed by our own code."""

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr, pairwise_neg_snr
from asteroid.losses.mse import PairwiseMSE, singlesrc_mse
from asteroid.losses.sdr import MultiSrcNegSDR, PairwiseNegSDR, SingleSrcNegSDR
from noisy_batch import noisy_batch

from asteroid_stab.losses.assignment import best_permutation
from asteroid_stab.losses.pairs import PairLoss, sdr_options

LOSSES = [
    (pairwise_neg_sisdr, "pw_mtx", pairwise_neg_sisdr),
    (SingleSrcNegSDR("snr"), "pw_pt", pairwise_neg_snr),
    (PairwiseMSE(), "pw_mtx", PairwiseMSE()),
    (singlesrc_mse, "pw_pt", PairwiseMSE()),
]


@pytest.mark.parametrize(("loss_func", "pit_from", "pairwise"), LOSSES)
@pytest.mark.parametrize("n_src", [1, 3, 5])
def test_all_methods_equal_asteroids_pairwise_loss(loss_func, pit_from, pairwise, n_src):
    est, targets = noisy_batch(n_src, dtype=torch.float64)
    pair_loss, pw = PairLoss(loss_func, pit_from), pairwise(est, targets)
    pairs = pair_loss.all(est, targets)
    torch.testing.assert_close(pairs.pw, pw)
    torch.testing.assert_close(pair_loss.matrix(est, targets), pw)
    torch.testing.assert_close(pair_loss.in_order(est, targets), pw.diagonal(dim1=1, dim2=2))
    assert torch.equal(pairs.perm, best_permutation(pw))
    assert torch.equal(pair_loss.best_order(est, targets), best_permutation(pw))
    assert not pairs.undefined.any()


@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt"])
def test_keyword_arguments_reach_the_loss(pit_from):
    def loss_func(est, targets, power):
        if pit_from == "pw_mtx":
            est, targets = est.unsqueeze(2), targets.unsqueeze(1)
        return (est - targets).abs().pow(power).mean(-1)

    est, targets = noisy_batch()
    pair_loss = PairLoss(loss_func, pit_from, {"power": 3})
    wanted = (est.unsqueeze(2) - targets.unsqueeze(1)).abs().pow(3).mean(-1)
    torch.testing.assert_close(pair_loss.all(est, targets).pw, wanted)
    torch.testing.assert_close(pair_loss.in_order(est, targets), wanted.diagonal(dim1=1, dim2=2))
    assert torch.equal(pair_loss.best_order(est, targets), best_permutation(wanted))


def test_which_losses_are_computed_by_our_own_code():
    class Renamed(PairwiseNegSDR):
        pass

    assert sdr_options(PairwiseNegSDR("snr", False, False, 1e-5), "pw_mtx").eps == 1e-5
    assert sdr_options(Renamed("sisdr"), "pw_mtx") is None
    assert sdr_options(pairwise_neg_sisdr, "pw_pt") is None
    assert sdr_options(SingleSrcNegSDR("sisdr", reduction="mean"), "pw_pt") is None
    assert sdr_options(PairwiseMSE(), "pw_mtx") is None


@pytest.mark.parametrize(
    ("loss_func", "pit_from", "known"),
    [
        (pairwise_neg_sisdr, "pw_mtx", True),
        (SingleSrcNegSDR("sisdr"), "pw_pt", True),
        (MultiSrcNegSDR("sisdr"), "perm_avg", False),  # one number for all sources
        (pairwise_neg_snr, "pw_mtx", False),
        (PairwiseNegSDR("sisdr", zero_mean=False), "pw_mtx", False),
        (PairwiseNegSDR("sisdr", EPS=1e-6), "pw_mtx", False),
        (PairwiseMSE(), "pw_mtx", False),
    ],
)
def test_which_losses_are_the_negative_si_sdr(loss_func, pit_from, known):
    assert PairLoss(loss_func, pit_from).is_neg_si_sdr is known
