"""with_ids: what an item becomes, whose ids they are, and which data sets have none."""

import dataclasses
import types
from collections import OrderedDict, namedtuple

import pytest
import torch
from asteroid.losses import pairwise_neg_sisdr
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from asteroid_stab.data import with_ids
from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.stabilizers import Reweighting, SampleDropout, Stabilization

Pair = namedtuple("Pair", ["mix", "src"])


@dataclasses.dataclass
class Mixture:
    mix: float
    id: int = -1


@pytest.mark.parametrize(
    ("item", "wanted"),
    [
        ((7, 8), (7, 8, 1)),
        ([7, 8], (7, 8, 1)),
        ((), (1,)),
        (Pair(7, 8), (7, 8, 1)),
        ({"mix": 7}, {"mix": 7, "id": 1}),
        (OrderedDict(mix=7), {"mix": 7, "id": 1}),
        (types.MappingProxyType({"mix": 7}), {"mix": 7, "id": 1}),
        (Mixture(7.0), Mixture(7.0, 1)),
        (7, (7, 1)),
        ("name", ("name", 1)),
    ],
)
def test_what_an_item_becomes(item, wanted):
    with_id = with_ids([None, item])[1]
    assert with_id == wanted
    assert type(with_id) is type(wanted)


def test_the_item_itself_is_left_alone():
    items = [{"mix": 7}, Mixture(7.0)]
    numbered = with_ids(items)
    assert numbered[0]["id"] == 0
    assert numbered[1].id == 1
    assert items == [{"mix": 7}, Mixture(7.0)]


def test_rows():
    numbered = with_ids(TensorDataset(torch.arange(3.0), torch.arange(3.0)))
    assert numbered[-1] == (2.0, 2.0, 2)
    assert numbered[torch.tensor(1)][2] == 1
    assert [number for _, _, number in numbered] == [0, 1, 2]
    with pytest.raises(IndexError, match="row must be from 0 to 3 - 1, .* got 3"):
        numbered[3]


def test_a_shuffled_loader_keeps_them():
    numbered = with_ids(TensorDataset(torch.arange(10.0)))
    for values, ids in DataLoader(numbered, batch_size=3, shuffle=True):
        assert torch.equal(values, ids.to(values))


def test_a_choice_of_items_keeps_them():
    numbered = with_ids(TensorDataset(torch.arange(10.0)))
    assert Subset(numbered, [7, 2])[0] == (7.0, 7)
    assert Items.of(Subset(numbered, [7, 2])).n == 10
    assert Items.of(with_ids(Subset(TensorDataset(torch.arange(10.0)), [7, 2]))).n == 2  # numbered after the choice


def test_a_key_that_is_taken():
    with pytest.raises(StabError, match="the items of list have 'id' already: go by that, or name another key"):
        with_ids([{"id": "a"}])[0]
    assert with_ids([{"id": "a"}], key="row")[0] == {"id": "a", "row": 0}


def test_a_dataclass_without_the_field():
    with pytest.raises(StabError, match=r"Mixture has no field 'row' for the id: give it one \(row: int = -1\)"):
        with_ids([Mixture(7.0)], key="row")[0]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(4))


class LongStream(Stream):
    def __len__(self):
        return 4


@pytest.mark.parametrize("dataset", [Stream(), LongStream(), iter([1]), {1, 2}, 5])
def test_what_cannot_be_numbered(dataset):
    with pytest.raises(StabError, match=f"with __getitem__ and __len__, got {type(dataset).__name__}: items that are"):
        with_ids(dataset)


def test_what_the_data_set_knows_is_passed_on(tiny_corpus):
    dataset = tiny_corpus().dataset("train")
    own, numbered = Items.of(dataset), Items.of(with_ids(dataset))
    assert (numbered.names, numbered.fingerprint, numbered.kind) == (own.names, own.fingerprint, "TinySet")


def stabilization(items, *parts):
    return Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), parts, items=items)


@pytest.mark.parametrize("stream", [Stream(), LongStream()])
def test_a_stream_is_refused_by_what_needs_ids(stream):
    kind = type(stream).__name__
    with pytest.raises(StabError, match=f"SampleDropout needs stable ids, but {kind} is an iterable data set"):
        stabilization(stream, Reweighting(alpha=0.1), SampleDropout(0.5))
    stab = stabilization(stream, Reweighting(alpha=0.1))  # needs none, and no switches are counted
    assert stab.remembering == []


def test_a_stream_that_says_that_its_ids_are_stable():
    stream = LongStream()
    stream.stable_ids = True
    assert stabilization(stream, SampleDropout(0.5)).items.n == 4


def test_dynamic_mixing_is_refused_by_its_own_name():
    class Changing(torch.utils.data.Dataset):
        stable_ids = False

        def __len__(self):
            return 4

        def __getitem__(self, row):
            return torch.randn(8)

    with pytest.raises(StabError, match=r"SampleDropout needs stable ids, but Changing mixes afresh .* \(stabilizer="):
        stabilization(with_ids(Changing()), SampleDropout(0.5))
