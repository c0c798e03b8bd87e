"""Building blocks of separation networks."""

from asteroid_stab.masknn.exit_gate import ExitGate
from asteroid_stab.masknn.norms import FusedGlobLN, fuse_norms
from asteroid_stab.masknn.refinement import RefinementMasker
from asteroid_stab.masknn.sub_blocks import make_sub_block, register_sub_block

__all__ = ["ExitGate", "FusedGlobLN", "RefinementMasker", "fuse_norms", "make_sub_block", "register_sub_block"]
