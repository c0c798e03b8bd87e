"""A trial of a hosted model before the first step, which leaves no trace in the training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn
from torch.nn.parameter import is_lazy

from asteroid_stab.errors import StabError, cause
from asteroid_stab.microphones import noise_for
from asteroid_stab.models.hosted import HostedModel


def probe(model: HostedModel, n_samples: int, device: str = "cpu") -> None:
    """Checks that a hosted model separates two mixtures of noise, in evaluation mode and in training mode.

    Weights, buffers, modes, device and the random numbers of torch, NumPy and Python are afterwards as before.

    Args:
        model: the model; on the CPU.
        n_samples: length of the mixtures.
        device: where it is tried.

    Raises:
        StabError: the net raises an error, or gives something else than finite estimates ``[B, J, T]``; or its layers
            have no size yet.
    """
    if lazy := [name for name, one in (*model.named_parameters(), *model.named_buffers()) if is_lazy(one)]:
        raise StabError(f"{model.target} has layers without a size (lazy ones), which a file cannot keep: {lazy[0]}")
    mixture = noise_for(model, n_samples, n_items=2)
    with untouched(model, device):
        for training in (False, True):
            try:
                est = model.train(training)(mixture.to(device))
            except StabError:
                raise
            except Exception as error:  # of any type: the net is somebody's own
                raise StabError(
                    f"{model.target} cannot separate mixtures of shape {list(mixture.shape)} in "
                    f"{'training' if training else 'evaluation'} mode: {cause(error)}"
                ) from error
            if not torch.isfinite(est).all():
                raise StabError(f"{model.target} gives estimates that are not finite (NaN or infinite) for noise")


@contextmanager
def untouched(model: nn.Module, device: str = "cpu") -> Iterator[None]:
    """Restores a model and all random numbers after a block, in which it is on ``device`` and has no gradients.

    Attributes are restored as well, because a net may keep what it computes in its first call, on that device.
    """
    values = [(value, value.detach().clone()) for value in (*model.parameters(), *model.buffers())]
    before = [
        (module, {name: (one, _content(one)) for name, one in vars(module).items()}) for module in model.modules()
    ]
    try:
        with isolate_rng(include_cuda=device != "cpu"), torch.no_grad():
            model.to(device)
            yield
    finally:
        model.to("cpu")
        for module, attributes in before:
            vars(module).clear()
            for name, (one, content) in attributes.items():
                if content is not None:
                    one.clear()
                    one.extend(content) if isinstance(one, list) else one.update(content)
                vars(module)[name] = one
        with torch.no_grad():
            for value, old in values:
                value.copy_(old)


def _content(value: Any) -> Any:
    """A copy of a container that may change in place; None of all else."""
    return copy.copy(value) if isinstance(value, (list, dict, set)) else None
