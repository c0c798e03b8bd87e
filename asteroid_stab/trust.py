"""Classes that a file may name: parts of this package and its hosts, and classes that the user trusts.

A run folder or a model file may come from anybody, and building what it names is running it. So only classes of the
kinds that runs and models are made of are built from it, without any list of forbidden ones; everything else the user
must trust by name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from asteroid_stab.dotted import absent, find
from asteroid_stab.errors import StabError, cause
from asteroid_stab.required import required_packages

_TARGET = "_target_"
# Modules in which a config may name classes. Nothing outside is imported for a stored config.
_PLACES = (
    *(
        f"asteroid_stab.{room}"
        for room in ("data", "losses", "stabilizers", "models", "pretext", "callbacks", "engine")
    ),
    *("asteroid.losses", "asteroid.models", "asteroid.masknn", "asteroid.engine", "asteroid_filterbanks"),
    *("torch.nn", "torch.optim", "pytorch_lightning"),
)
_FUNCTIONS = {
    "asteroid_stab.models.conv_tasnet.conv_tasnet",
    *("asteroid_stab.models.dual_path.dprnn_tasnet", "asteroid_stab.models.dual_path.dptnet"),
    *("asteroid_stab.models.sudormrf.sudormrf", "asteroid_stab.models.layering.layered_model"),
    *("asteroid_stab.models.pretrained.load_pretrained", "asteroid_stab.models.hosted.hosted"),
    *("asteroid_stab.callbacks.loggers.tensorboard", "asteroid_stab.callbacks.loggers.wandb"),
    "asteroid_stab.callbacks.loggers.mlflow",
}
"""Functions that a config may name, by the place of their definition: each returns a part of a run."""
_TRUSTED_HERE: ContextVar[frozenset[str]] = ContextVar("names of a trusting() block", default=frozenset())


def trusted_file() -> Path:
    """Returns the file in the user's own folder that lists what is trusted, a name on each line."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "asteroid-stab" / "trusted"


def trusted_names(config_dir: str | None = None) -> set[str]:
    """Returns the names that the user trusts: packages, and classes in them.

    Args:
        config_dir: a folder of the user's own recipes, whose classes are trusted as well.

    Raises:
        StabError: ``config_dir`` is no folder.
    """
    names = {*_TRUSTED_HERE.get()}
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        names |= {*trusted_file().read_text(encoding="utf-8").split()}
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise StabError(f"--config-dir must be a folder, got {config_dir!r}")
        for file in sorted(Path(config_dir).rglob("*.yaml")):
            text = file.read_text(encoding="utf-8", errors="replace")
            names |= {*re.findall(rf"{_TARGET}['\"]?\s*:\s*['\"]?([\w.]+)", text)}
    return names


@contextmanager
def trusting(names: Iterable[str]) -> Iterator[None]:
    """Trusts names within a ``with`` block, without keeping them in the user's file.

    Example:
        >>> with trusting(["my_pkg"]):
        ...     "my_pkg" in trusted_names()
        True
    """
    token = _TRUSTED_HERE.set(_TRUSTED_HERE.get() | {*names})
    try:
        yield
    finally:
        _TRUSTED_HERE.reset(token)


def trust(names: Sequence[str]) -> list[str]:
    """Adds names to the user's file; returns those that were not in it.

    Raises:
        StabError: a name is no dotted name, or the file cannot be written.
    """
    for name in names:
        if not _is_name(name):
            raise StabError(f"--trust must be the name of a package or a class, such as my_corpus, got {name!r}")
    new = [name for name in dict.fromkeys(names) if name not in trusted_names()]
    if new:
        file = trusted_file()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "a", encoding="utf-8") as stream:
                stream.write("".join(f"{name}\n" for name in new))
        except OSError as error:
            raise StabError(f"cannot write {file}, which lists what you trust: {error}") from error
    return new


def trust_own(config: Any) -> list[str]:
    """Trusts the classes of the user's own packages in a config that the user composed; returns the new ones.

    Naming a class in a recipe or on the command line is trusting it. A name of a host or of the standard library is
    not kept, nor a function of a package that was installed with this one (``pandas.read_pickle``): it would be trusted
    with any arguments, in everybody's folders.
    """
    own = []
    for _, target in targets(config):
        if isinstance(target, str) and not _is_public(target):
            found = locate(target)
            if target.partition(".")[0] in required_packages() and not isinstance(found, type):
                continue
            defined = target if found is None else _defined(found)  # the name in the files of a model
            own += [target, *([defined] if _is_name(defined) and not _is_public(defined) else [])]
    return trust([*dict.fromkeys(own)]) if own else []


def check_stored(node: Any, at: str, source: str, trusted: Iterable[str], modules_only: bool = False) -> None:
    """Checks, before anything is imported or built, that a file names classes only that may be built.

    Args:
        node: a part of a run's config or the arguments of a model, in plain values.
        at: key of the part in the file, for messages.
        source: the file, for messages.
        trusted: what :func:`trusted_names` returns.
        modules_only: of this package and its hosts, only modules of torch may be named: a model is made of no others.

    Raises:
        StabError: it names something else, and the message says how to trust it; or a class of a trusted package
            cannot be imported here.
    """
    names = {*trusted}
    for where, target in targets(node, at):
        if not isinstance(target, str) or not _is_name(target):
            raise StabError(f"{source}: {where}.{_TARGET} must be the name of a class, got {target!r}")
        if target in names or (_in_place(target, _PLACES) and _is_part(locate(target), modules_only)):
            continue
        givers = [name for name in names if _in_place(target, [name])]
        if givers and _in_place(_defined(imported(target, source)), givers):
            continue
        whom = target if _is_public(target) else target.rpartition(".")[0] or target
        raise StabError(
            f"{source} names {target} at {where}, which is no part of this package or its hosts, and a file may come "
            f"from anybody: if you trust it, --trust {whom} (asked once, kept in "
            f"{trusted_file()}), or --config-dir DIR with your recipe that names it"
        )


def targets(node: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the place and the value of every ``_target_`` in a config of mappings and lists, however deep."""
    if hasattr(node, "items"):
        if _TARGET in node:
            yield at, node[_TARGET]
        for key, child in node.items():
            yield from targets(child, f"{at}.{key}" if at else str(key))
    elif isinstance(node, Sequence) and not isinstance(node, (str, bytes)):
        for i, child in enumerate(node):
            yield from targets(child, f"{at}[{i}]")


def locate(target: str) -> Any:
    """Returns what a dotted name means; None where it means nothing. Modules that begin with ``_`` are not imported."""
    try:
        return find(target)
    except (ImportError, AttributeError):
        return None


def imported(target: str, source: str) -> Any:
    """Returns what a dotted name means.

    Args:
        target: a name that is trusted: its module is imported.
        source: what names it, for the message.

    Raises:
        StabError: its module cannot be imported here, or has no such name.
    """
    try:
        return find(target)
    except (Exception, SystemExit) as error:  # a module may be a user's own, and break in any way, or be a script
        if missing := absent(target):
            raise StabError(f"{source} names {target}, but {missing}") from error
        raise StabError(
            f"{source} names {target}, which cannot be imported here ({cause(error)}): install the package that has "
            "it, or put its folder on PYTHONPATH"
        ) from error


def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _is_public(target: str) -> bool:
    """Whether a name is of a host or the standard library, which are not trusted as a whole."""
    root = target.partition(".")[0]
    return root in sys.stdlib_module_names or any(place.partition(".")[0] == root for place in _PLACES)


def _in_place(target: str, places: Iterable[str]) -> bool:
    return any(target == place or target.startswith(f"{place}.") for place in places)


def _defined(found: Any) -> str:
    """Where an object is defined, as a dotted name: ``package.os.system`` is the system's, not the package's."""
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"


def _is_part(found: Any, modules_only: bool = False) -> bool:
    """Whether an object of a host is a class of a kind that runs are made of, or one of our functions that make one."""
    if not isinstance(found, type):
        return _defined(found) in _FUNCTIONS and not modules_only
    from asteroid.engine.schedulers import BaseScheduler
    from pytorch_lightning import Callback, Trainer, accelerators, loggers, plugins, profilers, strategies
    from torch import nn, optim

    from asteroid_stab.data import Corpus, MixtureDataModule, SpeechFolders
    from asteroid_stab.losses import ExponentialSchedule, RisingSchedule, SteppedSchedule

    kinds = (
        *(Corpus, SpeechFolders, MixtureDataModule),
        *(ExponentialSchedule, RisingSchedule, SteppedSchedule, BaseScheduler),
        *(nn.Module, optim.Optimizer, optim.lr_scheduler.LRScheduler),
        *(Trainer, Callback, strategies.Strategy, profilers.Profiler, accelerators.Accelerator),
        *(loggers.CSVLogger, loggers.TensorBoardLogger),  # those that write files; the others send them away
        *(plugins.Precision, plugins.ClusterEnvironment, plugins.CheckpointIO, plugins.LayerSync),
    )
    return _in_place(_defined(found), _PLACES) and issubclass(found, nn.Module if modules_only else kinds)
