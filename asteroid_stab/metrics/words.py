"""Word errors of separated mixtures: a recogniser of the user's own writes down the estimates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.lists.table import ListTable
from asteroid_stab.errors import StabError, cause, nearest, some
from asteroid_stab.metrics.levels import below_full_scale, matched
from asteroid_stab.metrics.names import FigureInfo
from asteroid_stab.metrics.separated import Separate, Separated
from asteroid_stab.metrics.separation_metrics import assign
from asteroid_stab.required import needed
from asteroid_stab.trust import imported

Recognise = Callable[[np.ndarray, int], str]
"""Gives the text of a signal [T], float32 with a peak of at most 1, at a sample rate in Hz."""

WER, CPWER, N_WORDS = "wer", "cpwer", "n_words"
FIGURES: Mapping[str, FigureInfo] = {
    WER: FigureInfo("WER", "%", 1, "word error rate under the assignment by SI-SDR"),
    CPWER: FigureInfo("cpWER", "%", 1, "word error rate under the assignment with the fewest errors"),
    N_WORDS: FigureInfo("words", digits=0, meaning="of the transcripts"),
}
"""The columns of an evaluation with word errors."""
NAME = "name"
_TABLE = "table of transcripts"


class WordErrors:
    """Adds the word errors of the estimates to separated mixtures.

    The WER gives each source the estimate that all metrics give it, the one with the highest SI-SDR. The cpWER
    (concatenated minimum-permutation word error rate) gives it the one with the fewest errors. Words are compared as
    they are: the recogniser and the transcripts must agree on case and punctuation. An estimate is as loud as its
    source.

    Args:
        recognise: the recogniser.
        transcripts: the texts of the sources of each mixture, by the mixture's name; empty for a source without words.
        dataset: the mixtures.
        limit: how many are measured, from the first; None: all.

    Raises:
        StabError: meeteval is not installed, or a mixture has no transcript, or one of another number of sources, or
            no transcript has words.

    Example:
        >>> # Two of five words: one is missing, one is too much.
        >>> errors(["a b c", "d e"], ["d e f", "a b"])  # doctest: +SKIP
        (2, 5)

    References:
        Watanabe et al., "CHiME-6 challenge: tackling multispeaker speech recognition for unsegmented recordings", 2020.
        von Neumann et al., "MeetEval: a toolkit for computation of word error rates for meeting transcription systems",
        2023.
    """

    def __init__(
        self,
        recognise: Recognise,
        transcripts: Mapping[str, Sequence[str]],
        dataset: MixtureDataset,
        limit: int | None = None,
    ):
        check_words()
        names = dataset.names[:limit]
        if lacking := [name for name in names if name not in transcripts]:
            raise StabError(
                f"{len(lacking)} of {len(names)} mixtures have no transcript: {some(lacking)}"
                f"{nearest(lacking[0], transcripts)}; a transcript's name must be its mixture's"
            )
        wrong = next((name for name in names if len(transcripts[name]) != dataset.n_src), None)
        if wrong is not None:
            raise StabError(
                f"the transcripts must be of {dataset.n_src} sources, got {len(transcripts[wrong])} for {wrong!r}"
            )
        if not any(text.split() for name in names for text in transcripts[name]):
            raise StabError(f"the transcripts of {len(names)} mixtures have no words, so that there are no rates")
        self.recognise, self.transcripts, self.dataset = recognise, transcripts, dataset

    def after(self, separate: Separate) -> Separate:
        """Returns a function that separates as ``separate`` does, and adds :data:`FIGURES` to each mixture's.

        A mixture on which the recogniser fails has no rates, but the reason among its failures, and its other figures.

        Raises:
            StabError: in use, the recogniser returns something else than a text.
        """

        def measured(items: Sequence[int]) -> Iterator[Separated]:
            for one in separate(items):
                if one.fault:
                    yield one
                    continue
                try:
                    texts = self._texts(one)
                except StabError:
                    raise
                except (Exception, SystemExit) as error:  # of any type: a recogniser is the user's own
                    lost = dict.fromkeys((WER, CPWER), f"the recogniser failed: {cause(error)}")
                    unknown = dict.fromkeys(FIGURES, math.nan)
                    yield one._replace(figures={**one.figures, **unknown}, failures={**one.failures, **lost})
                    continue
                own = self._figures(self.transcripts[self.dataset.names[one.item]], texts)
                yield one._replace(figures={**one.figures, **own})

        return measured

    def _texts(self, one: Separated) -> list[str]:
        """The texts of the estimates, in the order of the sources."""
        sources, estimates = (x.double().numpy() for x in (one.sources, one.estimates))
        estimates = matched(estimates[assign(sources, estimates)], sources)
        rate = self.dataset.sample_rate
        return [_heard(self.recognise, below_full_scale(one), rate) for one in estimates]

    @staticmethod
    def _figures(wanted: Sequence[str], found: Sequence[str]) -> dict[str, float]:
        n_wrong = sum(errors([text], [own])[0] for text, own in zip(wanted, found, strict=True))
        n_least, n_words = errors(wanted, found)
        rates = [100 * n / n_words if n_words else math.nan for n in (n_wrong, n_least)]
        return dict(zip(FIGURES, [*rates, float(n_words)], strict=True))


def check_words() -> None:
    """Checks that word errors can be counted here.

    Raises:
        StabError: meeteval is not installed.
    """
    needed("meeteval.wer", "--recogniser", "words")


def check_recogniser(recognise: Recognise, sample_rate: int) -> None:
    """Tries a recogniser on a second of noise, so that one that fails always fails before the mixtures are separated.

    Args:
        recognise: the recogniser.
        sample_rate: of the mixtures, in Hz.

    Raises:
        StabError: it fails, or returns something else than a text.
    """
    try:
        _heard(recognise, 0.1 * np.random.default_rng(0).standard_normal(sample_rate), sample_rate)
    except StabError:
        raise
    except (Exception, SystemExit) as error:  # of any type: a recogniser is the user's own
        raise StabError(
            f"the recogniser failed on a second of noise at {sample_rate} Hz: {cause(error)}; it must be a function "
            "(waveform, sample_rate) -> text"
        ) from error


def _heard(recognise: Recognise, signal: np.ndarray, sample_rate: int) -> str:
    text = recognise(signal.astype(np.float32), sample_rate)
    if not isinstance(text, str):
        raise StabError(f"the recogniser must return a text (str), got {type(text).__name__}")
    return text


def errors(wanted: Sequence[str], found: Sequence[str]) -> tuple[int, int]:
    """Returns the number of word errors under the permutation with the fewest, and the number of wanted words.

    Args:
        wanted: the transcripts of the sources.
        found: as many texts, in any order.

    Raises:
        StabError: meeteval is not installed.
    """
    rate = needed("meeteval.wer", "--recogniser", "words").cp_word_error_rate(
        [*wanted], [*found], reference_sort=False, hypothesis_sort=False
    )
    return int(rate.errors), int(rate.length)


def total(rows: Sequence[Mapping[str, float]]) -> dict[str, float | int]:
    """Returns the rates over all words of some mixtures, and their number; empty where there are none.

    A mean over mixtures would count the words of a short one more than the words of a long one. A mixture without words
    has no rate and does not count.

    Args:
        rows: the columns of the mixtures; ``nan`` where undefined.

    Example:
        >>> total([{"wer": 50.0, "cpwer": 25.0, "n_words": 4.0}, {"wer": 0.0, "cpwer": 0.0, "n_words": 12.0}])
        {'wer': 12.5, 'cpwer': 6.25, 'n_words': 16}
    """
    counted = [row for row in rows if N_WORDS in row and row[N_WORDS] > 0]
    n_words = sum(row[N_WORDS] for row in counted)
    if not n_words:
        return {}
    rates = {name: sum(row[name] * row[N_WORDS] for row in counted) / n_words for name in (WER, CPWER)}
    return {**rates, N_WORDS: int(n_words)}


def load_recogniser(name: str) -> Recognise:
    """Returns the recogniser that a dotted name means.

    Raises:
        StabError: it cannot be imported, or cannot be called.
    """
    if "." not in name or not all(part.isidentifier() for part in name.split(".")):
        raise StabError(f"--recogniser must be the dotted name of a function, such as my_asr.transcribe, got {name!r}")
    found = imported(name, "--recogniser")
    if not callable(found):
        raise StabError(f"--recogniser must name a function (waveform, sample_rate) -> text, got {name}, {found!r}")
    return found


def read_transcripts(file: Path) -> dict[str, list[str]]:
    """Reads a table (``.csv``) with a row for each mixture: ``name``, ``source_1``, ``source_2``, ...

    Raises:
        StabError: it cannot be read, lacks a column, or has two rows of one name.
    """
    table = ListTable(file, _TABLE)
    n_src = 0
    while f"source_{n_src + 1}" in table.columns:
        n_src += 1
    table.require([NAME, *(f"source_{j + 1}" for j in range(max(n_src, 1)))])
    found: dict[str, list[str]] = {}
    for row, name in enumerate(table.texts(NAME)):
        if name in found:
            raise StabError(f"{table.label} must have one row of each name, got {name!r} twice")
        found[name] = [table.optional_text(row, f"source_{j + 1}") for j in range(n_src)]
    return found
