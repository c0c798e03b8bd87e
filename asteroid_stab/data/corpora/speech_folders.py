"""The single utterances of folders of speech, for corpora that mix them themselves: no list is needed."""

from __future__ import annotations

import numpy as np

from asteroid_stab.audio.tracks import Tracks
from asteroid_stab.data.corpora.sound_data import SpeechFolders
from asteroid_stab.data.corpora.sounds import Sound
from asteroid_stab.data.datamodule import MixtureDataModule, check_split
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError


class FolderUtterances:
    """Utterances decoded whenever they are read, at the level of their files.

    See :class:`~asteroid_stab.data.utterances.Utterances`.

    Args:
        found: the utterances.
        sample_rate: of what is read, in Hz.
    """

    def __init__(self, found: list[Sound], sample_rate: int):
        frames, rates = [sound.n_frames for sound in found], [sound.sample_rate for sound in found]
        self.names = [sound.name for sound in found]
        self.speakers = [sound.name.split("/")[1] for sound in found]
        self.tracks = Tracks([sound.root for sound in found], self.names, frames, frames, sample_rate, rates)
        self.lengths = self.tracks.lengths

    def read(self, utterance: int, start: int, stop: int) -> np.ndarray:
        """Samples ``[stop - start]``, float32, at the data's sample rate."""
        return self.tracks.read(utterance, start, stop)


class SpeechFolderData(MixtureDataModule):
    """Speech in LibriSpeech's layout as the base of a corpus that mixes it, such as ``NoisyData``.

    It has utterances and no mixtures of its own.

    Args:
        root: the corpus, as ``subset/speaker/.../utterance.flac`` or ``.wav``, at 16 kHz.
        train_subset: folder of the training speakers.
        valid_subset: folder of the validation speakers; None holds ``valid_speakers`` of the training speakers out.
        test_subset: folder of the test speakers.
        valid_speakers: see ``valid_subset``.
        sample_rate: of the utterances as they are given, in Hz.
        corpus_seed: seed of who is held out; those that ``asteroid-stab prepare`` holds out with that seed, if no
            speaker has short utterances alone.

    Raises:
        StabError: an argument is out of its range.
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
        super().__init__(n_src=1, sample_rate=sample_rate)
        self.speech = SpeechFolders(
            root, train_subset, valid_subset, test_subset, valid_speakers, corpus_seed, key="root"
        )
        self._utterances: dict[str, FolderUtterances] = {}

    def utterances(self, split: str) -> FolderUtterances:
        """See :meth:`MixtureDataModule.utterances`.

        Raises:
            StabError: the corpus or a folder of it is not there, holds no speech, or too few speakers.
        """
        if check_split(split) not in self._utterances:
            self._utterances[split] = FolderUtterances(self.speech.found(split), self.sample_rate)
        return self._utterances[split]

    def dataset(self, split: str, segment_s: float | None) -> MixtureDataset:
        """Nothing.

        Raises:
            StabError: always.
        """
        raise StabError("folders of speech have no mixtures of their own: data=libri1mix mixes them with noise")
