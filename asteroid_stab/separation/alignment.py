"""Matching of the estimates of a chunk with the speakers of the chunks before it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

# A speaker is heard in an overlap if the estimate has this share of the loudest speaker's usual power: -13 dB, which is
# above the residue that models leave of one speaker in the estimate of another.
HEARD = 0.05


def match(committed: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Index of the estimate that continues every speaker, by least squared difference over all orders.

    The energies are the same in every order, so the least difference is the greatest sum of inner products, in which a
    silent speaker does not count. Exact for any number of speakers.

    Args:
        committed: signals in the speakers' order.
        estimates: estimates of the same samples, in the order of the model.

    Shapes:
        - committed and estimates [J, N]; returns [J].

    Example:
        >>> committed = np.eye(3, 5)
        >>> match(committed, committed[[2, 0, 1]])
        array([1, 2, 0])
    """
    likeness = committed.astype(np.float64) @ estimates.astype(np.float64).T
    return linear_sum_assignment(likeness, maximize=True)[1]


@dataclass
class Passage:
    """A part of the recording in which a speaker was heard well.

    Attributes:
        mixture: [N], or [C, N] of several microphones.
        committed: [J, N], its estimates in the speakers' order.
        power: the mean power of the speaker.
    """

    mixture: np.ndarray
    committed: np.ndarray
    power: float


@dataclass
class SpeakerMemory:
    """The latest passage of every speaker in which the speaker was heard well.

    An overlap that is silent, or in which several speakers pause, does not show which estimate belongs to whom. Then
    the passages of the pausing speakers are put before the next chunk, so that the model separates them together with
    the new samples, and the estimates are matched on the passages.

    Args:
        length: length of a passage, in samples.
    """

    length: int
    passages: dict[int, Passage] = field(default_factory=dict)

    @property
    def loudness(self) -> float:
        """Mean power of the loudest speaker's passage."""
        return max((passage.power for passage in self.passages.values()), default=0.0)

    def listen(self, mixture: np.ndarray, committed: np.ndarray) -> None:
        """Takes new passages from a chunk.

        A new passage of a speaker replaces the old one if it has at least a quarter of its power.

        Args:
            mixture: the chunk.
            committed: its estimates in the speakers' order.

        Shapes:
            - mixture [N] or [C, N]; committed [J, N].
        """
        n_passages = committed.shape[1] // self.length
        if n_passages == 0:
            return
        cut = committed[:, : n_passages * self.length].reshape(len(committed), n_passages, self.length)
        power = np.square(cut, dtype=np.float64).mean(-1)
        for j, best in enumerate(power.argmax(1)):
            known = self.passages.get(j)
            if power[j, best] > 0 and (known is None or power[j, best] > known.power / 4):
                part = slice(best * self.length, (best + 1) * self.length)
                self.passages[j] = Passage(mixture[..., part].copy(), committed[:, part].copy(), float(power[j, best]))

    def missing(self, committed: np.ndarray) -> list[int]:
        """Speakers that an overlap does not distinguish: the pausing ones, if they are two or more.

        A single pausing speaker gets the estimate that is left over. Speakers that were never heard are not counted.

        Shapes:
            - committed [J, N].
        """
        power = np.square(committed, dtype=np.float64).mean(-1)
        pausing = [j for j in range(len(committed)) if power[j] <= HEARD * self.loudness]
        return [j for j in pausing if j in self.passages] if len(pausing) > 1 else []
