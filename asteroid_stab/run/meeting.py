"""The store through which the processes of a training meet, and the word of one that cannot come to the meeting."""

from __future__ import annotations

import os
import platform
import sys
import time
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

import torch.distributed as dist

from asteroid_stab.errors import StabError, cause
from asteroid_stab.signals import received

KEYS = f"asteroid_stab/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
"""Before the names of all keys in the store."""
REFUSED = f"{KEYS}/refused"
"""Key under which a process reports that it could not start."""
RUN_DIR = f"{KEYS}/run_dir"
"""Key under which the first process leaves the name of the run folder."""
LEAVE_S = 5
"""Seconds that a process has to end by itself after another one has ended."""

_ENDED = f"{KEYS}/n_ended"  # processes that have reported a refusal, or have read one
_MEET_S = 45  # a process that is refused waits so long for the others, to report it to them


class Place(NamedTuple):
    """Place of a process among the processes of its training, before a trainer knows it.

    Attributes:
        name: words that name the process.
        address: of the machine of rank 0.
        port: of the store.
        holds_store: whether this process has to hold the store.
        n_ranks: number of processes; 0 where it is not known yet.
    """

    name: str
    address: str
    port: int
    holds_store: bool
    n_ranks: int


def present_place() -> Place | None:
    """Returns the place that a launcher has given to this process; None where it is alone, or starts others itself.

    Launchers are torchrun, SLURM's ``srun``, and a user who sets NODE_RANK, MASTER_ADDR and MASTER_PORT, as Lightning
    does for the processes that it starts.
    """
    from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    env = os.environ
    for known in (TorchElasticEnvironment, SLURMEnvironment):  # in Lightning's order
        if known.detect():
            with suppress(RuntimeError, KeyError, ValueError):  # variables that are incomplete: Lightning says so
                here = known()
                rank, n_ranks = here.global_rank(), here.world_size()
                name = f"rank {rank} of {n_ranks} ({platform.node()})"
                holds_store = rank == 0 and env.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
                return Place(name, here.main_address, here.main_port, holds_store, n_ranks) if n_ranks > 1 else None
            return None
    if not all(env.get(name) for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")):
        return None
    node, local = env["NODE_RANK"], env.get("LOCAL_RANK", "0")
    name = f"the process LOCAL_RANK={local} of machine NODE_RANK={node} ({platform.node()})"
    return Place(name, env["MASTER_ADDR"], int(env["MASTER_PORT"]), node == "0" and local == "0", 0)


def store_client(address: str, port: int, timeout: timedelta, host: bool = False) -> dist.TCPStore:
    """Returns a connection of its own to the store through which the processes meet.

    Args:
        address: of the machine of rank 0.
        port: of the store.
        timeout: of the connection.
        host: whether to hold the store, which rank 0 does; the process group then shares it.
    """
    return dist.TCPStore(address, port, None, host, timeout, wait_for_workers=False, multi_tenant=host)


def word_of(error: BaseException) -> str:
    """Returns kind and text of an error for the other processes: all of a user's fault, of others the first line.

    Example:
        >>> word_of(StabError("no folder 'runs/a'")), word_of(OSError("disk full\\nand more"))
        ("StabError: no folder 'runs/a'", 'OSError: disk full')
    """
    return f"StabError: {error}" if isinstance(error, StabError) else cause(error)


def is_of_exchange(error: BaseException) -> bool:
    """Returns whether an error is one of the exchange between processes, which has no class of its own in gloo."""
    words = ("gloo", "nccl", "connection", "socket", "broken pipe", "process group", "recvvalue", "store")
    return isinstance(error, (RuntimeError, OSError)) and any(word in str(error).lower() for word in words)


def report_refusal(message: str) -> None:
    """Reports to the other processes of a training that this one could not start; returns when they know, or are late.

    Does nothing for a process that is alone.

    Args:
        message: why.
    """
    place = present_place()
    if place is None:
        return
    print(f"reports to the other processes of this training: {message}", file=sys.stderr, flush=True)
    deadline = time.monotonic() + _MEET_S
    while time.monotonic() < deadline and received() is None:
        with suppress(Exception):
            store = store_client(place.address, place.port, timedelta(seconds=LEAVE_S), place.holds_store)
            store.set(REFUSED, f"{place.name} could not start: {message}")
            count_ended(store)
            # Where the number is not known, the holder of the store cannot know when all have read it.
            least = 0 if place.n_ranks else (_MEET_S - LEAVE_S if place.holds_store else 2)
            until = time.monotonic() + least
            while time.monotonic() < (until if least else deadline) and received() is None:
                if place.n_ranks and store.add(_ENDED, 0) >= place.n_ranks:
                    time.sleep(0.5)  # until the last one has its answer
                    return
                time.sleep(0.2)
            return


def count_ended(store: dist.TCPStore) -> None:
    """Counts this process among those that know of a refusal."""
    store.add(_ENDED, 1)
