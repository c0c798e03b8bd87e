"""DNSMOS P.835: quality of speech as listeners would judge it, by a trained network that hears no reference."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from asteroid_stab.errors import StabError, cause
from asteroid_stab.required import needed

RATE = 16_000
"""The sample rate at which DNSMOS is defined, in Hz."""
WINDOW = 144_160
"""Samples that the network hears at once: 9.01 s."""
SCORES = tuple(f"dnsmos{part}" for part in ("_sig", "_bak", ""))
"""Speech, background and overall quality, in the order of the network's outputs."""

_MODEL = ("dnsmos_models", "sig_bak_ovr.onnx")
# The polynomials that map the network's outputs to the scale of the listeners, as the authors published them: the
# factors of x^2, x and 1 for each output.
_SCALES = np.array([
    [-0.08397278, 1.22083953, 0.0052439],
    [-0.13166888, 1.60915514, -0.39604546],
    [-0.06766283, 1.11546468, 0.04602535],
])  # fmt: skip


def check_dnsmos() -> None:
    """Checks that DNSMOS can be measured here.

    Raises:
        StabError: the packages are not installed, or the network cannot be read.
    """
    _network()


def dnsmos(signals: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """Returns the scores of signals, from 1 to 5; higher is better.

    A signal is heard in windows of 9.01 s, a second apart, whose scores are averaged. A shorter one is repeated.

    Args:
        signals: the signals, with peaks of at most 1; the scores depend on their level.
        sample_rate: 16000, in Hz.

    Shapes:
        - signals [N, T]; returns [N] for each of :data:`SCORES`.

    Raises:
        StabError: the packages are not installed.
        ValueError: another sample rate, or there are no samples.

    References:
        Reddy, Gopal, Cutler, "DNSMOS P.835: a non-intrusive perceptual objective speech quality metric to evaluate
        noise suppressors", 2022.
    """
    if sample_rate != RATE:
        raise ValueError(f"sample_rate must be {RATE} for DNSMOS, got {sample_rate}")
    if not signals.shape[-1]:
        raise ValueError(f"signals must have samples for DNSMOS, got {list(signals.shape)}")
    while signals.shape[-1] < WINDOW:
        signals = np.concatenate([signals, signals], axis=-1)
    n_windows = max(1, int(signals.shape[-1] // RATE - WINDOW / RATE) + 1)
    raw = np.empty((n_windows, len(signals), len(SCORES)))
    for i in range(n_windows):
        window = signals[:, i * RATE : i * RATE + WINDOW].astype(np.float32)
        raw[i] = _network().run(None, {"input_1": window})[0]
    scores = (_SCALES[:, 0] * raw**2 + _SCALES[:, 1] * raw + _SCALES[:, 2]).mean(0)
    return dict(zip(SCORES, scores.T, strict=True))


@lru_cache(maxsize=1)
def _network() -> Any:
    """The network, which the package ``speechmos`` brings; its own code would need librosa for another score."""
    runtime = needed("onnxruntime", "DNSMOS", "dnsmos")
    package = needed("speechmos", "DNSMOS", "dnsmos")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the measuring processes share the cores
    options.log_severity_level = 3  # errors alone
    try:
        content = files(package).joinpath(*_MODEL).read_bytes()
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has types of its own for a damaged network
        raise StabError(
            f"DNSMOS: {'/'.join(_MODEL)} of the package speechmos cannot be read ({cause(error)}); install it again"
        ) from error
