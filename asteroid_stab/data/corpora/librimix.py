"""LibriMix as its generator left it on disk, read through Asteroid's own data set."""

from __future__ import annotations

import csv
import logging
import os
import tempfile
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile as sf
from asteroid.data import LibriMix

from asteroid_stab.audio.file import check_header, probe_headers
from asteroid_stab.data.corpora.mixture_tracks import MODES
from asteroid_stab.data.corpus import SPLITS, Corpus, check_choice, check_folder, check_rate, check_split
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.lists.mixture_list import source_numbers
from asteroid_stab.data.lists.table import ListTable
from asteroid_stab.errors import StabError, some
from asteroid_stab.paths import folder_names, with_slashes

log = logging.getLogger(__name__)

# Asteroid's tasks, and the list each reads; enh_both reads the clean mixtures as its targets.
_LISTS = {
    "sep_clean": ("clean",),
    "sep_noisy": ("both",),
    "enh_single": ("single",),
    "enh_both": ("both", "clean"),
}


class LibriMixMixtures(MixtureDataset):
    """Generated mixtures under stable ids: Asteroid's ``LibriMix`` reads them, this class cuts the epoch's crop.

    Asteroid takes the list that stands first in a folder and draws its crops from Python's global generator. Here it
    gets the one list that is meant, and reads whole mixtures.

    Args:
        folder: ``Libri2Mix/wav8k/min`` or the like, with ``metadata`` and a folder for each subset in it.
        subset: ``train-100``, ``train-360``, ``dev`` or ``test``.
        task: ``sep_clean``, ``sep_noisy``, ``enh_single`` or ``enh_both`` (the target is the clean mixture).
        sample_rate: of the files, in Hz.
        n_src: sources in a mixture; 1 for the two enhancement tasks.
        segment_s: length of a crop, in seconds; None gives whole mixtures.
        seed: seed of the crops.

    Raises:
        StabError: the list is missing or has another number of sources, or files are missing, shorter or
            longer than it says, or of another sample rate.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        subset: str,
        task: str,
        sample_rate: int,
        n_src: int,
        segment_s: float | None = None,
        seed: int = 0,
    ):
        self.items = _open(Path(folder), subset, task, sample_rate, n_src)
        names = [str(name) for name in self.items.df["mixture_ID"]]
        super().__init__(names, self.items.df["length"].tolist(), n_src, sample_rate, segment_s, seed)

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            mixture, sources = self.items[row]
        except (sf.LibsndfileError, ValueError) as error:  # numpy: sources of different lengths
            path = self.items.df.iloc[row]["mixture_path"]
            raise StabError(f"cannot decode {path} or its sources (damaged or truncated): {error}") from error
        return mixture.numpy()[start:stop].copy(), np.ascontiguousarray(sources.numpy()[:, start:stop])


def _open(folder: Path, subset: str, task: str, sample_rate: int, n_src: int) -> LibriMix:
    """Opens Asteroid's data set of the one list, and checks its files."""
    metadata = folder / "metadata"
    lists = [metadata / f"mixture_{subset}_mix_{kind}.csv" for kind in _LISTS[task]]
    for path in lists:
        if not path.is_file():
            raise StabError(f"there is no {path}; LibriMix's generator writes it last, so it may not have finished")
    with tempfile.TemporaryDirectory() as alone:
        names = [_copy(path, Path(alone), n_src, task) for path in lists]
        items = LibriMix(alone, task=task, sample_rate=sample_rate, n_src=n_src, segment=None)
    if any(other != names[0] for other in names):
        raise StabError(f"{' and '.join(map(str, lists))} must have the same mixtures in the same order")
    items.df["mixture_ID"] = names[0]  # as they are written: pandas takes some for numbers
    items.csv_dir, items.csv_path = str(metadata), str(lists[0])
    _relocate(items, folder)
    _check_files(items, str(lists[0]), sample_rate)
    return items


def _copy(path: Path, folder: Path, n_src: int, task: str) -> list[str]:
    """Writes a list into ``folder`` with the columns that Asteroid reads, and returns the names of its mixtures.

    Raises:
        StabError: it cannot be read, has another number of sources, or lacks a column or a cell.
    """
    table = ListTable(path, "list of mixtures")
    n_listed = len(source_numbers(table.columns))
    if task.startswith("sep") and n_listed != n_src:
        raise StabError(f"{path} has {n_listed} sources in a mixture, but n_src={n_src} was asked for")
    n_read = 0 if task == "enh_both" else n_src
    texts = ["mixture_ID", "mixture_path", *(f"source_{k + 1}_path" for k in range(n_read))]
    table.require([*texts, "length"])
    columns = [table.texts(name) for name in texts]
    lengths = [round(number) for number in table.numbers("length")]
    with open(folder / path.name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*texts, "length"], *zip(*columns, lengths, strict=True)])
    return columns[0]


def _tables(items: LibriMix) -> list:
    return [items.df, items.df_clean] if items.task == "enh_both" else [items.df]


def _relocate(items: LibriMix, folder: Path) -> None:
    """Takes files from ``folder`` where the list has the paths of the machine that it was generated on."""
    n_moved = 0
    for table in _tables(items):
        for column in [column for column in table.columns if column.endswith("_path")]:
            paths = []
            for path in table[column]:
                here = folder.joinpath(*PurePosixPath(with_slashes(path)).parts[-3:])  # subset/mix_clean/name.wav
                moved = not os.path.isfile(path) and here.is_file()
                n_moved += moved
                paths.append(str(here) if moved else path)
            table[column] = paths
    if n_moved:
        log.info("%s names %d files where they are not; took them from %s", items.csv_path, n_moved, folder)


def _check_files(items: LibriMix, label: str, sample_rate: int) -> None:
    """Checks that the folder has all files of the list, as the list describes them."""
    columns = ["mixture_path"]
    if items.task != "enh_both":
        columns += [f"source_{k + 1}_path" for k in range(items.n_src)]
    paths, lengths = [], []
    for table in _tables(items):
        for column in [column for column in columns if column in table.columns]:
            paths += table[column].tolist()
            lengths += table["length"].tolist()
    faults = []
    for path, length, header in zip(paths, lengths, probe_headers(paths), strict=True):
        if header is None:
            faults.append(f"{path} is missing")
            continue
        if isinstance(header, StabError):
            faults.append(str(header))
            continue
        check_header(path, header, sample_rate, mono=True)
        if header.n_frames != length:
            faults.append(f"{path} has {header.n_frames} samples instead of {length}")
    if faults:
        raise StabError(f"{len(faults)} of the {len(paths)} files of {label} are not what it says: {some(faults)}")


class LibriMixCorpus(Corpus):
    """Generated LibriMix.

    Args:
        root: ``Libri2Mix``, the folder that holds ``wav8k`` or ``wav16k``.
        train_subset: subset for training.
        valid_subset: subset for validation.
        test_subset: subset for testing.
        task: ``sep_clean``, ``sep_noisy``, or, with ``n_src`` 1, ``enh_single`` or ``enh_both``.
        mode: ``min`` or ``max``.
        sample_rate: in Hz, 8000 or 16000.
        n_src: sources in a mixture.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        root: str | None = None,
        train_subset: str = "train-100",
        valid_subset: str = "dev",
        test_subset: str = "test",
        task: str = "sep_clean",
        mode: str = "min",
        sample_rate: int = 8000,
        n_src: int = 2,
    ):
        super().__init__(n_src, check_rate(sample_rate))
        check_choice("task", task, tuple(_LISTS))
        check_choice("mode", mode, MODES)
        if task.startswith("enh") and n_src != 1:
            raise ValueError(f"n_src must be 1 for task {task}, got {n_src}")
        self.root, self.task, self.mode = root, task, mode
        given = zip(SPLITS, (train_subset, valid_subset, test_subset), strict=True)
        self.subsets = {split: folder_names([name], "a subset")[0] for split, name in given}

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> LibriMixMixtures:
        what = "LibriMix: the folder that holds wav8k or wav16k"
        root = check_folder("root", self.root, what)
        folder = Path(root, f"wav{self.sample_rate // 1000}k", self.mode)
        if not folder.is_dir():
            raise StabError(f"{{argument}}: there is no folder {folder}; set {{argument}}=FOLDER to {what}", "root")
        subset = self.subsets[check_split(split)]
        return LibriMixMixtures(folder, subset, self.task, self.sample_rate, self.n_src, segment_s, seed)
