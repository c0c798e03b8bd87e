"""Config of a recipe: its yaml, the package's ingredients and the user's overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.run.check import check_config
from asteroid_stab.run.overrides import expand_home, keys, read
from asteroid_stab.run.recipes import recipe_files
from asteroid_stab.run.resolve import corpus_value

OmegaConf.register_new_resolver("corpus", lambda key, *, _root_: corpus_value(_root_.data, key), replace=True)


def compose_recipe(recipe: str, overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> DictConfig:
    """Returns the resolved and checked config of ``recipe``.

    Args:
        recipe: name of a recipe, as ``asteroid-stab recipes`` lists it.
        overrides: changes in Hydra's grammar: ``key=value``, ``group=option``, ``+new=value``, ``~gone``.
        config_dir: a folder with the user's own recipes and ingredients, searched beside the package's.

    Raises:
        StabError: there is no such recipe, group option or key (the nearest is named), or the config does not fit
            the constructors that it names.
    """
    recipes = recipe_files(config_dir)
    if recipe not in recipes:
        raise StabError(f"no recipe {recipe!r}{nearest(recipe, recipes)}; 'asteroid-stab recipes' lists them")
    search = "hydra.searchpath=[pkg://asteroid_stab.recipes,pkg://asteroid_stab.conf]"
    # Hydra looks for a primary config in one place only: the user's folder, if the recipe is of it.
    place = (
        initialize_config_dir(str(Path(config_dir).resolve()), version_base="1.3")
        if config_dir
        else initialize_config_module("asteroid_stab.recipes", version_base="1.3")
    )
    with place:
        try:
            groups, values = _split(recipe, overrides, search)
            chosen = compose(recipe, overrides=[search, *groups])
            _check_keys(values, chosen)
            config = compose(recipe, overrides=[search, *groups, *values, f"recipe={recipe}"])
            _drop_unchosen(config, recipe, values, search)
        except HydraException as error:
            raise StabError(f"recipe {recipe!r}: {str(error).strip()}") from error
    try:
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        raise StabError(f"recipe {recipe!r}: {str(error).splitlines()[0]}") from error
    expand_home(config)
    check_config(config)
    return config


def _drop_unchosen(config: DictConfig, recipe: str, values: Sequence[str], search: str) -> None:
    """Removes values of a recipe for stabilizers and callbacks that were deselected (``stabilizer=[]``).

    Raises:
        StabError: there is no such stabilizer or callback, or the user gives a value to one that is not chosen.
    """
    loader = GlobalHydra.instance().config_loader()
    for group, what in (("stabilizer", "stabilizer"), ("callbacks", "callback")):
        options = loader.get_group_options(group, ObjectType.CONFIG, config_name=recipe, overrides=[search])
        for name in [str(name) for name, node in (config[group] or {}).items() if "_target_" not in (node or {})]:
            if name not in options:
                raise StabError(f"{group}.{name} has no _target_, and is no {what}{nearest(name, options)}")
            if any(read(value).key_or_group.startswith(f"{group}.{name}.") for value in values):
                raise StabError(f"{group}.{name} is given a value but is not chosen: add {group}=[{name}]")
            OmegaConf.set_struct(config, False)
            del config[group][name]
            OmegaConf.set_struct(config, True)


def _split(recipe: str, overrides: Sequence[str], search: str) -> tuple[list[str], list[str]]:
    """Returns the overrides that choose an option of a group, and all others; refuses unknown options."""
    loader = GlobalHydra.instance().config_loader()
    groups, values = [], []
    for text in overrides:
        parsed = read(text)
        options = loader.get_group_options(
            parsed.key_or_group, ObjectType.CONFIG, config_name=recipe, overrides=[search]
        )
        if not options:
            values.append(str(parsed.input_line))  # with paths in quotes
            continue
        chosen = parsed.value()
        for option in chosen if isinstance(chosen, list) else [chosen]:
            if isinstance(option, str) and option not in options:
                raise StabError(
                    f"group {parsed.key_or_group!r} has no option {option!r}{nearest(option, options)}; "
                    f"it has {', '.join(options)}"
                )
        groups.append(text)
    return groups, values


def _check_keys(values: Sequence[str], config: DictConfig) -> None:
    known = keys(config)
    for parsed in map(read, values):
        key = parsed.key_or_group
        if not parsed.is_add() and not parsed.is_force_add() and key not in known:
            group, _, rest = key.partition(".")
            name = rest.partition(".")[0]
            if group == "stabilizer" and "." in rest and name not in (config.stabilizer or {}):
                raise StabError(f"stabilizer.{rest} is not chosen: add stabilizer=[{name}]")
            raise StabError(f"the config has no key {key!r}{nearest(key, known)}; '+{key}=...' would add it")
