"""Tables of assignments, which may come from anybody."""

import csv
import io

import numpy as np
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.run import assignments
from asteroid_stab.run.assignments import read_labels, read_table, write_epoch, write_items

TABLE = np.array([[[0, 1, 2], [2, 0, 1], [-1, -1, -1]]], dtype=np.int8)


@pytest.fixture
def run(tmp_path):
    write_items(tmp_path, ["a", "b", "c"], "f00d")
    write_epoch(tmp_path, 0, TABLE)
    return tmp_path


def test_a_table_is_read_as_it_was_written(run):
    labels, fingerprint = read_labels(run)
    assert labels.tolist() == TABLE[0].tolist()
    assert fingerprint == "f00d"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (TABLE[0], r"it holds \[3, 3\] values of type int8"),
        (TABLE.astype(float), "type float64"),
        (TABLE[:, :0], r"it holds \[1, 0, 3\]"),
        (TABLE + 1, "an assignment of 3 sources has 0 to 3"),
        (TABLE - 1, "has -2 to 1"),
        (np.array([[[{}]]]), "Python objects in dtype"),
    ],
)
def test_another_table_is_refused(run, content, reason):
    np.save(run / "assignments" / "epoch_0000.npy", content)
    with pytest.raises(StabError, match=f"epoch_0000.npy is no readable table of assignments .*{reason}.*remove it"):
        read_labels(run)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"(1, 3, 3)", b"(9, 9, 9)"), (b"'descr'", b"'desc\n("), (b"'shape'", b"'''''''"), (b"\x93NUMPY", b"NUMPY")],
)
def test_a_damaged_head_is_refused(run, old, new):
    file = run / "assignments" / "epoch_0000.npy"
    file.write_bytes(file.read_bytes().replace(old, new, 1))
    with pytest.raises(StabError, match="no readable table of assignments"):
        read_labels(run)


def test_tables_of_two_corpora_are_not_mixed(run):
    write_epoch(run, 1, np.full((1, 2, 3), -1, dtype=np.int8))
    with pytest.raises(StabError, match=r"epoch_0000.npy is of another corpus: \[3, 3\], not \[2, 3\]"):
        read_labels(run)


def test_a_shape_can_be_asked_for(run):
    file = run / "assignments" / "epoch_0000.npy"
    assert read_table(file, (1, 3, None)).shape == (1, 3, 3)
    with pytest.raises(StabError, match=r"it holds \[1, 3, 3\] values"):
        read_table(file, (1, 4, None))


def test_the_list_of_items_is_what_pythons_writer_makes(tmp_path, monkeypatch):
    monkeypatch.setattr(assignments, "_CHUNK", 2)
    names = ["a", "b c", "d,e", 'f"g', "h\ni", "j\rk", "l", "", "'m'", " n"]
    write_items(tmp_path, iter(names), "abc")
    file = tmp_path / "assignments" / "items.csv"
    wanted = io.StringIO(newline="")
    csv.writer(wanted, lineterminator="\n").writerows([("id", "name"), *enumerate(names)])
    assert file.read_bytes() == wanted.getvalue().encode()
