"""Exits of a refining network by the SNR improvement that it expects of its outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from asteroid_stab.losses.likelihood import snri_probability
from asteroid_stab.masknn.error_head import error_model
from asteroid_stab.models.refiner_stages import StagedModel


def refine_until(
    model: StagedModel, mixture: Tensor, tf_rep: Tensor, per_block: Sequence[int], dense: bool
) -> tuple[Tensor, Tensor]:
    """Refines each item until each of its speakers has the improvement ``exit_snri_db`` with ``exit_probability``.

    An item that has exited is not computed any further. Without an iteration the first state is decoded.

    Args:
        model: in evaluation mode.
        mixture: ``[B, 1, T]``.
        tf_rep: the encoder's output ``[B, N, L]``.
        per_block: iterations of each block, at most.
        dense: computes every iteration of every item, with the same result, so that an exporter can follow it.

    Returns:
        Estimates ``[B, S, T]``, and the number of iterations of each item ``[B]``.

    References:
        Olsen et al., "Knowing when to quit: probabilistic early exits for speech separation", ICLR 2026, arXiv
        2507.09768; that all speakers of a mixture exit together is our reading.
    """
    hidden = model.masker.start(tf_rep)
    steps = [block for block, n in enumerate(per_block[: model.depth]) for _ in range(n)]
    if not steps:
        est = model.decode(hidden, tf_rep, mixture, model.head(model.depth))
        return est, torch.zeros(len(hidden), device=hidden.device)
    added = hidden.new_zeros(len(hidden), 1, 1)
    active = torch.ones(len(hidden), dtype=torch.bool, device=hidden.device)  # of the rows that are still computed
    rows = torch.arange(len(hidden), device=hidden.device)
    kept, n_used = None, torch.zeros(len(hidden), device=hidden.device)
    for t, block in enumerate(steps):
        hidden = model.masker.blocks[block](hidden)
        added = added + model.masker.error_head(hidden)
        head = model.head(model.depth if t == len(steps) - 1 else block + 1)
        est = model.decode(hidden, tf_rep, mixture, head)
        kept = est.new_zeros(len(n_used), *est.shape[1:]) if kept is None else kept
        taken = active if dense else torch.ones_like(rows, dtype=torch.bool)
        kept = kept.index_copy(0, rows, torch.where(taken.view(-1, 1, 1), est, kept[rows]))
        n_used = n_used.index_add(0, rows, taken.to(n_used.dtype))
        stays = ~exits(model, est, mixture, added)
        if dense:
            active = active & stays
            continue
        if not stays.any():
            break
        rows, hidden, tf_rep, mixture, added = (values[stays] for values in (rows, hidden, tf_rep, mixture, added))
    assert kept is not None
    return kept, n_used


def exits(model: StagedModel, est: Tensor, mixture: Tensor, added: Tensor) -> Tensor:
    """Returns which items ``[B]`` have the improvement that the model wants, as far as it can say.

    Args:
        model: the model.
        est: estimates ``[B, S, T]``.
        mixture: ``[B, 1, T]``.
        added: sums of what the error head has added ``[B, S, 2]``.
    """
    assert model.exit_snri_db is not None
    heard = mixture.squeeze(1)
    alpha, beta = error_model(added, heard)
    n_src = model.n_src  # the noise is nobody whom one wants to hear
    chance = snri_probability(est[:, :n_src], heard, alpha[:, :n_src], beta[:, :n_src], model.exit_snri_db)
    return (chance >= model.exit_probability).all(1)
