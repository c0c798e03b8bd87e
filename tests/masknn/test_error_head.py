"""The network for errors: later iterations are never less sure, and the level of a recording changes nothing."""

import torch

from asteroid_stab.masknn.error_head import LEAST, ErrorHead, error_model


def test_what_is_added_is_above_zero_in_any_state():
    torch.manual_seed(0)
    head = ErrorHead(6, 3)
    for scale in (0.0, 1.0, 1e4):
        added = head(scale * torch.randn(4, 6, 30))
        assert added.shape == (4, 3, 2)
        assert (added >= LEAST).all()


def test_it_computes_in_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert ErrorHead(6, 3)(torch.randn(1, 6, 30).bfloat16()).dtype == torch.float32


def test_alpha_grows_and_beta_falls():
    added = torch.rand(5, 2, 3, 2) + 0.1
    alpha, beta = error_model(added.cumsum(0), torch.randn(2, 80))
    assert (alpha.diff(dim=0) > 0).all()
    assert (beta.diff(dim=0) < 0).all()


def test_beta_goes_with_the_power_of_the_mixture():
    added, mixture = torch.rand(2, 3, 2) + 0.1, torch.randn(2, 80)
    alpha, beta = error_model(added, mixture)
    louder = error_model(added, 10 * mixture)
    torch.testing.assert_close(louder[0], alpha)
    torch.testing.assert_close(louder[1], 100 * beta)
    assert torch.isfinite(error_model(added, torch.zeros(2, 80))[1]).all()
