"""The watch over the other processes of a training: who is lost, and how this process ends."""

import os
import sys
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from asteroid_stab.errors import StabError
from asteroid_stab.run import ranks
from asteroid_stab.run.meeting import KEYS, REFUSED, store_client
from asteroid_stab.run.ranks import RankLostError, RankWatch
from asteroid_stab.signals import EndingSignals


class Child:
    """A process that Lightning has started."""

    def __init__(self, code=None):
        self.returncode, self.killed = code, False

    def poll(self):
        return self.returncode

    def wait(self, timeout):
        time.sleep(0.01)

    def kill(self):
        self.killed, self.returncode = True, -9


class Others:
    """The other processes of a training of three, of which this one is rank 1, and the store where they meet."""

    def __init__(self):
        self.store = dist.TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=5), wait_for_workers=False)
        self.count = 0

    def alive(self, *numbers):
        self.count += 1
        for rank in numbers:
            self.store.set(f"{KEYS}/alive/{rank}", f"{self.count} 999999999 elsewhere")

    def trainer(self, rank=1, children=(), external=False):
        environment = SimpleNamespace(
            global_rank=lambda: rank, main_address="127.0.0.1", main_port=self.store.port,
            creates_processes_externally=external,
        )  # fmt: skip
        strategy = SimpleNamespace(
            set_world_ranks=lambda: None, cluster_environment=environment, num_processes=3,
            launcher=SimpleNamespace(procs=list(children)),
        )  # fmt: skip
        return SimpleNamespace(world_size=3, strategy=strategy)


@pytest.fixture
def others(monkeypatch):
    monkeypatch.setattr(ranks, "SILENT_S", 3)
    monkeypatch.setattr(ranks, "LEAVE_S", 1)
    return Others()


@pytest.fixture
def ended(monkeypatch):
    """The exit statuses with which a process would have been ended."""
    statuses = []
    monkeypatch.setattr(ranks, "end_process", statuses.append)
    return statuses


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


@pytest.mark.parametrize(
    ("key", "word", "message", "status"),
    [
        (f"{KEYS}/left/2", "143 was ended by SIGTERM", "rank 2 of 3 was ended by SIGTERM", 143),
        (f"{KEYS}/left/0", "1 ended with StabError: no", "rank 0 of 3 ended with StabError: no", 1),
        (REFUSED, "the process of machine 7 could not start", "the process of machine 7 could not start", 2),
    ],
)
def test_a_process_that_is_held_up_is_ended_with_the_word_of_the_lost_one(others, ended, key, word, message, status):
    said, child = [], Child()
    with RankWatch(others.trainer(children=[child]), said.append) as watch:
        others.alive(0, 2)
        others.store.set(key, word)
        wait_for(lambda: ended)
        watch.lost = None  # what would come now does not: the process is gone
    assert (said, ended) == ([message], [status])
    assert child.killed


@pytest.mark.parametrize("came", [(0, 2), (0,), ()])
def test_a_fault_counts_as_reported_where_all_others_have_come(others, came):
    """Where one is still starting, the caller waits to report; a process that starts the others itself ends them."""

    def train():
        with RankWatch(others.trainer(external=True), print):
            others.alive(*came)
            for rank in came:
                others.store.set(f"{KEYS}/knows/{rank}", "")
            time.sleep(1.5)
            raise StabError("no file a.wav")

    with pytest.raises(StabError) as caught:
        train()
    assert caught.value.reported == (len(came) == 2)


@pytest.mark.slow
def test_a_silent_process_is_named_and_a_slow_start_is_no_silence(others, ended):
    said = []
    with RankWatch(others.trainer(), said.append) as watch:
        for _ in range(6):  # rank 2 is still starting, longer than a silence
            others.alive(0)
            time.sleep(0.9)
        assert watch.lost is None
        others.alive(0, 2)
        while not ended and others.count < 30:
            others.alive(0)
            time.sleep(0.5)
        watch.lost = None
    assert said == ["rank 2 of 3 has given no sign of life for 3 s: it is stopped or dead, or its machine is gone"]
    assert ended == [1]


def test_a_process_that_has_finished_is_not_silent(others, ended):
    with RankWatch(others.trainer(), print) as watch:
        others.alive(0, 2)
        others.store.set(f"{KEYS}/left/2", "0 ")
        for _ in range(10):
            others.alive(0)
            time.sleep(0.5)
        assert watch.lost is None
    assert ended == []


def test_the_host_of_the_store_stays_until_the_others_have_left(others):
    with RankWatch(others.trainer(rank=0), print):
        others.alive(1, 2)
        time.sleep(1.5)
        for rank in (1, 2):
            threading.Timer(0.4 * rank, others.store.set, (f"{KEYS}/left/{rank}", "0 ")).start()
        started = time.monotonic()
    assert others.store.get(f"{KEYS}/left/0") == b"0 "
    assert 0.8 < time.monotonic() - started < 2.0


def test_a_failed_exchange_is_explained_by_who_is_lost(others):
    def train():
        with RankWatch(others.trainer(), print):
            others.alive(0, 2)
            time.sleep(1.5)
            others.store.set(f"{KEYS}/left/0", "143 was ended by SIGTERM")
            raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")

    with pytest.raises(RankLostError, match="rank 0 of 3 was ended by SIGTERM") as lost:
        train()
    assert lost.value.status == 143


def test_the_end_of_the_store_is_the_end_of_rank_0(others, ended, monkeypatch):
    monkeypatch.setattr(ranks, "SILENT_S", 30)  # its silence shows later than its closed connection
    said = []
    with RankWatch(others.trainer(), said.append) as watch:
        others.alive(0, 2)
        time.sleep(1.5)
        others.store = None
        wait_for(lambda: ended, 15)
        watch.lost = None
    assert said == ["rank 0 of 3 has ended: its connection is closed"]


@pytest.mark.parametrize(("code", "word"), [(-9, "was killed by SIGKILL"), (5, "ended with exit status 5")])
def test_a_child_that_has_failed_is_named(others, ended, code, word):
    said, living = [], Child()
    with RankWatch(others.trainer(rank=0, children=[living, Child(code)]), said.append) as watch:
        wait_for(lambda: ended)
        watch.lost = None
    assert said == [f"rank 2 of 3 {word}"]
    assert living.killed


def test_an_own_error_reaches_the_others_and_stays(others):
    def train(error):
        with RankWatch(others.trainer(), print):
            time.sleep(1.5)
            raise error

    with pytest.raises(ValueError, match="of its own"):
        train(ValueError("of its own\nand more"))
    assert others.store.get(f"{KEYS}/left/1") == b"1 ended with ValueError: of its own"


def test_a_fault_of_the_users_reaches_the_others_whole_and_waits_until_they_know_it(others):
    """As where one machine lacks a file: the store, or its holder, may end with this process."""

    def train():
        with RankWatch(others.trainer(), print):
            others.alive(0, 2)
            time.sleep(1.5)
            threading.Timer(0.6, others.store.set, (f"{KEYS}/knows/0", "")).start()
            threading.Timer(0.6, others.store.set, (f"{KEYS}/knows/2", "")).start()
            raise StabError("no file a.wav\n  no file b.wav")

    started = time.monotonic()
    with pytest.raises(StabError):
        train()
    assert 2.0 < time.monotonic() - started < 3.9
    assert others.store.get(f"{KEYS}/left/1") == b"2 ended with StabError: no file a.wav\n  no file b.wav"


def test_a_process_that_has_not_come_is_named(others, ended, monkeypatch, capsys):
    monkeypatch.setattr(ranks, "LATE_S", 2)
    with RankWatch(others.trainer(external=True), print):
        others.alive(0)
        time.sleep(3.5)
    assert "waits for rank 2 of 3: no sign of life yet" in capsys.readouterr().err
    assert ended == []


def test_a_signal_reaches_the_others(others, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # which stays where a signal has ended a program
    with EndingSignals() as signals, RankWatch(others.trainer(), print):
        time.sleep(1.5)
        os.kill(os.getpid(), 15)
        time.sleep(5)
    assert signals.status == 143
    client = store_client("127.0.0.1", others.store.port, timedelta(seconds=5))
    assert client.get(f"{KEYS}/left/1") == b"143 was ended by SIGTERM"


def test_one_process_watches_nobody():
    with RankWatch(SimpleNamespace(world_size=1), print) as watch:
        assert watch.lost is None
