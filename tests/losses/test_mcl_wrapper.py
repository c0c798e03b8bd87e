"""Multiple choice learning against a slow reference in float64."""

import math

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from noisy_batch import noisy_batch

from asteroid_stab.losses import ExactPITLossWrapper, MCLLossWrapper, SteppedSchedule
from asteroid_stab.run.plan import RunPlan

N = 12


def signals(n_src, noise=4.0):
    """Estimates so noisy that some sources share their nearest one."""
    return noisy_batch(n_src, N, (60,), noise, 0, torch.float64)


@pytest.mark.parametrize("n_src", [1, 2, 3, 5])
@pytest.mark.parametrize("temperature", [0.0, 1e-5, 0.3, 4.0])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_it_equals_a_slow_reference_and_has_the_gradient_of_weights_that_are_held(n_src, temperature, weight):
    """The sum of q C of the paper, with q held, has our gradient; our value is lower by the reported gap."""
    est, targets = signals(n_src)
    assigned = MCLLossWrapper(pairwise_neg_sisdr, weight, temperature).assign(est.requires_grad_(), targets)
    best = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets)
    assert torch.equal(assigned.perm, best.perm)
    pw = pairwise_neg_sisdr(est, targets)
    papers, gaps, n_collapsed = [], [], 0
    for item in range(N):
        nearest = [min(range(n_src), key=lambda i, j=j: pw[item, i, j].item()) for j in range(n_src)]
        n_collapsed += n_src - len({*nearest})
        for j in range(n_src):
            costs = pw[item, :, j].tolist()
            if temperature > 1e-4:
                parts = [math.exp(-(c - min(costs)) / temperature) for c in costs]
                q = [part / sum(parts) for part in parts]
                entropy = -sum(p * math.log(p) for p in q if p)
            else:
                q, entropy = [float(i == nearest[j]) for i in range(n_src)], 0.0
            gaps.append(temperature * entropy)
            soft = sum(p * pw[item, i, j] for i, p in enumerate(q))
            papers.append(weight * soft + (1 - weight) * pw[item, best.perm[item, j], j])
            wanted = papers[-1].item() - weight * gaps[-1]
            assert assigned.loss[item, j].item() == pytest.approx(wanted, rel=1e-6, abs=1e-6)
    assert assigned.figures["mcl_gap"].item() == pytest.approx(sum(gaps) / len(gaps), abs=1e-9)
    assert assigned.figures["mcl_collapsed"].item() == pytest.approx(n_collapsed / N)
    assert assigned.figures["mcl_temperature"] == temperature
    assert (n_collapsed > 0) == (n_src > 1)
    of_ours, of_papers = (
        torch.autograd.grad(loss.sum(), est, retain_graph=True)[0] for loss in (assigned.loss, torch.stack(papers))
    )
    torch.testing.assert_close(of_ours, of_papers, rtol=1e-5, atol=1e-7)


def test_where_the_nearest_estimates_differ_it_is_pit_and_elsewhere_an_estimate_learns_nothing():
    est, targets = signals(3, noise=0.1)
    loss, plain = MCLLossWrapper(pairwise_neg_sisdr, 1.0), ExactPITLossWrapper(pairwise_neg_sisdr)
    got = loss.assign(est, targets)
    torch.testing.assert_close(got.loss, plain.assign(est, targets).loss, rtol=1e-9, atol=1e-9)
    assert got.figures["mcl_collapsed"] == 0

    est = targets[:, [0, 0, 0]] + torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64).view(1, 3, 1) * torch.randn(
        N, 3, 60, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    far = targets[:, :1].expand(-1, 3, -1)  # all sources are the first one, to which estimate 0 is nearest
    for temperature, learns in ((0.0, False), (30.0, True)):
        est = est.detach().requires_grad_()
        assigned = MCLLossWrapper(pairwise_neg_sisdr, 1.0, temperature).assign(est, far)
        assert assigned.figures["mcl_collapsed"] == 2
        assigned.loss.sum().backward()
        assert est.grad[:, 0].any()
        assert bool(est.grad[:, 1:].any()) == learns


def test_a_source_without_a_loss_needs_no_estimate():
    est, targets = signals(3, noise=0.1)
    targets[:, 2] = 0.7  # silent but for an offset
    targets[:2] = 0.0
    assert MCLLossWrapper(pairwise_neg_sisdr, 1.0).assign(est, targets).figures["mcl_collapsed"] == 0
    targets[2:, 1] = targets[2:, 0] + 0.01 * targets[2:, 1]  # both are nearest to the first one's estimate
    assigned = MCLLossWrapper(pairwise_neg_sisdr, 1.0, 2.0).assign(est, targets)
    assert assigned.figures["mcl_collapsed"] == 1  # in each of the items that have a loss
    assert assigned.loss[2:, 2].isnan().all()


def test_the_temperature_follows_its_schedule():
    loss = MCLLossWrapper(
        pairwise_neg_sisdr, 1.0, temperature_schedule=SteppedSchedule(8.0, 0.5, first_epoch=1, end_epoch=3)
    )
    seen = []
    for epoch in (0, 1, 2, 3, 1):
        loss.set_epoch(epoch)
        seen.append(loss.temperature)
    assert seen == [8.0, 4.0, 2.0, 0.0, 4.0]


def test_what_cannot_work_is_refused():
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"mcl_weight must be from 0 to 1, got {wrong}"):
            MCLLossWrapper(pairwise_neg_sisdr, wrong)
    for wrong in (-0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"temperature must be a number of at least 0, got {wrong}"):
            MCLLossWrapper(pairwise_neg_sisdr, 1.0, wrong)
        with pytest.raises(ValueError, match=f"temperature must be a number of at least 0, got {wrong}"):
            MCLLossWrapper(pairwise_neg_sisdr, 1.0, temperature_schedule=lambda epoch, wrong=wrong: wrong)
    with pytest.raises(ValueError, match="needs pairs: pit_from must be pw_mtx or pw_pt, got 'perm_avg'"):
        MCLLossWrapper(pairwise_neg_sisdr, pit_from="perm_avg")


def test_what_changes_nothing_is_declared():
    assert "mcl_weight=0 is plain PIT" in MCLLossWrapper(pairwise_neg_sisdr, temperature=1.0).neutral(RunPlan(2))
    loss = MCLLossWrapper(pairwise_neg_sisdr, 0.5)
    assert loss.neutral(RunPlan(1)) == "with one source there is one estimate to take"
    assert loss.neutral(RunPlan(2)) is None
