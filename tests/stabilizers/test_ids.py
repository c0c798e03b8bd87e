"""Ids of a batch: names are looked up among the items' names, of which there may be millions."""

import pytest
import torch

from asteroid_stab.items import Items
from asteroid_stab.stabilizers import ids as ids_module
from asteroid_stab.stabilizers.checks import LateChecks
from asteroid_stab.stabilizers.ids import ItemIds

TARGETS = torch.zeros(2, 3, 10)


def bound(names):
    ids = ItemIds(LateChecks())
    ids.bind(Items.of(names))
    return ids


def test_names_and_numbers_of_known_items_agree():
    ids = bound(["anna", "bert", "cleo"])
    assert ids.of(["cleo", "anna"], TARGETS, ["Tracker"]).tolist() == [2, 0]
    assert ids.of(torch.tensor([1, 2]), TARGETS, ["Tracker"]).tolist() == [1, 2]
    assert ids.state() == []


def test_other_items_bring_other_names():
    ids = bound(["anna", "bert", "cleo"])
    ids.of(["cleo", "anna"], TARGETS, ["Tracker"])
    ids.bind(Items.of(["cleo", "dora"]))
    assert ids.of(["cleo", "dora"], TARGETS, ["Tracker"]).tolist() == [0, 1]
    with pytest.raises(ValueError, match="names of the training items, got 'anna'"):
        ids.of(["cleo", "anna"], TARGETS, ["Tracker"])


def test_a_wrong_name_is_compared_with_few_names_only(monkeypatch):
    monkeypatch.setattr(ids_module, "_MOST_COMPARED", 3)
    with pytest.raises(ValueError, match=r"got 'berti' \(did you mean 'bert'\?\)"):
        bound(["anna", "bert", "cleo"]).of(["berti", "anna"], TARGETS, ["Tracker"])
    with pytest.raises(ValueError, match="names of the training items, got 'berti'$"):
        bound(["anna", "bert", "cleo", "dora"]).of(["berti", "anna"], TARGETS, ["Tracker"])
