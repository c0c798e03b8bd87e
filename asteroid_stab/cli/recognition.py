"""The words of ``evaluate`` and ``score`` for a recogniser of the user's own."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asteroid_stab.cli.arguments import path
from asteroid_stab.errors import StabError

if TYPE_CHECKING:
    from asteroid_stab.data.dataset import MixtureDataset
    from asteroid_stab.metrics.words import Recognise, WordErrors


@dataclass(frozen=True)
class Recognition:
    """A recogniser with the transcripts that it is compared with; or neither.

    Attributes:
        recognise: the recogniser; None: no words are counted.
        transcripts: the texts of the sources, by mixture.
        settings: both in words, for the summary; empty without a recogniser.
    """

    recognise: Recognise | None
    transcripts: Mapping[str, Sequence[str]]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, options: argparse.Namespace) -> Recognition:
        """Reads ``--recogniser`` and ``--transcripts``.

        Raises:
            StabError: one is given without the other, or cannot be used.
        """
        if (options.recogniser is None) != (options.transcripts is None):
            given, lacking = ("--transcripts FILE", "--recogniser NAME")[:: 1 if options.recogniser is None else -1]
            raise StabError(f"{given} needs {lacking} too: word errors are between what both say")
        if options.recogniser is None:
            return cls(None, {}, {})
        from asteroid_stab.metrics.words import check_words, load_recogniser, read_transcripts

        check_words()
        transcripts = read_transcripts(options.transcripts)
        digest = hashlib.sha256(options.transcripts.read_bytes()).hexdigest()
        settings = {"recogniser": options.recogniser, "transcripts_sha256": digest}
        return cls(load_recogniser(options.recogniser), transcripts, settings)

    def errors_in(self, dataset: MixtureDataset, limit: int | None) -> WordErrors | None:
        """The word errors of the first mixtures of a data set; None without a recogniser.

        Raises:
            StabError: the transcripts are not of these mixtures, or the recogniser fails on noise.
        """
        from asteroid_stab.metrics.words import WordErrors, check_recogniser

        if self.recognise is None:
            return None
        words = WordErrors(self.recognise, self.transcripts, dataset, limit)
        check_recogniser(self.recognise, dataset.sample_rate)
        return words


def add_recognition(parser: argparse.ArgumentParser) -> None:
    """Adds ``--recogniser NAME`` and ``--transcripts FILE``."""
    parser.add_argument(
        "--recogniser",
        metavar="NAME",
        help="count word errors: the dotted name of a function of yours, (waveform, sample_rate) -> text",
    )
    parser.add_argument(
        "--transcripts",
        type=path,
        metavar="FILE",
        help="what is said: a table (.csv) with name, source_1, source_2, ...",
    )
