"""The figure of the mathematics page, computed by the package: ``python -m docs.figure FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from asteroid_stab.losses import ExactPITLossWrapper
from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.losses.weighting import weighted_mean

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#9a9a9a"


def losses() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the first item's pairwise losses [J_est, J_src] and assignment [J], and all items' losses [B]."""
    from asteroid.losses import pairwise_neg_sisdr

    random = torch.Generator().manual_seed(1)
    sources = torch.randn(6, 3, 800, generator=random)
    noise = torch.randn(6, 3, 800, generator=random) * torch.tensor([0.4, 0.9, 0.3, 1.6, 0.5, 0.7]).view(6, 1, 1)
    est = sources[:, [1, 2, 0]] + noise
    found = ExactPITLossWrapper(pairwise_neg_sisdr).assign(est, sources)
    return pairwise_neg_sisdr(est, sources)[0], found.perm[0], item_loss(found.loss)


def draw(file: Path) -> None:
    """Draws the figure."""
    pairs, perm, loss = losses()
    dropped = torch.where(torch.arange(len(loss)) == int(loss.argmax()), -torch.inf, 0.0)
    ways = {"plain PIT": None, "one item dropped": dropped, "reweighted, α = 0.3": 0.3 * loss}
    means = {name: weighted_mean(loss, logits) for name, logits in ways.items()}
    with matplotlib.rc_context(
        {"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "step", "axes.spines.top": False}
    ):
        figure = Figure(figsize=(9.5, 2.9), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        left.imshow(pairs.numpy(), cmap="Blues_r", vmin=float(pairs.min()), vmax=12)
        for j, i in enumerate(perm.tolist()):
            left.add_patch(matplotlib.patches.Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, ec=ORANGE, lw=3))
        for (i, j), value in np.ndenumerate(pairs.numpy()):
            left.text(j, i, f"{value:.0f}", ha="center", va="center", color="white" if value < 0 else "black")
        left.set(xlabel="source j", ylabel="estimate i", xticks=range(3), yticks=range(3))
        left.set_title("assignment (dB)")
        at = np.arange(len(loss))
        for k, ((name, mean), colour) in enumerate(zip(means.items(), (GREY, BLUE, ORANGE), strict=True)):
            middle.bar(at + 0.27 * (k - 1), mean.weights.numpy(), 0.27, color=colour, label=name)
            right.barh(k, float(mean.value), color=colour)
            right.text(max(float(mean.value), 0.0) + 0.2, k, f"{float(mean.value):.1f} dB", va="center")
        middle.set(xlabel="item of the batch", ylabel="weight", ylim=(0, 1))
        middle.set_title("weight")
        middle.legend(frameon=False)
        right.set(xlabel="dB", yticks=range(3), yticklabels=list(means))
        right.invert_yaxis()
        right.set_xlim(right=4)
        right.set_title("loss")
        figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
