"""How many of a model's estimates are active: by their energy beside the mixture's."""

from __future__ import annotations

import math

from torch import Tensor

ACTIVE_DB = -20.0
"""Level of an estimate relative to the mixture above which it counts as a source; our choice."""


def check_active_db(active_db: float) -> float:
    """Returns ``active_db``, a level below the mixture's, in dB.

    Raises:
        ValueError: it is no number below 0.
    """
    if isinstance(active_db, bool) or not (math.isfinite(active_db) and active_db < 0):
        raise ValueError(f"active_db must be a number below 0, got {active_db!r}")
    return float(active_db)


def active_estimates(estimates: Tensor, mixture: Tensor, active_db: float = ACTIVE_DB) -> Tensor:
    """Returns which estimates are active: their energy is above ``active_db`` relative to their mixture's.

    Args:
        estimates: estimates of a model of J outputs.
        mixture: mixtures.
        active_db: level in dB relative to the mixture, below 0.

    Shapes:
        estimates: [..., J, T]; mixture: [..., T]; returns: [..., J], booleans.

    Example:
        >>> import torch
        >>> mixture = torch.ones(8)
        >>> active_estimates(torch.stack([0.9 * mixture, 0.5 * mixture, 0.05 * mixture]), mixture)
        tensor([ True,  True, False])
    """
    energy, whole = (signal.float().square().sum(-1) for signal in (estimates, mixture))
    return active_energies(energy, whole, active_db)


def active_energies(energy: Tensor, whole: Tensor, active_db: float = ACTIVE_DB) -> Tensor:
    """Returns which estimates are active, by sums of squares; beside a silent mixture none is.

    Args:
        energy: energies of the estimates.
        whole: energies of their mixtures.
        active_db: level in dB relative to the mixture, below 0.

    Shapes:
        energy: [..., J]; whole: [...]; returns: [..., J], booleans.
    """
    return (energy > 10 ** (active_db / 10) * whole.unsqueeze(-1)) & (whole > 0).unsqueeze(-1)


def active_sources(sources: Tensor) -> Tensor:
    """Returns which sources [..., J] of signals [..., J, T] are not silent throughout."""
    return (sources != 0).any(-1)
