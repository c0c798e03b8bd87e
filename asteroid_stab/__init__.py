"""Stable label assignment in permutation-invariant training: plugins on Asteroid and PyTorch Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING

from asteroid_stab import _compat

__version__: str  # found when it is first asked for: git takes a moment


if not TYPE_CHECKING:  # for a type checker, other names would be there too

    def __getattr__(name: str) -> str:
        if name == "__version__":
            from asteroid_stab.version import version

            return version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _register_models() -> None:
    """Imports this package's models, which Asteroid then finds by name.

    It runs when Asteroid is about to read a file, so that ``import asteroid_stab`` stays quick.
    """
    import_module("asteroid_stab.models")


_compat.BEFORE_READING.append(_register_models)
_compat.apply()  # before anything imports Asteroid
