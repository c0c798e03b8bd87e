"""Counting active estimates and sources."""

import pytest
import torch

from asteroid_stab.metrics.counting import active_energies, active_estimates, active_sources, check_active_db


def test_an_estimate_is_active_above_its_level_beside_its_own_mixture():
    mixture = torch.stack([torch.ones(100), 10 * torch.ones(100)])
    levels = torch.tensor([[0.0, -19.0, -21.0], [-3.0, -25.0, -90.0]])
    estimates = 10 ** (levels / 20).unsqueeze(-1) * mixture.unsqueeze(1)
    assert active_estimates(estimates, mixture).tolist() == [[True, True, False], [True, False, False]]
    assert active_estimates(estimates, mixture, -24).tolist() == [[True, True, True], [True, False, False]]
    assert active_estimates(estimates[1], mixture[1], -2.0).tolist() == [False, False, False]


def test_nothing_is_active_in_silence():
    assert not active_estimates(torch.zeros(2, 3, 8), torch.zeros(2, 8)).any()
    assert not active_estimates(torch.ones(2, 3, 8), torch.zeros(2, 8)).any()  # what a model with biases makes of it


def test_energies_give_what_the_signals_give():
    torch.manual_seed(0)
    estimates, mixture = torch.rand(50, 3, 1) * torch.randn(50, 3, 200), torch.randn(50, 200)
    energies = estimates.square().sum(-1), mixture.square().sum(-1)
    found = active_estimates(estimates, mixture, -6.0)
    assert active_energies(*energies, -6.0).equal(found)
    assert 0.2 < found.float().mean() < 0.8


@pytest.mark.parametrize("level", [0, 1.0, float("-inf"), float("nan"), True])
def test_a_level_that_is_none(level):
    with pytest.raises(ValueError, match=f"active_db must be a number below 0, got {level!r}"):
        check_active_db(level)
    assert check_active_db(-20) == -20.0


def test_a_source_is_active_if_it_has_any_sample():
    sources = torch.zeros(2, 3, 8)
    sources[0, 1, 3] = 1e-9
    assert active_sources(sources).tolist() == [[False, True, False], [False, False, False]]
