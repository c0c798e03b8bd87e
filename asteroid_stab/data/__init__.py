"""Corpora: mixtures under stable ids, and the loaders that deal them out to epochs and ranks.

All public classes are taken from here; the modules beneath are private. A corpus is imported when it is first asked
for: some bring libraries that take a second to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from asteroid_stab.data.corpus import Corpus
from asteroid_stab.data.datamodule import MixtureDataModule
from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.data.epoch_loader import EpochLoader
from asteroid_stab.data.sampler import EpochSampler
from asteroid_stab.data.utterances import Utterances, UtteranceSource
from asteroid_stab.data.with_ids import WithIds, with_ids

_MODULES = {
    "DynamicCorpus": "asteroid_stab.data.corpora.dynamic",
    "EscCorpus": "asteroid_stab.data.corpora.esc",
    "LibriMixCorpus": "asteroid_stab.data.corpora.librimix",
    "LibriSpeechCorpus": "asteroid_stab.data.corpora.librispeech",
    "MixtureFilesCorpus": "asteroid_stab.data.corpora.mixture_files",
    "MultiTaskCorpus": "asteroid_stab.data.corpora.multitask",
    "NoisyCorpus": "asteroid_stab.data.corpora.noisy",
    "RoomsCorpus": "asteroid_stab.data.corpora.rooms",
    "SmsWsjCorpus": "asteroid_stab.data.corpora.sms_wsj",
    "SpeechEscCorpus": "asteroid_stab.data.corpora.esc",
    "SpeechFolders": "asteroid_stab.data.corpora.speech_folders",
    "ToyCorpus": "asteroid_stab.data.toy.corpus",
    "VariableSourcesCorpus": "asteroid_stab.data.corpora.variable",
    "WhamCorpus": "asteroid_stab.data.corpora.wsj0",
    "WhamrCorpus": "asteroid_stab.data.corpora.wsj0",
    "Wsj0MixCorpus": "asteroid_stab.data.corpora.wsj0",
}

__all__ = [
    "Corpus",
    "EpochLoader",
    "EpochSampler",
    "MixtureDataModule",
    "MixtureDataset",
    "UtteranceSource",
    "Utterances",
    "WithIds",
    "with_ids",
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    """Imports a corpus' class (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
