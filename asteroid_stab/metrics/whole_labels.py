"""Assignments of whole mixtures by a fixed model, for counting switches offline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from asteroid.losses import pairwise_neg_sisdr

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.metrics.evaluation import check_model
from asteroid_stab.metrics.separated import separate_whole
from asteroid_stab.run.assignments import UNSEEN


def whole_labels(
    model: torch.nn.Module,
    dataset: MixtureDataset,
    limit: int | None = None,
    advance: Callable[[], object] = lambda: None,
) -> np.ndarray:
    """The estimate that each source of each mixture gets: int8 ``[N, J]``, -1 where there is no SI-SDR.

    Args:
        model: maps [B, T], or [B, C, T] of several microphones, to [B, J, T]; it is put in evaluation mode.
        dataset: whole mixtures.
        limit: how many mixtures to take, from the first; None takes all.
        advance: called after every mixture.

    Raises:
        StabError: the model works at another sample rate, or takes another number of microphones.

    References:
        Huang et al., arXiv 2010.15366, Fig. 2: each epoch's checkpoint labels all training utterances as a whole. Our
        model is in evaluation mode, theirs was in training mode.
    """
    check_model(model, dataset)
    model.eval()
    exact = ExactPITLossWrapper(pairwise_neg_sisdr)
    n_items = len(dataset) if limit is None else min(limit, len(dataset))
    labels = np.full((n_items, dataset.n_src), UNSEEN, dtype=np.int8)
    for i in range(n_items):
        mixture, sources, _ = dataset[i]
        loss, perm = exact.assign(separate_whole(model, mixture)[None], sources[None])
        if torch.isfinite(item_loss(loss)).all():
            labels[i] = perm[0].numpy()
        advance()
    return labels
