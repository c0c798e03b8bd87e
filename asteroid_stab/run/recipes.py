"""The recipes that can be trained: the package's, and a user's own."""

from __future__ import annotations

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
    cards = [(source.parent / CARD, recipe.parent / CARD)]
    written = []
    for old, new in [*(card for card in cards if card[0].is_file() and not card[1].exists()), (source, recipe)]:
        with replacing(new) as file:
            file.write_bytes(old.read_bytes())
        written.append(new)
    return written


def summary(file: Path) -> str:
    """Returns the first comment line of a recipe that is not Hydra's package line."""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.lstrip("# ").strip()
        if line.startswith("#") and text and not text.startswith("@package"):
            return text
    return ""
