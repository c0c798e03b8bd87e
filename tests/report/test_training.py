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
