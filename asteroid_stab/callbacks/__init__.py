"""Lightning callbacks: what watches, keeps or changes something between steps."""

from asteroid_stab.callbacks.data_map_tracker import DataMapTracker
from asteroid_stab.callbacks.early_stopping import EarlyStopping
from asteroid_stab.callbacks.epoch_models import EpochModels
from asteroid_stab.callbacks.epoch_table import EpochTable
from asteroid_stab.callbacks.freeze import FreezeParameters
from asteroid_stab.callbacks.progressive import ProgressiveTraining
from asteroid_stab.callbacks.run_checkpoint import RunCheckpoint
from asteroid_stab.callbacks.stabilized import StabilizedTraining, stabilized
from asteroid_stab.callbacks.tracker import AssignmentTracker
from asteroid_stab.callbacks.weight_average import WeightAverage
from asteroid_stab.callbacks.weight_tracker import WeightTracker
from asteroid_stab.callbacks.whole_epochs import EndedWithinEpochError, WholeEpochs

__all__ = [
    "AssignmentTracker",
    "DataMapTracker",
    "EarlyStopping",
    "EndedWithinEpochError",
    "EpochModels",
    "EpochTable",
    "FreezeParameters",
    "ProgressiveTraining",
    "RunCheckpoint",
    "StabilizedTraining",
    "WeightAverage",
    "WeightTracker",
    "WholeEpochs",
    "stabilized",
]
