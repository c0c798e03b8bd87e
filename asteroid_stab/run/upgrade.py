"""Configs of run folders of earlier versions, in the form that this version writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LOADER = {"segment_s": 3.0, "batch_size": 8, "num_workers": 0, "seed": 0}  # with the defaults of most corpora
_SEGMENT_S = {"ToyData": 1.5, "DynamicData": 1.5, "EscData": 4.0, "SpeechEscData": 4.0}  # the other defaults
_OF_THE_BASE = {
    "DynamicCorpus": ("n_src", "sample_rate"),
    "MultiTaskCorpus": ("n_src", "sample_rate"),
    "NoisyCorpus": ("sample_rate",),
}
_CHECKPOINT = {"_target_": "asteroid_stab.callbacks.RunCheckpoint", "_partial_": True, "every_n_steps": None}
_CORPORA = ("Dynamic", "Esc", "LibriMix", "LibriSpeech", "MultiTask", "Noisy", "SpeechEsc", "Toy", "Wham", "Wsj0Mix")
# Where the classes and functions of this package that a config may name are now, by their old names.
_TARGETS = {
    **{f"{name}Data": f"asteroid_stab.data.{name}Corpus" for name in _CORPORA},
    "SpeechFolderData": "asteroid_stab.data.SpeechFolders",
    "AssignmentTracker": "asteroid_stab.callbacks.AssignmentTracker",
    "EpochModels": "asteroid_stab.callbacks.EpochModels",
    "FreezeParameters": "asteroid_stab.callbacks.FreezeParameters",
    "ProgressiveTraining": "asteroid_stab.callbacks.ProgressiveTraining",
    "tensorboard": "asteroid_stab.callbacks.loggers.tensorboard",
    "wandb": "asteroid_stab.callbacks.loggers.wandb",
    "ContrastivePrediction": "asteroid_stab.pretext.ContrastivePrediction",
    "MaskedReconstruction": "asteroid_stab.pretext.MaskedReconstruction",
    "Reweighting": "asteroid_stab.stabilizers.Reweighting",
    "RisingSchedule": "asteroid_stab.losses.RisingSchedule",
    "SampleDropout": "asteroid_stab.stabilizers.SampleDropout",
}
_HOSTS = {"pytorch_lightning.callbacks.EarlyStopping": "asteroid_stab.callbacks.EarlyStopping"}


def upgrade_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a run's config as this version would have written it; a config of this version stays as it is.

    Args:
        config: the config, as plain dictionaries and lists.

    Example:
        >>> old = {"data": {"_target_": "asteroid_stab.data.ToyData", "n_src": 2, "segment_s": 1.5, "batch_size": 4}}
        >>> new = upgrade_config(old)
        >>> new["data"]
        {'_target_': 'asteroid_stab.data.ToyCorpus', 'n_src': 2}
        >>> new["loader"]["segment_s"], new["loader"]["batch_size"]
        (1.5, 4)
    """
    new: dict[str, Any] = {}
    for key, node in config.items():
        new[key] = _renamed(node)
        if key == "data" and isinstance(node, Mapping) and "loader" not in config:
            new["data"], new["loader"] = _corpus(new["data"]), _loader(node)
    if "model" in new:  # of a whole run
        new.setdefault("compile", False)
        new.setdefault("checkpoint", dict(_CHECKPOINT))
    return new


def _renamed(node: Any) -> Any:
    """A copy of a node with the present names of all targets, and of their arguments, in it."""
    if isinstance(node, Mapping):
        target = str(node.get("_target_"))
        new = {key: _renamed(child) for key, child in node.items()}
        if target in _HOSTS:
            new["_target_"] = _HOSTS[target]
        elif target.startswith("asteroid_stab."):
            new["_target_"] = _TARGETS.get(_class(new), target)
        if target == "asteroid_stab.losses.SwitchedLossWrapper" and "stages" in new:
            new = {"phases" if key == "stages" else key: child for key, child in new.items()}
        return new
    return [_renamed(child) for child in node] if isinstance(node, list) else node


def _class(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_")).rpartition(".")[2]


def _corpus(node: dict[str, Any]) -> dict[str, Any]:
    """A corpus' node, and the nodes of the corpora in it, without the loader's values and what is the base's."""
    gone = (*_LOADER, *_OF_THE_BASE.get(_class(node), ()))
    return {
        key: _corpus(child) if isinstance(child, dict) and "_target_" in child else child
        for key, child in node.items()
        if key not in gone
    }


def _loader(data: Mapping[str, Any]) -> dict[str, Any]:
    """The loader's node, of the values that were the corpus'."""
    defaults = {**_LOADER, "segment_s": _SEGMENT_S.get(_class(data), _LOADER["segment_s"])}
    values = {key: data.get(key, default) for key, default in defaults.items()}
    return {"_target_": "asteroid_stab.data.MixtureDataModule", "_partial_": True, **values}
