"""Training tasks without labels of sources, by which a separator learns from single speakers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn


class Pretext(nn.Module, ABC):
    """A task with a loss for each mixture.

    Its own parameters, if it has any, are trained together with the model's; checkpoints hold them, model files do not.
    """

    def prepare(self, model: nn.Module) -> None:
        """Builds the parts that depend on the model's sizes, and freezes the parts of the model that learn nothing.

        Called once, before the optimizer is built.

        Raises:
            StabError: the task cannot be done with this model.
        """

    @abstractmethod
    def forward(
        self, model: nn.Module, mixture: Tensor, sources: Tensor, generators: Sequence[np.random.Generator]
    ) -> Tensor:
        """The loss of every item, lower is better; not finite where it is undefined.

        Args:
            model: the model in training, with one source.
            mixture: speech with noise.
            sources: the speech.
            generators: random generator of every item.

        Shapes:
            mixture: [B, T]; sources: [B, 1, T]; the result: [B].
        """

    def figures(self) -> dict[str, Tensor]:
        """Figures of the last batch for the log, by name."""
        return {}

    def warning(self, figures: Mapping[str, float]) -> str:
        """Returns a warning if the mean figures of an epoch show a fault; else an empty text."""
        return ""


def spans(n_frames: int, starts: np.ndarray, length: int) -> np.ndarray:
    """Marks the frames, of ``n_frames``, that lie in a span of ``length`` frames from one of ``starts``.

    Example:
        >>> spans(8, np.array([1, 2, 7]), 3).astype(int).tolist()
        [0, 1, 1, 1, 1, 0, 0, 1]
    """
    mask = np.zeros(n_frames + length, bool)
    mask[(starts[:, None] + np.arange(length)).reshape(-1)] = True
    return mask[:n_frames]
