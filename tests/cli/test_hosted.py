"""A plain module of a user's, from the first training to separated files, without a line of this package in it."""

import numpy as np
import pytest
import soundfile as sf
import torch
from runs import SMALL, assert_same_weights, stab

from asteroid_stab.cli.main import main

NET = '''"""Somebody's separator."""

import torch
from torch import nn


class TinyMask(nn.Module):
    """[B, T] -> [B, J, T]."""

    def __init__(self, hidden=8, n_out=2):
        super().__init__()
        self.n_out = n_out
        self.encoder = nn.Conv1d(1, hidden, 16, 8, padding=8)
        self.mask = nn.Conv1d(hidden, n_out * hidden, 1)
        self.decoder = nn.ConvTranspose1d(hidden, 1, 16, 8, padding=8)

    def forward(self, x):
        h = torch.relu(self.encoder(x.unsqueeze(1)))
        masks = torch.sigmoid(self.mask(h)).view(len(x), self.n_out, -1, h.shape[-1])
        return self.decoder((masks * h.unsqueeze(1)).flatten(0, 1)).view(len(x), self.n_out, -1)


class Mixed(TinyMask):
    """[B, T]."""

    def forward(self, x):
        return super().forward(x).sum(1)
'''
WORDS = [
    *(word for word in SMALL if not word.startswith("model.")),
    *("logger=none", "loader.batch_size=8", "data.n_train=16", "callbacks=[tracker,epoch_models]"),
]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The user's folders: of the class, and of the recipes."""
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "somebodys.py").write_text(NET)
    (tmp_path / "own" / "model" / "tiny.yaml").write_text("_target_: somebodys.TinyMask\nhidden: 8\n")
    (tmp_path / "own" / "model" / "mixed.yaml").write_text("_target_: somebodys.Mixed\n")
    (tmp_path / "own" / "mine.yaml").write_text(
        "# @package _global_\n# Mine.\ndefaults:\n  - /baseline/toy\n  - override /model: tiny\n  - _self_\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))
    monkeypatch.syspath_prepend(tmp_path / "own")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return tmp_path / "own"


def test_a_wrong_shape_is_refused_before_a_file_is_written(tmp_path, own, capsys):
    words = ["baseline/toy", "model=mixed", *WORDS, f"run_dir={tmp_path / 'run'}"]
    assert main(["train", "--config-dir", str(own), *words]) == 2
    error = capsys.readouterr().err
    assert "model: somebodys.Mixed must give [B, J, T] with B=2, J=2, T=4000, got [2, 4000]" in error
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "xdg").exists()  # nothing is trusted for a training that does not start


@pytest.mark.slow
def test_a_plain_module_goes_all_the_way(tmp_path, own, capsys, monkeypatch):
    run, whole = tmp_path / "run", tmp_path / "whole"
    mine = ["--config-dir", str(own), "mine", *WORDS]
    stab("train", *mine, f"run_dir={run}", "trainer.max_epochs=1")
    stab("train", f"resume={run}", "trainer.max_epochs=2")
    assert main(["train", *mine, f"run_dir={whole}", "trainer.max_epochs=2"]) == 0
    assert_same_weights(run, whole)

    stab("evaluate", run, "--metrics", "si_sdr", "--n-jobs", "1")
    assert (run / "evaluation" / "test" / "summary.json").exists()
    assert main(["switches", str(run), "--limit", "4"]) == 0
    assert "switches on whole mixtures" in capsys.readouterr().out

    sf.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 20_000), 8000)
    assert main(["separate", str(run), str(tmp_path / "a.wav")]) == 0
    assert sf.info(tmp_path / "a_est2.wav").frames == 20_000

    # the file on its own, with another user
    file, recording = str(run / "best_model.pth"), str(tmp_path / "a.wav")
    assert torch.load(file, weights_only=True)["model_args"]["target"] == "somebodys.TinyMask"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "others"))
    measure = ["evaluate", str(run), "--overwrite", "--metrics", "si_sdr", "--n-jobs", "1"]
    separate = ["separate", file, recording, "--overwrite"]
    for words in (measure, separate):
        assert main(words) == 2
        assert "names somebodys.TinyMask at net, which is no part of this package" in capsys.readouterr().err
    assert main([*separate, "--config-dir", str(own)]) == 0
    assert main([*measure, "--trust", "somebodys"]) == 0
    assert main(separate) == 0


def test_pre_training_and_a_new_output_layer(tmp_path, own, esc):
    """MaMa with one source, then separation of two, whose output layer is new."""
    common = ["model=hosted", "logger=none", "data.n_train=8", "data.n_valid=4", "trainer.max_epochs=1"]
    common += ["trainer.accelerator=cpu", "loader.segment_s=0.5", "loader.batch_size=4", "model.output_layers=[mask]"]
    net = "_target_: somebodys.TinyMask"
    words = ["ssl/toy_mama", *common, f"model.net={{{net}, n_out: 1}}"]
    words += [f"data.noise_root={esc}", "data.base.n_utterances=1"]
    assert main(["train", *words, f"run_dir={tmp_path / 'one'}"]) == 0
    words = ["baseline/toy", *common, f"model.net={{{net}}}", "data.n_utterances=1", "optim.lr=0"]
    words += [f"init.path={tmp_path / 'one'}", "init.new_output=true"]
    assert main(["train", *words, f"run_dir={tmp_path / 'two'}"]) == 0
    files = [tmp_path / name / "best_model.pth" for name in ("one", "two")]
    one, two = (torch.load(file, weights_only=True)["state_dict"] for file in files)
    assert torch.equal(one["net.encoder.weight"], two["net.encoder.weight"])
    assert one["net.mask.weight"].shape != two["net.mask.weight"].shape


@pytest.mark.slow
def test_layers_with_mask_heads_train_and_resume_and_their_file_is_the_plain_net_s(tmp_path, own):
    """Of a net whose end needs more than a layer's output, so that it can serve none."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    layers = ["head=layerwise", "head.model.layers=[encoder,mask]"]
    mine = ["--config-dir", str(own), "mine", *WORDS, "stabilizer=[dsd]", "stabilizer.dsd.epsilon_db=1", *layers]
    assert "give each a mask head (head.model.head=dedicated)" in stab("train", *mine, check=False).stderr
    mine += ["head.model.head=dedicated"]
    stab("train", *mine, f"run_dir={run}", "trainer.max_epochs=1")
    stab("train", f"resume={run}", "trainer.max_epochs=2")
    assert main(["train", *mine, f"run_dir={whole}", "trainer.max_epochs=2"]) == 0
    assert_same_weights(run, whole)
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=False)["state_dict"]
    assert any("layer_heads" in name for name in saved)
    kept = torch.load(run / "best_model.pth", weights_only=True)
    assert kept["model_name"] == "HostedModel"
    assert not any("layer_heads" in name for name in kept["state_dict"])
    assert main(["evaluate", str(run), "--metrics", "si_sdr", "--n-jobs", "1"]) == 0
    assert main(["switches", str(run), "--limit", "4"]) == 0
