"""Separation and enhancement by one model: the training step of the multi-task baseline."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asteroid_stab.data.corpora.multitask import JoinedMixtures
from asteroid_stab.engine.system import StabSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.losses.weighting import weighted_mean
from asteroid_stab.models.outputs import keep_outputs


def _outputs_wanted(n_src: int, n_outputs: int) -> str:
    return (
        f"the model must have an output for each of {n_src} sources and one that enhances "
        f"(model.n_src={n_src + 1}), got {n_outputs}"
    )


class MultiTaskSystem(StabSystem):
    """A model of J + 1 outputs: the first J separate, the last enhances single sources with noise.

    A batch with one source is one of enhancement: its loss is the negative SI-SDR of the last output (with layers, of
    the last one's), its mean is plain, and no callback sees it; ``train/enhancement_loss`` is its log. All others are
    trained on as by :class:`~asteroid_stab.engine.system.StabSystem`, with the first J outputs, which are also what the
    validation judges and what the model file has. Both kinds of batch count alike. Where batches are accumulated, both
    kinds meet in one update, so that the separation has as many batches as alone but shares its updates.

    Args: as ``StabSystem``; the data are a :class:`~asteroid_stab.data.MultiTaskCorpus`'s.

    Raises:
        StabError: the model has not one output more than the data have sources.

    References:
        The multi-task baseline of Huang et al., arXiv 2010.15366; that the last output is the enhanced one, and that
        the tasks count alike, is the authors' code.
    """

    losses = (*StabSystem.losses, "enhancement_loss")

    def check_items(self, dataset: Any) -> None:
        """Makes sure that there are two tasks, and that the model has their outputs and can be exported."""
        super().check_items(dataset)
        if not isinstance(dataset, JoinedMixtures):
            raise StabError(
                f"MultiTaskSystem needs the data of two tasks (data=multitask), got {type(dataset).__name__}"
            )
        n_outputs = self.model.get_model_args()["n_src"]
        if n_outputs != dataset.n_src + 1:
            raise StabError(_outputs_wanted(dataset.n_src, n_outputs))
        self.exported()

    def common_step(self, batch: Any, batch_nb: int, train: bool = True) -> Tensor:
        """As the base's, or the loss of a batch of enhancement."""
        mixture, sources, ids = batch
        if sources.shape[1] > 1:
            return super().common_step(batch, batch_nb, train)
        est, broken = self._estimate(mixture, sources)
        loss = item_loss(self._exact.assign(est[-1] if est.ndim == 4 else est, sources).loss)
        loss = loss.masked_fill(broken, torch.inf)
        mean = weighted_mean(loss, None, self._gather)
        self._count(loss.detach(), ids, mean.mass, {}, "enhancement_loss")
        return mean.value * self.trainer.world_size

    def _outputs(self, est: Tensor, n_src: int) -> Tensor:
        n_first = est.shape[-2] - 1
        if n_src == 1:
            return est[..., n_first:, :]
        if n_src != n_first:
            raise StabError(_outputs_wanted(n_src, n_first + 1))
        return est[..., :n_first, :]

    def exported(self) -> torch.nn.Module:
        """The model without the output that enhances."""
        n_outputs = self.model.serialize()["model_args"]["n_src"]
        return keep_outputs(self.model, range(n_outputs - 1))
