"""The losses of the contract suite: every loss of the package in some settings, and what is particular about each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from asteroid.losses import pairwise_neg_sisdr, pairwise_neg_snr
from asteroid.losses.mse import PairwiseMSE, multisrc_mse, singlesrc_mse
from asteroid.losses.sdr import MultiSrcNegSDR, SingleSrcNegSDR

from asteroid_stab.items import Items
from asteroid_stab.losses import (
    Assignment,
    AssignmentLossWrapper,
    AttentionPITLossWrapper,
    ExactPITLossWrapper,
    ExponentialSchedule,
    FixedPITLossWrapper,
    HysteresisPITLossWrapper,
    LayerwiseLossWrapper,
    MCLLossWrapper,
    ProbPITLossWrapper,
    SinkPITLossWrapper,
    SortedPITLossWrapper,
    SteppedSchedule,
    SwitchedLossWrapper,
)

B, J, T = 4, 3, 80
CYCLE = torch.tensor([2, 0, 1])
SDR = {"pw_mtx": pairwise_neg_sisdr, "pw_pt": SingleSrcNegSDR("sisdr"), "perm_avg": MultiSrcNegSDR("sisdr")}
SNR = {"pw_mtx": pairwise_neg_snr, "pw_pt": SingleSrcNegSDR("snr"), "perm_avg": MultiSrcNegSDR("snr")}
MSE = {"pw_mtx": PairwiseMSE(), "pw_pt": singlesrc_mse, "perm_avg": multisrc_mse}
EVERY_SAMPLE = dict.fromkeys(SDR, lambda est, targets: (est - targets).square())


@dataclass(frozen=True)
class Entry:
    """A loss in one setting, and what is particular about it.

    Attributes:
        make: makes it from loss functions by ``pit_from`` and the folder of the runs.
        neutral: makes the same method in a setting in which it is plain PIT, to ``neutral_tolerance``.
        n_layers: layers of the estimates; 0: estimates without layers.
        order_matters: why relabelled estimates have another loss; empty: they do not.
        silent: what a silent target leaves without a loss: its ``source``, the ``item``, or ``nothing`` but itself in
            the mean over the sources.
        known: whether the losses are the sources' negative SI-SDR, and nothing on top.
        figures: names of the figures.
        scheduled: whether epochs 1 and 3 differ.
        tolerance: to which items are independent of each other.
    """

    make: Callable[[dict[str, Any], Path], AssignmentLossWrapper]
    neutral: Callable[[Path], AssignmentLossWrapper]
    n_layers: int = 0
    order_matters: str = ""
    silent: str = "source"
    known: bool = False
    figures: tuple[str, ...] = ()
    scheduled: bool = False
    tolerance: float = 1e-9
    neutral_tolerance: float = 1e-8


def exact(losses, folder=None, pit_from="pw_mtx", perm_reduce=None):
    return ExactPITLossWrapper(losses[pit_from], pit_from, perm_reduce)


def sink(losses, folder=None, beta=None):
    schedule = ExponentialSchedule(1.5, most=10.0) if beta is None else None
    loss = SinkPITLossWrapper(losses["pw_mtx"], n_iter=2000, beta_schedule=schedule)
    loss.beta = loss.beta if beta is None else beta
    return loss


def attention(losses, folder=None, **arguments):
    return AttentionPITLossWrapper(losses["pw_mtx"], J, weight_schedule=ExponentialSchedule(1.05), **arguments)


def attention_that_permutes(folder):
    """AttentionPIT whose matrix is the best permutation, with a weight under which any other matrix would show."""
    loss = AttentionPITLossWrapper(pairwise_neg_sisdr, J).requires_grad_(False)
    loss.regularization_weight = 50.0
    loss.attention = lambda est, tgt: torch.nn.functional.one_hot(exact(SDR).assign(est, tgt).perm, J).mT.to(est)
    return loss


def switched(losses, folder=None):
    phases = {"attention": attention(losses, shared_encoder=True), "sink": sink(losses)}
    return SwitchedLossWrapper(phases, {"attention": 0, "sink": 3})


def hysteresis(losses, folder=None, n_layers=1, **arguments):
    """One that remembers an order for each item and layer, some far from the best and some near."""
    loss = HysteresisPITLossWrapper(losses["pw_mtx"], margin_db=25.0, **arguments)  # holds one item of four
    loss.bind(Items(B, fingerprint="f" * 16))
    kept = torch.stack([torch.arange(J), CYCLE, CYCLE[CYCLE], torch.tensor([0, 2, 1])])
    loss.remember(torch.arange(B), Assignment(torch.zeros(B, J), torch.stack([kept, kept[:, CYCLE]][:n_layers])))
    return loss


def plain(folder):
    return exact(SDR)


SINK_FIGURES = ("sinkhorn_error", "sinkhorn_gap", "sinkhorn_beta")
ATTENTION_FIGURES = ("attention_error", "attention_agreement", "attention_lambda")
MCL_FIGURES = ("mcl_collapsed", "mcl_gap", "mcl_temperature")
ENTRIES = {
    ExactPITLossWrapper: {
        "pw_mtx": Entry(exact, plain, known=True),
        "pw_pt": Entry(lambda *args: exact(*args, "pw_pt"), lambda folder: exact(SDR, None, "pw_pt"), known=True),
        "perm_avg": Entry(
            lambda *args: exact(*args, "perm_avg"), lambda folder: exact(SDR, None, "perm_avg"), silent="nothing"
        ),
        "reduced": Entry(
            lambda *args: exact(*args, perm_reduce=lambda losses: losses.amax(-1)),
            lambda folder: exact(SDR, perm_reduce=lambda losses: losses.mean(-1)),
            silent="item",
        ),
    },
    FixedPITLossWrapper: {
        "of a run": Entry(
            lambda losses, folder: FixedPITLossWrapper(losses["pw_mtx"], folder / "labels"),
            lambda folder: FixedPITLossWrapper(pairwise_neg_sisdr, folder / "best"),
            order_matters="a label names outputs of the model, not signals",
            known=True,
            figures=("unlabelled",),
        ),
        "in evaluation": Entry(
            lambda losses, folder: FixedPITLossWrapper(losses["pw_mtx"], folder / "labels").eval(),
            lambda folder: FixedPITLossWrapper(pairwise_neg_sisdr, folder / "labels").eval(),
            known=True,
        ),
    },
    HysteresisPITLossWrapper: {
        "": Entry(
            hysteresis,
            lambda folder: HysteresisPITLossWrapper(pairwise_neg_sisdr),
            order_matters="a remembered assignment names outputs of the model, not signals",
            known=True,
            figures=("held",),
            neutral_tolerance=0.0,
        ),
        "in evaluation": Entry(
            lambda losses, folder: hysteresis(losses).eval(),
            lambda folder: hysteresis(SDR).eval(),
            known=True,
            neutral_tolerance=0.0,
        ),
    },
    SinkPITLossWrapper: {
        "": Entry(
            sink,
            lambda folder: sink(SDR, beta=100.0),
            figures=SINK_FIGURES,
            scheduled=True,
            tolerance=1e-4,  # the iteration ends for all items of a batch at once
            neutral_tolerance=1e-3,
        )
    },
    SortedPITLossWrapper: {
        "mixed": Entry(
            lambda losses, folder: SortedPITLossWrapper(
                losses["pw_mtx"], "energy", sort_schedule=SteppedSchedule(0.5, 0.5, 2)
            ),
            lambda folder: SortedPITLossWrapper(pairwise_neg_sisdr),
            order_matters="the order of the estimates is that of the sources' keys",
            figures=("sort_weight", "sort_agreement"),
            scheduled=True,
            neutral_tolerance=0.0,
        ),
        "alone": Entry(
            lambda losses, folder: SortedPITLossWrapper(losses["pw_mtx"], sort_weight=1.0, onset_db=-0.5),
            lambda folder: SortedPITLossWrapper(pairwise_neg_sisdr, sort_schedule=SteppedSchedule(0.0)),
            order_matters="the order of the estimates is that of the sources' keys",
            known=True,
            figures=("sort_weight", "sort_agreement"),
            neutral_tolerance=0.0,
        ),
    },
    MCLLossWrapper: {
        "annealed": Entry(
            lambda losses, folder: MCLLossWrapper(
                losses["pw_mtx"], 0.7, temperature_schedule=SteppedSchedule(5.0, 0.5, 2)
            ),
            lambda folder: MCLLossWrapper(pairwise_neg_sisdr, temperature=5.0),
            figures=MCL_FIGURES,
            scheduled=True,
            neutral_tolerance=0.0,
        ),
        "nearest": Entry(
            lambda losses, folder: MCLLossWrapper(losses["pw_mtx"], mcl_weight=1.0),
            lambda folder: MCLLossWrapper(pairwise_neg_sisdr),
            figures=MCL_FIGURES,
            neutral_tolerance=0.0,
        ),
    },
    ProbPITLossWrapper: {
        "": Entry(
            lambda losses, folder: ProbPITLossWrapper(losses["pw_mtx"], gamma=3.0),
            lambda folder: ProbPITLossWrapper(pairwise_neg_sisdr, gamma=0.0),
            silent="nothing",
        )
    },
    AttentionPITLossWrapper: {
        "joint encoder": Entry(
            attention,
            attention_that_permutes,
            order_matters="the paper's encoder sees all signals at once, in their order",
            figures=ATTENTION_FIGURES,
            scheduled=True,
        ),
        "shared encoder": Entry(
            lambda losses, folder: attention(losses, shared_encoder=True, regularizer="sparsity"),
            attention_that_permutes,
            figures=ATTENTION_FIGURES,
            scheduled=True,
        ),
    },
    LayerwiseLossWrapper: {
        "own": Entry(
            lambda losses, folder: LayerwiseLossWrapper(exact(losses), "linear"),
            lambda folder: LayerwiseLossWrapper(exact(SDR)),
            n_layers=2,
            figures=("loss_layer0", "loss_layer1"),
        ),
        "last": Entry(
            lambda losses, folder: LayerwiseLossWrapper(exact(losses), perm="last"),
            lambda folder: LayerwiseLossWrapper(exact(SDR), "last"),
            n_layers=2,
            figures=("loss_layer0", "loss_layer1"),
        ),
        "hysteresis": Entry(
            lambda losses, folder: LayerwiseLossWrapper(hysteresis(losses, n_layers=2)),
            lambda folder: LayerwiseLossWrapper(HysteresisPITLossWrapper(pairwise_neg_sisdr)),
            n_layers=2,
            order_matters="a remembered assignment names outputs of the model, not signals",
            figures=("held", "loss_layer0", "loss_layer1"),
        ),
        "decaying": Entry(
            lambda losses, folder: LayerwiseLossWrapper(
                exact(losses), "blend", early_schedule=SteppedSchedule(0.4, 0.5, 2)
            ),
            lambda folder: LayerwiseLossWrapper(exact(SDR), "blend", early_schedule=SteppedSchedule(0.4)),
            n_layers=2,
            figures=("early_weight", "loss_layer0", "loss_layer1"),
            scheduled=True,
        ),
        "switched": Entry(
            lambda losses, folder: LayerwiseLossWrapper(switched(losses)),
            lambda folder: LayerwiseLossWrapper(SwitchedLossWrapper({"exact": exact(SDR)}, {"exact": 0})),
            n_layers=2,
            figures=(*ATTENTION_FIGURES, "loss_layer0", "loss_layer1"),
            scheduled=True,
        ),
    },
    SwitchedLossWrapper: {
        "": Entry(
            switched,
            lambda folder: SwitchedLossWrapper({"exact": exact(SDR), "sink": sink(SDR)}, {"exact": 0, "sink": 1}),
            figures=ATTENTION_FIGURES,
            scheduled=True,
        ),
        "to exact": Entry(
            lambda losses, folder: SwitchedLossWrapper({"a": exact(losses), "b": attention(losses)}, {"a": 0, "b": 9}),
            lambda folder: SwitchedLossWrapper({"a": exact(SDR), "b": attention(SDR)}, {"a": 0, "b": 9}),
            known=True,
        ),
    },
}
