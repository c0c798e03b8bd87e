"""The training step in SpeechBrain's Brain."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from asteroid_stab.errors import StabError
from asteroid_stab.integrations import missing
from asteroid_stab.items import Items
from asteroid_stab.stabilizers import skip_empty_steps

try:
    from speechbrain import Stage
    from speechbrain.utils.checkpoints import torch_recovery, torch_save
except ImportError as error:
    raise missing(__name__, error, "pip install speechbrain") from error


class Stabilized:
    """Mixin of a ``speechbrain.Brain`` that trains with ``hparams.stab``: ``class Mine(Stabilized, sb.Brain)``.

    ``hparams.stab`` is a :class:`~asteroid_stab.stabilizers.Stabilization` without items: :meth:`fit` takes them from
    the training set, with the names that its ``id`` gives. Hooks that a subclass overrides call ``super()``. The
    checkpointer keeps the stabilization, within an epoch too. Where no item of a batch is left, no weight moves.

    Attributes:
        figures: of the training epoch that ended last, for the logger of ``on_stage_end``.
    """

    hparams: Any
    figures: dict[str, float]

    def separation_loss(
        self, predictions: Tensor, targets: Tensor, mixture: Tensor, batch: Any, stage: Any, lengths: Any = None
    ) -> Tensor:
        """Returns the loss of a batch: of the training step in training, else the plain mean under the assignment.

        Args:
            predictions: estimates; of the last layer alone when not in training.
            targets: the sources.
            mixture: what was separated.
            batch: with the ids of the items under ``id``.
            stage: of the Brain.
            lengths: of the items, relative to the longest, as SpeechBrain has them; None: nothing is padded.

        Shapes:
            predictions: [B, T, J], or [K, B, T, J] for K layers; targets: [B, T, J]; mixture: [B, T]; lengths: [B].
            Returns a scalar.

        Raises:
            StabError: the batch has no ids.
        """
        est, src = predictions.transpose(-1, -2), targets.transpose(-1, -2)
        if stage != Stage.TRAIN:
            return self.hparams.stab.loss(est, src)
        try:
            ids = batch["id"]
        except KeyError as error:
            raise StabError('the batch has no ids: put "id" among the keys of set_output_keys()') from error
        n_samples = None if lengths is None else (lengths * src.shape[-1]).round().int().tolist()
        return self.hparams.stab(est, src, mixture=mixture, ids=ids, lengths=n_samples)

    def fit(self, epoch_counter: Any, train_set: Any, *args: Any, **kwargs: Any) -> None:
        dataset = getattr(train_set, "dataset", train_set)
        items = Items.of(sorted(dataset.data_ids) if hasattr(dataset, "data_ids") else dataset)
        if getattr(self.hparams, "dynamic_mixing", False):  # the switch of SpeechBrain's recipes
            items = Items(items.n, stable=False, kind="the training set (dynamic_mixing: True)")
        self.hparams.stab.begin(items)
        super().fit(epoch_counter, train_set, *args, **kwargs)  # type: ignore[misc]

    def on_fit_start(self) -> None:
        if (checkpointer := self.checkpointer) is not None:  # type: ignore[attr-defined]
            checkpointer.add_recoverable("stabilization", self.hparams.stab, torch_recovery, torch_save)
        super().on_fit_start()  # type: ignore[misc]
        if optimizers := self.optimizers_dict:  # type: ignore[attr-defined]
            skip_empty_steps(self.hparams.stab, *optimizers.values())

    def on_stage_start(self, stage: Any, epoch: int | None = None) -> None:
        super().on_stage_start(stage, epoch)  # type: ignore[misc]
        if stage == Stage.TRAIN:
            self.hparams.stab.begin_epoch((epoch or 1) - 1)

    def on_stage_end(self, stage: Any, stage_loss: float, epoch: int | None = None) -> None:
        if stage == Stage.TRAIN:
            self.figures = self.hparams.stab.end_epoch()
        super().on_stage_end(stage, stage_loss, epoch)  # type: ignore[misc]
