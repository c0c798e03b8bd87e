"""``asteroid-stab train``: one recipe, one run folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asteroid_stab.errors import StabError, nearest, within

if TYPE_CHECKING:
    from omegaconf import DictConfig

SUMMARY = "trains a recipe; resume=RUN goes on with a run"
RUN_DIR_VARIABLE = "ASTEROID_STAB_RUN_DIR"
_RESUMED = ("data", "loader", "trainer", "logger")  # what a resumed run may change


def main(argv: list[str]) -> int:
    """Trains, and prints a table of the run."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab train",
        description="Trains a recipe ('asteroid-stab recipes' lists them) into a run folder.",
        epilog="Overrides follow Hydra: key=value, group=option, +new=value, ~gone. run_dir=DIR names the folder; "
        "resume=RUN, without a recipe, goes on with a run; then overrides may change data.*, loader.*, "
        "trainer.* and logger.*.",
    )
    parser.add_argument("arguments", nargs="*", metavar="RECIPE | KEY=VALUE", help="a recipe, then overrides of it")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of recipes and ingredients of your own")
    parser.add_argument("--print-config", action="store_true", help="print the resolved config and stop")
    options = parser.parse_intermixed_args(argv)
    recipe, overrides, resume = _split(options.arguments)
    config = _resumed(resume, recipe, overrides) if resume else _composed(recipe, overrides, options.config_dir)
    if options.print_config:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config), end="")
        return 0
    _train(config, resume)
    return 0


def _split(arguments: Sequence[str]) -> tuple[str | None, list[str], str | None]:
    """Recipe, overrides and the run to resume, from the words of the command line."""
    recipe, overrides, resume = None, [], None
    for word in arguments:
        if word.startswith("resume="):
            resume = word.removeprefix("resume=")
        elif "=" in word or word.startswith("~"):
            overrides.append(word)
        elif recipe is None:
            recipe = word
        else:
            raise StabError(f"one recipe at a time, got {recipe!r} and {word!r} (an override is KEY=VALUE)")
    if recipe is None and resume is None:
        raise StabError("which recipe? 'asteroid-stab recipes' lists them; resume=RUN goes on with a run")
    return recipe, overrides, resume


def _composed(recipe: str | None, overrides: Sequence[str], config_dir: str | None) -> DictConfig:
    from asteroid_stab.run.compose import compose_recipe

    assert recipe is not None
    # The folder's name holds the time, so the children that Lightning starts by repeating this command are told it.
    if "LOCAL_RANK" in os.environ and RUN_DIR_VARIABLE in os.environ:
        run_dir = os.environ[RUN_DIR_VARIABLE]
    else:
        given = [word.removeprefix("run_dir=") for word in overrides if word.startswith("run_dir=")]
        run_dir = given[-1] if given else f"runs/{recipe}/{_job_name()}"
        if (Path(run_dir) / "checkpoints" / "last.ckpt").exists():
            raise StabError(f"{run_dir} holds a run already: resume={run_dir} goes on with it, run_dir= names another")
        os.environ[RUN_DIR_VARIABLE] = run_dir
    return compose_recipe(recipe, [*overrides, f"run_dir='{run_dir}'"], config_dir)


def _job_name() -> str:
    """The time, or the job's number where several machines must agree on a name."""
    for variable in ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"):
        if os.environ.get(variable, "none") != "none":
            return os.environ[variable]
    return datetime.now().strftime("%Y%m%d-%H%M%S")


def _resumed(resume: str, recipe: str | None, overrides: Sequence[str]) -> DictConfig:
    from asteroid_stab.run.check import check_config, leaf_keys, override
    from asteroid_stab.run.folder import RunFolder

    folder = RunFolder(resume)
    if recipe not in (None, folder.config.recipe):
        raise StabError(f"{resume} is a run of {folder.config.recipe!r}, not of {recipe!r}")
    for word in overrides:
        key = word.partition("=")[0]
        group = key.split(".")[0]
        if key not in leaf_keys(folder.config):
            raise StabError(f"the run's config has no key {key!r}{nearest(key, leaf_keys(folder.config))}")
        if group not in _RESUMED or "." not in key:
            raise StabError(f"a resumed run may change keys of {', '.join(_RESUMED)}, not {key!r}: start a new run")
    config = override(folder.config, overrides, "")
    end = folder.config.scheduler.get("total_iters") if folder.config.scheduler else None
    if end is not None and config.trainer.max_epochs > end:
        raise StabError(
            f"the learning rate of {resume} ends at 0 after its {end} epochs (scheduler.total_iters): more of them "
            f"would learn nothing; start a new run with init.path={resume}"
        )
    config.run_dir = str(folder.path)  # it may have been moved
    if config.logger and "save_dir" in config.logger:
        config.logger.save_dir = str(folder.path)
    check_config(config)
    return config


def _train(config: DictConfig, resume: str | None) -> None:
    import logging

    from asteroid_stab.run.build import build_run, check_checkpoint, show_summary, stopped_early
    from asteroid_stab.run.describe import RunDescription
    from asteroid_stab.run.plan import RunPlan

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it advertises services on every start
    run_dir = Path(config.run_dir)
    checkpoint: Any = run_dir / "checkpoints" / "last.ckpt"
    trainer, system, data = build_run(config, resumed=checkpoint.exists())
    with within("data"):  # errors of the corpus come before the run folder is made
        data.prepare_data()
        data.setup("fit")
    RunPlan.of(trainer, system, data.train_set, resumed=checkpoint.exists()).ask()
    if checkpoint.exists():
        saved = check_checkpoint(checkpoint, system)
        if type(data).__qualname__ in saved:  # the earliest versions kept no state of the data
            data.load_state_dict(saved[type(data).__qualname__])
        if 0 <= trainer.max_epochs < saved["epoch"] + 1:  # type: ignore[operator]
            raise StabError(
                f"{run_dir} has {saved['epoch'] + 1} epochs already, got trainer.max_epochs={trainer.max_epochs}"
            )
        if stopped_early(saved):
            print(f"{run_dir} has ended early, as its early_stopping asks for; nothing is left to train", flush=True)
            return
    elif resume:
        print(f"{resume} has no checkpoint yet (it ended before its first epoch did): starts over", flush=True)
    trainer.callbacks.append(RunDescription(config, sys.argv))  # type: ignore[attr-defined]
    trainer.fit(system, datamodule=data, ckpt_path=checkpoint if checkpoint.exists() else None, weights_only=True)
    if trainer.is_global_zero:
        show_summary(run_dir, config)
