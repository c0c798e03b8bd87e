"""``asteroid-stab recipes``: what can be trained."""

from __future__ import annotations

import argparse

from asteroid_stab.cli.arguments import path
from asteroid_stab.run.recipes import recipe_files, summary

SUMMARY = "lists the recipes, one line each"


def main(argv: list[str]) -> int:
    """Prints the name and the first line of every recipe."""
    parser = argparse.ArgumentParser(prog="asteroid-stab recipes", description=SUMMARY)
    parser.add_argument("--config-dir", type=path, metavar="DIR", help="a folder of recipes of your own")
    files = recipe_files(parser.parse_args(argv).config_dir)
    width = max(map(len, files))
    for name, file in files.items():
        print(f"{name:<{width}}  {summary(file)}")
    return 0
