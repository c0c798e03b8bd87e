"""A run folder that exists: its config, its models and its data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import RunLayout

if TYPE_CHECKING:
    from asteroid_stab.data.datamodule import MixtureDataModule


class RunFolder:
    """A folder that ``asteroid-stab train`` has written.

    Args:
        path: the folder; it must hold a config.

    Attributes:
        path: the folder.
        layout: the paths in it.

    Raises:
        StabError: the folder has no config.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.layout = RunLayout(path)
        if not self.layout.config.is_file():
            name = self.layout.config.name
            raise StabError(f"{str(path)!r} is no run folder: it has no {name} (asteroid-stab train makes one)")

    @cached_property
    def config(self) -> DictConfig:
        """The resolved config that the run was started with."""
        file = self.layout.config
        try:
            config = OmegaConf.load(file)
        except (YAMLError, OmegaConfBaseException) as error:
            raise StabError(f"{str(file)!r} is no readable config: {error}") from error
        if not isinstance(config, DictConfig) or "data" not in config:
            raise StabError(f"{str(file)!r} is no config of a run: it has no 'data'")
        return config

    def model(self, stage: int | None = None) -> Path:
        """The best model, or that of a stage of a training in stages.

        Raises:
            StabError: it is not there.
        """
        path = self.layout.model if stage is None else self.layout.stage_model(stage)
        if path.is_file():
            return path
        if stage is None:
            raise StabError(f"no model at {str(path)!r}; a run has one from its first epoch on")
        raise StabError(f"no model at {str(path)!r}; a training with callbacks=[progressive] has one of each stage")

    def evaluation(self, split: str, stage: int | None = None, max_iterations: int | None = None) -> Path:
        """Where the evaluation of ``split`` stands; those of a stage or of limited iterations stand beside it."""
        of = "" if stage is None else f"_stage{stage}"
        limit = "" if max_iterations is None else f"_iterations{max_iterations}"
        return self.layout.evaluation(f"{split}{of}{limit}").folder

    def datamodule(self, overrides: Sequence[str] = ()) -> MixtureDataModule:
        """The run's data, not yet set up.

        Args:
            overrides: ``KEY=VALUE`` changes of the config's ``data``, for a corpus that has moved.

        Raises:
            StabError: an override names no key of ``data``, or the data module refuses its arguments.
        """
        from asteroid_stab.run.check import build, check_config
        from asteroid_stab.run.overrides import apply

        config: Any = apply(self.config.data, overrides, "data")
        check_config(config, "data")
        return build(config)
