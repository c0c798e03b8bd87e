"""Pre-training tasks, which need no labels of sources."""

from asteroid_stab.pretext.base import Pretext
from asteroid_stab.pretext.contrastive import ContrastivePrediction
from asteroid_stab.pretext.masked_reconstruction import MaskedReconstruction

__all__ = [
    "ContrastivePrediction",
    "MaskedReconstruction",
    "Pretext",
]
