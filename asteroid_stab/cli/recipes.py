"""``asteroid-stab recipes``: what can be trained."""

from __future__ import annotations

import argparse
from pathlib import Path

from asteroid_stab.errors import StabError

SUMMARY = "lists the recipes, one line each"


def recipe_files(config_dir: str | None = None) -> dict[str, Path]:
    """File of every recipe by name: the package's own, and those of ``config_dir`` before them."""
    import asteroid_stab.recipes

    if config_dir is not None and not Path(config_dir).is_dir():
        raise StabError(f"--config-dir must be a folder, got {config_dir!r}")
    found: dict[str, Path] = {}
    for root in [*asteroid_stab.recipes.__path__, *([config_dir] if config_dir else [])]:
        for file in sorted(Path(root).rglob("*.yaml")):
            found[str(file.relative_to(root).with_suffix(""))] = file
    return dict(sorted(found.items()))


def summary(file: Path) -> str:
    """The first comment line of a recipe that is not Hydra's package line."""
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.lstrip("# ").strip()
        if line.startswith("#") and text and not text.startswith("@package"):
            return text
    return ""


def main(argv: list[str]) -> int:
    """Prints the name and the first line of every recipe."""
    parser = argparse.ArgumentParser(prog="asteroid-stab recipes", description=SUMMARY)
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of recipes of your own")
    files = recipe_files(parser.parse_args(argv).config_dir)
    width = max(map(len, files))
    for name, file in files.items():
        print(f"{name:<{width}}  {summary(file)}")
    return 0
