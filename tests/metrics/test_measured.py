"""The record of a mixture's metrics."""

import numpy as np

from asteroid_stab.metrics.measured import undefined


def test_a_mixture_that_could_not_be_measured_has_every_column_and_the_reason():
    found = undefined(["si_sdr", "pesq"], 3, "no file")
    assert np.isnan(list(found.values.values())).all()
    assert [*found.values] == ["input_si_sdr", "si_sdr", "si_sdr_i", "input_pesq", "pesq", "pesq_i"]
    assert found.failures == {"si_sdr": "no file", "pesq": "no file"}
    assert (found.broken, found.perm.tolist(), found.sources) == ("no file", [0, 1, 2], {})
