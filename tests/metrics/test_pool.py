import os

import numpy as np
import pytest

from asteroid_stab.metrics import pool as pool_module
from asteroid_stab.metrics.pool import WORKER_ENVIRONMENT, Item, MetricPool
from asteroid_stab.metrics.separation_metrics import measure


def items(n_items, n_src=3):
    rng = np.random.default_rng(0)
    for i in range(n_items):
        sources = rng.standard_normal((n_src, 3000)).astype(np.float32)
        estimates = sources[rng.permutation(n_src)] + 0.1 * rng.standard_normal(sources.shape).astype(np.float32)
        yield Item(i, sources.sum(0), sources, estimates)


@pytest.fixture(scope="module")
def two_processes():
    with MetricPool(8000, ["si_sdr", "sdr"], n_jobs=2) as pool:
        yield pool


def test_results_are_those_of_measure(two_processes):
    results = dict(two_processes.run(items(7)))
    assert sorted(results) == list(range(7))
    for item in items(7):
        expected = measure(*item[1:4], 8000, ["si_sdr", "sdr"])
        assert results[item.key].values == pytest.approx(expected.values, abs=1e-9)
        np.testing.assert_array_equal(results[item.key].perm, expected.perm)


def test_items_are_drawn_as_they_are_needed(two_processes):
    drawn = 0

    def counted():
        nonlocal drawn
        for item in items(20):
            drawn += 1
            yield item

    for n_done, _ in enumerate(two_processes.run(counted()), start=1):
        assert drawn - n_done < 2 * two_processes.n_jobs + 1


def test_environment_of_the_processes(two_processes):
    seen = {key: two_processes._executor.submit(os.getenv, key).result() for key in WORKER_ENVIRONMENT}
    assert seen == WORKER_ENVIRONMENT
    modules = two_processes._executor.submit(eval, "'torch' in __import__('sys').modules").result()
    assert not modules  # its import would take longer than all others together


def test_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with pool_module._environment({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}):
        assert os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_error_of_the_items_reaches_the_caller(two_processes):
    def broken():
        yield from items(3)
        raise OSError("no such corpus")

    with pytest.raises(OSError, match="no such corpus"):
        dict(two_processes.run(broken()))


def test_signals_on_which_a_metric_fails_do_not_stop_the_others(two_processes):
    first, broken, last = items(3)
    results = dict(two_processes.run([first, broken._replace(mixture=broken.mixture[1:]), last]))
    assert [results[key].broken for key in range(3)] == [
        "",
        "ValueError: mixture and sources must be [T] and [J, T], got [2999], [3, 3000]",
        "",
    ]
    assert results[1].failures == dict.fromkeys(("si_sdr", "sdr"), results[1].broken)
    assert np.isnan([*results[1].values.values()]).all()
    assert np.isfinite(results[2].values["sdr"])


class Killer:
    """Kills the process that unpickles it, as PESQ's C code may kill the one that measures."""

    shape = (3, 3000)

    def __reduce__(self):
        return os._exit, (1,)

    def __len__(self):
        return 3


def test_process_that_dies_costs_one_mixture():
    given = list(items(6))
    given[2] = given[2]._replace(estimates=Killer())
    with MetricPool(8000, ["si_sdr"], n_jobs=1) as pool:
        results = dict(pool.run(iter(given)))
        again = dict(pool.run(items(2)))
    assert sorted(results) == list(range(6))
    assert results[2].failures == {"si_sdr": "the process that measured it died"}
    assert all(np.isnan(value) for value in results[2].values.values())
    assert set(results[2].values) == set(results[1].values)
    assert all(results[i].values["si_sdr"] > 10 for i in range(6) if i != 2)
    assert len(again) == 2


def test_n_jobs():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        MetricPool(8000, n_jobs=0)
    with pytest.raises(ValueError, match="n_jobs must be at most [0-9]+ on this machine, got 100000"):
        MetricPool(8000, n_jobs=100_000)
