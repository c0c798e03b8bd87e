"""Recipes whose model is of a package that an environment may lack."""

import importlib.util

from asteroid_stab.run.recipes import recipe_files

PACKAGES = {"sepformer": "speechbrain", "tfgridnet": "espnet2"}
"""The packages, by the ends of recipes' names."""
OF_PACKAGES = {
    recipe: package for recipe in recipe_files() for end, package in PACKAGES.items() if recipe.endswith(end)
}
"""The packages, by recipe; tests/integrations/test_models.py composes and trains these."""


def is_lacking(recipe):
    """Whether the recipe's package is not installed here."""
    return recipe in OF_PACKAGES and importlib.util.find_spec(OF_PACKAGES[recipe]) is None
