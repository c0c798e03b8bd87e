"""Mixtures made on the fly from LibriSpeech's folders and a mixture list, instead of generated audio."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asteroid_stab.audio.mixing import HIGHEST_SAMPLE, clip_16_bit
from asteroid_stab.audio.packed import PackedTracks
from asteroid_stab.audio.tracks import TrackReader
from asteroid_stab.data.corpora.mixture_tracks import MODES, TASKS, MixtureTracks, gather_tracks
from asteroid_stab.data.corpus import SPLITS, Corpus, check_choice, check_folder, check_rate, check_split
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.lists.mixture_list import read_mixture_list
from asteroid_stab.errors import StabError

log = logging.getLogger(__name__)


class LibriSpeechMixtures(MixtureDataset):
    """Mixtures sample for sample as LibriMix's generator writes them, before it rounds them to 16 bits.

    Source k is the list's utterance k times its gain, resampled to ``sample_rate``, and cut to the shortest
    (mode min) or padded with zeros to the longest (mode max) of the row's utterances. The mixture is their
    sum, plus the noise. Samples that would not fit into a 16-bit file are clipped, as in LibriMix's files.

    Args:
        mixtures: the list with the table of its signals.
        reader: gives the samples of those signals.
        segment_s: length of a crop, in seconds; None gives whole mixtures.
        seed: seed of the crops.
    """

    def __init__(self, mixtures: MixtureTracks, reader: TrackReader, segment_s: float | None = None, seed: int = 0):
        tracks = mixtures.tracks
        super().__init__(mixtures.names, mixtures.lengths, mixtures.n_out, tracks.sample_rate, segment_s, seed)
        self.mixtures, self.reader = mixtures, reader

    def read(self, row: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        mixtures = self.mixtures
        sources = np.empty((self.n_src, stop - start), np.float32)
        peak = 0.0
        for k in range(self.n_src):
            peak += self._read_padded(mixtures.sources[row][k], start, stop, mixtures.gains[row][k], sources[k])
        mixture = sources[0] + sources[1] if self.n_src > 1 else sources[0].copy()
        for source in sources[2:]:
            mixture += source
        if mixtures.noises:
            noise = np.empty_like(mixture)
            peak += self._read_padded(mixtures.noises[row], start, stop, mixtures.noise_gains[row], noise)
            mixture += noise
        if not peak <= HIGHEST_SAMPLE:  # also where an unknown peak times a gain of 0 gives NaN
            clip_16_bit(mixture)
            clip_16_bit(sources)
        return mixture, sources

    def _read_padded(self, track: int, start: int, stop: int, gain: float, out: np.ndarray) -> float:
        """Writes the track's samples, and zeros after its end; returns a bound on the samples."""
        n_read = min(max(self.mixtures.tracks.lengths[track] - start, 0), len(out))
        if n_read:
            self.reader.read_into(track, start, start + n_read, gain, out[:n_read])
        out[n_read:] = 0.0
        return abs(gain) * self.reader.peak(track)


class LibriSpeechUtterances:
    """The utterances of a split, each once, at the mean level (in dB) at which the list mixes it.

    See :class:`~asteroid_stab.data.utterances.Utterances`. A list's gains bring utterances to its range of
    loudness, so these utterances are as loud as sources of that corpus.

    Args:
        mixtures: the list with the table of its signals.
        reader: gives the samples of those signals.
    """

    def __init__(self, mixtures: MixtureTracks, reader: TrackReader):
        used: dict[int, list[float]] = {}
        for tracks, gains in zip(mixtures.sources, mixtures.gains, strict=True):
            for track, gain in zip(tracks, gains, strict=True):
                used.setdefault(track, []).append(gain)
        self.reader = reader
        self.tracks = sorted(used, key=lambda track: mixtures.tracks.names[track])
        self.names = [mixtures.tracks.names[track] for track in self.tracks]
        self.speakers = [speaker_of(name) for name in self.names]
        self.lengths = [mixtures.tracks.lengths[track] for track in self.tracks]
        tiny = np.finfo(np.float64).tiny
        self.gains = [float(np.exp(np.log(np.maximum(np.abs(used[t]), tiny)).mean())) for t in self.tracks]

    def read(self, utterance: int, start: int, stop: int) -> np.ndarray:
        out = np.empty(stop - start, np.float32)
        self.reader.read_into(self.tracks[utterance], start, stop, self.gains[utterance], out)
        return out


def speaker_of(name: str) -> str:
    """Returns the speaker of an utterance's path ``subset/speaker/.../utterance``.

    Example:
        >>> speaker_of("train-clean-100/103/1240/103-1240-0000.flac")
        '103'
    """
    parts = name.split("/")
    if len(parts) < 3:
        raise StabError(f"an utterance's path must be subset/speaker/.../utterance, got {name!r}")
    return parts[1]


class LibriSpeechCorpus(Corpus):
    """Mixtures on the fly from LibriSpeech folders and LibriMix lists.

    Args:
        root: LibriSpeech, the folder that holds train-clean-100, dev-clean, ...; the lists' source paths
            start there.
        noise_root: the noise corpus; the lists' noise paths start there. Tasks with noise need it.
        list_root: folder that relative list paths start from; None is the working directory.
        train_list: mixture list for training (CSV, LibriMix's columns).
        valid_list: mixture list for validation.
        test_list: mixture list for testing.
        task: ``sep_clean`` (the mixture is the sum of the sources), ``sep_noisy`` (and the noise), or
            ``enh_single`` (source 1 and the noise; source 1 is the only target, ``n_src`` is 1).
        mode: ``min`` cuts all sources to the shortest, ``max`` pads them to the longest.
        sample_rate: in Hz, 8000 or 16000.
        n_src: sources in a mixture; the list must have as many.
        cache: folder for packed copies of the decoded signals (made once, 2 bytes a sample); None decodes
            every time.
        skip_missing: leave out mixtures whose files are missing, instead of stopping.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        root: str | None = None,
        noise_root: str | None = None,
        list_root: str | None = None,
        train_list: str | None = None,
        valid_list: str | None = None,
        test_list: str | None = None,
        task: str = "sep_clean",
        mode: str = "min",
        sample_rate: int = 8000,
        n_src: int = 2,
        cache: str | None = None,
        skip_missing: bool = False,
    ):
        super().__init__(n_src, check_rate(sample_rate))
        check_choice("task", task, TASKS)
        check_choice("mode", mode, MODES)
        if task == "enh_single" and n_src != 1:
            raise ValueError(f"n_src must be 1 for task enh_single, got {n_src}")
        self.root, self.noise_root, self.list_root = root, noise_root, list_root
        self.lists = dict(zip(SPLITS, (train_list, valid_list, test_list), strict=True))
        self.task, self.mode = task, mode
        self.cache, self.skip_missing = cache, skip_missing
        self._mixtures: dict[str, MixtureTracks] = {}

    def prepare(self, splits: Sequence[str]) -> None:
        """Makes the packed copies that are not there yet."""
        if self.cache is not None:
            for split in splits:
                self._reader(self.mixture_tracks(split))

    def dataset(self, split: str, segment_s: float | None = None, seed: int = 0) -> LibriSpeechMixtures:
        mixtures = self.mixture_tracks(split)
        return LibriSpeechMixtures(mixtures, self._reader(mixtures), segment_s, seed)

    def utterances(self, split: str) -> LibriSpeechUtterances:
        """Returns the utterances of a split's list.

        Raises:
            StabError: the task has noise, which a mixture of utterances would silently leave out.
        """
        if self.task != "sep_clean":
            raise StabError(
                f"{{argument}} must be 'sep_clean' where utterances are mixed, which have no noise, got {self.task!r}",
                "task",
            )
        mixtures = self.mixture_tracks(split)
        return LibriSpeechUtterances(mixtures, self._reader(mixtures))

    def mixture_tracks(self, split: str) -> MixtureTracks:
        """Reads the list of a split, and checks the files that it names (once).

        Raises:
            StabError: the corpus, the list or files of it are missing or cannot be used.
        """
        if split not in self._mixtures:
            root, noise_root = check_folder("root", self.root, "the LibriSpeech folder"), None
            if self.task != "sep_clean":
                noise_root = check_folder("noise_root", self.noise_root, "the noise corpus")
            path = self._list_path(check_split(split))
            self._mixtures[split] = gather_tracks(
                read_mixture_list(path),
                root=root,
                noise_root=noise_root,
                task=self.task,
                mode=self.mode,
                sample_rate=self.sample_rate,
                n_src=self.n_src,
                skip_missing=self.skip_missing,
                label=str(path),
            )
        return self._mixtures[split]

    def _list_path(self, split: str) -> Path:
        path = self.lists[split]
        if path is None:
            raise StabError("{argument} is not set; set {argument}=FILE.csv to a mixture list", f"{split}_list")
        return Path(self.list_root or "", path)

    def _reader(self, mixtures: MixtureTracks) -> TrackReader:
        if self.cache is None:
            return mixtures.tracks
        return PackedTracks.open_or_pack(mixtures.tracks, Path(self.cache))
