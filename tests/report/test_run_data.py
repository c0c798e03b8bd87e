from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.report.metric_tables import class_tables
from asteroid_stab.report.overview import _results
from asteroid_stab.report.run_data import distinct_names, read_runs
from asteroid_stab.run.metrics_table import PART
from asteroid_stab.run.study import result


def figure(**info):
    return json.dumps({"command": "", "metrics": {}, "failures": {}, "figures": {"n": info}})


def test_everything_of_a_run_is_read(whole_run):
    (run,) = read_runs([whole_run])
    assert (run.name, run.index, run.split) == ("toy_convtasnet", 0, "test")
    assert run.config == (whole_run / "config.yaml").read_text()
    assert run.versions["n_parameters"] == 312_450
    assert run.date == "2026-11-20 14:03"
    table = pd.read_csv(whole_run / "metrics.csv", float_precision="round_trip")  # the default of pandas 2 rounds
    assert run.column("val/si_sdr_i").tolist() == table["val/si_sdr_i"].tolist()
    utterances = pd.read_csv(whole_run / "evaluation/test/utterances.csv")
    assert run.metric("si_sdr_i")["p50"] == pytest.approx(np.median(utterances["si_sdr_i"]))
    assert run.evaluation.failures == {"pesq": {"mix_0003": "no utterances detected"}}
    assert [example.kind for example in run.evaluation.examples] == ["best", "median", "worst"]
    best = run.evaluation.examples[0]
    assert best.si_sdr_i == pytest.approx(utterances["si_sdr_i"].max())
    assert [path.name for path in best.estimates] == ["estimate_1.wav", "estimate_2.wav"]
    assert all(path.is_file() for path in (best.mixture, *best.estimates, *best.sources))


def test_sources_are_in_the_order_of_their_numbers(make_run):
    path = make_run(n_src=11, seconds=0.1)
    (run,) = read_runs([path])
    names = [source.stem for source in run.evaluation.examples[0].sources]
    assert names == [f"source_{j}" for j in range(1, 12)]


def test_an_empty_cell_is_undefined_and_left_out(make_run):
    path = make_run()
    (run,) = read_runs([path])
    ratio = run.column("train/switch_ratio")
    assert ratio.index.tolist() == list(range(2, 13))  # counted from 1, and the first has none
    assert run.switch_ratio().tolist() == ratio.tolist()
    (path / "metrics.csv").write_text("epoch,val/si_sdr_i\n0,\n1,\n")
    (run,) = read_runs([path])
    assert run.column("val/si_sdr_i") is None
    assert run.column("no such column") is None


def test_switch_ratio_is_that_of_the_last_layer_or_of_the_one_asked_for(make_run):
    path = make_run(n_layers=3)
    table = pd.read_csv(path / "switches.csv")
    (run,) = read_runs([path])
    for layer, wanted in ((None, 2), (0, 0), (1, 1)):
        expected = table[(table["layer"] == wanted) & (table["epoch"] > 0)]["switch_ratio"]
        assert run.switch_ratio(layer).tolist() == expected.tolist()


def test_what_was_never_made_is_none(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {}\n")
    (run,) = read_runs([tmp_path])
    assert (run.metrics, run.switches, run.evaluation, run.versions) == (None, None, None, {})
    assert run.switch_ratio() is None
    assert run.metric("si_sdr_i") is None
    assert run.date.endswith(" (of config.yaml)")


def test_an_evaluation_that_broke_off_counts_as_none(make_run):
    path = make_run()
    (path / "evaluation/test/summary.json").unlink()
    (run,) = read_runs([path])
    assert run.evaluation is None


def test_a_table_with_a_head_only_counts_as_none(make_run):
    path = make_run()
    (path / "metrics.csv").write_text("epoch,step,val/si_sdr_i\n")
    (path / "switches.csv").write_text("")
    (run,) = read_runs([path])
    assert run.metrics is None
    assert run.switches is None


def test_a_mixture_may_have_any_name(make_run):
    path = make_run()
    file = path / "evaluation/test/utterances.csv"
    table = pd.read_csv(file)
    names = ["NA", "nan", "007", "a,b", '"', "null"]
    table.loc[:5, "name"] = names
    table.to_csv(file, index=False)
    (run,) = read_runs([path])
    assert run.evaluation.utterances["name"].tolist()[:6] == names


def test_another_split_is_another_evaluation(make_run):
    path = make_run()
    (run,) = read_runs([path], split="valid")
    assert run.evaluation is None
    assert run.evaluate_command == f"asteroid-stab evaluate {path} --split valid"


def test_the_command_to_evaluate_is_quoted(make_run):
    (run,) = read_runs([make_run("my run")])
    assert run.evaluate_command.endswith("my run' --split test")


def test_null_in_a_summary_is_undefined(make_run):
    path = make_run()
    file = path / "evaluation/test/summary.json"
    summary = json.loads(file.read_text())
    summary["metrics"]["pesq_i"] = {"mean": None, "std": None, "p50": None}
    file.write_text(json.dumps(summary))
    (run,) = read_runs([path])
    assert math.isnan(run.metric("pesq_i")["mean"])


def test_names_are_made_distinct_by_as_many_parents_as_it_takes():
    paths = ["/a/x/run", "/a/y/run", "/b/y/run", "/a/z/other"]
    assert distinct_names([Path(path) for path in paths]) == ["x/run", "a/y/run", "b/y/run", "other"]
    assert distinct_names([Path("/a"), Path("/b/a")]) == ["/a", "b/a"]


def test_a_run_given_twice_is_refused(make_run, monkeypatch):
    path = make_run()
    monkeypatch.chdir(path.parent)
    with pytest.raises(StabError, match="each run must be given once, got 'toy_convtasnet' twice"):
        read_runs([path, Path("toy_convtasnet")])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("versions.json", "{", "versions.json must hold JSON, got Expecting property name"),
        (
            "metrics.csv",
            "step,val/loss\n1,2\n",
            "metrics.csv must be a table .* epoch, got no column 'epoch'",
        ),
        ("metrics.csv", "epoch,val/loss\n0,oops\n", "metrics.csv must be a table .* 'oops'"),
        (
            "metrics.csv",
            "epoch\n0,1\n2,3,4\n",
            "metrics.csv must be a table .* Expected 2 fields in line 3, saw 3",
        ),
        ("switches.csv", "epoch,layer\n0,0\n", "switches.csv must be a table .* no column 'switch_ratio'"),
        ("evaluation/test/utterances.csv", "id,name,si_sdr_i\n0,a,1\n", "no column 'input_si_sdr'"),
        (
            "metrics.csv",
            "epoch,step\n1.5,1\n",
            "metrics.csv must be a table .* epoch with an entry that is no whole number from 0",
        ),
        ("metrics.csv", f"epoch,step\n{'9' * 30},1\n", "epoch with an entry that is no whole number from 0"),
        ("metrics.csv", "epoch,val/si_sdr_i\n0,many\n", "could not convert string to float: 'many'"),
        ("versions.json", "[1]", "versions.json cannot be used: it must be a mapping, got \\[1\\]"),
        ("versions.json", '{"packages": {"torch": 2}}', "packages.torch must be str, got 2"),
        (
            "evaluation/test/examples/examples.json",
            '[{"kind": "../x", "name": "a"}]',
            "kind must be one of best, median",
        ),
        ("evaluation/test/examples/examples.json", '[{"kind": "best"}]', r"it\[0\].name is missing"),
        ("evaluation/test/summary.json", '{"command": "", "metrics": 1, "failures": {}}', "its figures are of no"),
        ("evaluation/test/summary.json", '{"command": 1, "metrics": {}, "failures": {}}', "command must be str, got 1"),
        ("evaluation/test/summary.json", "[]", "it must be dict, got"),
        ("evaluation/test/summary.json", '{"failures": {}}', "an evaluation's, got one without 'command'"),
        ("metrics.csv", "epoch,val/loss\n0,1,2\n1,1,2\n", "metrics.csv .* got rows that are longer than its head"),
        ("switches.csv", "epoch,layer,switch_ratio\n0,0,-1\n", "switch_ratio with an entry that is no share from 0"),
        ("versions.json", '{"n_parameters": 1%s}' % ("0" * 40), r"must hold JSON, got a number beyond 1e\+30"),
        ("versions.json", '{"n": -1e31}', r"must hold JSON, got a number beyond 1e\+30"),
        ("versions.json", r'{"command": "\ud800"}', "must hold JSON, got 'utf-8' codec can't encode"),
        ("evaluation/test/summary.json", figure(label=5), "figures.n.label must be str, got 5"),
        ("evaluation/test/summary.json", figure(label="n", digits="x"), "figures.n.digits must be int, got 'x'"),
        ("evaluation/test/summary.json", figure(label="n", digits=-1), "digits must be from 0 to 10, got -1"),
        (
            "evaluation/test/summary.json",
            figure(label="n", digits=10**9),
            "digits must be from 0 to 10, got 1000000000",
        ),
        ("evaluation/test/summary.json", b"\xff\xfe", "summary.json must hold JSON, got 'utf-8' codec"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(make_run, name, content, message):
    path = make_run()
    (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StabError, match=message):
        read_runs([path])


def test_the_best_model_of_a_training_of_several_parts_is_of_the_last(make_run):
    path = make_run(n_epochs=4)
    [run] = read_runs([path])
    pd.testing.assert_series_equal(run.validation, run.column("val/si_sdr_i"))
    table = pd.read_csv(path / "metrics.csv")
    table["val/si_sdr_i"], table[PART] = [9.0, 1.0, 2.0, 1.5], [1, 1, 2, 2]
    table.to_csv(path / "metrics.csv", index=False)
    [run] = read_runs([path])
    assert (run.validation.max(), run.validation.idxmax()) == (2.0, 3)
    [tile] = [part for part in _results(run) if part[0] == "Best validation SI-SDRi"]
    assert tile[1:] == ("2.00", "dB", "at epoch 3")
    assert result(run).valid == 2.0


def test_numbers_without_a_mean_are_shown_as_undefined(make_run):
    path = make_run(classes=("dog",))
    file = path / "evaluation/test/summary.json"
    summary = json.loads(file.read_text())
    summary["metrics"]["si_sdr_i"], summary["classes"]["dog"] = {"p50": 1.0}, {"mean": 2.0}
    file.write_text(json.dumps(summary))
    [run] = read_runs([path])
    assert math.isnan(run.metric("si_sdr_i")["mean"])
    assert run.metric("si_sdr_i")["p50"] == 1.0
    [table] = class_tables([run])
    assert table.rows[0][:3] == ["dog", "–", "2.00"]


def test_numbers_that_no_axis_can_show_are_left_out(make_run):
    path = make_run()
    (path / "metrics.csv").write_text("epoch,val/si_sdr_i\n0,1e308\n1,-inf\n2,5\n")
    [run] = read_runs([path])
    assert run.column("val/si_sdr_i").to_dict() == {3: 5.0}


def test_a_config_that_is_no_text_or_no_file_is_named(make_run):
    path = make_run()
    (path / "config.yaml").write_bytes(b"data: \xff")
    with pytest.raises(StabError, match=r"config.yaml' is no readable config: 'utf-8'"):
        read_runs([path])
