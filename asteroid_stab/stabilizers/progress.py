"""Where a training is: the clock, and whether an epoch is under way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from asteroid_stab.stabilizers.base import Clock
from asteroid_stab.transfer import Arriving


class Progress:
    """The clock of a training, the calls of the present epoch, and whether it has ended.

    Attributes:
        clock: time of the next step.
        n_calls: calls since the epoch began.
        open: whether an epoch has started and not ended.
        under_way: whether a saved state of an unfinished epoch was loaded, which :meth:`begin_epoch` goes on with.

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
        self._mass: Tensor | None = None
        self._mass_on_host: Arriving | None = None

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

    def count(self, step: int, mass: Tensor | None = None) -> None:
        """Counts a call that was made at ``step``, and the sum of its items' weights."""
        self.n_calls += 1
        if mass is not None:
            self._mass = mass if self._mass is None else self._mass + mass
            self._mass_on_host = Arriving(self._mass)
        self.clock = Clock(self.clock.epoch, step + 1)

    @property
    def mass(self) -> float:
        """Sum of the weights of the calls since :meth:`spend_mass`, for several calls that make one step."""
        return 0.0 if self._mass_on_host is None else self._mass_on_host.read().item()

    def spend_mass(self) -> None:
        """Starts the sum of the weights from zero: the optimizer has stepped."""
        self._mass = self._mass_on_host = None

    def state_dict(self) -> dict[str, Any]:
        """Returns the state in plain types."""
        return {"clock": tuple(self.clock), "open": self.open, "n_calls": self.n_calls}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes a saved state."""
        self.clock, self.n_calls = Clock(*state_dict["clock"]), state_dict["n_calls"]
        self.open = self.under_way = bool(state_dict["open"])
