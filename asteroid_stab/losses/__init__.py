"""Losses that assign estimates to sources, and schedules of their parameters."""

from asteroid_stab.losses.assignment import Assignment
from asteroid_stab.losses.attention_pit_wrapper import AttentionPITLossWrapper
from asteroid_stab.losses.base_wrapper import AssignmentLossWrapper
from asteroid_stab.losses.fixed_pit_wrapper import FixedPITLossWrapper
from asteroid_stab.losses.hysteresis_wrapper import HysteresisPITLossWrapper
from asteroid_stab.losses.inactive import PairwiseNegInactiveSNR
from asteroid_stab.losses.layerwise_wrapper import LayerwiseLossWrapper
from asteroid_stab.losses.mcl_wrapper import MCLLossWrapper
from asteroid_stab.losses.pit_wrapper import ExactPITLossWrapper
from asteroid_stab.losses.probpit_wrapper import ProbPITLossWrapper
from asteroid_stab.losses.schedules import ExponentialSchedule, RisingSchedule, SteppedSchedule
from asteroid_stab.losses.sinkpit_wrapper import SinkPITLossWrapper
from asteroid_stab.losses.sorted_wrapper import SortedPITLossWrapper
from asteroid_stab.losses.switched_wrapper import SwitchedLossWrapper

__all__ = [
    "Assignment",
    "AssignmentLossWrapper",
    "AttentionPITLossWrapper",
    "ExactPITLossWrapper",
    "ExponentialSchedule",
    "FixedPITLossWrapper",
    "HysteresisPITLossWrapper",
    "LayerwiseLossWrapper",
    "MCLLossWrapper",
    "PairwiseNegInactiveSNR",
    "ProbPITLossWrapper",
    "RisingSchedule",
    "SinkPITLossWrapper",
    "SortedPITLossWrapper",
    "SteppedSchedule",
    "SwitchedLossWrapper",
]
