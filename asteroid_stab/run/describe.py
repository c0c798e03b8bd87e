"""Description of a run in its folder: config, command, versions, machine."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from asteroid_stab import __version__
from asteroid_stab.atomic import write_text
from asteroid_stab.run.layout import RunLayout


class RunDescription(pl.Callback):
    """Describes a run before its first step. All checks come before, so a refused resume changes no file.

    Args:
        config: the run's.
        command: the words that started it.
    """

    def __init__(self, config: DictConfig, command: Sequence[str]):
        self.config, self.command, self._done = config, list(command), False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Describes the run, once; Lightning has set up data, state and loaders by now."""
        self._describe(trainer, pl_module)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Describes a run that goes on within an epoch, which does not start again."""
        self._describe(trainer, pl_module)

    def _describe(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and not self._done:
            self._done = True
            Path(self.config.run_dir).mkdir(parents=True, exist_ok=True)
            describe(self.config, trainer, pl_module, self.command)


def describe(config: DictConfig, trainer: pl.Trainer, system: Any, command: list[str]) -> None:
    """Writes the config and the versions, and prints the size of the model and the run folder."""
    run = RunLayout(config.run_dir)
    now = datetime.now().isoformat(sep=" ", timespec="minutes")
    started = json.loads(run.versions.read_text())["date"] if run.versions.exists() else now  # a resumed run: before
    text = OmegaConf.to_yaml(config)
    if not run.config.exists() or run.config.read_text(encoding="utf-8") != text:  # its time is when the run began
        write_text(run.config, text)
    n_parameters = sum(p.numel() for p in system.model.parameters())
    facts = {
        "command": shlex.join(["asteroid-stab", *command[1:]]),
        "recipe": config.recipe,
        "date": started,
        "python": platform.python_version(),
        "packages": dict(sorted((d.name, d.version) for d in distributions())) | {"asteroid-stab": __version__},
        "git": git_state(),
        "device": f"{trainer.strategy.root_device} x {trainer.world_size}",
        "machine": f"{platform.system()} {platform.machine()}, {platform.processor() or 'unknown processor'}",
        "n_parameters": n_parameters,
        "notes": list(getattr(system, "told", [])),
    }
    write_text(run.versions, json.dumps(facts, indent=1))
    print(f"{config.recipe}: {n_parameters / 1e6:.2f} M parameters, run folder {run.root}", flush=True)


def git_state() -> dict[str, Any] | None:
    """Returns the commit of the checkout that this package runs from and whether it has changes; None without one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git here, or a repository that is not ours to read
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(changes.stdout.strip())}
