"""Repairs of Asteroid 0.7 and its dependencies on today's stack, the one place where a host is changed.

Each repair belongs to one module of a host and runs around that module's first import, no matter who imports it. So
``import asteroid_stab`` stays quick (it imports neither torch nor Asteroid), no module of this package has to
remember an import before ``import asteroid``, and workers and spawned processes are repaired as well, since
all that they unpickle from this package imports it first. Plain Asteroid, used alone, is left as it is.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


@contextmanager
def _torchaudio_without_cuda(utils: ModuleType) -> Iterator[None]:
    """``import torchaudio`` beside a CPU-only torch.

    The registry's torchaudio is linked against torch's CUDA libraries. Where torch has none, its extension
    cannot load, and ``import torchaudio``, so ``import asteroid`` (through torch-stoi), stops with OSError.
    torchaudio can run without an extension, for builds that lack it; this repair makes it do so. Resampling,
    transforms and all else that Asteroid uses are Python; functions that need the extension (``forced_align``)
    raise torchaudio's own error.

    Needed by: torchaudio 2.9 to 2.11. May go when torch-stoi, or Asteroid, no longer imports torchaudio.
    """
    yield
    load = utils._load_lib

    @functools.wraps(load)
    def load_lib(lib: str) -> bool:
        try:
            return load(lib)
        except OSError:
            from torch import version

            if version.cuda is not None or getattr(version, "hip", None) is not None:
                raise  # the error has another cause than a torch without CUDA
            return False

    utils._load_lib = load_lib  # type: ignore[attr-defined]


BEFORE_READING: list[Callable[[], object]] = []
"""Called without arguments each time before ``BaseModel.from_pretrained`` reads a file."""


@contextmanager
def _asteroid_files(base_models: ModuleType) -> Iterator[None]:
    """``BaseModel.from_pretrained`` of the files that Asteroid itself writes.

    Since torch 2.6 ``torch.load`` admits plain types only. ``serialize()`` puts ``torch.__version__``, a
    subclass of str, into every file, and arguments or scores may be NumPy numbers. These types, which hold
    data only, are admitted while a model is read. The file still cannot run code, as it could with
    ``weights_only=False``.

    A file may hold a model of this package, which Asteroid finds by name once it is registered: the functions in
    ``BEFORE_READING`` do that.

    Needed by: Asteroid 0.7.0 with torch >= 2.6. May go with an Asteroid that writes plain types; the registration
    has to stay as long as Asteroid finds models by name alone.
    """
    yield
    original = base_models.BaseModel.from_pretrained.__func__

    @functools.wraps(original)
    def from_pretrained(cls: type, pretrained_model_conf_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        from torch.serialization import safe_globals

        for prepare in BEFORE_READING:
            prepare()
        with safe_globals(data_types()):
            return original(cls, pretrained_model_conf_or_path, *args, **kwargs)

    base_models.BaseModel.from_pretrained = classmethod(from_pretrained)


def data_types() -> list[Any]:
    """Types that files of plain Asteroid may hold: torch's version string, and what the pickle of a NumPy number names.

    None of them runs code when it is read.
    """
    import numpy as np
    from numpy._core.multiarray import scalar
    from torch.torch_version import TorchVersion

    dtypes = [type(np.dtype(code)) for code in "?bhilqBHILQefd"]
    return [TorchVersion, np.dtype, *dtypes, *[(scalar, f"{where}.scalar") for where in _NUMPY_MULTIARRAY]]


_NUMPY_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")  # as NumPy 1 and 2 write it


@contextmanager
def _data_without_librosa(_: ModuleType) -> Iterator[None]:
    """``from asteroid.data import LibriMix`` without librosa.

    ``asteroid.data`` imports all its data sets, one of which (AVSpeech) imports librosa, which Asteroid does
    not declare. Where it is not installed, that one module gets a stand-in that raises ImportError on use;
    nobody else sees it.

    Needed by: Asteroid 0.7.0. May go with an Asteroid that declares librosa or imports it where it is used.
    """
    if importlib.util.find_spec("librosa") is not None:
        yield
        return
    sys.modules["librosa"] = _Missing("librosa")
    try:
        yield
    finally:
        del sys.modules["librosa"]


class _Missing(ModuleType):
    """Stands for a package that is not installed."""

    def __getattr__(self, name: str) -> Any:
        raise ImportError(f"Asteroid's AVSpeechDataset needs {self.__name__}.{name}: install {self.__name__}")


@contextmanager
def _quiet_pkg_resources(_: ModuleType) -> Iterator[None]:
    """``import pytorch_lightning`` without a warning about ``pkg_resources``.

    torchmetrics 0.11.4, Asteroid's pin, imports it, and setuptools 80.9 to 81 warn everybody who does (82 has
    none, at which the import fails: hence ``setuptools<82`` in pyproject.toml).

    Needed by: torchmetrics <= 0.11.4. May go with an Asteroid that admits torchmetrics 1.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        yield


@contextmanager
def _quiet_mir_eval(module_mir_eval: ModuleType) -> Iterator[None]:
    """``asteroid.metrics.get_metrics`` without a warning from every process that calls it.

    pb_bss_eval calls ``mir_eval.separation.bss_eval_sources``, which mir_eval 0.9 is to drop (hence
    ``mir_eval<0.9`` in pyproject.toml).

    Needed by: pb_bss_eval 0.0.2 with mir_eval 0.8. May go with a pb_bss_eval that has a BSS Eval of its own.
    """
    yield
    original = module_mir_eval.mir_eval_sources

    @functools.wraps(original)
    def mir_eval_sources(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"mir_eval\.separation\.", category=FutureWarning)
            return original(*args, **kwargs)

    module_mir_eval.mir_eval_sources = mir_eval_sources  # type: ignore[attr-defined]


_REPAIRS: dict[str, Callable[[ModuleType], AbstractContextManager[None]]] = {
    "torchaudio._extension.utils": _torchaudio_without_cuda,
    "asteroid.models.base_models": _asteroid_files,
    "asteroid.data.avspeech_dataset": _data_without_librosa,
    "torchmetrics.utilities.imports": _quiet_pkg_resources,
    "pb_bss_eval.evaluation.module_mir_eval": _quiet_mir_eval,
}


class _RepairOnImport(MetaPathFinder):
    """Leaves the finding to the other finders and runs a module's repair around its execution."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        repair = _REPAIRS.get(fullname)
        if repair is None:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with repair(module):
                execute(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # each import has a loader of its own
        return spec


def apply() -> None:
    """Applies the repairs to what is imported already, and to the rest when it is."""
    if any(isinstance(finder, _RepairOnImport) for finder in sys.meta_path):
        return
    for name, repair in _REPAIRS.items():
        if name in sys.modules:
            with repair(sys.modules[name]):
                pass
    sys.meta_path.insert(0, _RepairOnImport())
