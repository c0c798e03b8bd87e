"""Names of weights: the prefixes that training loops, wrappers and hubs put before a model's own."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

HELD_UNDER = ("state_dict", "model_state_dict", "model", "ema")
"""Keys under which files hold the weights, the first one that is there."""
PREFIXES = ("model.", "net.", "module.", "_orig_mod.")
"""Prefixes of Lightning and hosted models, of DataParallel, DDP and averaged models, and of ``torch.compile``."""
_WRAPPERS = ("module", "_orig_mod")  # which may wrap a part of the model as well
_HOSTED = "net."


def held_weights(saved: Any) -> tuple[Any, list[str]]:
    """Returns the weights in the content of a file, and the keys under which it holds others that are left out.

    Example:
        >>> held_weights({"epoch": 3, "model": {"state_dict": {"a.weight": 1}}, "ema": {"a.weight": 2}})
        ({'a.weight': 1}, ['ema'])
    """
    if not isinstance(saved, Mapping):
        return saved, []
    found = [key for key in HELD_UNDER if isinstance(saved.get(key), Mapping)]
    if not found:
        return saved, []
    inner, others = held_weights(saved[found[0]])
    return inner, [*found[1:], *others]


def fitting_names(weights: Mapping[str, Any], own: Iterable[str]) -> dict[str, Any]:
    """Returns weights by the names that a model has for them.

    Of all prefixes that could be cut, the one counts under which most names are the model's, and fewest are not.
    Weights without it are of something else, such as a loss, and are left out. The plain model's names fit its hosted
    form too.

    Args:
        weights: by the names in a file.
        own: the model's own names.

    Example:
        >>> fitting_names({"model._orig_mod.a.weight": 1, "loss_func.b": 2}, ["a.weight", "a.bias"])
        {'a.weight': 1}
        >>> fitting_names({"module.a.weight": 1, "n_averaged": 2}, ["net.a.weight"])
        {'net.a.weight': 1}
    """
    known = {*own}
    cuts = {"", *(cut for name in weights for cut in _cuts(name))}
    added = [_HOSTED] if known and all(name.startswith(_HOSTED) for name in known) else []
    readings = [
        {
            add + without_wrappers(name[len(cut) :], known): value
            for name, value in weights.items()
            if name.startswith(cut)
        }
        for cut in sorted(cuts, key=len)
        for add in ("", *added)
    ]
    best = max(readings, key=lambda named: (len(known & named.keys()), -len(named.keys() - known)))
    if not known & best.keys():  # another model's: a message names the weights as a checkpoint's model does
        prefix = PREFIXES[0]
        return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)} or {**weights}
    return best


def without_wrappers(name: str, own: Container[str]) -> str:
    """Returns the name of a weight without the parts that wrappers put into it, unless the model has such a name.

    Example:
        >>> without_wrappers("_orig_mod.blocks.0.module.weight", ["blocks.0.weight"])
        'blocks.0.weight'
    """
    return name if name in own else ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _cuts(name: str) -> Iterable[str]:
    """All beginnings of a name that are made of prefixes."""
    cut = ""
    while prefix := next((one for one in PREFIXES if name.startswith(cut + one)), ""):
        cut += prefix
        yield cut


def without_layer_heads(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the weights of the plain model: dedicated heads of layers serve the training alone.

    Args:
        weights: weights by name, as in a checkpoint.

    Example:
        >>> without_layer_heads({"encoder.weight": 1, "layer_heads.0.weight": 2})
        {'encoder.weight': 1}
    """
    return {name: value for name, value in weights.items() if not name.startswith("layer_heads.")}
