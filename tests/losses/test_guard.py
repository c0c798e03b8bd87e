"""The guard of losses against items that are not finite, by a look at the values and, as on a GPU, without one."""

import pytest
import torch

from asteroid_stab.losses import guard
from asteroid_stab.losses.guard import blanked, finite_or_zero, guarded

NAN, INF = float("nan"), float("inf")


def compute(est, targets):
    """A loss [B, J] that is not finite where a target is silent, and NaN in the gradient."""
    return (est - targets).square().sum(-1).sqrt() / targets.square().sum(-1)


def signals(spoilt):
    random = torch.Generator().manual_seed(0)
    est, targets = torch.randn(4, 2, 30, generator=random), torch.randn(4, 2, 30, generator=random)
    for item, how in spoilt.items():
        if how == "silent":
            targets[item, 0] = 0.0
        else:
            est[item, 1, 3] = how
    return est.requires_grad_(), targets


@pytest.mark.parametrize(
    "spoilt",
    [
        {}, {0: NAN}, {0: INF, 2: "silent"}, {0: "silent", 1: "silent"}, {1: "silent", 2: NAN, 3: -INF},
        dict.fromkeys(range(4), NAN), dict.fromkeys(range(4), "silent"), {0: "silent", 1: NAN, 2: "silent", 3: NAN},
    ],
    ids=str,
)  # fmt: skip
def test_the_way_without_a_look_gives_the_same(monkeypatch, spoilt):
    found = []
    for look in (True, False):
        monkeypatch.setattr(guard, "readable", lambda values, look=look: look)
        est, targets = signals(spoilt)
        losses, usable = guarded(compute, est, targets, (4, 2))
        torch.where(usable.unsqueeze(1), losses, 0.0).sum().backward()
        found.append((torch.where(usable.unsqueeze(1), losses, INF), usable, est.grad))
        assert torch.isfinite(est.grad).all()
    assert all(map(torch.equal, *found))
    assert found[0][1].tolist() == [item not in spoilt for item in range(4)]


@pytest.mark.parametrize("spoilt", [{}, {0: NAN, 3: INF}])
def test_signals_that_are_not_finite_become_zeros(monkeypatch, spoilt):
    found = []
    for look in (True, False):
        monkeypatch.setattr(guard, "readable", lambda values, look=look: look)
        found.append(finite_or_zero(*signals(spoilt)))
    assert all(map(torch.equal, *found))
    assert found[0][2].tolist() == [item not in spoilt for item in range(4)]
    assert all((found[0][0][item] == 0).all() for item in spoilt)


@pytest.mark.parametrize("shape", [(3, 8), (3, 2, 8)])
def test_a_mixture_that_is_not_finite_at_any_microphone_is_blanked_whole(shape):
    mixture = torch.ones(shape)
    mixture[(1, *[-1] * (len(shape) - 1))] = NAN
    blank, broken = blanked(mixture)
    assert broken.tolist() == [False, True, False]
    assert blank.shape == shape
    assert not blank[1].any()
    assert torch.equal(blank[::2], mixture[::2])
