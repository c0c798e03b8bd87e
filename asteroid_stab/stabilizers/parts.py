"""The stabilizers and observers of one training as a list: checked, named, ended and saved together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asteroid_stab.errors import StabError
from asteroid_stab.losses import AssignmentLossWrapper
from asteroid_stab.stabilizers.base import StepObserver
from asteroid_stab.stabilizers.comm import Comm


def checked_parts(parts: Any) -> list[StepObserver]:
    """Returns ``parts`` as a list.

    Raises:
        ValueError: they are no list, or one is no stabilizer or observer, or there twice.
    """
    if isinstance(parts, StepObserver) or not isinstance(parts, Iterable):
        raise ValueError(f"stabilizers must be a list, got {type(parts).__name__}: put it in brackets, [...]")
    parts = list(parts)
    for i, part in enumerate(parts):
        if isinstance(part, type):
            raise ValueError(f"stabilizers must be objects, got the class {part.__name__}: write {part.__name__}()")
        if not isinstance(part, StepObserver):
            raise ValueError(f"stabilizers must be Stabilizers or StepObservers, got {type(part).__name__}")
        if any(part is other for other in parts[:i]):
            raise ValueError(f"a stabilizer must be in the list once, got the same {type(part).__name__} twice")
    return parts


def named(parts: Sequence[StepObserver]) -> dict[str, StepObserver]:
    """Returns the parts by the names of their classes; a second one of a class is ``Name2``."""
    names: dict[str, StepObserver] = {}
    for part in parts:
        name, n_same = type(part).__name__, sum(type(other) is type(part) for other in names.values())
        names[name if n_same == 0 else f"{name}{n_same + 1}"] = part
    return names


def end_epoch(
    loss: AssignmentLossWrapper, parts: Sequence[StepObserver], figures: Mapping[str, float], comm: Comm
) -> dict[str, float]:
    """Ends an epoch of loss and parts; returns ``figures`` with theirs, a second one of a name as ``NAME_2``."""
    if comm.n_ranks > 1:
        loss.merge(comm.reduce_max, comm.rank)
    ended = dict(figures)
    for part in parts:
        for name, value in part.end_epoch(comm).items():
            free, n = name, 2
            while free in ended:
                free, n = f"{name}_{n}", n + 1
            ended[free] = value
    return ended


def check_saved(parts: Sequence[StepObserver], saved: Iterable[str]) -> None:
    """Checks that a state is of these parts.

    Args:
        parts: the parts.
        saved: names in the state, see :func:`named`.

    Raises:
        StabError: it is of others.
    """
    if [*saved] != [*named(parts)]:
        raise StabError(f"the state was saved with stabilizers {[*saved]}, these are {[*named(parts)]}")


def load_loss(loss: AssignmentLossWrapper, state: Mapping[str, Any]) -> None:
    """Loads the state of a loss.

    Raises:
        StabError: it is of a loss with other parameters.
    """
    try:
        loss.load_state_dict(state)
    except RuntimeError as error:  # torch: names or shapes of the parameters differ
        raise StabError(f"the state of {type(loss).__name__} does not fit: {error}") from error
