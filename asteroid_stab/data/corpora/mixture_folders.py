"""Mixtures that stand on disk in a folder for each role: the mixture, and each of its sources."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from asteroid_stab.data.corpora.mixture_files import MIXTURE, MixtureFiles
from asteroid_stab.data.corpora.mixture_tracks import MODES
from asteroid_stab.data.corpus import Corpus, check_choice, check_rate, check_split
from asteroid_stab.errors import StabError, some
from asteroid_stab.microphones import MicChoice

_AUDIO = (".wav", ".flac")
_PARTS = {"train": "tr", "valid": "cv", "test": "tt"}


class FolderMixtures(MixtureFiles):
    """The mixtures of ``folder/ROLE/NAME.wav`` or ``.flac``: an item's id is its name's place in sorted order.

    Every file's header is checked first. Of the audio only the crop is read.

    Args:
        folder: holds a folder for each role.
        mixture: role of the mixtures, such as ``mix``.
        sources: roles of the sources, such as ``s1`` and ``s2``, in their order.
        sample_rate: of the files, in Hz.
        segment_s: length of a crop, in seconds; None gives whole mixtures.
        seed: seed of the crops.
        choice: the microphones, of files with several channels; None wants files of one channel.

    Raises:
        StabError: a role's folder is not there or empty; or a file is missing in a role, or does not fit the others.
            All such files are counted, and the first three are named.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        mixture: str,
        sources: Sequence[str],
        sample_rate: int,
        segment_s: float | None = None,
        seed: int = 0,
        choice: MicChoice | None = None,
    ):
        names, found = _role_paths(Path(folder), [mixture, *sources])
        paths = {MIXTURE if role == mixture else role: of_role for role, of_role in found.items()}
        super().__init__(names, paths, Path(folder), sample_rate, segment_s, seed, choice)


def _role_paths(folder: Path, roles: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Returns the items' names in order, and the paths of each role."""
    found = {role: _files(folder / role) for role in roles}
    # In the order of the file names that the generators write, which ids keep: "a-b.wav" comes before "a.wav".
    names = sorted(set().union(*found.values()), key=lambda name: f"{name}.wav")
    return names, {
        role: [f"{folder}/{role}/{found[role].get(name, name + '.wav')}" for name in names] for role in roles
    }


def _files(folder: Path) -> dict[str, str]:
    """Returns the audio files of a folder by their names without suffix.

    Raises:
        StabError: there is no such folder, it has no audio files, or two of one name.
    """
    if not folder.is_dir():
        raise StabError(f"there is no folder {folder}; its generator makes one for each role")
    files: dict[str, str] = {}
    for file in sorted(os.listdir(folder)):
        name, suffix = os.path.splitext(file)
        if suffix.lower() in _AUDIO and not file.startswith("."):
            if name in files:
                raise StabError(f"{folder} must have one file of each name, got {files[name]} and {file}")
            files[name] = file
    if not files:
        folders = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        got = f"the folders {some(folders)}" if folders else "none"
        raise StabError(f"{folder} must hold {' or '.join(_AUDIO)} files, got {got}")
    return files


class FolderMixtureCorpus(Corpus):
    """A corpus whose ``wav8k/min`` and the like hold ``tr``, ``cv`` and ``tt``, each with a folder for each role.

    A subclass has an explicit constructor and gives the places where the tree may begin (:meth:`places`).

    Args:
        root: the corpus' folder, as the user gives it.
        what: name of the corpus, for errors.
        mixture: role of the mixtures.
        sources: roles of the sources.
        mode: ``min`` or ``max``.
        sample_rate: in Hz, 8000 or 16000.
        choice: the microphones, of files with several channels; None wants files of one channel.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        root: str | None,
        what: str,
        mixture: str,
        sources: Sequence[str],
        mode: str,
        sample_rate: int,
        choice: MicChoice | None = None,
    ):
        super().__init__(len(sources), check_rate(sample_rate))
        check_choice("mode", mode, MODES)
        self.root, self.what, self.mode = root, what, mode
        self.mixture, self.sources, self.choice = mixture, list(sources), choice

    @abstractmethod
    def places(self, root: Path) -> list[Path]:
        """Returns the folders that may hold ``wav8k`` or ``wav16k``, the likeliest first."""

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> FolderMixtures:
        folder = self._tree() / _PARTS[check_split(split)]
        if not folder.is_dir():
            raise StabError(f"{self.what} has no {folder}: its generator makes tr, cv and tt")
        self.check_part(folder)
        return FolderMixtures(folder, self.mixture, self.sources, self.sample_rate, segment_s, seed, self.choice)

    def check_part(self, folder: Path) -> None:
        """Checks that ``folder``, a split's, has the mixtures that the arguments describe; by default it does."""

    def _tree(self) -> Path:
        mend = f"set {{argument}}=FOLDER to the {self.what} folder"
        if self.root is None:
            raise StabError(f"{{argument}} is not set; {mend}", "root")
        trees = [place / f"wav{self.sample_rate // 1000}k" / self.mode for place in self.places(Path(self.root))]
        for tree in trees:
            if tree.is_dir():
                return tree
        raise StabError(f"{{argument}}: there is no folder {' nor '.join(map(str, trees))}; {mend}", "root")
