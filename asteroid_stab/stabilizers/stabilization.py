r"""The training step of every method: assignment, weight, loss; free of trainer, system and data module.

.. math:: L = \sum_i w_i L_i, \qquad w = \operatorname{softmax}\Bigl(\sum_s F_s\Bigr) \text{ over all processes}

L_i are the losses under the assignment, F_s the logits of stabilizer s.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.errors import StabError
from asteroid_stab.items import Items
from asteroid_stab.losses import Assignment, AssignmentLossWrapper
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.losses.guard import without_broken
from asteroid_stab.losses.lengths import Lengths
from asteroid_stab.losses.weighting import sum_logits, weighted_mean
from asteroid_stab.stabilizers.base import Clock, Stabilizer, Step, StepObserver, checked_logits
from asteroid_stab.stabilizers.checks import LateChecks, check_mixture, checked_figures
from asteroid_stab.stabilizers.comm import Comm, present_comm
from asteroid_stab.stabilizers.counts import EpochCounts, StepReport
from asteroid_stab.stabilizers.ids import ItemIds
from asteroid_stab.stabilizers.parts import check_saved, checked_parts, end_epoch, load_loss, named
from asteroid_stab.stabilizers.progress import Progress
from asteroid_stab.stabilizers.switches import SwitchCounter


class Stabilization:
    r"""Computes the loss of a training step: assigns, lets the stabilizers weigh, and takes the weighted mean.

    The value is this process' part of the sum over all processes, times their number, because DistributedDataParallel
    averages gradients. Without a stabilizer it is the mean of the items' losses, Asteroid's own. Sources whose loss is
    undefined (silent target) and items that are not finite are left out of the mean and counted. Accumulated batches
    are normalised one by one: where items are dropped or weighed, that is not the same as one large batch.

    The parameters of the loss, if it has any, belong in the optimizer: ``stab.loss.parameters()``.

    Args:
        loss: assignment and loss.
        stabilizers: what weighs or observes the steps.
        items: the training items: their number, their names or the data set; None where nothing goes by items. With
            items that have stable ids, label switches are counted.
        comm: exchange between processes; None: ``torch.distributed`` if it runs with several.
        count_switches: whether to count switches where ``stabilizers`` has no
            :class:`~asteroid_stab.stabilizers.SwitchCounter`.

    Attributes:
        last: report on the last call, with ``nothing_left``.
        progress: the clock, and the calls since the epoch began.

    Raises:
        ValueError: ``loss`` is no ``AssignmentLossWrapper``, or a stabilizer is none.
        StabError: a part that remembers items is given none, or items without stable ids.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> from asteroid_stab.losses import ExactPITLossWrapper
        >>> from asteroid_stab.stabilizers import Reweighting, SampleDropout, Stabilization
        >>> _ = torch.manual_seed(0)
        >>> sources = torch.randn(6, 3, 80)
        >>> train_set = torch.utils.data.TensorDataset(sources.sum(1), sources, torch.arange(6))
        >>> loader = torch.utils.data.DataLoader(train_set, batch_size=3)
        >>> model = torch.nn.Sequential(torch.nn.Unflatten(1, (1, -1)), torch.nn.Conv1d(1, 3, 9, padding=4))
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> stab = Stabilization(
        ...     ExactPITLossWrapper(pairwise_neg_sisdr),
        ...     [SampleDropout(epsilon_db=0.5), Reweighting(alpha=0.1)],
        ...     items=len(train_set),
        ... )
        >>> for epoch in range(3):
        ...     stab.begin_epoch(epoch)
        ...     for mixture, sources, ids in loader:
        ...         loss = stab(model(mixture), sources, mixture=mixture, ids=ids)
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         if not stab.nothing_left:
        ...             optimizer.step()
        ...     figures = stab.end_epoch()
        >>> sorted(figures)  # doctest: +NORMALIZE_WHITESPACE
        ['effective_share', 'kept', 'kept_first', 'kept_improved', 'kept_relaxed', 'kept_same', 'loss',
         'nonfinite_items', 'silent_sources', 'switch_ratio', 'top_weight', 'weight_entropy']

    References:
        Tzinis et al., "Unified gradient reweighting", ICASSP 2021, arXiv 2010.13228, eq. (3) and (4), for the weights
        of any number of stabilizers.
    """

    def __init__(
        self,
        loss: AssignmentLossWrapper,
        stabilizers: Iterable[StepObserver] = (),
        items: int | Sized | Iterable[Any] | Items | None = None,
        comm: Comm | None = None,
        count_switches: bool = True,
    ):
        if not isinstance(loss, AssignmentLossWrapper):
            raise ValueError(
                f"loss must be an AssignmentLossWrapper, got {type(loss).__name__}; asteroid_stab.losses has the "
                "losses of the papers, and a subclass needs no more than _assign()"
            )
        self.loss, self.stabilizers = loss, checked_parts(stabilizers)
        self.count_switches = count_switches
        self.items: Items | None = None
        self.last: StepReport | None = None
        self.progress = Progress()
        self._comm = comm
        self._checks = LateChecks()
        self.ids = ItemIds(self._checks)
        self._counts = EpochCounts()
        if items is not None:
            self.begin(Items.of(items))

    # --- before the first step ---

    @property
    def comm(self) -> Comm:
        """The exchange between processes."""
        return present_comm() if self._comm is None else self._comm

    @property
    def remembering(self) -> list[str]:
        """Class names of the parts that remember items by their ids."""
        parts: list[Any] = [*self.stabilizers, self.loss]
        return [type(part).__name__ for part in parts if part.remembers_items]

    def begin(self, items: Items | None, comm: Comm | None = None) -> None:
        """Binds loss and stabilizers to the items of the training set; the constructor calls it where it has items.

        A second call, for another training with the same objects, keeps what they remember of the items; an epoch that
        was left without :meth:`end_epoch` is given up.

        Args:
            items: the items; None where they have no number.
            comm: replaces the exchange between processes.

        Raises:
            StabError: a part remembers items, and there are none, their ids are not stable, or they are other items.
        """
        self._comm = comm or self._comm
        self.progress.give_up()
        if items is None:
            if self.remembering:
                raise StabError(
                    f"{self.remembering[0]} needs the training items: give Stabilization items=, their number or the "
                    "data set"
                )
            return
        parts: list[Any] = [self.loss, *self.stabilizers]
        for part in parts:
            if part.remembers_items:
                items.require_stable(type(part).__name__, getattr(part, "without", "loss=pit"))
        counting = any(isinstance(part, SwitchCounter) for part in self.stabilizers)
        if self.count_switches and items.stable and not counting:
            self.stabilizers.append(SwitchCounter())
        self.items = items
        self.ids.bind(items)
        if self.loss.remembers_items:
            self.loss.bind(items)
        for part in self.stabilizers:
            part.begin(items)

    # --- an epoch ---

    def begin_epoch(self, epoch: int, step: int | None = None) -> None:
        """Starts an epoch: schedules go to it, sums start from zero.

        After :meth:`load_state_dict` with the state of an unfinished epoch, the same epoch goes on where it was.

        Args:
            epoch: counted from 0.
            step: optimizer steps done so far; None: as many as there were calls.

        Raises:
            ValueError: ``epoch`` is no number from 0, or an epoch with steps has not ended.
            StabError: a part remembers items, and there are none.
        """
        if self.items is None and self.remembering:
            self.begin(None)  # raises
        goes_on = self.progress.begin_epoch(epoch, step)
        self.loss.set_epoch(epoch)
        if goes_on:
            return
        self._counts.reset()
        for part in self.stabilizers:
            part.n_steps = 0
            part.begin_epoch(self.progress.clock)

    def __call__(
        self,
        est_targets: Tensor,
        targets: Tensor,
        mixture: Tensor | None = None,
        ids: Tensor | Sequence[int] | Sequence[str] | None = None,
        *,
        step: int | None = None,
        broken: Tensor | None = None,
        complete: Callable[[Tensor], Tensor] | None = None,
        figures: Mapping[str, Tensor] = MappingProxyType({}),
        lengths: Lengths | None = None,
    ) -> Tensor:
        """Returns the loss to differentiate.

        Args:
            est_targets: estimates, in any order.
            targets: the sources.
            mixture: what the model separated, of several microphones the reference first; needed by stabilizers that go
                by an improvement. Where it is not finite, the item has no loss. (The model must not see one, or its
                weights become NaN: :func:`asteroid_stab.losses.guard.blanked` replaces it by zeros.)
            ids: stable ids of the items: numbers from 0, or names. Needed by what remembers items, not checked
                otherwise.
            step: optimizer steps done before this one, for schedules by the step; None: the calls so far.
            broken: items whose mixture is not finite; None: looks at ``mixture``.
            complete: maps the losses of the assignment, which stabilizers and figures see, to the losses that are
                differentiated (a penalty on top).
            figures: further numbers for the log; the mean over the steps of the epoch that give one is reported.
            lengths: samples of each item that are no padding; None: no item is padded. Padding is never judged.

        Shapes:
            est_targets: [B, J, T], or [K, B, J, T] for K layers; targets: [B, J, T]; mixture: [B, T] or [B, C, T];
            ids and broken: [B]; what ``complete`` takes and gives: [B, J] or [B]. Returns a scalar.

        Raises:
            ValueError: shapes do not fit; an id is out of range, or twice in a batch where something remembers
                items; the number of sources changes where something remembers items; ids or mixture are needed and
                missing; a logit is NaN. (On a GPU, values are looked at by :meth:`end_epoch`.)
        """
        self.progress.check_open("a step")
        if not torch.is_grad_enabled():
            raise ValueError("a step is one of training, with gradients: for a validation call stab.loss(est, targets)")
        comm = self.comm
        needing = [type(part).__name__ for part in self.stabilizers if part.needs_mixture]
        heard = check_mixture(mixture, broken, targets, needing)
        figures = checked_figures(figures, targets.device)
        item_ids = self.ids.of(ids, targets, self.remembering, comm.n_ranks)
        assigned = self.loss.assign(est_targets, targets, ids=item_ids, lengths=lengths)
        loss = without_broken(assigned.loss, mixture, broken)
        clock = self.progress.clock if step is None else Clock(self.progress.clock.epoch, step)
        layers = est_targets.detach() if est_targets.ndim == targets.ndim + 1 else None
        last = est_targets.detach() if layers is None else layers[-1]
        known = Assignment(loss.detach(), assigned.perm, assigned.figures, assigned.neg_si_sdr)
        if known.neg_si_sdr is not None:
            known.neg_si_sdr = known.loss
        shown = Step(targets, known, last, clock, heard, item_ids, comm.n_ranks, layers, lengths)

        for part in self.stabilizers:
            part.n_steps += 1
            part.observe(shown)
        weighing = [part for part in self.stabilizers if isinstance(part, Stabilizer)]
        logits = sum_logits([checked_logits(part, shown, self._checks) for part in weighing])
        if logits is None or logits.ndim == 1:
            loss = item_loss(loss)  # no one weighs sources: an item is the mean of its sources
        mean = weighted_mean(loss if complete is None else complete(loss), logits, comm.gather_or_none)
        for part in self.stabilizers:
            part.weighed(shown, mean.weights)
        if item_ids is not None and self.loss.remembers_items:
            self.loss.remember(item_ids, known)
        self.last = self._counts.add(known.loss, mean.mass, item_ids, {**assigned.figures, **figures}, comm)
        self.progress.count(clock.step, mean.mass.detach())
        return mean.value * comm.n_ranks

    @property
    def nothing_left(self) -> bool:
        """Whether no item of any process had a weight in the last call: the optimizer should not step then."""
        if self.last is None:
            raise ValueError("nothing_left is about the last call, and there was none")
        return self.last.nothing_left

    def end_epoch(self) -> dict[str, float]:
        """Ends an epoch on all processes, and returns its figures by name.

        ``loss`` is the mean over the items that have one, ``silent_sources`` and ``nonfinite_items`` count the
        others; figures of the loss are means over the steps; the rest comes from the stabilizers. Where two of them
        report a figure of the same name, the second's is called ``NAME_2``.

        Raises:
            ValueError: the epoch had no step, or has ended already; or what a GPU had kept to itself: an id out of
                range or twice in a batch, a logit that is NaN.
        """
        self.progress.check_open("steps")
        if self._counts.empty:
            raise ValueError("an epoch must have a step before it ends, got none")
        comm = self.comm
        self._checks.raise_found()
        figures = end_epoch(self.loss, self.stabilizers, self._counts.figures(comm), comm)
        self.progress.open = False
        return figures

    def forget(self) -> None:
        """Clears what is remembered of the items, because another model is trained from now on."""
        self.loss.forget()
        for part in self.stabilizers:
            part.forget()

    # --- state ---

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of loss and stabilizers in plain types and tensors, for ``torch.save``.

        With several processes it is complete after :meth:`end_epoch`; within an epoch, each process has its own part.
        """
        return {
            "stabilizers": {name: part.state_dict() for name, part in named(self.stabilizers).items()},
            "loss": self.loss.state_dict(),
            "loss_class": type(self.loss).__name__,
            **self.epoch_state(),
        }

    def epoch_state(self) -> dict[str, Any]:
        """Returns the part of the state that is neither the loss' nor the stabilizers'."""
        return {**self.progress.state_dict(), "counts": self._counts.state_dict(), "names": self.ids.state()}

    def load_epoch_state(self, state_dict: Mapping[str, Any]) -> None:
        """Takes what :meth:`epoch_state` returned."""
        self.progress.load_state_dict(state_dict)
        self._counts.load_state_dict(state_dict["counts"])
        self.ids.load(state_dict["names"])
        self.loss.set_epoch(self.progress.clock.epoch)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on from a saved state. Where it cannot, everything stays as it was.

        Raises:
            StabError: the state is of other stabilizers, another loss or other items.
        """
        check_saved(self.stabilizers, state_dict["stabilizers"])
        own = type(self.loss).__name__
        if (its := state_dict.get("loss_class", own)) != own:
            raise StabError(f"the state was saved with the loss {its}, this is {own}")
        before = copy.deepcopy(self.state_dict())
        try:
            self._load(state_dict)
        except Exception:
            self._load(before)
            raise

    def _load(self, state_dict: Mapping[str, Any]) -> None:
        for name, part in named(self.stabilizers).items():
            part.load_state_dict(state_dict["stabilizers"][name])
            part.n_steps = state_dict["n_calls"]
            if self.items is not None:
                part.begin(self.items)
        load_loss(self.loss, state_dict["loss"])
        self.load_epoch_state(state_dict)
