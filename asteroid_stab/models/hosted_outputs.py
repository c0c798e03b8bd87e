"""Estimates in what a hosted net gives: its layouts, and the error where it gives something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from asteroid.utils.torch_utils import pad_x_to_y
from torch import Tensor

from asteroid_stab.errors import StabError, nearest, some
from asteroid_stab.models.targets import PARTIAL, TARGET, build_target, plain_values

OUTPUTS = {
    "sources_time": "[B, J, T]",
    "time_sources": "[B, T, J]",
    "list": "a list of J times [B, T]",
    "time": "[B, T]",
}
"""Layouts of what a net may give, by name; ``time`` is of one source."""


class EstimateReader:
    """Reads the estimates ``[B, J, T]`` in the output of a net.

    Args:
        giver: name of the net, for messages.
        outputs: a key of :data:`OUTPUTS`; or ``{_target_: function, _partial_: true}``, which maps the net's output to
            ``[B, J, T]``.
        key: where the output is a dict or a tuple: the key or the position of the estimates in it.
        n_src: J.
        keep: positions of the sources among the estimates; None: there are no others.

    Raises:
        StabError: an argument is out of its range.
    """

    def __init__(
        self,
        giver: str,
        outputs: str | Mapping[str, Any],
        key: str | int | None,
        n_src: int,
        keep: Sequence[int] | None,
    ):
        self.giver, self.key, self.n_src, self.keep = giver, key, n_src, None if keep is None else [*keep]
        self.outputs: Any = plain_values(outputs, "outputs")
        if isinstance(n_src, bool) or not isinstance(n_src, int) or n_src < 1:
            raise StabError(f"n_src must be a whole number of at least 1, got {n_src!r}")
        if isinstance(self.outputs, dict):
            if TARGET not in self.outputs or self.outputs.get(PARTIAL) is not True:
                wanted = f"{{{TARGET}: NAME, {PARTIAL}: true}}"
                raise StabError(f"outputs must name a function as {wanted}, got {self.outputs}")
        else:
            check_choice("outputs", self.outputs, OUTPUTS)
        if isinstance(key, bool) or not isinstance(key, (str, int, type(None))):
            raise StabError(f"output_key must be a key, a position or None, got {key!r}")
        if self.keep is not None and (len({*self.keep}) != n_src or not all(_is_position(i) for i in self.keep)):
            raise StabError(f"keep must be {n_src} different positions from 0, got {self.keep}")
        self._arrange: Callable[[Any], Any] | None = None

    def build(self, source: str) -> None:
        """Builds the function of ``outputs``, whose name must have been checked."""
        if isinstance(self.outputs, dict):
            self._arrange = build_target(self.outputs, source)

    def read(self, output: Any, mixture: Tensor) -> Tensor:
        """Returns the estimates in the net's output for mixtures ``[B, T]``, as long as these.

        Raises:
            StabError: there are none of this shape.
        """
        wanted = {"B": mixture.shape[0], "J": self.n_src, "T": mixture.shape[-1]}
        found, letters, giver = self._picked(output), OUTPUTS["sources_time"], self.giver
        if self._arrange is None:
            letters, est = OUTPUTS[self.outputs], _READ[self.outputs](found)
        else:
            giver, est = self.outputs[TARGET], self._arrange(found)
            found = est
        if not self._is_whole(est, wanted):
            sizes = ", ".join(f"{letter}={size}" for letter, size in wanted.items())
            raise StabError(f"{giver} must give {letters} with {sizes}, got {shown(found)}{_hint(wanted, found)}")
        return pad_x_to_y(est if self.keep is None else est[:, self.keep], mixture)

    def _is_whole(self, est: Any, wanted: Mapping[str, int]) -> bool:
        if not isinstance(est, Tensor) or not est.is_floating_point() or est.ndim != 3:
            return False
        batch, n_outputs, length = est.shape
        fits = n_outputs == self.n_src if self.keep is None else n_outputs > max(self.keep)
        return fits and batch == wanted["B"] and abs(length - wanted["T"]) <= tolerated(wanted["T"])

    def _picked(self, output: Any) -> Any:
        if self.key is None:
            return output
        by_name = isinstance(self.key, str)
        parts = output if isinstance(output, Mapping if by_name else (list, tuple)) else ()
        try:
            return parts[self.key]  # type: ignore[index]
        except (LookupError, TypeError):
            wanted = f"a dict with the key {self.key!r}" if by_name else f"a tuple with a position {self.key}"
            raise StabError(f"{self.giver} must give {wanted} (output_key), got {shown(output)}") from None


def check_choice(name: str, value: Any, known: Mapping[str, str]) -> None:
    """Checks that an argument is one of the known words.

    Raises:
        StabError: it is not; the message lists them.
    """
    if not isinstance(value, str) or value not in known:
        listed = ", ".join(f"{key} ({meaning})" for key, meaning in known.items())
        raise StabError(f"{name} must be one of {listed}, got {value!r}{nearest(str(value), known)}")


def _is_position(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _stacked(parts: Any) -> Tensor | None:
    """[B, J, T] of J estimates [B, T]."""
    if not isinstance(parts, (list, tuple)) or not parts or not all(isinstance(part, Tensor) for part in parts):
        return None
    same = all(part.ndim == 2 and part.shape == parts[0].shape for part in parts)
    return torch.stack([*parts], 1) if same else None


_READ: dict[str, Callable[[Any], Any]] = {
    "sources_time": lambda found: found,
    "time_sources": lambda found: found.mT if isinstance(found, Tensor) and found.ndim == 3 else None,
    "list": _stacked,
    "time": lambda found: found.unsqueeze(1) if isinstance(found, Tensor) and found.ndim == 2 else None,
}


def _hint(wanted: Mapping[str, int], found: Any) -> str:
    """Names the argument that reads such an output, if there is one."""
    helps = ""
    if isinstance(found, Mapping):
        helps = f"output_key={next(iter(found), 'KEY')} takes one of its values"
    elif isinstance(found, (list, tuple)):
        helps = "outputs=list stacks estimates [B, T], output_key=0 takes the first part"
    elif isinstance(found, Tensor) and found.ndim == 3 and [*found.shape[::2]] == [wanted["B"], wanted["J"]]:
        helps = "outputs=time_sources reads [B, T, J]"
    elif isinstance(found, Tensor) and wanted["J"] == 1 and [*found.shape] == [wanted["B"], wanted["T"]]:
        helps = "outputs=time reads [B, T]"
    return f" (model=hosted: {helps})" if helps else ""


def tolerated(n_samples: int) -> int:
    """Returns by how many samples estimates may differ from a mixture of ``n_samples``: a hop of usual encoders.

    Example:
        >>> tolerated(800), tolerated(32_000)
        (100, 1024)
    """
    return min(1024, n_samples // 8)


def shown(value: Any) -> str:
    """Returns what a net gave, in words.

    Example:
        >>> shown(torch.zeros(2, 3)), shown({"est": torch.zeros(2, 3)}), shown([torch.zeros(2), None])
        ('[2, 3]', "a dict of 'est' [2, 3]", 'a list of [2], NoneType')
    """
    if isinstance(value, Tensor):
        return f"{list(value.shape)}{'' if value.is_floating_point() else f' of {value.dtype}'}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} of {some([f'{key!r} {shown(one)}' for key, one in value.items()])}"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {some([shown(one) for one in value])}"
    return type(value).__name__
