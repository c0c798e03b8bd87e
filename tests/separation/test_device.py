"""The device that a user wants, where this machine does not have it."""

import pytest
import torch

from asteroid_stab.errors import StabError
from asteroid_stab.separation.device import to_device


def test_apples_device_is_one_of_the_machine_or_is_refused(monkeypatch):
    model, moved = torch.nn.Linear(1, 1), []
    monkeypatch.setattr(model, "to", lambda place: moved.append(place) or model)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(StabError, match="--device must be one of this machine, which has no MPS, got 'mps'"):
        to_device(model, "mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert to_device(model, "mps") is model
    assert moved == [torch.device("mps")]
