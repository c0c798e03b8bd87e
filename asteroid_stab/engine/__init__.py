"""The training step, and the callbacks that look into it."""

from asteroid_stab.engine.bank import AssignmentBank
from asteroid_stab.engine.epoch_models import EpochModels
from asteroid_stab.engine.epoch_table import EpochTable
from asteroid_stab.engine.freeze import FreezeParameters
from asteroid_stab.engine.multitask_system import MultiTaskSystem
from asteroid_stab.engine.pretext_system import PretextSystem
from asteroid_stab.engine.progressive import ProgressiveTraining
from asteroid_stab.engine.refinement_system import RefinementSystem
from asteroid_stab.engine.reweighting import Reweighting, RisingSchedule
from asteroid_stab.engine.run_checkpoint import RunCheckpoint
from asteroid_stab.engine.sample_dropout import SampleDropout
from asteroid_stab.engine.step import Stabilizer, Step, StepCallback
from asteroid_stab.engine.system import StabSystem
from asteroid_stab.engine.tracker import AssignmentTracker

__all__ = [
    "AssignmentBank",
    "AssignmentTracker",
    "EpochModels",
    "EpochTable",
    "FreezeParameters",
    "MultiTaskSystem",
    "PretextSystem",
    "ProgressiveTraining",
    "RefinementSystem",
    "Reweighting",
    "RisingSchedule",
    "RunCheckpoint",
    "SampleDropout",
    "StabSystem",
    "Stabilizer",
    "Step",
    "StepCallback",
]
