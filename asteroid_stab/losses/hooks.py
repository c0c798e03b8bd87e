"""Questions and calls of a training to a loss, beside its value: checks, items, epochs, layers and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor
from torch.nn import Parameter

from asteroid_stab.items import Items
from asteroid_stab.losses.assignment import Assignment
from asteroid_stab.run.plan import RunPlan


class LossHooks:
    """Questions and calls of a training to a loss; each one asks every part of a loss that is made of others.

    A loss overrides the hooks that it needs. One that remembers items (:attr:`remembers_items`) gets them by
    :meth:`bind`, takes each step's assignment in :meth:`remember`, unites what several processes know in
    :meth:`merge`, and clears it in :meth:`forget`; its memory belongs in the state (``get_extra_state``). ``assign``
    itself changes nothing, so that it can be called as often as wanted.
    """

    parameters: Callable[[], Iterator[Parameter]]  # of the module that this is a base of

    def parts(self) -> Sequence[LossHooks]:
        """Returns the losses that this one is made of, whose ``assign`` it calls; by default none."""
        return ()

    def check(self, plan: RunPlan) -> None:
        """Checks, before any file is written, that the loss can be used in a run.

        Args:
            plan: the run.

        Raises:
            StabError: it cannot.
        """
        for part in self.parts():
            part.check(plan)

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns why this loss is plain PIT in a run; None where it is not, or is meant to be."""
        return None

    @property
    def remembers_items(self) -> bool:
        """Whether the loss goes by the ids of the items, which must then be stable; :meth:`bind` is called if so."""
        return any(part.remembers_items for part in self.parts())

    @property
    def judges_silence(self) -> bool:
        """Whether the estimate of a silent target has a loss, so that it learns to be silent."""
        parts = self.parts()
        own = getattr(getattr(self, "loss_func", None), "judges_silence", False)
        return all(part.judges_silence for part in parts) if parts else own

    @property
    def fixed_labels(self) -> bool:
        """Whether each item has the same assignment in every epoch."""
        return bool(self.parts()) and all(part.fixed_labels for part in self.parts())

    def bind(self, items: Items) -> None:
        """Takes the training items, before training; called if :attr:`remembers_items`.

        Args:
            items: the items that ids stand for.

        Raises:
            StabError: the loss remembers other items.
        """
        for part in self.parts():
            if part.remembers_items:
                part.bind(items)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, before each one.

        A schedule is a function of ``epoch`` alone, so that a resumed run needs no saved state.

        Args:
            epoch: counted from 0.
        """
        for part in self.parts():
            part.set_epoch(epoch)

    def set_layer(self, layer: int) -> None:
        """Sets the layer whose estimates are assigned next, for losses with a memory for each layer.

        Args:
            layer: counted from the last, -1, which a model without layers has too.
        """
        for part in self.parts():
            part.set_layer(layer)

    def remember(self, ids: Tensor, assigned: Assignment) -> None:
        """Takes the assignment of a training step into memory; called after each step if :attr:`remembers_items`.

        Args:
            ids: [B] ids of the items.
            assigned: their detached losses and assignment.
        """
        for part in self.parts():
            if part.remembers_items:
                part.remember(ids, assigned)

    def merge(self, reduce_max: Callable[[Tensor], Tensor], rank: int) -> None:
        """Unites what several processes remember of the items, at the end of an epoch; every process calls it.

        Args:
            reduce_max: returns the largest entries over all processes, on every process.
            rank: this process.
        """
        for part in self.parts():
            part.merge(reduce_max, rank)

    def forget(self) -> None:
        """Clears what is remembered of the items: it belongs to another model, which another one replaces now."""
        for part in self.parts():
            part.forget()

    def trained_parameters(self) -> list[Parameter]:
        """Returns the loss's own parameters that are trained in this epoch; they are no part of the model."""
        parts = self.parts()
        of_parts = {parameter for part in parts for parameter in part.parameters()}
        own = [p for p in self.parameters() if p.requires_grad and p not in of_parts]
        return own + [parameter for part in parts for parameter in part.trained_parameters()]
