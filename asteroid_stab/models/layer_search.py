"""Layers of a hosted net by name: they are looked for on noise, and whether the net can end after each is checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils._pytree import tree_map_only

from asteroid_stab.errors import StabError, cause, nearest, some
from asteroid_stab.microphones import noise_for
from asteroid_stab.models.hosted import HostedModel
from asteroid_stab.models.layer_calls import first_tensor, in_turn, recorded_calls, replaced_calls, zeros_of
from asteroid_stab.models.layer_mask_heads import LayerMaskHeads, time_axes
from asteroid_stab.models.layered_hosted import LayeredHostedModel

_PROBE_S = 0.5  # of noise, on which the layers are looked for
_AGREES = 1e-4  # relative difference of what rounding may leave in another order of the same operations


def name_layers(model: HostedModel, layers: str | Sequence[str] | None, head: str) -> LayeredHostedModel:
    """Makes a hosted model return the estimates of its named layers; in place, with the same weights.

    Args:
        model: the model.
        layers: names of modules of the net, or patterns in which ``*`` stands for a part of a name between dots
            (``blocks.*``).
        head: ``shared``: the net's own end serves every layer; ``dedicated``: each before the last has a mask head.

    Raises:
        StabError: ``layers`` is missing, names nothing, or layers that are never called; or the net's end cannot serve
            them, or a layer's output has no axes of items and time for a mask head.
    """
    names = _matching(model, layers)
    plain: Any = model
    before, was_training = type(model), model.training
    plain.__class__ = LayeredHostedModel
    plain.layer_heads = None
    try:
        model.eval()
        with isolate_rng(include_cuda=False), torch.no_grad():
            calls = _run(model, names)
            plain.call_names = tuple(name for name, _ in calls)
            if missing := [name for name in names if name not in plain.call_names]:
                raise StabError(f"each layer of {model.target} must be called, and {missing[0]!r} is not")
            if head == "shared":
                plain.added = _is_added(plain, calls)
        if head == "dedicated":
            plain.layer_heads = _mask_heads(plain)
    except BaseException:
        plain.__class__ = before
        del plain.layer_heads
        raise
    finally:
        model.train(was_training)
    return plain


def _matching(model: HostedModel, layers: str | Sequence[str] | None) -> list[str]:
    known = [name for name, _ in model.net.named_modules() if name]
    if not layers:
        raise StabError(
            f"the layers of {model.target} must be named: head.model.layers=PATTERN, such as 'blocks.*'; it has "
            f"{some(known) if known else 'no modules'}"
        )
    names = []
    for pattern in [layers] if isinstance(layers, str) else layers:
        rule = re.compile(r"[^.]+".join(map(re.escape, str(pattern).split("*"))))
        found = [name for name in known if rule.fullmatch(name)]
        if not found:
            raise StabError(f"{model.target} has no module {str(pattern)!r}{nearest(str(pattern), known)}")
        names += found
    return list(dict.fromkeys(names))


def _noise(model: HostedModel, n_items: int = 1, seconds: float = _PROBE_S) -> Tensor:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return noise_for(model, round(seconds * model.sample_rate), n_items).to(device)


def _run(
    model: HostedModel, names: Sequence[str], n_items: int = 1, seconds: float = _PROBE_S
) -> list[tuple[str, Any]]:
    """The calls of the layers on noise, in the order in which they end, with what they return."""
    with recorded_calls(model.net, names) as calls:
        HostedModel.forward(model, _noise(model, n_items, seconds))
    return calls


def _is_added(model: LayeredHostedModel, calls: Sequence[tuple[str, Any]]) -> bool:
    """Whether the outputs of the layers are added to a state; False: they are a chain.

    In a chain, the net's estimates are a function of the last layer's output, so that noise in the place of the others'
    changes nothing. Outputs that are added: layers that return zeros leave what the next layer is given as it was.

    Raises:
        StabError: neither.
    """
    mixture = _noise(model)
    wanted = HostedModel.forward(model, mixture)
    *early, last = calls
    noisy = [(name, tree_map_only(Tensor, _noise_like, output)) for name, output in early]
    on = "the last one's output alone"
    try:
        with replaced_calls(model.net, [name for name, _ in calls], in_turn([*noisy, last])):
            found = HostedModel.forward(model, mixture)
        if _agree(found, wanted):
            for k, (name, _) in enumerate(early):
                on = f"the output of {name!r}"
                model.through_end([output for _, output in calls], k, mixture)
            return False
        reason = "needs more than its output"
    except Exception as error:  # of any type: what follows a layer gets what it does not expect
        reason = f"fails on {on} ({cause(error)})"
    if len(calls) > 1 and _zeros_change_nothing(model, calls, mixture):
        return True
    raise StabError(
        f"the layers {some([*dict.fromkeys(model.call_names)])} of {model.target} are no chain, and their outputs are "
        f"not added to one state: what follows the last one {reason}, so that it cannot serve the others; name other "
        "layers, or give each a mask head (head.model.head=dedicated)"
    )


def _noise_like(output: Tensor) -> Tensor:
    if not output.is_floating_point():
        return output
    generator = torch.Generator().manual_seed(1)
    return torch.randn(output.shape, generator=generator, dtype=output.dtype).to(output.device)


def _zeros_change_nothing(model: LayeredHostedModel, calls: Sequence[tuple[str, Any]], mixture: Tensor) -> bool:
    given: list[Tensor | None] = []
    zeros = in_turn([(name, zeros_of(output)) for name, output in calls])

    def give(name: str, args: tuple[Any, ...]) -> Any:
        given.append(first_tensor(args))
        return zeros(name, args)

    try:
        with replaced_calls(model.net, [name for name, _ in calls], give):
            HostedModel.forward(model, mixture)
    except Exception:  # as above
        return False
    first = given[0] if given else None
    if first is None or len(given) != len(calls) or not bool(first.any()):
        return False
    return all(other is not None and other.shape == first.shape and _agree(other, first) for other in given)


def _agree(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, rtol=_AGREES, atol=_AGREES * float(wanted.abs().max()))


def _mask_heads(model: LayeredHostedModel) -> LayerMaskHeads:
    """A mask head for each layer but the last; its weights are drawn at random."""
    names = [*dict.fromkeys(model.call_names)]
    with isolate_rng(include_cuda=False), torch.no_grad():
        runs = [
            _run(model, names, n_items, seconds)
            for n_items, seconds in ((2, _PROBE_S), (3, _PROBE_S), (2, 2 * _PROBE_S))
        ]
    if any(tuple(name for name, _ in run) != model.call_names for run in runs):
        raise StabError(f"{model.target} calls its layers in another order for other mixtures: name other layers")
    by_layer = [*zip(model.call_names, *([output for _, output in run] for run in runs), strict=True)]
    first = next(model.parameters())
    return LayerMaskHeads([time_axes(*one) for one in by_layer[:-1]], model.n_src, model.sample_rate).to(first.device)
