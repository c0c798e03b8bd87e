"""The ids of a batch's items, as numbers that tables are indexed by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.errors import nearest
from asteroid_stab.item_names import ItemNames
from asteroid_stab.items import Items
from asteroid_stab.stabilizers.checks import LateChecks
from asteroid_stab.transfer import readable, send

_MOST_COMPARED = 10_000  # names that a wrong one is compared with, which takes a millisecond for each hundred
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class ItemIds:
    """Turns ids, numbers or names, into int64 tensors ``[B]``, and checks them.

    Names are looked up among the items' names. Where items have a number only, each new name takes the next id.

    Args:
        checks: takes the checks of values.
    """

    def __init__(self, checks: LateChecks) -> None:
        self._checks = checks
        self._items: Items | None = None
        self._of_name: dict[str, int] = {}  # of names that come one by one
        self._names: ItemNames | None = None  # of the items
        self._numbers_came = False
        self._n_src: int | None = None

    def bind(self, items: Items) -> None:
        """Takes the items that ids stand for."""
        self._items = items
        self._names = None  # packed when the first name comes
        if items.names is not None:
            self._of_name = {}

    def of(self, ids: Any, targets: Tensor, remembering: Sequence[str] = (), n_ranks: int = 1) -> Tensor | None:
        """Returns the ids ``[B]`` of a batch as int64 on its device; None where there are none.

        Where nothing remembers items, ids are not checked: integers are passed on, anything else is ignored.

        Args:
            ids: a tensor or array of integers, or a sequence of integers or names.
            targets: [B, J, T] sources of the batch.
            remembering: class names of the parts that remember items.
            n_ranks: processes of the training. With several, names must be the items' own, or each process would
                number them differently.

        Raises:
            ValueError: something remembers items, and there are not B ids; they are neither integers nor names; a
                name is no item's; an id is out of range or twice in the batch (on a GPU reported at the end of the
                epoch); or J has changed.
        """
        n_items, n_src = targets.shape[:2]
        if not remembering:
            return self._unchecked(ids, n_items)
        if ids is None:
            hint = ", or make it with count_switches=False" if [*remembering] == ["SwitchCounter"] else ""
            raise ValueError(f"{remembering[0]} goes by items: call the stabilization with ids=, got None{hint}")
        if self._n_src not in (None, n_src):
            raise ValueError(f"{remembering[0]} remembers assignments of {self._n_src} sources, got {n_src} in a batch")
        self._n_src = n_src
        return send(self._checked(ids, n_items, n_ranks), targets.device)

    def _checked(self, ids: Any, n_items: int, n_ranks: int) -> Tensor:
        numbers = self._as_tensor(ids, n_items, n_ranks)
        self._numbers_came |= isinstance(ids, Tensor)
        if numbers.shape != (n_items,) or numbers.dtype not in _INTEGERS:
            raise ValueError(_message(n_items, f"{numbers.dtype} of shape {list(numbers.shape)}"))
        numbers, on_host = numbers.to(torch.long), readable(numbers)
        n = None if self._items is None else self._items.n
        if n is not None:
            wrong = (numbers < 0) | (numbers >= n)
            got = f", got {int(numbers[wrong][0])}" if on_host and wrong.any() else ""
            self._checks.refuse(wrong, f"ids must be from 0 to {n} - 1, the number of items less one{got}")
        ordered = numbers.sort().values
        again = ordered[1:] == ordered[:-1]
        got = f", got id {int(ordered[1:][again][0])} twice" if on_host and again.any() else ""
        self._checks.refuse(again, f"an item may be in a batch once where something remembers items{got}")
        # On a GPU a wrong id must not end the process before it is reported.
        return numbers if n is None or on_host else numbers.clamp(0, n - 1)

    def state(self) -> list[str]:
        """Returns the names that were given ids one by one, in the order of the ids."""
        return [] if self._items is not None and self._items.names is not None else list(self._of_name)

    def load(self, names: Sequence[str]) -> None:
        """Takes saved names."""
        if names:
            self._of_name = {name: i for i, name in enumerate(names)}

    @staticmethod
    def _unchecked(ids: Any, n_items: int) -> Tensor | None:
        if isinstance(ids, Sequence) and all(type(i) is int for i in ids):
            ids = torch.tensor(ids, dtype=torch.long)
        fits = isinstance(ids, Tensor) and ids.shape == (n_items,) and ids.dtype in _INTEGERS
        return ids if fits else None

    def _as_tensor(self, ids: Any, n_items: int, n_ranks: int) -> Tensor:
        if isinstance(ids, Tensor):
            self._refuse_change(bool(self._of_name), "names came before, now numbers")
            return ids
        if isinstance(ids, (str, bytes)) or not hasattr(ids, "__iter__"):
            raise ValueError(_message(n_items, repr(ids)))
        ids = [getattr(i, "item", lambda i=i: i)() for i in ids]  # numbers of NumPy and scalar tensors
        if ids and all(isinstance(i, str) for i in ids):
            if n_ranks > 1 and (self._items is None or self._items.names is None):
                raise ValueError(
                    f"ids that are names need the names of all items on {n_ranks} processes: give Stabilization "
                    "items=NAMES, got their number or nothing"
                )
            self._refuse_change(self._numbers_came, "numbers came before, now names")
            return torch.tensor([self._number(name) for name in ids])
        if wrong := [i for i in ids if isinstance(i, bool) or not isinstance(i, int)]:
            both = " and other things mixed" if isinstance(wrong[0], str) else ""
            raise ValueError(_message(n_items, f"{wrong[0]!r} ({type(wrong[0]).__name__}){both}"))
        self._numbers_came = True
        self._refuse_change(bool(self._of_name), "names came before, now numbers")
        return torch.tensor(ids, dtype=torch.long)

    def _refuse_change(self, other_came: bool, got: str) -> None:
        known = self._items is not None and self._items.names is not None  # their numbers and names agree
        if other_came and not known:
            raise ValueError(f"ids must be names in every step or numbers in every step: {got}")

    def _number(self, name: str) -> int:
        if self._items is not None and self._items.names is not None:
            if self._names is None:
                self._names = ItemNames.of(self._items.names)
            if (number := self._names.find(name)) is not None:
                return number
            hint = nearest(name, self._names) if len(self._names) <= _MOST_COMPARED else ""
            raise ValueError(f"ids must be names of the training items, got {name!r}{hint}")
        if name in self._of_name:
            return self._of_name[name]
        if self._items is not None and len(self._of_name) == self._items.n:
            raise ValueError(f"there are {self._items.n} items, and {name!r} would be one more")
        self._of_name[name] = len(self._of_name)
        return self._of_name[name]


def _message(n_items: int, got: str) -> str:
    return f"ids must be {n_items} integers or names, one for each item of the batch, got {got}"
