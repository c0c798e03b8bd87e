"""asteroid-stab weights: real runs that dropped and that weighed, and what it refuses."""

import re

import pytest
from runs import SMALL

from asteroid_stab.cli.main import main
from asteroid_stab.cli.weights import _correlation
from asteroid_stab.report.item_groups import Relation
from asteroid_stab.run.item_tables import ITEM_WEIGHTS

WORDS = [*SMALL, "data.n_utterances=1", "data.n_train=16", "logger=none", "trainer.max_epochs=3"]
DROPS = ["stabilizer=[dsd]", "stabilizer.dsd.epsilon_db=0", "stabilizer.dsd.keep_same=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("weights") / "run"
    words = [*WORDS, *DROPS, "callbacks=[tracker,data_map,weights]"]
    assert main(["train", "baseline/toy", f"run_dir={run}", *words]) == 0
    return run


def test_the_shares_of_dropped_visits_are_shown(run, capsys):
    assert main(["weights", str(run)]) == 0
    shown = capsys.readouterr().out
    table = ITEM_WEIGHTS.read(run / "item_weights.npy")
    dropped = table[:, 1].sum() / table[:, 0].sum()
    assert shown.splitlines()[0] == f"16 items, 48 visits, {dropped:.1%} of them dropped; 16 measured"
    assert "share of dropped visits, by quarters of the items" in shown
    for title in ("mean SI-SDR", "spread of it", "level difference", "pitch distance", "semitones"):
        assert title in shown
    assert "input SNR" not in shown  # there is no noise
    assert re.search(r"[+-]\d\.\d\d to", shown)


def test_some_of_the_items_are_measured(run, capsys):
    assert main(["weights", str(run), "--limit", "5"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("; 5 measured")


def test_one_item_has_nothing_to_compare(run, capsys):
    assert main(["weights", str(run), "--limit", "1"]) == 0
    assert "there is nothing to compare: no property varies among at least 4 items" in capsys.readouterr().out


@pytest.fixture
def table(run):
    """The run's table, to be changed and written; the run has its own again afterwards."""
    file = run / "item_weights.npy"
    kept = file.read_bytes()
    yield ITEM_WEIGHTS.read(file)
    file.write_bytes(kept)


def test_items_that_all_weigh_the_same(run, table, capsys):
    table[:, 1:] = (0, 1)
    ITEM_WEIGHTS.write(run / "item_weights.npy", table.astype("float32"))
    assert main(["weights", str(run)]) == 0
    assert "every item has the same mean weight" in capsys.readouterr().out


def test_no_interval_is_shown_where_there_is_none():
    nan = float("nan")
    relation = Relation("x", [(0, 0)], [0], 4, 1.0, (nan, nan))
    assert _correlation(relation) == "+1.00\n–"


def test_weights_are_shown_where_nothing_is_dropped(run, table, capsys):
    table[:, 1] = 0
    ITEM_WEIGHTS.write(run / "item_weights.npy", table.astype("float32"))
    assert main(["weights", str(run)]) == 0
    assert "mean weight (1: the plain mean's), by quarters of the items" in capsys.readouterr().out


def test_other_data_and_a_run_without_weights_are_refused(run, tmp_path, capsys):
    assert main(["weights", str(run), "data.n_train=8"]) == 2
    assert "was trained on 16 items, the data have 8" in capsys.readouterr().err
    assert main(["train", "baseline/toy", f"run_dir={tmp_path / 'plain'}", *WORDS, "trainer.max_epochs=1"]) == 0
    assert main(["weights", str(tmp_path / "plain")]) == 2
    assert "kept no weights of its items: train with callbacks=[tracker,weights]" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["weights"])
    assert main(["weights", str(tmp_path / "none")]) == 2
    assert main(["weights", str(run), "trainer.max_epochs=1"]) == 2
