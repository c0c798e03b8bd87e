"""Config of a recipe: its yaml, the package's ingredients and the user's overrides."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from asteroid_stab.errors import StabError, nearest
from asteroid_stab.run.check import check_config
from asteroid_stab.run.overrides import expand_home, keys, quoted, read
from asteroid_stab.run.parts import GROUPS, PARTS, complete
from asteroid_stab.run.recipes import recipe_file
from asteroid_stab.run.resolve import corpus_value
from asteroid_stab.run.stored import check_size
from asteroid_stab.run.unread import check_top, kept, leave_out, unread

# What Hydra lets through of yaml files with a tab, a doubled key, a loop, other bytes, or other types.
_UNREADABLE = (HydraException, YAMLError, OmegaConfBaseException, RecursionError, ValueError, TypeError, AttributeError)

_OWN_ERROR = re.compile(r"(Stab|Key)Error raised while resolving interpolation: ")  # OmegaConf's words around ours
_ALONE = "alone"  # where an option is composed beside the recipe, without the recipe's values

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
    file = recipe_file(recipe, config_dir)
    check_size(file)
    folder = Path(config_dir).resolve() if config_dir else None
    search = search_path(folder)
    # Hydra looks for a primary config in one place only: the user's folder, if the recipe is of it.
    place = (
        initialize_config_dir(str(folder), version_base="1.3")
        if folder is not None and file.resolve().is_relative_to(folder)
        else initialize_config_module("asteroid_stab.recipes", version_base="1.3")
    )
    with place, readable(recipe):
        groups, values = split_choices(recipe, overrides, search)
        chosen = compose(recipe, overrides=[search, *groups])
        check_keys(values, chosen)
        config = compose(recipe, overrides=[search, *groups, *values, f"recipe={quoted(recipe)}"])
        if idle := unread(config):
            replaced = [*groups, *(text for text in values if read(text).key_or_group.endswith("._target_"))]
            default = compose(recipe, overrides=[search]) if replaced else config
            typed = _typed(idle, values)
            _tell(leave_out(config, [key for key in idle if key not in typed], default), replaced)
            _check_chosen(config, recipe, search)
        _tell_kept(config, groups, values, recipe, search)
    return _checked(config, recipe)


def search_path(config_dir: str | Path | None) -> str:
    """Returns the word by which Hydra finds the package's recipes and ingredients, and the user's before them."""
    own = [] if config_dir is None else [quoted(f"file://{Path(config_dir).resolve()}")]
    return f"hydra.searchpath=[{','.join([*own, 'pkg://asteroid_stab.recipes', 'pkg://asteroid_stab.conf'])}]"


@contextmanager
def readable(recipe: str, what: str = "recipe") -> Iterator[None]:
    """Names the recipe in what Hydra raises where its files cannot be read or do not fit together."""
    try:
        yield
    except StabError:
        raise
    except AssertionError as error:  # OmegaConf's, where a text in quotes holds a bare value
        raise StabError(f"{what} {recipe!r}: one of its files holds a bare value and no keys") from error
    except RecursionError as error:
        raise StabError(f"{what} {recipe!r}: its defaults lead back to itself, or it is nested too deep") from error
    except (*_UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a fault of the disk; OmegaConf's own, of a file with a bare value, has no number
        raise StabError(f"{what} {recipe!r}: {' '.join(str(error).split()) or type(error).__name__}") from error


def _checked(config: DictConfig, recipe: str) -> DictConfig:
    """Returns the resolved and checked config."""
    try:
        written: Any = OmegaConf.create(OmegaConf.to_container(config, resolve=False))
        OmegaConf.resolve(config)
        check_top(written, recipe)
        plain: Any = OmegaConf.to_container(config)
    except (OmegaConfBaseException, RecursionError) as error:
        text = _OWN_ERROR.sub("", (str(error).splitlines() or [type(error).__name__])[0])
        raise StabError(f"recipe {recipe!r}: {text}") from error
    config = OmegaConf.create(complete(plain))
    expand_home(config)
    OmegaConf.set_struct(config, True)
    check_config(config)
    return config


def _typed(keys: Sequence[str], values: Sequence[str]) -> list[str]:
    """Returns the keys that nothing reads and the user typed a value for, which are refused.

    Raises:
        StabError: one is of a stabilizer or callback that is not chosen at all.
    """
    found = []
    for text in values:
        change = read(text)
        for key in keys:
            if f"{change.key_or_group}.".startswith(f"{key}."):
                group, _, name = key.partition(".")
                if group in ("stabilizer", "callbacks"):
                    raise StabError(f"{key} is given a value but is not chosen: add {group}=[{name}]")
                found.append(key)
    return found


def _tell(gone: Sequence[str], groups: Sequence[str]) -> None:
    if gone and os.environ.get("LOCAL_RANK", "0") == "0":  # once, not from every process
        text = (
            f"note: the recipe's values of {', '.join(gone)} are left out: with {' '.join(groups)} nothing reads them"
        )
        print(text, file=sys.stderr, flush=True)


def _tell_kept(config: DictConfig, groups: Sequence[str], values: Sequence[str], recipe: str, search: str) -> None:
    """Reports the recipe's values for a replaced part that the new part takes too."""
    changes = [change for change in map(read, groups) if change.key_or_group in PARTS]
    if not changes or os.environ.get("LOCAL_RANK", "0") != "0":
        return
    before = compose(recipe, overrides=[search], return_hydra_config=True).hydra.runtime.choices
    typed = [read(text).key_or_group for text in values]
    for group, option in ((change.key_or_group, change.value()) for change in changes):
        if not isinstance(option, str) or before.get(group) == option:
            continue
        alone = compose(overrides=[search, f"+{group}@{_ALONE}={quoted(option)}"])[_ALONE]
        if found := kept(config[group], alone, group, typed):
            text = f"note: {group}={option} takes the recipe's {', '.join(found)} too: KEY=VALUE changes one"
            print(text, file=sys.stderr, flush=True)


def _check_chosen(config: DictConfig, recipe: str, search: str) -> None:
    """Checks that no value is left for a part that is not chosen.

    Raises:
        StabError: there is one.
    """
    loader = GlobalHydra.instance().config_loader()
    for key in unread(config):
        group, _, name = key.partition(".")
        if group in ("stabilizer", "callbacks") and "." not in name:
            options = loader.get_group_options(group, ObjectType.CONFIG, config_name=recipe, overrides=[search])
            if name in options:
                raise StabError(f"{key} is given a value but is not chosen: add {group}=[{name}]")
            what = {"stabilizer": "stabilizer", "callbacks": "callback"}[group]
            raise StabError(f"{key} has no _target_, and is no {what}{nearest(name, options)}")
        part = OmegaConf.select(config, key.rpartition(".")[0])
        if "_target_" not in part:
            raise StabError(f"nothing reads {key}, since {key.rpartition('.')[0]} has no _target_ (none is chosen)")


def split_choices(recipe: str, overrides: Sequence[str], search: str) -> tuple[list[str], list[str]]:
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
        _check_choice(parsed.key_or_group, chosen)
        for option in chosen if isinstance(chosen, list) else [chosen]:
            if isinstance(option, str) and option not in options:
                raise StabError(
                    f"group {parsed.key_or_group!r} has no option {option!r}{nearest(option, options)}; "
                    f"it has {', '.join(options)}"
                )
        empty = chosen is None and not parsed.is_delete()
        groups.append(f"{text.partition('=')[0]}=[]" if empty else text)  # Hydra has no null for a group
    return groups, values


def _check_choice(group: str, chosen: Any) -> None:
    """Checks that a group gets the name of an option, or null where a run may go without it.

    Raises:
        StabError: it gets something else.
    """
    names = chosen if isinstance(chosen, list) else [chosen]
    part = {**PARTS, **GROUPS}.get(group.partition("@")[0])
    if chosen is None or chosen == []:
        if part is not None and not part.optional:
            raise StabError(f"group {group!r} takes the name of an option, got none, and a run needs one")
    elif wrong := [name for name in names if not isinstance(name, str)]:
        raise StabError(f"group {group!r} takes the name of an option, got {wrong[0]!r}")
    elif len(names) > 1 and group in PARTS:
        raise StabError(f"group {group!r} takes one option, got {', '.join(names)}")


def check_keys(values: Sequence[str], config: DictConfig) -> None:
    """Checks that every override changes a key that a composed config has, unless it adds one.

    Raises:
        StabError: there is no such key.
    """
    known = keys(config)
    for parsed in map(read, values):
        key = parsed.key_or_group
        if not parsed.is_add() and not parsed.is_force_add() and key not in known:
            group, _, rest = key.partition(".")
            name = rest.partition(".")[0]
            if group == "stabilizer" and "." in rest and name not in (config.stabilizer or {}):
                raise StabError(f"stabilizer.{rest} is not chosen: add stabilizer=[{name}]")
            raise StabError(f"the config has no key {key!r}{nearest(key, known)}; '+{key}=...' would add it")
