"""Mixtures and their sources in files that others made: named by a rule, or by a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from asteroid_stab.audio.file import Header, probe_headers, read_channels
from asteroid_stab.data.corpora.checked_files import check_files
from asteroid_stab.data.corpora.file_rules import NAME, NUMBER, check_rule, files_by_rule, path_by_rule
from asteroid_stab.data.corpus import HIGHEST_RATE, Corpus, check_count, check_folder, check_split
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.lists.mixture_list import source_numbers
from asteroid_stab.data.lists.table import ListTable
from asteroid_stab.errors import StabError
from asteroid_stab.microphones import MicChoice, check_mics
from asteroid_stab.paths import inside

MIXTURE, TABLE = "mixture", "table of mixtures"


class MixtureFiles(MixtureDataset):
    """Mixtures in files; an item's id is its place in the table, or its name's place in sorted order.

    Every file's header is checked first. Of the audio only the crop is read.

    Args:
        names: the mixtures' names.
        paths: the files of each role, one for each mixture: first the mixtures, if there are any, then source 1, ...
        folder: that holds them, for messages.
        sample_rate: of the files, in Hz.
        segment_s: length of a crop, in seconds; None gives whole mixtures.
        seed: seed of the crops.
        choice: the microphones, of files with several channels; None wants files of one channel.
        n_parts: number of files that a source is the sum of, which are as many roles, one after the other.

    A source's files have one channel, or as many as the mixtures', of which the reference's is the source.

    Attributes:
        has_mixtures: whether there are files of the mixtures; else they are the sums of their sources.

    Raises:
        StabError: a file is missing or does not fit the others, two mixtures have one name, or the files have no such
            channel.
    """

    def __init__(
        self,
        names: Sequence[str],
        paths: Mapping[str, Sequence[str]],
        folder: Path,
        sample_rate: int,
        segment_s: float | None = None,
        seed: int = 0,
        choice: MicChoice | None = None,
        n_parts: int = 1,
    ):
        self.paths, self.n_parts = paths, n_parts
        self.has_mixtures = MIXTURE in paths
        first = "mixture" if self.has_mixtures else "first source"
        roles = [*paths]
        mixed, source = (1, 1) if choice is None else (_n_channels(paths[roles[i]]) for i in (0, self.has_mixtures))
        of_source = (source,) if source in (1, mixed) else (1, mixed)
        channels = {role: (mixed,) if role == MIXTURE else of_source for role in roles}
        lengths = check_files(paths, sample_rate, folder, first, channels)
        n_src = (len(paths) - self.has_mixtures) // n_parts
        super().__init__(names, lengths, n_src, sample_rate, segment_s, seed)
        chosen = (0,) if choice is None else choice.channels(mixed)
        self.n_mics = len(chosen)
        self.channels = {role: chosen if role == MIXTURE or source > 1 else (0,) for role in roles}

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        found = {role: read_channels(of[row], start, stop, self.channels[role]) for role, of in self.paths.items()}
        images = [signals for role, signals in found.items() if role != MIXTURE]
        if self.n_parts > 1:
            images = [np.stack(images[i : i + self.n_parts]).sum(0) for i in range(0, len(images), self.n_parts)]
        mixture = found[MIXTURE] if self.has_mixtures else np.stack(images).sum(0)
        return mixture if self.n_mics > 1 else mixture[0], np.stack([image[0] for image in images])


def _n_channels(paths: Sequence[str]) -> int:
    """Number of channels of the first file that can be read; 1 where none can."""
    found = next((one for path in paths for one in probe_headers([path]) if isinstance(one, Header)), None)
    return 1 if found is None else found.n_channels


def find_mixtures(
    place: Path, mixture_path: str | None, source_path: str, n_src: int
) -> tuple[list[str], dict[str, list[str]], Path]:
    """Returns names and paths of mixtures that others made, and the folder that they are in.

    Args:
        place: a folder, or a table of files (``.csv``).
        mixture_path: rule for the mixtures of a folder, such as ``mix/{name}.wav``; None: there are none.
        source_path: rule for source j of a folder, such as ``s{j}/{name}.wav``.
        n_src: sources in a mixture.

    Raises:
        StabError: there is no such folder or table, no file has a name by the rules, or there are more sources than
            ``n_src``.
    """
    if place.suffix.lower() == ".csv" and not place.is_dir():
        return *_from_table(place, n_src), place.parent
    return *_from_rules(place, mixture_path, source_path, n_src), place


def listed_sources(table: Path) -> int:
    """Returns the number of sources in a mixture of a table (``.csv``).

    Raises:
        StabError: it is no table of mixtures.
    """
    return len(_numbers(ListTable(table, TABLE)))


def _from_rules(
    folder: Path, mixture_path: str | None, source_path: str, n_src: int
) -> tuple[list[str], dict[str, list[str]]]:
    """Names and paths of a folder's files; a path that is missing in a role is the one that the rule gives."""
    if not folder.is_dir():
        raise StabError(f"there is no folder {folder}: a folder of mixtures, or a table of them (.csv), is wanted")
    rules = {} if mixture_path is None else {MIXTURE: (mixture_path, 0)}
    rules |= {f"source {j}": (source_path, j) for j in range(1, n_src + 1)}
    found = {role: files_by_rule(folder, rule, j) for role, (rule, j) in rules.items()}
    names = sorted(set().union(*found.values()))
    if not names:
        wanted = " and ".join([*([mixture_path] if mixture_path else []), source_path])
        raise StabError(
            f"{folder} has no files {wanted} ({{name}} is any text, {{j}} a number from 1): mixture_path= and "
            "source_path= give other names, or a table (.csv) names each file"
        )
    if NUMBER in source_path and (more := files_by_rule(folder, source_path, n_src + 1)):
        raise StabError(f"{folder} has mixtures of more sources than n_src={n_src}: there is {min(more.values())}")
    paths = {}
    for role, (rule, j) in rules.items():
        paths[role] = [found[role].get(name, f"{folder}/{path_by_rule(rule, name, j)}") for name in names]
    return names, paths


def _numbers(table: ListTable) -> list[int]:
    """The numbers of the sources that a table has columns for, from 1."""
    numbers = source_numbers(table.columns)
    if sorted(numbers) != list(range(1, len(numbers) + 1)) or not numbers:
        wanted = "the columns source_1_path, source_2_path, ..."
        raise StabError(f"{table.label} must have {wanted}; it has {table.columns}")
    return numbers


def _from_table(file: Path, n_src: int) -> tuple[list[str], dict[str, list[str]]]:
    """Names and paths that a table gives; they start from its folder, unless they are absolute."""
    table = ListTable(file, TABLE)
    numbers = _numbers(table)
    if len(numbers) != n_src:
        raise StabError(f"{file} has {len(numbers)} sources in a mixture, but n_src={n_src} was asked for")
    columns = {f"source {j}": f"source_{j}_path" for j in sorted(numbers)}
    if "mixture_path" in table.columns:
        columns = {MIXTURE: "mixture_path", **columns}
    table.require(list(columns.values()))
    paths = {role: [f"{file.parent / name}" for name in table.texts(column)] for role, column in columns.items()}
    if "mixture_ID" in table.columns:
        return table.texts("mixture_ID"), paths
    return [Path(path).stem for path in next(iter(paths.values()))], paths


class MixtureFilesCorpus(Corpus):
    """Mixtures of a folder, or of a table of files, that somebody else made.

    Args:
        root: the folder that the others are in.
        train_path: a folder in ``root``, or a table (``.csv``); None where there are no such mixtures.
        valid_path: the same for validation.
        test_path: the same for testing.
        mixture_path: rule for the mixtures of a folder, with ``{name}``; None: a mixture is the sum of its sources.
        source_path: rule for the sources of a folder, with ``{name}`` and ``{j}``, the source's number from 1, which
            may be left out where there is one source.
        n_src: sources in a mixture.
        sample_rate: in Hz.
        mics: microphones that the model sees: channels of the mixtures' files, from 0; None: all.
        ref_mic: the reference among them, which the model sees first, and where the sources are: channel of the
            sources' files where these have as many channels as the mixtures'; None: the first of ``mics``.

    A table has the columns ``source_1_path``, ... and, unless a mixture is the sum of its sources, ``mixture_path``;
    ``mixture_ID`` names the mixtures. Paths start from the table's folder, unless they are absolute.

    Raises:
        ValueError: an argument is out of its range, or a rule lacks a part.
    """

    def __init__(
        self,
        root: str | None = None,
        train_path: str | None = None,
        valid_path: str | None = None,
        test_path: str | None = ".",
        mixture_path: str | None = "mix/{name}.wav",
        source_path: str = "s{j}/{name}.wav",
        n_src: int = 2,
        sample_rate: int = 8000,
        mics: Sequence[int] | None = None,
        ref_mic: int | None = None,
    ):
        super().__init__(n_src, check_count("sample_rate", sample_rate, 1, HIGHEST_RATE))
        self.root, self.choice = root, check_mics(mics, ref_mic)
        self.parts = {"train": train_path, "valid": valid_path, "test": test_path}
        self.mixture_path = None if mixture_path is None else check_rule("mixture_path", mixture_path, [NAME], [NAME])
        self.source_path = check_rule("source_path", source_path, [NAME, *([NUMBER] if n_src > 1 else [])])

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> MixtureFiles:
        part = self.parts[check_split(split)]
        root = check_folder("root", self.root, "the folder of the mixtures")
        if part is None:
            mend = "set {argument}= to a folder in root, or to a table (.csv)"
            raise StabError(f"{{argument}} is not set; {mend}", f"{split}_path")
        place = Path(root, inside(part, f"{split}_path"))
        names, paths, folder = find_mixtures(place, self.mixture_path, self.source_path, self.n_src)
        return MixtureFiles(names, paths, folder, self.sample_rate, segment_s, seed, self.choice)
