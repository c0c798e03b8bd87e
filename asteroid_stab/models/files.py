"""Model files that plain Asteroid opens: the result of ``asteroid.models.BaseModel.serialize``, in plain types."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.atomic import replacing
from asteroid_stab.errors import StabError, cause, nearest
from asteroid_stab.masknn import use_fast_kernels
from asteroid_stab.microphones import MicChoice, check_mics
from asteroid_stab.models.hosted import HostedModel, check_net
from asteroid_stab.models.saved import check_kinds, check_weights, no_larger_than, read_saved
from asteroid_stab.models.weight_names import held_weights, without_wrappers
from asteroid_stab.run.layout import RunLayout
from asteroid_stab.trust import check_stored, imported, trusted_names, trusting

_MICROPHONES = "microphones"  # key of the infos, and name of the loaded model's attribute
_MOST_CHANNELS = 1024  # of a file, for libsndfile
_LONGEST_NAME = 80  # of a model, in a message
_OWN_CLASS = "model_class"  # key of the dotted name of a class that Asteroid does not know by name
_ROOM = 10**8  # values that a user's own model may make beside its weights, such as tables of positions


def _plain(value: Any) -> Any:
    """Returns ``value`` in types that ``torch.load(weights_only=True)`` admits."""
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


def save_model(
    model: torch.nn.Module,
    path: str | Path,
    infos: Mapping[str, Any] | None = None,
    microphones: MicChoice | None = None,
) -> None:
    """Writes ``model`` to a file that ``BaseModel.from_pretrained`` and ``asteroid-infer`` open.

    The file is complete or absent: it is written under another name and then moved.

    Args:
        model: an Asteroid model (it has ``serialize``), or a hosted one.
        path: where to write.
        infos: plain facts to keep under the file's key ``infos`` (recipe, score, ...).
        microphones: the channels that the model was trained with, of files with more; by default the ones that a
            model has kept from the file it was loaded from.

    Raises:
        StabError: the model is of another kind.
    """
    check_savable(model)
    conf: dict[str, Any] = model.serialize()  # type: ignore[operator]  # of Asteroid's BaseModel
    heard = microphones or microphones_of(model)
    kept = {} if heard is None else {_MICROPHONES: heard._asdict()}
    conf["infos"] = {**conf["infos"], **kept, **(infos or {})}
    if type(model).__name__ == conf["model_name"] and _known().get(conf["model_name"].lower()) is not type(model):
        conf[_OWN_CLASS] = f"{type(model).__module__}.{type(model).__qualname__}"  # a user's, which Asteroid lacks
    with replacing(path) as new:
        write_saved(_plain(conf), new)


def microphones_of(model: torch.nn.Module) -> MicChoice | None:
    """The channels that a loaded model was trained with, of files with more; None where its file names none."""
    found = vars(model).get(_MICROPHONES)
    return found if isinstance(found, MicChoice) else None  # a user's own class may have such an attribute


def check_savable(model: torch.nn.Module) -> None:
    """Checks that a model can be written to a model file.

    Raises:
        StabError: it is no Asteroid model.
    """
    if not hasattr(model, "serialize"):
        name = type(model).__name__
        raise StabError(
            f"a model file needs an Asteroid model, got a {name}: asteroid_stab.models.hosted({name}, "
            "{its arguments}, n_src=..., sample_rate=...) makes one of it"
        )


def load_model(path: str | Path, trust: Sequence[str] = ()) -> torch.nn.Module:
    """The model of a run folder or of a model file, in evaluation mode on the CPU.

    Args:
        path: a run folder (its ``best_model.pth`` is taken) or a file in Asteroid's format.
        trust: packages and classes that the file may name beside this package, its hosts and what the user's own file
            lists (``--trust`` writes it).

    Raises:
        StabError: there is no such file, it is no model file, it names a model that neither Asteroid nor this package
            has and that is not trusted or cannot be imported, or its weights are another model's.
    """
    path = Path(path)
    file = RunLayout(path).model if path.is_dir() else path
    if not file.is_file():
        raise StabError(f"no model file at {str(file)!r}; a run folder has one from its first epoch on")
    with trusting(trust):
        return build_model(read_saved(file, "model file"), origin=str(file))


def rate_of(model: torch.nn.Module) -> float:
    """The sample rate of a model that was loaded, in Hz.

    Raises:
        StabError: its file states none.
    """
    rate = getattr(model, "sample_rate", None)
    if rate is None:
        raise StabError(f"the {type(model).__name__} has no sample rate, which a model that separates files must have")
    return float(rate)


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


def build_model(conf: Any, origin: str) -> torch.nn.Module:
    """Builds the model that ``conf``, the result of ``serialize``, describes.

    Args:
        conf: content of a model file; it may come from anybody.
        origin: names it in errors.

    Raises:
        StabError: it is no such content, names no model class, or arguments and weights do not fit.
    """
    if not isinstance(conf, Mapping):
        raise StabError(f"{origin!r} is no model file: it holds a {type(conf).__name__}")
    if missing := [key for key in ("model_name", "model_args", "state_dict") if key not in conf]:
        raise StabError(f"{origin!r} lacks {', '.join(missing)}{_instead(conf)}")
    name, arguments, weights = conf["model_name"], conf["model_args"], conf["state_dict"]
    model_class = _class_of(name, conf.get(_OWN_CLASS), origin)
    if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
        raise StabError(f"the arguments in {origin!r} must have names")
    check_weights(weights, origin)
    is_others = model_class is HostedModel or _OWN_CLASS in conf
    if model_class is HostedModel:
        check_net(arguments, origin)
    try:
        with no_larger_than(weights, _ROOM if is_others else 0):
            model = model_class(**arguments)
        own = model.state_dict()
        weights = {without_wrappers(key, own): value for key, value in weights.items()}
        check_kinds(own, weights, origin)
        model.load_state_dict(weights)
    except StabError as error:
        raise StabError(f"{origin!r} holds no whole {name}: {error}") from error
    except Exception as error:  # a constructor checks some of its arguments, and trips over the others
        raise StabError(f"the weights or arguments in {origin!r} are not those of a {name}: {error}") from error
    rate = getattr(model, "sample_rate", None)
    if rate is not None and not (isinstance(rate, (int, float)) and math.isfinite(rate) and rate >= 1):
        raise StabError(f"the sample rate in {origin!r} must be a number of at least 1 Hz, got {str(rate)[:20]}")
    model = (model if is_others else use_fast_kernels(model)).eval()
    if (heard := _microphones(conf, origin)) is not None and not hasattr(model, _MICROPHONES):
        setattr(model, _MICROPHONES, heard)
    return model


def _microphones(conf: Mapping[str, Any], origin: str) -> MicChoice | None:
    infos = conf.get("infos")
    if not isinstance(infos, Mapping) or (kept := infos.get(_MICROPHONES)) is None:
        return None
    wanted, names = f"the microphones in {origin!r} must be channels from 0 to {_MOST_CHANNELS - 1}", MicChoice._fields
    if not isinstance(kept, Mapping) or not {*names} <= {*kept}:
        raise StabError(f"{wanted}, by {' and '.join(names)}, got a {type(kept).__name__} without them")
    try:
        found = check_mics(**{name: kept[name] for name in names})
    except ValueError as error:
        raise StabError(f"{wanted}: {cause(error)[:200]}") from error
    if (last := max([*(found.mics or ()), found.ref_mic or 0])) >= _MOST_CHANNELS:
        raise StabError(f"{wanted}, got {str(last)[:20]}")
    return found


def _instead(conf: Mapping[str, Any]) -> str:
    """Names what to give in place of a file that holds weights without a model's arguments."""
    if "training_config" in conf or "loops" in conf or "pytorch-lightning_version" in conf:
        return (
            f": it is a training checkpoint, its model is {RunLayout('RUN').model}, in Asteroid's recipes too; or "
            "init.path= starts a training with its weights"
        )
    if "state_dict" in conf or isinstance(held_weights(conf)[0], Mapping):
        return (
            ": it holds weights and no arguments of a model. init.path= starts a training with them; in Python, build "
            "the model, then load_pretrained(model, FILE) and save_model(model, NEW) make a model file"
        )
    return ""


def _class_of(name: Any, target: Any, origin: str) -> type[torch.nn.Module]:
    """The class of a file's model: Asteroid's or ours by its name, or a user's own by its dotted name.

    Raises:
        StabError: there is none, it is not trusted, or it is no model's.
    """
    known = _known()
    if target is not None:
        check_stored({"_target_": target}, _OWN_CLASS, origin, trusted_names(), modules_only=True)
        if not _is_model(found := imported(target, origin)):
            raise StabError(f"{origin!r} names {target} as its model, which is no class of Asteroid's BaseModel")
        return found
    model_class = known.get(name.lower()) if isinstance(name, str) else None
    if model_class is None:
        shown = name if isinstance(name, str) else type(name).__name__
        close = nearest(shown, [one.__name__ for one in known.values()])
        raise StabError(f"{origin!r} holds a {shown[:_LONGEST_NAME]!r}, which is no known model{close}")
    return model_class


def _known() -> dict[str, type[torch.nn.Module]]:
    """The models that Asteroid knows by name, ours among them, as it finds them."""
    from asteroid import models

    return {name.lower(): found for name, found in vars(models).items() if _is_model(found)}


def _is_model(value: Any) -> bool:
    """Whether a name of ``asteroid.models`` is a model's class; others are functions, which a file must not call."""
    from asteroid.models import BaseModel

    return isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel
