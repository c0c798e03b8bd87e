"""The recipes that can be trained: the package's, and a user's own."""

from __future__ import annotations

from pathlib import Path

from asteroid_stab.errors import StabError


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


def summary(file: Path) -> str:
    """Returns the first comment line of a recipe that is not Hydra's package line."""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.lstrip("# ").strip()
        if line.startswith("#") and text and not text.startswith("@package"):
            return text
    return ""
