"""Building blocks of separation networks."""

from asteroid_stab.masknn.error_head import ErrorHead
from asteroid_stab.masknn.exit_gate import ExitGate
from asteroid_stab.masknn.fast_layers import FastPReLU, ShiftedConv1d
from asteroid_stab.masknn.kernels import use_fast_kernels
from asteroid_stab.masknn.norms import FusedGlobLN
from asteroid_stab.masknn.refinement import RefinementMasker
from asteroid_stab.masknn.sub_blocks import make_sub_block, register_sub_block

__all__ = [
    "ErrorHead",
    "ExitGate",
    "FastPReLU",
    "FusedGlobLN",
    "RefinementMasker",
    "ShiftedConv1d",
    "make_sub_block",
    "register_sub_block",
    "use_fast_kernels",
]
