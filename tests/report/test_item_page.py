"""The page about one item."""

import re

import numpy as np
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.report.item_history import History
from asteroid_stab.report.item_page import LONGEST_S, chart, charts, render_item
from asteroid_stab.report.run_data import read_runs
from asteroid_stab.report.training import switch_ratio


def history(*perm):
    return History(np.arange(1, len(perm) + 1), np.array(perm))


@pytest.fixture
def dataset(tiny_corpus):
    return tiny_corpus(n_src=3).dataset("train")


def tips(svg):
    return re.findall(r"<title>(.*?)</title>", svg)


def test_a_chart_has_a_mark_for_each_speaker_and_epoch():
    figure = chart("x", "Labels", history([0, 1, 2], [1, 2, 0], [1, 2, 0]))
    found = tips(figure.svg)
    assert len(found) == 9
    assert "epoch 1: speaker 2 gets estimate 2" in found
    assert "epoch 2: speaker 3 gets estimate 1 (switched)" in found
    assert "epoch 3: speaker 3 gets estimate 1" in found
    assert figure.caption == "The assignment switches 1 time in 3 epochs."
    text = re.sub(r"<title>.*?</title>", "", str(figure.svg))
    for word in ("speaker 3", "estimate 3"):
        assert word in text


def test_unseen_epochs_and_shared_estimates_are_drawn_too():
    figure = chart("x", "Labels", history([0, 1, 2], [-1, -1, -1], [0, 0, 2]))
    found = tips(figure.svg)
    assert len(found) == 6
    assert {"epoch 3: speaker 1 gets estimate 1", "epoch 3: speaker 2 gets estimate 1"} <= set(found)
    assert figure.caption == "The assignment switches 0 times in 3 epochs."


def test_many_epochs_and_speakers_have_a_chart():
    rng = np.random.default_rng(0)
    figure = chart("x", "Labels", history(*(rng.permutation(8) for _ in range(200))))
    assert len(tips(figure.svg)) == 1600
    one = chart("y", "Labels", history([0, 1]))
    assert len(tips(one.svg)) == 2


def test_the_name_of_the_run_stands_where_there_are_several():
    one = history([0, 1, 2])
    assert [figure.title for figure in charts({"pit": one}, "Labels")] == ["Labels"]
    assert [figure.title for figure in charts({"pit": one, "dsd": one}, "Labels")] == ["Labels: pit", "Labels: dsd"]


def test_the_page_compares_runs_and_plays_the_item(dataset, make_run):
    runs = {"pit": history([0, 1, 2], [1, 2, 0], [2, 0, 1]), "dsd": history([0, 1, 2], [1, 2, 0], [-1, -1, -1])}
    ratio = switch_ratio(read_runs([make_run("pit", seed=1)]))
    page = render_item("tiny-3", 3, runs, dataset, ratio)
    assert re.findall(r'aria-label="(Mixture|Speaker \d)"', page) == ["Mixture", "Speaker 1", "Speaker 2", "Speaker 3"]
    assert page.count('src="data:audio/wav;base64,') == 4
    assert "http" not in re.sub(r"http://www.w3.org", "", page).replace("base64", "")
    table = re.sub(r"<[^>]+>", " ", page[page.index("Switches of this item") :])
    assert re.search(r"pit\s+3\s+2\s+epoch 3", table)
    assert re.search(r"dsd\s+2\s+1\s+epoch 2", table)
    assert page.count("<figure") == 3
    assert render_item("tiny-3", 3, runs, dataset, None).count("<figure") == 2


def test_a_long_item_is_cut(dataset, monkeypatch):
    monkeypatch.setattr("asteroid_stab.report.item_page.LONGEST_S", 0.1)
    assert LONGEST_S == 30.0
    page = render_item("tiny-0", 0, {"pit": history([0, 1, 2])}, dataset, None)
    assert "first 0.1 s of 0.1 s" in page
    assert "0 to 4 kHz, 0.1 s" in page


def test_data_that_have_changed_are_named(dataset):
    with pytest.raises(StabError, match="the training data have no item 'other': they have changed since the run"):
        render_item("other", 0, {"pit": history([0, 1, 2])}, dataset, None)
    with pytest.raises(StabError, match="item 'tiny-0' must have the 2 sources of the run, got 3"):
        render_item("tiny-0", 0, {"pit": history([0, 1])}, dataset, None)


def test_of_several_microphones_the_first_is_played(tiny_corpus):
    runs = {"pit": history([0, 1, 2])}
    pages = [
        render_item("tiny-3", 3, runs, tiny_corpus(n_src=3, n_mics=n_mics).dataset("train"), None) for n_mics in (1, 2)
    ]
    assert pages[0] == pages[1]
