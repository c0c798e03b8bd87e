"""Corpora: mixtures under stable ids, and the loaders that deal them out to epochs and ranks."""

from asteroid_stab.data.corpora.dynamic import DynamicData
from asteroid_stab.data.corpora.multitask import MultiTaskData
from asteroid_stab.data.corpora.noisy import NoisyData
from asteroid_stab.data.datamodule import MixtureDataModule
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.sampler import EpochSampler
from asteroid_stab.data.toy.corpus import ToyData
from asteroid_stab.data.utterances import Utterances

__all__ = [
    "DynamicData",
    "EpochSampler",
    "MixtureDataModule",
    "MixtureDataset",
    "MultiTaskData",
    "NoisyData",
    "ToyData",
    "Utterances",
]
