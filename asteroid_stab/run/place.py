"""The folder of a training: its name, whether it may be written, and that no other training writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from asteroid_stab.atomic import check_writable, remove_unfinished
from asteroid_stab.errors import StabError, cause, some
from asteroid_stab.locks import claimed
from asteroid_stab.run.layout import RunLayout

RUN_DIR_VARIABLE = "ASTEROID_STAB_RUN_DIR"
_MEET_S = 60  # for which a process waits for the first one
_JOBS = ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


def is_first_process() -> bool:
    """Whether this process is the one of a training that writes its folder, before a trainer knows its rank."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)


def default_run_dir(recipe: str) -> str:
    """Returns the folder of a new run that the user names none for: named by the recipe, and the job or the time."""
    return f"runs/{recipe}/{_job() or datetime.now().strftime('%Y%m%d-%H%M%S')}"


@contextmanager
def new_run_dir(run_dir: str | None, recipe: str, may_start_over: bool = False) -> Iterator[str]:
    """Claims the folder of a new run for this training, and gives its name.

    Only the first process of a training claims it. The others take its name: from the environment, where it has
    started them itself, from the number of their common job, or from torchrun's store, where it leaves it.

    Args:
        run_dir: the folder that the user names; None or empty: one named by the recipe and the time or the job.
        recipe: the recipe's name.
        may_start_over: the folder may hold a run that ended before its first epoch did.

    Raises:
        StabError: the folder holds a run, another training is in it, it cannot be written, or nothing names it to the
            other processes.
    """
    if not is_first_process():
        yield os.environ.get(RUN_DIR_VARIABLE) or run_dir or (default_run_dir(recipe) if _job() else _told())
        return
    with ExitStack() as stack:
        if run_dir or _job():
            run_dir = run_dir or default_run_dir(recipe)
            stack.enter_context(_claimed_run(run_dir))
            check_new(run_dir, may_start_over)
        else:
            run_dir = stack.enter_context(_fresh(default_run_dir(recipe)))
            _tell(run_dir)
        os.environ[RUN_DIR_VARIABLE] = run_dir  # the processes that Lightning starts by repeating this command
        try:
            yield run_dir
        finally:
            os.environ.pop(RUN_DIR_VARIABLE, None)


@contextmanager
def resumed_run_dir(run_dir: str) -> Iterator[None]:
    """Claims the folder of a run that goes on.

    Raises:
        StabError: another training is in it, it cannot be written, or it holds results and no checkpoint.
    """
    if not is_first_process():
        yield
        return
    with _claimed_run(run_dir):
        check_resumable(run_dir)
        yield


def check_new(run_dir: str, may_start_over: bool = False) -> None:
    """Checks that a folder holds no file of a run.

    Args:
        run_dir: the folder.
        may_start_over: it may hold a run that ended before its first epoch did.

    Raises:
        StabError: it holds a run.
    """
    run = RunLayout(run_dir)
    if run.has_checkpoint():
        raise StabError(f"{run_dir} holds a run already: resume={run_dir} goes on with it, run_dir= names another")
    check_resumable(run_dir)
    if (there := run.description()) and not may_start_over:
        raise StabError(
            f"{run_dir} holds a run that ended before its first epoch did ({_named(run, there)}): resume={run_dir} "
            "starts it over, run_dir= names another folder"
        )


def check_resumable(run_dir: str) -> None:
    """Checks that a run without a checkpoint has no results either, which starting over would replace.

    Results of a first epoch that was interrupted before its checkpoint was written are made again, the same.

    Raises:
        StabError: it has.
    """
    run = RunLayout(run_dir)
    if run.has_checkpoint() or run.first_epoch.exists():
        return
    if there := run.results():
        raise StabError(
            f"{run_dir} holds results of a run ({_named(run, there)}) and no "
            f"{run.last_checkpoint.relative_to(run.root)} to go on from: put the checkpoint back, or start a new run "
            f"in another folder (init.path={run_dir} starts it with the best model)"
        )


def remove_unfinished_in(run_dir: str) -> None:
    """Removes what killed processes left unfinished in a run folder and all folders in it."""
    for folder, _, _ in os.walk(run_dir):
        remove_unfinished(folder)


@contextmanager
def _claimed_run(run_dir: str) -> Iterator[None]:
    with claimed(run_dir, "another training writes it; wait for its end, or name another folder with run_dir="):
        check_writable(run_dir, "make room, or name another folder with run_dir=")
        if RunLayout(run_dir).description():
            remove_unfinished_in(run_dir)
        yield


@contextmanager
def _fresh(wanted: str) -> Iterator[str]:
    """Claims the first folder of ``wanted``, ``wanted-2``, ... that nobody else has made."""
    number = 1
    while True:
        run_dir = wanted if number == 1 else f"{wanted}-{number}"
        number += 1
        if not Path(run_dir).exists():
            with ExitStack() as stack:
                try:
                    stack.enter_context(_claimed_run(run_dir))
                    check_new(run_dir)
                except StabError:
                    if not Path(run_dir).exists():  # it cannot be made, which no other number would change
                        raise
                    continue  # another training was faster
                yield run_dir
                return


def _job() -> str:
    """Returns the number of the job, where several machines must agree on a name; else nothing."""
    return next((os.environ[name] for name in _JOBS if os.environ.get(name, "none") != "none"), "")


def _tell(run_dir: str) -> None:
    """Leaves the name of the folder to the other processes that torchrun has started."""
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1":
        from asteroid_stab.run.meeting import RUN_DIR

        with _store() as store:
            store.set(RUN_DIR, run_dir)


def _told() -> str:
    """Returns the name of the folder that the first process has left; waits for it."""
    from asteroid_stab.run.meeting import RUN_DIR

    with _store() as store:
        return str(store.get(RUN_DIR).decode())


@contextmanager
def _store() -> Iterator[Any]:
    """Opens the store that torchrun holds for the processes that it has started.

    Raises:
        StabError: there is none, or no answer.
    """
    from asteroid_stab.run.meeting import store_client

    advice = "run_dir=DIR must name the folder of a training whose processes are started one by one"
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise StabError(advice)
    try:
        yield store_client(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timedelta(seconds=_MEET_S))
    except RuntimeError as error:  # all errors of a store are
        raise StabError(f"{advice}: the first process has not named it ({cause(error)})") from error


def _named(run: RunLayout, paths: list[Path]) -> str:
    return some([str(path.relative_to(run.root)) for path in paths])
