"""Calls of modules: recorded in the order in which they end, replaced in all places, and left as they were."""

import pytest
import torch
from torch import nn

from asteroid_stab.models.layer_calls import first_tensor, in_turn, recorded_calls, replaced_calls, zeros_of


class Twice(nn.Module):
    """Holds one module under two names, and another inside a third."""

    def __init__(self):
        super().__init__()
        shared = nn.Linear(2, 2)
        self.first, self.again, self.outer = shared, shared, nn.Sequential(nn.ReLU(), nn.Linear(2, 2))

    def forward(self, x):
        return self.outer(self.again(self.first(x)))


def test_calls_are_recorded_in_the_order_in_which_they_end():
    net, x = Twice(), torch.randn(3, 2)
    with recorded_calls(net, ["first", "outer", "outer.0"]) as calls:
        y = net(x)
    assert [name for name, _ in calls] == ["first", "first", "outer.0", "outer"]
    assert torch.equal(calls[-1][1], y)
    assert torch.equal(calls[0][1], net.first(x))
    n = len(calls)
    net(x)
    assert len(calls) == n


def test_a_module_is_replaced_in_all_its_places_and_put_back():
    net, x, before = Twice(), torch.ones(1, 2), None
    before = [*net.named_modules(remove_duplicate=False)]
    seen = []
    with replaced_calls(net, ["first"], lambda name, args: seen.append((name, args[0].clone())) or args[0] + 1):
        assert torch.equal(net(x), net.outer(x + 2))
        assert net.first.in_features == 2  # its attributes are the module's
    assert [name for name, _ in seen] == ["first", "first"]
    assert torch.equal(seen[1][1], x + 1)
    with pytest.raises(KeyError), replaced_calls(net, ["outer"], lambda name, args: {}[name]):
        net(x)
    after = [*net.named_modules(remove_duplicate=False)]
    assert [(name, id(module)) for name, module in after] == [(name, id(module)) for name, module in before]


def test_outputs_are_given_in_turn_by_name():
    give = in_turn([("a", 1), ("b", 2), ("a", 3)])
    assert [give("a", ()), give("a", ()), give("b", ())] == [1, 3, 2]


def test_parts_of_outputs():
    x = torch.ones(2)
    assert first_tensor((None, {"k": [x]})) is x
    assert first_tensor(("a", 3)) is None
    zeros = zeros_of((x, "kept", [x]))
    assert not zeros[0].any()
    assert zeros[1] == "kept"
    assert not zeros[2][0].any()
    assert x.all()
