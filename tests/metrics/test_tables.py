"""The summary of mixtures of a varying number of sources."""

import json

import pandas as pd
import pytest

from asteroid_stab.metrics.evaluation import Evaluation
from asteroid_stab.metrics.tables import write_tables

NAN = float("nan")


def row(item, n_active, n_estimates, si_sdr, gain):
    counts = {"n_active": n_active, "n_active_estimates": n_estimates}
    values = {"input_si_sdr": si_sdr - gain, "si_sdr": si_sdr, "si_sdr_i": gain}
    return {"id": item, "name": f"mix-{item}", "n_samples": 8, **values, **counts}


def test_counts_are_summed_up_by_the_true_number(tmp_path):
    rows = [row(0, 1, 1, 30.0, NAN), row(1, 1, 2, 10.0, NAN), row(2, 3, 3, 4.0, 6.0), row(3, 3, NAN, NAN, NAN)]
    write_tables(Evaluation(("si_sdr",), rows), tmp_path, {})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["counting"] == {"accuracy": pytest.approx(2 / 3), "table": {"1": {"1": 1, "2": 1}, "3": {"3": 1}}}
    by_number = summary["by_n_active"]
    assert by_number["1"]["si_sdr"]["mean"] == 20
    assert by_number["1"]["si_sdr_i"]["n"] == 0
    assert by_number["3"]["si_sdr_i"]["mean"] == 6
    table = pd.read_csv(tmp_path / "utterances.csv")
    assert table["n_active"].tolist() == [1, 1, 3, 3]
    assert table["n_active_estimates"].isna().tolist() == [False, False, False, True]


def test_other_evaluations_have_no_counts(tmp_path):
    rows = [{key: value for key, value in row(0, 2, 2, 5.0, 3.0).items() if not key.startswith("n_active")}]
    write_tables(Evaluation(("si_sdr",), rows), tmp_path, {})
    assert not {"counting", "by_n_active"} & json.loads((tmp_path / "summary.json").read_text()).keys()
    wanted = ["id", "name", "n_samples", "input_si_sdr", "si_sdr", "si_sdr_i"]
    assert list(pd.read_csv(tmp_path / "utterances.csv")) == wanted
