"""A training from its config to its end: on one process, or as one of several that end together."""

from __future__ import annotations

import logging
import math
import sys
from pathlib import Path
from signal import Signals

import pytorch_lightning as pl
from omegaconf import DictConfig

from asteroid_stab.callbacks import EndedWithinEpochError, WholeEpochs
from asteroid_stab.callbacks.run_checkpoint import WITHIN_EPOCH
from asteroid_stab.data import MixtureDataModule
from asteroid_stab.errors import StabError, within
from asteroid_stab.run.build import Built, build_run
from asteroid_stab.run.describe import RunDescription
from asteroid_stab.run.going_on import GoingOn
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.run.ranks import RankLostError, RankWatch
from asteroid_stab.run.resume import check_checkpoint, stopped_early
from asteroid_stab.run.same_start import SameStart
from asteroid_stab.run.screen import show_summary, show_transfer
from asteroid_stab.run.start import Start, find_start
from asteroid_stab.signals import present
from asteroid_stab.trust import trust_own, trusted_file


def train(config: DictConfig, resume: str | None, unfinished: int) -> int:
    """Trains, and returns the exit status.

    Args:
        config: the checked config.
        resume: the run folder that is gone on with; None for a new run.
        unfinished: the exit status of a training that ended within an epoch.

    Raises:
        StabError: the parts do not fit each other, the data or the checkpoint cannot be used.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it advertises services on every start
    run_dir = Path(config.run_dir)
    run = RunLayout(run_dir)
    built, start = _start(config, run)
    trainer, signals = built.trainer, present()
    going_on = GoingOn(start.checkpoint or run.last_checkpoint, trainer, resumed=False)
    try:
        with going_on, RankWatch(trainer, lambda text: _report(text, run_dir, start)) as watch:
            if signals is not None:
                signals.hurry = trainer.world_size > 1
                signals.noticed.append(lambda n: watch.leave(f"was ended by {Signals(n).name}", 128 + n))
            if not _fit(built, config, resume, start, going_on, watch):
                return 0
    except RankLostError as lost:
        _report(str(lost), run_dir, start)
        return lost.status
    except EndedWithinEpochError as error:
        if trainer.is_global_zero:
            print(f"{error}: {_how_to_go_on(run_dir, start)}", flush=True)
        return unfinished
    if trainer.is_global_zero:
        show_summary(run_dir, config)
    whole = next(part for part in trainer.callbacks if isinstance(part, WholeEpochs))  # type: ignore[attr-defined]
    if whole.steps_left or whole.within_epoch:
        if trainer.is_global_zero:
            where = "this epoch" if whole.within_epoch else "the next epoch"
            print(
                f"ended after {trainer.global_step} steps, with trainer.max_steps={whole.max_steps}: {where} would not "
                f"be whole, and only whole epochs are kept ({_how_to_go_on(run_dir, start)})",
                flush=True,
            )
        return unfinished
    return 0


def _start(config: DictConfig, run: RunLayout) -> tuple[Built, Start]:
    """Builds the run, and finds where it starts: with the weights of ``init`` only where no checkpoint has others."""
    built = build_run(config, resumed=run.has_checkpoint())
    trainer = built.trainer
    sizes = (built.data.batch_size, trainer.accumulate_grad_batches, trainer.limit_train_batches)
    start = find_start(run, trainer.world_size, *sizes)
    if start.checkpoint is None and run.has_checkpoint():  # one within an epoch, of other batches
        built = build_run(config)
    return built, start


def _fit(
    built: Built, config: DictConfig, resume: str | None, start: Start, going_on: GoingOn, watch: RankWatch
) -> bool:
    """Prepares the data, checks all and trains; returns whether there was anything left to train."""
    run_dir = Path(config.run_dir)
    data, system, trainer = built.data, built.system, built.trainer
    checkpoint = start.checkpoint
    if built.transfer is not None:
        show_transfer(config.init.path, built.transfer, built.network)
    with within("data"):  # errors of the corpus come before the run folder is made
        data.prepare_data()
        data.setup("fit")
    _log_in_each_epoch(trainer, data)
    plan = RunPlan.of(trainer, system, data.train_set, resumed=checkpoint is not None)
    plan.ask()
    if resume is None:
        _trust_own(config)  # all of it was built, and nothing is written yet
    system.told = plan.notes()
    if trainer.is_global_zero:
        print(*(f"note: {note}\n" for note in system.told), sep="", end="", flush=True)
        if start.note:
            print(f"note: {start.note}", flush=True)
    saved = None if checkpoint is None else check_checkpoint(checkpoint, system)
    going_on.resumed = saved is not None
    if saved is not None:
        if type(data).__qualname__ in saved:  # the earliest versions kept no state of the data
            with going_on:
                data.load_state_dict(saved[type(data).__qualname__])
        n_epochs = saved["epoch"] + (WITHIN_EPOCH not in saved)
        if 0 <= trainer.max_epochs < n_epochs:  # type: ignore[operator]
            raise StabError(f"{run_dir} has {n_epochs} epochs already, got trainer.max_epochs={trainer.max_epochs}")
        if stopped_early(saved):
            print(f"{run_dir} was stopped early by early_stopping; nothing is left to train", flush=True)
            watch.leave("has nothing left to train: the run was stopped early", 0)
            return False
    elif resume and not start.note:
        print(f"{resume} has no checkpoint yet (it ended before its first epoch did): starts over", flush=True)
    if (signals := present()) is not None:
        signals.hint = lambda: _how_to_go_on(run_dir, start)
    trainer.callbacks += [SameStart(run_dir, saved), RunDescription(config, sys.argv)]  # type: ignore[attr-defined]
    trainer.fit(system, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return True


def _log_in_each_epoch(trainer: pl.Trainer, data: MixtureDataModule) -> None:
    """Has a logger get a step's figures at least once an epoch, where ``trainer.log_every_n_steps`` is longer."""
    sampler = data.train_set.sampler(data.batch_size, data.seed, 0, trainer.world_size)  # type: ignore[union-attr]
    n_batches, limit = len(sampler) // data.batch_size, trainer.limit_train_batches
    n_batches = min(n_batches, limit) if isinstance(limit, int) else int(n_batches * limit)
    n_steps = math.ceil(n_batches / trainer.accumulate_grad_batches)
    trainer.log_every_n_steps = min(trainer.log_every_n_steps, max(1, n_steps))  # type: ignore[attr-defined]


def _trust_own(config: DictConfig) -> None:
    """Trusts the classes that the user's own recipe or words name, so that this run can be resumed and evaluated."""
    try:
        if new := trust_own(config):
            print(f"note: {trusted_file()} says now that {', '.join(new)} may be built from run folders", flush=True)
    except StabError as error:  # a home that cannot be written to: this training needs no trust
        print(f"note: to resume or evaluate this run, --trust is needed: {error}", flush=True)


def _report(text: str, run_dir: Path, start: Start) -> None:
    """Prints why a training of several processes has ended."""
    print(f"asteroid-stab train: error: {text}; {_how_to_go_on(run_dir, start)}", file=sys.stderr, flush=True)


def _how_to_go_on(run_dir: Path, start: Start) -> str:
    """Returns what a training that has not come to its end leaves, and how it goes on."""
    run = RunLayout(run_dir)
    if start.has_within(run):
        return f"resume={run_dir} goes on after the last checkpoint within the epoch"
    if run.last_checkpoint.exists():
        return f"resume={run_dir} goes on after the last whole epoch"
    if run.config.exists():
        return f"no epoch is whole yet: resume={run_dir} starts over"
    return "nothing was written"
