"""How many processes a machine may be asked for."""

import os

import pytest

from asteroid_stab import cores
from asteroid_stab.cores import available_cores, check_processes, most_processes


@pytest.mark.parametrize(("n_cores", "most"), [(None, 32), (2, 32), (8, 32), (9, 36), (64, 256)])
def test_four_processes_for_each_core_and_32_in_any_case(monkeypatch, n_cores, most):
    monkeypatch.setattr(os, "cpu_count", lambda: n_cores)
    assert most_processes() == check_processes("num_workers", most) == most
    wanted = (
        f"num_workers must be at most {most} on this machine, got {most + 1}: each is a process, and there may be 4 "
        f"for each of its {n_cores or 1} cores, or 32 in any case"
    )
    with pytest.raises(ValueError, match=wanted):
        check_processes("num_workers", most + 1)


def test_a_process_with_some_of_the_cores_has_these(monkeypatch):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(cores.os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert available_cores() == 7
