"""The page of a study: what it says of each row, and that it needs nothing from outside."""

import re
from html import unescape

import pandas as pd
import pytest

from asteroid_stab.report.study_page import render_study
from asteroid_stab.run.study import read_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_run_to):
    """Three rows of two seeds each; the second is better by 3 dB, the third is of one seed and not evaluated."""
    root = tmp_path_factory.mktemp("study")
    for row, seed, final in (("pit", 1, 5), ("pit", 2, 5), ("a <b>", 1, 8), ("a <b>", 2, 8), ("late", 1, 6)):
        write_run_to(root / row / str(seed), seed=seed, final=final, seconds=0.1)
    for part in ("summary.json", "utterances.csv"):
        (root / "late" / "1" / "evaluation" / "test" / part).unlink()
    for seed, seconds in ((1, 80), (2, 100)):
        (root / "pit" / f"{seed}.json").write_text(f'{{"seconds": 1, "cpu_seconds": {seconds}}}')
    (root / "late" / "1.json").write_text('{"seconds": 1}')  # as a study noted it that did not count CPU time
    (root / "study.json").write_text('{"rows": {"pit": ["x/y"], "a <b>": ["x/y"], "late": ["x/y"]}}')
    return root


@pytest.fixture(scope="module")
def page(folder):
    return render_study(read_study(folder, "test"), "test", "study A & B")


def cells(page, title):
    """The cells of a table, by row."""
    table = re.search(rf"<caption>{re.escape(title)}.*?</table>", page, re.DOTALL)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    texts = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[unescape(re.sub(r"<[^>]*>", "", text)).strip() for text in row] for row in texts]


def test_the_tables_are_those_of_compare(folder, page):
    study = read_study(folder, "test")
    assert cells(page, "Rows: mean ± standard deviation over the seeds") == study.results
    head, row = cells(page, "Paired differences")
    assert row[:4] == ["a <b>", "pit", "2", "60"]
    assert row[-1].startswith("better by 3.0")
    assert len(head) == len(row)


def test_every_picture_says_in_words_what_it_shows(folder, page):
    alts = [unescape(alt) for alt in re.findall(r'role="img" aria-label="([^"]*)"', page)]
    assert len(alts) == 3
    assert re.match(r"Difference of test SI-SDRi with intervals. a <b> beside pit: better by 3.0\d", alts[0])
    last = [pd.read_csv(folder / "pit" / seed / "metrics.csv")["val/si_sdr_i"].iloc[-1] for seed in "12"]
    assert f"pit: {sum(last) / 2:.2f} at epoch 12" in alts[1]
    assert alts[2].startswith("Line chart of Switch ratio by epoch. pit: ")
    first = [pd.read_csv(folder / "pit" / seed / "metrics.csv")["val/si_sdr_i"].iloc[0] for seed in "12"]
    tip = f"pit, epoch 1: {sum(first) / 2:.2f} ({min(first):.2f} to {max(first):.2f})"
    assert f"<title>{tip}</title>" in page


def test_cost_is_the_mean_over_the_seeds(page):
    rows = cells(page, "Cost: mean over the seeds")
    assert rows[1] == ["pit", "312 k", "1 min 30 s", "1 min 54 s", "10 s", "76.0 ms", "cpu"]
    assert rows[3] == ["late", "312 k", "–", "1 min 54 s", "10 s", "76.0 ms", "cpu"]


def test_it_is_self_contained_and_shows_names_as_text(page):
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)
    assert "<b>" not in page
    assert "<title>study A &amp; B" in page
    assert 'id="overview"' in page


def test_rows_without_numbers_are_there_and_one_row_has_no_difference(tmp_path, write_run_to):
    run = write_run_to(tmp_path / "pit" / "1", seconds=0.1)
    page = render_study(read_study(tmp_path, "test"), "test", "t")
    assert "Paired differences" not in page
    assert page.count('role="img"') == 2
    for file in ("metrics.csv", "switches.csv", "versions.json"):
        (run / file).unlink()
    page = render_study(read_study(tmp_path, "test"), "test", "t")
    assert "No run has a validation score or a table of switches." in page
    assert cells(page, "Cost")[1] == ["pit", "–", "–", "–", "–", "–", "–"]


def test_notes_of_the_comparison_are_on_it(tmp_path, write_run_to):
    write_run_to(tmp_path / "pit" / "1", seconds=0.1)
    write_run_to(tmp_path / "few" / "1", seconds=0.1, n_items=10)
    page = unescape(render_study(read_study(tmp_path, "test"), "test", "t"))
    assert "these rows cannot be compared, they were evaluated on different mixtures: pit on 60; few on 10" in page
