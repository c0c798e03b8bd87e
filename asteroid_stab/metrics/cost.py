"""Cost of a trained model: parameters, multiply-accumulate operations, and the time that it needs."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_flop_count

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import cause
from asteroid_stab.masknn.kernels import stock_kernels
from asteroid_stab.metrics.figures import separate_with_figures

LENGTH_S = 4.0
"""Length of the piece that is measured, in seconds: the one that papers on separation train with."""
MOST_RUNS, ENOUGH_S = 5, 2.0

_aten = torch.ops.aten
# Kinds of operations that multiply and add. One that the counter has no formula for would be missing in the sum.
_HEAVY = re.compile(
    r"rnn|lstm|gru|attention|transformer|conv|linear|bilinear|einsum|matmul|cdist|addb?mm|addmv|b?mm|mv"
)
_LIGHT = re.compile(r"upsample|_thnn_fused|flatten")
Shape = Sequence[int]


class Cost(NamedTuple):
    """Cost of a model, from :func:`measure_cost`.

    Attributes:
        n_parameters: number of its parameters.
        gmacs_per_s: multiply-accumulate operations for a second of sound, in units of 10^9; None where they could not
            be counted.
        real_time_factor: seconds that it needs for a second of sound; below 1 it keeps up with a microphone.
        length_s: length of the piece that was measured, in seconds.
        device: where it ran.
        n_threads: threads of torch, where it ran on a CPU.
        uncounted: why the operations could not be counted; empty where they were.
    """

    n_parameters: int
    gmacs_per_s: float | None
    real_time_factor: float
    length_s: float
    device: str
    n_threads: int
    uncounted: str


def first_cost(model: nn.Module, dataset: MixtureDataset) -> Cost | None:
    """Cost of separating the first mixture that can be read; None where none can.

    Args:
        model: maps [B, T] to [B, J, T], in evaluation mode.
        dataset: whole mixtures.
    """
    for item in range(len(dataset)):
        try:
            mixture = dataset[item][0]
        except Exception:  # an evaluation names the mixture, with the reason
            continue
        return measure_cost(model, mixture, dataset.sample_rate)
    return None


def measure_cost(model: nn.Module, mixture: Tensor, sample_rate: int) -> Cost:
    """Measures the cost of separating a recording, of which the first 4 s are taken.

    Multiplications and additions of convolutions, products of matrices, attention and recurrent layers are counted, as
    torch's counter of floating-point operations does (two of them are one MAC); element-wise operations and Fourier
    transforms are not. A model whose work depends on the sound, with an early exit for one, is measured on this sound.

    Args:
        model: maps [B, T], or [B, C, T] of several microphones, to [B, J, T], in evaluation mode.
        mixture: the recording; at least a sample.
        sample_rate: in Hz.

    Shapes:
        - mixture [T] or [C, T].

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 3, 5, padding=2, bias=False)).eval()
        >>> cost = measure_cost(net, torch.randn(8000), 8000)  # 5 taps, 3 channels, 8000 samples
        >>> cost.n_parameters, round(1e9 * cost.gmacs_per_s)
        (15, 120000)
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    piece = mixture[None, ..., : round(LENGTH_S * sample_rate)].to(device)
    length_s = piece.shape[-1] / sample_rate
    try:
        macs: float | None = count_macs(model, piece)
        uncounted = ""
    except Exception as error:  # of any type: a net may be somebody's own, and trips over the counter alone
        macs, uncounted = None, str(error) if isinstance(error, UncountedError) else cause(error)
    return Cost(
        n_parameters=sum(p.numel() for p in model.parameters()),
        gmacs_per_s=None if macs is None else macs / length_s / 1e9,
        real_time_factor=_seconds(model, piece) / length_s,
        length_s=length_s,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        n_threads=torch.get_num_threads(),
        uncounted=uncounted,
    )


class UncountedError(RuntimeError):
    """A model computes something for which the counter has no formula."""


def count_macs(model: nn.Module, mixture: Tensor) -> float:
    """Number of multiply-accumulate operations of a batch.

    Args:
        model: maps [B, T] to [B, J, T].
        mixture: the batch, on the model's device.

    Shapes:
        - mixture [B, T] or [B, C, T].

    Raises:
        UncountedError: the model multiplies and adds in operations that the counter does not know.
    """
    seen = _Operations()
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    # The fast path of attention and our own kernels compute the same in one operation, or in element-wise ones.
    with torch.no_grad(), stock_kernels(model), _slow_attention(), counter, seen:
        separate_with_figures(model, mixture)
    known = {str(packet) for packet in (*flop_registry, *_FORMULAS)}
    names = {name.removeprefix("aten.") for name in seen.names if name not in known}
    if missing := sorted(name for name in names if _HEAVY.search(name) and not _LIGHT.search(name)):
        raise UncountedError(f"no formula for {', '.join(missing)}")
    return counter.get_total_flops() / 2


def _seconds(model: nn.Module, mixture: Tensor) -> float:
    """The median time of a few passes; counting was the first one, which often takes longer."""
    times: list[float] = []
    while len(times) < MOST_RUNS and sum(times) < ENOUGH_S:
        begin = time.perf_counter()
        with torch.inference_mode():
            separate_with_figures(model, mixture)
        if mixture.is_cuda:
            torch.cuda.synchronize(mixture.device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


class _Operations(TorchDispatchMode):
    """Collects the names of the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.names.add(str(func.overloadpacket))
        return func(*args, **(kwargs or {}))


@contextmanager
def _slow_attention() -> Iterator[None]:
    """Lets attention layers call operations that the counter knows."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _cpu_layer(x: Shape, weight: Shape, recurrent: Shape, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Operations of one direction of a recurrent layer: [T, B, N] by the matrices of the input and of the state."""
    return 2 * x[0] * x[1] * (weight[0] * weight[1] + recurrent[0] * recurrent[1])


def _gpu_layers(x: Shape, weights: Sequence[Shape], *_: Any, out_shape: Any = None, **__: Any) -> int:
    """The same of all layers and directions at once; biases have one axis."""
    n_steps = x[0] * (x[1] if len(x) > 2 else 1)
    return 2 * n_steps * sum(shape[0] * shape[1] for shape in weights if len(shape) == 2)


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


_FORMULAS: dict[Any, Callable[..., int]] = {
    _aten.mkldnn_rnn_layer: _cpu_layer,
    _aten._cudnn_rnn: _gpu_layers,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}
"""Operations that torch's counter leaves out."""
