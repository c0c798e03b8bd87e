"""A run folder that exists: its config, and its data built again from it."""

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
from asteroid_stab.run.upgrade import upgrade_config

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
        """The resolved config that the run was started with, as this version would have written it."""
        file = self.layout.config
        try:
            config = OmegaConf.load(file)
        except (YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError, RecursionError) as error:
            raise StabError(f"{str(file)!r} is no readable config: {error}") from error
        if not isinstance(config, DictConfig) or "data" not in config:
            raise StabError(f"{str(file)!r} is no config of a run: it has no 'data'")
        return OmegaConf.create(upgrade_config(OmegaConf.to_container(config)))  # type: ignore[arg-type]

    def datamodule(self, overrides: Sequence[str] = ()) -> MixtureDataModule:
        """Builds the run's data, not yet set up.

        Args:
            overrides: ``KEY=VALUE`` changes of the config's ``data``, for a corpus that has moved.

        Raises:
            StabError: an override names no key of ``data``, or corpus or loader refuse their arguments.
        """
        from asteroid_stab.run.check import build, check_config
        from asteroid_stab.run.overrides import apply

        config: Any = apply(self.config.data, overrides, "data")
        check_config(config, "data")
        check_config(self.config.loader, "loader")
        return build(self.config.loader, build(config))
