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
    walk = _dense if dense else _sparse
    return walk(model, mixture, tf_rep, hidden, steps)


def _sparse(
    model: StagedModel, mixture: Tensor, tf_rep: Tensor, hidden: Tensor, steps: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Computes what has not exited; ``steps`` are the blocks of the iterations."""
    rows, added = torch.arange(len(hidden), device=hidden.device), hidden.new_zeros(1)
    kept, n_used = None, torch.zeros(len(hidden), device=hidden.device)
    for t in range(len(steps)):
        hidden, added, est = _iterate(model, mixture, tf_rep, hidden, added, steps, t)
        kept = est.new_zeros(len(n_used), *est.shape[1:]) if kept is None else kept
        kept = kept.index_copy(0, rows, est)
        n_used[rows] += 1
        stays = ~exits(model, est, mixture, added)
        if not stays.any():
            break
        rows, hidden, tf_rep, mixture, added = (values[stays] for values in (rows, hidden, tf_rep, mixture, added))
    assert kept is not None
    return kept, n_used


def _dense(
    model: StagedModel, mixture: Tensor, tf_rep: Tensor, hidden: Tensor, steps: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Computes every iteration, and keeps the estimates of an item's first exit."""
    added, kept, n_used = hidden.new_zeros(1), hidden.new_zeros(1), hidden.new_zeros(1)
    active = torch.ones_like(hidden[:, 0, 0], dtype=torch.bool)
    for t in range(len(steps)):
        hidden, added, est = _iterate(model, mixture, tf_rep, hidden, added, steps, t)
        kept = torch.where(active.view(-1, 1, 1), est, kept)
        n_used = n_used + active
        active = active & ~exits(model, est, mixture, added)
    return kept, n_used


def _iterate(
    model: StagedModel, mixture: Tensor, tf_rep: Tensor, hidden: Tensor, added: Tensor, steps: Sequence[int], t: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The state after iteration ``t``, the sums of what the error head has added, and the estimates."""
    hidden = model.masker.blocks[steps[t]](hidden)
    last = t == len(steps) - 1
    head = model.head(model.depth if last else steps[t] + 1)  # the last one's as without exits
    return hidden, added + model.masker.error_head(hidden), model.decode(hidden, tf_rep, mixture, head)


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
