"""A model with some of the outputs of another model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from asteroid_stab.errors import StabError
from asteroid_stab.models.files import build_model
from asteroid_stab.models.hosted import HostedModel
from asteroid_stab.models.pretrained import output_layers


def keep_outputs(model: torch.nn.Module, outputs: Sequence[int]) -> torch.nn.Module:
    """A model that returns only some of the outputs, unchanged, in evaluation mode.

    The layer that computes the sources' channels loses the rows of the other sources: a plain model of fewer sources.

    Args:
        model: a ConvTasNet, MultiMicConvTasNet, MultiMicFasNetTAC, DPRNNTasNet, DPTNet or SuDORMRFImprovedNet, with
            layers or without, or a hosted model, whose net still computes all outputs; it is not changed.
        outputs: the outputs to keep, from 0.

    Raises:
        StabError: the model has no known output layer or no such output, or its outputs depend on each other.

    Example:
        >>> from asteroid_stab.models import conv_tasnet
        >>> model = conv_tasnet(n_src=3, n_filters=16, n_blocks=2, n_repeats=1, bn_chan=4, hid_chan=8, skip_chan=4)
        >>> mixture = torch.randn(2, 800)
        >>> torch.equal(keep_outputs(model, [0, 2])(mixture), model.eval()(mixture)[:, [0, 2]])
        True
    """
    if isinstance(model, HostedModel):
        _check_outputs(outputs, model.n_src)
        return model.with_outputs(outputs)
    conf: dict[str, Any] = model.serialize()  # type: ignore[operator]  # of Asteroid's BaseModel
    args, weights = dict(conf["model_args"]), dict(conf["state_dict"])
    if "decoder" in output_layers(model):
        raise StabError(f"{type(model).__name__} mixes what it separates in its decoder: no output can be left out")
    layers = output_layers(model)
    rows = [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    rows = [name for name in rows if name in weights]
    if not rows:
        raise StabError(f"{type(model).__name__} has no output layer {' or '.join(layers)} to take outputs from")
    n_src = args["n_src"]
    _check_outputs(outputs, n_src)
    if args.get("mask_act") == "softmax":
        raise StabError("mask_act=softmax makes each mask depend on all others: no output can be left out")
    for name in rows:
        by_source = weights[name].reshape(n_src, -1, *weights[name].shape[1:])
        weights[name] = by_source[list(outputs)].flatten(0, 1)
    device = next(iter(weights.values())).device
    with torch.random.fork_rng(devices=[]):  # a training must draw the same random numbers without this
        kept = build_model({**conf, "model_args": {**args, "n_src": len(outputs)}, "state_dict": weights}, "a model")
    return kept.to(device)


def _check_outputs(outputs: Sequence[int], n_src: int) -> None:
    wrong = [output for output in outputs if not 0 <= output < n_src]
    if wrong:
        raise StabError(f"the model has outputs 0 to {n_src - 1}, got {wrong[0]}")
