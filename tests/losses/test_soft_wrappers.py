"""SinkPIT, ProbPIT and AttentionPIT against Asteroid, POT and slow references, and at their limits."""

from __future__ import annotations

import itertools
import math
import warnings
from functools import partial
from types import SimpleNamespace

import ot
import pytest
import torch
from asteroid.losses import PairwiseNegSDR, pairwise_neg_sisdr
from asteroid.losses import SinkPITLossWrapper as AsteroidSinkPIT
from asteroid.losses.mse import PairwiseMSE, singlesrc_mse
from asteroid.losses.sdr import SingleSrcNegSDR
from noisy_batch import noisy_batch

from asteroid_stab.errors import StabError
from asteroid_stab.losses import (
    AttentionPITLossWrapper,
    ExactPITLossWrapper,
    ExponentialSchedule,
    ProbPITLossWrapper,
    SinkPITLossWrapper,
)
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.losses.attention import orthogonality, sparsity
from asteroid_stab.losses.attention_pit_wrapper import SignalEncoder
from asteroid_stab.losses.sinkpit_wrapper import sinkhorn
from asteroid_stab.run.plan import RunPlan

NAN, INF = math.nan, math.inf


batch = partial(noisy_batch, shape=(320,), noise=0.7)


def attention_pit(n_src, seed=0, **arguments):
    torch.manual_seed(seed)
    return AttentionPITLossWrapper(pairwise_neg_sisdr, n_src, **arguments)


WRAPPERS = {
    "sink": lambda n_src: SinkPITLossWrapper(pairwise_neg_sisdr),
    "prob": lambda n_src: ProbPITLossWrapper(pairwise_neg_sisdr, gamma=3.0),
    "attention": attention_pit,
}
every_wrapper = pytest.mark.parametrize("kind", WRAPPERS)


# --- SinkPIT ---


@pytest.mark.parametrize("n_src", range(2, 10))
@pytest.mark.parametrize("beta", [0.3, 10.0])
def test_sinkpit_equals_asteroids(n_src, beta):
    est, targets = batch(n_src, noise=2.0)
    results = []
    for wrapper in (SinkPITLossWrapper(pairwise_neg_sisdr), AsteroidSinkPIT(pairwise_neg_sisdr)):
        wrapper.beta = beta
        e = est.clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = wrapper(e, targets)
        results.append((value, *torch.autograd.grad(value, e)))
    (value, grad), (their_value, their_grad) = results
    torch.testing.assert_close(value, their_value, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad, their_grad, rtol=1e-3, atol=1e-4 * their_grad.abs().max().item())


@pytest.mark.parametrize("pit_from", ["pw_mtx", "pw_pt"])
def test_sinkpit_equals_asteroids_with_any_other_loss(pit_from):
    est, targets = batch(4)
    theirs = AsteroidSinkPIT(PairwiseMSE())
    mine = SinkPITLossWrapper(PairwiseMSE() if pit_from == "pw_mtx" else singlesrc_mse, pit_from=pit_from)
    mine.beta = theirs.beta = 2.0
    torch.testing.assert_close(mine(est, targets), theirs(est, targets))


def test_the_soft_assignment_is_that_of_optimal_transport():
    costs = torch.randn(5, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    log_plan, error = sinkhorn(costs, beta=2.0, n_iter=2000)
    assert (error < 1e-6).all()
    for cost, plan in zip(costs, log_plan.exp(), strict=True):
        ones = torch.full((6,), 1 / 6, dtype=torch.float64).numpy()
        theirs = ot.sinkhorn(ones, ones, cost.numpy(), reg=0.5, numItermax=20_000, stopThr=1e-12)
        torch.testing.assert_close(plan / 6, torch.from_numpy(theirs), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("beta", [0.02, 0.1, 0.3])
def test_free_energy_bounds_the_exact_loss(beta):
    """At convergence F <= PIT <= <C, P>, closer for a larger beta."""
    est, targets = batch(5, n_items=8, noise=3.0, dtype=torch.float64)
    wrapper = SinkPITLossWrapper(pairwise_neg_sisdr, n_iter=4000)
    wrapper.beta = beta
    assigned, best = wrapper.assign(est, targets), ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets)
    energy, exact, figures = item_loss(assigned.loss), item_loss(best.loss), assigned.figures
    assert figures["sinkhorn_error"] < 1e-5
    assert (energy <= exact + 1e-9).all()
    plan = sinkhorn(pairwise_neg_sisdr(est, targets).mT, beta, 4000)[0].exp()
    transport = (plan * pairwise_neg_sisdr(est, targets).mT).sum((1, 2)) / 5
    assert (transport >= exact - 1e-9).all()
    assert figures["sinkhorn_gap"].item() == pytest.approx((transport - energy).mean().item(), rel=1e-6)


def test_an_iteration_that_has_not_converged_warns_once():
    est, targets = batch(6, noise=30.0)
    wrapper = SinkPITLossWrapper(PairwiseMSE(), n_iter=2)
    wrapper.beta = 100.0
    with pytest.warns(UserWarning, match=r"has not converged: after n_iter=2 at beta=100"):
        figures = wrapper.assign(est, targets).figures
    assert figures["sinkhorn_error"] > 0.05
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrapper(est, targets)


def test_it_stops_early_only_where_nothing_changes(monkeypatch):
    est, targets = batch(3)
    calls = []
    logsumexp = torch.logsumexp
    monkeypatch.setattr(torch, "logsumexp", lambda *a, **k: calls.append(1) or logsumexp(*a, **k))
    wrapper = SinkPITLossWrapper(pairwise_neg_sisdr, n_iter=200)
    early = wrapper(est, targets)
    assert 10 <= len(calls) < 100
    monkeypatch.setattr("asteroid_stab.losses.sinkpit_wrapper._TOLERANCE", -1.0)
    calls.clear()
    assert wrapper(est, targets) == pytest.approx(early.item(), abs=1e-5)
    assert len(calls) == 200


def test_an_item_stops_where_it_would_stop_alone():
    """So a batch may be split over processes in any way: a fast item is not taken on with the slowest of its batch."""
    easy, hard = torch.zeros(5, 5).fill_diagonal_(-4.0), torch.randn(5, 5, generator=torch.Generator().manual_seed(3))
    costs = torch.stack([easy, 3.0 * hard, easy.roll(1, 0), 2.0 * hard.T]).requires_grad_()
    counts = [next(n for n in range(20, 4001, 20) if sinkhorn(c[None], 2.0, n)[1] < 1e-6) for c in costs.detach()]
    assert len({*counts}) > 1, "all items stop together: the test could not fail"
    together, errors = sinkhorn(costs, 2.0, 4000)
    [grad] = torch.autograd.grad((together.exp() * costs).sum(), costs)
    for item, cost in enumerate(costs.detach()):
        alone, error = sinkhorn(cost[None].requires_grad_(), 2.0, 4000)
        assert torch.equal(together[item], alone[0])
        assert torch.equal(errors[item], error[0])
        assert torch.equal(sinkhorn(cost[None], 2.0, counts[item])[0][0], together[item])
    for part in ([0, 1], [2, 3]):
        leaf = costs.detach()[part].requires_grad_()
        plan = sinkhorn(leaf, 2.0, 4000)[0].exp()
        torch.testing.assert_close(torch.autograd.grad((plan * leaf).sum(), leaf)[0], grad[part], rtol=0, atol=1e-6)


def test_a_batch_of_one_is_iterated_as_before():
    """Bit by bit the iteration in which the whole batch stopped at once."""
    cost = torch.randn(1, 7, 7, generator=torch.Generator().manual_seed(5))
    wanted = -2.0 * cost
    for pair in range(1, 101):
        wanted = wanted - torch.logsumexp(wanted, 1, keepdim=True)
        wanted = wanted - torch.logsumexp(wanted, 2, keepdim=True)
        if pair % 10 == 0 and (wanted.logsumexp(1).exp() - 1).abs().max() < 1e-6:
            break
    assert torch.equal(sinkhorn(cost, 2.0)[0], wanted)


@pytest.mark.parametrize("n_iter", [0, 3, -2])
def test_an_odd_number_of_iterations_is_refused(n_iter):
    with pytest.raises(ValueError, match=f"n_iter must be an even number of at least 2, got {n_iter}"):
        SinkPITLossWrapper(pairwise_neg_sisdr, n_iter=n_iter)


def test_sinkpits_schedule_is_a_function_of_the_epoch():
    wrapper = SinkPITLossWrapper(pairwise_neg_sisdr, beta_schedule=ExponentialSchedule(1.02, most=10.0))
    for epoch, beta in ((0, 1.0), (10, 1.02**10), (500, 10.0), (1, 1.02)):
        wrapper.set_epoch(epoch)
        assert wrapper.beta == pytest.approx(beta)
    with pytest.raises(ValueError, match="beta must be a number above 0, got 0"):
        wrapper.beta = 0


# --- ProbPIT ---


@pytest.mark.parametrize("n_src", range(1, 7))
@pytest.mark.parametrize("gamma", [0.5, 8.0])
def test_probpit_equals_the_definition(n_src, gamma):
    est, targets = batch(n_src, noise=2.0, dtype=torch.float64)
    loss = ProbPITLossWrapper(pairwise_neg_sisdr, gamma).assign(est, targets).loss
    pw = pairwise_neg_sisdr(est, targets)
    for item in range(len(est)):
        costs = [
            sum(pw[item, i, j].item() for j, i in enumerate(order)) / n_src
            for order in itertools.permutations(range(n_src))
        ]
        least = min(costs)
        wanted = least - gamma * math.log(sum(math.exp((least - c) / gamma) for c in costs))
        assert loss[item].item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("gamma", [1e-12, 1e-4])
def test_a_small_gamma_is_plain_pit(gamma):
    est, targets = batch(3)
    e = est.clone().requires_grad_()
    value = ProbPITLossWrapper(pairwise_neg_sisdr, gamma)(e, targets)
    [grad] = torch.autograd.grad(value, e)
    exact = ExactPITLossWrapper(pairwise_neg_sisdr)(e, targets)
    [wanted] = torch.autograd.grad(exact, e)
    torch.testing.assert_close(value, exact)
    torch.testing.assert_close(grad, wanted)


def test_probpit_is_never_above_plain_pit():
    est, targets = batch(4, n_items=8, noise=3.0)
    soft = ProbPITLossWrapper(pairwise_neg_sisdr, 5.0).assign(est, targets).loss
    exact = item_loss(ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets).loss)
    assert (soft <= exact).all()
    assert (soft >= exact - 5.0 * math.log(24)).all()


def test_probpit_of_many_sources_is_refused():
    est, targets = batch(8)
    with pytest.raises(ValueError, match=r"at most 7, got 8; SinkPITLossWrapper and ExactPITLossWrapper"):
        ProbPITLossWrapper(pairwise_neg_sisdr)(est, targets)
    with pytest.raises(ValueError, match=r"gamma must be a number of at least 0, got -1"):
        ProbPITLossWrapper(pairwise_neg_sisdr, -1.0)


# --- AttentionPIT ---


def test_the_encoder_has_the_papers_shape_and_size():
    encoder = SignalEncoder(5)
    assert sum(p.numel() for p in encoder.parameters()) == 4 * (8 * 25 + 5)
    assert sum(p.numel() for p in SignalEncoder(5, shared=True).parameters()) == 4 * 9
    for n_samples, n_codes in ((16, 1), (24_000, 1500), (24_015, 1500)):
        assert encoder(torch.randn(2, 5, n_samples)).shape == (2, 5, n_codes)


def test_attention_follows_the_equations():
    """Eq. (4) to (10), written out item by item in float64."""
    wrapper = attention_pit(3).double()
    wrapper.regularization_weight = 2.0
    est, targets = batch(3, dtype=torch.float64)
    loss = wrapper.assign(est, targets).loss
    for item in range(len(est)):
        keys, queries = (wrapper.encoder(s[item : item + 1])[0] for s in (est, targets))
        a = torch.empty(3, 3, dtype=torch.float64)
        for column in range(3):
            logits = torch.stack([keys[row] @ queries[column] for row in range(3)]) / math.sqrt(keys.shape[1])
            a[:, column] = logits.exp() / logits.exp().sum()
        aligned = torch.stack([sum(a[row, column] * est[item, row] for row in range(3)) for column in range(3)])
        distance = pairwise_neg_sisdr(aligned[None], targets[item : item + 1])[0].diagonal().mean()
        bracket = sum(abs((a @ a.T)[r, c] - float(r == c)) for r in range(3) for c in range(3)) / 9
        assert loss[item].mean().item() == pytest.approx((distance + 2.0 * bracket).item(), rel=1e-9)
    attention = wrapper.attention(est, targets)
    torch.testing.assert_close(attention.sum(1), torch.ones(4, 3, dtype=torch.float64))
    assert not torch.allclose(attention.sum(2), torch.ones(4, 3, dtype=torch.float64))


def test_with_the_true_permutation_of_single_sources_it_is_plain_pit(monkeypatch):
    est, targets = batch(3, noise=0.3)
    wrapper = AttentionPITLossWrapper(SingleSrcNegSDR("sisdr"), 3, pit_from="pw_pt")
    wrapper.regularization_weight = 50.0
    exact = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets)
    one_hot = torch.nn.functional.one_hot(exact.perm, 3).mT.float()
    monkeypatch.setattr(wrapper, "attention", lambda e, t: one_hot)
    assigned = wrapper.assign(est, targets)
    torch.testing.assert_close(assigned.loss, exact.loss, rtol=1e-4, atol=1e-4)
    assert torch.equal(assigned.perm, exact.perm)
    assert assigned.figures["attention_error"] == 0
    assert assigned.figures["attention_agreement"] == 1


@pytest.mark.parametrize(("n_src", "value"), [(2, 0.5), (5, 0.32), (10, 0.18), (20, 0.095)])
def test_orthogonality_of_the_uniform_matrix(n_src, value):
    assert orthogonality(torch.full((1, n_src, n_src), 1 / n_src)).item() == pytest.approx(value, abs=1e-6)
    assert sparsity(torch.full((1, n_src, n_src), 1 / n_src)).item() == pytest.approx(1.0, abs=1e-5)


def test_regularizers_at_their_degenerate_cases():
    collapsed = torch.tensor([[[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]], requires_grad=True)
    assert orthogonality(collapsed).item() == pytest.approx(4 / 9)
    value = sparsity(collapsed)
    assert value.item() == pytest.approx(1.0)
    [grad] = torch.autograd.grad(value.sum(), collapsed)
    assert grad.isfinite().all()
    one = torch.ones(2, 1, 1, requires_grad=True)
    assert torch.equal(sparsity(one), torch.zeros(2))
    assert torch.equal(orthogonality(one), torch.zeros(2))
    tiny = torch.tensor([[[1.0, 1.0], [1e-30, 0.0]]])  # a used row, however little
    assert sparsity(tiny).item() == pytest.approx(0.5)


@pytest.mark.parametrize("regularizer", ["orthogonality", "sparsity"])
def test_attention_can_be_trained_to_be_the_permutation(regularizer):
    """With fixed estimates the encoder alone brings the loss near the exact one, and A near the permutation."""
    est, targets = batch(3, n_items=8, shape=(640,), noise=0.3)
    wrapper = attention_pit(3, regularizer=regularizer, shared_encoder=True)
    wrapper.regularization_weight = 10.0
    optimizer = torch.optim.Adam(wrapper.parameters(), lr=3e-2)
    first = wrapper(est, targets).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss = wrapper(est, targets)
        loss.backward()
        optimizer.step()
    exact = ExactPITLossWrapper(pairwise_neg_sisdr)(est, targets).item()
    assert loss.item() < exact + 0.2 * (first - exact)
    assert wrapper.assign(est, targets).figures["attention_agreement"] > 0.9


def test_attention_refuses_what_the_encoder_was_not_made_for():
    wrapper = attention_pit(3)
    with pytest.raises(ValueError, match=r"n_src=3, for which the encoder was made, got \[4, 2, 320\]"):
        wrapper(*batch(2))
    with pytest.raises(ValueError, match="at least 16 samples, got 15"):
        wrapper(*batch(3, shape=(15,)))
    wrapper(*batch(3, shape=(16,)))
    with pytest.raises(ValueError, match="regularizer must be one of orthogonality, sparsity, got 'l1'"):
        AttentionPITLossWrapper(pairwise_neg_sisdr, 3, regularizer="l1")
    with pytest.raises(ValueError, match="n_src must be at least 1, got 0"):
        AttentionPITLossWrapper(pairwise_neg_sisdr, 0)
    with pytest.raises(ValueError, match="regularization_weight must be at least 0, got -1"):
        wrapper.regularization_weight = -1.0


def test_attentions_schedule_is_the_papers():
    wrapper = attention_pit(2, weight_schedule=ExponentialSchedule(1.05, -1.0, 50.0))
    for epoch, weight in ((0, 0.0), (1, 0.05), (10, 0.6289), (19, 1.527), (80, 48.56), (81, 50.0), (900_000, 50.0)):
        wrapper.set_epoch(epoch)
        assert wrapper.regularization_weight == pytest.approx(weight, rel=1e-3)


# --- all of them: see test_contract.py; here is what needs other numbers of sources ---


@every_wrapper
@pytest.mark.parametrize("n_src", [2, 3, 5])
def test_the_assignment_is_the_best(kind, n_src):
    est, targets = batch(n_src)
    perm = WRAPPERS[kind](n_src).assign(est, targets).perm
    assert torch.equal(perm, ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets).perm)


@every_wrapper
def test_a_loss_of_an_order_is_refused(kind):
    arguments = {"n_src": 3} if kind == "attention" else {}
    with pytest.raises(ValueError, match="needs pairs: pit_from must be pw_mtx or pw_pt, got 'perm_avg'"):
        type(WRAPPERS[kind](3))(pairwise_neg_sisdr, pit_from="perm_avg", **arguments)


def test_permutations_of_silent_sources_count_once():
    """With two silent sources of three, the soft minimum is over the three estimates of the other one."""
    est, targets = batch(3, dtype=torch.float64)
    targets[:, 1:] = 0.0
    loss = ProbPITLossWrapper(pairwise_neg_sisdr, 3.0).assign(est, targets).loss
    torch.testing.assert_close(loss, -3.0 * torch.logsumexp(-pairwise_neg_sisdr(est, targets)[:, :, 0] / 3.0, 1))


def test_a_silent_source_does_not_influence_the_soft_minimum():
    """The rest of the item has the loss of the two sources alone with the estimates they can take."""
    est, targets = batch(3, noise=0.1)
    targets[:, 1] = 0.0
    loss = ProbPITLossWrapper(pairwise_neg_sisdr, 1e-3).assign(est, targets).loss
    exact = item_loss(ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, targets).loss)
    torch.testing.assert_close(loss, exact, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["sink", "attention"])
def test_twenty_sources(kind):
    est, targets = batch(20, n_items=2, noise=0.5)
    loss, perm = WRAPPERS[kind](20).assign(est.requires_grad_(), targets)
    assert loss.shape == perm.shape == (2, 20)
    loss.mean().backward()
    assert est.grad.isfinite().all()
    assert torch.equal(perm, ExactPITLossWrapper(PairwiseNegSDR("sisdr")).assign(est, targets).perm)


def test_mixtures_too_short_for_the_encoder_are_refused_before_training():
    """As padded sets have them; a set of another kind does not tell its lengths."""
    loss = attention_pit(3)
    loss.check(RunPlan(3, train_set=SimpleNamespace(lengths=[400, 16])))
    loss.check(RunPlan(3, train_set=object()))
    with pytest.raises(StabError, match="at least 16 samples, the shortest of the training set has 15: set loader"):
        loss.check(RunPlan(3, train_set=SimpleNamespace(lengths=[400, 15])))
