"""Folders of speech as a source of single utterances, for corpora that mix them: no list is needed."""

from __future__ import annotations

import numpy as np

from asteroid_stab.audio.tracks import Tracks
from asteroid_stab.data.corpora.sounds import Sound, find_speakers
from asteroid_stab.data.corpus import HIGHEST_RATE, SPLITS, check_count, check_folder, check_split
from asteroid_stab.data.lists.maker import hold_out
from asteroid_stab.errors import StabError
from asteroid_stab.paths import folder_names


class FolderUtterances:
    """Utterances decoded from their files in every read, at the level of the files.

    See :class:`~asteroid_stab.data.utterances.Utterances`.

    Args:
        found: the utterances.
        sample_rate: of the samples that are read, in Hz.
    """

    def __init__(self, found: list[Sound], sample_rate: int):
        frames, rates = [sound.n_frames for sound in found], [sound.sample_rate for sound in found]
        self.names = [sound.name for sound in found]
        self.speakers = [sound.name.split("/")[1] for sound in found]
        self.tracks = Tracks([sound.root for sound in found], self.names, frames, frames, sample_rate, rates)
        self.lengths = self.tracks.lengths

    def read(self, utterance: int, start: int, stop: int) -> np.ndarray:
        return self.tracks.read(utterance, start, stop)


class SpeechFolders:
    """Speech in LibriSpeech's layout: the base of a corpus that mixes utterances itself, such as ``NoisyCorpus``.

    It is an :class:`~asteroid_stab.data.utterances.UtteranceSource` and no corpus: it has no mixtures.

    Args:
        root: folder of the speech, as ``subset/speaker/.../utterance.flac`` or ``.wav``, at 16 kHz.
        train_subset: folder of the training speakers.
        valid_subset: folder of the validation speakers; None holds ``valid_speakers`` of the training speakers out.
        test_subset: folder of the test speakers.
        valid_speakers: number of training speakers held out where there is no ``valid_subset``.
        sample_rate: of the utterances as they are read, in Hz.
        corpus_seed: seed of who is held out: the same speakers as ``asteroid-stab prepare`` holds out with that seed,
            if no speaker has short utterances alone.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        root: str | None = None,
        train_subset: str = "train-clean-100",
        valid_subset: str | None = None,
        test_subset: str = "test-clean",
        valid_speakers: int = 25,
        sample_rate: int = 8000,
        corpus_seed: int = 0,
    ):
        self.root, self.corpus_seed = root, check_count("corpus_seed", corpus_seed, 0)
        self.sample_rate = check_count("sample_rate", sample_rate, 1, HIGHEST_RATE)
        given = (train_subset, valid_subset or train_subset, test_subset)
        self.subsets = {split: folder_names([name], "a subset")[0] for split, name in zip(SPLITS, given, strict=True)}
        self.holds_out = not valid_subset
        for i, split in enumerate(SPLITS):
            for other in SPLITS[:i]:
                if self.subsets[split] == self.subsets[other] and not (self.holds_out and split == "valid"):
                    both = self.subsets[split]
                    raise ValueError(f"{other}_subset and {split}_subset must be different folders, both are {both!r}")
        self.valid_speakers = check_count("valid_speakers", valid_speakers, 1)
        self._utterances: dict[str, FolderUtterances] = {}

    def prepare(self) -> None:
        """Does nothing: utterances are decoded when they are read."""

    def found(self, split: str) -> list[Sound]:
        """Finds the utterances of a split's speakers.

        Raises:
            StabError: there is no such folder, it holds no speech, or too few speakers would be left.
        """
        root = check_folder("root", self.root, "the folder of speech, such as LibriSpeech")
        speech = find_speakers(root, self.subsets[check_split(split)])
        if not self.holds_out or split == "test":
            return speech
        speakers = sorted({sound.group for sound in speech})
        if self.valid_speakers >= len(speakers):
            raise StabError(
                f"{{argument}} must be less than the {len(speakers)} speakers of {self.subsets[split]}, "
                f"got {self.valid_speakers}",
                "valid_speakers",
            )
        held_out = hold_out(speakers, self.valid_speakers, self.corpus_seed)
        return [sound for sound in speech if (sound.group in held_out) == (split == "valid")]

    def utterances(self, split: str) -> FolderUtterances:
        """Returns the utterances of a split's speakers, found once.

        Raises:
            StabError: see :meth:`found`.
        """
        if check_split(split) not in self._utterances:
            self._utterances[split] = FolderUtterances(self.found(split), self.sample_rate)
        return self._utterances[split]
