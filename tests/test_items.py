"""Items: what a number, names or a data set stand for, and what is none of them."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from asteroid_stab.errors import StabError
from asteroid_stab.item_names import ItemNames
from asteroid_stab.items import Items

FOUR = TensorDataset(torch.arange(4))


@pytest.mark.parametrize(
    ("source", "n", "names"),
    [
        (3, 3, None),
        (np.int64(3), 3, None),
        (["a", "b"], 2, ["a", "b"]),
        (("a", "b"), 2, ["a", "b"]),
        (np.array(["a", "b"]), 2, ["a", "b"]),
        (FOUR, 4, None),
        (Subset(FOUR, [3, 1]), 4, None),  # whose ids are from 0 to 3
        (Subset(Subset(FOUR, [3, 1, 0]), [0]), 4, None),
    ],
)
def test_what_stands_for_items(source, n, names):
    items = Items.of(source)
    assert (items.n, items.names, len(items)) == (n, names, n)
    assert Items.of(items) is items


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (0, "items must be at least 1, got 0"),
        (-2, "items must be at least 1, got -2"),
        ([], "items must be at least 1, got 0"),
        (TensorDataset(torch.arange(0)), "items must be at least 1, got 0"),
        (True, "a number, names or a data set with a length, got bool"),
        (1.5, "a number, names or a data set with a length, got float"),
        ("abc", "a number, names or a data set with a length, got str"),
        (iter([]), "a number, names or a data set with a length, got list_iterator"),
        (DataLoader(FOUR, batch_size=2), "the data set, not its loader, whose length counts batches: loader.dataset"),
        (["a", "b", "a"], "names of their own, got 'a' twice"),
    ],
)
def test_what_does_not(source, message):
    with pytest.raises(ValueError, match=message):
        Items.of(source)


def test_items_whose_number_is_not_known_have_no_stable_ids():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(4))

    class OwnStream:  # of a library that knows no torch
        def __iter__(self):
            return iter(range(4))

    for stream in (Stream(), OwnStream()):
        items = Items.of(stream)
        assert (items.n, items.stable, items.kind) == (0, False, type(stream).__name__)
        with pytest.raises(
            StabError, match=r"Tracker needs .* is an iterable .*\(items=NAMES\), or without it \(off\)"
        ):
            items.require_stable("Tracker", "off")


def test_names_are_their_own_fingerprint():
    items = Items.of(["a", "b", "c"])
    Items.of(("a", "b", "c")).check_same(items.fingerprint, 3)
    for others in (["a", "b", "d"], ["b", "a", "c"]):
        with pytest.raises(StabError, match=f"with fingerprint {items.fingerprint}, these 3 have"):
            Items.of(others).check_same(items.fingerprint, 3)


def test_names_that_are_packed_are_taken_as_they_are():
    packed = ItemNames(f"mix-{i}" for i in range(3))
    items = Items.of(packed)
    assert items.names is packed
    assert items.fingerprint == Items.of(["mix-0", "mix-1", "mix-2"]).fingerprint
    with pytest.raises(ValueError, match="names of their own, got 'a' twice"):
        Items.of(ItemNames(["a", "b", "a"]))


def test_a_name_each():
    with pytest.raises(ValueError, match="a name each, got 1 names for 2 items"):
        Items(2, ["a"])


def test_other_items_are_refused():
    items = Items(2, fingerprint="a")
    items.check_same("a", 2)
    items.check_same("")
    with pytest.raises(StabError, match="with fingerprint b, these 2 have a"):
        items.check_same("b")
    with pytest.raises(StabError, match="trained on 3 items, these are 2"):
        items.check_same("a", 3)
