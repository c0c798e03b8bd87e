"""Files of ``torch.save``, which may come from anybody: read as data, whole, and no larger than they are."""

from __future__ import annotations

import math
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.serialization import safe_globals
from torch.utils._python_dispatch import TorchDispatchMode

from asteroid_stab._compat import data_types
from asteroid_stab.errors import StabError, cause

_ZIP = b"PK\x03\x04"
_BLOCK = 2**20
_REFUSED = re.compile(r"(?:GLOBAL|Unsupported class|Unsupported function) ([\w.]+)")
_UNPICKLER = re.compile(r"WeightsUnpickler error:\s*(.*)", re.DOTALL)  # before it, torch advises to trust the file


def read_saved(file: Path, what: str) -> Any:
    """Reads a file of ``torch.save`` onto the CPU, after a check of its checksums.

    It may hold plain types, tensors, and the types that Asteroid and NumPy put into such files; no code is run.

    Args:
        file: the file.
        what: what it should be, for the message.

    Raises:
        StabError: it cannot be read, differs from what was written, or holds anything else.
    """
    try:
        check_archive(file)
        with safe_globals(data_types()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about kinds of storage in old files
            content = torch.load(file, map_location="cpu", weights_only=True)
        _check_sizes(content)
        return content
    except Exception as error:  # the unpickler raises errors of many types on other files
        refused, detail = _REFUSED.search(str(error)), _UNPICKLER.search(str(error))
        if refused:
            reason = f"it holds a {refused[1]}, which is more than data"
        else:
            reason = cause(type(error)(detail[1])) if detail else cause(error)
        raise StabError(f"{str(file)!r} is no readable {what}: {reason}") from error


def _check_sizes(content: Any) -> None:
    """Checks that no tensor in ``content`` claims more values than the file has of it.

    A view that repeats one value is small in a file, and fills the memory when it is copied.

    Raises:
        ValueError: one does.
    """
    parts = [content]
    seen: set[int] = set()
    while parts:
        part = parts.pop()
        if isinstance(part, Tensor):
            if part.layout == torch.strided and not part.is_meta and part.nbytes > part.untyped_storage().nbytes():
                raise ValueError(f"a tensor of shape {list(part.shape)} has {part.untyped_storage().nbytes()} bytes")
        elif isinstance(part, (Mapping, list, tuple, set)) and id(part) not in seen:
            seen.add(id(part))
            parts += [*part.keys(), *part.values()] if isinstance(part, Mapping) else list(part)


def check_archive(file: str | os.PathLike[str]) -> None:
    """Checks that every record of a file of ``torch.save`` is what was written; ``torch.load`` does not.

    A changed bit in the weights would change the estimates and nothing else. Files in torch's format before 1.6 have no
    checksums and are not checked.

    Raises:
        ValueError: a record differs from its checksum, is compressed, or the records are larger than the file.
    """
    with open(file, "rb") as opened:
        if opened.read(len(_ZIP)) != _ZIP:
            return
        size = os.fstat(opened.fileno()).st_size
        try:
            with zipfile.ZipFile(opened) as archive:
                records = archive.infolist()
                if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                    raise ValueError("its records are compressed, which torch.save never does")
                if sum(record.file_size for record in records) > size:
                    raise ValueError(f"its records state more than the {size} bytes of the file")
                for record in records:
                    with archive.open(record) as content:
                        while content.read(_BLOCK):  # the end compares the checksum
                            pass
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
            raise ValueError(f"it is damaged, copy it again ({error or 'cut off'})") from error


def check_weights(weights: Any, origin: str) -> None:
    """Checks that ``weights`` are named dense tensors.

    Raises:
        StabError: they are something else, sparse, or quantised.
    """
    if not isinstance(weights, Mapping) or not weights:
        raise StabError(f"{origin!r} holds no weights")
    for name, value in weights.items():
        if not isinstance(name, str):
            raise StabError(f"the names of the weights in {origin!r} must be text, got {type(name).__name__}")
        if not isinstance(value, Tensor):
            raise StabError(f"{origin!r} holds no weights: {name!r} is a {type(value).__name__}, no tensor")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            kind = "quantised" if value.is_quantized else "without values" if value.is_meta else "sparse"
            raise StabError(f"the weights in {origin!r} must be dense, {name} is {kind}")


def check_kinds(own: Mapping[str, Any], weights: Mapping[str, Tensor], origin: str) -> None:
    """Checks that weights are real, complex or whole numbers as the model's are: another kind would lose its scale.

    Args:
        own: the model's.
        weights: of the file; checked where the names agree.
        origin: name of the file, for errors.

    Raises:
        StabError: a kind differs.
    """
    for name, value in weights.items():
        wanted = own.get(name)
        if not isinstance(wanted, Tensor):
            continue
        kinds = [(one.is_floating_point(), one.is_complex()) for one in (wanted, value)]
        if kinds[0] != kinds[1]:
            raise StabError(f"the weight {name} in {origin!r} must be {wanted.dtype}, got {value.dtype}")


@contextmanager
def no_larger_than(weights: Mapping[str, Tensor], room: int = 0) -> Iterator[None]:
    """Ends the construction of a model that has far more parts or values than its weights.

    The arguments in a file could otherwise fill the memory before they are found to be another model's.

    Args:
        weights: of the file.
        room: values that a model may have beside them, which are not saved.

    Raises:
        StabError: within the block, a model becomes too large.
    """
    most_parts = 1000 + 20 * len(weights)
    most_values = max(10**6, room) + 2 * sum(value.numel() for value in weights.values())
    n_parts = n_values = 0

    def count(module: nn.Module, name: str, part: nn.Module | nn.Parameter | None) -> None:
        nonlocal n_parts, n_values
        n_parts += 1
        n_values += part.numel() if isinstance(part, Tensor) else 0
        check(n_values, n_parts)

    def check(n_values: int, n_parts: int) -> None:
        if n_parts > most_parts or n_values > most_values:
            raise StabError(f"the arguments are of a far larger model than the {len(weights)} weights")

    class Allocations(TorchDispatchMode):
        """Refuses tensors that would be too large before their memory is filled."""

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
        ) -> Any:
            for shape in args:
                if isinstance(shape, (list, tuple)) and all(isinstance(size, int) for size in shape):
                    check(math.prod(shape), 0)
            return func(*args, **(kwargs or {}))

    handles = [register_module_module_registration_hook(count), register_module_parameter_registration_hook(count)]
    try:
        with Allocations():
            yield
    finally:
        for handle in handles:
            handle.remove()
