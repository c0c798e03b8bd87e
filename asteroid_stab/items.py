"""The items of a training set as losses and stabilizers know them: how many there are, and what their ids stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, Subset

from asteroid_stab.errors import StabError
from asteroid_stab.item_names import ItemNames

_MIXED = "mixes afresh in every epoch (dynamic mixing); train on fixed mixtures"
_STREAMED = (
    "is an iterable data set, whose items have no number of their own; train on one that is indexed (with_ids numbers "
    "its items), or say what its ids stand for (items=NAMES)"
)


@dataclass(frozen=True, eq=False)
class Items:
    """Training items under ids from 0 to ``n - 1``.

    Attributes:
        n: number of items; 0 where it is not known, which is for items without stable ids alone.
        names: name of each item, unique; None where items have no names.
        fingerprint: digest of what the ids stand for. State that was saved under another one is refused; an empty
            fingerprint is not compared.
        stable: whether an id is the same mixture in every epoch. Dynamic mixing is not stable.
        kind: what the items came from, for messages.
        unstable: why ids are not stable where they are not, and what to do, for messages.
        classes: names of the classes of sources; empty where sources have no classes.
        labels: class of every source of every item, ``[N, J]``, positions in ``classes``; None without classes.
    """

    n: int
    names: Sequence[str] | None = None
    fingerprint: str = ""
    stable: bool = True
    kind: str = "the training set"
    unstable: str = _MIXED
    classes: Sequence[str] = ()
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.n < 1 and self.stable:
            raise ValueError(f"items must be at least 1, got {self.n}")
        if self.names is not None and len(self.names) != self.n:
            raise ValueError(f"items must have a name each, got {len(self.names)} names for {self.n} items")

    def __len__(self) -> int:
        return self.n

    @classmethod
    def of(cls, source: int | Sized | Iterable[Any] | Items) -> Items:
        """Returns the items of a data set, of names, or of a number of items.

        Args:
            source: a number; a list, tuple or array of names; or a data set with a length. What the data set has of
                ``names``, ``fingerprint``, ``stable_ids``, ``classes`` and ``labels`` is taken over (a
                :class:`~asteroid_stab.data.dataset.MixtureDataset` has all of them). Of a
                ``torch.utils.data.Subset``, the items are all items of the data set that it is a part of, since its
                items keep their ids. The items of an iterable data set have no stable ids, unless it says that they
                have (``stable_ids``, and a length).

            Names are their own fingerprint: state is refused for other names, or the same in another order.

        Raises:
            ValueError: there is no item; a name is there twice; or the source is no data set: it has no length, or is
                a loader, whose length counts batches.

        Example:
            >>> Items.of(3).n, list(Items.of(["a", "b", "c"]).names)
            (3, ['a', 'b', 'c'])
        """
        if isinstance(source, Items):
            return source
        if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
            return cls(int(source))
        if _streams(source):
            return cls(0, stable=False, kind=type(source).__name__, unstable=_STREAMED)
        if isinstance(source, (str, bytes)) or not isinstance(source, Sized):
            raise ValueError(f"items must be a number, names or a data set with a length, got {type(source).__name__}")
        if isinstance(source, DataLoader):
            raise ValueError("items must be the data set, not its loader, whose length counts batches: loader.dataset")
        if isinstance(source, Subset) and isinstance(source.dataset, Sized):
            return cls.of(source.dataset)
        data: Any = source
        if isinstance(source, ItemNames) or _are_names(source):
            names = ItemNames.of(data)
            if (again := names.repeated()) is not None:
                raise ValueError(f"items must have names of their own, got {again!r} twice")
            return cls(len(names), names, names.digest())
        return cls(
            len(source),
            getattr(data, "names", None),
            getattr(data, "fingerprint", ""),
            getattr(data, "stable_ids", True),
            getattr(data, "kind", type(source).__name__),
            classes=getattr(data, "classes", ()),
            labels=getattr(data, "labels", None),
        )

    def require_stable(self, who: str, without: str) -> None:
        """Checks that an id is the same mixture in every epoch.

        Args:
            who: the part that needs stable ids, for the message.
            without: the override that trains without that part, for the message.

        Raises:
            StabError: an id stands for another mixture each time, or the items are streamed.
        """
        if not self.stable:
            raise StabError(f"{who} needs stable ids, but {self.kind} {self.unstable}, or without it ({without})")

    def check_same(self, fingerprint: str, n: int | None = None) -> None:
        """Checks that these are the items that remembered or saved state belongs to.

        Args:
            fingerprint: of the state's items; an empty one is not compared.
            n: number of the state's items; None is not compared.

        Raises:
            StabError: the fingerprints or the numbers differ.
        """
        if fingerprint and self.fingerprint and fingerprint != self.fingerprint:
            raise StabError(
                f"the run was trained on items with fingerprint {fingerprint}, these {self.n} have "
                f"{self.fingerprint}: a run goes on with the data that it began with; begin another one "
                "(init.path=RUN takes its weights)"
            )
        if n is not None and n != self.n:
            raise StabError(
                f"the run was trained on {n} items, these are {self.n}: a run goes on with the data that it began "
                "with; begin another one (init.path=RUN takes its weights)"
            )


def _streams(source: Any) -> bool:
    """Whether a data set is iterated over, not indexed, and does not say that its ids are stable."""
    if isinstance(source, IterableDataset):
        return not (getattr(source, "stable_ids", False) and isinstance(source, Sized))
    return isinstance(source, Iterable) and not isinstance(source, (Sized, Iterator))


def _are_names(source: Any) -> bool:
    return isinstance(source, (Sequence, np.ndarray)) and len(source) > 0 and all(isinstance(n, str) for n in source)
