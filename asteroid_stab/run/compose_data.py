"""Config of a corpus that a run was not trained on: an option of the group ``data`` with the user's values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from asteroid_stab.errors import StabError
from asteroid_stab.run.compose import check_keys, readable, search_path, split_choices
from asteroid_stab.run.overrides import expand_home, read

GROUP, PRIMARY = "data", "train"


def chosen_corpus(overrides: Sequence[str]) -> str | None:
    """Returns the option of the group ``data`` that overrides choose; None if they choose none.

    Raises:
        StabError: an override cannot be read, or the choice is no name.

    Example:
        >>> chosen_corpus(["data=librispeech", "data.root=/a"]), chosen_corpus(["data.root=/a"])
        ('librispeech', None)
    """
    found = map(read, overrides)
    chosen = [change.value() for change in found if change.key_or_group == GROUP and change.package is None]
    if len(chosen) > 1 or not all(isinstance(one, str) for one in chosen):
        raise StabError(f"data= takes the name of one corpus, got {', '.join(map(str, chosen))}")
    return str(chosen[0]) if chosen else None


def compose_data(overrides: Sequence[str], config_dir: str | Path | None = None) -> DictConfig:
    """Returns the resolved config of a corpus.

    Args:
        overrides: ``data=OPTION``, choices of the corpora that it is made of (``data@data.base=OPTION``), and
            ``data.KEY=VALUE``.
        config_dir: a folder with the user's own ingredients, searched beside the package's.

    Raises:
        StabError: there is no such option or key; the nearest is named.
    """
    search = search_path(config_dir)
    with initialize_config_module("asteroid_stab.conf", version_base="1.3"), readable(GROUP, "group"):
        groups, values = split_choices(PRIMARY, overrides, search)
        check_keys(values, compose(PRIMARY, overrides=[search, *groups]))
        config = compose(PRIMARY, overrides=[search, *groups, *values])
        try:
            plain: Any = OmegaConf.to_container(config[GROUP], resolve=True)
        except OmegaConfBaseException as error:
            raise StabError(f"{GROUP}: {str(error).splitlines()[0]}") from error
    config = OmegaConf.create({GROUP: plain})
    expand_home(config)
    return config[GROUP]
