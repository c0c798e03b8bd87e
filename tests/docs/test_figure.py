"""The figure of the mathematics page."""

from pathlib import Path

import torch

from docs.figure import draw, losses

ROOT = Path(__file__).resolve().parents[2]


def test_the_assignment_is_the_cheapest_order():
    pairs, perm, loss = losses()
    rounds = [torch.tensor(order) for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])]
    costs = [pairs[order, torch.arange(3)].mean() for order in rounds]
    assert perm.tolist() == rounds[int(torch.stack(costs).argmin())].tolist() == [2, 0, 1]
    assert torch.isclose(loss[0], min(costs))


def test_the_command_draws_the_three_panels(tmp_path):
    file = tmp_path / "step.svg"
    draw(file)
    text = file.read_text()
    for words in ("assignment (dB)", "estimate i", "one item dropped"):
        assert words in text
        assert words in (ROOT / "docs" / "step.svg").read_text()
    page = (ROOT / "docs" / "mathematics.md").read_text()
    assert "`python -m docs.figure step.svg`" in page
