"""Stable label assignment in permutation-invariant training: plugins on Asteroid and PyTorch Lightning."""

from asteroid_stab import _compat

__version__ = "0.1.0"

_compat.apply()  # before anything imports Asteroid
