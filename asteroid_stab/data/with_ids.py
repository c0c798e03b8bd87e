"""Stable ids for a data set of somebody's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sized
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from asteroid_stab.errors import StabError


def with_ids(dataset: Any, key: str = "id") -> WithIds:
    """Returns a map-style data set whose items carry their number, from 0, as the last entry or under ``key``.

    What remembers items between epochs goes by such ids: in a shuffled loader, the place in a batch says nothing.

    ===================  ================================================================
    an item              becomes
    ===================  ================================================================
    a tuple or a list    a tuple with the id as its last entry
    a mapping            a dict with the id under ``key``
    a dataclass          a copy with the id in its field ``key``, which it must have
    anything else        a tuple of the item and the id
    ===================  ================================================================

    A number is a place in ``dataset``: state that was saved with one order of items is wrong for another. Where the
    data set has ``names`` or a ``fingerprint``, they are passed on, and compared when a training is resumed.

    Args:
        dataset: with ``__getitem__`` and ``__len__``.
        key: of the id, in mappings and dataclasses.

    Raises:
        StabError: the data set is iterable or has no length; or, of an item, ``key`` is taken already, or a dataclass
            has no such field.

    Example:
        >>> pairs = with_ids([("mix a", "sources a"), ("mix b", "sources b")])
        >>> pairs[1], len(pairs)
        (('mix b', 'sources b', 1), 2)
        >>> with_ids([{"mix": 0.5}], key="row")[0]
        {'mix': 0.5, 'row': 0}
    """
    return WithIds(dataset, key)


class WithIds(Dataset):
    """Data set of :func:`with_ids`.

    Args:
        dataset: with ``__getitem__`` and ``__len__``.
        key: of the id, in mappings and dataclasses.
    """

    def __init__(self, dataset: Any, key: str = "id"):
        if (
            isinstance(dataset, IterableDataset)
            or not isinstance(dataset, Sized)
            or not hasattr(dataset, "__getitem__")
        ):
            raise StabError(
                "with_ids() numbers the items of a data set with __getitem__ and __len__, got "
                f"{type(dataset).__name__}: items that are streamed have no number of their own; give them an id where "
                "the stream is made"
            )
        self.dataset, self.key = dataset, key
        self.kind = type(dataset).__name__
        self.stable_ids = getattr(dataset, "stable_ids", True)
        self.names, self.fingerprint = getattr(dataset, "names", None), getattr(dataset, "fingerprint", "")
        self.classes, self.labels = getattr(dataset, "classes", ()), getattr(dataset, "labels", None)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> Any:
        """Returns item ``row`` with its id; a negative row counts from the end.

        Raises:
            IndexError: there is no such row.
            StabError: the item has something under ``key`` already, or is a dataclass without such a field.
        """
        number = int(row) + (len(self) if row < 0 else 0)
        if not 0 <= number < len(self):
            raise IndexError(f"row must be from 0 to {len(self)} - 1, the number of items less one, got {row}")
        item = self.dataset[number]
        if isinstance(item, (tuple, list)):
            return (*item, number)
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            if self.key not in {field.name for field in dataclasses.fields(item) if field.init}:
                raise StabError(
                    f"{type(item).__name__} has no field {self.key!r} for the id: give it one ({self.key}: int = -1), "
                    "or name another field, with_ids(dataset, key=...)"
                )
            return dataclasses.replace(item, **{self.key: number})
        if hasattr(item, "keys") and hasattr(item, "__getitem__"):
            if self.key in item:
                raise StabError(
                    f"the items of {self.kind} have {self.key!r} already: go by that, or name another key, "
                    "with_ids(dataset, key=...)"
                )
            return {**item, self.key: number}
        return item, number
