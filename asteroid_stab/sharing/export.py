"""Writes a separator as a program that needs no package of ours, after it was run beside the model."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from asteroid_stab.atomic import replacing
from asteroid_stab.errors import StabError, cause
from asteroid_stab.microphones import check_single
from asteroid_stab.required import needed
from asteroid_stab.sharing.exported import Sizes, trace

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}
"""Kinds of programs, and how the names of their files end."""
LIMIT = 1e-4
"""The greatest difference from the model that a program may have, relative to the loudest sample."""
METADATA = "metadata.json"
"""Name of the facts in a ``.pt2`` file; an ONNX file holds them one by one."""
INPUT, OUTPUT = "mixture", "estimates"

Run = Callable[[np.ndarray], np.ndarray]


class Export(NamedTuple):
    """A program that was written.

    Attributes:
        file: its file.
        sizes: the mixtures that it takes.
        differences: at each size (B, T), the greatest difference from the model, relative to the loudest sample.
    """

    file: Path
    sizes: Sizes
    differences: dict[tuple[int, int], float]


def export_model(
    model: nn.Module,
    file: str | Path,
    kind: str,
    facts: Mapping[str, Any],
    seconds: float | None = None,
    fallback_s: float = 4.0,
    report: Callable[[str], None] = print,
) -> Export:
    """Exports a model, runs the program from its file beside the model, and moves the file to its place.

    Args:
        model: maps mixtures ``[B, T]`` to estimates ``[B, J, T]``; on the CPU. It is set to evaluation mode.
        file: where to write.
        kind: a key of :data:`SUFFIXES`.
        facts: plain facts to keep in the file, beside sample rate, number of sources and sizes.
        seconds: fixes the length; None leaves batch and length open where the model can be followed at any.
        fallback_s: the length where it cannot.
        report: is called with a line about sizes that had to be fixed, before anything is written.

    Raises:
        StabError: a package is missing; the model cannot be exported, takes several microphones or has no sample rate;
            a length is out of range; or the program differs from the model. Then no file is written.

    Example:
        >>> import tempfile
        >>> from asteroid_stab.models import conv_tasnet
        >>> model = conv_tasnet(n_src=3, n_filters=8, n_blocks=1, n_repeats=1, bn_chan=4, hid_chan=4, skip_chan=4)
        >>> done = export_model(model, Path(tempfile.mkdtemp()) / "a.pt2", "torch", {}, seconds=0.2)
        >>> program = torch.export.load(done.file).module()
        >>> program(torch.randn(1, 1600)).shape, done.sizes.rule
        (torch.Size([1, 3, 1600]), '[1, 1600]: one mixture of exactly 1600 samples')
    """
    check_packages(kind)
    rate = getattr(model, "sample_rate", None)
    if rate is None:
        raise StabError(f"{type(model).__name__} has no sample_rate, which a program has to name")
    check_single(model, "an exported program")
    model.eval()
    n_samples = round((fallback_s if seconds is None else seconds) * float(rate))
    if not 1 <= n_samples <= 3600 * float(rate):
        raise StabError(f"--seconds must be from one sample to an hour, got {seconds}")
    with _quiet():
        program, sizes = trace(model, float(rate), n_samples, seconds is not None)
    if sizes.why_fixed:
        report(
            f"note: this {type(model).__name__} is exported for one mixture of exactly {n_samples} samples "
            f"({n_samples / float(rate):g} s; --seconds changes it): {sizes.why_fixed}"
        )
    references = {size: _reference(model, size) for size in sizes.trials()}
    n_src = next(iter(references.values()))[1].shape[1]
    known = {"sample_rate": float(rate), "n_src": n_src, "input": sizes.rule}
    with replacing(file) as new:
        with _quiet():
            _WRITERS[kind](program, new, {**facts, **known})
        differences = {size: _difference(_READERS[kind](new), *pair) for size, pair in references.items()}
        worst = max(differences.values())
        if not worst <= LIMIT:
            raise StabError(
                f"the exported program differs from {type(model).__name__} by {worst:.2g} of the loudest sample, more "
                f"than {LIMIT:g}; no file was written"
            )
    return Export(Path(file), sizes, differences)


def check_packages(kind: str) -> None:
    """Checks that the packages of a kind of program are there.

    Raises:
        StabError: there is no such kind, or one is not.
    """
    if kind not in SUFFIXES:
        raise StabError(f"--to must be {' or '.join(SUFFIXES)}, got {kind!r}")
    for module in ("onnx", "onnxscript", "onnxruntime") if kind == "onnx" else ():
        needed(module, "export --to onnx", "export")


def _reference(model: nn.Module, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Noise ``[B, T]`` and the model's own estimates of it."""
    mixture = torch.randn(*size, generator=torch.Generator().manual_seed(size[1]))
    try:
        with torch.no_grad():
            estimates = model(mixture)
    except Exception as error:  # a model may be a user's own
        raise StabError(f"{type(model).__name__} cannot separate {list(size)}: {cause(error)}") from error
    return mixture.numpy(), estimates.numpy()


def _difference(run: Run, mixture: np.ndarray, expected: np.ndarray) -> float:
    """The greatest difference relative to the loudest sample; infinite where shapes differ or values are not finite."""
    try:
        found = run(mixture)
    except Exception as error:  # the runtime's own, of many types
        raise StabError(
            f"the exported program fails for {list(mixture.shape)} ({cause(error)[:300]}); no file was written"
        ) from error
    if found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    return float(np.abs(found - expected).max() / (np.abs(expected).max() or 1.0))


# --- torch ---


def _write_torch(program: ExportedProgram, file: Path, facts: Mapping[str, Any]) -> None:
    torch.export.save(program, file, extra_files={METADATA: json.dumps(facts, indent=1)})


def _read_torch(file: Path) -> Run:
    with _quiet():
        module = torch.export.load(file).module()

    def run(mixture: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(mixture)).numpy()

    return run


# --- ONNX ---


def _write_onnx(program: ExportedProgram, file: Path, facts: Mapping[str, Any]) -> None:
    onnx = needed("onnx", "export --to onnx", "export")
    try:
        found = torch.onnx.export(program, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False)
    except Exception as error:  # of many types, for operators that ONNX does not have
        raise StabError(f"torch.onnx cannot translate this model: {cause(error)[:300]}") from error
    assert found is not None
    proto = found.model_proto
    for node in (*proto.graph.node, *(node for function in proto.functions for node in function.node)):
        node.ClearField("metadata_props")  # where the code of each operation stood on this machine
    onnx.helper.set_model_props(proto, {key: str(value) for key, value in facts.items()})
    onnx.save_model(proto, str(file))


def _read_onnx(file: Path) -> Run:
    runtime = needed("onnxruntime", "export --to onnx", "export")
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(mixture: np.ndarray) -> np.ndarray:
        return session.run([OUTPUT], {INPUT: mixture})[0]

    return run


_WRITERS: Mapping[str, Callable[[ExportedProgram, Path, Mapping[str, Any]], None]] = {
    "torch": _write_torch,
    "onnx": _write_onnx,
}
_READERS: Mapping[str, Callable[[Path], Run]] = {"torch": _read_torch, "onnx": _read_onnx}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporters' warnings and logs, which speak of their own code, off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
