"""WSJ0-2mix, WSJ0-3mix and WHAM! as their generators left them on disk."""

from __future__ import annotations

from pathlib import Path

from asteroid_stab.data.corpora.mixture_folders import FolderMixtureData
from asteroid_stab.data.datamodule import check_choice
from asteroid_stab.errors import StabError

_N_SPEAKERS = (2, 3)
# WHAM!'s tasks, under Asteroid's names: the role of the mixtures, and of the sources.
_TASKS = {
    "sep_clean": ("mix_clean", ("s1", "s2")),
    "sep_noisy": ("mix_both", ("s1", "s2")),
    "enh_single": ("mix_single", ("s1",)),
    "enh_both": ("mix_both", ("mix_clean",)),
}


class Wsj0MixData(FolderMixtureData):
    """WSJ0-2mix or WSJ0-3mix: ``2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}/NAME.wav``.

    Args:
        root: the folder that holds ``2speakers`` or ``3speakers``, or such a folder itself.
        mode: ``min`` or ``max``.
        sample_rate: in Hz, 8000 or 16000.
        n_src: speakers in a mixture, 2 or 3.
        segment_s: length of the crops for training and validation, in seconds.
        batch_size: items in a batch of one rank.
        num_workers: processes that load; 0 loads in the training process.
        seed: seed of order and crops.

    Raises:
        StabError: an argument is out of its range.

    References:
        Hershey, Chen, Le Roux, Watanabe, "Deep clustering", ICASSP 2016, arXiv 1508.04306.
    """

    def __init__(
        self,
        root: str | None = None,
        mode: str = "min",
        sample_rate: int = 8000,
        n_src: int = 2,
        segment_s: float = 3.0,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
    ):
        if n_src not in _N_SPEAKERS:
            raise StabError(f"n_src must be 2 or 3, the speakers that WSJ0-mix has, got {n_src}")
        sources = [f"s{k + 1}" for k in range(n_src)]
        super().__init__(
            root, f"WSJ0-{n_src}mix", "mix", sources, mode, sample_rate, segment_s, batch_size, num_workers, seed
        )

    def places(self, root: Path) -> list[Path]:
        """See the base: the folder of all, and that of ``n_src`` speakers alone."""
        return [root / f"{self.n_src}speakers", root]

    def check_part(self, folder: Path) -> None:
        """Refuses the mixtures of more speakers, of which a source would silently be left out."""
        if (more := folder / f"s{self.n_src + 1}").is_dir():
            raise StabError(
                f"{more.parent} has mixtures of more speakers than n_src={self.n_src}: there is {more.name}"
            )


class WhamData(FolderMixtureData):
    """WHAM!, WSJ0-2mix with noise: ``wav8k/min/{tr,cv,tt}/{mix_both,mix_single,mix_clean,s1,s2}/NAME.wav``.

    Args:
        root: the folder that holds ``wav8k`` or ``wav16k``.
        task: ``sep_clean``, ``sep_noisy``, or, with ``n_src`` 1, ``enh_single`` (speaker 1 out of noise) or
            ``enh_both`` (the clean mixture out of noise).
        mode: ``min`` or ``max``.
        sample_rate: in Hz, 8000 or 16000.
        n_src: sources in a mixture; 1 for the two enhancement tasks, 2 for the others.
        segment_s: length of the crops for training and validation, in seconds.
        batch_size: items in a batch of one rank.
        num_workers: processes that load; 0 loads in the training process.
        seed: seed of order and crops.

    Raises:
        StabError: an argument is out of its range.

    References:
        Wichern et al., "WHAM!: Extending speech separation to noisy environments", Interspeech 2019, arXiv 1907.01160.
    """

    def __init__(
        self,
        root: str | None = None,
        task: str = "sep_noisy",
        mode: str = "min",
        sample_rate: int = 8000,
        n_src: int = 2,
        segment_s: float = 3.0,
        batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
    ):
        mixture, sources = _TASKS[check_choice("task", task, tuple(_TASKS))]
        if n_src != len(sources):
            raise StabError(f"n_src must be {len(sources)} for task {task}, got {n_src}")
        super().__init__(root, "WHAM!", mixture, sources, mode, sample_rate, segment_s, batch_size, num_workers, seed)
        self.task = task

    def places(self, root: Path) -> list[Path]:
        """See the base."""
        return [root]
