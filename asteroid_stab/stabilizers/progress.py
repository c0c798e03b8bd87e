"""Where a training is: the clock, and whether an epoch is under way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from asteroid_stab.stabilizers.base import Clock


class Progress:
    """The clock of a training, the calls of the present epoch, and whether it has ended.

    Attributes:
        clock: time of the next step.
        n_calls: calls since the epoch began.
        open: whether an epoch has started and not ended.
        under_way: whether a saved state of an unfinished epoch was loaded, which :meth:`begin_epoch` goes on with.
        mass: sum of the weights of the calls since somebody set it to 0, for several calls that make one step.

    Example:
        >>> progress = Progress()
        >>> progress.begin_epoch(0)
        False
        >>> progress.count(step=0)
        >>> saved = progress.state_dict()
        >>> progress = Progress()
        >>> progress.load_state_dict(saved)
        >>> progress.begin_epoch(0)
        True
    """

    def __init__(self) -> None:
        self.clock, self.n_calls, self.open, self.under_way = Clock(0, 0), 0, False, False
        self.mass: Tensor | float = 0.0

    def begin_epoch(self, epoch: int, step: int | None = None) -> bool:
        """Starts an epoch, or goes on with one; returns whether it goes on.

        Args:
            epoch: counted from 0.
            step: optimizer steps done so far; None: as many as there were calls.

        Raises:
            ValueError: ``epoch`` is no number from 0, or an epoch with steps has not ended.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
            raise ValueError(f"epoch must be a whole number from 0, got {epoch!r}")
        if self.open and self.n_calls and not self.under_way:
            raise ValueError(f"epoch {self.clock.epoch} has not ended after its {self.n_calls} steps: call end_epoch()")
        goes_on = self.under_way and epoch == self.clock.epoch
        self.clock = Clock(epoch, self.clock.step if step is None else step)
        self.open, self.under_way = True, False
        self.n_calls = self.n_calls if goes_on else 0
        return goes_on

    @property
    def due(self) -> int | None:
        """Epoch that is to begin before the next call, where a loop leaves epochs to be counted here; None: none is."""
        if self.open and not self.under_way:
            return None
        return self.clock.epoch + (bool(self.n_calls) and not self.open)

    def give_up(self) -> None:
        """Gives up an epoch that was left without an end; one that was loaded stays."""
        self.open = self.under_way

    def check_open(self, what: str) -> None:
        """Checks that an epoch has started and not ended.

        Raises:
            ValueError: none has.
        """
        if not self.open:
            raise ValueError(f"{what} must come between begin_epoch() and end_epoch()")

    def count(self, step: int, mass: Tensor | float = 1.0) -> None:
        """Counts a call that was made at ``step``, and the sum of its items' weights."""
        self.n_calls += 1
        self.mass = self.mass + mass
        self.clock = Clock(self.clock.epoch, step + 1)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state in plain types."""
        return {"clock": tuple(self.clock), "open": self.open, "n_calls": self.n_calls}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes a saved state."""
        self.clock, self.n_calls = Clock(*state_dict["clock"]), state_dict["n_calls"]
        self.open = self.under_way = bool(state_dict["open"])
