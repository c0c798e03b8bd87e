"""Calls of named modules of a net: what they return is recorded, or something else is returned in their place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from asteroid_stab.errors import StabError


def first_tensor(value: Any) -> Tensor | None:
    """Returns the first tensor in nested tuples, lists and dicts, or None.

    Args:
        value: what a module takes or returns.
    """
    return next((leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)), None)


def zeros_of(output: Any) -> Any:
    """Returns zeros in the place of a module's output: what a layer returns that adds nothing."""
    return tree_map_only(Tensor, torch.zeros_like, output)


def copied(output: Any) -> Any:
    """Returns a copy through which the gradient goes: what follows a layer may change its output in place."""
    return tree_map_only(Tensor, torch.clone, output)


@contextmanager
def recorded_calls(net: nn.Module, names: Sequence[str]) -> Iterator[list[tuple[str, Any]]]:
    """Keeps the names and outputs of the calls of some modules within the block, in the order in which they end.

    Args:
        net: with the modules.
        names: of the modules within it.
    """
    calls: list[tuple[str, Any]] = []
    handles = [
        net.get_submodule(name).register_forward_hook(
            lambda _module, _args, output, name=name: calls.append((name, copied(output)))
        )
        for name in names
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced_calls(net: nn.Module, names: Sequence[str], give: Callable[[str, tuple[Any, ...]], Any]) -> Iterator[None]:
    """Leaves the modules out within the block: a call returns ``give(name, arguments)``.

    A module that the net holds in several places is replaced in all.

    Args:
        net: with the modules.
        names: of the modules within it.
        give: called with a module's name and the positional arguments of its call.
    """
    stand_ins = {id(module := net.get_submodule(name)): _StandIn(module, name, give) for name in names}
    places = [
        (parent, child, module)
        for parent in [*net.modules()]
        for child, module in parent._modules.items()
        if module is not None and id(module) in stand_ins
    ]
    try:
        for parent, child, original in places:
            parent._modules[child] = stand_ins[id(original)]
        yield
    finally:
        for parent, child, original in places:
            parent._modules[child] = original


def in_turn(calls: Sequence[tuple[str, Any]]) -> Callable[[str, tuple[Any, ...]], Any]:
    """Returns a function for :func:`replaced_calls` that gives to each call of a module the next of its outputs.

    Args:
        calls: names of modules and what their calls return, in their order.
    """
    waiting: dict[str, list[Any]] = defaultdict(list)
    for name, output in calls:
        waiting[name].append(output)
    return lambda name, _: waiting[name].pop(0)


class _StandIn(nn.Module):
    """Stands in the place of a layer, and has its attributes."""

    def __init__(self, original: nn.Module, name: str, give: Callable[[str, tuple[Any, ...]], Any]):
        super().__init__()
        self._given = (name, give, original)  # in a tuple, which is no child
        self._with_gradient = torch.is_grad_enabled()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._with_gradient and not torch.is_grad_enabled():
            raise StabError(
                "layers that the net calls without gradient (torch.no_grad, or checkpoint with use_reentrant=True) "
                "cannot be trained by layer-wise losses: call checkpoint with use_reentrant=False"
            )
        name, give, _ = self._given
        return copied(give(name, args))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._given[2], name)
