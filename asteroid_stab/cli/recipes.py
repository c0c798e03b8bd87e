"""``asteroid-stab recipes``: what can be trained; ``recipes copy`` takes a recipe out of the package, to edit it."""

from __future__ import annotations

import argparse
import shlex

from asteroid_stab.cli.arguments import path
from asteroid_stab.run.recipes import copy_recipe, recipe_files, summary

SUMMARY = "lists the recipes, one line each; recipes copy RECIPE DIR copies one to edit"


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab recipes",
        description="Lists the recipes, one line each, or copies one into a folder of yours.",
    )
    parser.add_argument("--config-dir", type=path, metavar="DIR", help="a folder of recipes of your own")
    copy = parser.add_subparsers(dest="action", metavar="copy", title="actions").add_parser(
        "copy",
        help="copy a recipe to edit it",
        description="Copies a recipe with its card into DIR, for --config-dir DIR: DIR/PAPER/NAME.yaml comes before "
        "the package's recipe of the same name, and what it names is found in the package or in DIR.",
    )
    copy.add_argument("recipe", metavar="RECIPE", help="a recipe, as asteroid-stab recipes lists it")
    copy.add_argument("folder", type=path, metavar="DIR", help="the folder; it is made where it is missing")
    return parser


def main(argv: list[str]) -> int:
    """Prints the name and the first line of every recipe, or copies one and prints how to train the copy.

    Raises:
        StabError: there is no such recipe, or a file of that name in the folder already.
    """
    options = make_parser().parse_args(argv)
    if options.action == "copy":
        for file in copy_recipe(options.recipe, options.folder, options.config_dir):
            print(f"written: {file}")
        print("edit it, then train it:")
        print(shlex.join(["asteroid-stab", "train", options.recipe, "--config-dir", str(options.folder)]))
        return 0
    files = recipe_files(options.config_dir)
    width = max(map(len, files))
    for name, file in files.items():
        print(f"{name:<{width}}  {summary(file)}")
    return 0
