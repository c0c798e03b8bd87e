"""``asteroid-stab train``: one recipe, one run folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

from asteroid_stab.cli.arguments import add_trust, take_trust
from asteroid_stab.errors import StabError, within
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.signals import present

if TYPE_CHECKING:
    from omegaconf import DictConfig

SUMMARY = "trains a recipe; resume=RUN goes on with a run"
UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h
"""Exit status of a training that ended within an epoch, none of which is kept: the run is there to go on with."""


def main(argv: list[str]) -> int:
    """Trains, and prints a table of the run; returns 0, or 75 where the training ended within an epoch.

    Raises:
        StabError: the words of the command line, the config, the data or the run to go on with cannot be used, or
            another training is in the run folder.
    """
    try:
        return _main(argv)
    except StabError as error:
        if "MASTER_ADDR" in os.environ and not hasattr(error, "reported"):  # one of several, and the others wait for it
            from asteroid_stab.run.same_start import report_refusal

            report_refusal(str(error))
        raise


def _main(argv: list[str]) -> int:
    options = _parser().parse_intermixed_args(argv)
    take_trust(options.trust)
    recipe, overrides, resume = _split(options.arguments)
    if options.or_resume:
        resume, overrides = _begun(recipe, overrides, resume)
    with ExitStack() as claims:  # the run folder is this training's until it ends
        if resume is None:
            config = _composed(recipe, overrides, options, claims)
        else:
            from asteroid_stab.run.place import resumed_run_dir
            from asteroid_stab.run.resume import resumed_config

            config = resumed_config(resume, recipe, overrides, options.config_dir)
            if not options.print_config:
                claims.enter_context(resumed_run_dir(resume))
        if options.print_config:
            from omegaconf import OmegaConf

            print(OmegaConf.to_yaml(config), end="")
            return 0
        return _train(config, resume)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asteroid-stab train",
        description="Trains a recipe ('asteroid-stab recipes' lists them) into a run folder.",
        epilog="Overrides follow Hydra: key=value, group=option, +new=value, ~gone. run_dir=DIR names the folder; "
        "resume=RUN, without a recipe, goes on with a run; then overrides may change data.*, loader.*, "
        "trainer.* and logger.*. Paths are taken as they are written; any other value with commas, brackets or other "
        "special characters needs quotes of its own: \"KEY='VALUE'\".",
    )
    parser.add_argument("arguments", nargs="*", metavar="RECIPE | KEY=VALUE", help="a recipe, then overrides of it")
    add_trust(parser)
    parser.add_argument(
        "--or-resume",
        action="store_true",
        help="go on with the run in run_dir=DIR if it has a checkpoint; overrides that may not change then are ignored",
    )
    parser.add_argument("--print-config", action="store_true", help="print the resolved config and stop")
    return parser


def _split(arguments: Sequence[str]) -> tuple[str | None, list[str], str | None]:
    """Returns recipe, overrides and the run to resume, from the words of the command line."""
    from asteroid_stab.run.overrides import path_in, read

    recipe, overrides, resume = None, [], None
    for word in arguments:
        if word.startswith("resume="):
            resume = path_in(read(word))
        elif "=" in word or word.startswith("~"):
            overrides.append(word)
        elif recipe is None:
            recipe = word
        else:
            raise StabError(f"one recipe at a time, got {recipe!r} and {word!r} (an override is KEY=VALUE)")
    if recipe is None and resume is None:
        raise StabError("which recipe? 'asteroid-stab recipes' lists them; resume=RUN goes on with a run")
    return recipe, overrides, resume


def _begun(recipe: str | None, overrides: list[str], resume: str | None) -> tuple[str | None, list[str]]:
    """Returns what ``--or-resume`` makes of the words: the run to go on with, if it has started, and its overrides."""
    from asteroid_stab.run.resume import may_change

    run_dir = _run_dir(overrides)
    if resume is not None or not run_dir:
        raise StabError("--or-resume needs RECIPE run_dir=DIR; resume=RUN always goes on with a run")
    run = RunLayout(run_dir)
    if not run.last_checkpoint.exists():
        if run.config.exists():
            from asteroid_stab.run.resume import resumed_config

            resumed_config(run_dir, recipe, [])  # of this recipe, or it is not started over
        return None, overrides
    return run_dir, [word for word in overrides if may_change(word)]


def _run_dir(overrides: Sequence[str]) -> str:
    """Returns the folder that the overrides name, the last of several; empty where they name none."""
    from asteroid_stab.run.overrides import path_in, read

    given = [path_in(read(word)) for word in overrides if word.startswith("run_dir=")]
    return given[-1] if given else ""


def _composed(
    recipe: str | None, overrides: Sequence[str], options: argparse.Namespace, claims: ExitStack
) -> DictConfig:
    """Returns the config of a new run, whose folder ``claims`` holds unless the config is only printed."""
    from asteroid_stab.run.compose import compose_recipe
    from asteroid_stab.run.overrides import quoted
    from asteroid_stab.run.place import check_new, default_run_dir, new_run_dir

    assert recipe is not None
    run_dir = _run_dir(overrides)
    words = [word for word in overrides if not word.startswith("run_dir=")]
    if options.print_config:
        run_dir = run_dir or default_run_dir(recipe)
        check_new(run_dir, options.or_resume)
    else:
        run_dir = claims.enter_context(new_run_dir(run_dir, recipe, options.or_resume))
    return compose_recipe(recipe, [*words, f"run_dir={quoted(run_dir)}"], options.config_dir)


def _trust_own(config: DictConfig) -> None:
    """Trusts the classes that the user's own recipe or words name, so that this run can be resumed and evaluated."""
    from asteroid_stab.trust import trust_own, trusted_file

    try:
        if new := trust_own(config):
            print(f"note: {trusted_file()} says now that {', '.join(new)} may be built from run folders", flush=True)
    except StabError as error:  # a home that cannot be written to: this training needs no trust
        print(f"note: to resume or evaluate this run, --trust is needed: {error}", flush=True)


def _train(config: DictConfig, resume: str | None) -> int:
    import logging

    from asteroid_stab.callbacks import EndedWithinEpochError, WholeEpochs
    from asteroid_stab.run.build import build_run
    from asteroid_stab.run.describe import RunDescription
    from asteroid_stab.run.going_on import GoingOn
    from asteroid_stab.run.plan import RunPlan
    from asteroid_stab.run.ranks import RankLostError, RankWatch
    from asteroid_stab.run.resume import check_checkpoint, stopped_early
    from asteroid_stab.run.same_start import SameStart
    from asteroid_stab.run.screen import show_summary, show_transfer

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it advertises services on every start
    run_dir = Path(config.run_dir)
    checkpoint: Any = RunLayout(run_dir).last_checkpoint
    built = build_run(config, resumed=checkpoint.exists())
    data, system, trainer = built.data, built.system, built.trainer
    if built.transfer is not None:
        show_transfer(config.init.path, built.transfer, built.network)
    with within("data"):  # errors of the corpus come before the run folder is made
        data.prepare_data()
        data.setup("fit")
    plan = RunPlan.of(trainer, system, data.train_set, resumed=checkpoint.exists())
    plan.ask()
    if resume is None:
        _trust_own(config)  # all of it was built, and nothing is written yet
    system.told = plan.notes()
    if trainer.is_global_zero:
        print(*(f"note: {note}\n" for note in system.told), sep="", end="", flush=True)
    saved = check_checkpoint(checkpoint, system) if checkpoint.exists() else None
    going_on = GoingOn(checkpoint, trainer, resumed=saved is not None)
    if saved is not None:
        if type(data).__qualname__ in saved:  # the earliest versions kept no state of the data
            with going_on:
                data.load_state_dict(saved[type(data).__qualname__])
        if 0 <= trainer.max_epochs < saved["epoch"] + 1:  # type: ignore[operator]
            raise StabError(
                f"{run_dir} has {saved['epoch'] + 1} epochs already, got trainer.max_epochs={trainer.max_epochs}"
            )
        if stopped_early(saved):
            print(f"{run_dir} was stopped early by early_stopping; nothing is left to train", flush=True)
            return 0
    elif resume:
        print(f"{resume} has no checkpoint yet (it ended before its first epoch did): starts over", flush=True)
    signals = present()
    if signals is not None:
        signals.hint = lambda: _how_to_go_on(run_dir)
        signals.hurry = trainer.world_size > 1
    trainer.callbacks += [SameStart(run_dir, saved), RunDescription(config, sys.argv)]  # type: ignore[attr-defined]
    try:
        with going_on, RankWatch(trainer, lambda text: _report(text, run_dir)) as watch:
            if signals is not None:
                signals.noticed.append(lambda n: watch.leave(f"was ended by {Signals(n).name}", 128 + n))
            trainer.fit(system, datamodule=data, ckpt_path=None if saved is None else checkpoint, weights_only=True)
    except RankLostError as lost:
        _report(str(lost), run_dir)
        return lost.status
    except EndedWithinEpochError as error:
        if trainer.is_global_zero:
            print(f"{error}: {_how_to_go_on(run_dir)}", flush=True)
        return UNFINISHED
    if trainer.is_global_zero:
        show_summary(run_dir, config)
    whole = next(part for part in trainer.callbacks if isinstance(part, WholeEpochs))  # type: ignore[attr-defined]
    if whole.steps_left:
        if trainer.is_global_zero:
            print(
                f"ended after {trainer.global_step} of trainer.max_steps={whole.max_steps} steps: the next epoch would "
                f"not be whole, and only whole epochs are kept ({_how_to_go_on(run_dir)})",
                flush=True,
            )
        return UNFINISHED
    return 0


def _report(text: str, run_dir: Path) -> None:
    """Prints why a training of several processes has ended."""
    print(f"asteroid-stab train: error: {text}; {_how_to_go_on(run_dir)}", file=sys.stderr, flush=True)


def _how_to_go_on(run_dir: Path) -> str:
    """Returns what a training that has not come to its end leaves, and how it goes on."""
    run = RunLayout(run_dir)
    if run.last_checkpoint.exists():
        return f"resume={run_dir} goes on after the last whole epoch"
    if run.config.exists():
        return f"no epoch is whole yet: resume={run_dir} starts over"
    return "nothing was written"
