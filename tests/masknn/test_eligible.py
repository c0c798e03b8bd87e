"""Where the faster layers compute."""

import pytest
import torch

from asteroid_stab.masknn.eligible import eligible


@pytest.mark.parametrize(
    ("x", "weight", "found"),
    [
        (torch.float32, torch.float32, True),
        (torch.float64, torch.float64, True),
        (torch.float32, torch.float64, False),
        (torch.bfloat16, torch.bfloat16, False),
    ],
)
def test_float32_and_wider(x, weight, found):
    assert eligible(torch.ones(2, dtype=x), torch.ones(2, dtype=weight)) is found


def test_not_elsewhere():
    x = torch.ones(2)
    assert not eligible(x.to("meta"), x.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not eligible(x, x)
