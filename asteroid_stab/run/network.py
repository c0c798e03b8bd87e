"""The network of a run: an Asteroid model, or a net of somebody else that is hosted and tried."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from asteroid.models import BaseModel
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from torch import nn

from asteroid_stab.data import Corpus
from asteroid_stab.errors import StabError
from asteroid_stab.models.hosted import HostedModel, hosted
from asteroid_stab.models.probing import probe
from asteroid_stab.run.check import build_part


def build_network(node: DictConfig, corpus: Corpus) -> nn.Module:
    """Builds what a checked config has under ``model``.

    A class of torch's modules that is no Asteroid model is hosted, see :class:`~asteroid_stab.models.HostedModel`, with
    the ``n_src`` and the ``sample_rate`` that it is given as its own arguments, or else the corpus'.

    Args:
        node: the part of the config.
        corpus: of the run.

    Raises:
        StabError: the model is of another kind, or refuses its arguments.
    """
    found: Any = get_object(node["_target_"])
    plain: Any = OmegaConf.to_container(node, resolve=True)
    if found is hosted:
        if positional := [key for key in ("_args_", "_partial_") if plain.get(key)]:
            raise StabError(f"model: {node['_target_']} takes its arguments by name, and no {positional[0]}")
        return _hosted({key: value for key, value in plain.items() if not key.startswith("_")})
    if isinstance(found, type) and issubclass(found, nn.Module) and not issubclass(found, BaseModel):
        of_corpus = {"n_src": corpus.n_src, "sample_rate": corpus.sample_rate}
        given = {name: plain[name] for name in of_corpus if plain.get(name) is not None}
        return _hosted({"net": plain, **of_corpus, **given})
    network: nn.Module = build_part("model", node)
    if not isinstance(network, BaseModel):
        raise StabError(
            f"model must be a class of torch.nn.Module or give an Asteroid model, and {node['_target_']} gives a "
            f"{type(network).__name__}: name its class, so that its model file can be read"
        )
    if network.sample_rate is None:
        raise StabError(f"model must have a sample_rate, and this {type(network).__name__} has none")
    return network


def _hosted(arguments: Mapping[str, Any]) -> HostedModel:
    try:
        return hosted(**arguments)
    except StabError as error:
        raise StabError(f"model: {error}") from error


def try_network(network: nn.Module, n_samples: int, accelerator: Any) -> None:
    """Checks that a hosted model separates mixtures of the training's length; does nothing for others.

    It is tried on the CPU, and on a GPU where it cannot work on the CPU and the training may use a GPU.

    Args:
        network: the model, on the CPU.
        n_samples: length of a training mixture.
        accelerator: of the trainer.

    Raises:
        StabError: it does not.
    """
    if not isinstance(network, HostedModel):
        return
    try:
        try:
            probe(network, n_samples)
        except StabError:
            if accelerator not in ("auto", "gpu", "cuda") or not torch.cuda.is_available():
                raise
            probe(network, n_samples, f"cuda:{os.environ.get('LOCAL_RANK', 0)}")
    except StabError as error:
        raise StabError(f"model: {error}") from error
