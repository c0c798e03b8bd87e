"""Losses that pair estimates with sources."""

from asteroid_stab.losses.assignment import Assignment
from asteroid_stab.losses.pit_wrapper import ExactPITLossWrapper

__all__ = ["Assignment", "ExactPITLossWrapper"]
