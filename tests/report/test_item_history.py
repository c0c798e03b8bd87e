"""The assignments of items from epoch to epoch."""

import numpy as np
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.report.item_history import check_same_items, count_item_switches, find_item, read_history
from asteroid_stab.run.assignments import write_epoch, write_items
from asteroid_stab.run.layout import RunLayout

A, B, C, NONE = [0, 1, 2], [1, 2, 0], [2, 0, 1], [-1, -1, -1]
# Four epochs of three items; epoch 2 has no table.
TABLES = {0: [A, A, B], 1: [B, A, NONE], 3: [C, B, B], 4: [A, B, B], 5: [A, C, NONE]}


@pytest.fixture
def run(tmp_path):
    return write(tmp_path / "run")


def write(folder, tables=TABLES, names=("a", "b", "c"), fingerprint="same"):
    write_items(folder, names, fingerprint)
    for epoch, table in tables.items():
        first = np.roll(table, 1, axis=0)  # an earlier layer, which is not looked at
        write_epoch(folder, epoch, np.array([first, table], dtype=np.int8))
    return RunLayout(folder)


def test_a_history_is_of_the_last_layer_and_counts_neighbouring_epochs(run):
    first, second, third = (read_history(run, item) for item in range(3))
    np.testing.assert_array_equal(first.epochs, [1, 2, 4, 5, 6])
    np.testing.assert_array_equal(first.perm, [A, B, C, A, A])
    assert first.switched.tolist() == [False, True, False, True, False]  # epoch 3 is missing before the third
    assert second.switched.tolist() == [False, False, False, False, True]
    assert third.switched.tolist() == [False] * 5  # not seen, and the same
    assert count_item_switches(run).tolist() == [one.switched.sum() for one in (first, second, third)]


def test_the_item_that_switches_most_is_the_default(run):
    assert find_item(run, None) == (0, "a")
    assert find_item(run, "2") == (2, "c")
    assert find_item(run, "b") == (1, "b")


def test_a_name_comes_before_a_number(tmp_path):
    assert find_item(write(tmp_path, names=("1", "0", "x")), "0") == (1, "0")


def test_items_that_are_not_there_are_named(run):
    for wanted in ("3", "-1", "d"):
        with pytest.raises(StabError, match=f"--item must be an id from 0 to 2 or a name, got '{wanted}'"):
            find_item(run, wanted)
    for item in (-1, 3):
        with pytest.raises(StabError, match=f"run has items 0 to 2, got item {item}"):
            read_history(run, item)


def test_folders_without_tables_are_named(tmp_path, run):
    empty = RunLayout(tmp_path / "empty")
    with pytest.raises(StabError, match=r"empty has no table of assignments .*AssignmentTracker\(save=True\)"):
        read_history(empty, 0)
    with pytest.raises(StabError, match="empty has no list of its training items"):
        find_item(empty, "a")
    run.items.write_text("id,name\n")
    with pytest.raises(StabError, match="run has no list of its training items"):
        find_item(run, None)


def test_lists_and_tables_that_do_not_fit_are_named(tmp_path):
    short = write(tmp_path / "short", {0: [A, A, B], 1: [A, A, C]}, names=("a", "b"))
    with pytest.raises(StabError, match="items.csv must list the 3 items of the tables beside it, got 2"):
        find_item(short, None)
    other = write(tmp_path / "other", {0: [A, A, B], 1: [[0, 1]]})
    with pytest.raises(StabError, match=r"epoch_0001.npy is of another corpus: \[1, 2\], not \[3, 3\]"):
        count_item_switches(other)


def test_runs_of_other_items_are_not_compared(tmp_path, run):
    other = write(tmp_path / "other", fingerprint="different")
    check_same_items([run, run])
    with pytest.raises(StabError, match="other was trained on other items than .*run, which cannot be compared"):
        check_same_items([run, other])
