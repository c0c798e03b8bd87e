"""What a run is about to do: the argument of ``check(plan)``, which each part answers before a file is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asteroid_stab.items import Items


@dataclass(frozen=True, eq=False)
class RunPlan:
    """The parts of a run, built and not yet started.

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
    resumed: bool = False
