"""Tables of an evaluation: the sources' classes."""

import pandas as pd

from asteroid_stab.report.metric_tables import class_tables, number_tables
from asteroid_stab.report.run_data import read_runs
from asteroid_stab.run.layout import RunLayout


def test_classes_have_rows_of_their_own(make_run):
    runs = read_runs([make_run("a", classes=("env", "speech")), make_run("b", seed=1, classes=("speech",))])
    [table] = class_tables(runs)
    assert [row[:3] for row in table.rows] == [["a", "env", "60"], ["a", "speech", "60"], ["b", "speech", "60"]]
    assert table.rows[2][3] == f"{runs[1].metric('si_sdr_i')['mean']:.2f}"
    [table] = class_tables(runs[:1])
    assert table.head[0] == "Class"
    assert class_tables(read_runs([make_run("c")])) == []


def test_scores_stand_by_the_number_of_sources(make_run):
    folder = make_run("a")
    file = RunLayout(folder).evaluation("test").utterances
    table = pd.read_csv(file)
    table["n_active"] = [1 + i % 2 for i in range(len(table))]
    table["n_active_estimates"] = [2.0] * (len(table) - 1) + [float("nan")]
    table.loc[table["n_active"] == 1, "si_sdr_i"] = float("nan")
    table.to_csv(file, index=False)
    runs = read_runs([folder, make_run("b", seed=1)])
    [shown] = number_tables(runs)
    half = f"{len(table) // 2:,}"
    means = [f"{table[table['n_active'] == n]['si_sdr'].mean():.2f}" for n in (1, 2)]
    assert [row[:5] for row in shown.rows] == [["a", "1", half, "0%", means[0]], ["a", "2", half, "100%", means[1]]]
    assert shown.rows[0][5] == "–"
    assert number_tables(runs[1:]) == []
    [alone] = number_tables(runs[:1])
    assert alone.head[:3] == ["Sources", "mixtures", "counted right"]


def test_a_table_without_a_score_has_no_rows_by_the_number_of_sources(make_run):
    path = make_run()
    file = path / "evaluation/test/utterances.csv"
    table = pd.read_csv(file).assign(n_active=2, n_active_estimates=2)
    table.to_csv(file, index=False)
    assert number_tables(read_runs([path]))
    table.drop(columns="si_sdr").to_csv(file, index=False)
    assert number_tables(read_runs([path])) == []
