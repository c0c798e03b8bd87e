"""Values that change from epoch to epoch, or from step to step."""

from __future__ import annotations

import math


class ExponentialSchedule:
    """``min(base^e + offset, most)`` in epoch e, counted from 0.

    A function of the epoch alone: there is no state to save, and a resumed run continues with the right value.

    Args:
        base: factor from epoch to epoch, above 0.
        offset: added to the power.
        most: upper limit.

    Raises:
        ValueError: ``base`` is not above 0, or a value is below 0.

    Example:
        >>> beta = ExponentialSchedule(base=1.02, most=10.0)
        >>> [round(beta(epoch), 3) for epoch in (0, 1, 116, 117)]
        [1.0, 1.02, 9.945, 10.0]
        >>> regularization_weight = ExponentialSchedule(base=1.05, offset=-1.0, most=50.0)
        >>> [round(regularization_weight(epoch), 3) for epoch in (0, 1, 80, 81)]
        [0.0, 0.05, 48.561, 50.0]

    References:
        beta: Tachibana, "Towards listening to 10 people simultaneously", 2021, as Asteroid has it. Regularisation
        weight: Kameoka et al., "AttentionPIT", section 2.2.
    """

    def __init__(self, base: float, offset: float = 0.0, most: float = math.inf):
        if not base > 0:
            raise ValueError(f"base must be above 0, got {base}")
        self.base, self.offset, self.most = base, offset, most
        end = min(offset, most) if base < 1 else self(0)  # below 1 it falls towards the offset, else it never falls
        if min(self(0), end) < 0:
            raise ValueError(f"no value may be below 0, got {self(0)} in epoch 0 and {end} in the end")

    def __call__(self, epoch: int) -> float:
        """Returns the value in ``epoch``."""
        exponent = epoch * math.log(self.base)
        return min(math.exp(min(exponent, 700.0)) + self.offset, self.most)  # exp(710) overflows


class RisingSchedule:
    """``-least * max(0, 1 - k / until)``: rises from ``-least`` at k = 0 to 0 at ``until``, and stays 0.

    The default of the curriculum of :class:`~asteroid_stab.stabilizers.Reweighting`. We do not know the paper's
    schedule; this one is our reading. A function of k alone, as above.

    Args:
        least: size of the value at k = 0, at least 0.
        until: k (an epoch or a step, counted from 0) from which the value is 0, at least 1.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> beta = RisingSchedule(least=0.2, until=10)
        >>> [round(beta(k), 2) for k in (0, 5, 10, 11)]
        [-0.2, -0.1, 0.0, 0.0]
    """

    def __init__(self, least: float, until: int):
        if not 0 <= least < math.inf:
            raise ValueError(f"least must be a number of at least 0, got {least}")
        if not until >= 1:
            raise ValueError(f"until must be at least 1, got {until}")
        self.least, self.until = least, until

    def __call__(self, k: int) -> float:
        """Returns the value at epoch or step ``k``."""
        return 0.0 if k >= self.until else -self.least * (1 - k / self.until)


class SteppedSchedule:
    """``value * factor^n`` in an epoch, counted from 0; n is the number of steps so far, the first in ``first_epoch``.

    From ``end_epoch`` on it is 0. A function of the epoch alone, as above. ``factor=1``, the default, is a constant.

    Args:
        value: at the start, at least 0.
        factor: of each step, from 0 to 1.
        first_epoch: epoch of the first step, at least 0.
        every_epochs: epochs from step to step, at least 1.
        end_epoch: epoch from which the value is 0, at least 0; None: never.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> weight = SteppedSchedule(value=0.4, factor=0.5, first_epoch=3, every_epochs=2)
        >>> [weight(epoch) for epoch in range(7)]
        [0.4, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1]
        >>> temperature = SteppedSchedule(value=10.0, factor=0.5, first_epoch=1, end_epoch=3)
        >>> [temperature(epoch) for epoch in range(5)]
        [10.0, 5.0, 2.5, 0.0, 0.0]

    References:
        Shin et al., "Separate and reconstruct", NeurIPS 2024, arXiv 2406.05983: the weight of early losses in its
        public code is 0.4, and 0.8 times as much every five epochs after 100. Perera et al., "Annealed multiple choice
        learning", NeurIPS 2024, arXiv 2407.15580: the temperature in its public code is 0.9 times as much from epoch
        to epoch, and 0 in the end.
    """

    def __init__(
        self,
        value: float,
        factor: float = 1.0,
        first_epoch: int = 0,
        every_epochs: int = 1,
        end_epoch: int | None = None,
    ):
        if not 0 <= value < math.inf:
            raise ValueError(f"value must be a number of at least 0, got {value}")
        if not 0 <= factor <= 1:
            raise ValueError(f"factor must be from 0 to 1, got {factor}")
        if not first_epoch >= 0 or not every_epochs >= 1:
            raise ValueError(
                f"first_epoch must be at least 0 and every_epochs at least 1, got {first_epoch} and {every_epochs}"
            )
        if end_epoch is not None and not end_epoch >= 0:
            raise ValueError(f"end_epoch must be at least 0, got {end_epoch}")
        self.end_epoch = end_epoch
        self.value, self.factor, self.first_epoch, self.every_epochs = value, factor, first_epoch, every_epochs

    def __call__(self, epoch: int) -> float:
        """Returns the value in ``epoch``."""
        if self.end_epoch is not None and epoch >= self.end_epoch:
            return 0.0
        n = 0 if epoch < self.first_epoch else 1 + (epoch - self.first_epoch) // self.every_epochs
        return self.value * self.factor**n
