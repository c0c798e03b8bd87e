"""Model files that plain Asteroid opens: the result of ``asteroid.models.BaseModel.serialize``, in plain types."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.atomic import replacing
from asteroid_stab.errors import StabError, nearest
from asteroid_stab.masknn import fuse_norms
from asteroid_stab.run.layout import RunLayout


def _plain(value: Any) -> Any:
    """``value`` in types that ``torch.load(weights_only=True)`` admits."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, str):
        return str(value)  # torch.__version__ is a subclass of str, which the safe unpickler refuses
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise TypeError(f"a model file holds plain types only, got {type(value).__name__}")


def save_model(model: torch.nn.Module, path: str | Path, infos: Mapping[str, Any] | None = None) -> None:
    """Writes ``model`` to a file that ``BaseModel.from_pretrained`` and ``asteroid-infer`` open.

    The file is complete or absent: it is written under another name and then moved.

    Args:
        model: an Asteroid model (it has ``serialize``).
        path: where to write.
        infos: plain facts to keep under the file's key ``infos`` (recipe, score, ...).
    """
    conf: dict[str, Any] = model.serialize()  # type: ignore[operator]  # of Asteroid's BaseModel
    conf["infos"] = {**conf["infos"], **(infos or {})}
    with replacing(path) as new:
        write_saved(_plain(conf), new)


def load_model(path: str | Path) -> torch.nn.Module:
    """The model of a run folder or of a model file, in evaluation mode on the CPU.

    Args:
        path: a run folder (its ``best_model.pth`` is taken) or a file in Asteroid's format.

    Raises:
        StabError: there is no such file, it is no model file, it names a model that neither Asteroid nor this package
            has, or its weights are another model's.
    """
    path = Path(path)
    file = RunLayout(path).model if path.is_dir() else path
    if not file.is_file():
        raise StabError(f"no model file at {str(file)!r}; a run folder has one from its first epoch on")
    return build_model(read_saved(file, "model file"), origin=str(file))


def write_saved(value: Any, file: str | Path) -> None:
    """Writes a file of ``torch.save``.

    Raises:
        OSError: it cannot be written; torch has errors of its own for a full disk.
    """
    try:
        torch.save(value, file)
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error) and "unexpected pos" not in str(error):
            raise
        cause = error.__context__ if isinstance(error.__context__, OSError) else None
        number = cause.errno if cause is not None and cause.errno else errno.ENOSPC
        raise OSError(number, os.strerror(number), str(file)) from error


def read_saved(file: Path, what: str) -> Any:
    """Reads a file of ``torch.save``, plain types only, onto the CPU.

    Args:
        file: the file.
        what: what it should be, for the message.

    Raises:
        StabError: it cannot be read.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises errors of many types on other files
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise StabError(f"{str(file)!r} is no readable {what}: {reason}") from error


def build_model(conf: Any, origin: str) -> torch.nn.Module:
    """Builds the model that ``conf``, the result of ``serialize``, describes; ``origin`` names it in errors."""
    from asteroid import models

    if not isinstance(conf, Mapping):
        raise StabError(f"{origin!r} is no model file: it holds a {type(conf).__name__}")
    missing = [key for key in ("model_name", "model_args", "state_dict") if key not in conf]
    if missing:
        hint = f": it is a training checkpoint, its model is {RunLayout('RUN').model}" if "loops" in conf else ""
        raise StabError(f"{origin!r} lacks {', '.join(missing)}{hint}")
    name = conf["model_name"]
    try:
        model_class = models.get(name)
    except ValueError as error:
        known = [k for k, v in vars(models).items() if isinstance(v, type)]
        raise StabError(f"{origin!r} holds a {name!r}, which is no known model{nearest(name, known)}") from error
    try:
        model = model_class(**conf["model_args"])
        model.load_state_dict(conf["state_dict"])
    except (TypeError, RuntimeError) as error:
        raise StabError(f"the weights or arguments in {origin!r} are not those of a {name}: {error}") from error
    return fuse_norms(model).eval()
