"""WSJ0-2mix, WSJ0-3mix, WHAM! and WHAMR! as their generators left them on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asteroid_stab.data.corpora.mixture_folders import FolderMixtureCorpus
from asteroid_stab.data.corpus import check_choice
from asteroid_stab.errors import StabError
from asteroid_stab.microphones import check_mics

_N_SPEAKERS = (2, 3)
# WHAM!'s tasks, under Asteroid's names: the role of the mixtures, and the roles of the sources.
_TASKS = {
    "sep_clean": ("mix_clean", ("s1", "s2")),
    "sep_noisy": ("mix_both", ("s1", "s2")),
    "enh_single": ("mix_single", ("s1",)),
    "enh_both": ("mix_both", ("mix_clean",)),
}

# WHAMR!'s, under Asteroid's names: the role of the mixtures.
_ROOM_TASKS = {
    "sep_clean": "mix_clean_anechoic",
    "sep_noisy": "mix_both_anechoic",
    "sep_reverb": "mix_clean_reverb",
    "sep_reverb_noisy": "mix_both_reverb",
    "enh_single": "mix_single_anechoic",
    "enh_single_reverb": "mix_single_reverb",
}
_TARGETS = ("anechoic", "reverb")


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


class WhamrCorpus(FolderMixtureCorpus):
    """WHAMR!, WHAM! in rooms: ``wav8k/min/{tr,cv,tt}/{mix_both_reverb,s1_anechoic,s1_reverb,...}/NAME.wav``.

    Its generator writes one channel, or the two of the microphones.

    Args:
        root: the folder that holds ``wav8k`` or ``wav16k``.
        task: ``sep_clean``, ``sep_noisy``, ``sep_reverb``, ``sep_reverb_noisy``, or, with ``n_src`` 1, ``enh_single``
            or ``enh_single_reverb`` (speaker 1 out of noise).
        target: the sources of mixtures in rooms: ``anechoic``, the direct sound alone, as in the paper, or ``reverb``.
        mode: ``min`` or ``max``.
        sample_rate: in Hz, 8000 or 16000.
        n_src: sources in a mixture; 1 for the enhancement tasks, 2 for the others.
        mics: microphones that the model sees, 0 and 1; None: all that the files have.
        ref_mic: the one of them where the sources are, which the model sees first; None: the first of ``mics``.

    Raises:
        ValueError: an argument is out of its range, or sources in rooms are asked for of mixtures that are in none.

    References:
        Maciejewski, Wichern, McQuinn, Le Roux, "WHAMR!: Noisy and reverberant single-channel speech separation", ICASSP
        2020, arXiv 1910.10279.
    """

    def __init__(
        self,
        root: str | None = None,
        task: str = "sep_reverb_noisy",
        target: str = "anechoic",
        mode: str = "min",
        sample_rate: int = 8000,
        n_src: int = 2,
        mics: Sequence[int] | None = None,
        ref_mic: int | None = None,
    ):
        mixture = _ROOM_TASKS[check_choice("task", task, tuple(_ROOM_TASKS))]
        if check_choice("target", target, _TARGETS) == "reverb" and not mixture.endswith("reverb"):
            raise ValueError(f"target must be anechoic for task {task}, whose mixtures are in no room, got {target}")
        wanted = 1 if task.startswith("enh") else 2
        if n_src != wanted:
            raise ValueError(f"n_src must be {wanted} for task {task}, got {n_src}")
        sources = [f"s{j + 1}_{target}" for j in range(n_src)]
        super().__init__(root, "WHAMR!", mixture, sources, mode, sample_rate, check_mics(mics, ref_mic))
        self.task, self.target = task, target
        self.references = target if mixture.endswith("reverb") else ""
        self.whole_sources = self.references != "anechoic"

    def places(self, root: Path) -> list[Path]:
        return [root]
