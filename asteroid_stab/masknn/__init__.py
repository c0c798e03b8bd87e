"""Building blocks of separation networks."""

from asteroid_stab.masknn.norms import FusedGlobLN, fuse_norms

__all__ = ["FusedGlobLN", "fuse_norms"]
