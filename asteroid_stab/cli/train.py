"""``asteroid-stab train``: one recipe, one run folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from asteroid_stab.cli.arguments import add_trust, take_trust
from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import RunLayout

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
    except Exception as error:
        if _is_one_of_several() and not getattr(error, "reported", False):  # the others wait for it
            from asteroid_stab.run.meeting import report_refusal, word_of

            report_refusal(word_of(error).removeprefix("StabError: "))
        raise


def _is_one_of_several() -> bool:
    """Returns whether a launcher may have started this process as one of several; spares others slow imports."""
    return "MASTER_ADDR" in os.environ or os.environ.get("SLURM_NTASKS", "1") != "1"


def _main(argv: list[str]) -> int:
    options = make_parser().parse_intermixed_args(argv)
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

        from asteroid_stab.run.training import train

        return train(config, resume, UNFINISHED)


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab train",
        description="Trains a recipe ('asteroid-stab recipes' lists them) into a run folder.",
        epilog="Overrides follow Hydra: key=value, group=option, +new=value, ~gone. run_dir=DIR names the folder; "
        "resume=RUN, without a recipe, goes on with a run; then overrides may change data.*, loader.*, "
        "trainer.*, logger.* and checkpoint.*. Paths are taken as they are written; any other value with commas, "
        "brackets or other special characters needs quotes of its own: \"KEY='VALUE'\".",
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
    if not run.has_checkpoint():
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
