"""Names of items, packed into one text: ten million take a few hundred megabytes, and no Python string each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np

_CHUNK = 1 << 14  # names that are packed, read or hashed together
_FEW_BYTES = 2**32
_CODING = {"encoding": "utf-8", "errors": "surrogatepass"}  # names of files that are no UTF-8 have surrogates


class ItemNames(Sequence[str]):
    """A sequence of names that holds their UTF-8 text, and 4 bytes (8 from 4 GB of text on) for the end of each.

    Args:
        names: the names; they are taken one by one, so that a generator needs no list.

    Raises:
        ValueError: a name is no text.

    Example:
        >>> names = ItemNames(f"mix-{i}" for i in range(3))
        >>> names[2], len(names), names.find("mix-1"), names.repeated()
        ('mix-2', 3, 1, None)
        >>> names == ["mix-0", "mix-1", "mix-2"]
        True
    """

    def __init__(self, names: Iterable[str]):
        self._text = bytearray()  # each name with a line feed after it
        ends: list[np.ndarray] = []
        names = iter(names)
        while chunk := list(islice(names, _CHUNK)):
            if not all(isinstance(name, str) for name in chunk):
                wrong = next(name for name in chunk if not isinstance(name, str))
                raise ValueError(f"names must be text, got {wrong!r}")
            text = "\n".join(chunk)
            sizes = map(len, chunk) if text.isascii() else (len(name.encode(**_CODING)) for name in chunk)
            ends.append(len(self._text) + np.cumsum(np.fromiter(sizes, np.int64, len(chunk)) + 1))
            self._text += text.encode(**_CODING) + b"\n"
        size = np.uint32 if len(self._text) < _FEW_BYTES else np.int64
        self._ends = np.concatenate([np.zeros(1, np.int64), *ends], dtype=size, casting="unsafe")
        self._has_line_feeds = self._text.count(b"\n") != len(self)
        self._index: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, names: Iterable[str]) -> ItemNames:
        """Returns ``names`` packed; names that are packed already are returned as they are."""
        return names if isinstance(names, ItemNames) else cls(names)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, item: int) -> str: ...
    @overload
    def __getitem__(self, item: slice) -> list[str]: ...
    def __getitem__(self, item: int | slice) -> str | list[str]:
        if isinstance(item, slice):
            return [self[i] for i in range(*item.indices(len(self)))]
        number = item + len(self) if item < 0 else item
        if not 0 <= number < len(self):
            raise IndexError(f"name must be from 0 to {len(self)} - 1, the number of names less one, got {item}")
        return self._text[int(self._ends[number]) : int(self._ends[number + 1]) - 1].decode(**_CODING)

    def __iter__(self) -> Iterator[str]:
        if self._has_line_feeds:
            yield from (self[i] for i in range(len(self)))
            return
        for first in range(0, len(self), _CHUNK):
            start, stop = self._ends[first], self._ends[min(first + _CHUNK, len(self))]
            yield from self._text[int(start) : int(stop) - 1].decode(**_CODING).split("\n")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ItemNames):
            return self._text == other._text and np.array_equal(self._ends, other._ends)
        return isinstance(other, (list, tuple)) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"ItemNames({len(self)} names: {shown}{', ...' if len(self) > 3 else ''})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": None}

    def digest(self, before: bytes = b"") -> str:
        """Returns 16 digits of the SHA-256 of ``before`` and the names in their order, a line feed between them."""
        digest = hashlib.sha256(before)
        digest.update(memoryview(self._text)[: max(0, len(self._text) - 1)])
        return digest.hexdigest()[:16]

    def repeated(self) -> str | None:
        """Returns the first name that is there a second time; None where each is there once."""
        hashes = self._hashes()
        hashes.sort()
        twice = hashes[1:][hashes[1:] == hashes[:-1]]
        if not len(twice):
            return None
        seen: set[str] = set()
        for i in np.flatnonzero(np.isin(self._hashes(), twice)):  # two names may have one hash
            if (name := self[int(i)]) in seen:
                return name
            seen.add(name)
        return None

    def find(self, name: str) -> int | None:
        """Returns the first place of a name; None where it is none of them.

        The first call makes an index, of 12 bytes a name (16 from 2^32 names on).
        """
        if self._index is None:
            hashes = self._hashes()
            order = np.argsort(hashes, kind="stable")
            self._index = hashes[order], order.astype(np.uint32 if len(order) < _FEW_BYTES else np.int64)
        ordered, order = self._index
        wanted = ItemNames([name])._hashes()[0]
        first, last = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
        return next((int(i) for i in order[first:last] if self[int(i)] == name), None)

    def _hashes(self) -> np.ndarray:
        """Returns a 64-bit hash of each name: the sum of its bytes, each times an odd number of its place."""
        hashes = np.empty(len(self), np.uint64)
        text = np.frombuffer(self._text, np.uint8)
        longest = int(np.diff(self._ends.astype(np.int64)).max(initial=0))
        odd = np.random.default_rng(0).integers(2**64, size=longest, dtype=np.uint64) | np.uint64(1)
        for first in range(0, len(self), _CHUNK):
            ends = self._ends[first : first + _CHUNK + 1].astype(np.int64)
            starts = ends[:-1] - ends[0]
            places = np.arange(ends[-1] - ends[0]) - np.repeat(starts, np.diff(ends))
            hashes[first : first + _CHUNK] = np.add.reduceat(text[ends[0] : ends[-1]] * odd[places], starts)
        return hashes
