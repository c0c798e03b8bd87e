"""Stable label assignment in permutation-invariant training: plugins on Asteroid and PyTorch Lightning."""

from importlib import import_module

from asteroid_stab import _compat

__version__ = "0.1.0"


def _register_models() -> None:
    """Imports this package's models, which Asteroid then finds by name.

    It runs when Asteroid is about to read a file, so that ``import asteroid_stab`` stays quick.
    """
    import_module("asteroid_stab.models")


_compat.BEFORE_READING.append(_register_models)
_compat.apply()  # before anything imports Asteroid
