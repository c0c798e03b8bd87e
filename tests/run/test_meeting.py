"""Where processes of a training meet, by each launcher, and the word of one that cannot come."""

import os
import socket
import threading
import time
from datetime import timedelta

import pytest

from asteroid_stab.run import meeting
from asteroid_stab.run.meeting import REFUSED, present_place, report_refusal, store_client

SLURM = {
    "SLURM_JOB_ID": "71234",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NODELIST": "node[3-4]",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "MASTER_ADDR": "node3",
    "MASTER_PORT": "29500",
    "WORLD_SIZE": "4",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "GROUP_RANK": "0",
    "LOCAL_RANK": "0",
}


@pytest.fixture
def given(monkeypatch):
    """Replaces all variables of launchers by the given ones."""

    def give(variables):
        for name in list(os.environ):
            if name.startswith(("SLURM", "TORCHELASTIC", "MASTER_")) or name in ("NODE_RANK", "LOCAL_RANK", "RANK"):
                monkeypatch.delenv(name)
        for name, value in {"MASTER_ADDR": None, "MASTER_PORT": None, **variables}.items():
            if value is None:
                monkeypatch.setenv(name, "")  # so that what Lightning sets is taken back after the test
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, value)

    return give


@pytest.mark.parametrize(
    ("variables", "name", "place"),
    [
        ({**SLURM, "SLURM_PROCID": "1"}, "rank 1 of 2", ("node3", 16234, False, 2)),
        ({**SLURM, "SLURM_PROCID": "0"}, "rank 0 of 2", ("node3", 16234, True, 2)),
        ({**TORCHRUN, "RANK": "0"}, "rank 0 of 4", ("node3", 29500, False, 4)),
        ({**SLURM, **TORCHRUN, "RANK": "3", "SLURM_PROCID": "1"}, "rank 3 of 4", ("node3", 29500, False, 4)),
        (
            {"NODE_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
            "the process LOCAL_RANK=0 of machine NODE_RANK=0",
            ("a", 1, True, 0),
        ),
    ],
)
def test_the_place_is_the_launchers(given, variables, name, place):
    given(variables)
    found = present_place()
    assert found.name.startswith(name)
    assert found[1:] == place


@pytest.mark.parametrize("variables", [{}, {**SLURM, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, {"NODE_RANK": "0"}])
def test_a_process_that_is_alone_has_no_place_and_nothing_to_report(given, variables, capsys):
    given(variables)
    assert present_place() is None
    report_refusal("no data")
    assert capsys.readouterr().err == ""


def test_a_refusal_is_held_until_all_know_it(given, monkeypatch):
    """The first process holds the store itself: the other one finds its word, and then both may end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    given({**SLURM, "SLURM_PROCID": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port})
    reporting = threading.Thread(target=report_refusal, args=("no folder 'runs/a'",))
    reporting.start()
    time.sleep(1.0)
    assert reporting.is_alive()
    other = store_client("127.0.0.1", int(port), timedelta(seconds=5))
    assert other.get(REFUSED).decode().endswith("could not start: no folder 'runs/a'")
    meeting.count_ended(other)
    reporting.join(5)
    assert not reporting.is_alive()


@pytest.mark.slow
def test_a_refusal_does_not_wait_for_ever(given, monkeypatch):
    monkeypatch.setattr(meeting, "_MEET_S", 2)
    given({**SLURM, "SLURM_PROCID": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"})
    started = time.monotonic()
    report_refusal("no folder")
    assert time.monotonic() - started < 30  # a connection may take as long as the store would have to answer
