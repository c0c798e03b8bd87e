"""Pictures of the figures that a model reports: their numbers, and when there are none."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from asteroid_stab.report.item_figures import item_figures
from asteroid_stab.report.metric_tables import metric_tables
from asteroid_stab.report.page import render
from asteroid_stab.report.run_data import read_runs
from asteroid_stab.report.wording import number


def tips(figure):
    return re.findall("<title>(.*?)</title>", figure.svg)


def test_means_by_the_mixtures_si_sdr(make_run):
    path = make_run("adaptive", iterations=4, n_items=80)
    [run] = read_runs([path])
    section = item_figures([run])
    histogram, figure = section.parts
    assert figure.title == "SI-SDRi and iterations against the mixture's SI-SDR"
    table = pd.read_csv(path / "evaluation/test/utterances.csv").sort_values("input_si_sdr")
    bins = [table.iloc[i : i + 10] for i in range(0, 80, 10)]
    columns = {"si_sdr_i": "dB", "n_iterations": "iterations"}
    wanted = [(one["input_si_sdr"].mean(), one[y].mean(), unit) for y, unit in columns.items() for one in bins]
    assert tips(figure) == [
        f"adaptive, mixtures around {number(x, 2, 'dB')}: {number(y, 2, unit)}" for x, y, unit in wanted
    ]
    assert wanted[8][1] > wanted[15][1]  # the hardest took more
    assert f"adaptive: {number(wanted[8][1])} iterations and {number(wanted[0][1], 2, 'dB')}" in figure.alt
    assert figure.legend == []
    assert histogram.alt.endswith(f" adaptive: mean {number(table['n_iterations'].mean())}.")


def test_noisy_mixtures_are_shown_by_snr(make_run):
    paths = [make_run("one", iterations=4, n_items=40, noisy=True), make_run("other", iterations=2, n_items=40)]
    figure = item_figures(read_runs(paths[:1])).parts[1]
    assert figure.title == "SI-SDRi and iterations against the input SNR"
    table = pd.read_csv(paths[0] / "evaluation/test/utterances.csv").sort_values("input_snr")
    first, made = table["input_snr"].iloc[:5].mean(), table["n_iterations"].iloc[:5].mean()
    assert tips(figure)[8] == f"one, mixtures around {number(first, 2, 'dB')}: {number(made, 2, 'iterations')}"
    assert "'s" not in item_figures(read_runs(paths[:1])).parts[1].alt
    assert item_figures(read_runs(paths)).parts[1].title == "SI-SDRi and iterations against the mixture's SI-SDR"


def test_runs_are_compared_by_compute(make_run):
    paths = [make_run("few", iterations=2), make_run("plain", seed=1), make_run("many", seed=2, iterations=4)]
    runs = read_runs(paths)
    _, by_difficulty, by_compute = item_figures(runs).parts
    assert by_compute.title == "SI-SDRi against computation"
    assert tips(by_compute) == [
        f"{run.name}: {number(2 * run.metric('n_iterations')['mean'])} sub-blocks, "
        f"{number(run.metric('si_sdr_i')['mean'], 2, 'dB')}"
        for run in (runs[0], runs[2])
    ]
    assert [key.label for key in by_compute.legend] == [key.label for key in by_difficulty.legend] == ["few", "many"]
    assert by_compute.legend[1].colour == "var(--c2)"  # the run's own


def test_limits_of_one_run_are_joined(make_run):
    path = make_run("adaptive", iterations=4, limits=(1, 10, 2))
    summary = path / "evaluation/test_iterations10/summary.json"
    stale = {**json.loads(summary.read_text()), "model_sha256": "of another model"}
    (path / "best_model.pth").write_bytes(b"a model")
    summary.write_text(json.dumps(stale))
    (path / "evaluation/test_iterations_old").mkdir()
    [run] = read_runs([path])
    assert [one.variant for one in run.variants] == ["iterations1", "iterations10", "iterations2"]
    figure = item_figures([run]).parts[-1]
    assert figure.title == "SI-SDRi against computation"
    shown = tips(figure)
    assert [tip.partition(":")[0] for tip in shown] == [
        "adaptive, iterations1", "adaptive, iterations2", "adaptive"
    ]  # fmt: skip
    assert all(tip in figure.alt for tip in shown)
    applied = [float(re.search(r": ([\d.]+) sub-blocks", tip)[1]) for tip in shown]
    assert applied == sorted(applied)
    made = pd.read_csv(path / "evaluation/test_iterations1/utterances.csv")["n_iterations"].mean()
    assert applied[0] == pytest.approx(2 * made, abs=0.005)


def test_undefined_mixtures_are_left_out(make_run):
    path = make_run("adaptive", iterations=4, n_items=5)
    file = path / "evaluation/test/utterances.csv"
    table = pd.read_csv(file)
    table.loc[0, "si_sdr_i"] = np.nan
    table.loc[1, "input_si_sdr"] = np.nan
    table.to_csv(file, index=False)
    _, figure = item_figures(read_runs([path])).parts
    made = table.loc[2:, "n_iterations"].mean()  # three mixtures, one bin
    assert tips(figure)[1].endswith(f": {number(made, 2, 'iterations')}")
    table["si_sdr_i"] = np.nan
    table.to_csv(file, index=False)
    assert item_figures(read_runs([path])) is None


@pytest.mark.parametrize("counted", [False, True])
def test_only_models_with_figures_have_the_section(make_run, counted):
    runs = read_runs([make_run("a", iterations=4 * counted, n_epochs=3)])
    assert (item_figures(runs) is not None) == counted
    assert ('id="item-figures"' in render(runs)) == counted
    [table] = metric_tables(runs)
    assert [row[2] for row in table.rows if row[0] == "iterations"] == (
        [number(runs[0].metric("n_iterations")["mean"])] if counted else []
    )


def with_figure(path, values, **info):
    """A run whose model reports one figure more, with these values."""
    folder = path / "evaluation/test"
    pd.read_csv(folder / "utterances.csv").assign(effort=values).to_csv(folder / "utterances.csv", index=False)
    summary = json.loads((folder / "summary.json").read_text())
    summary["figures"] = {**summary.get("figures", {}), "effort": info}
    summary["metrics"]["effort"] = {"mean": float(np.mean(values))}
    (folder / "summary.json").write_text(json.dumps(summary))
    return path


def test_any_figure_has_its_label_and_unit(make_run):
    values = np.linspace(0.5, 9.7, 60)
    runs = read_runs([with_figure(make_run("a", n_epochs=3), values, label="effort of a gate", unit="ms", digits=1)])
    histogram, by_difficulty = item_figures(runs).parts
    assert histogram.title == "Effort of a gate over the mixtures"
    assert "effort of a gate (ms)" in histogram.svg
    assert by_difficulty.title == "SI-SDRi and effort of a gate against the mixture's SI-SDR"
    assert tips(by_difficulty)[-1].endswith(" ms")
    [table] = metric_tables(runs)
    assert [row[2] for row in table.rows if row[0] == "effort of a gate (ms)"] == ["5.1"]
    assert item_figures(runs).intro == "Figures that the model reports of each mixture: effort of a gate."


def test_a_cost_has_a_picture_of_its_own_or_all_of_them(make_run):
    costs = [make_run(name, n_epochs=3, seed=seed) for seed, name in enumerate("ab")]
    runs = read_runs([with_figure(path, np.arange(60.0), label="effort", is_cost=True) for path in costs])
    titles = [part.title for part in item_figures(runs).parts]
    assert titles[0] == "Effort over the mixtures"
    assert titles[2] == "SI-SDRi against computation"
    assert [part.title for part in item_figures(runs[:1]).parts] == titles[:2]  # one point is no picture


@pytest.mark.filterwarnings("error")
def test_a_figure_that_no_noisy_mixture_has_stands_against_the_mixtures_si_sdr(make_run):
    path = make_run("adaptive", iterations=4, n_items=12, noisy=True)
    file = path / "evaluation/test/utterances.csv"
    table = pd.read_csv(file)
    table.loc[:4, "input_snr"], table.loc[5:, "n_iterations"] = np.nan, np.nan
    table.to_csv(file, index=False)
    _, figure = item_figures(read_runs([path])).parts
    assert "against the mixture's SI-SDR" in figure.title
