"""A hosted net with the estimates of every layer: its layers are named, and its own end serves them all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.checkpoint import checkpoint

from asteroid_stab.errors import StabError, cause, nearest, some
from asteroid_stab.models.hosted import HostedModel

_PROBE_S = 0.5  # of noise, on which the layers are looked for
_AGREES = 1e-4  # relative difference of what rounding may leave in another order of the same operations


class LayeredHostedModel(HostedModel):
    """A hosted net whose training mode returns ``[K, B, J, T]``: the estimates of each of its K named layers.

    The output of a layer goes through what the net does after its last layer. For that, the net is run again with all
    named layers skipped and this output in place of the last one's: its front and its end are computed K times, its
    layers once. The last estimates are the plain net's, and the evaluation mode returns only these. Runs of the layers
    before the last keep nothing for the gradient and are computed again in the backward pass, one at a time.

    The layers must be a chain, each fed with what the one before returned. That the end, given the last layer's output,
    gives the net's estimates is checked when the layers are named. Statistics that the front or the end keep (batch
    normalisation) are updated in each of these runs.

    It is made by :func:`~asteroid_stab.models.layered_model`.
    """

    HOST = HostedModel
    layer_names: tuple[str, ...]
    train_early: bool = True

    @property
    def n_layers(self) -> int:
        """K, the number of layers whose estimates the training mode returns."""
        return len(self.layer_names)

    def watch_early(self) -> None:
        """Cuts the gradient of the estimates of all layers but the last, which are only watched from now on."""
        self.train_early = False

    def forward(self, wav: Tensor) -> Tensor:
        """Returns the estimates of mixtures ``[B, T]``: ``[K, B, J, T]`` in training mode, else ``[B, J, T]``."""
        if not self.training:
            return super().forward(wav)
        with self._recorded(self.layer_names) as seen:
            last = super().forward(wav)
        early = [seen[name][0] for name in self.layer_names[:-1]]
        if self.train_early:
            made = [checkpoint(partial(self.through_end, hidden), wav, use_reentrant=False) for hidden in early]
        else:
            with torch.no_grad():
                made = [self.through_end(hidden, wav) for hidden in early]
        return torch.stack([*made, last])

    def through_end(self, hidden: Any, wav: Tensor) -> Tensor:
        """Returns the estimates ``[B, J, T]`` of a layer's output by what the net does after its last layer.

        Args:
            hidden: what the layer returned.
            wav: the mixtures.
        """
        places = [self._place(name) for name in self.layer_names]
        originals = [parent._modules[child] for parent, child in places]
        try:
            for (parent, child), original in zip(places, originals, strict=True):
                parent._modules[child] = _Skipped(hidden, original, torch.is_grad_enabled())
            return super().forward(wav)
        finally:
            for (parent, child), original in zip(places, originals, strict=True):
                parent._modules[child] = original

    def _place(self, name: str) -> tuple[nn.Module, str]:
        parent, _, child = name.rpartition(".")
        return self.net.get_submodule(parent), child

    @contextmanager
    def _recorded(self, names: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
        """Keeps what modules return within the block, by name and in the order of their calls."""
        seen: dict[str, list[Any]] = {}
        handles = [
            self.net.get_submodule(name).register_forward_hook(
                lambda _module, _args, output, name=name: seen.setdefault(name, []).append(_copied(output))
            )
            for name in names
        ]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def serialize(self) -> dict[str, Any]:
        """Returns the plain model: its name, its arguments, its weights."""
        return {**super().serialize(), "model_name": HostedModel.__name__}


def _copied(output: Any) -> Any:
    """A copy through which the gradient goes: what follows a layer may change the layer's output in place."""
    return tree_map_only(Tensor, torch.clone, output)


class _Skipped(nn.Module):
    """Stands in the place of a layer, returns what it was given at the start, and has the layer's attributes."""

    def __init__(self, output: Any, original: nn.Module | None, with_gradient: bool):
        super().__init__()
        self._hidden = (output, original)  # in a tuple, which is no child
        self._with_gradient = with_gradient

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._with_gradient and not torch.is_grad_enabled():
            raise StabError(
                "layers that the net calls without gradient (torch.no_grad, or checkpoint with use_reentrant=True) "
                "cannot be trained by layer-wise losses: call checkpoint with use_reentrant=False"
            )
        return _copied(self._hidden[0])

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._hidden[1], name)


def name_layers(model: HostedModel, layers: str | Sequence[str] | None) -> LayeredHostedModel:
    """Makes a hosted model return the estimates of its named layers; in place, with the same weights.

    Args:
        model: the model.
        layers: names of modules of the net, or patterns in which ``*`` stands for a part of a name between dots
            (``blocks.*``).

    Raises:
        StabError: ``layers`` is missing, names nothing, or layers that are not called once each, or that are no chain.
    """
    names = _matching(model, layers)
    plain: Any = model
    before, was_training = type(model), model.training
    plain.__class__ = LayeredHostedModel
    plain.layer_names = tuple(names)
    try:
        plain.layer_names = _in_order(plain, names)
    except BaseException:
        plain.__class__ = before
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


def _in_order(model: LayeredHostedModel, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names in the order of their calls, after a trial on noise."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with isolate_rng(include_cuda=False), torch.no_grad():
        mixture = 0.1 * torch.randn(1, round(_PROBE_S * model.sample_rate), device=device)
        model.eval()
        with model._recorded(names) as seen:
            wanted = HostedModel.forward(model, mixture)
        calls = {name: len(seen.get(name, [])) for name in names}
        if wrong := [name for name, n in calls.items() if n != 1]:
            raise StabError(
                f"each layer of {model.target} must be called once, {wrong[0]!r} is called {calls[wrong[0]]} times"
            )
        model.layer_names = tuple(seen)
        try:
            found = model.through_end(seen[model.layer_names[-1]][0], mixture)
            agrees = torch.allclose(found, wanted, rtol=_AGREES, atol=_AGREES * float(wanted.abs().max()))
            reason = "needs more than its output"
        except Exception as error:  # of any type: what stands between the layers gets what it does not expect
            agrees, reason = False, f"fails without the others ({cause(error)})"
    if not agrees:
        raise StabError(
            f"the layers {some(model.layer_names)} of {model.target} are no chain: what follows the last one "
            f"{reason}, so that it cannot serve the others; name other layers"
        )
    return model.layer_names
