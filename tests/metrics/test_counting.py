"""Counting active estimates and sources."""

import torch

from asteroid_stab.metrics.counting import active_estimates, active_sources


def test_an_estimate_is_active_above_its_level_beside_its_own_mixture():
    mixture = torch.stack([torch.ones(100), 10 * torch.ones(100)])
    levels = torch.tensor([[0.0, -19.0, -21.0], [-3.0, -25.0, -90.0]])
    estimates = 10 ** (levels / 20).unsqueeze(-1) * mixture.unsqueeze(1)
    assert active_estimates(estimates, mixture).tolist() == [[True, True, False], [True, False, False]]
    assert active_estimates(estimates, mixture, -24).tolist() == [[True, True, True], [True, False, False]]
    assert active_estimates(estimates[1], mixture[1], -2.0).tolist() == [False, False, False]


def test_nothing_is_active_in_silence():
    assert not active_estimates(torch.zeros(2, 3, 8), torch.zeros(2, 8)).any()


def test_a_source_is_active_if_it_has_any_sample():
    sources = torch.zeros(2, 3, 8)
    sources[0, 1, 3] = 1e-9
    assert active_sources(sources).tolist() == [[False, True, False], [False, False, False]]
