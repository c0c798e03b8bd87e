"""Separation and enhancement by one model: the training step of the multi-task baseline."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asteroid_stab.callbacks.stabilized import comm_of
from asteroid_stab.data.padding import Batch
from asteroid_stab.engine.system import StabSystem
from asteroid_stab.errors import StabError
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.models.outputs import keep_outputs
from asteroid_stab.run.plan import RunPlan


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

    tasks = ("separation", "enhancement")

    def check(self, plan: RunPlan) -> None:
        """Checks that the model has the outputs of both tasks and can be exported."""
        super().check(plan)
        n_outputs = self.model.get_model_args()["n_src"]
        if n_outputs != plan.n_src + 1:
            raise StabError(_outputs_wanted(plan.n_src, n_outputs))
        self.exported()

    def common_step(self, batch: Any, batch_nb: int, train: bool = True) -> Tensor:
        """Returns the loss of a batch of either task."""
        made = Batch(*batch)
        if made.sources.shape[1] > 1:
            return super().common_step(batch, batch_nb, train)
        est, broken = self.estimate(made.mixture, made.sources)
        est = est[-1] if est.ndim == 4 else est
        loss = item_loss(self._exact.assign(est, made.sources, lengths=made.lengths).loss)
        return self.plain_mean(loss.masked_fill(broken, torch.inf), made.ids, name="enhancement_loss")

    def epoch_figures(self, figures: dict[str, float]) -> dict[str, float]:
        """Adds the enhancement's loss, and its items that have none."""
        enhanced = self._counts.figures(comm_of(self.trainer), "enhancement_loss")
        for name in ("silent_sources", "nonfinite_items"):
            enhanced[name] += figures.get(name, 0.0)
        return super().epoch_figures({**figures, **enhanced})

    def outputs(self, est: Tensor, n_src: int) -> Tensor:
        """Selects the outputs that separate, or the one that enhances where there is one source."""
        n_first = est.shape[-2] - 1
        if n_src == 1:
            return est[..., n_first:, :]
        if n_src != n_first:
            raise StabError(_outputs_wanted(n_src, n_first + 1))
        return est[..., :n_first, :]

    def exported(self) -> torch.nn.Module:
        """Returns the model without the output that enhances."""
        n_outputs = self.model.serialize()["model_args"]["n_src"]
        return keep_outputs(self.model, range(n_outputs - 1))
