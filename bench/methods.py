"""The methods that ``asteroid-stab bench step`` measures on top of plain PIT: other assignments, and weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.pit import batch

PLAIN = "plain"
N_ITEMS = 100_000  # of a training set: tables of items do not fit the fast memory
_EPOCHS = 3  # before the measurement, so that items are remembered and maps are known


def methods() -> dict[str, tuple[Any, list[Any]]]:
    """A loss and stabilizers for each method, in a setting that changes something."""
    from asteroid.losses import pairwise_neg_sisdr as sisdr

    from asteroid_stab import losses, stabilizers

    plain = losses.ExactPITLossWrapper
    return {
        PLAIN: (plain(sisdr), []),
        "hysteresis": (losses.HysteresisPITLossWrapper(sisdr, margin_db=1.0), []),
        "sorted": (losses.SortedPITLossWrapper(sisdr, sort_weight=0.5), []),
        "MCL": (losses.MCLLossWrapper(sisdr, mcl_weight=1.0), []),
        "annealed MCL": (losses.MCLLossWrapper(sisdr, mcl_weight=1.0, temperature=1.0), []),
        "dropout": (plain(sisdr), [stabilizers.SampleDropout(epsilon_db=1.0)]),
        "graded": (plain(sisdr), [stabilizers.GradedDropout(epsilon_db=1.0, per_db=0.2, per_switch=0.2)]),
        "reweighting": (plain(sisdr), [stabilizers.Reweighting(alpha=0.1, improvement=False)]),
        "threshold": (plain(sisdr), [stabilizers.LossThreshold(-30.0)]),
        "map weights": (plain(sisdr), [stabilizers.DataMapWeighting(per_spread_db=0.2)]),
        "map alone": (plain(sisdr), [stabilizers.DataMap()]),
    }


def calls(n_items: int, n_src: int, n_samples: int, device: str) -> dict[str, Callable[[], None]]:
    """The loss of a step and its gradient under each method, as :class:`Stabilization` computes it, without a model.

    Args:
        n_items: items of a batch; they are of a training set of ``N_ITEMS``.
        n_src: number of sources.
        n_samples: samples of a source.
        device: where it is computed.
    """
    import torch

    from asteroid_stab.stabilizers import Stabilization

    est, targets = batch(n_items, n_src, n_samples, device)
    ids = torch.randperm(N_ITEMS, generator=torch.Generator().manual_seed(0))[:n_items].to(device)

    def call_of(loss: Any, parts: list[Any]) -> Callable[[], None]:
        stab = Stabilization(loss, parts, N_ITEMS, count_switches=False)

        def step() -> None:
            est.grad = None
            stab(est, targets, ids=ids).backward()

        for epoch in range(_EPOCHS):
            stab.begin_epoch(epoch)
            step()
            stab.end_epoch()
        stab.begin_epoch(_EPOCHS)
        return step

    return {name: call_of(*made) for name, made in methods().items()}
