"""Parts that weigh or observe the items of a batch, and the one training step that asks them."""

from asteroid_stab.losses.bank import AssignmentBank
from asteroid_stab.stabilizers.base import Clock, Stabilizer, Step, StepObserver
from asteroid_stab.stabilizers.carried import carry_state
from asteroid_stab.stabilizers.comm import Comm, TorchComm
from asteroid_stab.stabilizers.counts import EpochCounts, StepReport
from asteroid_stab.stabilizers.data_map import DataMap, DataMapWeighting
from asteroid_stab.stabilizers.empty_steps import skip_empty_steps
from asteroid_stab.stabilizers.graded_dropout import GradedDropout
from asteroid_stab.stabilizers.item_scores import ItemScores
from asteroid_stab.stabilizers.item_switches import ItemSwitches
from asteroid_stab.stabilizers.item_weights import ItemWeights
from asteroid_stab.stabilizers.loss_threshold import LossThreshold
from asteroid_stab.stabilizers.reweighting import Reweighting
from asteroid_stab.stabilizers.sample_dropout import SampleDropout
from asteroid_stab.stabilizers.stabilization import Stabilization
from asteroid_stab.stabilizers.switches import SwitchCounter, count_switches

__all__ = [
    "AssignmentBank",
    "Clock",
    "Comm",
    "DataMap",
    "DataMapWeighting",
    "EpochCounts",
    "GradedDropout",
    "ItemScores",
    "ItemSwitches",
    "ItemWeights",
    "LossThreshold",
    "Reweighting",
    "SampleDropout",
    "Stabilization",
    "Stabilizer",
    "Step",
    "StepObserver",
    "StepReport",
    "SwitchCounter",
    "TorchComm",
    "carry_state",
    "count_switches",
    "skip_empty_steps",
]
