"""Names packed into one text: a sequence of strings like a list, with an index."""

import hashlib
import pickle

import numpy as np
import pytest

from asteroid_stab import item_names
from asteroid_stab.item_names import ItemNames

ODD = ["", "a", "ä mixture", "two\nlines", "\n", "a\n", "\udcff.wav", "日本", "x" * 300, " a"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(item_names, "_CHUNK", 3)


@pytest.mark.parametrize("names", [[], ["one"], [f"mix-{i}" for i in range(10)], ODD, ODD[:3], ["", ""]])
def test_it_is_the_sequence_that_a_list_is(names):
    packed = ItemNames(iter(names))
    assert len(packed) == len(names)
    assert list(packed) == names == [packed[i] for i in range(len(names))]
    assert packed == names == packed[:]
    assert packed == tuple(names) == tuple(packed)
    assert packed[1:7:2] == names[1:7:2]
    assert [packed[-1 - i] for i in range(len(names))] == names[::-1]
    assert ItemNames.of(packed) is packed
    again = pickle.loads(pickle.dumps(packed))
    assert again == packed
    assert (again.digest(b"x"), again.repeated()) == (packed.digest(b"x"), packed.repeated())


def test_others_differ():
    packed = ItemNames(["a", "b"])
    assert packed != ["a", "c"]
    assert packed != ["a"]
    assert packed != ItemNames(["ab", ""])
    assert packed != "ab"
    assert repr(packed) == "ItemNames(2 names: 'a', 'b')"
    assert repr(ItemNames("abcd")) == "ItemNames(4 names: 'a', 'b', 'c', ...)"


@pytest.mark.parametrize("place", [2, -3])
def test_a_place_out_of_range(place):
    with pytest.raises(IndexError, match=f"from 0 to 2 - 1, the number of names less one, got {place}"):
        ItemNames(["a", "b"])[place]


def test_what_is_no_text():
    with pytest.raises(ValueError, match="names must be text, got 3"):
        ItemNames(["a", "b", "c", "d", 3])


def test_the_digest_is_of_the_names_with_line_feeds_between():
    """It is the fingerprint that runs of earlier versions have kept."""
    names = ["ä", "b", "c"]
    wanted = hashlib.sha256(b"2 8000\n" + "\n".join(names).encode()).hexdigest()[:16]
    assert ItemNames(names).digest(b"2 8000\n") == wanted
    assert ItemNames([]).digest(b"a") == hashlib.sha256(b"a").hexdigest()[:16]


def test_every_name_is_found_at_its_first_place():
    names = [*ODD, *(f"mix-{i}" for i in range(500)), "ä mixture"]
    packed = ItemNames(names)
    assert [packed.find(name) for name in names] == [names.index(name) for name in names]
    assert [packed.find(name) for name in ("mix-500", "mix", "b", "\n\n", "x" * 299)] == [None] * 5
    assert ItemNames([]).find("a") is None


@pytest.mark.parametrize(
    ("names", "twice"), [(ODD, None), ([], None), (["b", "a", "b", "a"], "b"), (["", "a", ""], "")]
)
def test_the_first_name_that_is_there_twice(names, twice):
    assert ItemNames(names).repeated() == twice


def test_names_of_one_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(ItemNames, "_hashes", lambda self: np.zeros(len(self), np.uint64))
    packed = ItemNames(["a", "b", "c", "b"])
    assert [packed.find(name) for name in "abcd"] == [0, 1, 2, None]
    assert packed.repeated() == "b"
    assert ItemNames(["a", "b"]).repeated() is None


def test_more_text_than_four_bytes_count(monkeypatch):
    monkeypatch.setattr(item_names, "_FEW_BYTES", 20)
    names = [f"mix-{i}" for i in range(9)]
    packed = ItemNames(names)
    assert packed._ends.dtype == np.int64
    assert list(packed) == names
    assert packed.find("mix-8") == 8
