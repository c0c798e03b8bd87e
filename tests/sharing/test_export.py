"""Programs of torch.export and ONNX: equal to the model, free of this machine, loaded without this package."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from asteroid_stab.errors import StabError
from asteroid_stab.models import (
    LatentRefinementNet,
    MultiMicConvTasNet,
    conv_tasnet,
    dprnn_tasnet,
    dptnet,
    hosted,
    layered_model,
    sudormrf,
)
from asteroid_stab.sharing import export
from asteroid_stab.sharing.export import LIMIT, METADATA, export_model
from asteroid_stab.sharing.exported import trace

REFINER = {"n_src": 2, "n_blocks": 1, "n_iterations": 2, "n_filters": 8, "bn_chan": 4, "upsampling_depth": 2}
SMALL = {"n_filters": 8, "bn_chan": 4}
CONV = {**SMALL, "n_blocks": 1, "n_repeats": 2, "hid_chan": 4}
MODELS = {
    "conv": lambda: conv_tasnet(2, skip_chan=4, **CONV),
    "conv_layers": lambda: layered_model(conv_tasnet(3, skip_chan=0, norm_type="cLN", mask_act="softmax", **CONV)),
    "sudormrf": lambda: sudormrf(2, num_blocks=1, upsampling_depth=2, **SMALL),
    "refiner_with_gates": lambda: LatentRefinementNet(**REFINER, gate=True, gate_segment_s=0.1, noise_slot=True),
    "hosted": lambda: hosted(
        nn.Conv1d,
        {"in_channels": 1, "out_channels": 3, "kernel_size": 5},
        n_src=3,
        sample_rate=8000,
        inputs="channel_time",
    ),
}
RECURRENT = {
    "dprnn": lambda: dprnn_tasnet(2, n_repeats=1, hid_size=4, chunk_size=10, **SMALL),
    "dprnn_gru": lambda: dprnn_tasnet(2, n_repeats=1, hid_size=4, chunk_size=10, rnn_type="GRU", **SMALL),
    "dptnet": lambda: dptnet(2, n_filters=8, n_repeats=1, ff_hid=4, chunk_size=10),
}


EXITS = {  # ONNX has no incomplete gamma function
    "refiner_with_exits": lambda: LatentRefinementNet(**REFINER, snr_exit=True, exit_snri_db=1.0, noise_slot=True)
}


def made(name, seed=0):
    torch.manual_seed(seed)
    return {**MODELS, **RECURRENT, **EXITS}[name]().eval()


def check(name, kind, file, **options):
    """Exports a model, and gives what was said and done."""
    said = []
    done = export_model(made(name), file, kind, {"recipe": "a/b"}, report=said.append, **options)
    assert max(done.differences.values()) <= LIMIT
    return done, said


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("sudormrf", "refiner_with_exits")), "hosted"]
)
def test_a_program_of_torch_takes_any_batch_and_length(name, tmp_path):
    done, said = check(name, "torch", tmp_path / "a.pt2")
    assert said == []
    assert list(done.differences) == [(1, 800), (2, 5613), (1, 16001)]
    extra = {METADATA: ""}
    program = torch.export.load(done.file, extra_files=extra).module()
    mixture = torch.randn(4, 2345)
    with torch.no_grad():
        torch.testing.assert_close(program(mixture), made(name)(mixture), atol=1e-5, rtol=0)
    facts = json.loads(extra[METADATA])
    n_src = 3 if name == "hosted" else 2
    rule = "[batch, samples]: any batch, at least 800 samples"
    assert facts == {"recipe": "a/b", "sample_rate": 8000.0, "n_src": n_src, "input": rule}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_models_without_recurrence_take_any_length(name, tmp_path):
    pytest.importorskip("onnxscript")
    done, said = check(name, "onnx", tmp_path / "a")
    assert said == []
    assert done.sizes.n_samples is None
    assert len(done.differences) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_models_take_one_length_and_say_why(name, tmp_path):
    pytest.importorskip("onnxscript")
    done, said = check(name, "onnx", tmp_path / "a", fallback_s=0.02)
    layer = "GRU" if name.endswith("gru") else "LSTM"
    (note,) = said
    assert "is exported for one mixture of exactly 160 samples (0.02 s; --seconds changes it)" in note
    assert f"it has {layer} layers, whose number of steps torch.export fixes" in note
    assert list(done.differences) == [(1, 160)]


def test_gates_that_exit_at_different_times_are_exported(tmp_path):
    """Some items take an iteration and others none: the program decides for each by itself."""
    model = LatentRefinementNet(
        2, 1, 1, 2, gate=True, gate_segment_s=0.1, n_filters=8, bn_chan=4, upsampling_depth=2
    ).eval()
    with torch.no_grad():
        mixture = torch.randn(8, 800) * torch.logspace(-2, 2, 8)[:, None]
        for gate in model.masker.gates:
            states = model.masker.start(model.forward_encoder(mixture.unsqueeze(1)))
            scores = gate.scores(states)
            gate.over_frames.bias[0] -= (scores[:, 0] - scores[:, 1]).median() + 1e-3
    used = model.forward_with_figures(mixture)[1]["n_iterations"]
    assert len(used.unique()) > 1
    with torch.no_grad():
        torch.testing.assert_close(model.forward_dense(mixture), model(mixture), atol=1e-6, rtol=1e-5)
        program = trace(model, 8000, 800, True)[0].module()
        for one in mixture[::3]:
            torch.testing.assert_close(program(one[None]), model(one[None]), atol=1e-6, rtol=1e-5)


class OfItsOwnLength(nn.Module):
    """Weighs samples by a table of one length."""

    sample_rate = 8000

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.rand(2, 1600))

    def forward(self, mixture):
        return mixture[:, None] * self.table


class Deciding(nn.Module):
    """Looks at the sound before it computes."""

    sample_rate = 8000

    def forward(self, mixture):
        return torch.stack([mixture, mixture], 1) if mixture.mean().item() > 0 else torch.stack([-mixture] * 2, 1)


class Drawing(nn.Module):
    """Gives something else in each call."""

    sample_rate = 8000

    def forward(self, mixture):
        return torch.stack([mixture, torch.rand_like(mixture)], 1)


def test_a_model_that_torch_cannot_follow_at_any_length_is_fixed_with_a_note(tmp_path):
    said = []
    model = OfItsOwnLength()
    done = export_model(model, tmp_path / "a.pt2", "torch", {}, fallback_s=0.2, report=said.append)
    assert "this OfItsOwnLength is exported for one mixture of exactly 1600 samples" in said[0]
    assert "torch.export cannot follow it at any length" in said[0]
    assert done.sizes.rule == "[1, 1600]: one mixture of exactly 1600 samples"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Deciding(), "Deciding cannot be exported for 800 samples"),
        (Drawing(), r"the exported program differs from Drawing by .* of the loudest sample, more than 0.0001"),
        (nn.Identity(), "Identity has no sample_rate"),
    ],
)
def test_nothing_is_written_for_a_model_that_cannot_be_exported(model, message, tmp_path):
    with pytest.raises(StabError, match=message):
        export_model(model, tmp_path / "a.pt2", "torch", {}, seconds=0.1)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_fails_where_the_model_does_not_is_not_written(tmp_path, monkeypatch):
    def fails(file):
        raise RuntimeError("no such operator")

    monkeypatch.setitem(export._READERS, "torch", lambda file: fails)
    with pytest.raises(StabError, match=r"the exported program fails for \[1, 800\] .*no such operator"):
        export_model(made("conv"), tmp_path / "a.pt2", "torch", {}, seconds=0.1)
    assert list(tmp_path.iterdir()) == []


class OnlyExported(nn.Module):
    """Works while it is exported, and never else."""

    sample_rate = 8000

    def forward(self, mixture):
        if not torch.compiler.is_compiling():
            raise RuntimeError("not today")
        return torch.stack([mixture, mixture], 1)


def test_a_model_that_cannot_separate_the_trial_is_named(tmp_path):
    with pytest.raises(StabError, match=r"OnlyExported cannot separate \[1, 800\]: RuntimeError: not today"):
        export_model(OnlyExported(), tmp_path / "a.pt2", "torch", {}, seconds=0.1)
    assert list(tmp_path.iterdir()) == []


class Bessel(nn.Module):
    """Computes what ONNX has no operator for."""

    sample_rate = 8000

    def forward(self, mixture):
        return torch.special.bessel_j0(torch.stack([mixture, 2 * mixture], 1))


@pytest.mark.slow
def test_a_model_that_onnx_has_no_words_for_is_refused(tmp_path):
    pytest.importorskip("onnxscript")
    export_model(Bessel(), tmp_path / "a.pt2", "torch", {}, seconds=0.1)
    with pytest.raises(StabError, match="torch.onnx cannot translate this model: "):
        export_model(Bessel(), tmp_path / "a.onnx", "onnx", {}, seconds=0.1)
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt2"]


def test_lengths_out_of_range_and_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(StabError, match="--seconds must be from one sample to an hour, got 9000"):
        export_model(made("conv"), tmp_path / "a.pt2", "torch", {}, seconds=9000)
    with pytest.raises(StabError, match="--to must be torch or onnx, got 'tflite'"):
        export_model(made("conv"), tmp_path / "a", "tflite", {})
    several = MultiMicConvTasNet(2, n_filters=8, n_blocks=1, n_repeats=1)
    with pytest.raises(StabError, match="an exported program is of one microphone, and MultiMicConvTasNet takes 2"):
        export_model(several, tmp_path / "a.pt2", "torch", {})


def test_onnx_without_its_packages_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(StabError, match=r"export --to onnx needs onnx.*pip install 'asteroid-stab\[export\]'"):
        export_model(made("conv"), tmp_path / "a.onnx", "onnx", {})


def loaded_elsewhere(code, *words):
    """Runs code in a process that cannot import this package or its hosts."""
    hide = "import sys\nfor name in ('asteroid_stab', 'asteroid', 'asteroid_filterbanks', 'pytorch_lightning'):\n"
    hide += "    sys.modules[name] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", hide + code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_torch_alone_loads_a_program(tmp_path):
    model = made("conv")
    file = export_model(model, tmp_path / "a.pt2", "torch", {}, seconds=0.1).file
    mixture = torch.randn(1, 800)
    torch.save(mixture, tmp_path / "mixture.pt")
    loaded_elsewhere(
        "import torch\n"
        "program = torch.export.load(sys.argv[1]).module()\n"
        "estimates = program(torch.load(sys.argv[2]))\n"
        "torch.save(estimates.detach(), sys.argv[3])\n",
        file, tmp_path / "mixture.pt", tmp_path / "estimates.pt",
    )  # fmt: skip
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / "estimates.pt"), model(mixture), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_onnx_runtime_alone_loads_a_program(tmp_path):
    pytest.importorskip("onnxscript")
    model = made("conv")
    file = export_model(model, tmp_path / "a.onnx", "onnx", {"recipe": "a/b"}).file
    mixture = np.random.default_rng(0).standard_normal((1, 1234), dtype=np.float32)
    np.save(tmp_path / "mixture.npy", mixture)
    loaded_elsewhere(
        "sys.modules['torch'] = None\n"
        "import numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1])\n"
        "(estimates,) = session.run(None, {'mixture': numpy.load(sys.argv[2])})\n"
        "assert session.get_modelmeta().custom_metadata_map['recipe'] == 'a/b'\n"
        "numpy.save(sys.argv[3], estimates)\n",
        file, tmp_path / "mixture.npy", tmp_path / "estimates.npy",
    )  # fmt: skip
    with torch.no_grad():
        expected = model(torch.from_numpy(mixture)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "estimates.npy"), expected, atol=1e-5)
    assert_names_no_place(file)


def assert_names_no_place(file):
    for place in (Path(export.__file__).parents[2], Path(torch.__file__).parents[1]):
        assert str(place).encode() not in file.read_bytes()


@pytest.mark.slow
def test_a_program_names_no_folder_of_this_machine(tmp_path):
    import zipfile

    file = export_model(made("conv"), tmp_path / "a.pt2", "torch", {}, seconds=0.1).file
    with zipfile.ZipFile(file) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    for place in (Path(export.__file__).parents[2], Path(torch.__file__).parents[1]):
        assert str(place).encode() not in content
