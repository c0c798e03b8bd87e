"""Every repair of ``_compat.py``: plain Asteroid fails without it, and works with it."""

import importlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from asteroid_stab import _compat  # first, or a CPU-only torch stops the import of Asteroid

# isort: split
from asteroid import models
from asteroid.models import BaseModel

from asteroid_stab.models import conv_tasnet, save_model

CPU_ONLY = torch.version.cuda is None
TINY = {
    "n_src": 2,
    "n_filters": 16,
    "n_blocks": 2,
    "n_repeats": 1,
    "bn_chan": 4,
    "hid_chan": 8,
    "skip_chan": 4,
}

# What a user does with Asteroid, with its outcome: run in a process of its own, with and without the package.
PROBE = """
import json, os, sys, warnings

folder, repaired = sys.argv[1], sys.argv[2] == "repaired"
if repaired:
    import asteroid_stab
outcome = {}


def attempt(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            function()
        except Exception as error:
            outcome[function.__name__] = f"{type(error).__name__}: {error}"
        else:
            warned = [f"warned: {w.message}" for w in caught if expected(w)]
            outcome[function.__name__] = " ".join(warned) or "ok"


def expected(warning):
    return any(word in str(warning.message) for word in ("pkg_resources", "mir_eval"))


@attempt
def lightning():
    import pytorch_lightning


@attempt
def plain_import():
    import asteroid


@attempt
def torchaudio():
    import torch, torchaudio
    assert torchaudio.functional.resample(torch.ones(1, 800), 16000, 8000).shape == (1, 400)


@attempt
def data():
    from asteroid.data import LibriMix
    assert "librosa" not in sys.modules


@attempt
def avspeech():
    from asteroid.data.avspeech_dataset import librosa
    librosa.load


@attempt
def asteroid_file():
    from asteroid.models import BaseModel
    BaseModel.from_pretrained(folder + "/asteroid.pth")


@attempt
def our_file():
    from asteroid.models import BaseModel
    BaseModel.from_pretrained(folder + "/ours.pth")


@attempt
def infer():
    from asteroid.scripts.asteroid_cli import infer
    out = folder + ("/repaired" if repaired else "/plain")
    os.mkdir(out)
    infer([folder + "/ours.pth", "--files", folder + "/mix.wav", "-o", out, "-f", "-d", "cpu"])


@attempt
def metrics():
    import numpy as np
    from asteroid.metrics import get_metrics
    sources = np.random.default_rng(0).standard_normal((2, 4000))
    got = get_metrics(sources.sum(0), sources, sources, sample_rate=8000, metrics_list=["si_sdr", "sdr"])
    assert got["sdr"] > 50


print(json.dumps(outcome))
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """Outcome of every attempt by name, for a mode."""
    folder = tmp_path_factory.mktemp("compat")
    torch.manual_seed(0)
    model = conv_tasnet(sample_rate=8000, **TINY)
    torch.save(model.serialize(), folder / "asteroid.pth")
    save_model(model, folder / "ours.pth", {"score": 1.0})
    mixture = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(folder / "mix.wav", mixture, 8000)
    (folder / "probe.py").write_text(PROBE)
    outcomes = {}

    def get(mode):
        if mode not in outcomes:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", folder / "probe.py", folder, mode],
                capture_output=True,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
                cwd=folder,
            )
            assert done.returncode == 0, done.stderr
            outcomes[mode] = json.loads(done.stdout.splitlines()[-1])
            outcomes[mode]["files"] = sorted(p.name for p in folder.glob(f"{mode}/*.wav"))
        return outcomes[mode]

    return get


def test_everything_works_with_the_repairs(probe):
    outcome = dict(probe("repaired"))
    assert outcome.pop("avspeech").startswith("ImportError: Asteroid's AVSpeechDataset needs librosa.load")
    assert outcome.pop("files") == ["mix_est1.wav", "mix_est2.wav"]
    assert set(outcome.values()) == {"ok"}, outcome


@pytest.mark.skipif(CPU_ONLY, reason="beside a CPU-only torch plain Asteroid cannot be imported at all")
@pytest.mark.parametrize(
    ("attempt", "fault"),
    [
        ("data", "No module named 'librosa'"),
        ("asteroid_file", "Weights only load failed"),
        ("metrics", "warned: mir_eval.separation.bss_eval_sources"),
    ],
)
def test_plain_asteroid_fails(probe, attempt, fault):
    assert fault in probe("plain")[attempt]


def _setuptools_warns():
    from importlib.metadata import version

    return tuple(map(int, version("setuptools").split(".")[:2])) >= (80, 9)


@pytest.mark.skipif(not _setuptools_warns(), reason="setuptools warns of pkg_resources from 80.9 on")
def test_plain_lightning_warns(probe):
    assert "warned: pkg_resources is deprecated" in probe("plain")["lightning"]


@pytest.mark.skipif(CPU_ONLY, reason="beside a CPU-only torch plain Asteroid cannot be imported at all")
def test_plain_asteroid_opens_our_files(probe):
    assert probe("plain")["our_file"] == "ok"
    assert probe("plain")["infer"] == "ok"
    assert probe("plain")["files"] == ["mix_est1.wav", "mix_est2.wav"]


@pytest.mark.skipif(not CPU_ONLY, reason="needs a CPU-only torch: make venv-cpu")
def test_plain_asteroid_fails_beside_a_cpu_only_torch(probe):
    assert probe("plain")["plain_import"].startswith("OSError: Could not load this library")


@pytest.mark.parametrize("cuda", [None, "13.0"])
def test_torchaudio_repair_is_for_cpu_only_torch(monkeypatch, cuda):
    def fails(lib):
        raise OSError(f"no {lib}")

    monkeypatch.setattr(torch.version, "cuda", cuda)
    utils = SimpleNamespace(_load_lib=fails)
    with _compat._torchaudio_without_cuda(utils):
        pass
    if cuda is None:
        assert utils._load_lib("libtorchaudio") is False
    else:
        with pytest.raises(OSError, match="no libtorchaudio"):
            utils._load_lib("libtorchaudio")


def test_import_of_the_package_is_quick():
    code = "import sys, asteroid_stab; print({'torch', 'asteroid', 'torchaudio', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("number", [np.float64(5.5), np.float32(5.5), np.int64(5), np.bool_(True)])
@pytest.mark.parametrize("numpy", ["1", "2"])
def test_files_with_numpy_numbers_load(tmp_path, number, numpy):
    conf = {**conv_tasnet(**TINY).serialize(), "infos": {"final_metrics": {"si_sdr": number}}}
    torch.save(conf, tmp_path / "model.pth", _use_new_zipfile_serialization=False)
    if numpy == "1":  # as NumPy 1 spells the module; the old file format holds the pickle uncompressed
        data = (tmp_path / "model.pth").read_bytes()
        assert b"numpy._core.multiarray" in data
        (tmp_path / "model.pth").write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert isinstance(BaseModel.from_pretrained(str(tmp_path / "model.pth")), models.ConvTasNet)


class _Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_file_cannot_run_code(tmp_path):
    conf = {**conv_tasnet(**TINY).serialize(), "infos": _Malicious(str(tmp_path / "harm"))}
    torch.save(conf, tmp_path / "model.pth")
    with pytest.raises(Exception, match=r"mkdir"):
        BaseModel.from_pretrained(str(tmp_path / "model.pth"))
    assert not (tmp_path / "harm").exists()


def test_types_are_admitted_only_while_a_model_is_read(tmp_path):
    torch.save(conv_tasnet(**TINY).serialize(), tmp_path / "model.pth")
    BaseModel.from_pretrained(str(tmp_path / "model.pth"))
    with pytest.raises(Exception, match="TorchVersion"):
        torch.load(tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        (
            "DPRNNTasNet",
            {"n_src": 3, "n_filters": 16, "bn_chan": 8, "hid_size": 8, "chunk_size": 20, "n_repeats": 1},
        ),
        ("DPTNet", {"n_src": 3, "n_filters": 16, "ff_hid": 8, "chunk_size": 20, "n_repeats": 1}),
        ("SuDORMRFNet", {"n_src": 3, "n_filters": 16, "bn_chan": 8, "num_blocks": 1, "upsampling_depth": 2}),
    ],
)
def test_asteroid_models_on_this_stack(tmp_path, name, args):
    torch.manual_seed(0)
    model = models.get(name)(**args).eval()
    wave = torch.randn(2, 1600)
    out = model(wave)
    assert out.shape == (2, 3, 1600)
    out.square().mean().backward()
    torch.save(model.serialize(), tmp_path / "model.pth")
    again = BaseModel.from_pretrained(str(tmp_path / "model.pth")).eval()
    torch.testing.assert_close(again(wave), out)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host module with a repair, and the finder not yet there; the log tells what ran in which order."""
    log = []
    (tmp_path / "stab_fake_host.py").write_text("from builtins import print\nvalue = 1\n")

    @contextmanager
    def repair(module):
        log.append(hasattr(module, "value"))
        yield
        log.append(module.value)
        module.value = 2

    monkeypatch.syspath_prepend(tmp_path)
    others = [finder for finder in sys.meta_path if not isinstance(finder, _compat._RepairOnImport)]
    monkeypatch.setattr(sys, "meta_path", others)
    monkeypatch.setattr(_compat, "_REPAIRS", {"stab_fake_host": repair, "stab_no_such_host": repair})
    yield log
    sys.modules.pop("stab_fake_host", None)


def test_repair_runs_around_the_import(host):
    _compat.apply()
    module = importlib.import_module("stab_fake_host")
    assert host == [False, 1]
    assert module.value == 2
    assert importlib.reload(module).value == 2


def test_repair_of_a_module_that_is_there_already(host):
    module = importlib.import_module("stab_fake_host")
    assert host == []
    _compat.apply()
    assert host == [True, 1]
    assert module.value == 2


def test_apply_twice_is_apply_once(host):
    _compat.apply()
    _compat.apply()
    assert sum(isinstance(finder, _compat._RepairOnImport) for finder in sys.meta_path) == 1
    importlib.import_module("stab_fake_host")
    assert host == [False, 1]


def test_an_absent_host_is_absent(host):
    _compat.apply()
    with pytest.raises(ModuleNotFoundError, match="stab_no_such_host"):
        importlib.import_module("stab_no_such_host")
