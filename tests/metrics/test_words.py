"""Word errors by a recogniser of the user's own."""

import math
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from asteroid_stab.data import MixtureDataset
from asteroid_stab.errors import StabError
from asteroid_stab.metrics.separated import Separated
from asteroid_stab.metrics.words import (
    FIGURES,
    WordErrors,
    check_recogniser,
    errors,
    load_recogniser,
    read_transcripts,
    total,
)

COUNTED = pytest.mark.skipif(find_spec("meeteval") is None, reason="meeteval counts the errors")
RATE = 1000


class Spoken(MixtureDataset):
    """Mixtures of three sources that need not be read."""

    def __init__(self, n_items):
        super().__init__([f"talk {i}" for i in range(n_items)], [300] * n_items, 3, RATE)

    def read(self, row, start, stop):
        raise AssertionError


def pair(item, order=(1, 2, 0), gain=0.01):
    """A separated mixture whose estimates go round, as softly as the SI-SDR allows."""
    sources = torch.randn(3, 300, generator=torch.Generator().manual_seed(item))
    estimates = gain * sources[list(order)] + 1e-4 * torch.randn(3, 300)
    return Separated(item, "", sources.sum(0), sources, estimates, {"own": 1.0})


def recogniser(texts, mixtures):
    """Gives the text of the source that it hears, whose loudness it checks."""

    def recognise(signal, sample_rate):
        assert sample_rate == RATE
        assert signal.dtype == np.float32
        assert np.abs(signal).max() == pytest.approx(1.0)
        likeness = {
            text: abs(float(np.corrcoef(signal, source.numpy())[0, 1]))
            for mixture in mixtures
            for text, source in zip(texts[mixture.item], mixture.sources, strict=True)
        }
        return max(likeness, key=likeness.get)

    return recognise


@COUNTED
def test_the_errors_are_of_the_right_sources():
    mixtures = [pair(0), pair(1)]
    said = [["a b c", "d e", "f"], ["one two", "three", "four five six seven"]]
    wanted = {"talk 0": ["a b c", "d e", "g"], "talk 1": said[1]}
    words = WordErrors(recogniser(said, mixtures), wanted, Spoken(2))
    found = list(words.after(lambda items: iter(mixtures))([0, 1]))
    rate = pytest.approx(100 / 6)
    assert found[0].figures == {"own": 1.0, "wer": rate, "cpwer": rate, "n_words": 6}
    assert found[1].figures == {"own": 1.0, "wer": 0.0, "cpwer": 0.0, "n_words": 7}
    rate = pytest.approx(100 / 13)
    assert total([one.figures for one in found]) == {"wer": rate, "cpwer": rate, "n_words": 13}


@COUNTED
def test_cpwer_takes_the_texts_in_any_order():
    """A source is heard in another's estimate: an error for the WER, which keeps the assignment by SI-SDR."""
    mixtures = [pair(0)]
    heard = [["d e", "a b c", "f"]]
    words = WordErrors(recogniser(heard, mixtures), {"talk 0": ["a b c", "d e", "f"]}, Spoken(1))
    (found,) = words.after(lambda items: iter(mixtures))([0])
    assert (found.figures["wer"], found.figures["cpwer"]) == (pytest.approx(100 * 6 / 6), 0.0)


@COUNTED
def test_errors_are_counted_as_by_hand():
    assert errors(["a b c"], ["a x c d"]) == (2, 3)
    assert errors(["", "a"], ["a", ""]) == (0, 1)
    assert errors(["", ""], ["a", "b c"]) == (3, 0)
    assert errors(["a b", "c", "d e f"], ["d e f", "a b", "c"]) == (0, 6)


@COUNTED
def test_without_words_there_is_no_rate():
    mixtures = [pair(0)]
    texts = {"talk 0": ["", "", ""], "talk 1": ["a", "", ""]}
    words = WordErrors(lambda signal, rate: "x", texts, Spoken(2))
    (found,) = words.after(lambda items: iter(mixtures))([0])
    assert math.isnan(found.figures["wer"])
    assert math.isnan(found.figures["cpwer"])
    assert total([found.figures, {"n_words": math.nan}, {}]) == {}
    assert [*FIGURES] == ["wer", "cpwer", "n_words"]


@COUNTED
def test_a_mixture_whose_recogniser_fails_keeps_its_other_figures_and_a_broken_one_passes():
    broken = pair(1)._replace(fault="no file")

    for error, reason in ((RuntimeError("no memory"), "RuntimeError: no memory"), (SystemExit(0), "SystemExit: 0")):

        def fails(signal, rate, error=error):
            raise error

        words = WordErrors(fails, {"talk 0": ["a"] * 3, "talk 1": [""] * 3}, Spoken(2))
        found = list(words.after(lambda items: iter([pair(0), broken]))([0, 1]))
        assert [one.fault for one in found] == ["", "no file"]
        assert [{**one.failures} for one in found] == [
            dict.fromkeys(("wer", "cpwer"), f"the recogniser failed: {reason}"),
            {},
        ]
        assert found[0].figures == pytest.approx({"own": 1.0, **dict.fromkeys(FIGURES, math.nan)}, nan_ok=True)
        assert total([found[0].figures, {"wer": 50.0, "cpwer": 25.0, "n_words": 4.0}]) == {
            "wer": 50.0,
            "cpwer": 25.0,
            "n_words": 4,
        }


@COUNTED
def test_a_recogniser_that_gives_no_text_ends_it():
    words = WordErrors(lambda signal, rate: None, {"talk 0": ["a"] * 3}, Spoken(1))
    with pytest.raises(StabError, match=r"the recogniser must return a text \(str\), got NoneType"):
        list(words.after(lambda items: iter([pair(0)]))([0]))


def test_a_recogniser_is_tried_on_noise():
    heard = []
    check_recogniser(lambda signal, rate: heard.append((signal, rate)) or "a", RATE)
    ((signal, rate),) = heard
    assert (signal.dtype, signal.shape, rate) == (np.float32, (RATE,), RATE)
    assert 0.3 < np.abs(signal).max() < 1
    with pytest.raises(StabError, match=r"the recogniser must return a text \(str\), got NoneType"):
        check_recogniser(lambda signal, rate: None, RATE)
    for wrong in (lambda signal: "", lambda signal, rate: sys.exit(3)):
        message = (
            r"the recogniser failed on a second of noise at 1000 Hz: (TypeError|SystemExit): .*sample_rate\) -> text"
        )
        with pytest.raises(StabError, match=message):
            check_recogniser(wrong, RATE)


@COUNTED
def test_transcripts_must_be_of_the_mixtures():
    texts = {"talk 0": [""] * 3, "talk 9": [""] * 3}
    with pytest.raises(StabError, match=r"2 of 3 mixtures have no transcript: talk 1, talk 2 \(did you mean 'talk "):
        WordErrors(lambda *_: "", texts, Spoken(3))
    WordErrors(lambda *_: "", {**texts, "talk 0": ["a", "", ""]}, Spoken(3), limit=1)
    with pytest.raises(StabError, match="the transcripts must be of 3 sources, got 2 for 'talk 0'"):
        WordErrors(lambda *_: "", {"talk 0": ["", ""]}, Spoken(1))
    with pytest.raises(StabError, match="the transcripts of 1 mixtures have no words, so that there are no rates"):
        WordErrors(lambda *_: "", {"talk 0": ["", " ", ""]}, Spoken(1))


def test_what_counts_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "meeteval.wer", None)
    with pytest.raises(StabError, match=r"--recogniser needs meeteval.wer .*asteroid-stab\[words\]"):
        WordErrors(lambda *_: "", {"talk 0": ["a"] * 3}, Spoken(1))


def test_a_table_of_transcripts(tmp_path):
    file = tmp_path / "said.csv"
    file.write_text('source_2,name,source_1,more\nb,talk 0,"a, a",x\n,talk 1,,\n')
    assert read_transcripts(file) == {"talk 0": ["a, a", "b"], "talk 1": ["", ""]}
    file.write_text("name,text\na,b\n")
    with pytest.raises(StabError, match="must have the columns source_1; it has"):
        read_transcripts(file)
    file.write_text("name,source_1\na,b\na,c\n")
    with pytest.raises(StabError, match="must have one row of each name, got 'a' twice"):
        read_transcripts(file)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("asr", "--recogniser must be the dotted name of a function, such as my_asr.transcribe, got 'asr'"),
        ("a b.c", "--recogniser must be the dotted name of a function"),
        ("no_such_asr.hear", "--recogniser names no_such_asr.hear, which cannot be imported here"),
        (
            "statistics.maen",
            r"--recogniser names statistics.maen, but statistics has no 'maen' \(did you mean 'mean'\?\)",
        ),
        ("math.pi", r"--recogniser must name a function \(waveform, sample_rate\) -> text, got math.pi, 3.14"),
    ],
)
def test_a_name_of_no_recogniser(name, message):
    with pytest.raises(StabError, match=message):
        load_recogniser(name)


def test_a_recogniser_is_found_by_its_name():
    assert load_recogniser("math.sqrt") is math.sqrt
