"""DNSMOS against the code of the package that brings the network."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from asteroid_stab.errors import StabError
from asteroid_stab.metrics import dnsmos as module
from asteroid_stab.metrics.dnsmos import RATE, SCORES, WINDOW, check_dnsmos, dnsmos
from asteroid_stab.metrics.separation_metrics import measure
from bench.speech_samples import speech_like

pytest.importorskip("speechmos")
pytest.importorskip("onnxruntime")
REFERENCE = dict(zip(SCORES, ("sig_mos", "bak_mos", "ovrl_mos"), strict=True))


class QuickNetwork:
    """Raw scores that depend on the samples, without the second that the network needs for them."""

    def __init__(self):
        self.heard = []

    def run(self, names, inputs):
        (window,) = inputs.values()
        assert window.dtype == np.float32
        self.heard.append(window)
        return [np.stack([1 + window[:, ::7].mean(1), 2 + window.std(1), 3 + window[:, 0]], axis=1)]


@pytest.fixture
def network(monkeypatch):
    found = QuickNetwork()
    monkeypatch.setattr(module, "_network", lambda: found)
    return found


@pytest.fixture(scope="module")
def reference():
    """The package's own code, without the other score, for which it wants librosa."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "librosa", ModuleType("librosa"))
        from speechmos.dnsmos import DNSMOS

    made = DNSMOS.__new__(DNSMOS)
    made.audio_melspec = lambda audio: np.zeros((900, 120))
    made.p808_onnx_sess = type("None", (), {"run": lambda *_: [[[0.0]]]})()
    return made


@pytest.mark.parametrize("n_samples", [1, 30_000, WINDOW, 160_001, 200_000])
def test_windows_and_scales_are_the_packages(network, reference, n_samples):
    reference.onnx_sess = network
    signals = 0.1 * np.random.default_rng(n_samples).standard_normal((2, n_samples))
    found = dnsmos(signals, RATE)
    for i, signal in enumerate(signals):
        wanted = reference(signal, RATE, False)
        for score, name in REFERENCE.items():
            assert found[score][i] == pytest.approx(wanted[name], abs=1e-6)


@pytest.mark.slow
def test_the_network_is_the_packages(reference):
    import onnxruntime
    import speechmos

    folder = Path(speechmos.__file__).parent / "dnsmos_models"
    reference.onnx_sess = onnxruntime.InferenceSession(str(folder / "sig_bak_ovr.onnx"))
    module._network.cache_clear()
    speech = 0.5 * speech_like(np.random.default_rng(0), WINDOW, RATE)
    wanted = reference(speech, RATE, False)
    found = dnsmos(speech[None], RATE)
    for score, name in REFERENCE.items():
        assert found[score][0] == pytest.approx(wanted[name], abs=1e-5)
    assert 1 < found["dnsmos"][0] < 5


def test_estimates_are_heard_as_loud_as_their_sources(network):
    rng = np.random.default_rng(0)
    sources = np.stack([speech_like(rng, WINDOW, RATE) for _ in range(2)])
    found = measure(sources.sum(0), sources, 1e-3 * sources[::-1], RATE, ["si_sdr", *SCORES])
    assert np.allclose(network.heard[0], sources / np.maximum(1, np.abs(sources).max(1, keepdims=True)), atol=1e-6)
    assert np.abs(network.heard[1]).max() <= 1
    assert {*found.values} == {"input_si_sdr", "si_sdr", "si_sdr_i"} | {
        f"{before}{score}{behind}" for score in SCORES for before, behind in (("input_", ""), ("", ""), ("", "_i"))
    }
    assert found.values["dnsmos_i"] == pytest.approx(found.values["dnsmos"] - found.values["input_dnsmos"])


def test_a_silent_estimate_has_no_score(network):
    rng = np.random.default_rng(0)
    sources = np.stack([speech_like(rng, 8000, RATE) for _ in range(2)])
    found = measure(sources.sum(0), sources, sources * [[1.0], [0.0]], RATE, ["si_sdr", "dnsmos"])
    assert found.failures == {"dnsmos": "DNSMOS: a silent signal"}
    assert np.isnan(found.values["dnsmos"])


def test_arguments():
    with pytest.raises(ValueError, match="sample_rate must be 16000 for DNSMOS, got 8000"):
        dnsmos(np.ones((1, 10)), 8000)
    with pytest.raises(ValueError, match=r"signals must have samples for DNSMOS, got \[2, 0\]"):
        dnsmos(np.ones((2, 0)), RATE)
    with pytest.raises(ValueError, match="sample_rate must be 16000 for DNSMOS, got 8000"):
        measure(np.ones(9), np.ones((1, 9)), np.ones((1, 9)), 8000, ["dnsmos_bak"])


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    module._network.cache_clear()
    monkeypatch.setattr(module, "files", lambda package: tmp_path)
    message = r"DNSMOS: dnsmos_models/sig_bak_ovr.onnx of the package speechmos cannot be read \(%s.*install it again"
    with pytest.raises(StabError, match=message % "FileNotFoundError"):
        check_dnsmos()
    (tmp_path / "dnsmos_models").mkdir()
    (tmp_path / "dnsmos_models/sig_bak_ovr.onnx").write_bytes(b"no network")
    with pytest.raises(StabError, match=message % "InvalidProtobuf"):
        check_dnsmos()
    monkeypatch.setitem(sys.modules, "speechmos", None)
    with pytest.raises(StabError, match=r"DNSMOS needs speechmos .*asteroid-stab\[dnsmos\]"):
        check_dnsmos()
