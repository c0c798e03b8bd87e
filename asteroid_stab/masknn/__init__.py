"""Building blocks of separation networks."""

from asteroid_stab.masknn.exit_gate import ExitGate
from asteroid_stab.masknn.norms import FusedGlobLN, fuse_norms

__all__ = ["ExitGate", "FusedGlobLN", "fuse_norms"]
