"""A run folder that exists: its config, and its data built again from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from asteroid_stab.errors import StabError
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.run.parts import complete
from asteroid_stab.run.stored import read_config
from asteroid_stab.run.upgrade import upgrade_config
from asteroid_stab.trust import check_stored, trusted_names

if TYPE_CHECKING:
    from asteroid_stab.data.datamodule import MixtureDataModule


class RunFolder:
    """A folder that ``asteroid-stab train`` has written.

    Args:
        path: the folder; it must hold a config.
        config_dir: a folder of the user's own recipes, whose classes are trusted.

    Attributes:
        path: the folder.
        layout: the paths in it.

    Raises:
        StabError: the folder has no config.
    """

    def __init__(self, path: str | Path, config_dir: str | None = None):
        self.path = Path(path)
        self.config_dir = config_dir
        self.layout = RunLayout(path)
        if not self.layout.config.is_file():
            name = self.layout.config.name
            raise StabError(f"{str(path)!r} is no run folder: it has no {name} (asteroid-stab train makes one)")

    @cached_property
    def config(self) -> DictConfig:
        """The resolved config that the run was started with, as this version would have written it.

        Reading it builds nothing; what builds from it calls :meth:`check_trusted` before.
        """
        file = self.layout.config
        stored = read_config(file)
        if not isinstance(stored.get("data"), dict):
            raise StabError(f"{str(file)!r} is no config of a run: it has no 'data'")
        try:
            return OmegaConf.create(complete(upgrade_config(stored), needed=("data", "loader")))
        except StabError as error:
            raise StabError(f"{str(file)!r} is no config of a run: {error}") from error

    def check_whole(self) -> None:
        """Checks that the config has all that a training needs.

        Raises:
            StabError: it has not.
        """
        config: Any = OmegaConf.to_container(self.config)
        try:
            complete(config)
        except StabError as error:
            raise StabError(f"{str(self.layout.config)!r} is no config of a run: {error}") from error

    def check_trusted(self, *parts: str) -> None:
        """Checks that the stored config names, in these parts or in all, only classes that may be built from it.

        Raises:
            StabError: it names another.
        """
        config: Any = OmegaConf.to_container(self.config)
        trusted = trusted_names(self.config_dir)
        for part in parts or config:
            check_stored(config[part], part, str(self.layout.config), trusted)

    def datamodule(self, overrides: Sequence[str] = ()) -> MixtureDataModule:
        """Builds the run's data, not yet set up.

        Args:
            overrides: ``KEY=VALUE`` changes of the config's ``data``, for a corpus that has moved; with a choice of the
                group (``data=OPTION``) all of them are of that corpus, and the run's own is not asked for.

        Raises:
            StabError: the config names a class that is not trusted or a new folder for a cache, an override names no
                key of ``data``, or corpus or loader refuse their arguments.
        """
        from asteroid_stab.run.caches import check_caches
        from asteroid_stab.run.check import build_part, check_config
        from asteroid_stab.run.compose_data import chosen_corpus, compose_data
        from asteroid_stab.run.overrides import apply

        self.check_trusted("loader")
        config: Any
        if chosen_corpus(overrides) is not None:
            config = compose_data(overrides, self.config_dir)
        else:
            self.check_trusted("data")
            config = apply(self.config.data, overrides, "data")
            check_caches(OmegaConf.create({"data": config}), self.path, overrides)
        check_config(config, "data")
        check_config(self.config.loader, "loader")
        # The sets alone are wanted, perhaps on a smaller machine than the training's: no process is started for them.
        loader = {**self.config.loader, **({"num_workers": 0} if "num_workers" in self.config.loader else {})}
        return build_part("loader", OmegaConf.create(loader), build_part("data", config))
