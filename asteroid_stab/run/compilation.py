"""``compile=true``: the model of a training compiled by ``torch.compile``."""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch

from asteroid_stab.engine.host_system import HostSystem
from asteroid_stab.errors import StabError, nearest
from asteroid_stab.models import LayeredHostedModel

DEFAULT = "inductor"
_COMPILERS = ("g++", "clang++", "c++")


def compile_model(system: HostSystem, wanted: Any) -> None:
    """Compiles the model of a system in place, so that no name of a weight changes in checkpoints and model files.

    The first steps of a training and of a validation take longer: the compiler runs for each shape that it has not seen
    (the last batch of a validation set is smaller). Sums are in another order, so that weights agree with those of the
    plain model up to rounding.

    Args:
        system: with the model.
        wanted: ``False``, ``True`` or the name of a backend of ``torch.compile``.

    Raises:
        StabError: the value is none of these, the system trains with parts of its model, the model gives layers of
            a hosted net, or torch's own backend finds no C++ compiler.
    """
    if wanted is False:
        return
    backend = DEFAULT if wanted is True else wanted
    known = torch.compiler.list_backends(exclude_tags=())
    if backend not in known:
        choice = nearest(backend, known) if isinstance(backend, str) else ""
        raise StabError(f"compile must be true, false or one of {', '.join(known)}, got {wanted!r}{choice}")
    if not system.compiles:
        raise StabError(
            f"compile={_word(wanted)} needs a system that calls its model as a whole, and {type(system).__name__} "
            "calls parts of it: train with compile=false"
        )
    if isinstance(system.model, LayeredHostedModel):
        raise StabError(
            f"compile={_word(wanted)} cannot trace the layers of a hosted net, which are taken out while it runs: "
            "train with head=plain or with compile=false"
        )
    if backend == DEFAULT and not has_compiler():
        raise StabError(
            f"compile={_word(wanted)} needs a C++ compiler ({' or '.join(_COMPILERS)}, or the one that CXX names), and "
            "there is none: install one, or train with compile=false"
        )
    system.model.compile(backend=backend)


def has_compiler() -> bool:
    """Returns whether there is a C++ compiler: torch's own backend calls it, for a GPU too."""
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([named] if named else _COMPILERS))


def _word(wanted: Any) -> str:
    return "true" if wanted is True else str(wanted)
