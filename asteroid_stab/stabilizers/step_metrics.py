"""Metrics of a training step that a stabilizer may go by: SI-SDR and SDR, alone or over the mixture."""

from __future__ import annotations

import torch
from torch import Tensor

from asteroid_stab.losses.filtered import filtered_sdr
from asteroid_stab.losses.lengths import on_true_parts
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.metrics import names
from asteroid_stab.stabilizers.base import Step

METRICS = tuple(f"{name}{over}" for name in names.METRICS if name.endswith("sdr") for over in ("", "_i"))
"""SI-SDR and SDR, each alone or as the improvement over the mixture."""


def metric_of_layer(step: Step, metric: str, layer: int, perm: Tensor) -> Tensor:
    """Returns the metric of a layer's estimates in dB, without the improvement.

    Args:
        step: the step.
        metric: one of ``METRICS``.
        layer: counted from the last, -1.
        perm: [B, J] assignment of the layer.

    Shapes:
        Returns [B, J].
    """
    if layer == -1 and metric.startswith("si_sdr"):
        return -step.source_loss
    est = step.est if layer == -1 else step.layers[layer]  # type: ignore[index]
    return _measure(step, metric, est, perm)


def metric_of_mixture(step: Step, metric: str) -> Tensor | float:
    """Returns the metric ``[B, J]`` of the mixture in dB, which an improvement is over; 0 where it is none.

    Raises:
        ValueError: the step has no mixture.
    """
    if not metric.endswith("_i"):
        return 0.0
    if metric.startswith("si_sdr"):
        return -step.mixture_loss  # which other stabilizers of the step may have asked for too
    return _measure(step, metric, step.mixture_as_est, None)


def _measure(step: Step, metric: str, est: Tensor, perm: Tensor | None) -> Tensor:
    with torch.no_grad():
        if metric.startswith("si_sdr"):
            return -on_true_parts(matched_neg_sdr, step.lengths, est, step.sources, perm)
        return on_true_parts(filtered_sdr, step.lengths, est, step.sources, perm)
