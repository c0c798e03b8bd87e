"""Weights of an earlier run as the start of a new one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asteroid_stab.errors import StabError, some
from asteroid_stab.models.saved import check_kinds, check_weights, read_saved
from asteroid_stab.models.weight_names import fitting_names, held_weights, without_layer_heads
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.sharing.hub import is_hub_name, local_model

OUTPUT_LAYERS = ("masker.mask_net.1", "masker.first_out.1")
"""Layers that compute the sources' channels: in ConvTasNet, and in DPRNN, DPTNet and similar models. Another model has
its own ``output_layers``."""
GATES = "masker.gates."
COMPARED = (
    "sample_rate",
    "stride",
    "chunk_size",
    "hop_size",
    "mask_act",
    "norm_type",
    "encoder_activation",
    "rnn_type",
)
"""Arguments that do not show in the shapes of the weights."""
OF_THE_OUTPUT = ("noise_slot",)
"""Such arguments of the layers that compute the outputs."""


class Transfer(NamedTuple):
    """Names of weights, after a file was read into a model.

    Attributes:
        loaded: weights that the model took from the file.
        new: weights of the model that keep their initial values.
        left_out: weights of the file that the model did not take.
    """

    loaded: list[str]
    new: list[str]
    left_out: list[str]


def load_pretrained(
    model: torch.nn.Module, path: str | None = None, new_output: bool = False, new_gate: bool = False
) -> Transfer:
    """Starts ``model`` with the weights of another one, or with all but the output layer's.

    Weights that do not fit are an error: a part of the model would silently be trained from scratch.

    Args:
        model: takes the weights, in place.
        path: a run folder (its best model), a model file of ours or of Asteroid, a checkpoint of Lightning, or a state
            dict, alone or under one of the keys :data:`~asteroid_stab.models.weight_names.HELD_UNDER`, with the
            prefixes of wrappers; or ``hf://user/name[@revision]``, a model on the Hugging Face hub; None changes
            nothing.
        new_output: keep the initial values of the layers that compute the sources' channels (:data:`OUTPUT_LAYERS`, or
            the model's ``output_layers``), so that the number of sources may be another.
        new_gate: keep the initial values of the gates of a refining network, so that the weights may be of a network
            without gates.

    Raises:
        StabError: the file cannot be read; it holds no weights, or the weights of another model or sample rate;
            ``model`` has no known output layer or no gate to leave new.

    References:
        Huang et al., "Stabilizing label assignment for speech separation by self-supervised pre-training", Interspeech
        2021: everything but the parameters that produce the output channels is loaded.
    """
    if path is None:
        if new_output or new_gate:
            raise StabError(
                "new_output and new_gate need the path of weights to start with (init.path=RUN), got none; "
                "from scratch: init.new_output=false init.new_gate=false"
            )
        return Transfer([], list(model.state_dict()), [])
    place = local_model(path) if is_hub_name(path) else Path(path)
    file = RunLayout(place).model if place.is_dir() else place
    own = model.state_dict()
    weights, arguments, others = _weights(file, own)
    _check_arguments(model, arguments, file, COMPARED if new_output else (*COMPARED, *OF_THE_OUTPUT))
    outputs = tuple(f"{layer}." for layer in output_layers(model))
    if new_output and not any(key.startswith(outputs) for key in own):
        listed = " or ".join(output_layers(model)) or "(model=hosted: output_layers=[NAMES] are none)"
        raise StabError(f"{type(model).__name__} has no output layer {listed} to leave new")
    if new_gate and not any(key.startswith(GATES) for key in own):
        raise StabError(f"{type(model).__name__} has no gate to leave new (model.gate=true)")
    stays_new = (*(outputs if new_output else ()), *((GATES,) if new_gate else ()))
    left = [key for key in own if key.startswith(stays_new)]
    given = {key: value for key, value in weights.items() if not key.startswith(stays_new)}
    wanted = {key: value for key, value in own.items() if key not in left}
    faults = [f"{key} is missing" for key in wanted if key not in given]
    faults += [f"{key} is not in the model" for key in given if key not in wanted]
    faults += [
        f"{key} is {list(given[key].shape)}, not {list(wanted[key].shape)}"
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    if faults:
        raise StabError(f"the weights in {file} are another model's: {some(faults)}{_hint(faults, outputs)}")
    check_kinds(own, given, str(file))
    model.load_state_dict({**own, **given})
    left_out = [key for key in weights if key not in given]
    return Transfer(list(given), left, [*left_out, *(f"all of {other}" for other in others)])


def output_layers(model: torch.nn.Module) -> tuple[str, ...]:
    """Names of the layers of a model that compute the sources' channels; it may lack some of them."""
    return getattr(model, "output_layers", OUTPUT_LAYERS)


def _hint(faults: list[str], outputs: tuple[str, ...]) -> str:
    """Names an option that may help if all faults are of one kind; else nothing."""
    if all(fault.startswith(GATES) for fault in faults):
        if all(fault.endswith("is missing") for fault in faults):
            return " (trained without gates? init.new_gate=true leaves them new)"
        if not any(fault.endswith("is not in the model") for fault in faults):
            return " (gates for another length, model.gate_segment_s? init.new_gate=true leaves them new)"
    if all(fault.startswith(outputs) for fault in faults):
        return " (another number of sources? init.new_output=true leaves what makes them new)"
    return ""


def _check_arguments(
    model: torch.nn.Module, arguments: Mapping[str, Any], file: Path, compared: tuple[str, ...]
) -> None:
    """Checks that a model of the same shapes has the same hop, activation and sample rate too."""
    own: dict[str, Any] = model.get_model_args() if hasattr(model, "get_model_args") else {}  # type: ignore[operator]
    own = {**_flat(own), "sample_rate": getattr(model, "sample_rate", None)}
    differ = [
        f"{name} is {arguments[name]}, not {value}"
        for name, value in own.items()
        if name in compared and None not in (value, arguments.get(name)) and arguments[name] != value
    ]
    if differ:
        raise StabError(f"the weights in {file} are another model's: {', '.join(differ)}")


def _weights(file: Path, own: Mapping[str, Any]) -> tuple[dict[str, Tensor], Mapping[str, Any], list[str]]:
    """The weights in a model file, a checkpoint or a state dict, by the model's own names as far as they are known.

    Returns them with the arguments of their model as far as known, and with what the file holds beside them.
    """
    if not file.is_file():
        raise StabError(f"no weights to start with at {file}")
    saved = read_saved(file, "model file")
    weights, others = held_weights(saved if isinstance(saved, Mapping) else {})
    check_weights(weights, str(file))
    weights = fitting_names(weights, own)
    weights = without_layer_heads(weights)
    # A model file has the model's arguments, a checkpoint the config of its run.
    config = saved.get("training_config")
    arguments = saved.get("model_args") or (config.get("model") if isinstance(config, Mapping) else None)
    return weights, _flat(arguments) if isinstance(arguments, Mapping) else {}, others


def _flat(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a model, and of the net that it hosts."""
    nets = [arguments[key] for key in ("args", "net") if isinstance(arguments.get(key), Mapping)]
    return {**arguments, **{key: value for net in nets for key, value in net.items()}}
