"""The correlation of layers' switches."""

import numpy as np
import pandas as pd
import pytest

from asteroid_stab.report.run_data import read_runs
from asteroid_stab.report.training import layer_correlations, training


def test_layers_are_compared_with_the_last(make_run):
    path = make_run(n_layers=3)
    [run] = read_runs([path])
    table = pd.read_csv(path / "switches.csv").dropna()
    curves = [table[table.layer == layer].switch_ratio.to_numpy() for layer in range(3)]
    wanted = [np.corrcoef(curve, curves[2])[0, 1] for curve in curves[:2]]
    assert layer_correlations(run, [0, 1, 2]) == pytest.approx(wanted)
    captions = [getattr(part, "caption", "") for part in training([run]).parts]
    assert any(f"Correlation with the last layer's curve: layer 0: {wanted[0]:.2f}" in text for text in captions)


def test_a_few_epochs_have_no_correlation(make_run):
    [run] = read_runs([make_run(n_layers=2, n_epochs=3)])
    assert np.isnan(layer_correlations(run, [0, 1])).all()


def test_switches_of_whole_mixtures_are_drawn_where_they_were_counted(make_run):
    path = make_run()
    titles = [getattr(part, "title", "") for part in training(read_runs([path])).parts]
    assert "Switch ratio, whole mixtures" not in titles
    table = {"epoch": [0, 1, 2], "layer": 0, "n_seen": 9, "n_compared": [0, 9, 9], "switch_ratio": [None, 0.5, 0.25]}
    pd.DataFrame(table).to_csv(path / "switches_whole_train.csv", index=False)
    [figure] = [
        p for p in training(read_runs([path])).parts if getattr(p, "title", "") == "Switch ratio, whole mixtures"
    ]
    assert "50.00 % at epoch 2" in figure.alt
    assert "25.00 % at epoch 3" in figure.alt
