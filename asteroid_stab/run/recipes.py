"""The recipes that can be trained: the package's, and a user's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from asteroid_stab.atomic import replacing
from asteroid_stab.errors import StabError, nearest

CARD = "README.md"


def recipe_files(config_dir: str | Path | None = None) -> dict[str, Path]:
    """Returns the file of every recipe by name.

    Args:
        config_dir: a folder of the user's own recipes, which come before the package's of the same name.

    Raises:
        StabError: ``config_dir`` is no folder.
    """
    import asteroid_stab.recipes

    if config_dir is not None and not Path(config_dir).is_dir():
        raise StabError(f"--config-dir must be a folder, got {str(config_dir)!r}")
    found: dict[str, Path] = {}
    for root in [*asteroid_stab.recipes.__path__, *([config_dir] if config_dir else [])]:
        for file in sorted(Path(root).rglob("*.yaml")):
            found[file.relative_to(root).with_suffix("").as_posix()] = file
    return dict(sorted(found.items()))


def recipe_file(name: str, config_dir: str | Path | None = None) -> Path:
    """Returns the file of a recipe.

    Args:
        name: name of the recipe, as ``asteroid-stab recipes`` lists it.
        config_dir: a folder of the user's own recipes.

    Raises:
        StabError: there is none of this name (the nearest is named), or ``config_dir`` is no folder.
    """
    recipes = recipe_files(config_dir)
    if name not in recipes:
        raise StabError(f"no recipe {name!r}{nearest(name, recipes)}; 'asteroid-stab recipes' lists them")
    return recipes[name]


def copy_recipe(name: str, folder: Path, config_dir: str | Path | None = None) -> list[Path]:
    """Copies a recipe and its card into a folder, in the layout that ``--config-dir`` expects.

    Args:
        name: name of the recipe.
        folder: the folder, which is made where it is missing. A card that it has already is kept.
        config_dir: a folder of the user's own recipes, to copy one of them.

    Returns:
        The files that were written.

    Raises:
        StabError: there is no such recipe, the folder is a file, or it holds a recipe of this name already.
    """
    source = recipe_file(name, config_dir)
    recipe = folder / f"{name}.yaml"
    for place in (recipe, *recipe.parents):
        if place.is_symlink() or place.exists():
            break
    if place == recipe:
        raise StabError(f"{str(recipe)!r} exists already: edit it, remove it, or name another folder")
    if not place.is_dir():
        raise StabError(f"the copy needs a folder, but {str(place)!r} is a file: name another one")
    recipe.parent.mkdir(parents=True, exist_ok=True)
    contents = {recipe: source.read_bytes()}
    old, new = source.parent / CARD, recipe.parent / CARD
    if old.is_file() and not new.exists():
        text = without_links(old.read_text(encoding="utf-8"), [f"{Path(name).name}.yaml"])
        contents = {new: text.encode(), **contents}
    for place, content in contents.items():
        with replacing(place) as file:
            file.write_bytes(content)
    return [*contents]


def without_links(text: str, kept: Sequence[str] = ()) -> str:
    """Returns a text in Markdown whose links to files lead nowhere where it goes: their words stay.

    Args:
        text: the text; links to the web and within the text stay links.
        kept: files that go with it.

    Example:
        >>> without_links("[a](../x/README.md), [b](https://c.d), [e](#f) and ![g](g.svg)")
        'a, [b](https://c.d), [e](#f) and g'
    """

    def plain(link: re.Match[str]) -> str:
        is_kept = link[2].startswith("#") or "://" in link[2] or link[2] in kept
        return link[0] if is_kept else link[1]

    return re.sub(r"!?\[([^\]]*)\]\(([^)\s]+)\)", plain, text)


def summary(file: Path) -> str:
    """Returns the first comment line of a recipe that is not Hydra's package line."""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.lstrip("# ").strip()
        if line.startswith("#") and text and not text.startswith("@package"):
            return text
    return ""
