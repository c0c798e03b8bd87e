"""Noise and rounding."""

import torch

from asteroid_stab.engine.audible import audible


def test_what_is_only_rounded_is_no_noise():
    mixture = torch.ones(3, 100)
    noise = torch.stack([torch.full((100,), level) for level in (1.1e-3, 0.9e-3, 0.0)])
    assert torch.equal(audible(noise, mixture), noise * torch.tensor([[1.0], [0.0], [0.0]]))
