"""The likelihood against torch's and SciPy's distributions, and what it predicts against drawn errors."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import invgamma, multivariate_t

from asteroid_stab.losses.likelihood import DB_PER_NAT, layers_nll, mixture_nll, snri_probability, student_nll


@pytest.mark.parametrize("n_samples", [1, 5, 40])
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 2.0), (3.0, 0.1), (80.0, 40.0)])
def test_the_density_is_scipys(n_samples, alpha, beta):
    random = np.random.default_rng(0)
    x, est = random.standard_normal((2, n_samples))
    density = multivariate_t(est, beta / alpha * np.eye(n_samples), df=2 * alpha).logpdf(x)
    error = torch.tensor(np.square(x - est).sum())
    ours = student_nll(error, n_samples, torch.tensor(alpha, dtype=torch.float64), torch.tensor(beta).double())
    assert ours.item() == pytest.approx(-density * DB_PER_NAT / n_samples, rel=1e-6)


def test_twice_the_error_costs_six_decibels():
    """Where the error is large beside beta, as in an SNR."""
    error = torch.tensor([100.0, 400.0], dtype=torch.float64)
    alpha, beta = torch.tensor(0.01).double(), torch.tensor(1e-6).double()
    small, large = student_nll(error, 4000, alpha, beta)
    assert (large - small).item() == pytest.approx(20 * math.log10(2), abs=0.01)


def layers_of(n_layers=2, n_items=3, n_src=3, n_samples=50):
    torch.manual_seed(0)
    targets = torch.randn(n_items, n_src, n_samples, dtype=torch.float64)
    layers = targets[:, torch.randperm(n_src)] + torch.randn(n_layers, n_items, n_src, n_samples, dtype=torch.float64)
    alpha, beta = torch.rand(2, n_layers, n_items, n_src, dtype=torch.float64) + 0.5
    return layers, targets, alpha, beta


def by_hand(layers, targets, alpha, beta):
    """Every assignment of every item, one after the other."""
    found = []
    for item in range(len(targets)):
        losses = {}
        for perm in itertools.permutations(range(targets.shape[1])):
            losses[perm] = torch.stack(
                [
                    torch.stack(
                        [
                            student_nll(
                                (layers[k, item, i] - targets[item, j]).square().sum(), targets.shape[-1],
                                alpha[k, item, i], beta[k, item, i],
                            )
                            for j, i in enumerate(perm)
                        ]
                    )
                    for k in range(len(layers))
                ]
            ).mean(0)  # fmt: skip
        found.append(min(losses.items(), key=lambda one: one[1].sum()))
    return torch.stack([loss for _, loss in found]), torch.tensor([perm for perm, _ in found])


def test_all_layers_have_one_assignment():
    layers, targets, alpha, beta = layers_of()
    layers[0, 0] = layers[0, 0].roll(1, 0)  # by itself this layer would have another one
    nll, perm = layers_nll(layers, targets, alpha, beta)
    expected, wanted = by_hand(layers, targets, alpha, beta)
    torch.testing.assert_close(nll, expected)
    assert torch.equal(perm, wanted)


def test_padding_and_broken_sources_change_no_other_item():
    layers, targets, alpha, beta = layers_of()
    alone = mixture_nll(layers, targets, alpha, beta)
    more = torch.cat([alpha, torch.ones_like(alpha[..., :1])], -1)  # an output for the noise
    torch.testing.assert_close(mixture_nll(layers, targets, more, beta), alone)
    padded = [torch.nn.functional.pad(signal, (0, 7), value=value) for signal, value in ((layers, 5.0), (targets, 0.0))]
    torch.testing.assert_close(mixture_nll(*padded, alpha, beta, [50, 50, 50]), alone)
    torch.testing.assert_close(mixture_nll(*padded, alpha, beta, [50, 57, 50])[::2], alone[::2])
    targets[1, 0, 3] = torch.nan
    spoilt = mixture_nll(layers, targets, alpha, beta)
    assert torch.isfinite(spoilt).all()
    torch.testing.assert_close(spoilt[::2], alone[::2])


def test_the_gradient_finds_the_variance_of_the_error():
    """With errors of one variance and many items, beta / alpha tends to it."""
    torch.manual_seed(0)
    targets = torch.zeros(64, 1, 200)
    layers = 0.3 * torch.randn(1, 64, 1, 200)
    free = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        alpha, beta = (value.exp().expand(1, 64, 1) for value in free)
        layers_nll(layers, targets, alpha, beta)[0].mean().backward()
        optimizer.step()
    alpha, beta = free.detach().exp()
    assert (beta / alpha).item() == pytest.approx(0.09, rel=0.1)


@pytest.mark.parametrize("snri_db", [3.0, 8.0, 12.0])
def test_the_probability_is_the_share_of_drawn_errors(snri_db):
    """Errors of the estimate drawn from the model; the mixture lies at right angles to them, as in many dimensions."""
    random, n_samples, alpha, beta = np.random.default_rng(0), 4000, 4.0, 0.8
    est, mixture = torch.zeros(1, 1, n_samples), torch.full((1, n_samples), 1.5)
    variances = invgamma(alpha, scale=beta).rvs(600, random_state=random)
    errors = np.sqrt(variances)[:, None] * random.standard_normal((600, n_samples))
    snri = 10 * np.log10(np.square(errors + 1.5).sum(1) / np.square(errors).sum(1))
    chance = snri_probability(est, mixture, torch.full((1, 1), alpha), torch.full((1, 1), beta), snri_db)
    assert chance.item() == pytest.approx(np.mean(snri >= snri_db), abs=0.06)


def test_an_improvement_of_nothing_is_certain_and_an_estimate_that_is_the_mixture_has_none():
    est, mixture, one = torch.randn(2, 1, 80), torch.randn(2, 80), torch.ones(2, 1)
    assert torch.equal(snri_probability(est, mixture, one, one, 0.0), torch.ones(2, 1))
    assert torch.equal(snri_probability(est, mixture, one, one, -5.0), torch.ones(2, 1))
    assert torch.equal(snri_probability(mixture.unsqueeze(1), mixture, one, one, 1.0), torch.zeros(2, 1))
