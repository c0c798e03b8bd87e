"""What weighs the items of a batch, and what they are weighed by."""

from asteroid_stab.stabilizers.bank import AssignmentBank
from asteroid_stab.stabilizers.base import Stabilizer, Step, StepCallback
from asteroid_stab.stabilizers.reweighting import Reweighting
from asteroid_stab.stabilizers.sample_dropout import SampleDropout

__all__ = [
    "AssignmentBank",
    "Reweighting",
    "SampleDropout",
    "Stabilizer",
    "Step",
    "StepCallback",
]
