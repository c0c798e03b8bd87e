import sys

import pytest

from asteroid_stab.cli.measuring import possible_metrics, share_cores
from asteroid_stab.errors import StabError
from asteroid_stab.metrics import dnsmos


@pytest.mark.parametrize(
    ("n_cores", "n_jobs", "on_cpu", "shared"),
    [
        (1, None, True, (1, 1)),
        (2, None, True, (2, 1)),
        (8, None, True, (4, 4)),
        (8, None, False, (8, 1)),
        (8, 3, True, (3, 5)),
        (2, 6, True, (6, 1)),
    ],
)
def test_cores_are_shared(n_cores, n_jobs, on_cpu, shared):
    assert share_cores(n_cores, n_jobs, on_cpu) == shared


@pytest.mark.parametrize(
    ("rate", "n_src", "left", "said"),
    [
        (8000, 2, ("si_sdr", "sir", "pesq"), ""),
        (11_025, 2, ("si_sdr", "sir"), "PESQ is left out: it is defined at 8000 and 16000 Hz"),
        (16_000, 1, ("si_sdr", "pesq"), "SIR is left out: it measures the other sources"),
    ],
)
def test_metrics_that_the_data_do_not_have_are_left_out(rate, n_src, left, said, capsys):
    assert possible_metrics(("si_sdr", "sir", "pesq"), rate, n_src) == left
    assert capsys.readouterr().out.startswith(said)


def test_dnsmos_is_left_out_at_other_rates_and_asks_for_its_package_at_its_own(monkeypatch, capsys):
    metrics = ("si_sdr", "dnsmos", "dnsmos_sig")
    assert possible_metrics(metrics, 8000, 2) == ("si_sdr",)
    said = "DNSMOS is left out: it is defined at 16000 Hz, these data are sampled at 8000 Hz\n"
    assert capsys.readouterr().out == said
    monkeypatch.setitem(sys.modules, "speechmos", None)
    dnsmos._network.cache_clear()
    with pytest.raises(StabError, match=r"DNSMOS needs speechmos .*pip install 'asteroid-stab\[dnsmos\]'"):
        possible_metrics(metrics, 16_000, 2)
