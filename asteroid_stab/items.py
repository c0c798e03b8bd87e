"""The items of a training set as losses and stabilizers know them: how many there are, and what their ids stand for."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from asteroid_stab.errors import StabError


@dataclass(frozen=True, eq=False)
class Items:
    """Training items under ids from 0 to ``n - 1``.

    Attributes:
        n: number of items.
        names: name of each item, unique; None where items have no names.
        fingerprint: digest of what the ids stand for. State that was saved under another one is refused; an empty
            fingerprint is not compared.
        stable: whether an id is the same mixture in every epoch. Dynamic mixing is not stable.
        kind: what the items came from, for messages.
        classes: names of the classes of sources; empty where sources have no classes.
        labels: class of every source of every item, ``[N, J]``, positions in ``classes``; None without classes.
    """

    n: int
    names: Sequence[str] | None = None
    fingerprint: str = ""
    stable: bool = True
    kind: str = "the training set"
    classes: Sequence[str] = ()
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return self.n

    @classmethod
    def of(cls, source: int | Sized | Items) -> Items:
        """Returns the items of a data set, of a list of names, or of a number of items.

        Args:
            source: a number; a sequence of names; or a data set with a length. What the data set has of ``names``,
                ``fingerprint``, ``stable_ids``, ``classes`` and ``labels`` is taken over (a
                :class:`~asteroid_stab.data.dataset.MixtureDataset` has all of them).

        Raises:
            ValueError: the number is below 1, or the source has no length.

        Example:
            >>> Items.of(3).n, Items.of(["a", "b", "c"]).names
            (3, ['a', 'b', 'c'])
        """
        if isinstance(source, Items):
            return source
        if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
            if source < 1:
                raise ValueError(f"items must be at least 1, got {source}")
            return cls(int(source))
        if not isinstance(source, Sized):
            raise ValueError(f"items must be a number, names or a data set with a length, got {type(source).__name__}")
        data: Any = source
        if isinstance(source, Sequence) and all(isinstance(name, str) for name in source):
            return cls(len(source), list(source))
        return cls(
            len(source),
            getattr(data, "names", None),
            getattr(data, "fingerprint", ""),
            getattr(data, "stable_ids", True),
            type(source).__name__,
            getattr(data, "classes", ()),
            getattr(data, "labels", None),
        )

    def require_stable(self, who: str, without: str) -> None:
        """Checks that an id is the same mixture in every epoch.

        Args:
            who: the part that needs stable ids, for the message.
            without: the override that trains without that part, for the message.

        Raises:
            StabError: the items are mixed afresh in every epoch.
        """
        if not self.stable:
            raise StabError(
                f"{who} needs stable ids, but {self.kind} mixes afresh in every epoch (dynamic mixing); "
                f"train on fixed mixtures, or without it ({without})"
            )

    def check_same(self, fingerprint: str) -> None:
        """Checks that these are the items that saved state belongs to.

        Args:
            fingerprint: the one that was saved; an empty one is not compared.

        Raises:
            StabError: the fingerprints differ.
        """
        if fingerprint and self.fingerprint and fingerprint != self.fingerprint:
            raise StabError(
                f"the run was trained on items with fingerprint {fingerprint}, these {self.n} have "
                f"{self.fingerprint}: a run goes on with the data that it began with; begin another one "
                "(init.path=RUN takes its weights)"
            )
