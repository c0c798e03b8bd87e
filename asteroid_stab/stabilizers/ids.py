"""The ids of a batch's items, as numbers that tables are indexed by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.errors import nearest
from asteroid_stab.items import Items


class ItemIds:
    """Turns ids, numbers or names, into int64 tensors ``[B]``, and checks them.

    On a CPU an id that cannot be used is refused at once. On a GPU the check would wait for the device in every step,
    so it is kept there and read by :meth:`check` at the end of the epoch.

    Names are looked up among the items' names. Where items have a number only, each new name takes the next id.
    """

    def __init__(self) -> None:
        self._items: Items | None = None
        self._of_name: dict[str, int] = {}
        self._wrong: Tensor | None = None  # on a GPU: whether an id was out of range, or twice in a batch

    def bind(self, items: Items) -> None:
        """Takes the items that ids stand for."""
        self._items = items
        if items.names is not None:
            self._of_name = {name: i for i, name in enumerate(items.names)}

    def of(self, ids: Any, n_items: int, device: torch.device, each_once: bool, n_ranks: int = 1) -> Tensor:
        """Returns the ids ``[B]`` as int64 on ``device``.

        Args:
            ids: a tensor of integers, or a sequence of integers or names.
            n_items: B.
            device: of the batch.
            each_once: whether an id twice in the batch is refused.
            n_ranks: processes of the training. With several, names must be the items' own, or each process would
                number them differently.

        Raises:
            ValueError: there are not B ids, they are no integers or names, a name is no item's, or (on a CPU) an id is
                out of range or twice in the batch.
        """
        numbers = ids if isinstance(ids, Tensor) else self._numbers(list(ids), n_ranks)
        if numbers.shape != (n_items,) or numbers.is_floating_point() or numbers.dtype == torch.bool:
            raise ValueError(
                f"ids must be {n_items} integers or names, one for each item of the batch, got "
                f"{numbers.dtype} of shape {list(numbers.shape)}"
            )
        on_host = numbers.device.type == "cpu"
        numbers = numbers.to(torch.long)
        n = None if self._items is None else self._items.n
        outside = torch.zeros((), dtype=torch.bool, device=numbers.device)
        if n is not None:
            outside = ((numbers < 0) | (numbers >= n)).any()
        ordered = numbers.sort().values
        twice = (ordered[1:] == ordered[:-1]).any() & each_once
        if on_host:
            if outside:
                wrong = next(i for i in numbers.tolist() if not 0 <= i < n)  # type: ignore[operator]
                raise ValueError(f"ids must be from 0 to {n} - 1, the number of items less one, got {wrong}")
            if twice:
                seen = numbers.tolist()
                again = next(i for i in seen if seen.count(i) > 1)
                raise ValueError(
                    f"an item may be in a batch once where something remembers items, got id {again} twice"
                )
            return numbers.to(device)
        wrong_now = torch.stack([outside, twice])
        self._wrong = wrong_now if self._wrong is None else self._wrong | wrong_now
        return (numbers if n is None else numbers.clamp(0, n - 1)).to(device)

    def check(self) -> None:
        """Raises what was found on a GPU since the last call.

        Raises:
            ValueError: an id was out of range, or twice in a batch.
        """
        if self._wrong is None:
            return
        (outside, twice), self._wrong = self._wrong.tolist(), None
        if outside:
            assert self._items is not None
            raise ValueError(f"ids must be from 0 to {self._items.n} - 1, the number of items less one: one was not")
        if twice:
            raise ValueError("an item may be in a batch once where something remembers items: one was there twice")

    def state(self) -> list[str]:
        """Returns the names that were given ids one by one, in the order of the ids."""
        return [] if self._items is not None and self._items.names is not None else list(self._of_name)

    def load(self, names: Sequence[str]) -> None:
        """Takes saved names."""
        if names:
            self._of_name = {name: i for i, name in enumerate(names)}

    def _numbers(self, ids: list[Any], n_ranks: int) -> Tensor:
        if not any(isinstance(i, str) for i in ids):
            return torch.tensor(ids, dtype=None if ids else torch.long)
        if n_ranks > 1 and (self._items is None or self._items.names is None):
            raise ValueError(
                f"ids that are names need the names of all items on {n_ranks} processes: give Stabilization "
                "items=NAMES, got their number or nothing"
            )
        return torch.tensor([self._number(str(name)) for name in ids])

    def _number(self, name: str) -> int:
        if name in self._of_name:
            return self._of_name[name]
        if self._items is not None and self._items.names is not None:
            raise ValueError(f"ids must be names of the training items, got {name!r}{nearest(name, self._of_name)}")
        if self._items is not None and len(self._of_name) == self._items.n:
            raise ValueError(f"there are {self._items.n} items, and {name!r} would be one more")
        self._of_name[name] = len(self._of_name)
        return self._of_name[name]
