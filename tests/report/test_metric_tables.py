"""Tables of an evaluation: the sources' classes."""

from asteroid_stab.report.metric_tables import class_tables
from asteroid_stab.report.run_data import read_runs


def test_classes_have_rows_of_their_own(make_run):
    runs = read_runs([make_run("a", classes=("env", "speech")), make_run("b", seed=1, classes=("speech",))])
    [table] = class_tables(runs)
    assert [row[:3] for row in table.rows] == [["a", "env", "60"], ["a", "speech", "60"], ["b", "speech", "60"]]
    assert table.rows[2][3] == f"{runs[1].metric('si_sdr_i')['mean']:.2f}"
    [table] = class_tables(runs[:1])
    assert table.head[0] == "Class"
    assert class_tables(read_runs([make_run("c")])) == []
