"""The plan of a run: the argument of ``check(plan)``, which each part answers before a file is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from asteroid_stab.items import Items


@dataclass(frozen=True, eq=False)
class RunPlan:
    """Parts of a run, built and not yet started.

    System, loss, pretext task, stabilizers and callbacks each have ``check(plan)``; it raises ``StabError`` where the
    part cannot do its work in this run, with the override that would help.

    Attributes:
        n_src: sources in a training mixture.
        items: the training items.
        train_set: the training set itself.
        model: the model that is trained, with its head.
        loss: the assignment loss.
        system: the LightningModule.
        callbacks: Lightning callbacks, stabilizers included, in their order.
        max_epochs: of the trainer; None or -1: no end.
        check_val_every_n_epoch: of the trainer.
        validates: whether there is a validation set, and the trainer looks at it.
        resumed: whether a checkpoint will bring weights and state.
    """

    n_src: int
    items: Items = field(default_factory=lambda: Items(1))
    train_set: Any = None
    model: Any = None
    loss: Any = None
    system: Any = None
    callbacks: Sequence[Any] = ()
    max_epochs: int | None = None
    check_val_every_n_epoch: int | None = 1
    validates: bool = True
    resumed: bool = False

    @classmethod
    def of(cls, trainer: Any, system: Any, train_set: Any, resumed: bool) -> RunPlan:
        """Returns the plan of a Lightning trainer.

        Args:
            trainer: with its callbacks.
            system: the LightningModule, with ``model`` and ``loss_func``.
            train_set: the training set, with ``n_src``.
            resumed: whether a checkpoint will bring weights and state.
        """
        return cls(
            n_src=train_set.n_src,
            items=Items.of(train_set),
            train_set=train_set,
            model=system.model,
            loss=system.loss_func,
            system=system,
            callbacks=trainer.callbacks,
            max_epochs=trainer.max_epochs,
            check_val_every_n_epoch=trainer.check_val_every_n_epoch,
            validates=trainer.limit_val_batches != 0,
            resumed=resumed,
        )

    def ask(self) -> None:
        """Asks system and callbacks whether they can do their work; the system asks its loss.

        Raises:
            StabError: one cannot.
        """
        for part in (self.system, *self.callbacks):
            check = getattr(part, "check", None)  # a callback of Lightning's own has no question to answer
            if check is not None:
                check(self)

    def notes(self) -> list[str]:
        """Returns a line for each part that is switched on and changes nothing in this run, as the part declares."""
        found = []
        for part in (*_with_parts(self.loss), *self.callbacks):
            neutral = getattr(part, "neutral", None)
            why = None if neutral is None else neutral(self)
            if why is not None:
                found.append(f"{type(part).__name__} changes nothing in this run: {why}")
        return found


def _with_parts(loss: Any) -> Iterator[Any]:
    """A loss, and the losses that it is made of; nothing of what is no assignment loss."""
    if hasattr(loss, "parts"):
        yield loss
        for part in loss.parts():
            yield from _with_parts(part)
