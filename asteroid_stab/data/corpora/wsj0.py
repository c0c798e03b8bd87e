"""WSJ0-2mix, WSJ0-3mix and WHAM! as their generators left them on disk."""

from __future__ import annotations

from pathlib import Path

from asteroid_stab.data.corpora.mixture_folders import FolderMixtureCorpus
from asteroid_stab.data.corpus import check_choice
from asteroid_stab.errors import StabError

_N_SPEAKERS = (2, 3)
# WHAM!'s tasks, under Asteroid's names: the role of the mixtures, and the roles of the sources.
_TASKS = {
    "sep_clean": ("mix_clean", ("s1", "s2")),
    "sep_noisy": ("mix_both", ("s1", "s2")),
    "enh_single": ("mix_single", ("s1",)),
    "enh_both": ("mix_both", ("mix_clean",)),
}


class Wsj0MixCorpus(FolderMixtureCorpus):
    """WSJ0-2mix or WSJ0-3mix: ``2speakers/wav8k/min/{tr,cv,tt}/{mix,s1,s2}/NAME.wav``.

    Args:
        root: the folder that holds ``2speakers`` or ``3speakers``, or such a folder itself.
        mode: ``min`` or ``max``.
        sample_rate: in Hz, 8000 or 16000.
        n_src: speakers in a mixture, 2 or 3.

    Raises:
        ValueError: an argument is out of its range.

    References:
        Hershey, Chen, Le Roux, Watanabe, "Deep clustering", ICASSP 2016, arXiv 1508.04306.
    """

    def __init__(
        self,
        root: str | None = None,
        mode: str = "min",
        sample_rate: int = 8000,
        n_src: int = 2,
    ):
        if n_src not in _N_SPEAKERS:
            raise ValueError(f"n_src must be 2 or 3, the speakers that WSJ0-mix has, got {n_src}")
        sources = [f"s{k + 1}" for k in range(n_src)]
        super().__init__(root, f"WSJ0-{n_src}mix", "mix", sources, mode, sample_rate)

    def places(self, root: Path) -> list[Path]:
        """Returns the folder of ``n_src`` speakers in ``root``, and ``root`` itself, which may be that folder."""
        return [root / f"{self.n_src}speakers", root]

    def check_part(self, folder: Path) -> None:
        """Raises for mixtures of more speakers, of which a source would silently be left out."""
        if (more := folder / f"s{self.n_src + 1}").is_dir():
            raise StabError(
                f"{more.parent} has mixtures of more speakers than n_src={self.n_src}: there is {more.name}"
            )


class WhamCorpus(FolderMixtureCorpus):
    """WHAM!, WSJ0-2mix with noise: ``wav8k/min/{tr,cv,tt}/{mix_both,mix_single,mix_clean,s1,s2}/NAME.wav``.

    Args:
        root: the folder that holds ``wav8k`` or ``wav16k``.
        task: ``sep_clean``, ``sep_noisy``, or, with ``n_src`` 1, ``enh_single`` (speaker 1 out of noise) or
            ``enh_both`` (the clean mixture out of noise).
        mode: ``min`` or ``max``.
        sample_rate: in Hz, 8000 or 16000.
        n_src: sources in a mixture; 1 for the two enhancement tasks, 2 for the others.

    Raises:
        ValueError: an argument is out of its range.

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
    ):
        mixture, sources = _TASKS[check_choice("task", task, tuple(_TASKS))]
        if n_src != len(sources):
            raise ValueError(f"n_src must be {len(sources)} for task {task}, got {n_src}")
        super().__init__(root, "WHAM!", mixture, sources, mode, sample_rate)
        self.task = task

    def places(self, root: Path) -> list[Path]:
        return [root]
