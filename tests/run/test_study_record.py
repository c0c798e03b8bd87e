"""The record of a study: the order of its rows, and that a row stays the same."""

import pytest
from studies import runs_in

from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import StudyLayout
from asteroid_stab.run.study_record import keep_record, read_order


@pytest.fixture
def keep(tmp_path):
    """Keeps the record of rows that a text has."""

    def keep_text(text, overrides=()):
        rows = [run.row for run in runs_in(tmp_path, text, [1])]
        keep_record(rows, overrides, StudyLayout(tmp_path / "s"))
        return read_order(StudyLayout(tmp_path / "s"))

    return keep_text


def starts(folder, row):
    (folder / "s" / row / "1").mkdir(parents=True)
    (folder / "s" / row / "1" / "config.yaml").write_text("recipe: x/y")


def test_rows_are_in_the_order_of_their_file_and_older_ones_follow(keep, tmp_path):
    assert read_order(StudyLayout(tmp_path / "s")) == []
    assert keep("b x/y\na x/y") == ["b", "a"]
    assert keep("c x/y\na x/y") == ["c", "a", "b"]


def test_a_row_with_runs_stays_the_same(keep, tmp_path):
    keep("a x/y optim.lr=1\nb x/y")
    assert keep("a x/y optim.lr=2\nb x/y") == ["a", "b"]  # none of it has started
    starts(tmp_path, "a")
    was, now = "'x/y optim.lr=2'", "'x/z optim.lr=2'"
    message = rf"study.rows:1: .*/s holds runs of another row 'a', {was}, and this one is {now}: give it another name"
    with pytest.raises(StabError, match=message):
        keep("a x/z optim.lr=2")
    with pytest.raises(StabError, match=r"and this one is 'x/y optim.lr=2 seed=3'"):
        keep("a x/y optim.lr=2", ["seed=3"])
    keep("a x/y optim.lr=2 trainer.max_epochs=9", ["data.root=moved"])  # what a resumed run may change


def test_runs_of_an_earlier_version_have_no_record(keep, tmp_path):
    starts(tmp_path, "a")
    assert keep("a x/y") == ["a"]


@pytest.mark.parametrize("text", ["", "[]", '{"rows": 1}', '{"rows": {"a": 1}}', '{"rows": {"a": [1]}}', b"\xff"])
def test_a_damaged_record_is_named(keep, tmp_path, text):
    keep("a x/y")
    (tmp_path / "s" / "study.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StabError, match=r"study.json' is no readable record of a study: remove it"):
        keep("a x/y")
